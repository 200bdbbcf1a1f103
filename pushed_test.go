package mcpoauth_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// Keycloak's "Require PAR" of a client is not in the metadata: the callback says so.
//
// It has a row in docs/compatibility.md.
func TestAServerThatTakesPushedRequestsOnly(t *testing.T) {
	t.Parallel()
	for name, description := range map[string]string{
		"Keycloak":      "Pushed Authorization Request is only allowed.",
		"oidc-provider": "Pushed Authorization Request must be used",
		"a parameter":   "missing required parameter: request_uri",
		"an acronym":    "This client must use PAR.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newMemoryNetwork()
			srv := n.authtest(t, authtest.Options{})
			srv.Set(func(f *authtest.Faults) { f.InsistOnPAR = description })
			var asked atomic.Int32
			st := memstore.New()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}, Prompt: n.person(t, &asked)})
			if _, err := c.Login(t.Context(), nil); err != nil {
				t.Fatal(err, mcpoauth.Hint(err))
			}
			if n := srv.Count("par"); n != 1 || asked.Load() != 2 || srv.Count("registration") != 1 {
				t.Errorf("%d pushed requests, %d prompts, %v", n, asked.Load(), legs(srv))
			}
			// The login remembers it.
			if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			if n := srv.Count("par"); n != 2 || asked.Load() != 3 {
				t.Errorf("%d pushed requests, %d prompts", n, asked.Load())
			}
		})
	}
}

// What is not about pushed requests is not tried again, and what cannot be done is said.
func TestRefusalsThatPushingDoesNotHelp(t *testing.T) {
	t.Parallel()
	const insists = "Pushed Authorization Request is only allowed."
	for name, tc := range map[string]struct {
		fault func(*authtest.Faults)
		par   mcpoauth.Mode
		hint  string
	}{
		"another error":   {func(f *authtest.Faults) { f.InsistOnPAR = "the parameter nonce is required" }, mcpoauth.Auto, "--auth-param"},
		"never":           {func(f *authtest.Faults) { f.InsistOnPAR = insists }, mcpoauth.Never, "--par never"},
		"no endpoint":     {withoutPAR(insists), mcpoauth.Auto, "--pushed-authorization-request-endpoint"},
		"always, without": {withoutPAR(""), mcpoauth.Always, "--pushed-authorization-request-endpoint"},
		"elsewhere": {func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { m["pushed_authorization_request_endpoint"] = "http://par.example/par" }
		}, mcpoauth.Always, "--allow-foreign-endpoints"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newMemoryNetwork()
			srv := n.authtest(t, authtest.Options{})
			srv.Set(tc.fault)
			var asked atomic.Int32
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{PAR: tc.par, Allow: mcpoauth.Allow{PrivateNetwork: true, InsecureHTTP: true}, Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}, Prompt: n.person(t, &asked)})
			_, err := c.Login(t.Context(), nil)
			var e *mcpoauth.Error
			if !errorAt(err, mcpoauth.OpAuthorization, &e) || errors.Is(err, mcpoauth.ErrTemporary) || !strings.Contains(mcpoauth.Hint(err), tc.hint) {
				t.Errorf("%v, hint %q", err, mcpoauth.Hint(err))
			}
			if srv.Count("par") != 0 || asked.Load() > 1 {
				t.Errorf("%d prompts, %v", asked.Load(), legs(srv))
			}
		})
	}
}

func withoutPAR(insist string) func(*authtest.Faults) {
	return func(f *authtest.Faults) {
		f.InsistOnPAR = insist
		f.ServerMetadata = func(m map[string]any) { delete(m, "pushed_authorization_request_endpoint") }
	}
}

// A person may push where nothing demands it, and not push where the metadata wrongly does.
func TestPushedRequestsOnDemand(t *testing.T) {
	t.Parallel()
	n := newMemoryNetwork()
	for mode, want := range map[mcpoauth.Mode]int{mcpoauth.Auto: 0, mcpoauth.Always: 1, mcpoauth.Never: 0} {
		srv := n.authtest(t, authtest.Options{})
		if mode == mcpoauth.Never {
			srv.Set(func(f *authtest.Faults) {
				f.ServerMetadata = func(m map[string]any) { m["require_pushed_authorization_requests"] = true }
			})
		}
		var asked atomic.Int32
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{PAR: mode, Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}, Prompt: n.person(t, &asked)})
		if _, err := c.Login(t.Context(), nil); err != nil || srv.Count("par") != want || asked.Load() != 1 {
			t.Errorf("mode %d: %v, %v", mode, err, legs(srv))
		}
	}
}
