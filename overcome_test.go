package mcpoauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestAServerThatRejectsNewTokens is left alone for five seconds, ten and so on, a minute at most; what it accepts ends
// that.
func TestAServerThatRejectsNewTokens(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.loggedIn(mcpoauth.Options{})
		c := w.open(mcpoauth.Options{})
		refreshes := func(span time.Duration) (at []int) {
			start, n := time.Now(), w.srv.Count("refresh")
			for time.Since(start) < span {
				_, err := tryPing(c)
				e, ok := errors.AsType[*mcpoauth.Error](err)
				if !ok || e.Op != mcpoauth.OpToken || mcpoauth.Hint(err) == "" {
					t.Fatalf("after %v: %v", time.Since(start), err)
				}
				now := w.srv.Count("refresh")
				if now != n {
					at, n = append(at, int(time.Since(start)/time.Second)), now
				} else if pause := retryAfter(err); pause <= 0 || pause > time.Minute {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
				time.Sleep(time.Second)
			}
			return at
		}
		w.srv.Set(func(f *authtest.Faults) { f.AlwaysUnauthorized = true })
		want := []int{0, 5, 15, 35, 75, 135}
		if got := refreshes(140 * time.Second); !slices.Equal(got, want) {
			t.Errorf("tokens were requested after %v seconds, want %v", got, want)
		}
		w.srv.Set(func(f *authtest.Faults) { f.AlwaysUnauthorized = false })
		time.Sleep(time.Minute)
		w.srv.Expire()
		if status := ping(t, c); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		w.srv.Set(func(f *authtest.Faults) { f.AlwaysUnauthorized = true })
		if got := refreshes(20 * time.Second); !slices.Equal(got, want[:3]) {
			t.Errorf("after a success: %v seconds, want %v", got, want[:3])
		}
	})
}

// TestA403AfterARetryIsNoRejectedToken: the next token that is refused is renewed at once.
func TestA403AfterARetryIsNoRejectedToken(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		chain := &chained{srv: w.srv, answers: []string{"401", "403"}}
		w.answer("mcp", chain.answer)
		if status := ping(t, c); status != http.StatusForbidden || w.srv.Count("refresh") != 1 {
			t.Errorf("status %d, %d refreshes", status, w.srv.Count("refresh"))
		}
		w.srv.Expire()
		if status := ping(t, c); status != http.StatusOK || w.srv.Count("refresh") != 2 || w.asked.Load() != 1 {
			t.Errorf("status %d, %d refreshes, %d logins", status, w.srv.Count("refresh"), w.asked.Load())
		}
	})
}

// TestAServerThatDemandsEver other scopes gets five logins, once for each, over any number of requests; what it accepts
// ends that.
func TestAServerThatDemandsEver(t *testing.T) {
	t.Parallel()
	scopes := []string{"mcp:read"}
	for i := range 10 {
		scopes = append(scopes, fmt.Sprintf("s%d", i))
	}
	for name, tc := range map[string]struct {
		demand func(i int) string
		logins int
	}{
		"the same":  {func(int) string { return "s0" }, 1},
		"other":     {func(i int) string { return fmt.Sprintf("s%d", i) }, 5},
		"two twice": {func(i int) string { return fmt.Sprintf("s%d", i%2) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{Scopes: scopes}, func(t *testing.T, w *world) {
				c, _ := w.loggedIn(mcpoauth.Options{})
				for i := range 8 {
					// The server demands the scope of the token that has it, too.
					w.answer("mcp", func(rw http.ResponseWriter, r *http.Request) bool {
						rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+tc.demand(i)+`"`)
						rw.WriteHeader(http.StatusForbidden)
						return true
					})
					_, err := tryPing(c)
					if e, ok := errors.AsType[*mcpoauth.ScopeError](err); !ok || !e.Asked {
						t.Errorf("request %d: %v", i, err)
					}
				}
				if n := int(w.asked.Load()) - 1; n != tc.logins {
					t.Errorf("%d logins, want %d", n, tc.logins)
				}
				// A request that is accepted after a refusal ends it.
				w.srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
				w.srv.Expire()
				if status := ping(t, c); status != http.StatusOK {
					t.Fatalf("status %d", status)
				}
				chain := &chained{srv: w.srv, answers: []string{"s9"}}
				w.answer("mcp", chain.answer)
				if status, err := tryPing(c); status != http.StatusOK || int(w.asked.Load())-1 != tc.logins+1 {
					t.Errorf("after a success: status %d, %v, %d logins", status, err, w.asked.Load()-1)
				}
			})
		})
	}
}

// TestAMachineHasNoPerson to ask for a login of another kind, and its scopes are the server's to grant.
func TestAMachineHasNoPerson(t *testing.T) {
	t.Parallel()
	srv := startRobots(t, basic("robot", "s3cret"))
	srv.scope = "never"
	c := newClient(t, srv.url(), mcpoauth.Options{
		Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}, Grant: mcpoauth.ClientCredentials{}, Scopes: mcpoauth.ScopeOptions{Drop: []string{"never"}},
	})
	for range 3 {
		if _, err := tryPing(c); !isScopeError(err) {
			t.Errorf("got %v", err)
		}
	}
	if srv.tokens > 3 {
		t.Errorf("%d token requests", srv.tokens)
	}
}

// TestAForbiddenTokenOfNoKnownEnd: without an expiry a 403 is the caller's.
func TestAForbiddenTokenOfNoKnownEnd(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(m map[string]any) { delete(m, "expires_in") } })
		c, _ := w.loggedIn(mcpoauth.Options{})
		w.answer("mcp", page(403, "text/plain", "not for you"))
		time.Sleep(24 * time.Hour)
		resp, err := c.HTTPClient().Post(c.ServerURL(), "application/json", strings.NewReader(`{}`))
		if err != nil || resp.StatusCode != http.StatusForbidden || w.srv.Count("refresh") != 0 {
			t.Fatalf("%v, %v, %d refreshes", resp, err, w.srv.Count("refresh"))
		}
		_ = resp.Body.Close()
	})
}
