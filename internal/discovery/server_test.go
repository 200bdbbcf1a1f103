package discovery

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// announced is a server whose resource metadata names these issuers.
func announced(issuers ...string) pages { return pages{atPath: prm(mcp, issuers...)} }

// It has a row in docs/compatibility.md.
func TestIssuersWithASlash(t *testing.T) {
	const (
		oauth = issuer + oauthName
		oidc  = issuer + oidcName
	)
	for name, c := range map[string]struct {
		issuer string
		want   []string
	}{
		"no path":             {issuer, []string{oauth, oidc}},
		"a slash for a path":  {issuer + "/", []string{oauth, oidc}},
		"path":                {issuer + "/t1", []string{oauth + "/t1", oidc + "/t1", issuer + "/t1" + oidcName, issuer + "/t1" + oauthName, oauth, oidc}},
		"path with slash":     {issuer + "/t1/", []string{oauth + "/t1", oidc + "/t1", issuer + "/t1" + oidcName, issuer + "/t1" + oauthName, oauth, oidc}},
		"deep path":           {issuer + "/realms/a", []string{oauth + "/realms/a", oidc + "/realms/a", issuer + "/realms/a" + oidcName, issuer + "/realms/a" + oauthName, oauth, oidc}},
		"path with an escape": {issuer + "/a%2Fb", []string{oauth + "/a%2Fb", oidc + "/a%2Fb", issuer + "/a%2Fb" + oidcName, issuer + "/a%2Fb" + oauthName, oauth, oidc}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, announced(c.issuer))
			w.refused(Request{AllowGuessedEndpoints: true}, c.issuer, "publishes no metadata")
			w.only(append([]string{atPath}, c.want...)...)
			for i, at := range c.want {
				w := newWeb(t, announced(c.issuer).with(pages{at: asm(c.issuer, nil)}))
				res := w.found(Request{})
				if res.ServerMetadataURL != at || res.Issuer != c.issuer || res.Server.Issuer != c.issuer {
					t.Errorf("%s: %+v", at, res)
				}
				if outside := i > 2; outside != hasNote(res, "address that no specification defines") {
					t.Errorf("%s: notes %q", at, res.Notes)
				}
				w.only(append([]string{atPath}, c.want[:i+1]...)...)
			}
		})
	}
}

// It has a row in docs/compatibility.md.
func TestErrorsAtMetadataAddresses(t *testing.T) {
	for name, page := range notThere {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: page, issuer + oidcName: asm(issuer, nil)}))
			if res := w.found(Request{}); res.ServerMetadataURL != issuer+oidcName {
				t.Errorf("%+v", res)
			}
			w.untouched(evil)
			// Where it is nowhere, the server does OAuth all the same.
			w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: page, issuer + oidcName: page}))
			w.refused(Request{}, "publishes no metadata")
		})
	}
}

// It has a row in docs/compatibility.md.
func TestAnAuthorizationServerInTrouble(t *testing.T) {
	for name, page := range mayBeThere {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: page}))
			w.passing(Request{})
			w = newWeb(t, announced(issuer).with(pages{issuer + oidcName: page}))
			w.passing(Request{})
			w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: page, issuer + oidcName: asm(issuer, nil)}))
			w.found(Request{})
			// The same for an origin that stands in for an authorization server: nothing is guessed then.
			w = newWeb(t, pages{mcpOrigin + oauthName: page})
			w.passing(Request{AllowGuessedEndpoints: true})
		})
	}
}

func TestAnIssuerThatIsDown(t *testing.T) {
	w := newWeb(t, announced(issuer+"/t1"))
	w.down = []string{"auth.example.com:443"}
	if f := w.passing(Request{}); len(f.Tried) != 2 || !f.Unsent {
		t.Errorf("%+v", f)
	}
	// It is not asked again, but others are.
	w = newWeb(t, announced(issuer, second).with(pages{second + oauthName: asm(second, nil)}))
	w.down = []string{"auth.example.com:443"}
	if res := w.found(Request{}); res.Issuer != second || len(res.Tried) != 3 {
		t.Errorf("%+v", res)
	}
}

func TestWhoseServerMetadataItIs(t *testing.T) {
	for _, c := range []struct {
		announced, documented string
		ok                    bool
	}{
		{issuer, issuer, true},
		{issuer, issuer + "/", true},
		{issuer + "/", issuer, true},
		{issuer + "/", issuer + "/", true},
		{issuer + "/t1", issuer + "/t1", true},
		{issuer + "/t1", issuer + "/t1/", true},
		{issuer + "/t1/", issuer + "/t1", true},
		{issuer + "/t1/", issuer + "/t1//", false},
		{issuer + "/t1", issuer + "/t2", false},
		{issuer + "/t1", issuer, false},
		{issuer, issuer + "/t1", false},
		{issuer, issuer + "//", false},
		{issuer, "https://AUTH.example.com", false},
		{issuer, issuer + ":443", false},
		{issuer, "http://auth.example.com:8080", false},
		{issuer, "http://www.auth.example.com", false},
		{issuer, issuer + "?x", false},
		{issuer, issuer + "#x", false},
		{issuer, "https://u@auth.example.com", false},
		{issuer, "https://honest.example.org", false},
		{evil, issuer, false},
	} {
		t.Run(c.announced+" says "+c.documented, func(t *testing.T) {
			w := newWeb(t, nil)
			at := strings.TrimSuffix(c.announced, "/") + oidcName
			if !strings.HasPrefix(strings.TrimPrefix(c.announced, issuer), "/t") {
				at = strings.TrimSuffix(c.announced, "/") + oauthName
			}
			// The endpoints are all right: the name alone decides.
			body := metadata(issuer, map[string]any{"issuer": c.documented})
			w.pages = announced(c.announced).with(pages{at: doc(body), mcpOrigin + oauthName: asm(mcpOrigin, nil)})
			if !c.ok {
				w.refused(Request{AllowGuessedEndpoints: true}, c.announced, wire.Clean(c.documented), "--auth")
				if last := w.used()[len(w.used())-1]; last != at {
					t.Errorf("after the wrong document %s was asked", last)
				}
				return
			}
			res := w.found(Request{})
			if res.Issuer != c.documented || res.Announced != c.announced || hasNote(res, "trailing slash") != (c.announced != c.documented) {
				t.Errorf("%+v", res)
			}
		})
	}
}

// The addresses that no specification has are often those of another issuer on the same host: that says
// nothing about the one that is sought.
func TestStrangersAtUnspecifiedAddresses(t *testing.T) {
	const tenant = issuer + "/t1"
	for name, page := range map[string]http.HandlerFunc{
		"another issuer": asm(issuer, nil), "another tenant": asm(issuer+"/t2", nil), "no issuer": asm(issuer, map[string]any{"issuer": nil}), "not JSON": doc(`{"issuer":`),
		"duplicate names": doc(`{"issuer":"` + tenant + `","issuer":"` + tenant + `"}`), "no metadata": doc(`{"hello":"world"}`),
	} {
		for _, at := range []string{tenant + oauthName, issuer + oauthName, issuer + oidcName} {
			w := newWeb(t, announced(tenant).with(pages{at: page}))
			w.refused(Request{}, "publishes no metadata")
			if len(w.asked()) != 7 {
				t.Errorf("%s at %s: asked %v", name, at, w.asked())
			}
			_, f := newWeb(t, w.pages).discover(Request{})
			want := map[string]string{"another issuer": "of another issuer", "another tenant": "of another issuer", "no metadata": "JSON, but no server metadata"}[name]
			if want == "" {
				want = "wrong"
			}
			for _, a := range f.Tried {
				if a.URL == at && a.Outcome != want || a.URL != at && a.URL != atPath && a.Outcome != "not there" {
					t.Errorf("%s at %s: %+v", name, at, a)
				}
			}
		}
	}
	// In a specified place they end the search.
	newWeb(t, announced(tenant).with(pages{issuer + oauthName + "/t1": asm(issuer+"/t2", nil), tenant + oidcName: asm(tenant, nil)})).refused(Request{}, "/t2")
}

func TestBrokenServerMetadataIsNotReplaced(t *testing.T) {
	good := metadata(issuer, nil)
	for name, c := range map[string]struct{ body, word string }{
		"cut off":       {good[:len(good)-1], "not valid JSON"},
		"trailing":      {good + "x", "followed by something"},
		"duplicate":     {strings.Replace(good, "{", `{"token_endpoint":"`+evil+`/token",`, 1), "occurs twice"},
		"no issuer":     {metadata(issuer, map[string]any{"issuer": nil}), "has no issuer"},
		"issuer number": {metadata(issuer, map[string]any{"issuer": 7}), "has no issuer"},
		// One of these members is enough for a document to be metadata, if bad metadata.
		"issuer alone":                 {`{"issuer":7}`, "has no issuer"},
		"token endpoint alone":         {`{"token_endpoint":"x"}`, "has no issuer"},
		"authorization endpoint alone": {`{"authorization_endpoint":"x"}`, "has no issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: doc(c.body), issuer + oidcName: asm(issuer, nil)}))
			w.refused(Request{}, c.word)
			w.only(atPath, issuer+oauthName)
		})
	}
	newWeb(t, announced(issuer).with(pages{issuer + oauthName: doc("\xef\xbb\xbf" + good)})).found(Request{})
}

func TestEndpoints(t *testing.T) {
	for member, needed := range map[string]bool{
		"authorization_endpoint": true, "token_endpoint": true, "registration_endpoint": false, "revocation_endpoint": false,
		"introspection_endpoint": false, "jwks_uri": false, "pushed_authorization_request_endpoint": false, "device_authorization_endpoint": false,
	} {
		for _, v := range []any{
			"http://auth.example.com:8080/x", "http://auth2.example.com/x", "javascript:alert(1)", "file:///etc/passwd", "ftp://auth.example.com/x", "//auth.example.com/x", "/x", "x", "https:///x", "https:x", "https://u:pw@auth.example.com/x",
			issuer + "/x#f", issuer + "/x#", "https://10.0.0.1/x", "https://169.254.169.254/x", "https://127.0.0.1/x", "https://localhost/x", "http://localhost:1/x", "https://metadata.google.internal/x",
			"https://2130706433/x", "https://аpple.example/x", "https://auth.example.com:99999/x", "https://[fe80::1%25eth0]/x", "https://%zz",
		} {
			w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{member: v}), issuer + oidcName: asm(issuer, nil)}))
			f := w.refused(Request{AllowForeignEndpoints: true}, "'s "+member+" cannot be used: ")
			w.only(atPath, issuer+oauthName)
			if strings.Contains(f.Message, "pw") {
				t.Errorf("%s: %s", member, f.Message)
			}
		}
		for _, v := range []any{nil, "", 7, true, []string{issuer + "/x"}, map[string]any{"url": issuer + "/x"}} {
			w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{member: v})}))
			if needed {
				w.refused(Request{}, "no usable "+member)
				continue
			}
			w.found(Request{})
		}
	}
	// What nobody here uses may be as it likes.
	newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{"op_policy_uri": "javascript:x", "userinfo_endpoint": "http://x/"})})).found(Request{})
}

func TestAddressesThatASettingAllows(t *testing.T) {
	private := map[string]any{"token_endpoint": "https://10.0.0.1/token", "authorization_endpoint": "https://10.0.0.1/authorize", "registration_endpoint": nil}
	w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, private)}))
	w.refused(Request{}, "--allow-private-network")
	w = newWeb(t, w.pages)
	w.policy.AllowPrivateNetwork = true
	if res := w.found(Request{}); res.Server.TokenEndpoint != "https://10.0.0.1/token" {
		t.Errorf("%+v", res)
	}
}

func TestEndpointsBelongTogether(t *testing.T) {
	split := map[string]any{"token_endpoint": "https://evil.example.net/token"}
	for name, c := range map[string]struct {
		issuer  string
		changes map[string]any
		allow   bool
		ok      bool
	}{
		"one host":                     {issuer, nil, false, true},
		"sisters of one domain":        {issuer, map[string]any{"token_endpoint": "https://api.example.com/token", "registration_endpoint": "https://reg.example.com:8443/r"}, false, true},
		"all on another domain":        {issuer, map[string]any{"token_endpoint": evil + "/t", "authorization_endpoint": evil + "/a", "registration_endpoint": evil + "/r"}, false, true},
		"no registration":              {issuer, map[string]any{"registration_endpoint": nil}, false, true},
		"token elsewhere":              {issuer, split, false, false},
		"authorization elsewhere":      {issuer, map[string]any{"authorization_endpoint": evil + "/a"}, false, false},
		"registration elsewhere":       {issuer, map[string]any{"registration_endpoint": evil + "/r"}, false, false},
		"look-alike":                   {issuer, map[string]any{"token_endpoint": "https://auth.example.com.evil.net/token"}, false, false},
		"public suffix: not one owner": {"https://a.github.io", map[string]any{"token_endpoint": "https://b.github.io/token"}, false, false},
		"country suffix":               {"https://a.co.uk", map[string]any{"token_endpoint": "https://b.co.uk/token"}, false, false},
		"revocation may be elsewhere":  {issuer, map[string]any{"revocation_endpoint": evil + "/revoke", "jwks_uri": evil + "/jwks"}, false, true},
		"iss in the callback promised": {issuer, map[string]any{"token_endpoint": evil + "/token", "authorization_response_iss_parameter_supported": true}, false, true},
		"promise withdrawn":            {issuer, map[string]any{"token_endpoint": evil + "/token", "authorization_response_iss_parameter_supported": false}, false, false},
		"a setting":                    {issuer, split, true, true},
		"Google":                       {"https://accounts.google.com", map[string]any{"token_endpoint": "https://oauth2.googleapis.com/token"}, false, true},
		"Dropbox":                      {"https://www.dropbox.com", map[string]any{"token_endpoint": "https://api.dropboxapi.com/oauth2/token", "code_challenge_methods_supported": nil}, false, true},
		"not Dropbox":                  {"https://dropbox.evil.net", map[string]any{"token_endpoint": "https://api.dropboxapi.com/oauth2/token"}, false, false},
		"not Google":                   {"https://accounts.google.com.evil.net", map[string]any{"token_endpoint": "https://oauth2.googleapis.com/token"}, false, false},
		"below Google":                 {"https://accounts.google.com/x", map[string]any{"token_endpoint": "https://oauth2.googleapis.com/token"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			at := c.issuer + oauthName
			if i := strings.Index(c.issuer[len("https://"):], "/"); i >= 0 {
				at = c.issuer[:len("https://")+i] + oauthName + c.issuer[len("https://")+i:]
			}
			w := newWeb(t, announced(c.issuer).with(pages{at: asm(c.issuer, c.changes)}))
			if c.ok {
				w.found(Request{AllowForeignEndpoints: c.allow})
				return
			}
			w.refused(Request{AllowForeignEndpoints: c.allow}, "unrelated hosts", "--allow-foreign-endpoints")
		})
	}
}

// TestSecretsGoToOneSite: what a login can do without, and is sent a secret, is not used on another site, and a person
// is told.
func TestSecretsGoToOneSite(t *testing.T) {
	const device, revocation, introspection, pushed = "device_authorization_endpoint", "revocation_endpoint", "introspection_endpoint", "pushed_authorization_request_endpoint"
	all := []string{device, revocation, introspection, pushed}
	value := func(m *wire.ServerMetadata, name string) string {
		return map[string]string{device: m.DeviceAuthorizationEndpoint, revocation: m.RevocationEndpoint, introspection: m.IntrospectionEndpoint, pushed: m.PushedAuthorizationRequestEndpoint}[name]
	}
	discover := func(t *testing.T, name, at string, r Request, more map[string]any) *Result {
		changes := map[string]any{name: at}
		maps.Copy(changes, more)
		return newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, changes)})).found(r)
	}
	for _, name := range all {
		t.Run(name, func(t *testing.T) {
			for _, more := range []map[string]any{nil, {"authorization_response_iss_parameter_supported": true}} {
				res := discover(t, name, evil+"/x?secret=1", Request{}, more)
				if value(res.Server, name) != "" || len(res.Withheld) != 1 || res.Withheld[0] != (Endpoint{name, evil + "/x"}) || !hasNote(res, name) {
					t.Errorf("%v: %+v, withheld %v, notes %q", more, res.Server, res.Withheld, res.Notes)
				}
			}
			for _, same := range []string{issuer + "/x", "https://other.example.com:8443/x"} {
				if res := discover(t, name, same, Request{}, nil); value(res.Server, name) != same || res.Withheld != nil {
					t.Errorf("%s: %+v, withheld %v", same, res.Server, res.Withheld)
				}
			}
			if res := discover(t, name, evil+"/x", Request{AllowForeignEndpoints: true}, nil); value(res.Server, name) != evil+"/x" || res.Withheld != nil {
				t.Errorf("with the setting: %+v, withheld %v", res.Server, res.Withheld)
			}
			if res := discover(t, name, evil+"/x", Request{Machine: true}, nil); value(res.Server, name) != "" || len(res.Withheld) != 1 {
				t.Errorf("for a machine: %+v, withheld %v", res.Server, res.Withheld)
			}
		})
	}
	// What a login cannot do without is refused, promise or not.
	w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{pushed: evil + "/par", "require_pushed_authorization_requests": true})}))
	w.refused(Request{}, "unrelated hosts", "--allow-foreign-endpoints")
	w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{"token_endpoint": evil + "/t", "authorization_response_iss_parameter_supported": true})}))
	w.refused(Request{Machine: true}, "unrelated hosts", "--allow-foreign-endpoints")
	// A provider that is known to have several sites.
	const google = "https://accounts.google.com"
	w = newWeb(t, announced(google).with(pages{google + oauthName: asm(google, map[string]any{"token_endpoint": "https://oauth2.googleapis.com/token", revocation: google + "/revoke"})}))
	if res := w.found(Request{}); res.Server.RevocationEndpoint != google+"/revoke" {
		t.Errorf("%+v", res.Server)
	}
	// What was withheld of a document that was not taken is not said of the one that was.
	w = newWeb(t, announced(issuer).with(pages{
		issuer + oauthName: asm(issuer, map[string]any{"code_challenge_methods_supported": nil, revocation: evil + "/x"}), issuer + oidcName: asm(issuer, nil),
	}))
	if res := w.found(Request{}); res.Withheld != nil {
		t.Errorf("withheld %v", res.Withheld)
	}
}

// TestWhatTheMetadataLists: without the response type code no login can work; other lists are often wrong.
func TestWhatTheMetadataLists(t *testing.T) {
	at := func(changes map[string]any) *web {
		return newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, changes)}))
	}
	for _, list := range [][]string{{"token"}, {"id_token", "code id_token"}, {"CODE"}} {
		at(map[string]any{"response_types_supported": list}).refused(Request{}, "response type code")
		at(map[string]any{"response_types_supported": list}).found(Request{Machine: true})
	}
	for _, list := range []any{nil, []string{}, []string{"token", "code"}, "code"} {
		at(map[string]any{"response_types_supported": list}).found(Request{})
	}
	for name, c := range map[string]struct {
		changes map[string]any
		r       Request
		note    string
	}{
		"no grant":          {map[string]any{"grant_types_supported": []string{"client_credentials"}}, Request{}, "authorization_code"},
		"no device grant":   {map[string]any{"grant_types_supported": []string{"authorization_code"}, "device_authorization_endpoint": issuer + "/d"}, Request{Device: true, Machine: true}, "device_code"},
		"a machine":         {map[string]any{"grant_types_supported": []string{"authorization_code"}}, Request{Machine: true}, ""},
		"no list":           {map[string]any{"grant_types_supported": nil}, Request{}, ""},
		"the grant":         {map[string]any{"grant_types_supported": []string{"implicit", "authorization_code"}}, Request{}, ""},
		"no authentication": {map[string]any{"token_endpoint_auth_methods_supported": []string{"tls_client_auth", "client_secret_jwt"}}, Request{}, "tls_client_auth, client_secret_jwt"},
		"one of several":    {map[string]any{"token_endpoint_auth_methods_supported": []string{"tls_client_auth", "none"}}, Request{}, ""},
	} {
		res := at(c.changes).found(c.r)
		if c.note == "" && len(res.Notes) != 0 || c.note != "" && !hasNote(res, c.note) {
			t.Errorf("%s: notes %q", name, res.Notes)
		}
	}
}

// TestDeviceEndpointElsewhere: with device codes there is no callback whose iss gives a stranger away.
func TestDeviceEndpointElsewhere(t *testing.T) {
	const evil = "https://evil.net"
	for name, c := range map[string]struct {
		changes map[string]any
		ok      bool
	}{
		"all at one":    {map[string]any{"device_authorization_endpoint": issuer + "/device"}, true},
		"a page apart":  {map[string]any{"device_authorization_endpoint": issuer + "/device", "authorization_endpoint": evil + "/a"}, true},
		"the beginning": {map[string]any{"device_authorization_endpoint": evil + "/device"}, false},
		"iss promised":  {map[string]any{"device_authorization_endpoint": evil + "/device", "authorization_response_iss_parameter_supported": true}, false},
		"the token":     {map[string]any{"device_authorization_endpoint": issuer + "/device", "token_endpoint": evil + "/t", "authorization_response_iss_parameter_supported": true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, c.changes)}))
			if c.ok {
				w.found(Request{Device: true, Machine: true})
				return
			}
			w.refused(Request{Device: true, Machine: true}, "unrelated hosts", "--allow-foreign-endpoints")
		})
	}
}

func TestPKCE(t *testing.T) {
	const member = "code_challenge_methods_supported"
	at := func(v any) pages {
		return announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{member: v})})
	}
	newWeb(t, at([]string{"plain", "S256"})).found(Request{})
	// A list without S256 is an answer, whatever another document says and whatever is set.
	for _, v := range []any{[]string{"plain"}, []string{"s256"}, []string{}, "S256", []any{1}, true, map[string]any{"S256": true}, []string{"S256 "}} {
		w := newWeb(t, at(v).with(pages{issuer + oidcName: asm(issuer, nil)}))
		w.refused(Request{AllowMissingPKCE: true}, "S256 is not one of them")
		w.only(atPath, issuer+oauthName)
	}

	// No list is a question: the other form of the metadata often has it.
	for _, silent := range []http.HandlerFunc{
		asm(issuer, map[string]any{member: nil}),
		doc(strings.Replace(metadata(issuer, nil), `["S256"]`, "null", 1)),
	} {
		w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: silent, issuer + oidcName: asm(issuer, nil)}))
		res := w.found(Request{})
		if res.ServerMetadataURL != issuer+oidcName || res.Tried[1].Outcome != "read, but it does not mention PKCE" {
			t.Errorf("%+v", res)
		}
		w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: silent}))
		w.refused(Request{}, "PKCE", "--allow-missing-pkce")
		w.only(atPath, issuer+oauthName, issuer+oidcName)
		// A document of another issuer is no other form of it, and no reason for another error.
		w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: silent, issuer + oidcName: asm(evil, nil)}))
		w.refused(Request{}, "--allow-missing-pkce")
		w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: silent}))
		if res := w.found(Request{AllowMissingPKCE: true}); !hasNote(res, "does not advertise PKCE") {
			t.Errorf("%+v", res)
		}
		w.only(atPath, issuer+oauthName)
		// What says it may be behind what does not answer now.
		w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: silent, issuer + oidcName: answer(503, "", "")}))
		w.passing(Request{})
		w = newWeb(t, announced(issuer).with(pages{issuer + oauthName: answer(503, "", ""), issuer + oidcName: silent}))
		w.passing(Request{})
	}
	// Other faults of a document that does not mention it are said at once.
	w := newWeb(t, announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{member: nil, "token_endpoint": nil})}))
	w.refused(Request{}, "token_endpoint")
}

func TestIssuersKnownToSupportPKCESilently(t *testing.T) {
	const entra = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0"
	w := newWeb(t, announced(entra).with(pages{entra + oidcName: asm(entra, map[string]any{"code_challenge_methods_supported": nil})}))
	if res := w.found(Request{}); !hasNote(res, "does not advertise PKCE") {
		t.Errorf("%+v", res)
	}
	for issuer, want := range map[string]bool{
		entra: true, entra + "/": true,
		"https://login.microsoftonline.com/common/v2.0":                 true,
		"https://sts.windows.net/11111111-2222-3333-4444-555555555555/": true,
		"https://login.microsoftonline.us/t/v2.0":                       true,
		"https://login.partner.microsoftonline.cn/t/v2.0":               true,
		"https://contoso.ciamlogin.com/t/v2.0":                          true,
		"https://contoso.b2clogin.com/t/v2.0":                           true,
		"https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_x": true,
		"https://github.com/login/oauth":                                true,
		"https://accounts.google.com":                                   false,
		"https://github.com":                                            false,
		"https://github.com/login/oauth/x":                              false,
		"http://github.com/login/oauth":                                 false,
		"https://login.microsoftonline.com/v2.0":                        false,
		"https://login.microsoftonline.com//v2.0":                       false,
		"https://login.microsoftonline.com/../v2.0":                     false,
		"https://login.microsoftonline.com/./v2.0":                      false,
		"https://login.microsoftonline.com/a%2fb/v2.0":                  false,
		"https://login.microsoftonline.com/a?/v2.0":                     false,
		`https://login.microsoftonline.com/a\b/v2.0`:                    false,
		"https://login.microsoftonline.com/t/v2.0//":                    false,
		"https://login.microsoftonline.com:444/t/v2.0":                  false,
		"https://login.microsoftonline.com.evil.net/t/v2.0":             false,
		"https://evil.net/login.microsoftonline.com/t/v2.0":             false,
		"https://u@login.microsoftonline.com/t/v2.0":                    false,
		"https://a.b.b2clogin.com/t/v2.0":                               false,
		"https://b2clogin.com/t/v2.0":                                   false,
		"https://X.b2clogin.com/t/v2.0":                                 false,
		"https://.b2clogin.com/t/v2.0":                                  false,
		"https://a@b2clogin.com/t/v2.0":                                 false,
		"https://evil.net@x.b2clogin.com/t/v2.0":                        false,
		"https://x:y.b2clogin.com/t/v2.0":                               false,
		"https://evil.net#.b2clogin.com/t/v2.0":                         false,
		"https://cognito-idp.evil.net/x.amazonaws.com/y":                false,
		"https://cognito-idp.eu.evil.amazonaws.com/x":                   false,
		"": false,
	} {
		if got := isKnown(issuer, silentPKCE); got != want {
			t.Errorf("%q: %t", issuer, got)
		}
	}
}

func TestWhatAServerInsistsOn(t *testing.T) {
	at := func(changes map[string]any) pages {
		return announced(issuer).with(pages{issuer + oauthName: asm(issuer, changes)})
	}
	newWeb(t, at(map[string]any{"require_signed_request_object": true})).refused(Request{}, "signed request objects")
	newWeb(t, at(map[string]any{"require_pushed_authorization_requests": true})).refused(Request{}, "no usable pushed_authorization_request_endpoint")
	w := newWeb(t, at(map[string]any{"require_pushed_authorization_requests": true, "pushed_authorization_request_endpoint": issuer + "/par"}))
	if res := w.found(Request{}); !res.Server.RequirePushedAuthorizationRequests {
		t.Errorf("%+v", res)
	}
}

const (
	second = "https://auth2.example.com"
	third  = "https://auth3.example.com"
	fourth = "https://auth4.example.com"
)

// It has a row in docs/compatibility.md.
func TestSeveralAuthorizationServers(t *testing.T) {
	all := announced(issuer, second, third, fourth)
	w := newWeb(t, all.with(pages{issuer + oauthName: asm(issuer, nil), second + oauthName: asm(second, nil)}))
	if res := w.found(Request{}); res.Issuer != issuer {
		t.Errorf("the first: %+v", res)
	}
	w.untouched(second)

	w = newWeb(t, all.with(pages{second + oauthName: asm(second, nil)}))
	if res := w.found(Request{}); res.Issuer != second {
		t.Errorf("the first has no metadata: %+v", res)
	}
	w = newWeb(t, all.with(pages{issuer + oauthName: broken, second + oauthName: asm(second, nil)}))
	if res := w.found(Request{}); res.Issuer != second {
		t.Errorf("the first is in trouble: %+v", res)
	}
	// What is wrong ends the search here too.
	w = newWeb(t, all.with(pages{issuer + oauthName: asm(evil, nil), second + oauthName: asm(second, nil)}))
	w.refused(Request{}, evil)
	w.untouched(second)
	w = newWeb(t, all.with(pages{issuer + oauthName: asm(issuer, map[string]any{"code_challenge_methods_supported": nil}), second + oauthName: asm(second, nil)}))
	w.refused(Request{}, "PKCE")

	// Three are asked, not a thousand.
	w = newWeb(t, all.with(pages{fourth + oauthName: asm(fourth, nil)}))
	w.refused(Request{}, issuer, "publishes no metadata")
	w.only(atPath, issuer+oauthName, issuer+oidcName, second+oauthName, second+oidcName, third+oauthName, third+oidcName)
	// One that is named twice is asked once.
	w = newWeb(t, announced(issuer, issuer, second))
	w.refused(Request{})
	w.only(atPath, issuer+oauthName, issuer+oidcName, second+oauthName, second+oidcName)
	// One in trouble makes the whole temporary, wherever it stands.
	for _, busy := range []string{issuer, second, third} {
		w = newWeb(t, all.with(pages{busy + oauthName: answer(503, "", "")}))
		if f := w.passing(Request{}); f.URL != busy+oauthName {
			t.Errorf("%+v", f)
		}
	}
}

// Some servers announce the address of the metadata. Whose it is must not be guessed, but a pin helps.
func TestAnAddressOfMetadataIsNoIssuer(t *testing.T) {
	w := newWeb(t, announced(issuer+oauthName).with(pages{issuer + oauthName: asm(issuer, nil)}))
	if _, f := w.discover(Request{}); f == nil || !strings.Contains(f.Hint, "--auth-server "+issuer+" ") {
		t.Errorf("%+v", f)
	}
	if res := w.found(Request{PinnedIssuer: issuer}); res.Issuer != issuer {
		t.Errorf("%+v", res)
	}
}

func TestWhoHasNoClientTakesAServerThatRegistersThem(t *testing.T) {
	byHand := map[string]any{"registration_endpoint": nil}
	hosted := map[string]any{"registration_endpoint": nil, "client_id_metadata_document_supported": true}
	for name, c := range map[string]struct {
		request       Request
		first, second http.HandlerFunc
		want          string
	}{
		"the second registers":        {Request{NeedsRegistration: true}, asm(issuer, byHand), asm(second, nil), second},
		"a client is there":           {Request{}, asm(issuer, byHand), asm(second, nil), issuer},
		"a login is there":            {Request{NeedsRegistration: true, PreferIssuers: []string{issuer}}, asm(issuer, byHand), asm(second, nil), issuer},
		"a document is there":         {Request{NeedsRegistration: true, HasDocument: true}, asm(issuer, hosted), asm(second, nil), issuer},
		"a document would do":         {Request{NeedsRegistration: true}, asm(issuer, hosted), asm(second, nil), second},
		"neither registers":           {Request{NeedsRegistration: true}, asm(issuer, byHand), asm(second, byHand), issuer},
		"the second is not there":     {Request{NeedsRegistration: true}, asm(issuer, byHand), nil, issuer},
		"the second cannot be used":   {Request{NeedsRegistration: true}, asm(issuer, byHand), asm(evil, nil), issuer},
		"the second is in trouble":    {Request{NeedsRegistration: true}, asm(issuer, byHand), answer(503, "", ""), ""},
		"the first registers as well": {Request{NeedsRegistration: true}, asm(issuer, nil), asm(second, nil), issuer},
	} {
		w := newWeb(t, announced(issuer, second).with(pages{issuer + oauthName: c.first, second + oauthName: c.second}))
		if c.want == "" {
			w.passing(c.request)
		} else if res := w.found(c.request); res.Issuer != c.want || res.Announced != c.want {
			t.Errorf("%s: %s", name, res.Issuer)
		}
	}
}

func TestIssuersWithALoginComeFirst(t *testing.T) {
	all := announced(issuer, second, third, fourth).with(pages{
		issuer + oauthName: asm(issuer, nil), second + oauthName: asm(second, nil), third + oauthName: asm(third, nil), fourth + oauthName: asm(fourth, nil),
	})
	for name, c := range map[string]struct {
		prefer []string
		want   string
	}{
		"none":                       {nil, issuer},
		"the fourth":                 {[]string{fourth}, fourth},
		"in the order of preference": {[]string{fourth, second}, fourth},
		"but for a slash":            {[]string{third + "/"}, third},
		"not announced":              {[]string{evil}, issuer},
		"not announced, then one":    {[]string{evil, second}, second},
	} {
		w := newWeb(t, all)
		if res := w.found(Request{PreferIssuers: c.prefer}); res.Issuer != c.want {
			t.Errorf("%s: %s", name, res.Issuer)
		}
		w.only(atPath, c.want+oauthName)
	}
	// A moment's trouble is no reason to move to another one.
	w := newWeb(t, all.with(pages{second + oauthName: answer(503, "", ""), second + oidcName: answer(503, "", "")}))
	if f := w.passing(Request{PreferIssuers: []string{second}}); f.URL != second+oauthName {
		t.Errorf("%+v", f)
	}
	w.untouched(issuer)
	// That it has gone is one.
	w = newWeb(t, all.with(pages{second + oauthName: nil}))
	if res := w.found(Request{PreferIssuers: []string{second}}); res.Issuer != issuer {
		t.Errorf("%+v", res)
	}
}

func TestAPinnedIssuer(t *testing.T) {
	// Its document lies at its own address, announced or not.
	w := newWeb(t, announced(evil).with(pages{issuer + oauthName: asm(issuer, nil)}))
	if res := w.found(Request{PinnedIssuer: issuer}); res.Issuer != issuer || res.Resource != mcp {
		t.Errorf("%+v", res)
	}
	w.untouched(evil)
	// Or at the announced one's: a proxy that says whose metadata it hands on.
	w = newWeb(t, announced(second).with(pages{second + oauthName: asm(issuer, nil)}))
	if res := w.found(Request{PinnedIssuer: issuer}); res.Issuer != issuer || res.Announced != second {
		t.Errorf("%+v", res)
	}
	// Nobody else's counts.
	w = newWeb(t, announced(second).with(pages{second + oauthName: asm(second, nil)}))
	w.refused(Request{PinnedIssuer: issuer}, issuer, second, "is pinned")
	w = newWeb(t, announced(second).with(pages{issuer + oauthName: asm(second, nil)}))
	w.refused(Request{PinnedIssuer: issuer}, "is pinned")
	// What is announced besides may be rubbish, and may be nothing.
	w = newWeb(t, announced("javascript:x", "https://u:p@x").with(pages{issuer + oauthName: asm(issuer, nil)}))
	w.found(Request{PinnedIssuer: issuer})
	w = newWeb(t, announced().with(pages{issuer + oauthName: asm(issuer, nil)}))
	w.found(Request{PinnedIssuer: issuer})
	// Without resource metadata.
	w = newWeb(t, pages{issuer + oauthName: asm(issuer, nil), mcpOrigin + oauthName: asm(mcpOrigin, nil)})
	if res := w.found(Request{PinnedIssuer: issuer}); !res.Legacy || res.Issuer != issuer || res.Announced != issuer || res.Resource != mcp || !hasNote(res, "pinned authorization server is used") {
		t.Errorf("%+v", res)
	}
	w.untouched(mcpOrigin + "/.well-known/oauth-authorization-server")
	// Some servers of the first specification publish the metadata of an issuer that publishes none itself.
	for _, name := range []string{oauthName, oidcName} {
		w = newWeb(t, pages{mcpOrigin + name: asm(issuer, nil)})
		w.refused(Request{}, issuer, "--auth-server")
		w = newWeb(t, w.pages)
		if res := w.found(Request{PinnedIssuer: issuer}); !res.Legacy || res.Issuer != issuer || res.ServerMetadataURL != mcpOrigin+name || res.Resource != mcp || !hasNote(res, "pinned authorization server is used") {
			t.Errorf("%+v", res)
		}
	}
	// What is wrong with it is said, and trouble there is no absence.
	w = newWeb(t, pages{mcpOrigin + oauthName: asm(issuer, map[string]any{"token_endpoint": evil + "/t"})})
	w.refused(Request{PinnedIssuer: issuer}, "unrelated hosts")
	w = newWeb(t, pages{mcpOrigin + oauthName: answer(503, "", "")})
	w.passing(Request{PinnedIssuer: issuer})
	// A pin that is nothing is a fault of the pin, not a server without OAuth, and nothing is guessed.
	w = newWeb(t, pages{mcpOrigin + oauthName: asm(mcpOrigin, nil)})
	w.refused(Request{PinnedIssuer: issuer, AllowGuessedEndpoints: true}, "publishes no metadata")
	for _, pin := range []string{"auth.example.com", issuer + "?x", issuer + "#x", "https://u@auth.example.com"} {
		newWeb(t, usual()).refused(Request{PinnedIssuer: pin}, "no issuer", "--auth-server")
		newWeb(t, nil).refused(Request{PinnedIssuer: pin}, "no issuer")
	}
}

func TestServersOfTheFirstSpecification(t *testing.T) {
	// Its origin is the authorization server, and must say so of itself.
	w := newWeb(t, pages{mcpOrigin + oidcName: asm(mcpOrigin, nil)})
	res := w.found(Request{})
	if !res.Legacy || res.Guessed || res.Issuer != mcpOrigin || res.Announced != mcpOrigin || res.Resource != mcp || res.ServerMetadataURL != mcpOrigin+oidcName || res.ResourceMetadataURL != "" {
		t.Errorf("%+v", res)
	}
	w.only(atPath, atRoot, mcpOrigin+oauthName+"/mcp", mcpOrigin+oauthName, mcpOrigin+oidcName)
	newWeb(t, pages{mcpOrigin + oauthName: asm(issuer, nil)}).refused(Request{AllowGuessedEndpoints: true}, issuer, mcpOrigin)
	newWeb(t, pages{mcpOrigin + oauthName: asm(mcpOrigin+"/mcp", nil)}).refused(Request{}, mcpOrigin+"/mcp")
	newWeb(t, pages{mcpOrigin + oauthName: asm(mcpOrigin, map[string]any{"code_challenge_methods_supported": nil})}).refused(Request{AllowGuessedEndpoints: true}, "PKCE")
	newWeb(t, pages{mcpOrigin + oauthName: doc(`{"issuer":`)}).refused(Request{AllowGuessedEndpoints: true}, "cannot be used")
}

func TestAServerWithoutAnyMetadata(t *testing.T) {
	w := newWeb(t, nil)
	_, f := w.discover(Request{})
	if f == nil || !f.NotOffered || f.Temporary || f.URL != mcp || len(f.Tried) != 7 || !strings.Contains(f.Hint, "--allow-guessed-endpoints") {
		t.Fatalf("%+v", f)
	}
	w = newWeb(t, nil)
	res := w.found(Request{ServerURL: "https://mcp.example.com:8443/a/mcp", AllowGuessedEndpoints: true})
	const o = "https://mcp.example.com:8443"
	want := &wire.ServerMetadata{Issuer: o, AuthorizationEndpoint: o + "/authorize", TokenEndpoint: o + "/token", RegistrationEndpoint: o + "/register"}
	if !res.Guessed || !res.Legacy || res.Issuer != o || res.ServerMetadataURL != "" || res.Resource != o+"/a/mcp" || !hasNote(res, "guessed") ||
		res.Server.Issuer != want.Issuer || res.Server.AuthorizationEndpoint != want.AuthorizationEndpoint || res.Server.TokenEndpoint != want.TokenEndpoint || res.Server.RegistrationEndpoint != want.RegistrationEndpoint {
		t.Errorf("%+v %+v", res, res.Server)
	}
}

// The client's owner may have put tokens into a URL's query; server texts may hold anything.
func TestNoErrorHoldsAQueryOrControlCharacters(t *testing.T) {
	w := newWeb(t, nil)
	_, f := w.discover(Request{ServerURL: mcp + "?key=CANARY"})
	for _, a := range f.Tried {
		if strings.Contains(a.URL, "CANARY") {
			t.Errorf("%+v", a)
		}
	}
	if strings.Contains(f.URL+f.Error()+f.Hint, "CANARY") {
		t.Errorf("%+v", f)
	}
	const nasty = "https://x\x1b[2J\u202e\r\n.example.com"
	for _, p := range []pages{
		announced(nasty),
		{atPath: prm(nasty, issuer)},
		announced(issuer).with(pages{issuer + oauthName: asm(nasty, nil)}),
		{atPath: answer(200, "text/x\x1b[2J", "\x1b[2J")},
		announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{"token_endpoint": nasty})}),
		announced(issuer).with(pages{issuer + oauthName: asm(issuer, map[string]any{"token_endpoint": "x\x1b[2J\u202e://h/"})}),
		{atPath: doc(`{"resource":"x","` + "a\u202e" + `":1,"` + "a\u202e" + `":2}`)},
	} {
		_, f := newWeb(t, p).discover(Request{})
		if all := f.Error() + f.Hint + outcomes(f.Tried); strings.ContainsAny(strings.ReplaceAll(all, "\n", ""), "\x1b\r\u202e") {
			t.Errorf("%q", all)
		}
	}
}

func TestAServerURLThatCannotBeRead(t *testing.T) {
	for _, s := range []string{"", "mcp", "https://", "https://%zz", "/mcp"} {
		_, err := Discover(t.Context(), newWeb(t, nil).client(), Request{ServerURL: s})
		var f *wire.Fault
		if !errors.As(err, &f) || f.Stage != "discovery" || f.Temporary {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// slow answers each request with 404 after some time, on the clock of a bubble.
type slow time.Duration

func (d slow) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Duration(d)):
		return &http.Response{StatusCode: 404, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func slowly(ctx context.Context, t *testing.T, each time.Duration, r Request) (*wire.Fault, time.Duration) {
	t.Helper()
	c, err := netguard.New(netguard.Config{HTTPClient: &http.Client{Transport: slow(each)}})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = Discover(ctx, c, r)
	var f *wire.Fault
	if !errors.As(err, &f) {
		t.Fatal(err)
	}
	return f, time.Since(start)
}

func TestHowLongDiscoveryTakes(t *testing.T) {
	for name, c := range map[string]struct {
		each      time.Duration
		r         Request
		took      time.Duration
		tried     int
		temporary bool
	}{
		// A host that does not answer is waited for once.
		"silent host":           {time.Hour, Request{ServerURL: mcp}, 10 * time.Second, 1, true},
		"slow host":             {6 * time.Second, Request{ServerURL: mcp}, 30 * time.Second, 7, false},
		"slow host, many tries": {8 * time.Second, Request{ServerURL: mcp, PinnedIssuer: issuer + "/t1"}, 45 * time.Second, 9, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, took := slowly(t.Context(), t, c.each, c.r)
				if took != c.took || len(f.Tried) != c.tried || f.Temporary != c.temporary || f.NotOffered == c.temporary {
					t.Errorf("took %v, %+v", took, f)
				}
				for _, a := range f.Tried {
					if a.Duration != min(c.each, 10*time.Second, took) && a.Duration != took%c.each {
						t.Errorf("%s took %v of %v", a.URL, a.Duration, took)
					}
				}
			})
		})
	}
}

func TestCancelledDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		f, took := slowly(ctx, t, time.Hour, Request{ServerURL: mcp, AllowGuessedEndpoints: true})
		if took != 3*time.Second || f.Temporary || f.NotOffered || !errors.Is(f, context.Canceled) || len(f.Tried) != 1 {
			t.Errorf("took %v, %+v", took, f)
		}
	})
}

// A caller's deadline makes the result temporary: it says nothing about the server.
func TestDiscoveryWithADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		f, took := slowly(ctx, t, 2*time.Second, Request{ServerURL: mcp, AllowGuessedEndpoints: true})
		if took != 3*time.Second || !f.Temporary || f.NotOffered || len(f.Tried) != 2 {
			t.Errorf("took %v, %+v", took, f)
		}
	})
}

func TestResultsShareNothingWithTheRequest(t *testing.T) {
	prefer := []string{second, issuer}
	before := slices.Clone(prefer)
	p := announced(issuer, second).with(pages{second + oauthName: asm(second, nil)})
	keys := len(p)
	newWeb(t, p).found(Request{PreferIssuers: prefer})
	if !slices.Equal(prefer, before) || len(maps.Clone(p)) != keys {
		t.Error("the request was changed")
	}
}
