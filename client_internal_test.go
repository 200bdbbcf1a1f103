package mcpoauth

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// aloneSource is a fakeSource that needs no login.
type aloneSource struct{ fakeSource }

func (*aloneSource) standsAlone() bool { return true }

// newMachine returns a Client of a machine with a stored token, and the source of the next.
func newMachine(t *testing.T, st store.Store, change ...func(*record.Login)) (*Client, *aloneSource) {
	t.Helper()
	c := plainClient(t, Options{Store: st, Grant: ClientCredentials{}, Client: ClientOptions{ID: "c", Secret: "s"}})
	rec := givenLogin(func(r *record.Login) {
		r.ServerURL, r.TokenType, r.Grant, r.IssuedAt, r.Expiry = c.ServerURL(), "Bearer", "client_credentials", time.Now(), time.Now().Add(time.Hour)
	})
	for _, f := range change {
		f(rec)
	}
	c.store.replace(t.Context(), rec, 0)
	source := &aloneSource{fakeSource{answer: func(*stored) (*record.Login, error) {
		next := *rec
		next.AccessToken, next.IssuedAt, next.Expiry = "next", time.Now(), time.Now().Add(time.Hour)
		return &next, nil
	}}}
	c.refresher.source = source
	return c, source
}

// TestLoginsOfMachines ask nobody: a good token is enough unless another is insisted on, and a fault is the caller's.
func TestLoginsOfMachines(t *testing.T) {
	t.Parallel()
	c, source := newMachine(t, newScripted())
	if tok, err := c.Login(t.Context(), nil); err != nil || tok.AccessToken() != "a" || source.calls != 0 {
		t.Errorf("a good one: %v, %d requests", err, source.calls)
	}
	if tok, err := c.Login(t.Context(), &LoginOptions{Force: true}); err != nil || tok.AccessToken() != "next" || source.calls != 1 {
		t.Errorf("forced: %v, %d requests", err, source.calls)
	}
	c, source = newMachine(t, newScripted(), func(r *record.Login) { r.Required = noRequirement })
	if tok, err := c.Login(t.Context(), nil); err != nil || tok.AccessToken() != "a" || source.calls != 0 {
		t.Errorf("a demand that no machine meets: %v, %d requests", err, source.calls)
	}
	c, source = newMachine(t, newScripted(), expiredLogin)
	source.answer = func(*stored) (*record.Login, error) { return nil, errDisk }
	if _, err := c.Login(t.Context(), nil); !errors.Is(err, errDisk) || source.calls != 1 {
		t.Errorf("a fault: %v, %d requests", err, source.calls)
	}
	if _, err := c.TokenRejected(t.Context(), &Token{}); !errors.Is(err, errDisk) {
		t.Errorf("rejected: %v", err)
	}
	source.answer = func(*stored) (*record.Login, error) { return nil, errNotConfigured }
	st, err := c.store.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.TokenRejected(t.Context(), &st.session.token); !errors.Is(err, ErrLoginRequired) || c.store.previous(t.Context()).Required != nil {
		t.Errorf("a person's login was demanded: %v", err)
	}
}

// TestMachinesNeedNoRecord: without one, or with a damaged one, they obtain a token; an unreadable one is left alone.
func TestMachinesNeedNoRecord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		load error
		ok   bool
	}{"none": {store.ErrNotFound, true}, "damaged": {&store.CorruptError{Err: errDisk}, true}, "unreadable": {errDisk, false}} {
		st := newScripted()
		c, source := newMachine(t, st)
		if err := st.Delete(t.Context(), c.store.key, 0); err != nil {
			t.Fatal(err)
		}
		c.store.current.Store(nil)
		st.load = always(tc.load)
		events := 0
		c.trace.hooks = &Trace{Refreshed: func(context.Context, LoginEvent, error) { events++ }}
		tok, err := c.Token(t.Context(), nil)
		if (err == nil) != tc.ok || (source.calls == 1) != tc.ok || tc.ok && tok.AccessToken() != "next" || events != 0 {
			t.Errorf("%s: %v, %d requests, %d events", name, err, source.calls, events)
		}
	}
}

// TestLateTokens are revoked: the refresh token, or the access token where there is no other.
func TestLateTokens(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*record.Login)
		want   string
	}{
		"both": {func(*record.Login) {}, "refresh_token r"}, "no refresh token": {func(r *record.Login) { r.RefreshToken = "" }, "access_token a"},
		"no endpoint": {func(r *record.Login) { r.RevocationEndpoint = "" }, ""},
	} {
		got := ""
		c := plainClient(t, Options{Network: NetworkOptions{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			form, err := url.ParseQuery(string(body))
			got = form.Get("token_type_hint") + " " + form.Get("token")
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, err
		})}}})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		c.tokens.revokeLate(gone, givenLogin(tc.change)) // the caller has left
		if got != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestAnUnsavedLoginGivesWay to one that was saved, removed or ended since.
func TestAnUnsavedLoginGivesWay(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(c *Client, st *stored) error{
		"adopted": func(c *Client, st *stored) error { _, err := c.store.adopt(t.Context(), st.rec, st.rev); return err },
		"conflict": func(c *Client, st *stored) error {
			_, err := c.store.adopt(t.Context(), st.rec, st.rev+100)
			return err
		},
		"forgotten": func(c *Client, _ *stored) error { _, err := c.store.forget(t.Context(), keepUnreadable); return err },
		"ended":     func(c *Client, st *stored) error { c.store.end(t.Context(), st, "over", ""); return nil },
		"replaced":  func(c *Client, st *stored) error { c.store.replace(t.Context(), st.rec, st.rev); return nil },
	} {
		c, before := newLogin(t, newScripted())
		old := *before.rec
		old.AccessToken = "unsaved"
		c.store.keep(t.Context(), &old, before.rev, errDisk)
		if err := use(c, before); err != nil || c.store.unsaved != nil {
			t.Errorf("%s: %v, unsaved %v", name, err, c.store.unsaved)
		}
	}
	// The event says why a login could not be saved.
	st := newScripted()
	c, before := newLogin(t, st)
	var why error
	c.trace.hooks = &Trace{SaveFailed: func(_ context.Context, _ LoginEvent, err error) { why = err }}
	st.save = always(errDisk)
	c.store.replace(t.Context(), before.rec, before.rev)
	if st.save = nil; !errors.Is(why, errDisk) {
		t.Errorf("the event says %v", why)
	}
	// What is noted for the next login is in memory at once.
	c, _ = newLogin(t, newScripted())
	c.store.require(t.Context(), "a", noRequirement)
	if c.store.current.Load().required == nil {
		t.Error("a demand is not in memory")
	}
}

// TestWhereAnEndpointMayMoveTo: the recorded endpoint's origin and the issuer's, and nowhere else.
func TestWhereAnEndpointMayMoveTo(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]bool{
		"https://token.example.com/v2": true, testIssuer + "/v2": true, "https://evil.example.com/v2": false, "https://token.example.com/token": false,
	} {
		doc := map[string]any{
			"issuer": testIssuer, "authorization_endpoint": testIssuer + "/a", "token_endpoint": target, "response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
			"revocation_endpoint": target + "/revoke",
		}
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		c := plainClient(t, Options{Server: ServerOptions{Issuer: testIssuer}, Allow: Allow{ForeignEndpoints: true}, Network: NetworkOptions{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != "/.well-known/oauth-authorization-server" {
				return &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
			}
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(b))), Request: r}, nil
		})}}})
		rec := givenLogin(func(r *record.Login) { r.TokenEndpoint = "https://token.example.com/token" })
		s := c.refresher.source.(*refreshSource)
		moved := s.movedEndpoint(t.Context(), rec, &wire.Fault{Status: http.StatusNotFound})
		if (moved != nil) != want || moved != nil && (moved.TokenEndpoint != target || moved.RevocationEndpoint != target+"/revoke") || rec.TokenEndpoint != "https://token.example.com/token" {
			t.Errorf("%s: %+v", target, moved)
		}
	}
}

// TestPendingLogins are refused by state, by age and by a clock that was set back.
func TestPendingLogins(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		age   time.Duration
		state string
		ok    bool
		left  bool
	}{
		"in time": {time.Minute, "s", true, false}, "too late": {pendingLife + time.Second, "s", false, false}, "from the future": {-pendingLife - time.Second, "s", false, false},
		"a clock that is off": {-time.Minute, "s", true, false}, "another state": {time.Minute, "x", false, true}, "no state": {time.Minute, "", false, true},
	} {
		st := memstore.New()
		p := &record.Pending{ID: "id", State: "s", Verifier: "v", RedirectURI: "http://127.0.0.1:1/", CreatedAt: time.Now().Add(-tc.age), Login: *givenLogin()}
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		key := pendingKey("id", "")
		if _, err := st.Save(t.Context(), key, data, 0); err != nil {
			t.Fatal(err)
		}
		_, err = takePending(t.Context(), st, key, url.Values{"state": {tc.state}})
		_, _, lerr := st.Load(t.Context(), key)
		if (err == nil) != tc.ok || (lerr == nil) != tc.left {
			t.Errorf("%s: %v, left: %v", name, err, lerr)
		}
		if _, err := takePending(t.Context(), st, key, url.Values{"state": {"s"}}); err == nil != tc.left {
			t.Errorf("%s, again: %v", name, err)
		}
	}
	c := plainClient(t, Options{})
	for _, p := range []*record.Pending{{State: "s", Login: *givenLogin()}, {Login: *givenLogin()}} {
		e, ok := errors.AsType[*Error](func() error {
			_, err := c.browser.finish(t.Context(), p, url.Values{"state": {"other"}, "code": {"x"}})
			return err
		}())
		if !ok || !strings.Contains(e.Message, "another login") {
			t.Errorf("finished with another state: %v", e)
		}
	}
	if sameState("", "") || sameState("a", "b") || !sameState("a", "a") {
		t.Error("states")
	}
}

// TestARegistrationIsReplacedOnce: if it was stored before, and the server says that it does not know it.
func TestARegistrationIsReplacedOnce(t *testing.T) {
	t.Parallel()
	unknown := &Error{Op: OpToken, Code: "invalid_client"}
	for name, tc := range map[string]struct {
		client *clientRegistration
		err    error
		tries  int
	}{
		"stored, unknown":    {&clientRegistration{reused: true}, unknown, 2},
		"new, unknown":       {&clientRegistration{}, unknown, 1},
		"stored, denied":     {&clientRegistration{reused: true}, &Error{Op: OpToken, Code: "access_denied"}, 1},
		"none was used":      {nil, unknown, 1},
		"stored, no problem": {&clientRegistration{reused: true, reg: &record.Registration{}}, nil, 1},
	} {
		c := plainClient(t, Options{Prompt: someone, Server: ServerOptions{Issuer: testIssuer, Endpoints: Endpoints{Token: testIssuer + "/t", Authorization: testIssuer + "/a"}}, Network: NetworkOptions{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})}}})
		var fresh []bool
		try := func(_ context.Context, _ *discovered, plan loginPlan) (*record.Login, *clientRegistration, error) {
			fresh = append(fresh, plan.request.newClient)
			return givenLogin(), tc.client, tc.err
		}
		_, err := c.browser.personLogin.authorize(t.Context(), loginPlan{request: loginRequest{challenge: &challenge{}}}, try)
		if len(fresh) != tc.tries || (err == nil) != (tc.err == nil) || fresh[0] || tc.tries == 2 && !fresh[1] {
			t.Errorf("%s: %v, tries %v", name, err, fresh)
		}
	}
	// A login by a code needs an endpoint for that.
	c := plainClient(t, Options{Prompt: someone, Grant: DeviceCode{}})
	a := c.login.authorizer.(*deviceAuthorizer)
	if _, _, err := a.attempt(t.Context(), &discovered{Result: resultOf(testIssuer), challenge: &challenge{}}, loginPlan{}); err == nil || !strings.Contains(err.Error(), "no device authorization endpoint") {
		t.Errorf("no endpoint: %v", err)
	}
}

// TestLoginsAtAProvider lie under their own key, and end with the Client that needs them.
func TestLoginsAtAProvider(t *testing.T) {
	t.Parallel()
	const idp = "https://idp.example.com"
	st := memstore.New()
	p, err := NewIdentityProvider(idp, &Options{Store: st, Client: ClientOptions{ID: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	rec := givenLogin(func(r *record.Login) {
		r.ServerURL, r.Issuer, r.TokenType, r.Scopes = idp, idp, "Bearer", []string{"openid"}
	})
	rec.Registration.Issuer = idp
	data, err := rec.Encode()
	if err == nil {
		_, err = st.Save(t.Context(), store.Key{Kind: store.KindIdentityProvider, ID: idp}, data, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if status, err := p.Status(t.Context()); err != nil || !status.IdentityProvider || status.State != StateValid {
		t.Errorf("%+v, %v", status, err)
	}
	if err := p.Clear(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if status, err := p.Status(t.Context()); err == nil || status != nil || !errors.Is(err, ErrLoginRequired) {
		t.Errorf("afterwards: %+v, %v", status, err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	c := plainClient(t, Options{Grant: EnterpriseManaged{Issuer: idp, ClientID: "i"}, Client: ClientOptions{ID: "c"}})
	if err := c.Close(t.Context()); err != nil || !c.idp.closed.Load() {
		t.Errorf("the provider's Client is open: %v", err)
	}
	for _, force := range []bool{true, false} {
		plan := loginPlan{request: loginRequest{force: force, known: "known", rejected: "rejected"}}
		if got := plan.rejected(); got != map[bool]string{true: "known", false: "rejected"}[force] {
			t.Errorf("forced %t: %s", force, got)
		}
	}
	if o := providerSettings(idp, nil); o.Server.Issuer != idp || o.DPoP != Never || !o.Server.NoResource {
		t.Errorf("got %+v", o)
	}
}

// TestKeysThatCannotBeRead, and how values print that hold nothing.
func TestKeysThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		block pem.Block
		says  string
	}{
		"encrypted": {pem.Block{Type: "ENCRYPTED PRIVATE KEY"}, "encrypted"}, "encrypted as of old": {pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES"}}, "encrypted"},
		"damaged": {pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}, "damaged"}, "a certificate": {pem.Block{Type: "CERTIFICATE"}, "neither PEM nor a JWK"},
	} {
		if _, err := ParseClientKey(pem.EncodeToMemory(&tc.block), "", ""); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var none *ClientKey
	if none.String() != "no client key" || (&ClientKey{}).String() != "no client key" || !strings.Contains(newTestKey(t).String(), "EdDSA") {
		t.Errorf("%s, %s", none, newTestKey(t))
	}
	var token *Token
	if token.String() != "<nil>" || strings.Contains((&Token{typ: "Bearer"}).String(), "until") || !strings.Contains((&Token{typ: "Bearer", expiry: time.Now()}).String(), "until") {
		t.Error("how tokens print")
	}
}

// TestWhatClearAllCounts: logins, whatever else it removes, and what could not be removed is an error.
func TestWhatClearAllCounts(t *testing.T) {
	t.Parallel()
	for _, registrations := range []bool{false, true} {
		st := &brokenRegistrations{Store: memstore.New(), del: errDisk}
		for i, kind := range []store.Kind{store.KindLogin, store.KindIdentityProvider, store.KindPending, store.KindRegistration} {
			if _, err := st.Save(t.Context(), store.Key{Kind: kind, ID: string(rune('a' + i))}, []byte("{}"), 0); err != nil {
				t.Fatal(err)
			}
		}
		n, err := ClearAll(t.Context(), st, &ClearOptions{Registration: registrations})
		if n != 2 || errors.Is(err, errDisk) != registrations {
			t.Errorf("registrations %t: %d, %v", registrations, n, err)
		}
		if st.del = nil; registrations {
			if n, err := ClearAll(t.Context(), st, &ClearOptions{Registration: true}); n != 0 || err != nil {
				t.Errorf("the registration: %d, %v", n, err)
			}
		}
	}
}
