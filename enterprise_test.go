package mcpoauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

func TestACompanysIdentityProvider(t *testing.T) {
	t.Parallel()
	const jag = "id.jag.x"
	idToken := unsigned(t, map[string]any{"aud": "at-idp"})
	var asked map[string]string
	var answer map[string]any
	status := 200
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		asked = map[string]string{}
		for k := range r.PostForm {
			asked[k] = r.PostForm.Get(k)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer idp.Close()
	srv := startRobots(t, func(form map[string]string, r *http.Request) string {
		if u, _, _ := r.BasicAuth(); u != "agent" || form["assertion"] != jag || form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			return "invalid_grant"
		}
		return ""
	})
	open := func() *mcpoauth.Client {
		return newClient(t, srv.url(), mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "agent", Secret: "s"}, Grant: mcpoauth.EnterpriseManaged{
			IDToken: mcpoauth.AssertionCommand("echo", idToken), TokenEndpoint: idp.URL + "/token", ClientID: "at-idp", ClientSecret: "idp-secret",
		}})
	}
	answer = map[string]any{"access_token": jag, "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A"}
	if s := ping(t, open()); s != 200 {
		t.Fatalf("status %d", s)
	}
	for k, want := range map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": idToken, "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
		"requested_token_type": "urn:ietf:params:oauth:token-type:id-jag", "audience": srv.URL, "resource": srv.url(), "client_id": "at-idp", "client_secret": "idp-secret", "scope": "jobs",
	} {
		if asked[k] != want {
			t.Errorf("%s is %q, want %q", k, asked[k], want)
		}
	}
	for name, tc := range map[string]struct {
		status int
		answer map[string]any
		hint   string
	}{
		"an ID token that has ended": {400, map[string]any{"error": "invalid_grant"}, "log in at the identity provider"},
		"a policy against it":        {403, map[string]any{"error": "access_denied"}, "administrator"},
		"another kind of token":      {200, map[string]any{"access_token": "x", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}, "enterprise-managed"},
		"nothing":                    {200, map[string]any{}, "at fault"},
	} {
		status, answer = tc.status, tc.answer
		before := srv.tokens
		_, err := open().Token(t.Context(), nil)
		var te *mcpoauth.Error
		if !errorAt(err, mcpoauth.OpToken, &te) || !strings.Contains(te.Hint, tc.hint) || srv.tokens != before {
			t.Errorf("%s: %v (%s), %d requests", name, err, mcpoauth.Hint(err), srv.tokens-before)
		}
	}
}

// company is an identity provider: OpenID Connect with a person who always agrees, and the exchange of ID
// tokens for grants at other servers.
type company struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// life of an ID token. change spoils its claims.
	life   time.Duration
	change func(claims map[string]any)
	// renewNone leaves the ID token out of a refresh.
	renewNone bool
	n         map[string]int
	nonces    map[string]string // by code
	pkce      map[string]string
	refresh   string
}

func startCompany(t *testing.T) *company { return startCompanyOn(t, nil) }

func startCompanyOn(t *testing.T, n *memoryNetwork) *company {
	c := &company{t: t, life: time.Hour, n: map[string]int{}, nonces: map[string]string{}, pkce: map[string]string{}}
	c.Server = n.serve(t, http.HandlerFunc(c.serve))
	return c
}

func (c *company) count(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[what]
}

func (c *company) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *company) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer(200, map[string]any{
			"issuer": c.URL, "authorization_endpoint": c.URL + "/login", "token_endpoint": c.URL + "/token", "revocation_endpoint": c.URL + "/revoke",
			"scopes_supported": []string{"openid", "offline_access"}, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
		})
	case "/login":
		q := r.URL.Query()
		c.n["login"]++
		if q.Get("client_id") != "at-idp" || q.Get("scope") != "openid offline_access" || q.Has("resource") || len(q.Get("nonce")) < 40 {
			http.Error(w, "wrong request", 400)
			return
		}
		code := fmt.Sprintf("code-%d", c.n["login"])
		c.nonces[code], c.pkce[code] = q.Get("nonce"), q.Get("code_challenge")
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther)
	case "/revoke":
		c.n["revoke"]++
	case "/token":
		_ = r.ParseForm()
		kind := r.PostForm.Get("grant_type")
		kind = kind[strings.LastIndexByte(kind, ':')+1:]
		c.n[kind]++
		if id, secret, _ := r.BasicAuth(); id != "at-idp" || secret != "idp-secret" {
			answer(401, map[string]any{"error": "invalid_client"})
			return
		}
		claims := map[string]any{"iss": c.URL, "aud": "at-idp", "iat": time.Now().Unix(), "exp": time.Now().Add(c.life).Unix()}
		doc := map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 5}
		switch kind {
		case "authorization_code":
			code := r.PostForm.Get("code")
			sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
			if base64.RawURLEncoding.EncodeToString(sum[:]) != c.pkce[code] {
				answer(400, map[string]any{"error": "invalid_grant"})
				return
			}
			claims["nonce"] = c.nonces[code]
		case "refresh_token":
			if r.PostForm.Get("refresh_token") != c.refresh {
				answer(400, map[string]any{"error": "invalid_grant"})
				return
			}
		case "token-exchange":
			answer(200, map[string]any{
				"access_token": "jag." + r.PostForm.Get("subject_token"), "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A",
			})
			return
		}
		if c.change != nil {
			c.change(claims)
		}
		if !c.renewNone || kind != "refresh_token" {
			doc["id_token"] = unsigned(c.t, claims)
		}
		c.refresh = fmt.Sprintf("refresh-%d", c.n["authorization_code"]+c.n["refresh_token"])
		doc["refresh_token"] = c.refresh
		answer(200, doc)
	}
}

// visitor is a Prompt that plays a person whom nobody asks anything: the browser goes there and back.
func visitor(asked *atomic.Int32) mcpoauth.Prompt {
	return func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		asked.Add(1)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, http.NoBody)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		return nil, resp.Body.Close()
	}
}

// TestOneLoginAtTheCompany serves several MCP servers, restarts and renewals; it ends by itself only.
func TestOneLoginAtTheCompany(t *testing.T) {
	t.Parallel()
	idp := startCompany(t)
	judge := func(form map[string]string, _ *http.Request) string {
		if !strings.HasPrefix(form["assertion"], "jag.") {
			return "invalid_grant"
		}
		return ""
	}
	first, second := startRobots(t, judge), startRobots(t, judge)
	st := memstore.New()
	var asked atomic.Int32
	open := func(srv *robots, p mcpoauth.Prompt) *mcpoauth.Client {
		return newClient(t, srv.url(), mcpoauth.Options{Store: st, Prompt: p, Client: mcpoauth.ClientOptions{ID: "agent", Secret: "s"}, Grant: mcpoauth.EnterpriseManaged{
			Issuer: idp.URL, ClientID: "at-idp", ClientSecret: "idp-secret",
		}})
	}
	_, err := open(first, nil).Token(t.Context(), nil)
	if !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), first.url()) || !strings.Contains(err.Error(), idp.URL) {
		t.Errorf("before the login: %v", err)
	}
	if s := ping(t, open(first, visitor(&asked))); s != 200 || asked.Load() != 1 {
		t.Fatalf("status %d, %d logins", s, asked.Load())
	}
	for _, srv := range []*robots{first, second} {
		if s := ping(t, open(srv, nobody(t))); s != 200 {
			t.Errorf("another process: status %d", s)
		}
	}
	if idp.count("login") != 1 || idp.count("token-exchange") != 2 || idp.count("refresh_token") != 0 {
		t.Errorf("%v", idp.n)
	}
	// An explicit login finds the one there is.
	if _, err := open(second, visitor(&asked)).Login(t.Context(), nil); err != nil || asked.Load() != 1 {
		t.Errorf("%v, %d logins", err, asked.Load())
	}
	providers := 0
	for s, err := range mcpoauth.List(t.Context(), st) {
		if err != nil {
			t.Fatal(err)
		}
		if s.IdentityProvider {
			providers++
			if s.Issuer != idp.URL || !s.CanRefresh {
				t.Errorf("%+v", s)
			}
		}
	}
	if providers != 1 {
		t.Errorf("%d logins at identity providers are listed", providers)
	}
	c, err := mcpoauth.NewIdentityProvider(idp.URL, &mcpoauth.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := c.Logout(t.Context()); err != nil || !res.Revoked || idp.count("revoke") != 2 {
		t.Errorf("logout: %+v, %v, %d", res, err, idp.count("revoke"))
	}
	if s := ping(t, open(first, nobody(t))); s != 200 {
		t.Errorf("the MCP server's own login ended with it: %d", s)
	}
}

// TestACompanysIDTokenIsRenewed while the MCP servers' tokens are short, by one of many.
func TestACompanysIDTokenIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testACompanysIDTokenIsRenewed)
}

func testACompanysIDTokenIsRenewed(t *testing.T) {
	n := newMemoryNetwork()
	idp := startCompanyOn(t, n)
	idp.life = 2 * time.Second
	srv := startRobotsOn(t, n, func(map[string]string, *http.Request) string { return "" })
	srv.life = 1
	st := memstore.New()
	var asked atomic.Int32
	o := mcpoauth.Options{Store: st, Prompt: n.person(t, &asked), Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}, Client: mcpoauth.ClientOptions{ID: "agent", Secret: "s"}, Grant: mcpoauth.EnterpriseManaged{
		Issuer: idp.URL, ClientID: "at-idp", ClientSecret: "idp-secret",
	}}
	ping(t, newClient(t, srv.url(), o))
	time.Sleep(2100 * time.Millisecond)
	idp.set(func() { idp.life = time.Hour })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			o := o
			o.Prompt = nobody(t)
			if status, err := tryPing(newClient(t, srv.url(), o)); status != 200 {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	wg.Wait()
	if idp.count("refresh_token") != 1 || asked.Load() != 1 {
		t.Errorf("%d refreshes, %d logins", idp.count("refresh_token"), asked.Load())
	}
	// One that renews access tokens only is no login any more.
	idp.set(func() { idp.renewNone, idp.life = true, time.Second })
	if _, err := newClient(t, srv.url(), o).Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	o.Prompt = nil
	if _, err := newClient(t, srv.url(), o).Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) || asked.Load() != 2 {
		t.Errorf("got %v, %d logins", err, asked.Load())
	}
}

func TestIDTokensThatAreNotTaken(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]any){
		"of another issuer":  func(c map[string]any) { c["iss"] = "https://evil.example" },
		"for another client": func(c map[string]any) { c["aud"] = []string{"other"} },
		"of another login":   func(c map[string]any) { c["nonce"] = "x" },
		"without an end":     func(c map[string]any) { delete(c, "exp") },
	} {
		t.Run(name, func(t *testing.T) {
			idp := startCompany(t)
			idp.change = change
			srv := startRobots(t, func(map[string]string, *http.Request) string { return "" })
			var asked atomic.Int32
			_, err := newClient(t, srv.url(), mcpoauth.Options{Prompt: visitor(&asked), Client: mcpoauth.ClientOptions{ID: "agent", Secret: "s"}, Grant: mcpoauth.EnterpriseManaged{
				Issuer: idp.URL, ClientID: "at-idp", ClientSecret: "idp-secret",
			}}).Login(t.Context(), nil)
			var te *mcpoauth.Error
			if !errorAt(err, mcpoauth.OpToken, &te) || !strings.Contains(err.Error(), "ID token cannot be used") || idp.count("token-exchange") != 0 {
				t.Errorf("%v, %d exchanges", err, idp.count("token-exchange"))
			}
		})
	}
}

// TestWhatIsTheServersIsNotTheCompanys: endpoints and ways of the MCP server's authorization server are for that
// alone. The company's login and its client's secret do not go there.
func TestWhatIsTheServersIsNotTheCompanys(t *testing.T) {
	t.Parallel()
	idp := startCompany(t)
	srv := startRobots(t, func(form map[string]string, r *http.Request) string {
		if id, password, _ := r.BasicAuth(); strings.Contains(id+password+form["client_id"]+form["client_secret"], "idp") {
			t.Errorf("the MCP server's authorization server got the company's client: %v", form)
		}
		if !strings.HasPrefix(form["assertion"], "jag.") {
			return "invalid_grant"
		}
		return ""
	})
	var asked atomic.Int32
	c := newClient(t, srv.url(), mcpoauth.Options{
		Store:  memstore.New(),
		Prompt: visitor(&asked),
		Client: mcpoauth.ClientOptions{ID: "agent", Secret: "s"},
		Server: mcpoauth.ServerOptions{Endpoints: mcpoauth.Endpoints{Authorization: srv.URL + "/authorize", Token: srv.URL + "/token"}},
		Scopes: mcpoauth.ScopeOptions{Separator: ","},
		Grant:  mcpoauth.EnterpriseManaged{Issuer: idp.URL, ClientID: "at-idp", ClientSecret: "idp-secret"},
	})
	if s := ping(t, c); s != 200 || asked.Load() != 1 || idp.count("token-exchange") != 1 {
		t.Errorf("status %d, %d logins, %v", s, asked.Load(), idp.n)
	}
}
