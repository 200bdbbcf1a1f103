package mcpoauth_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// handler is what authtest.Faults.Intercept takes.
type handler = func(http.ResponseWriter, *http.Request) bool

// A gateway sends a client whose token has ended to its login page, instead of a 401.
//
// It has a row in docs/compatibility.md.
func TestARedirectInsteadOfA401(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"https://login.example.com/?rd=x", "/login", "/elsewhere"} {
		for _, status := range []int{http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect} {
			n := newMemoryNetwork()
			srv := n.authtest(t, authtest.Options{})
			var asked atomic.Int32
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: n.person(t, &asked), Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}})
			ping(t, c)
			away := func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
				return true
			}
			refreshed := func() bool { return srv.Count("refresh") > 0 }
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]handler{"mcp": func(w http.ResponseWriter, r *http.Request) bool { return !refreshed() && away(w, r) }}
			})
			if s := ping(t, c); s != http.StatusOK || srv.Count("refresh") != 1 || asked.Load() != 1 {
				t.Errorf("%d to %s: %d, %v", status, location, s, legs(srv))
			}
			// One that is meant is handed to the caller, and costs one refresh.
			srv.Set(func(f *authtest.Faults) { f.Intercept = map[string]handler{"mcp": away} })
			for range 3 {
				if s := ping(t, c); s != status {
					t.Errorf("%d to %s: %d", status, location, s)
				}
			}
			if srv.Count("refresh") != 2 || asked.Load() != 1 {
				t.Errorf("%d to %s: %v", status, location, legs(srv))
			}
		}
	}
}

// The cookies of a load balancer go to the MCP server's origin, with the requests of one login, and nowhere else.
//
// It has a row in docs/compatibility.md.
func TestCookiesOfALoadBalancer(t *testing.T) {
	t.Parallel()
	n := newMemoryNetwork()
	srv := n.authtest(t, authtest.Options{SameOrigin: true})
	var seen, elsewhere atomic.Value
	seen.Store("")
	elsewhere.Store("")
	other := func(_ http.ResponseWriter, r *http.Request) bool {
		elsewhere.Store(elsewhere.Load().(string) + r.Header.Get("Cookie"))
		return false
	}
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]handler{"refresh": other, "code": other, "registration": other, "server-metadata": other, "mcp": func(w http.ResponseWriter, r *http.Request) bool {
			seen.Store(r.Header.Get("Cookie"))
			w.Header().Set("Set-Cookie", "AWSALB=node1; Path=/")
			return false
		}}
	})
	var asked atomic.Int32
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: n.person(t, &asked), Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}})
	ping(t, c)
	if s := ping(t, c); s != http.StatusOK || seen.Load() != "AWSALB=node1" {
		t.Errorf("%d, cookie %q", s, seen.Load())
	}
	srv.Expire() // the refresh goes to the same origin
	if s := ping(t, c); s != http.StatusOK || seen.Load() != "AWSALB=node1" || elsewhere.Load() != "" {
		t.Errorf("%d, cookie %q, elsewhere %q", s, seen.Load(), elsewhere.Load())
	}
	// A caller that sends cookies of its own sends those alone.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.MCPURL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cookie", "mine=1")
	resp, err := c.HTTPClient().Do(req)
	if err != nil || seen.Load() != "mine=1" {
		t.Fatalf("%v, cookie %q", err, seen.Load())
	}
	_ = resp.Body.Close()
	// A Transport without Cookies keeps none.
	plain := &http.Client{Transport: &mcpoauth.Transport{Client: c}}
	req = req.Clone(t.Context())
	req.Header.Del("Cookie")
	req.Body, _ = req.GetBody()
	if resp, err = plain.Do(req); err != nil || seen.Load() != "" {
		t.Fatalf("%v, cookie %q", err, seen.Load())
	}
	_ = resp.Body.Close()
	// Another login begins without those of the one before.
	if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if ping(t, c); seen.Load() != "" {
		t.Errorf("cookie %q", seen.Load())
	}
}

// A server that answers 401 to a session that it does not know is not asked for one token after the other.
//
// It has a row in docs/compatibility.md.
func TestAnUnknownSessionThatIsA401(t *testing.T) {
	t.Parallel()
	n := newMemoryNetwork()
	srv := n.authtest(t, authtest.Options{})
	var asked atomic.Int32
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: n.person(t, &asked), Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]handler{"mcp": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Mcp-Session-Id") == "" {
				return false
			}
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}}
	})
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.MCPURL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Mcp-Session-Id", "lost")
		if _, err := c.HTTPClient().Do(req); !errors.Is(err, mcpoauth.ErrTokenRejected) {
			t.Errorf("got %v", err)
		}
	}
	if s := ping(t, c); s != http.StatusOK || srv.Count("refresh") != 0 || asked.Load() != 1 {
		t.Errorf("%d, %v", s, legs(srv))
	}
}
