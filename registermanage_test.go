package mcpoauth_test

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// TestTheRegistrationTokenStaysWithItsServer: an address on another origin that is to manage the registration gets
// nothing (RFC 7592 section 3: the token is a secret).
func TestTheRegistrationTokenStaysWithItsServer(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(t *testing.T, c *mcpoauth.Client){
		"Logout": func(t *testing.T, c *mcpoauth.Client) {
			if res, err := c.Logout(t.Context()); err != nil || res.ClientDeleted {
				t.Errorf("%+v, %v", res, err)
			}
		},
		"Clear": func(t *testing.T, c *mcpoauth.Client) {
			var e *mcpoauth.Error
			if err := c.Clear(t.Context(), &mcpoauth.ClearOptions{Registration: true}); !errorAt(err, mcpoauth.OpRegistration, &e) {
				t.Errorf("got %v", err)
			}
		},
		"a login on another port": func(t *testing.T, c *mcpoauth.Client) {
			if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
				t.Error(err)
			}
		},
		"a login for further scopes": func(t *testing.T, c *mcpoauth.Client) {
			if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true, Scopes: []string{"mcp:write"}}); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, _ := w.loggedIn(mcpoauth.Options{Allow: mcpoauth.Allow{ForeignEndpoints: true}})
				hits := 0
				thief := w.net.serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
				w.register(func(reg *record.Registration) { reg.ClientURI, reg.Scope = thief.URL+"/client", "mcp:read" })
				w.change(c, func(rec *record.Login) { rec.Registration.ClientURI = thief.URL + "/client" })
				if name == "a login on another port" {
					reg, _, _ := w.registration()
					u, err := url.Parse(reg.RedirectURI)
					if err != nil {
						t.Fatal(err)
					}
					busy, err := net.Listen("tcp", u.Host)
					if err != nil {
						t.Skip(err)
					}
					defer busy.Close()
				}
				time.Sleep(10 * time.Minute) // until then another login may be under way with the client
				use(t, c)
				if hits != 0 {
					t.Errorf("another origin got %d requests", hits)
				}
			})
		})
	}
}

// TestAClientThatIsNotOursToDelete stays at the server.
func TestAClientThatIsNotOursToDelete(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w *world, c *mcpoauth.Client){
		"nothing is in its way": nil,
		"another was registered since": func(w *world, _ *mcpoauth.Client) {
			w.register(func(reg *record.Registration) { reg.ClientID = "a-newer-client" })
		},
		"it was registered by hand": func(w *world, c *mcpoauth.Client) {
			w.change(c, func(rec *record.Login) { rec.Registration.Source = string(mcpoauth.SourcePreRegistered) })
		},
		"a login with it is under way": func(w *world, _ *mcpoauth.Client) {
			w.register(func(reg *record.Registration) { reg.LoginUntil = time.Now().Add(time.Minute) })
		},
		"a login with it begins": func(w *world, _ *mcpoauth.Client) {
			w.st.set(func(s *loose) {
				s.onList = func() { w.register(func(reg *record.Registration) { reg.Unanswered = true }) }
			})
		},
		"another login cannot be read": func(w *world, _ *mcpoauth.Client) {
			if _, err := w.st.Save(w.t.Context(), store.Key{Kind: store.KindLogin, ID: "https://other.example/mcp"}, []byte(`{`), 0); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, _ := w.loggedIn(mcpoauth.Options{})
				time.Sleep(10 * time.Minute) // the login's own limit is over
				if spoil == nil {
					if res, err := c.Logout(t.Context()); err != nil || !res.ClientDeleted || w.srv.Count("client-deletion") != 1 {
						t.Errorf("%+v, %v, %d deletions", res, err, w.srv.Count("client-deletion"))
					}
					return
				}
				spoil(w, c)
				res, err := c.Logout(t.Context())
				if err != nil || res.ClientDeleted || w.srv.Count("client-deletion") != 0 {
					t.Errorf("%+v, %v, %d deletions", res, err, w.srv.Count("client-deletion"))
				}
				w.st.set(func(s *loose) { s.onList = nil })
				w.registration()
			})
		})
	}
}

// TestARefusedClientIsForgotten, unless another was registered since.
func TestARefusedClientIsForgotten(t *testing.T) {
	t.Parallel()
	for name, same := range map[string]bool{"the same": true, "another": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				_, tok := w.loggedIn(mcpoauth.Options{})
				if !same {
					w.register(func(reg *record.Registration) { reg.ClientID = "a-newer-one" })
				}
				w.answer("refresh", page(401, "application/json", `{"error":"invalid_client"}`))
				if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrLoginRequired) {
					t.Errorf("got %v", err)
				}
				n := 0
				for range w.st.List(t.Context(), store.Filter{Kind: store.KindRegistration}) {
					n++
				}
				if n != map[bool]int{true: 0, false: 1}[same] {
					t.Errorf("%d registrations are left", n)
				}
			})
		})
	}
}

// TestALoginKeepsTheClientThatServes, and registers one where the stored one does not.
func TestALoginKeepsTheClientThatServes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil         func(*record.Registration)
		opts          mcpoauth.LoginOptions
		registrations int
	}{
		"as it is":                       {registrations: 1},
		"the person wants another":       {opts: mcpoauth.LoginOptions{NewClient: true}, registrations: 2},
		"its secret has expired":         {spoil: func(r *record.Registration) { r.SecretExpiry = time.Now().Add(-time.Minute) }, registrations: 2},
		"its last login did not return":  {spoil: func(r *record.Registration) { r.Unanswered = true }, registrations: 1},
		"nor can the server be asked":    {spoil: func(r *record.Registration) { r.Unanswered, r.ClientURI = true, "" }, registrations: 2},
		"it is another server's":         {spoil: func(r *record.Registration) { r.Issuer = "https://other.example" }, registrations: 2},
		"the server has forgotten it":    {registrations: 2},
		"a secret that is still good":    {spoil: func(r *record.Registration) { r.SecretExpiry = time.Now().Add(time.Minute) }, registrations: 1},
		"scopes that can be added to it": {spoil: func(r *record.Registration) { r.Scope = "mcp:read" }, opts: mcpoauth.LoginOptions{Scopes: []string{"mcp:write"}}, registrations: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, _ := w.loggedIn(mcpoauth.Options{LoginTimeout: time.Minute})
				if tc.spoil != nil {
					w.register(tc.spoil)
				}
				tc.opts.Force = true
				if name == "the server has forgotten it" {
					w.srv.Set(func(f *authtest.Faults) { f.AuthorizeError = "unauthorized_client" })
					e, ok := errors.AsType[*mcpoauth.Error](mustFail(t, c, tc.opts))
					if !ok || e.Code != "unauthorized_client" || w.srv.Count("registration") != tc.registrations || w.asked.Load() != 3 {
						t.Errorf("%v, %d registrations, %d prompts", e, w.srv.Count("registration"), w.asked.Load())
					}
					return
				}
				if _, err := c.Login(t.Context(), &tc.opts); err != nil || w.srv.Count("registration") != tc.registrations {
					t.Errorf("%v, %d registrations", err, w.srv.Count("registration"))
				}
				if reg, _, _ := w.registration(); reg.Unanswered || reg.ClientID != stored(t, w.st, c).Registration.ClientID {
					t.Errorf("afterwards: %+v", reg)
				}
				// The next login finds it in order.
				if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil || w.srv.Count("registration") != tc.registrations {
					t.Errorf("%v, %d registrations", err, w.srv.Count("registration"))
				}
			})
		})
	}
}

func mustFail(t *testing.T, c *mcpoauth.Client, o mcpoauth.LoginOptions) error {
	t.Helper()
	_, err := c.Login(t.Context(), &o)
	if err == nil {
		t.Error("logged in")
	}
	return err
}
