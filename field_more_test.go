package mcpoauth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestFieldALoginWithoutARefreshToken lasts as long as its token does, restarts included.
func TestFieldALoginWithoutARefreshToken(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{RefreshNeedsOfflineAccess: true})
	st := memstore.New()
	o := mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Never}}
	ping(t, newClient(t, srv.MCPURL(), o))
	o.Prompt = nobody(t)
	if status := ping(t, newClient(t, srv.MCPURL(), o)); status != http.StatusOK {
		t.Errorf("after a restart: %d", status)
	}
	srv.RevokeAll()
	o.Prompt = nil
	if _, err := tryPing(newClient(t, srv.MCPURL(), o)); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "no refresh token") {
		t.Errorf("after its end: %v", err)
	}
}

// TestFieldACodeIsSentOnce, whatever way of client authentication the server wants: no way is tried out.
func TestFieldACodeIsSentOnce(t *testing.T) {
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		srv := authtest.New(t, nil)
		srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = method })
		ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt}))
		if srv.Count("token") != 1 {
			t.Errorf("%s: the code was sent %d times", method, srv.Count("token"))
		}
	}
}

// TestFieldInvalidGrantIsNoDeadEnd: whoever may ask a person asks one, by the same client.
func TestFieldInvalidGrantIsNoDeadEnd(t *testing.T) {
	for name, set := range map[string]func(*authtest.Faults){
		"with 400": func(*authtest.Faults) {}, "with 401": func(f *authtest.Faults) { f.UnauthorizedInvalidGrant = true },
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(set)
			p := &person{srv: srv}
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
			ping(t, c)
			srv.RevokeAll()
			if status := ping(t, c); status != http.StatusOK || p.asked() != 2 || srv.Count("registration") != 1 || srv.Count("refresh") != 1 {
				t.Errorf("status %d, %d logins, %d registrations, %d refreshes", status, p.asked(), srv.Count("registration"), srv.Count("refresh"))
			}
		})
	}
}

// TestFieldAClientForAnotherServer is shown to nobody else.
func TestFieldAClientForAnotherServer(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: nobody(t), Client: mcpoauth.ClientOptions{ID: "mine", Secret: "CANARY", Issuer: "https://as.example.com"}})
	_, err := tryPing(c)
	if err == nil || !strings.Contains(err.Error(), "as.example.com") {
		t.Errorf("got %v", err)
	}
	for _, r := range srv.Requests() {
		if strings.Contains(string(r.Body), "CANARY") || r.Leg == "token" || r.Leg == "authorize" {
			t.Errorf("%s %s", r.Leg, r.Path)
		}
	}
}

func TestFieldOneRegistrationForManyLogins(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	for range 3 {
		if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if srv.Count("registration") != 1 || srv.Count("token") != 3 {
		t.Errorf("%d registrations for %d logins", srv.Count("registration"), srv.Count("token"))
	}
}

// TestFieldTheDocumentsPort: a server that compares redirect URIs whole gets the port that its document has.
func TestFieldTheDocumentsPort(t *testing.T) {
	const url = "https://app.example.com/client.json"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener's
	_ = l.Close()
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: url}, Callback: mcpoauth.CallbackOptions{Port: port}}
	m, err := mcpoauth.NewClientMetadata(&o)
	if err != nil {
		t.Fatal(err)
	}
	srv := authtest.New(t, &authtest.Options{MetadataDocuments: map[string][]string{url: m.RedirectURIs}})
	o.Prompt = (&person{srv: srv}).prompt
	if status := ping(t, newClient(t, srv.MCPURL(), o)); status != http.StatusOK || srv.Count("registration") != 0 {
		t.Errorf("status %d, %d registrations", status, srv.Count("registration"))
	}
}

// TestFieldLifetimesThatCannotBe: a server says 0, or a clock is off. There is no refresh for each request.
func TestFieldLifetimesThatCannotBe(t *testing.T) {
	for name, life := range map[string]any{"0": 0, "negative": -60, "one second": 1, "text": "soon"} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(func(f *authtest.Faults) {
				f.TokenAnswer = func(doc map[string]any) { doc["expires_in"] = life }
			})
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
			start := time.Now()
			for range 20 {
				if status := ping(t, c); status != http.StatusOK {
					t.Fatalf("status %d", status)
				}
			}
			if most := 1 + int(time.Since(start)/(900*time.Millisecond)); srv.Count("refresh") > most || srv.Count("authorize") != 1 {
				t.Errorf("%d refreshes in %v, %d logins", srv.Count("refresh"), time.Since(start), srv.Count("authorize"))
			}
		})
	}
}

// TestFieldNativeOrWeb: a server takes http redirect URIs from native applications only.
func TestFieldNativeOrWeb(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	if _, err := c.BeginLogin(t.Context(), "https://app.example.com/callback"); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range srv.Requests() {
		if r.Leg == "registration" {
			kinds = append(kinds, map[bool]string{true: "native", false: "web"}[bytes.Contains(r.Body, []byte(`"application_type":"native"`))])
		}
	}
	if strings.Join(kinds, " ") != "native web" {
		t.Errorf("registered as %v", kinds)
	}
}

// TestFieldDiscoveryAfterABlip: what failed once is asked again by the same program.
func TestFieldDiscoveryAfterABlip(t *testing.T) {
	for _, leg := range []string{"resource-metadata", "server-metadata", "registration"} {
		srv := authtest.New(t, nil)
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
		srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{leg: 503} })
		if _, err := c.Login(t.Context(), nil); !errors.Is(err, mcpoauth.ErrTemporary) {
			t.Errorf("%s: %v", leg, err)
		}
		srv.Set(func(f *authtest.Faults) { f.Fail = nil })
		if _, err := c.Login(t.Context(), nil); err != nil {
			t.Errorf("%s: afterwards: %v", leg, err)
		}
	}
}

func TestFieldAnySuccessOfATokenRequest(t *testing.T) {
	for _, status := range []int{200, 201, 202} {
		srv := authtest.New(t, nil)
		srv.Set(func(f *authtest.Faults) { f.TokenStatus = status })
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
		ping(t, c)
		srv.Expire()
		if got := ping(t, c); got != http.StatusOK || srv.Count("refresh") != 1 {
			t.Errorf("%d: status %d, %d refreshes", status, got, srv.Count("refresh"))
		}
	}
}

// TestFieldARegistrationWithOtherRedirectURIs: ours is the one that is listened at.
func TestFieldARegistrationWithOtherRedirectURIs(t *testing.T) {
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.ForeignRedirectURIs = []string{"https://proxy.example/callback"} })
	var mu sync.Mutex
	var notes []string
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt, Trace: &mcpoauth.Trace{Note: func(_ context.Context, n mcpoauth.Note) {
		mu.Lock()
		defer mu.Unlock()
		notes = append(notes, n.Text)
	}}})
	if status := ping(t, c); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(strings.Join(notes, "\n"), "other redirect URIs") {
		t.Errorf("noted: %q", notes)
	}
}

// TestFieldForbiddenForAnExpiredToken: a server answers 403 where it means 401. A 403 for a token that is good is
// the caller's.
func TestFieldForbiddenForAnExpiredToken(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{AccessTokenLifetime: 2 * time.Second})
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	forbid := func(w http.ResponseWriter, r *http.Request) bool {
		if srv.Count("refresh") > 0 {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": forbid}
	})
	if status := ping(t, c); status != http.StatusForbidden || srv.Count("refresh") != 0 {
		t.Errorf("a good token: %d, %d refreshes", status, srv.Count("refresh"))
	}
	time.Sleep(2100 * time.Millisecond)
	if status := ping(t, c); status != http.StatusOK || srv.Count("refresh") != 1 {
		t.Errorf("an expired one: %d, %d refreshes", status, srv.Count("refresh"))
	}
}

// TestFieldTheAuthorizationServerIsElsewhere: nothing of it is asked for at the MCP server.
func TestFieldTheAuthorizationServerIsElsewhere(t *testing.T) {
	srv := authtest.New(t, nil)
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt}))
	if strings.HasPrefix(srv.MCPURL(), srv.Issuer()) || srv.Count("other") != 0 {
		t.Errorf("%d requests to addresses that are none, at %s", srv.Count("other"), srv.MCPURL())
	}
}

// TestFieldTheTokenEndpointHasMoved: its old address is gone, and the issuer says where it is now.
func TestFieldTheTokenEndpointHasMoved(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	rec := stored(t, st, c)
	rec.TokenEndpoint = srv.Issuer() + "/where/it/was"
	overwrite(t, st, c, rec)
	srv.Expire()
	if status := ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})); status != http.StatusOK || srv.Revoked() != 0 {
		t.Errorf("status %d", status)
	}
	if now := stored(t, st, c); now.TokenEndpoint != srv.TokenEndpoint() {
		t.Errorf("remembered: %s", now.TokenEndpoint)
	}
}

// TestFieldBodiesAreSentAgainWhole, or not at all.
func TestFieldBodiesAreSentAgainWhole(t *testing.T) {
	for name, tc := range map[string]struct {
		size   int
		again  bool // the request can give its body again
		status int
	}{
		"a megabyte that can be had again": {1 << 20, true, 200},
		"a small stream":                   {60 << 10, false, 200},
		"a large stream":                   {1 << 20, false, 401},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
			ping(t, c)
			srv.Expire()
			text := `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("y", tc.size) + `"}}`
			var body io.Reader = strings.NewReader(text)
			if !tc.again {
				body = struct{ io.Reader }{body}
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.MCPURL(), body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = int64(len(text))
			resp, err := c.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			all := srv.Requests()
			last := all[len(all)-1]
			if resp.StatusCode != tc.status || tc.status == 200 && string(last.Body) != text {
				t.Errorf("status %d, the last request had %d bytes of %d", resp.StatusCode, len(last.Body), len(text))
			}
		})
	}
}

// TestFieldStreamsAreAuthorizedToo: the GET of an event stream, and a DELETE, after the token's end.
func TestFieldStreamsAreAuthorizedToo(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		srv.Expire()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.MCPURL(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized {
			t.Errorf("%s: status %d", method, resp.StatusCode)
		}
	}
	if srv.Count("refresh") != 2 {
		t.Errorf("%d refreshes", srv.Count("refresh"))
	}
}

// TestFieldTheAuthorizationPageIsThePersonsAlone: it is never fetched to see whether it works.
func TestFieldTheAuthorizationPageIsThePersonsAlone(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		if srv.Count("authorize") != 0 {
			t.Error("somebody was there before the person")
		}
		_, err := srv.Browser(ctx, lp.URL)
		return nil, err
	}})
	if status := ping(t, c); status != http.StatusOK || srv.Count("authorize") != 1 {
		t.Errorf("status %d, %d visits", status, srv.Count("authorize"))
	}
}

// TestFieldAPersonIsSlowerThanAConnection: the limits of requests are not those of people.
func TestFieldAPersonIsSlowerThanAConnection(t *testing.T) {
	srv := authtest.New(t, nil)
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{
		Network: mcpoauth.NetworkOptions{HTTPClient: &http.Client{Timeout: time.Second}},
		Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			time.Sleep(1500 * time.Millisecond)
			return p.prompt(ctx, lp)
		},
	})
	if status := ping(t, c); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

// TestFieldManyServersInOneProgram: each has its own listener, state and login.
func TestFieldManyServersInOneProgram(t *testing.T) {
	var wg sync.WaitGroup
	st := memstore.New()
	for range 10 {
		wg.Go(func() {
			srv := authtest.New(t, nil)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
			if status, err := tryPing(c); status != http.StatusOK {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	wg.Wait()
}

// TestFieldPathAndQueryOfAServer belong to it.
func TestFieldPathAndQueryOfAServer(t *testing.T) {
	seen := map[string]string{}
	for _, url := range []string{"https://a.example", "https://a.example/mcp", "https://a.example/x/mcp", "https://a.example/mcp?tenant=1", "https://a.example/mcp?tenant=2"} {
		c, err := mcpoauth.New(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[c.ServerURL()]; twice {
			t.Errorf("%s and %s are one server", url, other)
		}
		seen[c.ServerURL()] = url
	}
	// The two forms of one URL are one.
	for _, pair := range [][2]string{{"https://a.example", "https://A.example:443/"}} {
		one, err1 := mcpoauth.New(pair[0], nil)
		two, err2 := mcpoauth.New(pair[1], nil)
		if err1 != nil || err2 != nil || one.ServerURL() != two.ServerURL() {
			t.Errorf("%v, %v: %s and %s", err1, err2, one.ServerURL(), two.ServerURL())
		}
	}
}

// TestFieldWhichClientIsUsed: the one that a person registered, then the document, then a registration.
func TestFieldWhichClientIsUsed(t *testing.T) {
	const document = "https://app.example.com/client.json"
	srv := authtest.New(t, &authtest.Options{MetadataDocuments: map[string][]string{document: {"http://127.0.0.1/callback"}}, Lenient: true})
	srv.AddClient(authtest.Client{ID: "by-hand", RedirectURIs: []string{"http://127.0.0.1/callback"}})
	for _, tc := range []struct {
		o    mcpoauth.Options
		want string
	}{
		{mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand", MetadataURL: document}}, "by-hand"},
		{mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: document}}, document},
		{mcpoauth.Options{}, "client-"},
	} {
		tc.o.Prompt = (&person{srv: srv}).prompt
		ping(t, newClient(t, srv.MCPURL(), tc.o))
		got := ""
		for _, r := range srv.Requests() {
			if r.Leg == "authorize" {
				got = r.Query.Get("client_id")
			}
		}
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("the client is %q, want %q", got, tc.want)
		}
	}
}

// TestFieldARegistrationWithMoreScopes: they may be asked for, and are not.
func TestFieldARegistrationWithMoreScopes(t *testing.T) {
	srv := authtest.New(t, nil)
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt, Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Never}}))
	for _, r := range srv.Requests() {
		if r.Leg == "authorize" && r.Query.Get("scope") != "mcp:read" {
			t.Errorf("asked for %q", r.Query.Get("scope"))
		}
	}
}
