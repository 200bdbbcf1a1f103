package authtest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// client is an OAuth client written by the RFCs alone: what it is told here no other code of this module
// has decided.
type client struct {
	t       *testing.T
	srv     *authtest.Server
	md      map[string]any
	id      string
	verify  string
	change  func(url.Values) // the authorization request
	code    func(url.Values) // the token request
	refresh func(url.Values)
}

const redirect = "http://127.0.0.1:9/callback"

func newClient(t *testing.T, srv *authtest.Server) *client {
	c := &client{t: t, srv: srv, verify: strings.Repeat("v", 43)}
	c.md = c.get(metadataURL(srv))
	status, reg := c.post(c.str("registration_endpoint"), "application/json", `{"redirect_uris":["`+redirect+`"],"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"none","application_type":"native"}`)
	if status != http.StatusCreated {
		t.Fatalf("registration: %d, %v", status, reg)
	}
	c.id = reg["client_id"].(string)
	return c
}

func metadataURL(srv *authtest.Server) string {
	u, _ := url.Parse(srv.Issuer())
	return u.Scheme + "://" + u.Host + "/.well-known/oauth-authorization-server" + u.Path
}

func (c *client) str(member string) string { s, _ := c.md[member].(string); return s }

func (c *client) get(target string) map[string]any {
	c.t.Helper()
	resp, err := http.Get(target) // loopback
	if err != nil {
		c.t.Fatal(err)
	}
	return c.read(resp)
}

func (c *client) read(resp *http.Response) map[string]any {
	c.t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var m map[string]any
	_ = json.Unmarshal(b, &m)
	return m
}

func (c *client) post(target, contentType, body string) (int, map[string]any) {
	c.t.Helper()
	resp, err := http.Post(target, contentType, strings.NewReader(body)) // loopback
	if err != nil {
		return 0, map[string]any{"error": err.Error()}
	}
	return resp.StatusCode, c.read(resp)
}

func (c *client) form(target string, v url.Values) (int, map[string]any) {
	c.t.Helper()
	return c.post(target, "application/x-www-form-urlencoded", v.Encode())
}

// authorize lets a person allow or refuse, and returns the callback's parameters.
func (c *client) authorize(allow bool) (url.Values, error) {
	sum := sha256.Sum256([]byte(c.verify))
	v := url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {redirect}, "state": {"s"}, "scope": {"mcp:read"}, "resource": {c.srv.MCPURL()},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if c.change != nil {
		c.change(v)
	}
	back, err := c.srv.Decide(context.Background(), c.str("authorization_endpoint")+"?"+v.Encode(), allow)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(back)
	if err != nil {
		c.t.Fatal(err)
	}
	return u.Query(), nil
}

// exchange presents a code.
func (c *client) exchange(code string) (int, map[string]any) {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {c.id}, "code_verifier": {c.verify}, "resource": {c.srv.MCPURL()}}
	if c.code != nil {
		c.code(v)
	}
	return c.form(c.str("token_endpoint"), v)
}

func (c *client) renew(token string) (int, map[string]any) {
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.id}, "resource": {c.srv.MCPURL()}}
	if c.refresh != nil {
		c.refresh(v)
	}
	return c.form(c.str("token_endpoint"), v)
}

// login does it all and returns the tokens.
func (c *client) login() (access, refresh string) {
	c.t.Helper()
	q, err := c.authorize(true)
	if err != nil || q.Get("code") == "" {
		c.t.Fatalf("authorize: %v, %v", q, err)
	}
	status, doc := c.exchange(q.Get("code"))
	if status != http.StatusOK {
		c.t.Fatalf("token: %d, %v", status, doc)
	}
	return doc["access_token"].(string), doc["refresh_token"].(string)
}

// call sends a request to the MCP server.
func (c *client) call(token, body string) (int, http.Header, map[string]any) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.srv.MCPURL(), strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, c.read(resp)
}

const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

func TestAWholeLogin(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	if status, h, _ := c.call("", ping); status != http.StatusUnauthorized || !strings.Contains(strings.Join(h.Values("WWW-Authenticate"), " "), "resource_metadata=") {
		t.Errorf("without a token: %d, %v", status, h)
	}
	q, err := c.authorize(true)
	if err != nil || q.Get("state") != "s" || q.Get("iss") != srv.Issuer() {
		t.Fatalf("callback %v, %v", q, err)
	}
	_, doc := c.exchange(q.Get("code"))
	access, refresh := doc["access_token"].(string), doc["refresh_token"].(string)
	if status, _, m := c.call(access, ping); status != http.StatusOK || m["result"] == nil {
		t.Errorf("with a token: %d, %v", status, m)
	}
	if _, _, m := c.call(access, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); len(m["result"].(map[string]any)["tools"].([]any)) != 3 {
		t.Errorf("tools: %v", m)
	}
	if _, _, m := c.call(access, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`); !strings.Contains(fmt.Sprint(m["result"]), "text:hello") {
		t.Errorf("echo: %v", m)
	}
	if status, h, _ := c.call(access, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note"}}`); status != http.StatusForbidden || !strings.Contains(h.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("a tool that needs another scope: %d, %v", status, h)
	}
	for _, s := range []string{access, refresh} {
		if !slices.Contains(srv.Secrets(), s) {
			t.Error("a secret that was given out is not listed")
		}
	}
	var legs []string
	for _, r := range srv.Requests() {
		legs = append(legs, r.Leg)
	}
	if want := []string{"server-metadata", "registration", "challenge", "authorize", "consent", "token", "mcp", "mcp", "mcp", "mcp"}; !slices.Equal(legs, want) || srv.Count("mcp") != 4 {
		t.Errorf("recorded %v", legs)
	}
}

func TestItIsStrict(t *testing.T) {
	drop := func(k string) func(url.Values) { return func(v url.Values) { v.Del(k) } }
	set := func(k, val string) func(url.Values) { return func(v url.Values) { v.Set(k, val) } }
	for name, tc := range map[string]struct {
		change func(url.Values)
		want   string // the error sent back, "" for a page that sends nobody back
	}{
		"no PKCE":                   {drop("code_challenge"), "invalid_request"},
		"plain PKCE":                {set("code_challenge_method", "plain"), "invalid_request"},
		"no state":                  {drop("state"), "invalid_request"},
		"no resource":               {drop("resource"), "invalid_target"},
		"another resource":          {set("resource", "https://other.example"), "invalid_target"},
		"another response type":     {set("response_type", "token"), "unsupported_response_type"},
		"an unknown scope":          {set("scope", "root"), "invalid_scope"},
		"an unknown client":         {set("client_id", "nobody"), ""},
		"another redirect URI":      {set("redirect_uri", "https://evil.example/callback"), ""},
		"another loopback port":     {set("redirect_uri", "http://127.0.0.1:10/callback"), ""},
		"a parameter twice":         {func(v url.Values) { v.Add("scope", "mcp:write") }, ""},
		"a request that was pushed": {set("request_uri", "urn:ietf:params:oauth:request_uri:x"), ""},
	} {
		c := newClient(t, authtest.New(t, nil))
		c.change = tc.change
		q, err := c.authorize(true)
		if (err != nil) != (tc.want == "") || q.Get("error") != tc.want || q.Has("code") {
			t.Errorf("%s: %v, %v", name, q, err)
		}
	}
	for name, tc := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"a wrong verifier":     {set("code_verifier", strings.Repeat("x", 43)), "invalid_grant"},
		"no verifier":          {drop("code_verifier"), "invalid_grant"},
		"another redirect URI": {set("redirect_uri", "http://127.0.0.1:10/callback"), "invalid_grant"},
		"no resource":          {drop("resource"), "invalid_target"},
		"an unknown client":    {set("client_id", "nobody"), "invalid_client"},
		"another grant":        {set("grant_type", "password"), "unsupported_grant_type"},
		"a parameter twice":    {func(v url.Values) { v.Add("code", "y") }, "invalid_request"},
	} {
		c := newClient(t, authtest.New(t, nil))
		q, _ := c.authorize(true)
		c.code = tc.change
		if status, doc := c.exchange(q.Get("code")); doc["error"] != tc.want || status < 400 {
			t.Errorf("%s: %d, %v", name, status, doc)
		}
		// The code is burnt, whatever was wrong; one that was malformed was not looked at.
		c.code = nil
		if _, doc := c.exchange(q.Get("code")); doc["error"] != "invalid_grant" && name != "a parameter twice" {
			t.Errorf("%s: the code is good for a second try: %v", name, doc)
		}
	}
	c := newClient(t, authtest.New(t, nil))
	if q, err := c.authorize(false); err != nil || q.Get("error") != "access_denied" || q.Get("state") != "s" {
		t.Errorf("a person who refuses: %v, %v", q, err)
	}
}

func TestRefreshTokensRotate(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	access, first := c.login()
	_, doc := c.renew(first)
	second := doc["refresh_token"].(string)
	if second == first {
		t.Error("it does not rotate")
	}
	if status, _, _ := c.call(access, ping); status != http.StatusOK {
		t.Errorf("the first access token: %d", status)
	}
	if _, doc := c.renew(first); doc["error"] != "invalid_grant" || srv.Revoked() != 1 {
		t.Errorf("reuse: %v, %d revoked", doc, srv.Revoked())
	}
	if _, doc := c.renew(second); doc["error"] != "invalid_grant" {
		t.Errorf("reuse did not end the whole login: %v", doc)
	}
	if status, _, _ := c.call(access, ping); status != http.StatusUnauthorized {
		t.Errorf("the access token lives on: %d", status)
	}

	c = newClient(t, authtest.New(t, &authtest.Options{GraceForOldRefreshToken: true}))
	_, first = c.login()
	_, doc = c.renew(first)
	second = doc["refresh_token"].(string)
	if status, _ := c.renew(first); status != http.StatusOK {
		t.Error("with grace the last one is not honoured")
	}
	_, _ = c.renew(second)
	if _, doc := c.renew(first); doc["error"] != "invalid_grant" {
		t.Errorf("with grace it is honoured after the next was used: %v", doc)
	}

	c = newClient(t, authtest.New(t, &authtest.Options{NoRotation: true}))
	_, first = c.login()
	if _, doc := c.renew(first); doc["refresh_token"] != nil {
		t.Errorf("without rotation: %v", doc)
	}
	c.refresh = func(v url.Values) { v.Del("resource") }
	if _, doc := c.renew(first); doc["error"] != "invalid_target" {
		t.Errorf("without the resource: %v", doc)
	}
	c.refresh = func(v url.Values) { v.Set("scope", "mcp:write") }
	if _, doc := c.renew(first); doc["error"] != "invalid_scope" {
		t.Errorf("with more scopes: %v", doc)
	}
}

func TestTokensEnd(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{AccessTokenLifetime: time.Minute})
	c := newClient(t, srv)
	alive := func(token string) bool { status, _, _ := c.call(token, ping); return status == http.StatusOK }
	access, _ := c.login()
	srv.AdvanceClock(30 * time.Second)
	if !alive(access) {
		t.Error("it ended too early")
	}
	srv.AdvanceClock(31 * time.Second)
	if alive(access) {
		t.Error("it lives too long")
	}
	access, refresh := c.login()
	srv.Expire()
	if alive(access) {
		t.Error("it was not expired")
	}
	if status, _ := c.renew(refresh); status != http.StatusOK {
		t.Error("Expire ended the refresh token too")
	}
	access, refresh = c.login()
	if status, _ := c.form(c.str("revocation_endpoint"), url.Values{"token": {refresh}, "client_id": {c.id}}); status != http.StatusOK {
		t.Errorf("revocation: %d", status)
	}
	if alive(access) {
		t.Error("revoking the refresh token left the access token")
	}
	access, refresh = c.login()
	srv.RevokeAll()
	if _, doc := c.renew(refresh); alive(access) || doc["error"] != "invalid_grant" {
		t.Errorf("RevokeAll: %v", doc)
	}
	_, refresh = c.login()
	srv.ForgetClients()
	if _, doc := c.renew(refresh); doc["error"] != "invalid_client" {
		t.Errorf("ForgetClients: %v", doc)
	}
}

func TestFaultsAreSwitchedWhileItRuns(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	access, refresh := c.login()
	with := func(f func(*authtest.Faults), check func()) {
		t.Helper()
		srv.Set(f)
		check()
		srv.Set(func(f *authtest.Faults) { *f = authtest.Faults{} })
	}
	with(func(f *authtest.Faults) { f.BareChallenge = true }, func() {
		if status, h, _ := c.call("", ping); status != http.StatusUnauthorized || len(h.Values("WWW-Authenticate")) > 0 {
			t.Errorf("bare challenge: %d, %v", status, h)
		}
	})
	with(func(f *authtest.Faults) { f.AlwaysUnauthorized = true }, func() {
		if status, _, _ := c.call(access, ping); status != http.StatusUnauthorized {
			t.Errorf("always unauthorized: %d", status)
		}
	})
	with(func(f *authtest.Faults) { f.DropTokenAnswers = 1 }, func() {
		if status, doc := c.renew(refresh); status != 0 {
			t.Errorf("an answer that was dropped: %d, %v", status, doc)
		}
		if _, doc := c.renew(refresh); doc["error"] != "invalid_grant" {
			t.Errorf("the work of a dropped answer was not done: %v", doc)
		}
	})
	_, refresh = c.login()
	with(func(f *authtest.Faults) { f.TokenAnswer = func(m map[string]any) { m["expires_in"] = "soon" } }, func() {
		_, doc := c.renew(refresh)
		if doc["expires_in"] != "soon" {
			t.Errorf("a changed answer: %v", doc)
		}
		refresh = doc["refresh_token"].(string)
	})
	with(func(f *authtest.Faults) { f.WrongIssuer = "https://evil.example" }, func() {
		if q, _ := c.authorize(true); q.Get("iss") != "https://evil.example" {
			t.Errorf("wrong issuer: %v", q)
		}
	})
	with(func(f *authtest.Faults) { f.NoResourceMetadata = true }, func() {
		u, _ := url.Parse(srv.MCPURL())
		resp, err := http.Get(u.Scheme + "://" + u.Host + "/.well-known/oauth-protected-resource" + u.Path)
		if err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("no resource metadata: %v, %v", resp, err)
		}
		resp.Body.Close()
	})
	with(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}}
	}, func() {
		if status, _ := c.renew(refresh); status != http.StatusBadGateway {
			t.Errorf("an intercepted leg: %d", status)
		}
	})
	if status, _ := c.renew(refresh); status != http.StatusOK {
		t.Errorf("after the faults: %d", status)
	}
}

func TestAConsentCannotBeForged(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	if _, err := c.authorize(true); err != nil {
		t.Fatal(err)
	}
	var consent string
	for _, r := range srv.Requests() {
		if r.Leg == "consent" {
			consent = r.Path
		}
	}
	u, _ := url.Parse(srv.Issuer())
	if status, _ := c.form(u.Scheme+"://"+u.Host+consent, url.Values{"request": {"guessed"}, "decision": {"allow"}}); status < 400 {
		t.Errorf("a decision on nothing: %d", status)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		srv, err := authtest.Start(nil)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, srv)
		c.login()
		srv.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	for range 200 {
		if runtime.NumGoroutine() <= before+2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}
