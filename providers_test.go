package mcpoauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// Options: ClientID and ClientSecret. GitHub registers no clients, takes the secret in the form only and
// says so nowhere, answers in forms, refreshes too, and sends errors with the status 200.
//
// It has a row in docs/compatibility.md.
func TestGitHub(t *testing.T) {
	t.Parallel()
	const issuer = "https://github.com/login/oauth"
	p := &provider{
		t: t, mcp: "https://api.githubcopilot.com/mcp/", challenge: `Bearer error="invalid_request", resource_metadata="https://api.githubcopilot.com/.well-known/oauth-protected-resource/mcp/"`,
		authorize: issuer + "/authorize", token: issuer + "/access_token", client: "Iv1.app", secret: "0123456789abcdef", method: "client_secret_post", rotating: true,
		documents: map[string]any{
			"https://api.githubcopilot.com/.well-known/oauth-protected-resource/mcp/": prmAt("https://api.githubcopilot.com/mcp", issuer),
			issuer + "/.well-known/openid-configuration":                              corpusFile(t, "github-oidc.json"),
		},
		answer: func(n int) (string, string) {
			return "application/x-www-form-urlencoded; charset=utf-8", fmt.Sprintf("access_token=access-%d&expires_in=28800&refresh_token=refresh-%d&refresh_token_expires_in=15811200&scope=repo%%2Cread%%3Aorg&token_type=bearer", n, n)
		},
		fail: func(code string) document {
			own := map[string]string{"invalid_client": "incorrect_client_credentials", "invalid_grant": "bad_verification_code"}[code]
			return document{200, "application/x-www-form-urlencoded; charset=utf-8", []byte("error=" + own + "&error_description=No.")}
		},
	}
	err := p.refused(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "Iv1.app", Secret: "another"}}, "--client-id and its secret")
	var te *mcpoauth.Error
	if !errorAt(err, mcpoauth.OpToken, &te) || te.Code != "invalid_client" || te.Status != 200 {
		t.Errorf("%+v", err)
	}
	p.requests = nil
	// What works for the code is remembered for the refresh.
	p.wants(p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "Iv1.app", Secret: "0123456789abcdef"}}), []string{"authorize", "authorization_code", "authorization_code", "refresh_token", "refresh_token"})
}

// Options: ClientID. It is known that the announced tenant is an alias whose document says {tenantid}, that PKCE is
// not announced, and that Entra ID refuses the resource where it differs from the scopes. For one that is not known
// these are AuthServer and NoResource.
//
// It has a row in docs/compatibility.md.
func TestEntra(t *testing.T) {
	t.Parallel()
	const (
		announced  = "https://login.microsoftonline.com/organizations/v2.0"
		documented = "https://login.microsoftonline.com/{tenantid}/v2.0"
		mcp        = "https://tools.example.com/mcp"
	)
	prm := prmAt(mcp, announced)
	prm["scopes_supported"] = []string{"api://00000000-0000-0000-0000-000000000000/Tools.Use"}
	p := &provider{
		t: t, mcp: mcp, challenge: `Bearer authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", resource_metadata="https://tools.example.com/.well-known/oauth-protected-resource/mcp"`,
		authorize: "https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize", token: "https://login.microsoftonline.com/organizations/oauth2/v2.0/token",
		client: "00000000-1111-2222-3333-444444444444", method: "none", rotating: true,
		documents: map[string]any{
			"https://tools.example.com/.well-known/oauth-protected-resource/mcp": prm,
			announced + "/.well-known/openid-configuration": map[string]any{
				"issuer": documented, "authorization_endpoint": "https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize",
				"token_endpoint": "https://login.microsoftonline.com/organizations/oauth2/v2.0/token", "jwks_uri": "https://login.microsoftonline.com/organizations/discovery/v2.0/keys",
				"response_modes_supported": []string{"query", "fragment", "form_post"}, "response_types_supported": []string{"code", "id_token", "code id_token", "id_token token"},
				"scopes_supported": []string{"openid", "profile", "email", "offline_access"}, "subject_types_supported": []string{"pairwise"}, "tenant_region_scope": nil,
				"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic", "self_signed_tls_client_auth"},
			},
		},
		refuses: func(_ string, form url.Values) string {
			if form.Has("resource") {
				return "invalid_target"
			}
			return ""
		},
		answer: func(n int) (string, string) {
			return "application/json; charset=utf-8", fmt.Sprintf(`{"token_type":"Bearer","scope":"api://00000000-0000-0000-0000-000000000000/Tools.Use","expires_in":"3599","ext_expires_in":"3599","expires_on":"1759495112","not_before":"1759489561","access_token":"access-%d","refresh_token":"refresh-%d","id_token":"e30.e30.x"}`, n, n)
		},
	}
	p.wants(p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client}}), once)
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client}, Server: mcpoauth.ServerOptions{IgnoreProviders: true}}
	p.refused(o, "--auth-server '"+documented+"'")
	o.Server.Issuer = documented
	p.refused(o, "--no-resource")
	o.Server.NoResource, p.issued, p.requests = true, 0, nil
	p.wants(p.use(o), once)
}

// Options: ClientID, ClientSecret. It is known that the person's token lies in authed_user and has the type "user";
// for one that is not known these are TokenMember and AllowTokenType. The login remembers both, so that a refresh
// needs no options.
//
// It has a row in docs/compatibility.md.
func TestSlack(t *testing.T) {
	t.Parallel()
	p := &provider{
		t: t, mcp: "https://mcp.slack.com/mcp", challenge: `Bearer resource_metadata="https://mcp.slack.com/.well-known/oauth-protected-resource"`,
		authorize: "https://slack.com/oauth/v2_user/authorize", token: "https://slack.com/api/oauth.v2.user.access", client: "1.2", secret: "abc", method: "client_secret_post", rotating: true,
		documents: map[string]any{
			"https://mcp.slack.com/.well-known/oauth-protected-resource":   corpusFile(t, "slack-prm.json"),
			"https://mcp.slack.com/.well-known/oauth-authorization-server": corpusFile(t, "slack-as-metadata.json"),
		},
		answer: func(n int) (string, string) {
			return "application/json", fmt.Sprintf(`{"ok":true,"app_id":"A0","authed_user":{"id":"U0","scope":"channels:read,users:read","access_token":"access-%d","token_type":"user","refresh_token":"refresh-%d","expires_in":43200},"team":{"id":"T0"},"enterprise":null,"scope":""}`, n, n)
		},
		fail: func(string) document {
			return document{200, "application/json", []byte(`{"ok":false,"error":"invalid_code"}`)}
		},
	}
	p.wants(p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "1.2", Secret: "abc"}}), once)
	p.issued, p.requests = 0, nil
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "1.2", Secret: "abc"}, Server: mcpoauth.ServerOptions{IgnoreProviders: true}, Store: memstore.New()}
	p.refused(o, "--token-member authed_user")
	o.Server.TokenMember = "authed_user"
	p.refused(o, "--allow-token-type user")
	o.Allow.TokenType = "user"
	p.issued, p.requests = 0, nil
	p.wants(p.use(o), once)
	if rec := stored(t, o.Store, newClient(t, p.mcp, o)); !slices.Equal(rec.Scopes, []string{"channels:read", "users:read"}) || rec.TokenType != "Bearer" {
		t.Errorf("scopes %q, type %s", rec.Scopes, rec.TokenType)
	}
}

// Options: ClientID, ClientSecret. It is known that Google gives refresh tokens for access_type=offline only, at a
// consent of their own, and that its endpoints have several domains. It knows no offline_access.
//
// It has a row in docs/compatibility.md.
func TestGoogle(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://mail.googleapis.example/mcp", "https://accounts.google.com"
	prm := prmAt(mcp, issuer+"/")
	prm["scopes_supported"] = []string{"https://www.googleapis.com/auth/gmail.readonly"}
	p := &provider{
		t: t, mcp: mcp, authorize: issuer + "/o/oauth2/v2/auth", token: "https://oauth2.googleapis.com/token", client: "1-a.apps.googleusercontent.com", secret: "GOCSPX-x", method: "client_secret_basic",
		documents: map[string]any{
			"https://mail.googleapis.example/.well-known/oauth-protected-resource/mcp": prm,
			issuer + "/.well-known/openid-configuration": map[string]any{
				"issuer": issuer, "authorization_endpoint": issuer + "/o/oauth2/v2/auth", "device_authorization_endpoint": "https://oauth2.googleapis.com/device/code",
				"token_endpoint": "https://oauth2.googleapis.com/token", "revocation_endpoint": "https://oauth2.googleapis.com/revoke", "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
				"scopes_supported": []string{"openid", "email", "profile"}, "token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
				"code_challenge_methods_supported": []string{"plain", "S256"}, "grant_types_supported": []string{"authorization_code", "refresh_token"},
			},
		},
		answer: func(n int) (string, string) {
			if n > 1 {
				return "application/json; charset=utf-8", fmt.Sprintf(`{"access_token":"access-%d","expires_in":3599,"scope":"https://www.googleapis.com/auth/gmail.readonly","token_type":"Bearer"}`, n)
			}
			return usualAnswer(n)
		},
	}
	p.refuses = func(leg string, form url.Values) string {
		switch {
		case strings.Contains(form.Get("scope"), "offline_access"):
			return "invalid_scope"
		case leg == "authorize" && (form.Get("access_type") != "offline" || form.Get("prompt") != "consent"):
			return "access_denied" // in the field it is a login without a refresh token
		}
		return ""
	}
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client, Secret: p.secret}}
	p.wants(p.use(o), once)
	if _, err := newClient(t, mcp, mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client, Secret: p.secret}, Server: mcpoauth.ServerOptions{IgnoreProviders: true}, Network: mcpoauth.NetworkOptions{HTTPClient: &http.Client{Transport: p}}, Prompt: p.person}).Login(t.Context(), nil); err == nil {
		t.Error("without what is known the parameters are sent all the same")
	}
	// What the person sets wins.
	p.issued, p.requests = 0, nil
	p.refuses = func(leg string, form url.Values) string {
		if leg == "authorize" && form.Get("prompt") != "select_account" {
			return "access_denied"
		}
		return ""
	}
	p.wants(p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client, Secret: p.secret}, Server: mcpoauth.ServerOptions{AuthorizeParams: url.Values{"prompt": {"select_account"}}}}), once)
}

// TestEndpointsByHand: a server without metadata, or with what is none, whose endpoints are known.
//
// It has a row in docs/compatibility.md.
func TestEndpointsByHand(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://tools.example.com/mcp", "https://as.example.com"
	p := &provider{
		t: t, mcp: mcp, authorize: issuer + "/a", token: issuer + "/t", client: "by-hand", method: "none", answer: usualAnswer, rotating: true,
		documents: map[string]any{"https://tools.example.com/.well-known/oauth-protected-resource/mcp": prmAt(mcp, issuer)},
	}
	p.refused(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client}}, "")
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client}, Server: mcpoauth.ServerOptions{Endpoints: mcpoauth.Endpoints{Authorization: p.authorize, Token: p.token}}}
	p.wants(p.use(o), once)
	// One alone completes the metadata, and there is none.
	for flag, e := range map[string]mcpoauth.Endpoints{"--authorization-endpoint": {Token: p.token}, "--token-endpoint": {Authorization: p.authorize}} {
		one := o
		one.Server.Endpoints = e
		if err := p.refused(one, ""); !strings.Contains(mcpoauth.Hint(err), flag) {
			t.Errorf("%v, hint %q", err, mcpoauth.Hint(err))
		}
	}
	// With metadata that lacks the endpoint it is enough.
	m := metadataOf(issuer)
	m["authorization_endpoint"], m["token_endpoint"] = p.authorize, nil
	p.documents[issuer+"/.well-known/oauth-authorization-server"], p.iss = m, issuer
	one := o
	one.Server.Endpoints, p.requests = mcpoauth.Endpoints{Token: p.token}, nil
	p.wants(p.use(one), once)
	delete(p.documents, issuer+"/.well-known/oauth-authorization-server")
	p.refused(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client}, Server: mcpoauth.ServerOptions{Endpoints: mcpoauth.Endpoints{Authorization: "http://10.0.0.1/a", Token: p.token}}}, "")
}

// Options: ClientID, and CallbackHost since 127.0.0.1 is not taken; outside of a test CallbackPort as well, for the
// redirect URI is compared whole. Tokens have no expires_in, and a refresh brings no refresh token.
//
// It has a row in docs/compatibility.md.
func TestSalesforce(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://api.salesforce.com/platform/mcp/v1/sobject-all", "https://login.salesforce.com"
	p := &provider{
		t: t, mcp: mcp, authorize: issuer + "/services/oauth2/authorize", token: issuer + "/services/oauth2/token", client: "3MVG9.fake", method: "none",
		documents: map[string]any{
			"https://api.salesforce.com/.well-known/oauth-protected-resource/platform/mcp/v1/sobject-all": prmAt(mcp, issuer),
			issuer + "/.well-known/oauth-authorization-server": map[string]any{
				"issuer": issuer, "authorization_endpoint": issuer + "/services/oauth2/authorize", "token_endpoint": issuer + "/services/oauth2/token",
				"revocation_endpoint": issuer + "/services/oauth2/revoke", "scopes_supported": []string{"cdp_ingest_api", "refresh_token", "api"},
				"code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic", "private_key_jwt"},
			},
		},
		refuses: func(leg string, form url.Values) string {
			if leg == "authorize" && !strings.HasPrefix(form.Get("redirect_uri"), "http://localhost:") {
				return "redirect_uri_mismatch"
			}
			return ""
		},
		answer: func(n int) (string, string) {
			refresh := ""
			if n == 1 {
				refresh = `"refresh_token":"refresh-1",`
			}
			return "application/json;charset=UTF-8", fmt.Sprintf(`{"access_token":"access-%d",%s"signature":"x=","scope":"refresh_token api","instance_url":"https://x.my.salesforce.com","id":"https://login.salesforce.com/id/0/0","token_type":"Bearer","issued_at":"1278448384422"}`, n, refresh)
		},
	}
	p.refused(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client}}, "")
	p.requests = nil
	p.wants(p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client}, Callback: mcpoauth.CallbackOptions{Host: "localhost"}}), once)
}

// Options: ClientID. Cognito has no registration and does not announce PKCE, which is known; its metadata is
// OpenID Connect's, at the end of an issuer with a path, and its endpoints are on another domain.
//
// It has a row in docs/compatibility.md.
func TestCognito(t *testing.T) {
	t.Parallel()
	const mcp, issuer, domain = "https://tools.example.com/mcp", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Fake00000", "https://example.auth.eu-west-1.amazoncognito.com"
	p := &provider{
		t: t, mcp: mcp, authorize: domain + "/oauth2/authorize", token: domain + "/oauth2/token", client: "1example23456789", method: "none",
		documents: map[string]any{
			"https://tools.example.com/.well-known/oauth-protected-resource": prmAt(mcp, issuer),
			issuer + "/.well-known/openid-configuration": map[string]any{
				"issuer": issuer, "authorization_endpoint": domain + "/oauth2/authorize", "token_endpoint": domain + "/oauth2/token", "revocation_endpoint": domain + "/oauth2/revoke",
				"end_session_endpoint": domain + "/logout", "jwks_uri": issuer + "/.well-known/jwks.json", "response_types_supported": []string{"code", "token"},
				"scopes_supported": []string{"openid", "email", "phone", "profile"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
				"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
			},
		},
		answer: func(n int) (string, string) {
			if n > 1 {
				return "application/json;charset=UTF-8", fmt.Sprintf(`{"id_token":"e30.e30.x","access_token":"access-%d","expires_in":3600,"token_type":"Bearer"}`, n)
			}
			return usualAnswer(n)
		},
	}
	p.refused(mcpoauth.Options{}, "--client-id")
	p.wants(p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: p.client}}), once)
}

// Options: none. The lists have values that no registry knows, and "none" is not among the methods.
//
// It has a row in docs/compatibility.md.
func TestMethodsThatNobodyKnows(t *testing.T) {
	t.Parallel()
	const mcp, origin = "https://mcp.paypal.com/mcp", "https://mcp.paypal.com"
	p := &provider{
		t: t, mcp: mcp, challenge: `Bearer realm="OAuth", resource_metadata="https://mcp.paypal.com/.well-known/oauth-protected-resource/mcp", error="invalid_token", error_description="Missing or invalid access token"`,
		authorize: origin + "/authorize", token: origin + "/token", register: origin + "/register", method: "client_secret_basic", rotating: true,
		documents: map[string]any{
			origin + "/.well-known/oauth-protected-resource/mcp": prmAt(mcp, origin),
			origin + "/.well-known/oauth-authorization-server": map[string]any{
				"issuer": origin, "authorization_endpoint": origin + "/authorize", "token_endpoint": origin + "/token", "registration_endpoint": origin + "/register",
				"response_types_supported": []string{"code", "vnd.code token"}, "response_modes_supported": []string{"query", "web_message.opener"},
				"grant_types_supported": []string{"authorization_code", "refresh_token", "urn:paypal:params:oauth:grant-type:first_party"}, "code_challenge_methods_supported": []string{"plain", "S256", "S512"},
				"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_assertion_type_paypal", "tls_session"}, "token_endpoint_auth_signing_alg_values_supported": []string{"HS1024"},
				"revocation_endpoint": nil, "ui_locales_supported": "de", "claims_supported": map[string]any{},
			},
		},
		answer: usualAnswer,
	}
	p.wants(p.use(mcpoauth.Options{}), append([]string{"register"}, once...))
}

// Options: none. The issuer has a path, but its metadata lies at the root of the host only, and the resource's
// at the root of the MCP server; whose they are is in them.
//
// It has a row in docs/compatibility.md.
func TestMetadataOnlyAtTheOrigin(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://mcp.example.com/v1/mcp", "https://login.example.com/realms/tools"
	p := &provider{
		t: t, mcp: mcp, authorize: issuer + "/authorize", token: issuer + "/token", register: issuer + "/register", method: "none", rotating: true, iss: issuer,
		documents: map[string]any{
			"https://mcp.example.com/.well-known/oauth-protected-resource": prmAt("https://mcp.example.com", issuer),
			"https://login.example.com/.well-known/oauth-authorization-server": map[string]any{
				"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "registration_endpoint": issuer + "/register",
				"code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
			},
		},
		refuses: func(leg string, form url.Values) string {
			if form.Get("resource") != "https://mcp.example.com" {
				return "invalid_target"
			}
			return ""
		},
		answer: usualAnswer,
	}
	p.wants(p.use(mcpoauth.Options{}), append([]string{"register"}, once...))
}

// Options: ClientID and ClientSecret. Issuer and endpoints have paths that end in slashes, the endpoints
// outside of the issuer's.
//
// It has a row in docs/compatibility.md.
func TestIssuerWithAPath(t *testing.T) {
	t.Parallel()
	const mcp, issuer, base = "https://tools.example.com/mcp", "https://authentik.example.com/application/o/hireling/", "https://authentik.example.com/application/o/"
	p := &provider{
		t: t, mcp: mcp, authorize: base + "authorize/", token: base + "token/", client: "hireling", secret: "p&p=1", method: "client_secret_basic", rotating: true, iss: issuer,
		documents: map[string]any{
			"https://tools.example.com/.well-known/oauth-protected-resource/mcp": prmAt(mcp, issuer),
			issuer + ".well-known/openid-configuration":                          corpusFile(t, "authentik-oidc.json"),
		},
		answer: usualAnswer,
	}
	p.wants(p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "hireling", Secret: "p&p=1"}}), once)
}

// Options: none. Every address that is nothing else is a page of an application; metadata is at one of those
// that come last.
//
// It has a row in docs/compatibility.md.
func TestPagesAtWellKnownAddresses(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://app.example.com/mcp", "https://app.example.com/auth"
	app := corpusFile(t, "outline-prm.html")
	p := &provider{
		t: t, mcp: mcp, challenge: "Bearer", elsewhere: &app, authorize: issuer + "/authorize", token: issuer + "/token", register: issuer + "/register", method: "none", rotating: true,
		documents: map[string]any{
			"https://app.example.com/.well-known/oauth-protected-resource": prmAt(mcp, issuer),
			issuer + "/.well-known/openid-configuration": map[string]any{
				"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "registration_endpoint": issuer + "/register",
				"code_challenge_methods_supported": []string{"S256"},
			},
		},
		answer: usualAnswer,
	}
	p.wants(p.use(mcpoauth.Options{}), append([]string{"register"}, once...))
	// Without metadata there are only pages.
	p.documents = nil
	if err := p.refused(mcpoauth.Options{}, ""); !errors.Is(err, mcpoauth.ErrNoOAuth) {
		t.Errorf("got %v", err)
	}
}

// Options: none for the authorization server that registers clients; ClientID and AuthServer for the
// company's own, which comes first and does not.
//
// It has a row in docs/compatibility.md.
func TestSeveralAuthorizationServers(t *testing.T) {
	t.Parallel()
	const mcp, company, public = "https://tools.example.com/mcp", "https://sso.example.com", "https://login.example.net"
	server := func(issuer string) map[string]any {
		return map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
		}
	}
	open := server(public)
	open["registration_endpoint"] = public + "/register"
	at := func(issuer string) *provider {
		return &provider{
			t: t, mcp: mcp, authorize: issuer + "/authorize", token: issuer + "/token", register: public + "/register", method: "none", rotating: true, iss: issuer,
			documents: map[string]any{
				"https://tools.example.com/.well-known/oauth-protected-resource/mcp": prmAt(mcp, "https://gone.example.com", company, public),
				company + "/.well-known/oauth-authorization-server":                  server(company),
				public + "/.well-known/oauth-authorization-server":                   open,
			},
			answer: usualAnswer,
		}
	}
	p := at(public)
	p.wants(p.use(mcpoauth.Options{}), append([]string{"register"}, once...))
	p = at(company)
	p.client = "by-hand"
	p.wants(p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand"}, Server: mcpoauth.ServerOptions{Issuer: company}}), once)
}
