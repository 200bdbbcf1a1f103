package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// gatedPerson is a person who allows once the gate opens, and tells when a prompt begins and how it ends.
type gatedPerson struct {
	srv   *authtest.Server
	gate  chan struct{}
	begun chan struct{}
	ended chan struct{}
	n     atomic.Int32
}

func newGated(srv *authtest.Server) *gatedPerson {
	return &gatedPerson{srv: srv, gate: make(chan struct{}), begun: make(chan struct{}, 10), ended: make(chan struct{}, 10)}
}

func (p *gatedPerson) prompt(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	p.n.Add(1)
	p.begun <- struct{}{}
	defer func() { p.ended <- struct{}{} }()
	select {
	case <-p.gate:
		_, err := p.srv.Browser(ctx, lp.URL)
		return nil, err
	case <-ctx.Done():
		return nil, nil
	}
}

// within fails the test unless a result comes in time.
func within[T any](t *testing.T, d time.Duration, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(d):
		t.Fatalf("%s: not within %v", what, d)
		panic("unreachable")
	}
}

// TestALoginOutlivesACallerThatLeaves: the caller that began it or one that joined it leaves, and the other one gets the login.
func TestALoginOutlivesACallerThatLeaves(t *testing.T) {
	t.Parallel()
	for name, leaver := range map[string]int{"the first leaves": 0, "the second leaves": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, nil)
			p := newGated(srv)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
			var got [2]chan error
			var leave [2]context.CancelFunc
			for i := range got {
				got[i] = make(chan error, 1)
				ctx, cancel := context.WithCancel(t.Context())
				leave[i] = cancel
				go func() { _, err := c.Login(ctx, nil); got[i] <- err }()
				if i == 0 {
					within(t, 10*time.Second, "the prompt", p.begun)
				} else {
					time.Sleep(50 * time.Millisecond) // it joins
				}
			}
			leave[leaver]()
			if err := within(t, 3*time.Second, "the caller that leaves", got[leaver]); !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v", err)
			}
			close(p.gate)
			if err := within(t, 10*time.Second, "the caller that stays", got[1-leaver]); err != nil {
				t.Errorf("who stayed got %v", err)
			}
			if n := p.n.Load(); n != 1 {
				t.Errorf("%d prompts", n)
			}
		})
	}
}

// TestALoginJoinedFromARequestIsLeftByItsOwnContext: neither waits for the other's limit.
func TestALoginJoinedFromARequestIsLeftByItsOwnContext(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p := newGated(srv)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
	requested := make(chan error, 1)
	go func() { _, err := tryPing(c); requested <- err }()
	within(t, 10*time.Second, "the prompt", p.begun)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.Login(ctx, nil)
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	close(p.gate)
	if err := within(t, 10*time.Second, "the request", requested); err != nil {
		t.Errorf("the request: %v", err)
	}
}

// TestWorkForNoCallerIsCancelled: the prompt ends, and the port and the lock are free for the next.
func TestWorkForNoCallerIsCancelled(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p := newGated(srv)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := c.Login(ctx, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	within(t, 10*time.Second, "the prompt", p.begun)
	cancel()
	wg.Wait()
	within(t, time.Second, "the end of the prompt", p.ended)
	close(p.gate)
	if _, err := c.Login(t.Context(), nil); err != nil {
		t.Errorf("the next login: %v", err)
	}
	if n := p.n.Load(); n != 2 {
		t.Errorf("%d prompts", n)
	}
}

// TestARefreshThatWasSentIsSaved though its only caller has left.
func TestARefreshThatWasSentIsSaved(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	tok, err := c.Login(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	srv.Set(func(f *authtest.Faults) {
		f.TokenDelay = 200 * time.Millisecond
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": func(http.ResponseWriter, *http.Request) bool { cancel(); return false }}
	})
	if _, err := c.TokenRejected(ctx, tok); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for stored(t, st, c).AccessToken == tok.AccessToken() {
		if time.Now().After(deadline) {
			t.Fatal("the new token was not saved")
		}
		time.Sleep(10 * time.Millisecond)
	}
	srv.Set(func(f *authtest.Faults) { *f = authtest.Faults{} })
	if status := ping(t, c); status != http.StatusOK || srv.Revoked() != 0 {
		t.Errorf("status %d, %d logins revoked", status, srv.Revoked())
	}
}

// TestLoginsForDifferentThingsAreNotTakenForOne.
func TestLoginsForDifferentThingsAreNotTakenForOne(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		second        mcpoauth.LoginOptions
		registrations int
	}{
		"force":        {mcpoauth.LoginOptions{Force: true}, 1},
		"a new client": {mcpoauth.LoginOptions{NewClient: true}, 2},
		"scopes":       {mcpoauth.LoginOptions{Scopes: []string{"mcp:write"}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, nil)
			p := newGated(srv)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
			got := make(chan error, 2)
			go func() { _, err := c.Login(t.Context(), nil); got <- err }()
			within(t, 10*time.Second, "the prompt", p.begun)
			go func() { _, err := c.Login(t.Context(), &tc.second); got <- err }()
			time.Sleep(50 * time.Millisecond) // it waits for its turn
			close(p.gate)
			for range 2 {
				if err := within(t, 20*time.Second, "a login", got); err != nil {
					t.Error(err)
				}
			}
			if n := p.n.Load(); n != 2 || srv.Count("registration") != tc.registrations {
				t.Errorf("%d prompts, %d registrations", n, srv.Count("registration"))
			}
		})
	}
}

// TestAPromptThatIgnoresItsContext holds a login for a second at most.
func TestAPromptThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	for name, cancelled := range map[string]bool{"the login's limit": false, "a caller that leaves": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{LoginTimeout: 300 * time.Millisecond, Prompt: func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
				if cancelled {
					cancel()
				}
				<-stuck
				return nil, nil
			}})
			start := time.Now()
			_, err := c.Login(ctx, nil)
			if took := time.Since(start); err == nil || took > 2500*time.Millisecond {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// countingStore counts the reads of logins.
type countingStore struct {
	store.Store
	loads atomic.Int32
}

func (s *countingStore) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if key.Kind == store.KindLogin {
		s.loads.Add(1)
	}
	return s.Store.Load(ctx, key)
}

// TestAColdLoginReadsTheRecordTwice: before it waits for its turn, and when it has it.
func TestAColdLoginReadsTheRecordTwice(t *testing.T) {
	t.Parallel()
	for name, login := range map[string]func(*mcpoauth.Client) error{
		"Login":     func(c *mcpoauth.Client) error { _, err := c.Login(context.Background(), nil); return err },
		"a request": func(c *mcpoauth.Client) error { _, err := tryPing(c); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, nil)
			st := &countingStore{Store: memstore.New()}
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
			if err := login(c); err != nil {
				t.Fatal(err)
			}
			if n := st.loads.Load(); n != 2 {
				t.Errorf("the login was read %d times, want 2", n)
			}
		})
	}
}
