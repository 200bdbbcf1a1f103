package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// refreshes keeps the forms of the refresh requests that a server gets.
type refreshes struct {
	mu    sync.Mutex
	forms []url.Values
	auth  []string
}

func (r *refreshes) watch(srv *authtest.Server) {
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": func(_ http.ResponseWriter, req *http.Request) bool {
			_ = req.ParseForm()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.forms, r.auth = append(r.forms, req.PostForm), append(r.auth, req.Header.Get("Authorization"))
			return false
		}}
	})
}

// TestWhatIsGivenNowCounts for a login that is stored: it is used for the next refresh and stored once that succeeded, or
// the login is refused with an error that names the setting.
func TestWhatIsGivenNowCounts(t *testing.T) {
	t.Parallel()
	const id, secret = "by-hand", "the-right-secret"
	for name, tc := range map[string]struct {
		method mcpoauth.AuthMethod // that the server demands
		spoil  func(*record.Login) // what is stored
		given  mcpoauth.Options
		// check looks at the refresh; refused is what the error names instead.
		check   func(t *testing.T, form url.Values, auth string)
		stored  func(*record.Login) bool
		refused string
	}{
		"a client secret": {
			spoil:  func(r *record.Login) { r.Registration.ClientSecret = "an-old-secret" },
			given:  mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: id, Secret: secret}},
			stored: func(r *record.Login) bool { return r.Registration.ClientSecret == secret },
		},
		"a client secret for a login that was refused with the old one": {
			spoil: func(r *record.Login) {
				r.Registration.ClientSecret, r.LoginRequired, r.LoginRequiredFor = "an-old-secret", "the server no longer accepts this client", "of the old one"
			},
			given:  mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: id, Secret: secret}},
			stored: func(r *record.Login) bool { return r.Registration.ClientSecret == secret && r.LoginRequired == "" },
		},
		"client_secret_post": {
			method: mcpoauth.AuthMethodPost,
			spoil:  func(r *record.Login) { r.Registration.AuthMethod = "client_secret_basic" },
			given:  mcpoauth.Options{Client: mcpoauth.ClientOptions{AuthMethod: mcpoauth.AuthMethodPost}},
			check: func(t *testing.T, form url.Values, auth string) {
				if form.Get("client_secret") != secret || auth != "" {
					t.Errorf("secret in the form: %t, Authorization %q", form.Has("client_secret"), auth)
				}
			},
			stored: func(r *record.Login) bool { return r.Registration.AuthMethod == "client_secret_post" },
		},
		"no resource": {
			given: mcpoauth.Options{Server: mcpoauth.ServerOptions{NoResource: true}},
			check: func(t *testing.T, form url.Values, _ string) {
				if form.Has("resource") {
					t.Errorf("resource %q was sent", form.Get("resource"))
				}
			},
			stored: func(r *record.Login) bool { return r.Resource == "" },
		},
		"token parameters": {
			given: mcpoauth.Options{Server: mcpoauth.ServerOptions{TokenParams: url.Values{"tenant": {"blue"}}}},
			check: func(t *testing.T, form url.Values, _ string) {
				if form.Get("tenant") != "blue" {
					t.Errorf("the form is %v", form)
				}
			},
		},
		"another client":               {given: mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "another"}}, refused: "--client-id"},
		"another authorization server": {given: mcpoauth.Options{Server: mcpoauth.ServerOptions{Issuer: "https://other.example"}}, refused: "--auth-server"},
		"another client's issuer":      {given: mcpoauth.Options{Client: mcpoauth.ClientOptions{Issuer: "https://other.example"}}, refused: "--client-issuer"},
		"a method without its key":     {given: mcpoauth.Options{Client: mcpoauth.ClientOptions{AuthMethod: mcpoauth.AuthMethodPrivateKeyJWT}}, refused: "--client-auth-method"},
		"a method without its secret": {
			spoil:   func(r *record.Login) { r.Registration.ClientSecret = "" },
			given:   mcpoauth.Options{Client: mcpoauth.ClientOptions{AuthMethod: mcpoauth.AuthMethodBasic}},
			refused: "--client-auth-method",
		},
		"scopes that the login lacks": {given: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read", "mcp:admin"}}}, refused: "mcp:admin"},
		"tokens bound to a key":       {given: mcpoauth.Options{DPoP: mcpoauth.Always}, refused: "--dpop always"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, &authtest.Options{Lenient: true})
			srv.AddClient(authtest.Client{ID: id, Secret: secret, AuthMethod: string(tc.method), RedirectURIs: []string{"http://127.0.0.1/callback"}})
			st := memstore.New()
			first := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Client: mcpoauth.ClientOptions{ID: id, Secret: secret, AuthMethod: tc.method}})
			tok, err := first.Login(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.spoil != nil {
				rec := stored(t, st, first)
				tc.spoil(rec)
				overwrite(t, st, first, rec)
			}
			var sent refreshes
			sent.watch(srv)
			tc.given.Store = st
			c := newClient(t, srv.MCPURL(), tc.given)
			if tc.refused != "" {
				_, err := c.Token(t.Context(), nil)
				if !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("got %v", err)
				}
				if status, err := c.Status(t.Context()); err != nil || status.State != mcpoauth.StateLoginRequired || !strings.Contains(status.Reason, tc.refused) {
					t.Errorf("the status is %+v, %v", status, err)
				}
				if len(sent.forms) != 0 {
					t.Errorf("%d refreshes were sent", len(sent.forms))
				}
				return
			}
			fresh, err := c.TokenRejected(t.Context(), tok)
			if err != nil || fresh.AccessToken() == tok.AccessToken() || len(sent.forms) != 1 {
				t.Fatalf("%v, %d refreshes", err, len(sent.forms))
			}
			if tc.check != nil {
				tc.check(t, sent.forms[0], sent.auth[0])
			}
			if tc.stored != nil && !tc.stored(stored(t, st, c)) {
				t.Error("it was not stored")
			}
		})
	}
}

// TestWhatIsGivenIsNotStoredBeforeItSucceeds.
func TestWhatIsGivenIsNotStoredBeforeItSucceeds(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{Lenient: true})
	srv.AddClient(authtest.Client{ID: "c", Secret: "right", RedirectURIs: []string{"http://127.0.0.1/callback"}})
	st := memstore.New()
	first := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Client: mcpoauth.ClientOptions{ID: "c", Secret: "right"}})
	tok, err := first.Login(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wrong := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Client: mcpoauth.ClientOptions{ID: "c", Secret: "wrong"}})
	if _, err := wrong.TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrLoginRequired) {
		t.Errorf("got %v", err)
	}
	rec := stored(t, st, first)
	if rec.Registration.ClientSecret != "right" || rec.RefreshToken == "" {
		t.Errorf("stored: %t, refresh token %t", rec.Registration.ClientSecret == "right", rec.RefreshToken != "")
	}
	// What was refused was refused for the wrong secret only.
	again := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	if _, err := again.TokenRejected(context.Background(), tok); err != nil {
		t.Errorf("with the right secret: %v", err)
	}
}
