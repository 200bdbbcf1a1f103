package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestABoundLoginIsNotRefreshedInVain: its token is of no use by itself, so no refresh token is spent for it.
func TestABoundLoginIsNotRefreshedInVain(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{DPoP: true}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		time.Sleep(2 * time.Hour)
		for _, c := range []*mcpoauth.Client{c, w.open(mcpoauth.Options{})} {
			_, err := c.TokenSource(t.Context()).Token()
			if _, ok := errors.AsType[*mcpoauth.BoundTokenError](err); !ok {
				t.Errorf("got %v", err)
			}
			_, err = c.OAuthHandler().TokenSource(t.Context())
			if _, ok := errors.AsType[*mcpoauth.BoundTokenError](err); !ok {
				t.Errorf("got %v", err)
			}
		}
		if n := w.srv.Count("refresh"); n != 0 {
			t.Errorf("%d refreshes", n)
		}
	})
}

// TestALoginBoundToAKey: the MCP server asks for DPoP, and nothing else need be said. A restart goes on with
// the same key.
func TestALoginBoundToAKey(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	p, st := &person{srv: srv}, memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	for range 3 {
		if status := ping(t, c); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	first := stored(t, st, c)
	if first.TokenType != "DPoP" || first.DPoPKey == "" {
		t.Errorf("the record has type %q, and a key: %t", first.TokenType, first.DPoPKey != "")
	}
	again := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
	srv.Expire()
	if status := ping(t, again); status != http.StatusOK || srv.Count("refresh") != 1 {
		t.Errorf("after a restart: status %d, %d refreshes", status, srv.Count("refresh"))
	}
	if now := stored(t, st, c); now.DPoPKey != first.DPoPKey || now.AccessToken == first.AccessToken {
		t.Error("the refresh has another key, or no other token")
	}
	if code, err := call(c, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note"}}`); code != http.StatusOK || p.asked() != 2 {
		t.Errorf("a step up: %d, %v, %d logins", code, err, p.asked())
	}
	if now := stored(t, st, c); now.DPoPKey == "" || now.DPoPKey == first.DPoPKey {
		t.Error("the new login has no key of its own")
	}
}

// TestNoncesAreSurvived: each nonce is good for a few requests, and ten goroutines use them up for each other.
func TestNoncesAreSurvived(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	srv.Set(func(f *authtest.Faults) { f.NonceUses = 7 })
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 30 {
				if status, err := tryPing(c); status != http.StatusOK {
					t.Errorf("a request was lost: %d, %v", status, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if srv.Count("authorize") != 1 || srv.Count("refresh") != 0 {
		t.Errorf("%d logins, %d refreshes", srv.Count("authorize"), srv.Count("refresh"))
	}
	proofs := map[string]bool{}
	for _, r := range srv.Requests() {
		if proof := r.Header.Get("DPoP"); r.Leg == "mcp" && (proof == "" || proofs[proof]) {
			t.Fatal("a proof is missing, or was used twice")
		} else if r.Leg == "mcp" {
			proofs[proof] = true
		}
	}
	srv.Set(func(f *authtest.Faults) { f.NonceUses = 1 })
	srv.Expire()
	if status := ping(t, c); status != http.StatusOK || srv.Revoked() != 0 {
		t.Errorf("a refresh with a nonce: %d, %d revoked", status, srv.Revoked())
	}
}

func TestABodyThatCannotBeSentAgainAndANonce(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.NonceUses = 2 })
	send := func() (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.MCPURL(), struct{ *strings.Reader }{strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			return 0, err
		}
		_ = resp.Body.Close()
		return resp.StatusCode, nil
	}
	if _, err := send(); !errors.Is(err, mcpoauth.ErrTemporary) {
		t.Errorf("got %v", err)
	}
	if status, err := send(); status != http.StatusOK {
		t.Errorf("the same once more: %d, %v", status, err)
	}
}

func TestABoundTokenAloneIsNotHandedOut(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	var bound *mcpoauth.BoundTokenError
	if _, err := c.TokenSource(t.Context()).Token(); !errors.As(err, &bound) {
		t.Errorf("TokenSource: %v", err)
	}
	if _, err := c.OAuthHandler().TokenSource(t.Context()); !errors.As(err, &bound) {
		t.Errorf("Handler: %v", err)
	}
	hint := mcpoauth.Hint(bound)
	for _, word := range []string{"mcpoauth run", "mcpoauth proxy", "HTTPClient"} {
		if !strings.Contains(hint, word) {
			t.Errorf("the hint does not name %s: %s", word, hint)
		}
	}
}

func TestWhatGoesWrongWithDPoP(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opt    mcpoauth.Options
		server authtest.Options
		faults func(*authtest.Faults)
		want   string
	}{
		"a plain token where a bound one was asked for": {
			server: authtest.Options{DPoP: true}, faults: func(f *authtest.Faults) { f.UnboundTokens = true }, want: "not bound",
		},
		"a plain token where the user insists": {
			opt: mcpoauth.Options{DPoP: mcpoauth.Always}, want: "not bound",
		},
		"a nonce after the other": {
			server: authtest.Options{DPoP: true}, faults: func(f *authtest.Faults) { f.NonceUses, f.NonceLoop = 1, true }, want: "DPoP nonce",
		},
		"no algorithm that is known": {
			server: authtest.Options{DPoP: true}, want: "none of the algorithms",
			faults: func(f *authtest.Faults) {
				f.ServerMetadata = func(doc map[string]any) { doc["dpop_signing_alg_values_supported"] = []string{"HS256", "ML-DSA-44"} }
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, &c.server)
			if c.faults != nil {
				srv.Set(c.faults)
			}
			c.opt.Prompt = (&person{srv: srv}).prompt
			_, err := tryPing(newClient(t, srv.MCPURL(), c.opt))
			var token *mcpoauth.Error
			var authorization *mcpoauth.Error
			if err == nil || !strings.Contains(err.Error(), c.want) || !errorAt(err, mcpoauth.OpToken, &token) && !errorAt(err, mcpoauth.OpAuthorization, &authorization) {
				t.Errorf("got %v", err)
			}
			if hint := mcpoauth.Hint(err); !strings.Contains(hint, "--dpop never") {
				t.Errorf("the hint is %q", hint)
			}
		})
	}
}

// TestNoncesWithoutEndAtTheMCPServer ends with an error about the server, and no login is lost.
func TestNoncesWithoutEndAtTheMCPServer(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.NonceUses, f.NonceLoop = 1, true })
	var token *mcpoauth.Error
	if _, err := tryPing(c); !errorAt(err, mcpoauth.OpToken, &token) || token.Code != "use_dpop_nonce" {
		t.Errorf("got %v", err)
	}
	srv.Set(func(f *authtest.Faults) { f.NonceLoop = false })
	if status := ping(t, c); status != http.StatusOK || srv.Count("authorize") != 1 {
		t.Errorf("afterwards: %d, %d logins", status, srv.Count("authorize"))
	}
}

// TestAClockThatIsOff is said, since a proof is only good for a moment.
func TestAClockThatIsOff(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	off := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header()["Date"] = []string{time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat)}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_dpop_proof","error_description":"iat"}`))
		return true
	}
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"token": off}
	})
	_, err := tryPing(newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt}))
	if hint := mcpoauth.Hint(err); !strings.Contains(hint, "clock is ") || !strings.Contains(hint, "m0s behind") && !strings.Contains(hint, "m59s behind") {
		t.Errorf("got %v, hint %q", err, hint)
	}
}

// TestALoginOnceBoundStaysBound: neither a refresh nor the next login takes a plain token for it.
func TestALoginOnceBoundStaysBound(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.UnboundTokens = true })
	srv.Expire()
	quiet := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	if _, err := tryPing(quiet); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "no longer binds") {
		t.Errorf("a refresh: %v", err)
	}
	if rec := stored(t, st, c); rec.TokenType != "DPoP" || rec.LoginRequired == "" {
		t.Errorf("the record has a token of type %q and says %q", rec.TokenType, rec.LoginRequired)
	}
	srv.Set(func(f *authtest.Faults) {
		// The MCP server no longer asks for it either.
		f.Challenge = []string{`Bearer resource_metadata="` + strings.TrimSuffix(srv.MCPURL(), "/mcp") + `/.well-known/oauth-protected-resource/mcp"`}
	})
	if _, err := c.Login(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "not bound") {
		t.Errorf("the next login: %v", err)
	}
}

// TestAServerThatBeginsToAskForDPoP gets a login that is bound, by the person or not at all.
func TestAServerThatBeginsToAskForDPoP(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	p, st := &person{srv: srv}, memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	ping(t, c)
	// What a login looked like before.
	rec := stored(t, st, c)
	rec.DPoPKey, rec.TokenType = "", "Bearer"
	overwrite(t, st, c, rec)
	if _, err := tryPing(newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "DPoP") {
		t.Errorf("without a person: %v", err)
	}
	if status := ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})); status != http.StatusOK || srv.Count("refresh") != 0 {
		t.Errorf("with one: %d, %d refreshes", status, srv.Count("refresh"))
	}
	if rec := stored(t, st, c); rec.DPoPKey == "" {
		t.Error("the login has no key")
	}
	rec = stored(t, st, c)
	rec.DPoPKey = "{}"
	overwrite(t, st, c, rec)
	if _, err := tryPing(newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged key: %v", err)
	}
}
