package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestLogoutWinsOverARefreshUnderWay: nothing is written back, the caller is told, and what came too late is revoked.
func TestLogoutWinsOverARefreshUnderWay(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]authtest.Options{"a new refresh token": {}, "the same refresh token": {NoRotation: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, o, func(t *testing.T, w *world) {
				c, _ := w.loggedIn(mcpoauth.Options{})
				w.srv.Set(func(f *authtest.Faults) { f.TokenDelay = 300 * time.Millisecond })
				errs := make(chan error, 1)
				go func() {
					_, err := c.TokenRejected(context.Background(), mustToken(t, c))
					errs <- err
				}()
				synctest.Wait() // the server has rotated the token, and has not answered
				if _, err := w.open(mcpoauth.Options{}).Logout(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := <-errs; !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "logged out") {
					t.Errorf("the refresh: %v", err)
				}
				for key, err := range w.st.List(t.Context(), store.Filter{Kind: store.KindLogin}) {
					t.Errorf("written back: %v, %v", key, err)
				}
				issued := slices.DeleteFunc(w.srv.Secrets(), func(s string) bool { return !strings.HasPrefix(s, "refresh-") })
				for _, token := range issued {
					if !slices.Contains(revokedAt(w.srv), token) {
						t.Errorf("%.14s… was not revoked", token)
					}
				}
				if want := map[bool]int{false: 2, true: 1}[o.NoRotation]; len(issued) != want || len(revokedAt(w.srv)) != 3 {
					t.Errorf("%d refresh tokens were issued, %d revocations", len(issued), len(revokedAt(w.srv)))
				}
				if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// mustToken returns the token that c has.
func mustToken(t *testing.T, c *mcpoauth.Client) *mcpoauth.Token {
	t.Helper()
	tok, err := c.Token(t.Context(), nil)
	if err != nil {
		t.Error(err)
	}
	return tok
}

// revokedAt returns the tokens whose revocation a server was asked for.
func revokedAt(srv *authtest.Server) (tokens []string) {
	for _, r := range srv.Requests() {
		if r.Leg == "revocation" {
			tokens = append(tokens, r.Form.Get("token"))
		}
	}
	return tokens
}

// TestALogoutRevokesBothTokens, the refresh token first, and forgets them here whatever the server says.
func TestALogoutRevokesBothTokens(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		leg    string // of the token that is refused
		ok     bool
	}{
		"both":                              {ok: true},
		"no revocation of access tokens":    {400, `{"error":"unsupported_token_type"}`, "access_token", true},
		"no revocation of refresh tokens":   {400, `{"error":"unsupported_token_type"}`, "refresh_token", false},
		"another refusal of access tokens":  {400, `{"error":"invalid_request"}`, "access_token", false},
		"a server in trouble":               {503, ``, "refresh_token", false},
		"a server in trouble at the second": {503, ``, "access_token", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				w.loggedIn(mcpoauth.Options{})
				c := w.open(mcpoauth.Options{})
				rec := stored(t, w.st, c)
				var order []string
				w.answer("revocation", func(rw http.ResponseWriter, r *http.Request) bool {
					all := w.srv.Requests()
					form := all[len(all)-1].Form
					order = append(order, form.Get("token"))
					return tc.leg == form.Get("token_type_hint") && page(tc.status, "application/json", tc.body)(rw, r)
				})
				res, err := c.Logout(t.Context())
				if res == nil || !res.WasLoggedIn || res.Revoked != tc.ok || (err == nil) != tc.ok || err != nil && !errors.Is(err, mcpoauth.ErrTemporary) {
					t.Errorf("%+v, %v", res, err)
				}
				if !slices.Equal(order, []string{rec.RefreshToken, rec.AccessToken}) {
					t.Errorf("%d tokens, the refresh token first: %t", len(order), len(order) > 0 && order[0] == rec.RefreshToken)
				}
				if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
					t.Errorf("afterwards: %v", err)
				}
				if _, err := tryPing(c); !errors.Is(err, mcpoauth.ErrLoginRequired) {
					t.Errorf("a request afterwards: %v", err)
				}
				if res, err := c.Logout(t.Context()); err != nil || res.WasLoggedIn {
					t.Errorf("once more: %+v, %v", res, err)
				}
			})
		})
	}
}

// TestARemovalElsewhere: a Client that looks finds its login gone.
func TestARemovalElsewhere(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		if err := w.open(mcpoauth.Options{}).Clear(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Status(t.Context()); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("got %v", err)
		}
	})
}

// TestALogoutForgetsTheRefreshThatWasLost: the posts before it do not count for the next login.
func TestALogoutForgetsTheRefreshThatWasLost(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(context.Context, *mcpoauth.Client) error{
		"Logout": func(ctx context.Context, c *mcpoauth.Client) error { _, err := c.Logout(ctx); return err },
		"Clear":  func(ctx context.Context, c *mcpoauth.Client) error { return c.Clear(ctx, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, tok := w.loggedIn(mcpoauth.Options{})
				w.srv.Set(func(f *authtest.Faults) { f.Drop = map[string]int{"refresh": 1} })
				if _, err := c.TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) {
					t.Errorf("got %v", err)
				}
				if err := forget(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				for key := range w.st.List(t.Context(), store.Filter{Kind: store.KindPending}) {
					t.Errorf("%v is left", key)
				}
			})
		})
	}
}

// TestClear forgets the login and tells the server nothing, unless the registration is to go too.
func TestClear(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opts          *mcpoauth.ClearOptions
		before        func(*world, *mcpoauth.Client)
		registrations int
		deletions     int
		err           bool
	}{
		"the login":            {opts: nil, registrations: 1},
		"the login, the rest":  {opts: &mcpoauth.ClearOptions{}, registrations: 1},
		"and its registration": {opts: &mcpoauth.ClearOptions{Registration: true}, deletions: 1},
		"and its registration, whose token has changed": {
			opts: &mcpoauth.ClearOptions{Registration: true}, deletions: 1,
			before: func(w *world, c *mcpoauth.Client) {
				w.change(c, func(rec *record.Login) { rec.Registration.AccessToken = "an-old-one" })
			},
		},
		"a server that deletes none": {
			opts: &mcpoauth.ClearOptions{Registration: true}, deletions: 1, err: true,
			before: func(w *world, _ *mcpoauth.Client) {
				w.srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{"client-deletion": 403} })
			},
		},
		"a client that was registered by hand": {
			opts: &mcpoauth.ClearOptions{Registration: true}, registrations: 1,
			before: func(w *world, c *mcpoauth.Client) {
				w.change(c, func(rec *record.Login) { rec.Registration.Source = string(mcpoauth.SourcePreRegistered) })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, _ := w.loggedIn(mcpoauth.Options{})
				if tc.before != nil {
					tc.before(w, c)
				}
				if err := c.Clear(t.Context(), tc.opts); (err != nil) != tc.err {
					t.Errorf("got %v", err)
				}
				n := 0
				for range w.st.List(t.Context(), store.Filter{Kind: store.KindRegistration}) {
					n++
				}
				if n != tc.registrations || w.srv.Count("client-deletion") != tc.deletions || w.srv.Count("revocation") != 0 {
					t.Errorf("%d registrations are left, %d deletions, %d revocations", n, w.srv.Count("client-deletion"), w.srv.Count("revocation"))
				}
				for _, r := range w.srv.Requests() {
					if r.Leg == "client-deletion" && (r.Status == http.StatusNoContent) == tc.err {
						t.Errorf("the deletion was answered with %d", r.Status)
					}
				}
				if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// TestWhatCannotBeReadIsRemovedByClearOnly, and not while its store is merely away.
func TestWhatCannotBeReadIsRemovedByClearOnly(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		there := func() bool {
			_, _, err := w.st.Store.Load(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()})
			return err == nil
		}
		sealed, away := error(&store.SealedError{}), error(&store.UnreachableError{Server: "redis", Err: errors.New("refused")})
		w.st.set(func(s *loose) { s.loadErr = sealed })
		if _, err := c.Logout(t.Context()); !errors.Is(err, sealed) || !there() {
			t.Errorf("Logout: %v", err)
		}
		w.st.set(func(s *loose) { s.loadErr = away })
		if err := c.Clear(t.Context(), nil); !errors.Is(err, mcpoauth.ErrTemporary) || !there() {
			t.Errorf("Clear while the store is away: %v", err)
		}
		w.st.set(func(s *loose) { s.loadErr = sealed })
		if err := c.Clear(t.Context(), nil); err != nil || there() {
			t.Errorf("Clear: %v", err)
		}
	})
}

// TestClearAll removes logins of all profiles, and registrations only if that is asked for.
func TestClearAll(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		for _, profile := range []string{"", "work"} {
			w.loggedIn(mcpoauth.Options{Profile: profile})
		}
		count := func(kind store.Kind) (n int) {
			for range w.st.List(t.Context(), store.Filter{Kind: kind}) {
				n++
			}
			return n
		}
		if n, err := mcpoauth.ClearAll(t.Context(), w.st, nil); err != nil || n != 2 || count(store.KindLogin) != 0 || count(store.KindRegistration) != 2 {
			t.Errorf("%d, %v, %d logins, %d registrations", n, err, count(store.KindLogin), count(store.KindRegistration))
		}
		if n, err := mcpoauth.ClearAll(t.Context(), w.st, &mcpoauth.ClearOptions{Registration: true}); err != nil || n != 0 || count(store.KindRegistration) != 0 {
			t.Errorf("%d, %v, %d registrations", n, err, count(store.KindRegistration))
		}
		if w.srv.Count("revocation")+w.srv.Count("client-deletion") != 0 {
			t.Error("a server was told")
		}
	})
}

// TestARevocationEndpointElsewhereIsNotTold: it would collect the tokens. The logout says which endpoint was not told,
// and the setting with which a login uses it.
func TestARevocationEndpointElsewhereIsNotTold(t *testing.T) {
	t.Parallel()
	const mcp, issuer, elsewhere = "https://mcp.example.com/mcp", "https://as.example.com", "https://collector.test/revoke"
	for name, tc := range map[string]struct {
		login, logout mcpoauth.Options
		told          int
	}{
		"by default":                  {},
		"a login that allows it":      {login: mcpoauth.Options{Allow: mcpoauth.Allow{ForeignEndpoints: true}}, told: 2},
		"an endpoint that is given":   {logout: mcpoauth.Options{Server: mcpoauth.ServerOptions{Endpoints: mcpoauth.Endpoints{Authorization: issuer + "/authorize", Token: issuer + "/token", Revocation: elsewhere}}}, told: 2},
		"allowed after the login was": {logout: mcpoauth.Options{Allow: mcpoauth.Allow{ForeignEndpoints: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := inOrder(t, mcp, issuer)
			m := metadataOf(issuer)
			m["revocation_endpoint"] = elsewhere + "?key=1"
			p.documents[issuer+"/.well-known/oauth-authorization-server"] = m
			told := 0
			hc := &http.Client{Transport: sends(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "collector.test" {
					told++
					return document{200, "text/plain", nil}.response(r), nil
				}
				return p.RoundTrip(r)
			})}
			st := memstore.New()
			tc.login.Store, tc.login.Prompt, tc.login.Network.HTTPClient = st, p.person, hc
			if _, err := newClient(t, mcp, tc.login).Login(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			tc.logout.Store, tc.logout.Network.HTTPClient = st, hc
			res, err := newClient(t, mcp, tc.logout).Logout(t.Context())
			if err != nil || !res.WasLoggedIn || res.Revoked != (tc.told > 0) || told != tc.told {
				t.Errorf("%+v, %v; the endpoint got %d requests, want %d", res, err, told, tc.told)
			}
			for _, want := range []string{elsewhere + " was not told", "--allow-foreign-endpoints"} {
				if strings.Contains(res.Detail, want) != (tc.told == 0) || strings.Contains(res.Detail, "key=1") {
					t.Errorf("the detail is %q", res.Detail)
				}
			}
		})
	}
}
