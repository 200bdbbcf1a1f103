package discovery

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// A server behind a proxy that ends TLS names itself with http: it is read as the https that it is reached by.
func TestHTTPBehindAProxy(t *testing.T) {
	plain := "http://auth.example.com"
	for name, m := range map[string]map[string]any{
		"all": {"issuer": plain, "authorization_endpoint": plain + "/authorize", "token_endpoint": plain + "/token", "registration_endpoint": plain + ":80/register"},
		"one": {"token_endpoint": plain + "/token"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, m)}))
			res := w.found(Request{})
			if res.Issuer != issuer || res.Server.TokenEndpoint != issuer+"/token" || res.Server.AuthorizationEndpoint != issuer+"/authorize" || !res.Upgraded || !hasNote(res, "read as https") {
				t.Errorf("%+v %+v", res, res.Server)
			}
			if want := m["issuer"]; want != nil && res.Spelling != want || want == nil && res.Spelling != "" {
				t.Errorf("spelling %q", res.Spelling)
			}
		})
	}
	// The MCP server's own documents: the challenge, the resource, the issuer at the same host.
	const down = "http://mcp.example.com"
	w := newWeb(t, pages{atPath: prm(down+"/mcp", down), mcpOrigin + oauthName: asm(down, map[string]any{
		"authorization_endpoint": down + "/authorize", "token_endpoint": down + "/token", "registration_endpoint": down + "/register",
	})})
	res := w.found(Request{MetadataURL: down + "/.well-known/oauth-protected-resource/mcp"})
	if res.Resource != mcp || res.Issuer != mcpOrigin || res.Server.RegistrationEndpoint != mcpOrigin+"/register" || res.Spelling != down {
		t.Errorf("%+v %+v", res, res.Server)
	}
	w.only(atPath, mcpOrigin+oauthName)
	// What the settings name is not changed.
	w = newWeb(t, usual().with(pages{atPath: prm(down+"/mcp", issuer)}))
	if res := w.found(Request{ResourceOverride: down + "/mcp"}); res.Resource != down+"/mcp" {
		t.Errorf("%+v", res)
	}
}

// Never downgraded, and no other host.
func TestHTTPThatIsNotRead(t *testing.T) {
	for _, other := range []string{"http://auth.example.com:8080", "http://x.auth.example.com", "http://example.com", "http://mcp.example.com:8443"} {
		w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{"token_endpoint": other + "/token"})}))
		w.refused(Request{}, "token_endpoint cannot be used")
	}
	d := &run{server: mustParse(t, "http://mcp.example.com/mcp"), spelling: map[string]string{}}
	for _, raw := range []string{"http://mcp.example.com/x", "https://mcp.example.com/x"} {
		if got := d.secure(raw, "http://mcp.example.com/meta"); got != raw || d.upgraded {
			t.Errorf("%s became %s", raw, got)
		}
	}
}

// A server without resource metadata whose only metadata is at the address for its path.
func TestServerMetadataForThePathOfTheServer(t *testing.T) {
	const own = mcpOrigin + "/mcp"
	for _, at := range []string{mcpOrigin + oauthName + "/mcp", mcpOrigin + oidcName + "/mcp", own + oidcName} {
		w := newWeb(t, pages{at: asm(own, nil)})
		if res := w.found(Request{}); !res.Legacy || res.Issuer != own || res.Announced != own || res.ServerMetadataURL != at {
			t.Errorf("%s: %+v", at, res)
		}
	}
	// Before the origin's.
	w := newWeb(t, pages{mcpOrigin + oauthName + "/mcp": asm(own, nil), mcpOrigin + oauthName: asm(mcpOrigin, nil)})
	if res := w.found(Request{}); res.Issuer != own {
		t.Errorf("%+v", res)
	}
	// It may be the origin's, too, but not at an address that belongs to the path.
	w = newWeb(t, pages{mcpOrigin + oauthName + "/mcp": asm(mcpOrigin, nil)})
	if res := w.found(Request{}); res.Issuer != mcpOrigin {
		t.Errorf("%+v", res)
	}
	_, f := newWeb(t, pages{own + oidcName: asm(mcpOrigin, nil)}).discover(Request{})
	if f == nil || !f.NotOffered {
		t.Errorf("%+v", f)
	}
	// One of another issuer is passed over, and named if there is no other.
	w = newWeb(t, pages{mcpOrigin + oauthName + "/mcp": asm(issuer, nil), mcpOrigin + oauthName: asm(mcpOrigin, nil)})
	if res := w.found(Request{}); res.Issuer != mcpOrigin {
		t.Errorf("%+v", res)
	}
	newWeb(t, pages{mcpOrigin + oauthName + "/mcp": asm(issuer, nil)}).refused(Request{}, issuer, "--auth-server")
}

// Endpoints given by hand replace single members of the metadata.
func TestSingleEndpointsByHand(t *testing.T) {
	const reg = "https://register.example.org/clients?tenant=1"
	w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{"registration_endpoint": nil})}))
	res := w.found(Request{Endpoints: &wire.ServerMetadata{RegistrationEndpoint: reg}})
	if res.Server.RegistrationEndpoint != reg || res.Server.TokenEndpoint != issuer+"/token" || res.Issuer != issuer {
		t.Errorf("%+v", res.Server)
	}
	w.only(atPath, issuer+oauthName)
	// What lacks is named, with its setting.
	w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{"token_endpoint": nil})}))
	w.refused(Request{}, "token_endpoint", "--token-endpoint")
	w.found(Request{Endpoints: &wire.ServerMetadata{TokenEndpoint: issuer + "/t"}})
	// The others are held to the rules as ever.
	w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{"token_endpoint": evil + "/token"})}))
	w.refused(Request{Endpoints: &wire.ServerMetadata{RegistrationEndpoint: reg}}, "unrelated hosts")
	w.found(Request{Endpoints: &wire.ServerMetadata{TokenEndpoint: evil + "/token"}})
	// All that is needed: no metadata is asked for.
	for _, r := range []Request{
		{Endpoints: &wire.ServerMetadata{TokenEndpoint: issuer + "/t", AuthorizationEndpoint: issuer + "/a", Raw: s256}},
		{Endpoints: &wire.ServerMetadata{TokenEndpoint: issuer + "/t", DeviceAuthorizationEndpoint: issuer + "/d"}, Device: true, Machine: true},
		{Endpoints: &wire.ServerMetadata{TokenEndpoint: issuer + "/t"}, Machine: true},
	} {
		r.Endpoints.CodeChallengeMethodsSupported = []string{"S256"}
		w = newWeb(t, announced(issuer))
		w.found(r)
		w.only(atPath)
	}
	// Without any metadata the others are asked of the person, or guessed.
	one := &wire.ServerMetadata{RegistrationEndpoint: reg}
	w = newWeb(t, nil)
	if f := w.refused(Request{Endpoints: one}, "--token-endpoint"); f.NotOffered {
		t.Errorf("%+v", f)
	}
	w = newWeb(t, nil)
	if res := w.found(Request{Endpoints: one, AllowGuessedEndpoints: true}); res.Server.RegistrationEndpoint != reg || res.Server.TokenEndpoint != mcpOrigin+"/token" {
		t.Errorf("%+v", res.Server)
	}
}

var s256 = map[string]json.RawMessage{"code_challenge_methods_supported": json.RawMessage(`["S256"]`)}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// The official Rust SDK's example writes response_types_supported twice, with equal values.
func TestMembersThatOccurTwice(t *testing.T) {
	good := metadata(issuer, nil)
	twice := func(member string) string { return strings.Replace(good, "{", "{"+member+",", 1) }
	w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: doc(strings.Replace(twice(`"response_types_supported": [ "code" ]`), "{", `{"response_types_supported":["code"],`, 1))}))
	if res := w.found(Request{}); !slices.Contains(res.Repeated, "response_types_supported") || !hasNote(res, "occur twice") {
		t.Errorf("%+v", res)
	}
	for _, m := range []string{`"token_endpoint":"` + issuer + `/token"`, `"issuer":"` + issuer + `"`, `"code_challenge_methods_supported":["S256"]`, `"scopes_supported":["a"],"scopes_supported":["b"]`} {
		newWeb(t, announced(issuer).with(pages{issuer + oauthName: doc(twice(m))})).refused(Request{}, "occurs twice")
	}
}

// What was read before an error is part of it.
func TestWhatWasReadBeforeAnError(t *testing.T) {
	w := newWeb(t, announced(issuer))
	w.down = []string{"auth.example.com:443"}
	if _, f := w.discover(Request{}); f.Resource == nil || f.Resource.Resource != mcp || !f.Temporary || !strings.Contains(f.Hint, "authorization server") {
		t.Errorf("%+v", f)
	}
}
