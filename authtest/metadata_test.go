package authtest_test

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// Documents lie where RFC 8414 section 3.1, OpenID Connect Discovery section 4.1 and RFC 9728 section
// 3.1 want them, and nowhere else.
func TestWhereTheDocumentsLie(t *testing.T) {
	const (
		oauth    = "/.well-known/oauth-authorization-server"
		openID   = "/.well-known/openid-configuration"
		resource = "/.well-known/oauth-protected-resource"
	)
	for name, tc := range map[string]struct {
		opt *authtest.Options
		as  map[string]bool
		rs  map[string]bool
	}{
		"plain": {
			nil,
			map[string]bool{oauth: true, openID: true, oauth + "/": false, oauth + "/mcp": false, openID + "/mcp": false, resource: false, resource + "/mcp": false, "/.well-known/": false, "/": false, "/jwks": false},
			map[string]bool{resource + "/mcp": true, resource: false, resource + "/": false, resource + "/mcp/": false, resource + "/other": false, "/mcp" + resource: false, oauth: false, openID: false, "/": false, "/mcp/": false},
		},
		"an issuer with a path": {
			&authtest.Options{IssuerPath: "/tenant/one"},
			map[string]bool{oauth + "/tenant/one": true, openID + "/tenant/one": true, "/tenant/one" + openID: true, "/tenant/one" + oauth: false, oauth: false, openID: false, oauth + "/tenant": false, oauth + "/tenant/one/": false},
			map[string]bool{resource + "/mcp": true, resource: false},
		},
		"one origin": {
			&authtest.Options{SameOrigin: true},
			map[string]bool{oauth: true, openID: true, resource + "/mcp": true, resource: false, resource + "/other": false},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, tc.opt)
			check := func(base string, places map[string]bool) {
				for p, there := range places {
					a := do(t, http.MethodGet, origin(base)+p, "")
					want := http.StatusNotFound
					if there {
						want = http.StatusOK
					}
					if a.status != want || there && a.header.Get("Content-Type") != "application/json; charset=utf-8" {
						t.Errorf("%s: %d, %s", p, a.status, a.header.Get("Content-Type"))
					}
					leg := "server-metadata"
					if strings.Contains(p, resource) {
						leg = "resource-metadata"
					}
					if got := legs(srv); there && got[len(got)-1] != leg {
						t.Errorf("%s was recorded as %s", p, got[len(got)-1])
					}
				}
			}
			check(srv.Issuer(), tc.as)
			check(srv.MCPURL(), tc.rs)
		})
	}
}

func TestWhatTheDocumentsSay(t *testing.T) {
	for name, opt := range map[string]*authtest.Options{"plain": nil, "an issuer with a path": {IssuerPath: "/tenant/one"}, "one origin": {SameOrigin: true}, "lenient": {Lenient: true}} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, opt)
			c := newClient(t, srv)
			rs := c.resourceMetadata().json
			if rs["resource"] != srv.MCPURL() || !reflect.DeepEqual(rs["authorization_servers"], []any{srv.Issuer()}) || !reflect.DeepEqual(rs["scopes_supported"], []any{"mcp:read"}) || !reflect.DeepEqual(rs["bearer_methods_supported"], []any{"header"}) {
				t.Errorf("resource metadata: %v", rs)
			}
			u, _ := url.Parse(srv.Issuer())
			for place, as := range map[string]map[string]any{
				"RFC 8414": c.md,
				"OpenID":   do(t, http.MethodGet, origin(srv.Issuer())+"/.well-known/openid-configuration"+u.Path, "").json,
			} {
				if as["issuer"] != srv.Issuer() || as["token_endpoint"] != srv.TokenEndpoint() {
					t.Errorf("%s: issuer %v, token endpoint %v", place, as["issuer"], as["token_endpoint"])
				}
				for member, want := range map[string]any{
					"code_challenge_methods_supported": []any{"S256"}, "response_types_supported": []any{"code"},
					"grant_types_supported":                          []any{"authorization_code", "refresh_token"},
					"scopes_supported":                               []any{"mcp:read", "mcp:write", "offline_access"},
					"revocation_endpoint_auth_methods_supported":     []any{"none", "client_secret_basic", "client_secret_post"},
					"authorization_response_iss_parameter_supported": true, "client_id_metadata_document_supported": false,
					"require_pushed_authorization_requests": false,
				} {
					if !reflect.DeepEqual(as[member], want) {
						t.Errorf("%s: %s is %v, want %v", place, member, as[member], want)
					}
				}
				// What OpenID requires on top (section 3).
				for _, member := range []string{"jwks_uri", "subject_types_supported", "id_token_signing_alg_values_supported"} {
					if (as[member] != nil) != (place == "OpenID") {
						t.Errorf("%s: %s is %v", place, member, as[member])
					}
				}
			}
			// Every endpoint is there, at the issuer's origin, and takes no other method.
			for member, other := range map[string]string{
				"authorization_endpoint": http.MethodPut, "token_endpoint": http.MethodGet, "registration_endpoint": http.MethodGet,
				"revocation_endpoint": http.MethodGet, "pushed_authorization_request_endpoint": http.MethodGet,
			} {
				endpoint := c.str(member)
				method := http.MethodPost
				if member == "authorization_endpoint" {
					method = http.MethodGet
				}
				if a := do(t, method, endpoint, ""); !strings.HasPrefix(endpoint, origin(srv.Issuer())+"/") || a.status == http.StatusNotFound {
					t.Errorf("%s %s: %d", member, endpoint, a.status)
				}
				if a := do(t, other, endpoint, ""); a.status != http.StatusNotFound {
					t.Errorf("%s, %s: %d", member, other, a.status)
				}
			}
		})
	}
}

// Two servers have no path in common, so none can be known by heart.
func TestPathsCannotBeKnownByHeart(t *testing.T) {
	a, b := newClient(t, authtest.New(t, nil)), newClient(t, authtest.New(t, nil))
	for _, member := range []string{"authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint"} {
		u, _ := url.Parse(a.str(member))
		v, _ := url.Parse(b.str(member))
		if u.Path == v.Path || slices.Contains([]string{"/authorize", "/token", "/register", "/revoke", "/par"}, u.Path) {
			t.Errorf("%s: %s, %s", member, u.Path, v.Path)
		}
	}
	for _, guess := range []string{"/authorize", "/token", "/register"} {
		if status := do(t, http.MethodPost, origin(a.srv.Issuer())+guess, "").status; status != http.StatusNotFound {
			t.Errorf("%s: %d", guess, status)
		}
	}
}

func TestDocumentsAreAwkward(t *testing.T) {
	c := newClient(t, authtest.New(t, nil))
	lenient := newClient(t, authtest.New(t, &authtest.Options{Lenient: true}))
	for name, doc := range map[string][2]map[string]any{
		"resource metadata": {c.resourceMetadata().json, lenient.resourceMetadata().json},
		"server metadata":   {c.md, lenient.md},
		"registration":      {c.register(nil).json, lenient.register(nil).json},
		"tokens":            {c.tokens(), lenient.tokens()},
	} {
		if doc[0]["x_surprise"] == nil || doc[1]["x_surprise"] != nil {
			t.Errorf("%s: strict %v, lenient %v", name, doc[0]["x_surprise"], doc[1]["x_surprise"])
		}
	}
	if got := sprint(c.md["token_endpoint_auth_methods_supported"]); !strings.Contains(got, "telepathy") {
		t.Errorf("authentication methods %s", got)
	}
}
