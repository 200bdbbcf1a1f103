package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// TestTheTokenEndpointHasMoved: its old address is gone, and the issuer says where it is now.
//
// It has a row in docs/compatibility.md.
func TestTheTokenEndpointHasMoved(t *testing.T) {
	t.Parallel()
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

// A record that does not say when the access token ends is used until the server refuses it, and then refreshed.
//
// It has a row in docs/compatibility.md.
func TestARestartWithoutAnExpiry(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	rec := stored(t, st, c)
	rec.Expiry = time.Time{}
	overwrite(t, st, c, rec)
	for range 2 {
		ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st}))
	}
	if srv.Count("refresh") != 0 {
		t.Errorf("%d refreshes of a good token", srv.Count("refresh"))
	}
	srv.Expire()
	before := len(srv.Requests())
	if s := ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})); s != 200 {
		t.Errorf("status %d", s)
	}
	if got := legs(srv)[before:]; !slices.Equal(got, []string{"mcp", "refresh", "mcp"}) {
		t.Errorf("requests %v", got)
	}
}

// A token that is still good is used on while the authorization server is in trouble.
//
// It has a row in docs/compatibility.md.
func TestTroubleWhileTheTokenIsGood(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(m map[string]any) { m["expires_in"] = 30 } })
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.Fail, f.RetryAfter = map[string]int{"refresh": 503}, "30" })
	for range 5 {
		if _, err := c.Token(t.Context(), &mcpoauth.TokenOptions{MinValidity: time.Hour}); err != nil {
			t.Error(err)
		}
		ping(t, c)
	}
	if n := srv.Count("refresh"); n != 1 {
		t.Errorf("%d refreshes, though the server asked for a pause", n)
	}
	srv.Expire()
	_, err := tryPing(c)
	var temporary *mcpoauth.TemporaryError
	if !errors.As(err, &temporary) || temporary.RetryAfter < 20*time.Second {
		t.Errorf("got %v", err)
	}
}

// A refresh that does not repeat the refresh token and the scopes has not taken them away.
//
// It has a row in docs/compatibility.md.
func TestARefreshThatRepeatsNothing(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{NoRotation: true})
	st := memstore.New()
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}))
	srv.Set(func(f *authtest.Faults) {
		f.TokenAnswer = func(m map[string]any) { delete(m, "scope"); delete(m, "token_type"); delete(m, "refresh_token") }
	})
	for range 3 {
		srv.Expire()
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)}) // each time after a restart
		ping(t, c)
		if rec := stored(t, st, c); rec.RefreshToken == "" || !slices.Contains(rec.Scopes, "mcp:read") || rec.Resource != srv.MCPURL() {
			t.Errorf("%+v", rec)
		}
	}
	if srv.Count("refresh") != 3 || srv.Count("authorize") != 1 {
		t.Errorf("%d refreshes, %d logins", srv.Count("refresh"), srv.Count("authorize"))
	}
}

// It has a row in docs/compatibility.md.
func TestARestartRefreshesAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { testARestartRefreshesAndNothingElse(t, dir) })
}

func testARestartRefreshesAndNothingElse(t *testing.T, dir string) {
	n := newMemoryNetwork()
	srv := n.authtest(t, authtest.Options{AccessTokenLifetime: time.Second})
	st, err := filestore.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	network := mcpoauth.NetworkOptions{HTTPClient: n.client(t)}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: n.person(t, &asked), Network: network})
	ping(t, c)
	time.Sleep(1100 * time.Millisecond)
	before := len(srv.Requests())
	c2 := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t), Network: network})
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

// It has a row in docs/compatibility.md.
func TestARefreshWithoutANewRefreshToken(t *testing.T) {
	t.Parallel()
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

// It has a row in docs/compatibility.md.
func TestManyRequestsRefreshOnce(t *testing.T) {
	t.Parallel()
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

// It has a row in docs/compatibility.md.
func TestAWaiterWhoLeavesStopsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testAWaiterWhoLeavesStopsNothing)
}

func testAWaiterWhoLeavesStopsNothing(t *testing.T) {
	n := newMemoryNetwork()
	srv := n.authtest(t, authtest.Options{})
	var asked atomic.Int32
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: n.person(t, &asked), Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.TokenDelay = time.Second })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	errs := make(chan error, 1)
	go func() {
		_, err := c.Token(ctx, &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour})
		errs <- err
	}()
	synctest.Wait() // the refresh is on its way
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
//
// It has a row in docs/compatibility.md.
func TestAFailedRefreshEndsNoLogin(t *testing.T) {
	t.Parallel()
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

func TestARevokedRefreshTokenEndsTheLoginAndKeepsTheRegistration(t *testing.T) {
	t.Parallel()
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

// It has a row in docs/compatibility.md.
func TestAnExpiredClientSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testAnExpiredClientSecret)
}

func testAnExpiredClientSecret(t *testing.T) {
	n := newMemoryNetwork()
	srv := n.authtest(t, authtest.Options{})
	srv.Set(func(f *authtest.Faults) {
		f.RegistrationAuthMethod, f.SecretLifetime = "client_secret_basic", 2*time.Second
	})
	var asked atomic.Int32
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: n.person(t, &asked), Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}})
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

// TestALoginWithoutAPerson fails as its refresh does: what may pass is temporary, and a token that was rejected makes the
// next login ask.
func TestALoginWithoutAPerson(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		person, _ := w.loggedIn(mcpoauth.Options{})
		quiet := w.open(mcpoauth.Options{})
		time.Sleep(2 * time.Hour)
		w.srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{"refresh": 503} })
		if _, err := quiet.Login(t.Context(), nil); !errors.Is(err, mcpoauth.ErrTemporary) || errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("in trouble: %v", err)
		}
		w.srv.Set(func(f *authtest.Faults) { f.Fail = nil })
		time.Sleep(time.Minute)
		tok, err := quiet.Login(t.Context(), nil)
		if err != nil || w.asked.Load() != 1 {
			t.Fatal(err)
		}
		// The token is good for an hour, as far as anybody can see.
		w.change(person, func(rec *record.Login) { rec.RefreshToken = "" })
		if _, err := quiet.TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("rejected: %v", err)
		}
		other := w.open(mcpoauth.Options{Prompt: w.net.person(t, &w.asked)})
		if next, err := other.Login(t.Context(), nil); err != nil || w.asked.Load() != 2 || next.AccessToken() == tok.AccessToken() {
			t.Errorf("the next login: %v, asked %d times", err, w.asked.Load())
		}
		if _, err := other.Login(t.Context(), nil); err != nil || w.asked.Load() != 2 {
			t.Errorf("and the one after it: %v, asked %d times", err, w.asked.Load())
		}
	})
}
