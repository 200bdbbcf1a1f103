package mcpoauth_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestMachinesThatShareAStoreAskOnce: ten Clients, any grant without a person, whichever way the token is needed.
func TestMachinesThatShareAStoreAskOnce(t *testing.T) {
	t.Parallel()
	bySecret := basic("robot", "s3cret")
	byAssertion := func(form map[string]string, _ *http.Request) string {
		if form["assertion"] == "" {
			return "invalid_grant"
		}
		return ""
	}
	var asked atomic.Int32
	grants := map[string]struct {
		judge   func(map[string]string, *http.Request) string
		options func(*robots) mcpoauth.Options
	}{
		"client credentials": {bySecret, func(*robots) mcpoauth.Options {
			return mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}, Grant: mcpoauth.ClientCredentials{}}
		}},
		"a workload's identity": {byAssertion, func(srv *robots) mcpoauth.Options {
			source := func(context.Context, string) (string, error) { return unsigned(t, map[string]any{"aud": srv.URL}), nil }
			return mcpoauth.Options{Grant: mcpoauth.WorkloadIdentity{Assertion: source}}
		}},
		"a company's login": {byAssertion, func(*robots) mcpoauth.Options {
			idp := startCompany(t)
			return mcpoauth.Options{
				Client: mcpoauth.ClientOptions{ID: "agent", Secret: "s"}, Prompt: visitor(&asked),
				Grant: mcpoauth.EnterpriseManaged{Issuer: idp.URL, ClientID: "at-idp", ClientSecret: "idp-secret"},
			}
		}},
	}
	for grant, g := range grants {
		for _, way := range []string{"Token", "Login", "a step-up"} {
			t.Run(grant+", "+way, func(t *testing.T) {
				t.Parallel()
				srv := startRobots(t, g.judge)
				opts := g.options(srv)
				opts.Store = memstore.New()
				clients := make([]*mcpoauth.Client, 10)
				for i := range clients {
					clients[i] = newClient(t, srv.url(), opts)
				}
				before := 0
				if way == "a step-up" || strings.HasPrefix(grant, "a company") {
					for _, c := range clients { // they all have the token that will be too little
						if way == "a step-up" || c == clients[0] {
							if _, err := c.Login(t.Context(), nil); err != nil {
								t.Fatal(err)
							}
						}
					}
					before = 1
				}
				if way == "a step-up" {
					srv.do(func() { srv.scope = "admin" })
				} else if before == 1 {
					if err := clients[0].Clear(t.Context(), nil); err != nil { // the company's login stays
						t.Fatal(err)
					}
				}
				var wg sync.WaitGroup
				for _, c := range clients {
					wg.Go(func() {
						var err error
						switch way {
						case "Token":
							_, err = c.Token(t.Context(), nil)
						case "Login":
							_, err = c.Login(t.Context(), nil)
						default:
							var status int
							if status, err = tryPing(c); status != http.StatusOK {
								t.Errorf("status %d", status)
							}
						}
						if err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				srv.do(func() {
					if n := srv.tokens - before; n != 1 {
						t.Errorf("%d token requests", n)
					}
				})
			})
		}
	}
}
