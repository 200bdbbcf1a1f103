package mcpoauth_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestOptionsThatCannotBeUsed are named by New, before anything is sent.
func TestOptionsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		server string
		o      mcpoauth.Options
		option string
	}{
		"no URL":                        {server: "mcp.example", option: "server URL"},
		"no host":                       {server: "https:///mcp", option: "server URL"},
		"not encrypted":                 {server: "http://mcp.example/mcp", option: "server URL"},
		"credentials in the URL":        {server: "https://a:b@mcp.example/mcp", option: "server URL"},
		"a negative time":               {o: mcpoauth.Options{LoginTimeout: -time.Second}, option: "LoginTimeout"},
		"no such mode":                  {o: mcpoauth.Options{DPoP: 99}, option: "DPoP"},
		"a secret of no client":         {o: mcpoauth.Options{Client: mcpoauth.ClientOptions{Secret: "s"}}, option: "Client.Secret"},
		"no such authentication":        {o: mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "c", AuthMethod: "tls"}}, option: "Client.AuthMethod"},
		"a document without encryption": {o: mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: "http://app.example/c.json"}}, option: "Client.MetadataURL"},
		"a callback elsewhere":          {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "app.example"}}, option: "Callback.Host"},
		"a callback on all addresses":   {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "0.0.0.0"}}, option: "Callback.Host"},
		"a path without a slash":        {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Path: "back"}}, option: "Callback.Path"},
		"a path with a query":           {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Path: "/back?x"}}, option: "Callback.Path"},
		"a path that is not clean":      {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Path: "/a/../back"}}, option: "Callback.Path"},
		"no such port":                  {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Port: 65536}}, option: "Callback.Port"},
		"a negative port":               {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Port: -1}}, option: "Callback.Port"},
		"two scopes in one":             {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Add: []string{"a b"}}}, option: "Scopes"},
		"an empty scope":                {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{""}}}, option: "Scopes"},
		"a quote in a scope":            {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Drop: []string{`a"`}}}, option: "Scopes"},
		"no such separator":             {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Separator: ";"}}, option: "Scopes.Separator"},
		"a resource and none":           {o: mcpoauth.Options{Server: mcpoauth.ServerOptions{Resource: "https://mcp.example", NoResource: true}}, option: "Server.Resource"},
		"a resource with a fragment":    {o: mcpoauth.Options{Server: mcpoauth.ServerOptions{Resource: "https://mcp.example#x"}}, option: "Server.Resource"},
		"a relative resource":           {o: mcpoauth.Options{Server: mcpoauth.ServerOptions{Resource: "/mcp"}}, option: "Server.Resource"},
		"an endpoint without a host":    {o: mcpoauth.Options{Server: mcpoauth.ServerOptions{Endpoints: mcpoauth.Endpoints{Token: "as.example/t"}}}, option: "Server.Endpoints"},
		"a header in two lines":         {o: mcpoauth.Options{Network: mcpoauth.NetworkOptions{Header: http.Header{"X": {"a\nb"}}}}, option: "Network.Header"},
		"an origin without a scheme":    {o: mcpoauth.Options{Network: mcpoauth.NetworkOptions{Header: http.Header{"X": {"a"}}, HeaderOrigins: []string{"as.example"}}}, option: "Network.HeaderOrigins"},
	} {
		if tc.server == "" {
			tc.server = "https://mcp.example/mcp"
		}
		_, err := mcpoauth.New(tc.server, &tc.o)
		if e, ok := errors.AsType[*mcpoauth.OptionError](err); !ok || e.Option != tc.option || !strings.Contains(err.Error(), tc.option) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, good := range []string{"https://mcp.example/mcp", "http://127.0.0.1:8080/mcp", "http://localhost/mcp", "http://[::1]/mcp"} {
		if _, err := mcpoauth.New(good, &mcpoauth.Options{CacheDir: t.TempDir(), Callback: mcpoauth.CallbackOptions{Host: "::1", Path: "/a/b", Port: 65535}}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// TestOptionsAreCopied: what the caller changes later has no effect.
func TestOptionsAreCopied(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		o := w.options(mcpoauth.Options{Prompt: w.net.person(t, &w.asked)})
		o.Scopes.Request = []string{"mcp:read"}
		o.Client.Metadata = map[string]any{"contacts": []string{"a@example.com"}}
		o.Server.AuthorizeParams = url.Values{"hint": {"mine"}}
		o.Network.Header = http.Header{"X-Team": {"mine"}}
		c := newClient(t, w.srv.MCPURL(), o)
		o.Scopes.Request[0] = "mcp:write"
		o.Client.Metadata["contacts"] = "theirs"
		o.Server.AuthorizeParams.Set("hint", "theirs")
		o.Network.Header.Set("X-Team", "theirs")
		if status := ping(t, c); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		if q := asked(w.srv)[0]; q.Get("scope") != "mcp:read offline_access" || q.Get("hint") != "mine" {
			t.Errorf("asked with %v", q)
		}
		for _, r := range w.srv.Requests() {
			if r.Leg == "mcp" && r.Header.Get("X-Team") != "mine" || r.Leg == "registration" && !strings.Contains(string(r.Body), "a@example.com") {
				t.Errorf("%s: %v %s", r.Leg, r.Header, r.Body)
			}
		}
	})
}

// TestHeadersOfTheCallers go to the server's origin and to those that are named, and nowhere else.
func TestHeadersOfTheCallers(t *testing.T) {
	t.Parallel()
	for name, named := range map[string]bool{"the server alone": false, "the authorization server too": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				o := mcpoauth.Options{}
				o.Network.Header = http.Header{"X-Api-Key": {"k"}}
				if named {
					o.Network.HeaderOrigins = []string{w.srv.Issuer()}
				}
				c, tok := w.loggedIn(o)
				if status := ping(t, c); status != http.StatusOK {
					t.Errorf("status %d", status)
				}
				if _, err := c.TokenRejected(t.Context(), tok); err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Minute) // until then another login may be under way with the client
				if _, err := c.Logout(t.Context()); err != nil {
					t.Error(err)
				}
				seen := map[string]bool{}
				for _, r := range w.srv.Requests() {
					seen[r.Leg] = true
					ours := r.Leg == "mcp" || r.Leg == "challenge" || r.Leg == "resource-metadata"
					if has := r.Header.Get("X-Api-Key") == "k"; r.Leg != "authorize" && has != (ours || named) {
						t.Errorf("%s has the header: %t", r.Leg, has)
					}
				}
				for _, leg := range []string{"challenge", "mcp", "resource-metadata", "server-metadata", "registration", "token", "refresh", "revocation", "client-deletion"} {
					if !seen[leg] {
						t.Errorf("there was no %s", leg)
					}
				}
			})
		})
	}
}
