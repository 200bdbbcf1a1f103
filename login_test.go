package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// Logins to several servers at once: each holds a port of its own from before it is named until the end.
//
// It has a row in docs/compatibility.md.
func TestLoginsToManyServersAtOnce(t *testing.T) {
	t.Parallel()
	const n = 5
	var mu sync.Mutex
	ports := map[string]bool{}
	var all, done sync.WaitGroup
	all.Add(n)
	for range n {
		srv := authtest.New(t, nil)
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			mu.Lock()
			ports[lp.RedirectURI] = true
			mu.Unlock()
			all.Done()
			all.Wait() // all of them are open now
			_, err := srv.Browser(ctx, lp.URL)
			return nil, err
		}})
		done.Go(func() {
			if s, err := tryPing(c); s != 200 || err != nil {
				t.Errorf("status %d, %v", s, err)
			}
		})
	}
	done.Wait()
	if len(ports) != n {
		t.Errorf("redirect URIs %v", ports)
	}
}

// A login has ended for good while requests go on in the background: nobody is there to be asked, and each
// request says what to do.
//
// It has a row in docs/compatibility.md.
func TestNobodyIsAskedInTheBackground(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(m map[string]any) { delete(m, "refresh_token") } })
	st := memstore.New()
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}))
	srv.Expire()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := tryPing(c)
			var lr *mcpoauth.LoginRequiredError
			if !errors.As(err, &lr) || lr.ServerURL != srv.MCPURL() || lr.Reason == "" {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Inspect(t.Context()); err != nil {
		t.Error(err)
	}
	if srv.Count("authorize") != 1 || srv.Count("registration") != 1 || srv.Count("refresh") != 0 {
		t.Errorf("%d logins, %d registrations, %d refreshes", srv.Count("authorize"), srv.Count("registration"), srv.Count("refresh"))
	}
}

// The context of the login ends with it; what it obtained must not.
//
// It has a row in docs/compatibility.md.
func TestTheContextOfTheLoginIsOver(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.Login(ctx, nil); err != nil {
		t.Fatal(err)
	}
	ts := c.TokenSource(t.Context())
	cancel()
	srv.Expire()
	if s := ping(t, c); s != 200 || srv.Count("refresh") != 1 {
		t.Errorf("status %d, %d refreshes", s, srv.Count("refresh"))
	}
	if tok, err := ts.Token(); err != nil || !tok.Valid() {
		t.Errorf("%v, %v", tok, err)
	}
}

// A person logs in again in another program; the one that runs on with a login that has ended takes the new one.
//
// It has a row in docs/compatibility.md.
func TestALoginElsewhereIsTaken(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*authtest.Server){
		"both tokens were revoked":     func(s *authtest.Server) { s.RevokeAll() },
		"the access token has expired": func(s *authtest.Server) { s.Expire() },
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			st := memstore.New()
			p := &person{srv: srv}
			long := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
			other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
			if _, err := other.Login(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			ping(t, long)
			end(srv)
			if _, err := other.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			if s := ping(t, long); s != 200 || srv.Count("refresh") != 0 {
				t.Errorf("status %d, %d refreshes", s, srv.Count("refresh"))
			}
			// One that has noticed already that its login is over.
			srv.RevokeAll()
			if _, err := tryPing(long); !errors.Is(err, mcpoauth.ErrLoginRequired) {
				t.Errorf("got %v", err)
			}
			if _, err := other.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			if s := ping(t, long); s != 200 {
				t.Errorf("status %d", s)
			}
		})
	}
}

// A request that is under way for long, an event stream for example, holds up no other and no refresh.
//
// It has a row in docs/compatibility.md.
func TestAnOpenStreamHoldsUpNobody(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	open, end := make(chan struct{}), make(chan struct{})
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet {
				return false
			}
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			close(open)
			select {
			case <-end:
			case <-r.Context().Done():
			}
			return true
		}}
	})
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	resp, err := c.HTTPClient().Get(c.ServerURL())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-open
	begun := time.Now()
	for range 3 {
		srv.Expire()
		if s := ping(t, c); s != 200 {
			t.Errorf("status %d", s)
		}
	}
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	close(end)
}

// TestAPersonIsSlowerThanAConnection: the limits of requests are not those of people.
//
// It has a row in docs/compatibility.md.
func TestAPersonIsSlowerThanAConnection(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{
		Network: mcpoauth.NetworkOptions{HTTPClient: &http.Client{Timeout: 500 * time.Millisecond}},
		Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			time.Sleep(750 * time.Millisecond)
			return p.prompt(ctx, lp)
		},
	})
	if status := ping(t, c); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

// TestManyServersInOneProgram: each has its own listener, state and login.
//
// It has a row in docs/compatibility.md.
func TestManyServersInOneProgram(t *testing.T) {
	t.Parallel()
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

// A login that was interrupted has registered one port, and the next one uses it.
//
// It has a row in docs/compatibility.md.
func TestALoginAfterAnInterruptedOne(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	first := ""
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: showTo(&first)})
	if _, err := c.Login(t.Context(), nil); err == nil {
		t.Fatal("logged in")
	}
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}))
	u, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asked(srv)[0].Get("redirect_uri"), u.Query().Get("redirect_uri"); got != want || srv.Count("registration") != 1 {
		t.Errorf("redirect URI %s after %s, %d registrations", got, want, srv.Count("registration"))
	}
}

func TestAColdLoginAsksForNothingTwice(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p := &person{srv: srv}
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	if s := ping(t, c); s != 200 {
		t.Fatalf("status %d", s)
	}
	want := []string{"challenge", "resource-metadata", "server-metadata", "registration", "authorize", "consent", "token", "mcp"}
	if got := legs(srv); !slices.Equal(got, want) {
		t.Errorf("cold login:\n got %v\nwant %v", got, want)
	}
	// A warm start adds nothing.
	before := len(srv.Requests())
	c2 := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
	ping(t, c2)
	if got := legs(srv)[before:]; !slices.Equal(got, []string{"mcp"}) {
		t.Errorf("warm start: %v", got)
	}
	if p.asked() != 1 {
		t.Errorf("asked %d times", p.asked())
	}
}

// It has a row in docs/compatibility.md.
func TestAPersonDenies(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		back, err := srv.Decide(ctx, p.URL, false)
		return &mcpoauth.LoginReply{RedirectURL: back}, err
	}})
	if _, err := c.Login(context.Background(), nil); !errors.Is(err, mcpoauth.ErrAccessDenied) {
		t.Errorf("got %v", err)
	}
}

// It has a row in docs/compatibility.md.
func TestManyLoginsAskOnePerson(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	p := &person{srv: srv}
	var wg sync.WaitGroup
	for i := range 10 {
		// Half of them in one client, the others as if in programs of their own.
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
		for range 2 + i%2 {
			wg.Go(func() {
				if s, err := tryPing(c); s != 200 || err != nil {
					t.Errorf("status %d, %v", s, err)
				}
			})
		}
	}
	wg.Wait()
	if p.asked() != 1 || srv.Count("registration") != 1 {
		t.Errorf("asked %d times, %d registrations", p.asked(), srv.Count("registration"))
	}
}

// Another process has refreshed the login since this one looked: that is not the login that a person insists on.
func TestAForcedLoginAfterARefreshElsewhere(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	ping(t, c)
	other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	if _, err := other.Token(t.Context(), &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour}); err != nil || srv.Count("refresh") != 1 {
		t.Fatal(err)
	}
	if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil || p.asked() != 2 {
		t.Errorf("%v, asked %d times", err, p.asked())
	}
}

// It has a row in docs/compatibility.md.
func TestTwoAccountsOnOneServer(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	tokens := map[string]string{}
	for _, profile := range []string{"", "work", "home"} {
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Profile: profile, Prompt: (&person{srv: srv}).prompt})
		tok, err := c.Login(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tokens[tok.AccessToken()] = profile
	}
	if len(tokens) != 3 {
		t.Errorf("%d different tokens", len(tokens))
	}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Profile: "work"})
	if _, err := c.Logout(context.Background()); err != nil {
		t.Fatal(err)
	}
	home := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Profile: "home"})
	if s := ping(t, home); s != 200 {
		t.Errorf("the other profile: status %d", s)
	}
}
