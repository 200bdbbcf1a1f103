package authtest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// faultCase shows what a fault does: what a client sees without it, with it, and without it again.
type faultCase struct {
	opt    *authtest.Options
	set    func(*authtest.Faults)
	normal string
	faulty string
	see    func(c *client, on bool) string
}

// answerOf asks for an answer that never comes while the fault is on. Without it, it waits as long as
// it takes: a slow machine fails no test.
func answerOf(on bool, request func(context.Context) error) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if on {
		time.AfterFunc(100*time.Millisecond, cancel)
	}
	if err := request(ctx); err != nil {
		return "none"
	}
	return "one"
}

var faultCases = map[string]faultCase{
	"Intercept": {
		set: func(f *authtest.Faults) {
			f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"token": func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusTeapot)
				return true
			}}
		},
		normal: "200", faulty: "418",
		see: func(c *client, _ bool) string {
			status, _ := c.exchange(c.newCode())
			return sprint(status)
		},
	},
	"Delay": {
		set:    func(f *authtest.Faults) { f.Delay = map[string]time.Duration{"challenge": time.Hour} },
		normal: "one", faulty: "none",
		see: func(c *client, on bool) string {
			return answerOf(on, func(ctx context.Context) error { return visit(ctx, c.srv.MCPURL()) })
		},
	},
	"Drop": {
		set:    func(f *authtest.Faults) { f.Drop = map[string]int{"token": 1} },
		normal: "200|invalid_grant", faulty: "0|<nil>", // the second try with the same code works
		see: func(c *client, _ bool) string {
			code := c.newCode()
			first, _ := c.exchange(code)
			_, second := c.exchange(code)
			return sprint(first, second["error"])
		},
	},
	"Fail": {
		set:    func(f *authtest.Faults) { f.Fail = map[string]int{"token": 503} },
		normal: "200|application/json; charset=utf-8|false", faulty: "503|text/html|true",
		see: func(c *client, _ bool) string {
			a := postForm(c.t, c.srv.TokenEndpoint(), url.Values{
				"grant_type": {"authorization_code"}, "code": {c.newCode()}, "redirect_uri": {redirect},
				"client_id": {c.id}, "code_verifier": {c.verify}, "resource": {c.srv.MCPURL()},
			})
			return sprint(a.status, a.header.Get("Content-Type"), strings.Contains(a.body, "<h1>"))
		},
	},
	"RetryAfter": {
		set:    func(f *authtest.Faults) { f.Fail, f.RetryAfter = map[string]int{"refresh": 429}, "7" },
		normal: "400|", faulty: "429|7",
		see: func(c *client, _ bool) string {
			a := postForm(c.t, c.srv.TokenEndpoint(), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"none"}, "client_id": {c.id}})
			return sprint(a.status, a.header.Get("Retry-After"))
		},
	},

	"BareChallenge": {
		set:    func(f *authtest.Faults) { f.BareChallenge = true },
		normal: "401|2", faulty: "401|0",
		see: func(c *client, _ bool) string {
			status, h, _ := c.call("", ping)
			return sprint(status, len(h.Values("WWW-Authenticate")))
		},
	},
	"ChallengeWithoutMetadata": {
		set:    func(f *authtest.Faults) { f.ChallengeWithoutMetadata = true },
		normal: "401|true|403|true", faulty: "401|false|403|false",
		see: func(c *client, _ bool) string {
			status, h, _ := c.call("", ping)
			access, _ := c.login()
			status2, h2, _ := c.call(access, callTool("write_note"))
			address := ` resource_metadata="` + origin(c.srv.MCPURL()) + `/.well-known/oauth-protected-resource/mcp"`
			return sprint(status, strings.Contains(strings.Join(h.Values("WWW-Authenticate"), ", "), address), status2, strings.Contains(h2.Get("WWW-Authenticate"), address))
		},
	},
	"Challenge": {
		set:    func(f *authtest.Faults) { f.Challenge = []string{"Negotiate", `Bearer realm="mine"`} },
		normal: "401|false", faulty: "401|true",
		see: func(c *client, _ bool) string {
			status, h, _ := c.call("", ping)
			return sprint(status, slices.Equal(h.Values("WWW-Authenticate"), []string{"Negotiate", `Bearer realm="mine"`}))
		},
	},
	"AlwaysUnauthorized": {
		set:    func(f *authtest.Faults) { f.AlwaysUnauthorized = true },
		normal: "200", faulty: "401",
		see: func(c *client, _ bool) string {
			access, _ := c.login()
			return sprint(c.status(access))
		},
	},
	"AlwaysNeedScope": {
		set:    func(f *authtest.Faults) { f.AlwaysNeedScope = "mcp:impossible" },
		normal: "200|false", faulty: "403|true",
		see: func(c *client, _ bool) string {
			access, _ := c.login()
			status, h, _ := c.call(access, ping)
			return sprint(status, strings.Contains(h.Get("WWW-Authenticate"), `error="insufficient_scope", scope="mcp:impossible"`))
		},
	},

	"NoResourceMetadata": {
		set:    func(f *authtest.Faults) { f.NoResourceMetadata = true },
		normal: "200", faulty: "404",
		see: func(c *client, _ bool) string { return sprint(c.resourceMetadata().status) },
	},
	"ResourceMetadataAtRoot": {
		set:    func(f *authtest.Faults) { f.ResourceMetadataAtRoot = true },
		normal: "200|404|false|false", faulty: "404|200|true|true",
		see: func(c *client, _ bool) string {
			root := origin(c.srv.MCPURL()) + "/.well-known/oauth-protected-resource"
			_, h, _ := c.call("", ping)
			access, _ := c.login()
			_, h2, _ := c.call(access, callTool("write_note"))
			return sprint(c.resourceMetadata().status, do(c.t, http.MethodGet, root, "").status,
				strings.Contains(strings.Join(h.Values("WWW-Authenticate"), ", "), `"`+root+`"`), strings.Contains(h2.Get("WWW-Authenticate"), `"`+root+`"`))
		},
	},
	"Resource": {
		set:    func(f *authtest.Faults) { f.Resource = "https://other.example/mcp" },
		normal: "true", faulty: "false|https://other.example/mcp",
		see: func(c *client, on bool) string {
			got := c.resourceMetadata().json["resource"]
			if on {
				return sprint(got == c.srv.MCPURL(), got)
			}
			return sprint(got == c.srv.MCPURL())
		},
	},
	"AuthorizationServers": {
		set:    func(f *authtest.Faults) { f.AuthorizationServers = []string{"https://a.example", "https://b.example"} },
		normal: "false", faulty: "true",
		see: func(c *client, _ bool) string {
			return sprint(reflect.DeepEqual(c.resourceMetadata().json["authorization_servers"], []any{"https://a.example", "https://b.example"}))
		},
	},
	"ResourceScopes": {
		set:    func(f *authtest.Faults) { f.ResourceScopes = []string{} },
		normal: "[mcp:read]", faulty: "[]",
		see: func(c *client, _ bool) string { return sprint(c.resourceMetadata().json["scopes_supported"]) },
	},

	"NoServerMetadata": {
		set:    func(f *authtest.Faults) { f.NoServerMetadata = true },
		normal: "200|200", faulty: "404|404",
		see: bothPlaces,
	},
	"OnlyOpenID": {
		set:    func(f *authtest.Faults) { f.OnlyOpenID = true },
		normal: "200|200", faulty: "404|200",
		see: bothPlaces,
	},
	"Issuer": {
		set:    func(f *authtest.Faults) { f.Issuer = "https://moved.example" },
		normal: "true", faulty: "false",
		see: func(c *client, _ bool) string {
			issuer := c.serverMetadata()["issuer"]
			if issuer != c.srv.Issuer() && issuer != "https://moved.example" {
				c.t.Errorf("issuer %v", issuer)
			}
			return sprint(issuer == c.srv.Issuer())
		},
	},
	"NoPKCE": {
		set:    func(f *authtest.Faults) { f.NoPKCE = true },
		normal: "[S256]|invalid_request", faulty: "<nil>|invalid_request",
		see: func(c *client, _ bool) string {
			c.change = drop("code_challenge")
			defer func() { c.change = nil }()
			return sprint(c.serverMetadata()["code_challenge_methods_supported"], c.callback())
		},
	},
	"ServerMetadata": {
		set: func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { delete(m, "revocation_endpoint"); m["extra"] = "x" }
		},
		normal: "true|<nil>", faulty: "false|x",
		see: func(c *client, _ bool) string {
			m := c.serverMetadata()
			return sprint(m["revocation_endpoint"] != nil, m["extra"])
		},
	},

	"NoRegistration": {
		set:    func(f *authtest.Faults) { f.NoRegistration = true },
		normal: "true|201", faulty: "false|404",
		see: func(c *client, _ bool) string {
			return sprint(c.serverMetadata()["registration_endpoint"] != nil, c.register(nil).status)
		},
	},
	"RegistrationAuthMethod": {
		set:    func(f *authtest.Faults) { f.RegistrationAuthMethod = "client_secret_post" },
		normal: "none|false", faulty: "client_secret_post|true",
		see: func(c *client, _ bool) string {
			reg := c.register(map[string]any{"token_endpoint_auth_method": "none"}).json
			return sprint(reg["token_endpoint_auth_method"], reg["client_secret"] != nil)
		},
	},
	"SecretLifetime": {
		set:    func(f *authtest.Faults) { f.SecretLifetime = time.Minute },
		normal: "0|invalid_grant|invalid_grant", faulty: "60|invalid_grant|invalid_client",
		see: func(c *client, _ bool) string {
			reg := c.register(nil).json
			expires, _ := reg["client_secret_expires_at"].(float64)
			if expires != 0 {
				expires -= reg["client_id_issued_at"].(float64)
			}
			try := func() string {
				return postForm(c.t, c.srv.TokenEndpoint(), url.Values{"grant_type": {"authorization_code"}, "code": {"none"}},
					basic(reg["client_id"].(string), reg["client_secret"].(string))...).err()
			}
			before := try()
			c.srv.AdvanceClock(2 * time.Minute)
			return sprint(expires, before, try())
		},
	},
	"ForeignRedirectURIs": {
		set:    func(f *authtest.Faults) { f.ForeignRedirectURIs = []string{"https://foreign.example/cb"} },
		normal: "[" + redirect + "]", faulty: "[https://foreign.example/cb]",
		see: func(c *client, _ bool) string { return sprint(c.register(nil).json["redirect_uris"]) },
	},

	"RegistrationPolicy": {
		set: func(f *authtest.Faults) {
			f.RegistrationPolicy = func(m map[string]any) (int, string, string) {
				if m["logo_uri"] != nil {
					return 403, "insufficient_scope", "not this host"
				}
				return 0, "", ""
			}
		},
		normal: "201|201|<nil>", faulty: "201|403|insufficient_scope",
		see: func(c *client, _ bool) string {
			with := c.register(map[string]any{"logo_uri": "https://elsewhere.example/logo"})
			return sprint(c.register(nil).status, with.status, with.json["error"])
		},
	},
	"RegistrationAnswer": {
		set: func(f *authtest.Faults) {
			f.RegistrationAnswer = func(m map[string]any) { delete(m, "registration_client_uri") }
		},
		normal: "true", faulty: "false",
		see: func(c *client, _ bool) string {
			return sprint(c.register(nil).json["registration_client_uri"] != nil)
		},
	},
	"ClientScopes": {
		set:    func(f *authtest.Faults) { f.ClientScopes = true },
		normal: "code|code", faulty: "invalid_scope|code",
		see: func(c *client, _ bool) string {
			c.id = c.register(map[string]any{"scope": "mcp:write"}).json["client_id"].(string)
			few := c.callback()
			c.id = c.register(map[string]any{"scope": "mcp:read mcp:write offline_access"}).json["client_id"].(string)
			return sprint(few, c.callback())
		},
	},

	"AuthorizeError": {
		set:    func(f *authtest.Faults) { f.AuthorizeError = "server_error" },
		normal: "code", faulty: "server_error",
		see: func(c *client, _ bool) string { return c.callback() },
	},
	"WrongIssuer": {
		set:    func(f *authtest.Faults) { f.WrongIssuer = "https://evil.example" },
		normal: "true|true", faulty: "false|false",
		see: func(c *client, _ bool) string {
			yes, _ := c.authorize(true)
			no, _ := c.authorize(false)
			return sprint(yes.Get("iss") == c.srv.Issuer(), no.Get("iss") == c.srv.Issuer())
		},
	},
	"NoIssuer": {
		set:    func(f *authtest.Faults) { f.NoIssuer = true },
		normal: "true|true", faulty: "false|true", // promised all the same
		see: func(c *client, _ bool) string {
			q, _ := c.authorize(true)
			return sprint(q.Has("iss"), c.serverMetadata()["authorization_response_iss_parameter_supported"])
		},
	},
	"RequirePAR": {
		set:    func(f *authtest.Faults) { f.RequirePAR = true },
		normal: "code|code|false", faulty: "page|code|true",
		see: func(c *client, _ bool) string {
			plain := c.callback()
			return sprint(plain, pushedCallback(c), c.serverMetadata()["require_pushed_authorization_requests"])
		},
	},
	"InsistOnPAR": {
		set:    func(f *authtest.Faults) { f.InsistOnPAR = "pushed requests only" },
		normal: "code|code|false", faulty: "invalid_request|code|false",
		see: func(c *client, _ bool) string {
			plain := c.callback()
			return sprint(plain, pushedCallback(c), c.serverMetadata()["require_pushed_authorization_requests"])
		},
	},
	"RequiredAuthorizeParams": {
		set:    func(f *authtest.Faults) { f.RequiredAuthorizeParams = map[string]string{"access_type": "offline"} },
		normal: "code|code", faulty: "invalid_request|code",
		see: func(c *client, _ bool) string {
			without := c.callback()
			c.change = set("access_type", "offline")
			defer func() { c.change = nil }()
			return sprint(without, c.callback())
		},
	},
	"RejectResource": {
		set:    func(f *authtest.Faults) { f.RejectResource = true },
		normal: "code|invalid_target|invalid_target", faulty: "invalid_target|code|<nil>",
		see: func(c *client, on bool) string {
			with := c.callback()
			c.change, c.code = drop("resource"), drop("resource")
			defer func() { c.change, c.code = nil, nil }()
			q, _ := c.authorize(true)
			if !on {
				c.change = nil
				_, doc := c.exchange(c.newCode())
				return sprint(with, q.Get("error"), doc["error"])
			}
			_, doc := c.exchange(q.Get("code"))
			if access, _ := doc["access_token"].(string); c.status(access) != http.StatusOK {
				c.t.Error("a token of a server that knows no resource is no good")
			}
			c.code = nil // to the token endpoint it is refused too
			if _, again := c.exchange(c.newCode()); again["error"] != "invalid_target" {
				c.t.Errorf("a resource at the token endpoint: %v", again)
			}
			return sprint(with, "code", doc["error"])
		},
	},
	"AnyResource": {
		set:    func(f *authtest.Faults) { f.AnyResource = true },
		normal: "invalid_target", faulty: "code|401|401",
		see: func(c *client, _ bool) string {
			c.change, c.code = set("resource", "https://other.example/mcp"), set("resource", "https://other.example/mcp")
			defer func() { c.change, c.code = nil, nil }()
			if got := c.callback(); got != "code" {
				return got
			}
			other, _ := c.login()
			c.change, c.code = set("resource", c.srv.MCPURL()+"/"), set("resource", c.srv.MCPURL()+"/")
			slash, _ := c.login()
			return sprint("code", c.status(other), c.status(slash))
		},
	},

	"TokenAnswer": {
		set: func(f *authtest.Faults) {
			f.TokenAnswer = func(m map[string]any) { m["access_token"] = "planted-by-the-test"; delete(m, "expires_in") }
		},
		normal: "false|true|false", faulty: "true|false|true",
		see: func(c *client, on bool) string {
			doc := c.tokens()
			// It is a secret too, wherever it came from; it was none before.
			return sprint(doc["access_token"] == "planted-by-the-test", doc["expires_in"] != nil, on && slices.Contains(c.srv.Secrets(), "planted-by-the-test"))
		},
	},
	"TokenForm": {
		set:    func(f *authtest.Faults) { f.TokenForm = true },
		normal: "application/json; charset=utf-8|false", faulty: "application/x-www-form-urlencoded; charset=utf-8|true",
		see: func(c *client, _ bool) string {
			a := postForm(c.t, c.srv.TokenEndpoint(), url.Values{
				"grant_type": {"authorization_code"}, "code": {c.newCode()}, "redirect_uri": {redirect},
				"client_id": {c.id}, "code_verifier": {c.verify}, "resource": {c.srv.MCPURL()},
			})
			q, _ := url.ParseQuery(a.body)
			return sprint(a.header.Get("Content-Type"), c.status(q.Get("access_token")) == http.StatusOK)
		},
	},
	"TokenStatus": {
		set:    func(f *authtest.Faults) { f.TokenStatus = http.StatusCreated },
		normal: "200|true", faulty: "201|true",
		see: func(c *client, _ bool) string {
			status, doc := c.exchange(c.newCode())
			return sprint(status, doc["access_token"] != nil)
		},
	},
	"TokenDelay": {
		set:    func(f *authtest.Faults) { f.TokenDelay = time.Hour },
		normal: "one spent", faulty: "none spent", // the work is done, late as it is
		see: func(c *client, on bool) string {
			code := c.newCode()
			got := answerOf(on, func(ctx context.Context) error {
				v := url.Values{
					"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect},
					"client_id": {c.id}, "code_verifier": {c.verify}, "resource": {c.srv.MCPURL()},
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.srv.TokenEndpoint(), strings.NewReader(v.Encode()))
				if err != nil {
					return err
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return err
				}
				return resp.Body.Close()
			})
			c.srv.Set(func(f *authtest.Faults) { f.TokenDelay = 0 })
			if _, doc := c.exchange(code); doc["error"] != "invalid_grant" {
				return got + " unspent"
			}
			return got + " spent"
		},
	},
	"DropTokenAnswers": {
		set:    func(f *authtest.Faults) { f.DropTokenAnswers = 1 },
		normal: "200|invalid_grant", faulty: "0|invalid_grant", // the work was done: the code is spent
		see: func(c *client, _ bool) string {
			code := c.newCode()
			first, _ := c.exchange(code)
			_, second := c.exchange(code)
			return sprint(first, second["error"])
		},
	},
	"UnauthorizedInvalidGrant": {
		set:    func(f *authtest.Faults) { f.UnauthorizedInvalidGrant = true },
		normal: "400|invalid_grant|401|invalid_client", faulty: "401|invalid_grant|401|invalid_client",
		see: func(c *client, _ bool) string {
			status, doc := c.renew("none")
			c.refresh = set("client_id", "nobody")
			defer func() { c.refresh = nil }()
			status2, doc2 := c.renew("none")
			return sprint(status, doc["error"], status2, doc2["error"])
		},
	},

	"ClientRefusal": {
		set:    func(f *authtest.Faults) { f.ClientRefusal = &authtest.Refusal{Status: 400, Code: "invalid_request"} },
		normal: "401|invalid_client", faulty: "400|invalid_request",
		see: func(c *client, _ bool) string {
			a := postForm(c.t, c.srv.TokenEndpoint(), url.Values{"grant_type": {"refresh_token"}, "client_id": {"nobody"}})
			return sprint(a.status, a.err())
		},
	},
	"BasicNeedsID": {
		set:    func(f *authtest.Faults) { f.BasicNeedsID = true },
		normal: "invalid_grant|invalid_grant", faulty: "invalid_client|invalid_grant",
		see: func(c *client, _ bool) string {
			c.srv.AddClient(authtest.Client{ID: "b", Secret: "s"})
			v := url.Values{"grant_type": {"refresh_token"}}
			without := postForm(c.t, c.srv.TokenEndpoint(), v, basic("b", "s")...)
			v.Set("client_id", "b")
			return sprint(without.err(), postForm(c.t, c.srv.TokenEndpoint(), v, basic("b", "s")...).err())
		},
	},
	"CodeSurvivesRefusal": {
		set:    func(f *authtest.Faults) { f.CodeSurvivesRefusal = true },
		normal: "invalid_client|invalid_grant", faulty: "invalid_client|",
		see: func(c *client, _ bool) string {
			code := c.newCode()
			c.code = set("client_id", "nobody")
			defer func() { c.code = nil }()
			_, first := c.exchange(code)
			c.code = nil
			_, second := c.exchange(code)
			err, _ := second["error"].(string)
			return sprint(first["error"], err)
		},
	},
	"NonceRequired": {
		opt:    &authtest.Options{Scopes: []string{"mcp:read", "openid"}},
		set:    func(f *authtest.Faults) { f.NonceRequired = true },
		normal: "code|n", faulty: "invalid_request|n",
		see: func(c *client, _ bool) string {
			c.change = set("scope", "mcp:read openid")
			defer func() { c.change = nil }()
			without := c.callback()
			c.change = func(q url.Values) { q.Set("scope", "mcp:read openid"); q.Set("nonce", "n") }
			id, _ := c.tokens()["id_token"].(string)
			claims, _ := base64.RawURLEncoding.DecodeString(strings.Split(id+"..", ".")[1])
			var doc map[string]any
			_ = json.Unmarshal(claims, &doc)
			return sprint(without, doc["nonce"])
		},
	},
	"ScopeLostOnRefresh": {
		set:    func(f *authtest.Faults) { f.ScopeLostOnRefresh = "mcp:read" },
		normal: "mcp:read|mcp:read", faulty: "|mcp:read",
		see: scopesOfRefreshes,
	},
	"ScopeLostForGood": {
		set:    func(f *authtest.Faults) { f.ScopeLostOnRefresh, f.ScopeLostForGood = "mcp:read", true },
		normal: "mcp:read|mcp:read", faulty: "|",
		see: scopesOfRefreshes,
	},
	"RevocationNeedsSecretField": {
		set:    func(f *authtest.Faults) { f.RevocationNeedsSecretField = true },
		normal: "200|200", faulty: "400|200",
		see: func(c *client, _ bool) string {
			without, _ := c.form(c.str("revocation_endpoint"), url.Values{"token": {"x"}, "client_id": {c.id}})
			with, _ := c.form(c.str("revocation_endpoint"), url.Values{"token": {"x"}, "client_id": {c.id}, "client_secret": {""}})
			return sprint(without, with)
		},
	},
	"WantACR": {
		set:    func(f *authtest.Faults) { f.WantACR = "urn:two" },
		normal: "200|200", faulty: "401|200",
		see: func(c *client, _ bool) string { return withAndWithout(c, "acr_values", "urn:two") },
	},
	"WantClaims": {
		set:    func(f *authtest.Faults) { f.WantClaims = `{"a":1}` },
		normal: "200|200", faulty: "401|200",
		see: func(c *client, _ bool) string { return withAndWithout(c, "claims", `{"a":1}`) },
	},
	"NonceUses": {
		opt:    &authtest.Options{DPoP: true},
		set:    func(f *authtest.Faults) { f.NonceUses = 1 },
		normal: "DPoP|200", faulty: "400|use_dpop_nonce|true|200|400",
		see: func(c *client, on bool) string {
			first := useBound(c)
			if !on {
				return first
			}
			s := newSigner(c.t)
			s.nonce = c.exchangeBound(s).header.Get("DPoP-Nonce")
			return sprint(first, c.exchangeBound(s).status, c.exchangeBound(s).status)
		},
	},
	"NonceLoop": {
		opt:    &authtest.Options{DPoP: true},
		set:    func(f *authtest.Faults) { f.NonceUses, f.NonceLoop = 1, true },
		normal: "DPoP|200", faulty: "400|true",
		see: func(c *client, on bool) string {
			if !on {
				return useBound(c)
			}
			s := newSigner(c.t)
			s.nonce = c.exchangeBound(s).header.Get("DPoP-Nonce")
			a := c.exchangeBound(s)
			return sprint(a.status, a.header.Get("DPoP-Nonce") != s.nonce)
		},
	},
	"UnboundTokens": {
		opt:    &authtest.Options{DPoP: true},
		set:    func(f *authtest.Faults) { f.UnboundTokens = true },
		normal: "DPoP|200", faulty: "bEARER|401",
		see: func(c *client, _ bool) string { return useBound(c) },
	},
}

// scopesOfRefreshes are those of one that names none, and of one that does.
func scopesOfRefreshes(c *client, _ bool) string {
	_, refresh := c.login()
	_, without := c.renew(refresh)
	c.refresh = set("scope", "mcp:read")
	defer func() { c.refresh = nil }()
	next, _ := without["refresh_token"].(string)
	_, with := c.renew(next)
	return sprint(without["scope"], with["scope"])
}

// withAndWithout uses tokens of logins without a parameter, and with it.
func withAndWithout(c *client, name, value string) string {
	without, _ := c.login()
	c.change = set(name, value)
	defer func() { c.change = nil }()
	with, _ := c.login()
	return sprint(c.status(without), c.status(with))
}

func visit(ctx context.Context, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func bothPlaces(c *client, _ bool) string {
	return sprint(do(c.t, http.MethodGet, metadataURL(c.srv), "").status, do(c.t, http.MethodGet, c.srv.Issuer()+"/.well-known/openid-configuration", "").status)
}

// TestEveryFault switches each fault on and off while the server runs. A field without a case fails.
func TestEveryFault(t *testing.T) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[authtest.Faults]()) {
		t.Run(field.Name, func(t *testing.T) {
			tc, ok := faultCases[field.Name]
			if !ok {
				t.Fatal("no test shows what it does")
			}
			srv := authtest.New(t, tc.opt)
			c := newClient(t, srv)
			if got := tc.see(c, false); got != tc.normal {
				t.Errorf("without it: %q, want %q", got, tc.normal)
			}
			srv.Set(tc.set)
			if got := tc.see(c, true); got != tc.faulty {
				t.Errorf("with it: %q, want %q", got, tc.faulty)
			}
			srv.Set(func(f *authtest.Faults) { *f = authtest.Faults{} })
			if got := tc.see(c, false); got != tc.normal {
				t.Errorf("without it again: %q, want %q", got, tc.normal)
			}
		})
	}
}

// Drop, Delay, Fail and Intercept reach every leg, and only the one that is meant.
func TestFaultsOfALeg(t *testing.T) {
	for leg, ask := range map[string]func(c *client) int{
		"challenge":         func(c *client) int { status, _, _ := c.call("", ping); return status },
		"mcp":               func(c *client) int { return c.status("any") },
		"resource-metadata": func(c *client) int { return c.resourceMetadata().status },
		"server-metadata":   func(c *client) int { return do(c.t, http.MethodGet, metadataURL(c.srv), "").status },
		"registration":      func(c *client) int { return c.register(nil).status },
		"par":               func(c *client) int { return postForm(c.t, c.str("pushed_authorization_request_endpoint"), nil).status },
		"authorize":         func(c *client) int { return do(c.t, http.MethodGet, c.str("authorization_endpoint"), "").status },
		"consent": func(c *client) int {
			return postForm(c.t, c.consentAction(), url.Values{"request": {"none"}}).status
		},
		"token":      func(c *client) int { return postForm(c.t, c.srv.TokenEndpoint(), nil).status },
		"refresh":    func(c *client) int { status, _ := c.renew("none"); return status },
		"revocation": func(c *client) int { return postForm(c.t, c.str("revocation_endpoint"), nil).status },
		"client-deletion": func(c *client) int {
			return do(c.t, http.MethodDelete, c.register(nil).json["registration_client_uri"].(string), "").status
		},
		"other": func(c *client) int { return do(c.t, http.MethodGet, origin(c.srv.MCPURL())+"/nowhere", "").status },
	} {
		t.Run(leg, func(t *testing.T) {
			srv := authtest.New(t, nil)
			c := newClient(t, srv)
			normal := ask(c)
			if normal == http.StatusBadGateway || normal == 0 || srv.Count(leg) == 0 {
				t.Fatalf("status %d, recorded %v", normal, legs(srv))
			}
			srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{leg: http.StatusBadGateway} })
			if got := ask(c); got != http.StatusBadGateway {
				t.Errorf("Fail: %d", got)
			}
			srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{leg + "x": http.StatusBadGateway} })
			if got := ask(c); got != normal {
				t.Errorf("Fail for another leg: %d, want %d", got, normal)
			}
		})
	}
}

// An interceptor may look on, and may read the body: the server answers as if it had not.
func TestAnInterceptorThatLooksOn(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	var seen string
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"token": func(_ http.ResponseWriter, r *http.Request) bool {
			seen = r.FormValue("grant_type")
			r.PostForm, r.Form = nil, nil
			return false
		}}
	})
	if access, _ := c.login(); c.status(access) != http.StatusOK || seen != "authorization_code" {
		t.Errorf("it saw %q", seen)
	}
}

// An interceptor has the connection's other powers as well: here it sends half an answer, then hangs up.
func TestAnInterceptorThatHangsUp(t *testing.T) {
	srv := authtest.New(t, nil)
	flushed := make(chan error, 2)
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"challenge": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("half"))
			flushed <- http.NewResponseController(w).Flush()
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			flushed <- err
			return true
		}}
	})
	resp, err := http.Post(srv.MCPURL(), "application/json", strings.NewReader(ping))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if string(body) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %q, %v", body, err)
	}
	if err := errors.Join(<-flushed, <-flushed); err != nil {
		t.Error(err)
	}
}

func TestDropCountsDown(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	_, refresh := c.login()
	srv.Set(func(f *authtest.Faults) { f.Drop = map[string]int{"refresh": 2} })
	var got []int
	for range 3 {
		status, _ := c.renew(refresh)
		got = append(got, status)
	}
	if !slices.Equal(got, []int{0, 0, http.StatusOK}) || srv.Revoked() != 0 {
		t.Errorf("%v, %d logins revoked", got, srv.Revoked())
	}
	// The recorder knows which were not answered.
	var recorded []int
	for _, r := range srv.Requests() {
		if r.Leg == "refresh" {
			recorded = append(recorded, r.Status)
		}
	}
	if !slices.Equal(recorded, got) {
		t.Errorf("recorded %v", recorded)
	}
}

// A captive portal says 200 to everything.
func TestACaptivePortal(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	_, refresh := c.login()
	srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{"refresh": http.StatusOK} })
	if status, doc := c.renew(refresh); status != http.StatusOK || doc != nil {
		t.Errorf("%d, %v", status, doc)
	}
	srv.Set(func(f *authtest.Faults) { f.Fail = nil })
	if status, _ := c.renew(refresh); status != http.StatusOK {
		t.Error("the refresh token was spent, though the server never saw it")
	}
}
