package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestAServerThatWantsAnotherKindOfLogin gets it from the person, and where there is none the next login asks
// for it.
func TestAServerThatWantsAnotherKindOfLogin(t *testing.T) {
	t.Parallel()
	const claims = `{"access_token":{"acrs":{"essential":true,"value":"cp1"}}}`
	for name, set := range map[string]func(*authtest.Faults){
		"a second factor (RFC 9470)": func(f *authtest.Faults) { f.WantACR = "urn:example:mfa phr" },
		"claims (Microsoft)":         func(f *authtest.Faults) { f.WantClaims = claims },
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			p, st := &person{srv: srv}, memstore.New()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
			ping(t, c)
			srv.Set(set)
			quiet := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
			for range 2 {
				if _, err := tryPing(quiet); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "the server demands a login") {
					t.Errorf("without a person: %v", err)
				}
			}
			if _, err := quiet.Token(t.Context(), nil); err != nil {
				t.Errorf("the token is good for what asks for less: %v", err)
			}
			// A person in another process, who knows nothing of it.
			other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
			if _, err := other.Login(t.Context(), nil); err != nil || p.asked() != 2 {
				t.Fatalf("%v, %d logins", err, p.asked())
			}
			for _, c := range []*mcpoauth.Client{other, quiet, c} {
				if status := ping(t, c); status != http.StatusOK {
					t.Errorf("after that: status %d", status)
				}
			}
			if srv.Count("refresh") != 0 || p.asked() != 2 {
				t.Errorf("%d refreshes, %d logins", srv.Count("refresh"), p.asked())
			}
		})
	}
}

func TestAPersonIsAskedOnceForAnotherKindOfLogin(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.WantACR = "urn:example:mfa" })
	if status := ping(t, c); status != http.StatusOK || p.asked() != 2 {
		t.Errorf("status %d, %d logins", status, p.asked())
	}
	for _, r := range srv.Requests() {
		if r.Leg == "authorize" && r.Query.Get("acr_values") != "" && r.Query.Get("max_age") != "5" {
			t.Errorf("max_age is %q", r.Query.Get("max_age"))
		}
	}
	// One that is never content.
	srv.Set(func(f *authtest.Faults) {
		f.WantACR = ""
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication", acr_values="urn:never"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}}
	})
	var refused *mcpoauth.Error
	for range 2 {
		if _, err := tryPing(c); !errorAt(err, mcpoauth.OpAuthorization, &refused) || !strings.Contains(err.Error(), "still demands") {
			t.Errorf("got %v", err)
		}
	}
	if p.asked() != 3 {
		t.Errorf("%d logins", p.asked())
	}
}

// TestChallengesThatAskForWhatCannotBeAsked are those of a token that is no longer good.
func TestChallengesThatAskForWhatCannotBeAsked(t *testing.T) {
	t.Parallel()
	for name, challenge := range map[string]string{
		"claims that are none":      `Bearer error="insufficient_claims", claims="!!!"`,
		"claims that are a list":    `Bearer error="insufficient_claims", claims="WzFd"`,
		"claims without end":        `Bearer error="insufficient_claims", claims="` + strings.Repeat("QUFB", 2000) + `"`,
		"an age that is none":       `Bearer error="insufficient_user_authentication", max_age="-1"`,
		"nothing at all":            `Bearer error="insufficient_user_authentication"`,
		"classes of another script": "Bearer error=\"insufficient_user_authentication\", acr_values=\"a\u00e9b\"",
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			p, st := &person{srv: srv}, memstore.New()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
			ping(t, c)
			n := 0
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": func(w http.ResponseWriter, _ *http.Request) bool {
					if n++; n > 1 {
						return false
					}
					w.Header().Set("WWW-Authenticate", challenge)
					w.WriteHeader(http.StatusUnauthorized)
					return true
				}}
			})
			if status := ping(t, c); status != http.StatusOK || srv.Count("refresh") != 1 || p.asked() != 1 {
				t.Errorf("status %d, %d refreshes, %d logins", status, srv.Count("refresh"), p.asked())
			}
			if rec := stored(t, st, c); rec.Required != nil {
				t.Errorf("noted: %+v", rec.Required)
			}
		})
	}
}

// TestATokenThatIsRefusedBeforeItsEnd: it looks good and cannot be renewed, or what can be renewed is another
// server's. The next login, in any process, is for it, and asks once.
func TestATokenThatIsRefusedBeforeItsEnd(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, st store.Store, srv *authtest.Server, end func(), p *person, reason string) {
		t.Helper()
		url := srv.MCPURL()
		opts := mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Never}}
		if _, err := newClient(t, url, opts).Login(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		quiet := newClient(t, url, mcpoauth.Options{Store: st})
		ping(t, quiet)
		end()
		if _, err := tryPing(quiet); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), reason) {
			t.Errorf("without a person: %v", err)
		}
		for range 2 {
			if _, err := newClient(t, url, mcpoauth.Options{Store: st, Prompt: p.prompt, Server: mcpoauth.ServerOptions{NoResource: true}}).Login(t.Context(), nil); err != nil || p.asked() != 1 {
				t.Fatalf("%v, %d logins", err, p.asked())
			}
			if s := ping(t, quiet); s != http.StatusOK {
				t.Errorf("after that: status %d", s)
			}
		}
	}
	t.Run("no refresh token", func(t *testing.T) {
		srv := authtest.New(t, &authtest.Options{RefreshNeedsOfflineAccess: true, Lenient: true})
		check(t, memstore.New(), srv, srv.RevokeAll, &person{srv: srv}, "there is no refresh token")
	})
	for name, revoke := range map[string]bool{"moved to another authorization server": false, "no longer accepts the refresh token": true} {
		t.Run(name, func(t *testing.T) {
			srv, next := authtest.New(t, nil), authtest.New(t, &authtest.Options{Lenient: true})
			check(t, memstore.New(), srv, func() {
				srv.Set(func(f *authtest.Faults) {
					f.AuthorizationServers = []string{next.Issuer()}
					f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": func(w http.ResponseWriter, r *http.Request) bool {
						if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && slices.Contains(next.Secrets(), token) {
							w.WriteHeader(http.StatusOK)
							return true
						}
						w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
						w.WriteHeader(http.StatusUnauthorized)
						return true
					}}
				})
				if revoke {
					srv.RevokeAll()
				}
			}, &person{srv: next}, name)
		})
	}
}

// It has a row in docs/compatibility.md.
func TestStepUpKeepsWhatWasGranted(t *testing.T) {
	t.Parallel()
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

// It has a row in docs/compatibility.md.
func TestAScopeThatIsNeverEnough(t *testing.T) {
	t.Parallel()
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

// It has a row in docs/compatibility.md.
func TestMissingScopesAreNamed(t *testing.T) {
	t.Parallel()
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

// TestTwoProcessesThatStepUp for the same ask one person: the one that waits finds the scopes in the other's login.
func TestTwoProcessesThatStepUp(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p, st := &person{srv: srv}, memstore.New()
	waits := make(chan struct{})
	note := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note"}}`
	second := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt, Trace: &mcpoauth.Trace{Waiting: func(_ context.Context, e mcpoauth.Waiting) {
		if e.For == mcpoauth.WaitLoginElsewhere {
			close(waits)
		}
	}}})
	done := make(chan error, 1)
	first := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		if p.asked() > 0 {
			go func() { _, err := call(second, note); done <- err }()
			within(t, 20*time.Second, "the second process", waits)
		}
		return p.prompt(ctx, lp)
	}})
	ping(t, first)
	ping(t, second)
	if status, err := call(first, note); status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}
	if err := within(t, 20*time.Second, "the second process", done); err != nil || p.asked() != 2 {
		t.Errorf("%v, %d logins", err, p.asked())
	}
}
