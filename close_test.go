package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestCloseBesideEverything closes Clients while others use them. internal/trials/closing does the same for minutes.
func TestCloseBesideEverything(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{AutoApprove: true})
	p := &person{srv: srv}
	st := memstore.New()
	warm := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	if _, err := warm.Login(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for round := range 150 {
		c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: st, Prompt: p.prompt})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, use := range []func() error{
			func() error { _, err := c.Token(t.Context(), nil); return err },
			func() error {
				_, err := c.Token(t.Context(), &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour})
				return err
			},
			func() error { _, err := c.Login(t.Context(), nil); return err },
			func() error { _, err := tryPing(c); return err },
			func() error { _, err := c.Status(t.Context()); return err },
		} {
			wg.Go(func() {
				for {
					if err := use(); errors.Is(err, mcpoauth.ErrClosed) {
						return
					} else if err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
					runtime.Gosched() // else Close waits for a processor
				}
			})
		}
		time.Sleep(time.Duration(round%5) * 100 * time.Microsecond)
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		wg.Wait()
	}
}

// TestAClosedClientSendsNothing: everything fails with ErrClosed, also with a token that is good or due.
func TestAClosedClientSendsNothing(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	tok, err := c.Login(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	hc, source, handler := c.HTTPClient(), c.TokenSource(t.Context()), c.OAuthHandler()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(srv.Requests())
	ctx := t.Context()
	for name, use := range map[string]func() error{
		"Token":         func() error { _, err := c.Token(ctx, nil); return err },
		"a longer one":  func() error { _, err := c.Token(ctx, &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour}); return err },
		"TokenRejected": func() error { _, err := c.TokenRejected(ctx, tok); return err },
		"Login":         func() error { _, err := c.Login(ctx, nil); return err },
		"a forced one":  func() error { _, err := c.Login(ctx, &mcpoauth.LoginOptions{Force: true}); return err },
		"Logout":        func() error { _, err := c.Logout(ctx); return err },
		"Clear":         func() error { return c.Clear(ctx, nil) },
		"Status":        func() error { _, err := c.Status(ctx); return err },
		"Inspect":       func() error { _, err := c.Inspect(ctx); return err },
		"Discover":      func() error { _, err := c.Discover(ctx); return err },
		"BeginLogin":    func() error { _, err := c.BeginLogin(ctx, "https://app.example/callback"); return err },
		"FinishLogin":   func() error { _, err := c.FinishLogin(ctx, "id", url.Values{}); return err },
		"Import": func() error {
			_, err := c.Import(ctx, &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c"}, nil)
			return err
		},
		"a request":      func() error { _, err := hc.Get(srv.MCPURL()); return err },
		"TokenSource":    func() error { _, err := source.Token(); return err },
		"the SDK's":      func() error { _, err := handler.TokenSource(ctx); return err },
		"the SDK's hook": func() error { return handler.Authorize(ctx, authorized(t, srv.MCPURL(), tok), unauthorized()) },
	} {
		if err := use(); !errors.Is(err, mcpoauth.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(srv.Requests()) - before; n != 0 {
		t.Errorf("%d requests after Close", n)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func authorized(t *testing.T, address string, tok *mcpoauth.Token) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", tok.Authorization())
	return r
}

func unauthorized() *http.Response {
	return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}, Body: http.NoBody}
}

// TestCloseEndsWhatWaits: a login that waits for a person, and a request that waits for that login.
func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	asked := make(chan struct{}, 10)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: func(ctx context.Context, _ *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, nil
	}})
	ended := make(chan error, 2)
	go func() { _, err := c.Login(t.Context(), nil); ended <- err }()
	<-asked
	go func() { _, err := tryPing(c); ended <- err }()
	start := time.Now()
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, mcpoauth.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestCloseFinishesARefreshThatWasSent: the server has rotated the token by then.
func TestCloseFinishesARefreshThatWasSent(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	tok, err := c.Login(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	srv.Set(func(f *authtest.Faults) {
		f.TokenDelay = 300 * time.Millisecond
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": func(http.ResponseWriter, *http.Request) bool { close(sent); return false }}
	})
	go func() { _, _ = c.TokenRejected(context.Background(), tok) }()
	<-sent
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := stored(t, st, c).AccessToken; got == tok.AccessToken() || srv.Revoked() > 0 {
		t.Errorf("the new token was not saved; %d logins revoked", srv.Revoked())
	}
}
