package mcpoauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// person is a Prompt that plays a person who allows, and counts how often one was asked.
type person struct {
	srv *authtest.Server
	mu  sync.Mutex
	n   int
}

func (p *person) prompt(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	p.mu.Lock()
	p.n++
	p.mu.Unlock()
	_, err := p.srv.Browser(ctx, lp.URL)
	return nil, err
}

func (p *person) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// nobody is a Prompt that must not be called.
func nobody(t *testing.T) mcpoauth.Prompt {
	return func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		t.Error("somebody was asked to log in")
		return nil, errors.New("nobody is here")
	}
}

func newClient(t *testing.T, url string, opts mcpoauth.Options) *mcpoauth.Client {
	t.Helper()
	if opts.Store == nil && opts.CacheDir == "" {
		opts.Store = memstore.New()
	}
	c, err := mcpoauth.New(url, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// ping sends a request to the MCP server and returns the status.
func ping(t *testing.T, c *mcpoauth.Client) int {
	t.Helper()
	status, err := tryPing(c)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func tryPing(c *mcpoauth.Client) (int, error) {
	return call(c, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
}

func call(c *mcpoauth.Client, body string) (int, error) {
	resp, err := c.HTTPClient().Post(c.ServerURL(), "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// stored returns the record of c's login.
func stored(t *testing.T, st store.Store, c *mcpoauth.Client) *record.Login {
	t.Helper()
	data, _, err := st.Load(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.DecodeLogin(data)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// overwrite puts another record in the place of a client's login.
func overwrite(t *testing.T, st store.Store, c *mcpoauth.Client, rec *record.Login) {
	t.Helper()
	data, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	key := store.Key{Kind: store.KindLogin, ID: c.ServerURL()}
	_, rev, err := st.Load(t.Context(), key)
	if err == nil {
		_, err = st.Save(t.Context(), key, data, rev)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func legs(srv *authtest.Server) []string {
	var out []string
	for _, r := range srv.Requests() {
		out = append(out, r.Leg)
	}
	return out
}

func TestAColdLoginAsksForNothingTwice(t *testing.T) {
	srv := authtest.New(t, nil)
	p := &person{srv: srv}
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	if s := ping(t, c); s != 200 {
		t.Fatalf("status %d", s)
	}
	want := []string{"challenge", "resource-metadata", "server-metadata", "registration", "authorize", "consent", "token", "mcp"}
	if got := legs(srv); !slices.Equal(got, want) {
		t.Errorf("cold login:\n got %v\nwant %v", got, want)
	}
	// A warm start adds nothing.
	before := len(srv.Requests())
	c2 := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
	ping(t, c2)
	if got := legs(srv)[before:]; !slices.Equal(got, []string{"mcp"}) {
		t.Errorf("warm start: %v", got)
	}
	if p.asked() != 1 {
		t.Errorf("asked %d times", p.asked())
	}
}

func TestFieldARestartRefreshesAndNothingElse(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{AccessTokenLifetime: time.Second})
	st, err := filestore.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	time.Sleep(1100 * time.Millisecond)
	before := len(srv.Requests())
	c2 := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
	if s := ping(t, c2); s != 200 {
		t.Fatalf("status %d", s)
	}
	after := srv.Requests()[before:]
	if len(after) != 2 || after[0].Leg != "refresh" || after[1].Leg != "mcp" {
		t.Fatalf("got %v", legs(srv)[before:])
	}
	if got := after[0].Form.Get("resource"); got != srv.MCPURL() {
		t.Errorf("the refresh's resource is %q", got)
	}
}

func TestFieldARefreshWithoutANewRefreshToken(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{NoRotation: true})
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	for range 3 {
		ping(t, c)
		srv.Expire()
	}
	if s := ping(t, c); s != 200 || srv.Count("authorize") != 1 || srv.Count("refresh") != 3 {
		t.Errorf("status %d, %d logins, %d refreshes", s, srv.Count("authorize"), srv.Count("refresh"))
	}
}

func TestFieldManyRequestsRefreshOnce(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Expire()
	srv.Set(func(f *authtest.Faults) { f.TokenDelay = 50 * time.Millisecond })
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if s, err := tryPing(c); s != 200 || err != nil {
				t.Errorf("status %d, %v", s, err)
			}
		})
	}
	wg.Wait()
	if n := srv.Count("refresh"); n != 1 || srv.Revoked() != 0 {
		t.Errorf("%d refreshes, %d logins revoked", n, srv.Revoked())
	}
}

func TestFieldAWaiterWhoLeavesStopsNothing(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.TokenDelay = time.Second })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	errs := make(chan error, 1)
	go func() {
		_, err := c.Token(ctx, &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour})
		errs <- err
	}()
	for end := time.Now().Add(20 * time.Second); srv.Count("refresh") == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if _, err := c.Token(context.Background(), &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour}); err != nil {
		t.Errorf("the other waiter got %v", err)
	}
	if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the one who left got %v", err)
	}
	if n := srv.Count("refresh"); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// A network fault, a rate limit, a server in trouble or a page of somebody else's ends no login and
// changes no record.
func TestFieldAFailedRefreshEndsNoLogin(t *testing.T) {
	faults := map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"connection reset": func(w http.ResponseWriter, _ *http.Request) bool {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return true
		},
		"503":                   page(503, "text/plain", "later"),
		"429":                   page(429, "application/json", `{"error":"too_many_requests"}`),
		"a portal":              page(200, "text/html", "<html>please sign in to the wifi</html>"),
		"a firewall":            page(403, "text/html", "<html>blocked</html>"),
		"server_error in a 400": page(400, "application/json", `{"error":"server_error"}`),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			st := memstore.New()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
			ping(t, c)
			key := store.Key{Kind: store.KindLogin, ID: c.ServerURL()}
			before, _, err := st.Load(context.Background(), key)
			if err != nil {
				t.Fatal(err)
			}
			srv.Expire()
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": fault}
			})
			c2 := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
			if _, err := tryPing(c2); !errors.Is(err, mcpoauth.ErrTemporary) {
				t.Errorf("got %v", err)
			}
			if after, _, err := st.Load(context.Background(), key); err != nil || string(after) != string(before) {
				t.Errorf("the record has changed: %v", err)
			}
			if n := srv.Count("refresh"); n != 1 {
				t.Errorf("%d refresh posts", n)
			}
			srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
			c3 := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
			if s, err := tryPing(c3); s != 200 {
				t.Errorf("afterwards: %d, %v", s, err)
			}
		})
	}
}

func page(status int, contentType, body string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

func TestARevokedRefreshTokenEndsTheLoginAndKeepsTheRegistration(t *testing.T) {
	for _, unauthorized := range []bool{false, true} {
		srv := authtest.New(t, nil)
		srv.Set(func(f *authtest.Faults) { f.UnauthorizedInvalidGrant = unauthorized })
		st := memstore.New()
		p := &person{srv: srv}
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
		ping(t, c)
		srv.RevokeAll()
		c2 := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
		_, err := tryPing(c2)
		if !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "refresh token") {
			t.Fatalf("got %v", err)
		}
		if _, err := c2.Token(context.Background(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("a token was had: %v", err)
		}
		c3 := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
		if s := ping(t, c3); s != 200 {
			t.Errorf("status %d", s)
		}
		if srv.Count("registration") != 1 || srv.Count("refresh") != 1 {
			t.Errorf("%d registrations, %d refreshes", srv.Count("registration"), srv.Count("refresh"))
		}
	}
}

func TestFieldAForgottenClientIsReplacedOnce(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	ping(t, c)
	srv.ForgetClients()
	srv.Expire()
	if s, err := tryPing(c); s != 200 || err != nil {
		t.Fatalf("status %d, %v", s, err)
	}
	if n := srv.Count("registration"); n != 2 {
		t.Errorf("%d registrations", n)
	}
}

func TestFieldAPreRegisteredClientIsNeverReplaced(t *testing.T) {
	srv := authtest.New(t, nil)
	srv.AddClient(authtest.Client{ID: "app", Secret: "a+b/c%:=", AuthMethod: "client_secret_post", RedirectURIs: []string{"http://127.0.0.1/callback"}})
	st := memstore.New()
	o := mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Client: mcpoauth.ClientOptions{ID: "app", Secret: "a+b/c%:=", AuthMethod: "client_secret_post"}}
	c := newClient(t, srv.MCPURL(), o)
	ping(t, c)
	srv.ForgetClients()
	srv.Expire()
	var te *mcpoauth.Error
	if _, err := tryPing(c); !errorAt(err, mcpoauth.OpToken, &te) || te.Code != "invalid_client" {
		t.Errorf("got %v", err)
	}
	if n := srv.Count("registration"); n != 0 {
		t.Errorf("%d registrations", n)
	}
}

func TestFieldTheRegistrationSaysHowToAuthenticate(t *testing.T) {
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = method })
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
			ping(t, c)
			srv.Expire()
			if s := ping(t, c); s != 200 {
				t.Errorf("status %d", s)
			}
			if n := srv.Count("token"); n != 1 {
				t.Errorf("the code was sent %d times", n)
			}
			res, err := c.Logout(context.Background())
			if err != nil || !res.Revoked {
				t.Errorf("logout: %+v, %v", res, err)
			}
		})
	}
}

func TestFieldAnExpiredClientSecret(t *testing.T) {
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) {
		f.RegistrationAuthMethod, f.SecretLifetime = "client_secret_basic", 2*time.Second
	})
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	time.Sleep(2100 * time.Millisecond)
	srv.Expire()
	if s := ping(t, c); s != 200 {
		t.Errorf("status %d", s)
	}
	if srv.Count("registration") != 2 || srv.Count("authorize") != 2 {
		t.Errorf("%d registrations, %d logins", srv.Count("registration"), srv.Count("authorize"))
	}
}

func TestFieldStepUpKeepsWhatWasGranted(t *testing.T) {
	srv := authtest.New(t, nil)
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
	note := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note"}}`
	for range 3 {
		ping(t, c)
		if s, err := call(c, note); s != 200 || err != nil {
			t.Fatalf("status %d, %v", s, err)
		}
	}
	if p.asked() != 2 || srv.Count("refresh") != 0 {
		t.Errorf("%d logins, %d refreshes", p.asked(), srv.Count("refresh"))
	}
	tok, err := c.Token(context.Background(), nil)
	if err != nil || !slices.Contains(tok.Scopes(), "mcp:read") || !slices.Contains(tok.Scopes(), "mcp:write") {
		t.Errorf("%v, %v", tok, err)
	}
}

func TestFieldAScopeThatIsNeverEnough(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{Scopes: []string{"mcp:read", "more"}})
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
	srv.Set(func(f *authtest.Faults) { f.AlwaysNeedScope = "impossible" })
	_, err := tryPing(c)
	if err == nil || p.asked() > 3 {
		t.Errorf("%v after %d logins", err, p.asked())
	}
	srv.Set(func(f *authtest.Faults) { f.AlwaysNeedScope = "" })
	silent := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: memstore.New(), Prompt: p.prompt})
	ping(t, silent)
}

func TestFieldMissingScopesAreNamed(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}))
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	_, err := call(c, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note"}}`)
	var se *mcpoauth.ScopeError
	if !errors.As(err, &se) || !slices.Equal(se.Missing, []string{"mcp:write"}) {
		t.Errorf("got %v", err)
	}
}

// A server that takes no token, not even a fresh one, gets one refresh and no storm.
func TestFieldAServerThatRefusesEveryToken(t *testing.T) {
	srv := authtest.New(t, nil)
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
	srv.Set(func(f *authtest.Faults) { f.AlwaysUnauthorized = true })
	for range 30 {
		if _, err := tryPing(c); err == nil {
			t.Fatal("no error")
		}
	}
	if p.asked() != 1 || srv.Count("refresh")+srv.Count("token") > 5 {
		t.Errorf("%d logins, %d refreshes", p.asked(), srv.Count("refresh"))
	}
}

func TestA401ThatOffersNoOAuthIsTheCallers(t *testing.T) {
	srv := authtest.New(t, nil)
	gone := page(404, "text/plain", "no")
	srv.Set(func(f *authtest.Faults) {
		f.BareChallenge = true
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"resource-metadata": gone, "other": gone}
	})
	for _, prompt := range []mcpoauth.Prompt{nil, nobody(t)} {
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: prompt})
		if s := ping(t, c); s != 401 {
			t.Errorf("status %d", s)
		}
	}
}

func TestManyWaysOfAServer(t *testing.T) {
	cases := map[string]struct {
		opt   authtest.Options
		fault func(*authtest.Faults)
		o     mcpoauth.Options
	}{
		"issuer with a path":               {opt: authtest.Options{IssuerPath: "/realms/one"}},
		"issuer with a path, OpenID":       {opt: authtest.Options{IssuerPath: "/realms/one"}, fault: func(f *authtest.Faults) { f.OnlyOpenID = true }},
		"metadata at the root":             {fault: func(f *authtest.Faults) { f.ResourceMetadataAtRoot = true }},
		"challenge without metadata":       {fault: func(f *authtest.Faults) { f.ChallengeWithoutMetadata = true }},
		"pushed requests only":             {fault: func(f *authtest.Faults) { f.RequirePAR = true }},
		"form-encoded tokens":              {fault: func(f *authtest.Faults) { f.TokenForm = true }},
		"201 for a token":                  {fault: func(f *authtest.Faults) { f.TokenStatus = 201 }},
		"foreign redirect URIs":            {fault: func(f *authtest.Faults) { f.ForeignRedirectURIs = []string{"https://mcp.example/cb"} }},
		"one origin, no resource metadata": {opt: authtest.Options{SameOrigin: true, Lenient: true}, fault: func(f *authtest.Faults) { f.NoResourceMetadata, f.ChallengeWithoutMetadata = true, true }},
		"PKCE not advertised": {fault: func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { delete(m, "code_challenge_methods_supported") }
		}, o: mcpoauth.Options{Allow: mcpoauth.Allow{MissingPKCE: true}}},
		"resource refused":            {fault: func(f *authtest.Faults) { f.RejectResource = true }, o: mcpoauth.Options{Server: mcpoauth.ServerOptions{NoResource: true}}},
		"metadata document":           {opt: authtest.Options{MetadataDocuments: map[string][]string{"https://me.example/client.json": {"http://127.0.0.1/callback"}}}, o: mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: "https://me.example/client.json"}}},
		"access_type wanted":          {fault: func(f *authtest.Faults) { f.RequiredAuthorizeParams = map[string]string{"access_type": "offline"} }, o: mcpoauth.Options{Server: mcpoauth.ServerOptions{AuthorizeParams: map[string][]string{"access_type": {"offline"}}}}},
		"localhost":                   {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost", Path: "/oauth/callback"}}},
		"event streams":               {opt: authtest.Options{SSE: true}},
		"refresh token by scope only": {opt: authtest.Options{RefreshNeedsOfflineAccess: true}},
		"strings for lists": {fault: func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) {
				m["token_endpoint_auth_methods_supported"], m["ui_locales_supported"], m["op_tos_uri"] = "none", 7, []any{nil}
			}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, &tc.opt)
			if tc.fault != nil {
				srv.Set(tc.fault)
			}
			tc.o.Prompt = (&person{srv: srv}).prompt
			c := newClient(t, srv.MCPURL(), tc.o)
			if s, err := tryPing(c); s != 200 || err != nil {
				t.Fatalf("status %d, %v\n%v", s, err, legs(srv))
			}
			srv.Expire()
			if s, err := tryPing(c); s != 200 || err != nil {
				t.Fatalf("after a refresh: status %d, %v", s, err)
			}
		})
	}
}

func TestFieldAPersonDenies(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		back, err := srv.Decide(ctx, p.URL, false)
		return &mcpoauth.LoginReply{RedirectURL: back}, err
	}})
	if _, err := c.Login(context.Background(), nil); !errors.Is(err, mcpoauth.ErrAccessDenied) {
		t.Errorf("got %v", err)
	}
}

func TestFieldManyLoginsAskOnePerson(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	p := &person{srv: srv}
	var wg sync.WaitGroup
	for i := range 10 {
		// Half of them in one client, the others as if in programs of their own.
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
		for range 2 + i%2 {
			wg.Go(func() {
				if s, err := tryPing(c); s != 200 || err != nil {
					t.Errorf("status %d, %v", s, err)
				}
			})
		}
	}
	wg.Wait()
	if p.asked() != 1 || srv.Count("registration") != 1 {
		t.Errorf("asked %d times, %d registrations", p.asked(), srv.Count("registration"))
	}
}

// Another process has refreshed the login since this one looked: that is not the login that a person insists on.
func TestAForcedLoginAfterARefreshElsewhere(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	ping(t, c)
	other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	if _, err := other.Token(t.Context(), &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour}); err != nil || srv.Count("refresh") != 1 {
		t.Fatal(err)
	}
	if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil || p.asked() != 2 {
		t.Errorf("%v, asked %d times", err, p.asked())
	}
}

func TestFieldTwoAccountsOnOneServer(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	tokens := map[string]string{}
	for _, profile := range []string{"", "work", "home"} {
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Profile: profile, Prompt: (&person{srv: srv}).prompt})
		tok, err := c.Login(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tokens[tok.AccessToken()] = profile
	}
	if len(tokens) != 3 {
		t.Errorf("%d different tokens", len(tokens))
	}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Profile: "work"})
	if _, err := c.Logout(context.Background()); err != nil {
		t.Fatal(err)
	}
	home := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Profile: "home"})
	if s := ping(t, home); s != 200 {
		t.Errorf("the other profile: status %d", s)
	}
}

func TestLogoutWinsOverARefreshUnderWay(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.TokenDelay = 300 * time.Millisecond })
	errs := make(chan error, 1)
	go func() {
		_, err := c.Token(context.Background(), &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour})
		errs <- err
	}()
	time.Sleep(100 * time.Millisecond)
	other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	if _, err := other.Logout(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-errs
	for key, err := range st.List(context.Background(), store.Filter{Kind: store.KindLogin}) {
		t.Errorf("written back: %v, %v", key, err)
	}
}

func TestALoginInTwoHalves(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{Lenient: true})
	st := memstore.New()
	ctx := context.Background()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	const redirect = "https://app.example/oauth/back"
	a, err := c.BeginLogin(ctx, redirect)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.BeginLogin(ctx, redirect)
	if err != nil {
		t.Fatal(err)
	}
	if n := srv.Count("registration"); n != 1 {
		t.Errorf("%d registrations", n)
	}
	callback := func(target string) map[string][]string {
		back, err := srv.Decide(ctx, target, true)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodGet, back, nil)
		if err != nil || !strings.HasPrefix(back, redirect) {
			t.Fatal(back, err)
		}
		return req.URL.Query()
	}
	answer := callback(b.URL)
	// Somebody else's answer is refused and costs nothing.
	if _, err := mcpoauth.FinishLogin(ctx, a.ID, answer, &mcpoauth.Options{Store: st}); err == nil {
		t.Fatal("the answer to another login was taken")
	}
	done, err := mcpoauth.FinishLogin(ctx, b.ID, answer, &mcpoauth.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if s := ping(t, done); s != 200 {
		t.Errorf("status %d", s)
	}
	if _, err := mcpoauth.FinishLogin(ctx, b.ID, answer, &mcpoauth.Options{Store: st}); err == nil {
		t.Error("a login was finished twice")
	}
	if _, err := mcpoauth.FinishLogin(ctx, a.ID, callback(a.URL), &mcpoauth.Options{Store: st}); err != nil {
		t.Error(err)
	}
}

// brokenStore fails to save logins while it is broken.
type brokenStore struct {
	*memstore.Store
	mu     sync.Mutex
	broken bool
}

func (b *brokenStore) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken && key.Kind == store.KindLogin {
		return 0, errors.New("no space left on device")
	}
	return b.Store.Save(ctx, key, data, rev)
}

func (b *brokenStore) set(broken bool) {
	b.mu.Lock()
	b.broken = broken
	b.mu.Unlock()
}

func TestFieldATokenThatCannotBeSaved(t *testing.T) {
	srv := authtest.New(t, nil)
	st := &brokenStore{Store: memstore.New()}
	var failures int
	var mu sync.Mutex
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Trace: &mcpoauth.Trace{
		SaveFailed: func(context.Context, mcpoauth.LoginEvent, error) { mu.Lock(); failures++; mu.Unlock() },
	}})
	if err != nil {
		t.Fatal(err)
	}
	ping(t, c)
	st.set(true)
	srv.Expire()
	if s := ping(t, c); s != 200 {
		t.Errorf("status %d", s)
	}
	if failures != 1 {
		t.Errorf("%d failures were said", failures)
	}
	// Refreshing on top of what is not saved must use the new refresh token.
	srv.Expire()
	if s := ping(t, c); s != 200 || srv.Revoked() != 0 {
		t.Errorf("status %d, %d logins revoked", s, srv.Revoked())
	}
	if err := c.Close(context.Background()); err == nil {
		t.Error("Close did not report what is not saved")
	}
	st.set(false)
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	next := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
	if s := ping(t, next); s != 200 {
		t.Errorf("after a restart: status %d", s)
	}
}

func TestFieldNothingThatIsPrintedHoldsASecret(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	tok, err := c.Login(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := stored(t, st, c)
	data, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	found := func(s string) bool {
		return slices.ContainsFunc(srv.Secrets(), func(secret string) bool { return strings.Contains(s, secret) })
	}
	if !found(string(data)) {
		t.Fatal("the search finds nothing in the record either")
	}
	type holder struct {
		Public  any
		private any
	}
	for _, v := range []any{tok, *tok, rec, *rec, rec.Registration, c.TokenSource(context.Background())} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if s := fmt.Sprintf(format, v) + fmt.Sprintf(format, holder{Public: v}); found(s) {
				t.Errorf("%s of %T: %s", format, v, s)
			}
			if s := fmt.Sprintf(format, holder{private: *tok}); found(s) {
				t.Errorf("%s of a token in a private field: %s", format, s)
			}
		}
	}
}

// TestConnectionsAreClosed by whoever ends, so that no goroutine stays.
func TestConnectionsAreClosed(t *testing.T) {
	for name, end := range map[string]func(*mcpoauth.Client, *http.Client) error{
		"the client":      func(c *mcpoauth.Client, _ *http.Client) error { return c.Close(t.Context()) },
		"the HTTP client": func(_ *mcpoauth.Client, h *http.Client) error { h.CloseIdleConnections(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan bool, 1)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateClosed {
					closed <- true
				}
			}
			srv.Start()
			defer srv.Close()
			c := newClient(t, srv.URL, mcpoauth.Options{})
			h := c.HTTPClient()
			resp, err := h.Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if err := end(c, h); err != nil {
				t.Error(err)
			}
			select {
			case <-closed:
			case <-time.After(20 * time.Second):
				t.Error("a connection stays open")
			}
		})
	}
}

// stuckStore does not answer, or gives no lock, until the caller has had enough.
type stuckStore struct {
	*memstore.Store
	what  string
	stuck chan struct{}
}

func (s *stuckStore) hang(ctx context.Context, what string) error {
	if s.what != what {
		return nil
	}
	s.stuck <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func (s *stuckStore) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if err := s.hang(ctx, "load"); err != nil {
		return nil, 0, err
	}
	return s.Store.Load(ctx, key)
}

func (s *stuckStore) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if err := s.hang(ctx, "lock"); err != nil {
		return nil, nil, err
	}
	return s.Store.Lock(ctx, key, name)
}

// TestCloseWaitsForNoStore: a locked keyring, or another process with the lock, holds up nobody who wants to end.
func TestCloseWaitsForNoStore(t *testing.T) {
	for _, what := range []string{"load", "lock"} {
		synctest.Test(t, func(t *testing.T) {
			st := &stuckStore{Store: memstore.New(), stuck: make(chan struct{})}
			c, err := mcpoauth.New("https://mcp.example.com/mcp", &mcpoauth.Options{Store: st})
			if err != nil {
				t.Fatal(err)
			}
			rec := &record.Login{
				Issuer: "https://as.example.com", AccessToken: "a", RefreshToken: "r", Expiry: time.Now().Add(-time.Hour),
				TokenEndpoint: "https://as.example.com/token", Registration: record.Registration{ClientID: "c"},
			}
			data, err := rec.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Save(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()}, data, 0); err != nil {
				t.Fatal(err)
			}
			st.what = what
			failed := make(chan error, 1)
			go func() { _, err := c.Token(context.Background(), nil); failed <- err }()
			<-st.stuck
			start := time.Now()
			if err := c.Close(context.Background()); err != nil || time.Since(start) != 0 {
				t.Errorf("%s: it took %v, %v", what, time.Since(start), err)
			}
			if err := <-failed; !errors.Is(err, mcpoauth.ErrClosed) {
				t.Errorf("%s: the caller got %v", what, err)
			}
		})
	}
}
