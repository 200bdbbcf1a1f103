package mcpoauth_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// The port that a person configured belongs to another program: that is said, and no browser opens.
func TestFieldTheCallbackPortIsTaken(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	srv := authtest.New(t, nil)
	_, err = newClient(t, srv.MCPURL(), mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Port: port}, Prompt: nobody(t)}).Login(t.Context(), nil)
	var ae *mcpoauth.Error
	if !errorAt(err, mcpoauth.OpAuthorization, &ae) || !strings.Contains(err.Error(), strconv.Itoa(port)) || !strings.Contains(mcpoauth.Hint(err), "--callback-port") {
		t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
	}
	if n := srv.Count("registration"); n != 0 {
		t.Errorf("%d registrations", n)
	}
}

// Logins to several servers at once: each holds a port of its own from before it is named until the end.
func TestFieldLoginsToManyServersAtOnce(t *testing.T) {
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
func TestFieldNobodyIsAskedInTheBackground(t *testing.T) {
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

// localhost is 127.0.0.1 in one browser and ::1 in the next.
func TestFieldLocalhostOfBothFamilies(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			if l, err := net.Listen("tcp", net.JoinHostPort(ip, "0")); err != nil {
				t.Skip("this machine has no " + ip)
			} else {
				l.Close()
			}
			srv := authtest.New(t, nil)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost"}, Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
				back, err := srv.Decide(ctx, lp.URL, true)
				if err != nil {
					return nil, err
				}
				u, err := url.Parse(back)
				if err != nil || u.Hostname() != "localhost" {
					t.Errorf("sent back to %s, %v", back, err)
					return nil, errors.New("not localhost")
				}
				dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(ip, u.Port()))
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, back, http.NoBody)
				if err != nil {
					return nil, err
				}
				hc := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
				resp, err := hc.Do(req)
				if err != nil {
					return nil, err
				}
				return nil, resp.Body.Close()
			}})
			if s := ping(t, c); s != 200 {
				t.Errorf("status %d", s)
			}
		})
	}
}

// The context of the login ends with it; what it obtained must not.
func TestFieldTheContextOfTheLoginIsOver(t *testing.T) {
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
func TestFieldALoginElsewhereIsTaken(t *testing.T) {
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
func TestFieldAnOpenStreamHoldsUpNobody(t *testing.T) {
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
