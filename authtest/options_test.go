package authtest_test

import (
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// optionCase shows what an option does: what a client sees by default and with it.
type optionCase struct {
	opt  authtest.Options
	want [2]string
	see  func(c *client) string
}

const clientDocument = "https://client.example/oauth.json"

// listeners counts those that are made by the option.
var listeners atomic.Int32

var aDay = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

var optionCases = map[string]optionCase{
	"Lenient": {
		opt:  authtest.Options{Lenient: true},
		want: [2]string{"invalid_target|invalid_target|page|invalid_request|400|400|1", "code|code|code|code|201|201|0"},
		see: func(c *client) string {
			with := func(change func(url.Values)) string {
				c.change = change
				defer func() { c.change = nil }()
				return c.callback()
			}
			got := []any{
				with(drop("resource")), with(set("resource", c.srv.MCPURL()+"/")), with(set("redirect_uri", "http://127.0.0.1:10/callback")), with(drop("state")),
				c.register(map[string]any{"application_type": nil}).status,
				do(c.t, http.MethodPost, c.str("registration_endpoint"), `{"redirect_uris":["https://app.example/cb"]}`).status,
			}
			_, h, _ := c.call("", ping)
			return sprint(append(got, len(h.Values("WWW-Authenticate"))-1)...)
		},
	},
	"AccessTokenLifetime": {
		opt:  authtest.Options{AccessTokenLifetime: 90 * time.Second},
		want: [2]string{"3600|200|200", "90|200|401"},
		see: func(c *client) string {
			doc := c.tokens()
			access := doc["access_token"].(string)
			c.srv.AdvanceClock(89 * time.Second)
			before := c.status(access)
			c.srv.AdvanceClock(time.Second)
			return sprint(doc["expires_in"], before, c.status(access))
		},
	},
	"NoRotation": {
		opt:  authtest.Options{NoRotation: true},
		want: [2]string{"true|invalid_grant|1", "false|<nil>|0"},
		see:  reuse,
	},
	"GraceForOldRefreshToken": {
		opt:  authtest.Options{GraceForOldRefreshToken: true},
		want: [2]string{"true|invalid_grant|1", "true|<nil>|0"},
		see:  reuse,
	},
	"RefreshNeedsOfflineAccess": {
		opt:  authtest.Options{RefreshNeedsOfflineAccess: true},
		want: [2]string{"true|true|true", "false|true|true"},
		see: func(c *client) string {
			without := c.tokens()
			c.change = set("scope", "mcp:read offline_access")
			with := c.tokens()
			_, renewed := c.renew(with["refresh_token"].(string))
			return sprint(without["refresh_token"] != nil, with["refresh_token"] != nil, renewed["refresh_token"] != nil)
		},
	},
	"OfflineNeedsConsent": {
		opt:  authtest.Options{OfflineNeedsConsent: true},
		want: [2]string{"mcp:read offline_access|mcp:read offline_access", "mcp:read|mcp:read offline_access"},
		see: func(c *client) string {
			c.change = set("scope", "mcp:read offline_access")
			without := c.tokens()
			c.change = func(q url.Values) { q.Set("scope", "mcp:read offline_access"); q.Set("prompt", "consent") }
			return sprint(without["scope"], c.tokens()["scope"])
		},
	},
	"AutoApprove": {
		opt:  authtest.Options{AutoApprove: true},
		want: [2]string{"200|false|1", "303|true|0"},
		see: func(c *client) string {
			a := do(c.t, http.MethodGet, c.str("authorization_endpoint")+"?"+c.request().Encode(), "")
			_, _ = c.authorize(true) // what plays the person must manage, too
			return sprint(a.status, strings.Contains(a.header.Get("Location"), "code="), c.srv.Count("consent"))
		},
	},
	"IssuerPath": {
		opt:  authtest.Options{IssuerPath: "/tenant/one"},
		want: [2]string{"true|true|true", "false|true|true"},
		see: func(c *client) string {
			q, _ := c.authorize(true)
			return sprint(c.srv.Issuer() == origin(c.srv.Issuer()), c.md["issuer"] == c.srv.Issuer() && strings.TrimSuffix(c.srv.Issuer(), "/tenant/one") == origin(c.srv.Issuer()), q.Get("iss") == c.srv.Issuer())
		},
	},
	"SameOrigin": {
		opt:  authtest.Options{SameOrigin: true},
		want: [2]string{"false|200|404", "true|200|200"},
		see: func(c *client) string {
			access, _ := c.login()
			return sprint(origin(c.srv.Issuer()) == origin(c.srv.MCPURL()), c.status(access),
				do(c.t, http.MethodPost, origin(c.srv.Issuer())+"/mcp", ping, "Authorization", "Bearer "+access).status)
		},
	},
	"Scopes": {
		opt:  authtest.Options{Scopes: []string{"mcp:read", "files"}},
		want: [2]string{"[mcp:read mcp:write offline_access]|invalid_scope|400", "[mcp:read files]|code|201"},
		see: func(c *client) string {
			c.change = set("scope", "mcp:read files")
			return sprint(c.md["scopes_supported"], c.callback(), c.register(map[string]any{"scope": "files"}).status)
		},
	},
	"RequiredScopes": {
		opt:  authtest.Options{RequiredScopes: []string{"mcp:read", "mcp:write"}},
		want: [2]string{"[mcp:read]|200|mcp:read", "[mcp:read mcp:write]|403|mcp:read mcp:write"},
		see: func(c *client) string {
			access, _ := c.login()
			c.change = drop("scope") // then one gets what is required
			return sprint(c.resourceMetadata().json["scopes_supported"], c.status(access), c.tokens()["scope"])
		},
	},
	"SSE": {
		opt:  authtest.Options{SSE: true},
		want: [2]string{"application/json; charset=utf-8 {\"id\":1,\"jsonrpc\":\"2.0\",\"result\":{}}", "text/event-stream event: message\ndata: {\"id\":1,\"jsonrpc\":\"2.0\",\"result\":{}}\n\n"},
		see: func(c *client) string {
			access, _ := c.login()
			a := c.mcp(http.MethodPost, access, ping)
			return a.header.Get("Content-Type") + " " + a.body
		},
	},
	"MetadataDocuments": {
		opt:  authtest.Options{MetadataDocuments: map[string][]string{clientDocument: {"http://127.0.0.1/callback"}}},
		want: [2]string{"false|page", "true|code|200|page|page"},
		see: func(c *client) string {
			announced := c.md["client_id_metadata_document_supported"]
			c.id = clientDocument
			first := c.callback()
			if first != "code" {
				return sprint(announced, first)
			}
			doc := c.tokens()
			c.srv.ForgetClients() // it keeps nothing of such a client that could be forgotten
			status, _ := c.renew(doc["refresh_token"].(string))
			c.change = set("redirect_uri", "http://127.0.0.1:9/other")
			elsewhere := c.callback()
			c.id, c.change = clientDocument+"x", nil
			return sprint(announced, first, status, elsewhere, c.callback())
		},
	},
	"DPoP": {
		opt:  authtest.Options{DPoP: true},
		want: [2]string{"<nil>|bEARER|401", "[ES256]|DPoP|200"},
		see: func(c *client) string {
			return sprint(c.resourceMetadata().json["dpop_signing_alg_values_supported"], useBound(c))
		},
	},
	"Listen": {
		opt: authtest.Options{Listen: func(network, address string) (net.Listener, error) {
			listeners.Add(1)
			return net.Listen(network, address)
		}},
		want: [2]string{"0|200", "2|200"},
		see:  func(c *client) string { return sprint(listeners.Load(), c.resourceMetadata().status) },
	},
	"Now": {
		opt:  authtest.Options{Now: func() time.Time { return aDay }},
		want: [2]string{"false", "true"},
		see: func(c *client) string {
			issued, _ := c.register(nil).json["client_id_issued_at"].(float64)
			return sprint(int64(issued) == aDay.Unix())
		},
	},
}

// reuse presents a refresh token twice.
func reuse(c *client) string {
	_, refresh := c.login()
	_, first := c.renew(refresh)
	_, second := c.renew(refresh)
	return sprint(first["refresh_token"] != nil, second["error"], c.srv.Revoked())
}

// TestEveryOption compares a server with the option to one without. A field without a case fails.
func TestEveryOption(t *testing.T) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[authtest.Options]()) {
		t.Run(field.Name, func(t *testing.T) {
			tc, ok := optionCases[field.Name]
			if !ok {
				t.Fatal("no test shows what it does")
			}
			for i, opt := range []*authtest.Options{nil, &tc.opt} {
				if got := tc.see(newClient(t, authtest.New(t, opt))); got != tc.want[i] {
					t.Errorf("with options %v: %q, want %q", opt != nil, got, tc.want[i])
				}
			}
		})
	}
}

// The clock is the caller's alone: tokens, codes and secrets end by it.
func TestTheClock(t *testing.T) {
	now := aDay
	srv := authtest.New(t, &authtest.Options{Now: func() time.Time { return now }, AccessTokenLifetime: time.Minute})
	c := newClient(t, srv)
	access, _ := c.login()
	now = now.Add(59 * time.Second)
	if c.status(access) != http.StatusOK {
		t.Error("it ended before its time")
	}
	now = now.Add(time.Second)
	if c.status(access) != http.StatusUnauthorized {
		t.Error("it did not end with its time")
	}
	srv.AdvanceClock(-time.Second) // on top of the caller's clock
	if c.status(access) != http.StatusOK {
		t.Error("AdvanceClock and Now do not add up")
	}
}

func TestLenientPathsAreTheUsualOnes(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{Lenient: true})
	c := newClient(t, srv)
	for member, p := range map[string]string{
		"authorization_endpoint": "/authorize", "token_endpoint": "/token", "registration_endpoint": "/register",
		"revocation_endpoint": "/revoke", "pushed_authorization_request_endpoint": "/par",
	} {
		if c.str(member) != origin(srv.Issuer())+p {
			t.Errorf("%s: %s", member, c.str(member))
		}
	}
	c.id = c.register(map[string]any{"token_endpoint_auth_method": "none"}).json["client_id"].(string)
	doc := c.tokens()
	if doc["token_type"] != "Bearer" || doc["refresh_token"] == nil {
		t.Errorf("tokens: %v", doc)
	}
	// Lenient is not careless.
	c.change = drop("code_challenge")
	if got := c.callback(); got != "invalid_request" {
		t.Errorf("without PKCE: %s", got)
	}
	c.change = set("resource", "https://other.example")
	if got := c.callback(); got != "invalid_target" {
		t.Errorf("for another resource: %s", got)
	}
	c.change = set("redirect_uri", "http://127.0.0.1:9/other")
	if got := c.callback(); got != "page" {
		t.Errorf("to another path: %s", got)
	}
}
