package authtest_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

func TestTheRecorder(t *testing.T) {
	srv := authtest.New(t, nil)
	if len(srv.Requests()) != 0 {
		t.Fatalf("before anybody came: %v", srv.Requests())
	}
	c := newClient(t, srv)
	before := time.Now()
	access, refresh := c.login()
	c.status("")
	c.status(access)
	c.renew(refresh)
	c.renew("gone")
	do(t, http.MethodGet, origin(srv.Issuer())+"/nowhere?a=b&a=c", "", "X-Mine", "yes")

	all := srv.Requests()
	var seen []string
	for _, r := range all {
		seen = append(seen, sprint(r.Leg, r.Method, r.Status))
	}
	if want := []string{
		"server-metadata|GET|200", "registration|POST|201", "authorize|GET|200", "consent|POST|303", "token|POST|200",
		"challenge|POST|401", "mcp|POST|200", "refresh|POST|200", "refresh|POST|400", "other|GET|404",
	}; !slices.Equal(seen, want) {
		t.Errorf("%q\nwant %q", seen, want)
	}
	authorize, token, mcp, last := all[2], all[4], all[6], all[len(all)-1]
	if u, _ := url.Parse(c.str("authorization_endpoint")); authorize.Path != u.Path || authorize.Query.Get("client_id") != c.id || authorize.Form != nil {
		t.Errorf("authorize: %+v", authorize)
	}
	if token.Form.Get("code_verifier") != c.verify || !strings.Contains(string(token.Body), "code_verifier="+c.verify) {
		t.Errorf("token: %+v", token)
	}
	if mcp.Header.Get("Authorization") != "Bearer "+access || string(mcp.Body) != ping || mcp.Form != nil {
		t.Errorf("mcp: %+v", mcp)
	}
	if last.Header.Get("X-Mine") != "yes" || !slices.Equal(last.Query["a"], []string{"b", "c"}) {
		t.Errorf("other: %+v", last)
	}
	if token.Time.Before(before) || !slices.IsSortedFunc(all, func(a, b authtest.Request) int { return a.Time.Compare(b.Time) }) {
		t.Error("the times are not those of the requests")
	}
	if srv.Count("refresh") != 2 || srv.Count("none") != 0 {
		t.Errorf("%d refreshes", srv.Count("refresh"))
	}
	// What was given out is the caller's: nothing that comes later, or that the caller does, changes it.
	all[0].Leg = "changed"
	c.status("")
	if len(all) != 10 || srv.Requests()[0].Leg != "server-metadata" || len(srv.Requests()) != 11 {
		t.Error("the record and its copy are one")
	}
}

// A sweep of a client's output finds each of these, or it is no sweep.
func TestSecretsForTheSweep(t *testing.T) {
	srv := authtest.New(t, nil)
	srv.AddClient(authtest.Client{ID: "mine", Secret: "secret beforehand"})
	c := newClient(t, srv)
	reg := c.register(nil).json
	c.change = set("state", "the state")
	c.verify = strings.Repeat("verifier", 8)
	code := c.newCode()
	_, doc := c.exchange(code)
	_, renewed := c.renew(doc["refresh_token"].(string))
	c.status("a token from somewhere else")
	postForm(t, srv.TokenEndpoint(), nil, basic("nobody", "a wrong %/secret")...)
	postForm(t, srv.TokenEndpoint(), url.Values{"client_id": {"nobody"}, "client_secret": {"another wrong secret"}, "refresh_token": {"a refresh token from somewhere else"}})
	postForm(t, c.str("revocation_endpoint"), url.Values{"token": {"a token to revoke"}})
	secrets := srv.Secrets()
	for name, want := range map[string]any{
		"client added": "secret beforehand", "client registered": reg["client_secret"], "registration token": reg["registration_access_token"],
		"state": "the state", "code": code, "verifier": c.verify, "access token": doc["access_token"], "refresh token": doc["refresh_token"],
		"renewed access token": renewed["access_token"], "renewed refresh token": renewed["refresh_token"],
		"bearer seen": "a token from somewhere else", "Basic seen": "a wrong %/secret", "form secret seen": "another wrong secret",
		"refresh token seen": "a refresh token from somewhere else", "token to revoke": "a token to revoke",
	} {
		if s, _ := want.(string); s == "" || !slices.Contains(secrets, s) {
			t.Errorf("%s: %v is not listed", name, want)
		}
	}
	for name, bad := range map[string]string{"the empty string": "", "a client ID": c.id, "an address": srv.MCPURL(), "a scope": "mcp:read"} {
		if slices.Contains(secrets, bad) {
			t.Errorf("%s is listed: every output would have it", name)
		}
	}
	if !slices.IsSorted(secrets) || len(slices.Compact(slices.Clone(secrets))) != len(secrets) {
		t.Error("not sorted, or some twice")
	}
}

// Of those who come at once with the same code or refresh token, one wins.
func TestOnlyOneWins(t *testing.T) {
	const n = 10
	for name, tc := range map[string]struct {
		secret func(c *client) string
		use    func(c *client, s string) (int, map[string]any)
	}{
		"code":          {(*client).newCode, (*client).exchange},
		"refresh token": {func(c *client) string { _, refresh := c.login(); return refresh }, (*client).renew},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			c := newClient(t, srv)
			s := tc.secret(c)
			var wg sync.WaitGroup
			got := make([]int, n)
			tokens := make([]string, n)
			for i := range n {
				wg.Go(func() {
					status, doc := tc.use(c, s)
					got[i], tokens[i] = status, sprint(doc["access_token"])
				})
			}
			wg.Wait()
			winner := slices.Index(got, http.StatusOK)
			slices.Sort(got)
			if want := append([]int{200}, slices.Repeat([]int{400}, n-1)...); !slices.Equal(got, want) {
				t.Errorf("%v", got)
			}
			if srv.Revoked() != 1 || winner < 0 || c.status(tokens[winner]) != http.StatusUnauthorized {
				t.Errorf("%d logins revoked", srv.Revoked())
			}
		})
	}
}

// Clients come and go while the test looks on, switches faults and moves the clock.
func TestManyAtOnce(t *testing.T) {
	srv := authtest.New(t, nil)
	const clients, rounds = 6, 4
	done := make(chan struct{})
	var onlooker, wg sync.WaitGroup
	onlooker.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			_, _, _ = srv.Requests(), srv.Secrets(), srv.Count("token")+srv.Revoked()
			srv.AdvanceClock(time.Millisecond)
			srv.AddClient(authtest.Client{ID: "another"})
			srv.Set(func(f *authtest.Faults) {
				f.ServerMetadata = func(m map[string]any) { m["round"] = i }
				f.Fail = map[string]int{"other": 500 + i%2}
				f.Delay = map[string]time.Duration{"other": time.Microsecond}
			})
			runtime.Gosched()
		}
	})
	for range clients {
		wg.Go(func() {
			c := newClient(t, srv)
			for range rounds {
				access, refresh := c.login()
				_, doc := c.renew(refresh)
				if c.status(access) != http.StatusOK || c.status(sprint(doc["access_token"])) != http.StatusOK {
					t.Error("a login was lost")
				}
				do(t, http.MethodGet, origin(srv.Issuer())+"/other", "")
			}
		})
	}
	wg.Wait()
	close(done)
	onlooker.Wait()
	for leg, want := range map[string]int{"registration": clients, "token": clients * rounds, "refresh": clients * rounds, "mcp": 2 * clients * rounds} {
		if got := srv.Count(leg); got != want {
			t.Errorf("%s: %d, want %d", leg, got, want)
		}
	}
	for _, r := range srv.Requests() {
		if r.Status == 0 {
			t.Errorf("%s has no status", r.Leg)
		}
	}
}

// Close ends what hangs: a slow leg, a slow token, an interceptor, and leaves no goroutine.
func TestCloseWithRequestsUnderWay(t *testing.T) {
	for name, tc := range map[string]struct {
		fault func(*authtest.Faults)
		ask   func(c *client, ctx context.Context) error
	}{
		"a slow leg": {
			func(f *authtest.Faults) { f.Delay = map[string]time.Duration{"challenge": time.Hour} },
			func(c *client, ctx context.Context) error { return visit(ctx, c.srv.MCPURL()) },
		},
		"a slow token": {
			func(f *authtest.Faults) { f.TokenDelay = time.Hour },
			func(c *client, _ context.Context) error {
				if status, _ := c.renew("none"); status != 0 {
					return nil
				}
				return errors.New("no answer")
			},
		},
		"an interceptor": {
			func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"challenge": func(_ http.ResponseWriter, r *http.Request) bool {
					<-r.Context().Done()
					return true
				}}
			},
			func(c *client, ctx context.Context) error { return visit(ctx, c.srv.MCPURL()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, err := authtest.Start(nil)
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, srv)
			srv.Set(tc.fault)
			before := len(srv.Requests())
			ended := make(chan error, 1)
			go func() { ended <- tc.ask(c, t.Context()) }()
			for len(srv.Requests()) == before {
				runtime.Gosched()
			}
			srv.Close()
			if err := <-ended; err == nil {
				t.Error("it was answered")
			}
			// What is left would be handling a request, or accepting one.
			if left := goroutines("authtest.(*Server)"); left != "" {
				t.Errorf("after Close:\n%s", left)
			}
			if do(t, http.MethodGet, srv.MCPURL(), "").status != 0 || do(t, http.MethodGet, srv.Issuer(), "").status != 0 {
				t.Error("it listens still")
			}
			srv.Close() // twice is no harm
		})
	}
}

// goroutines returns the stacks that have a mark, after giving those that are at their end the time to
// end.
func goroutines(mark string) string {
	var left string
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		buf := make([]byte, 1<<20)
		left = ""
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, mark) {
				left += stack + "\n\n"
			}
		}
		if left == "" {
			break
		}
	}
	return left
}

// New ends the server with the test.
func TestNew(t *testing.T) {
	tb := &fakeTB{}
	srv := authtest.New(tb, nil)
	if do(t, http.MethodPost, srv.MCPURL(), ping).status != http.StatusUnauthorized || len(tb.cleanups) != 1 {
		t.Fatalf("it does not run, or %d cleanups", len(tb.cleanups))
	}
	tb.cleanups[0]()
	if do(t, http.MethodPost, srv.MCPURL(), ping).status != 0 {
		t.Error("it runs after the test")
	}
}

type fakeTB struct{ cleanups []func() }

func (f *fakeTB) Helper()               {}
func (f *fakeTB) Cleanup(fn func())     { f.cleanups = append(f.cleanups, fn) }
func (f *fakeTB) Fatalf(string, ...any) { panic("fatal") }
