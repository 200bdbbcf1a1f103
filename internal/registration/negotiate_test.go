package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// policy is what a server thinks of a registration: 0 registers it.
type policy func(m map[string]any) (status int, body string)

func refuses(status int, code, description string, when func(m map[string]any) bool) policy {
	return func(m map[string]any) (int, string) {
		if !when(m) {
			return 0, ""
		}
		b, _ := json.Marshal(map[string]string{"error": code, "error_description": description})
		return status, string(b)
	}
}

func has(name string) func(map[string]any) bool {
	return func(m map[string]any) bool { return m[name] != nil }
}

func inScope(scope string) func(map[string]any) bool {
	return func(m map[string]any) bool {
		all, _ := m["scope"].(string)
		return slices.Contains(strings.Fields(all), scope)
	}
}

func inList(name, value string) func(map[string]any) bool {
	return func(m map[string]any) bool { return strings.Contains(fmt.Sprint(m[name]), value) }
}

// jackson is what Keycloak says of a member that it does not know.
func jackson(name string) policy {
	return refuses(400, "", fmt.Sprintf(`Unrecognized field "%s" (class org.keycloak.representations.oidc.OIDCClientRepresentation), not marked as ignorable (45 known properties: "redirect_uris", "scope", "grant_types", "client_uri", "application_type", "software_id"])`, name), has(name))
}

// TestMetadataThatARegistrationRefuses: the server's policies are asked in turn, and what they refuse is left out or
// changed until they are content. The requests after the first are told in the words of the concessions.
//
// It has a row in docs/compatibility.md.
func TestMetadataThatARegistrationRefuses(t *testing.T) {
	t.Parallel()
	const (
		spelling = "with one spelling of the redirect URI"
		own      = "with the scopes of this login alone"
		noScope  = "without scope"
		needed   = "with the grant type authorization_code alone"
		noGrants = "without grant_types, response_types"
		noURLs   = "without client_uri, logo_uri, policy_uri"
		program  = "without application_type, software_id, software_version"
	)
	scopes := func(when func(map[string]any) bool) policy {
		return refuses(403, "insufficient_scope", "Policy 'Allowed Client Scopes' rejected request to client-registration service. Details: Not permitted to use specified clientScope", when)
	}
	hosts := func(when func(map[string]any) bool) policy {
		return refuses(403, "insufficient_scope", "Policy 'Trusted Hosts' rejected request to client-registration service. Details: URI doesn't match any trusted host or trusted domain", when)
	}
	everything := func(map[string]any) bool { return true }
	for name, c := range map[string]struct {
		policies []policy
		changed  string // what was tried, one after the other
		fails    bool
	}{
		"nothing":                            {nil, "", false},
		"the other spelling":                 {[]policy{refuses(400, "invalid_redirect_uri", "", inList("redirect_uris", "localhost"))}, spelling, false},
		"the other spelling, by no name":     {[]policy{refuses(400, "", "", inList("redirect_uris", "localhost"))}, spelling, false},
		"the other spelling, as a scope":     {[]policy{hosts(inList("redirect_uris", "localhost"))}, spelling, false},
		"a scope of no login":                {[]policy{scopes(inScope("b"))}, spelling + "; " + own, false},
		"all scopes":                         {[]policy{scopes(has("scope"))}, spelling + "; " + own + "; " + noScope, false},
		"scopes, by a code alone":            {[]policy{refuses(400, "invalid_scope", "", has("scope"))}, spelling + "; " + own + "; " + noScope, false},
		"scopes, by a code of 403":           {[]policy{refuses(403, "insufficient_scope", "", inScope("b"))}, spelling + "; " + own, false},
		"both spellings and a scope":         {[]policy{scopes(inScope("b")), hosts(inList("redirect_uris", "localhost"))}, spelling + "; " + own, false},
		"grants":                             {[]policy{refuses(400, "invalid_client_metadata", "unsupported grant type: refresh_token", inList("grant_types", "refresh_token"))}, spelling + "; " + needed, false},
		"any list of grants":                 {[]policy{refuses(422, "", "grantTypes is not accepted", has("grant_types"))}, spelling + "; " + needed + "; " + noGrants, false},
		"a page on another host":             {[]policy{hosts(has("client_uri"))}, spelling + "; " + noURLs, false},
		"the logo":                           {[]policy{refuses(400, "invalid_client_metadata", "logo_uri is not an image", has("logo_uri"))}, spelling + "; " + noURLs, false},
		"a member that it does not know":     {[]policy{jackson("software_version")}, spelling + "; without software_version", false},
		"several that it does not know":      {[]policy{jackson("software_version"), jackson("software_id"), jackson("application_type")}, spelling + "; without software_version; without software_id; without application_type", false},
		"a member of ours that it knows not": {[]policy{jackson("contacts")}, spelling + "; without contacts", false},
		"a list of what it would have known": {[]policy{refuses(400, "", "unknown field `contacts`, expected one of `scope`, `grant_types`, `client_uri`", has("contacts"))}, spelling + "; without contacts", false},
		"camels":                             {[]policy{refuses(400, "", "softwareVersion: unknown", has("software_version"))}, spelling + "; without software_version", false},
		"members named beside a description": {[]policy{func(m map[string]any) (int, string) {
			return map[bool]int{true: 400}[m["application_type"] != nil], `{"title":"Bad Request","errors":{"application_type":["is not known"]}}`
		}}, spelling + "; without application_type", false},
		"pydantic": {[]policy{func(m map[string]any) (int, string) {
			return map[bool]int{true: 422}[m["software_id"] != nil], `{"detail":[{"loc":["body","software_id"],"msg":"Extra inputs are not permitted"}]}`
		}}, spelling + "; without software_id", false},
		"the way to authenticate":             {[]policy{refuses(400, "invalid_client_metadata", "token_endpoint_auth_method none is not allowed", has("token_endpoint_auth_method"))}, spelling + "; without token_endpoint_auth_method", false},
		"what it does not say":                {[]policy{refuses(400, "invalid_client_metadata", "", has("software_id"))}, strings.Join([]string{spelling, own, noScope, needed, noGrants, noURLs, program}, "; "), false},
		"whatever comes":                      {[]policy{refuses(400, "invalid_client_metadata", "", everything)}, strings.Join([]string{spelling, own, noScope, needed, noGrants, noURLs, program}, "; "), true},
		"scopes, whatever comes":              {[]policy{scopes(everything)}, spelling + "; " + own + "; " + noScope, true},
		"redirect URIs, whatever comes":       {[]policy{refuses(400, "invalid_redirect_uri", "the redirect URI is not allowed", everything)}, spelling, true},
		"who registers":                       {[]policy{refuses(403, "access_denied", "registration is not open", everything)}, spelling, true},
		"too many clients":                    {[]policy{refuses(403, "insufficient_scope", "Policy 'Max Clients Limit' rejected request to client-registration service. Details: It's allowed to have max 200 clients per realm", everything)}, spelling, true},
		"without a token":                     {[]policy{refuses(401, "invalid_token", "redirect_uris scope", everything)}, "", true},
		"the software statement":              {[]policy{refuses(400, "invalid_software_statement", "", everything)}, spelling, true},
		"what is missing":                     {[]policy{refuses(400, "invalid_client_metadata", "tos_uri is missing", everything)}, spelling + "; " + noURLs, true},
		"a page":                              {[]policy{func(map[string]any) (int, string) { return 403, htmlPage }}, "", true},
		"500 is no refusal":                   {[]policy{refuses(500, "x", "scope", everything)}, "", true},
		"404 is no refusal of a part":         {[]policy{refuses(404, "x", "scope", everything)}, "", true},
		"trouble":                             {[]policy{refuses(400, "temporarily_unavailable", "scope", everything)}, "", true},
		"an error in a 200 is none of a part": {[]policy{refuses(200, "invalid_scope", "", everything)}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, nil)
			s.answers[0] = func(w http.ResponseWriter, r *http.Request) {
				_, bodies := s.sent()
				for _, p := range c.policies {
					if status, body := p(bodies[len(bodies)-1]); status != 0 {
						asJSON(status, body)(w, r)
						return
					}
				}
				asJSON(201, good)(w, r)
			}
			r := usual(s.URL)
			r.Extra = map[string]any{"client_uri": "https://x.example", "logo_uri": "https://x.example/logo", "policy_uri": "https://x.example/p", "contacts": []string{"a@x.example"}}
			r.SoftwareStatement = "a.b.c"
			before := fmt.Sprintf("%+v", r)
			var notes []string
			r.Note = func(text string) { notes = append(notes, text) }
			reg, err := Register(t.Context(), client(t, nil), r)
			if (err != nil) != c.fails {
				t.Fatalf("%+v, %v", reg, err)
			}
			tries := slices.DeleteFunc(strings.Split(c.changed, "; "), func(s string) bool { return s == "" })
			if _, bodies := s.sent(); len(bodies) != len(tries)+1 || len(bodies) > maxRequests {
				t.Fatalf("%d requests: %v", len(bodies), notes)
			}
			for i, try := range tries {
				if i >= len(notes) || !strings.HasSuffix(notes[i], "; trying it "+try) || !strings.Contains(notes[i], "status 4") {
					t.Errorf("noted %q, want %q", notes, tries)
				}
			}
			if err == nil && !reflect.DeepEqual(append([]string{}, reg.Changed...), append([]string{}, tries...)) {
				t.Errorf("changed: %q", reg.Changed)
			}
			if all := strings.Join(tries, ", "); err != nil && all != "" && !strings.Contains(err.Error(), "refused to register a client, also "+all) {
				t.Errorf("the error says %q", err)
			}
			if r.Note = nil; fmt.Sprintf("%+v", r) != before {
				t.Errorf("the request was changed: %+v", r)
			}
		})
	}
}

// TestWhatIsNotConceded: a person chose it, or the login needs it.
func TestWhatIsNotConceded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Request)
		says   string
		keeps  map[string]any
	}{
		"the method that a person chose":   {func(r *Request) { r.AuthMethod, r.AuthMethodChosen = "client_secret_post", true }, "token_endpoint_auth_method client_secret_post is not allowed", map[string]any{"token_endpoint_auth_method": "client_secret_post"}},
		"the redirect URI":                 {func(*Request) {}, "Unrecognized field redirect_uris", map[string]any{"redirect_uris": []any{byAddress}}},
		"scopes that are the login's own":  {func(r *Request) { r.LoginScope = r.Scope }, "scope", map[string]any{"scope": nil}},
		"grants that are needed all":       {func(r *Request) { r.NeededGrants = r.GrantTypes }, "grant_types", map[string]any{"grant_types": nil}},
		"a scope that the caller has set":  {func(r *Request) { r.Extra = map[string]any{"scope": "x"} }, "scope", map[string]any{"scope": nil}},
		"a software statement, by request": {func(r *Request) { r.SoftwareStatement = "a.b.c" }, "Unrecognized field software_statement", map[string]any{"software_statement": "a.b.c"}},
	} {
		s := newServer(t, refusal("invalid_client_metadata", tc.says))
		r := usual(s.URL)
		tc.change(&r)
		_, err := Register(t.Context(), client(t, nil), r)
		_, bodies := s.sent()
		last := bodies[len(bodies)-1]
		for member, want := range tc.keeps {
			if err == nil || !reflect.DeepEqual(last[member], want) || len(bodies) > 3 {
				t.Errorf("%s: %d requests, %v; %v", name, len(bodies), last, err)
			}
		}
	}
}

// TestARateLimitHidesNoRefusal: the person must know what the server refuses, not that it wants no further tries.
func TestARateLimitHidesNoRefusal(t *testing.T) {
	t.Parallel()
	s := newServer(t, refusal("invalid_scope", "not these"), answer(429, "", ""))
	_, err := Register(t.Context(), client(t, nil), usual(s.URL))
	f := wire.AsFault(err, "", "")
	if f.Code != "invalid_scope" || f.Temporary || strings.Contains(f.Message, "also") {
		t.Errorf("%+v", f)
	}
}

// TestHintsOfRefusals: what helps depends on what was refused and on what was given.
func TestHintsOfRefusals(t *testing.T) {
	t.Parallel()
	const limit = "Policy 'Max Clients Limit' rejected request to client-registration service. Details: It's allowed to have max 200 clients per realm"
	for _, tc := range []struct {
		status            int
		code, description string
		token             string
		want, not         string
	}{
		{401, "invalid_token", "No remaining count on initial access token", "t", "used up, has ended or is wrong", "by hand"},
		{401, "invalid_token", "", "t", "--initial-access-token-file", "by hand"},
		{401, "", "", "", "may want a token", "used up"},
		{401, "", "", "", "only programs that it knows: ask its owner", "used up"},
		{403, "", "", "", "only programs that it knows: ask its owner", "used up"},
		{401, "invalid_token", "a registration access token is required", "", "may want a token", "programs"},
		{403, "access_denied", "redirect hosts and grant types of this application are not approved", "t", "by hand", "used up"},
		{400, "invalid_redirect_uri", "redirect_uris must use HTTPS", "", "ask its owner to allow them for loopback addresses", "--callback-host"},
		{400, "invalid_client_metadata", "redirect_uri: localhost and 127.0.0.1 are not allowed", "", "Client.BeginLogin", "--callback-host"},
		{403, "insufficient_scope", "Policy 'Trusted Hosts' rejected request to client-registration service. Details: Host not trusted.", "", "may want a token", "used up"},
		{403, "insufficient_scope", "Policy 'Trusted Hosts' rejected request to client-registration service. Details: Host not trusted.", "t", "by hand", "used up"},
		{403, "forbidden", "the initial access token is not for this realm", "t", "used up", "by hand"},
		{403, "insufficient_scope", limit, "", "only its administrator", "token"},
		{403, "insufficient_scope", limit, "t", "only its administrator", "token"},
		{400, "invalid_client_metadata", "Maximum number of clients reached", "", "only its administrator", "token"},
		{400, "invalid_redirect_uri", "", "", "--callback-host localhost", "token"},
		{400, "unapproved_software_statement", "", "", "--software-statement-file", "token"},
		{400, "invalid_client_metadata", "", "", "by hand", "token"},
	} {
		body, _ := json.Marshal(map[string]string{"error": tc.code, "error_description": tc.description})
		s := newServer(t, asJSON(tc.status, string(body)))
		r := usual(s.URL)
		r.InitialAccessToken, r.SoftwareStatement = secret.New(tc.token), "a.b.c"
		_, err := Register(t.Context(), client(t, nil), r)
		if f := wire.AsFault(err, "", ""); !strings.Contains(f.Hint, tc.want) || strings.Contains(f.Hint, tc.not) {
			t.Errorf("%+v: %s", tc, f.Hint)
		}
	}
}

// TestHintsOfRedirectURIs follow the server's words.
func TestHintsOfRedirectURIs(t *testing.T) {
	t.Parallel()
	const (
		web    = "takes no http redirect URI of this machine"
		name   = "--callback-host localhost"
		number = "--callback-host 127.0.0.1"
		none   = ""
	)
	for _, tc := range []struct{ said, byAddress, byName string }{
		{"redirect_uris must use HTTPS", web, web},
		{"Only secure (https) redirect URIs are permitted.", web, web},
		{"http scheme is not allowed", web, web},
		{"redirect URI must not be http", web, web},
		{"loopback redirect URIs are not allowed", web, web},
		{"must not be a loopback address", web, web},
		{"Redirect URIs cannot point to localhost", web, number},
		{"must use https unless localhost", name, none},
		{"http is not allowed, except for loopback addresses", none, none},
		{"must be http://localhost or https://", name, none},
		{"Redirect URI not allowed. Use localhost.", name, none},
		{"the redirect URI is not localhost", name, none},
		{"the redirect URI is not a loopback address", none, none},
		{"127.0.0.1 is not allowed", name, web},
		{"use 127.0.0.1 instead", none, number},
		{byAddress + " is not allowed", none, web},
		{"use localhost, not 127.0.0.1", name, none},
		{"the redirect URI was not registered", none, none},
		{"", none, none},
	} {
		for uri, want := range map[string]string{byAddress: tc.byAddress, byName: tc.byName} {
			if got := RedirectHint(tc.said, uri); !strings.Contains(got, want) || want == "" && got != "" {
				t.Errorf("%q, %s: %q, want %q", tc.said, uri, got, want)
			}
		}
	}
	if got := RedirectHint("bad redirect", "https://app.example.com/cb"); !strings.Contains(got, "https://app.example.com/cb") || strings.Contains(got, "--callback-host") {
		t.Error(got)
	}
}

// FuzzUnderstand: whatever a server writes, a refusal leads to few further registrations, each with something less, and
// never to one without a redirect URI.
func FuzzUnderstand(f *testing.F) {
	f.Add(400, "invalid_client_metadata", "scope application_type redirect", "{}")
	f.Add(403, "insufficient_scope", "URI doesn't match any trusted host", `{"errors":{"software_id":1}}`)
	f.Add(422, "", "", `{"detail":[{"loc":["body","scope"]}]}`)
	f.Fuzz(func(t *testing.T, status int, code, description, body string) {
		r := usual("https://auth.example.com/register")
		m := r.metadata()
		for left := 30; ; left-- {
			before := fmt.Sprint(m)
			what, again := r.retry(m, &wire.Fault{Status: status, Code: code, Description: description}, []byte(body))
			if uris, _ := m["redirect_uris"].([]string); len(uris) == 0 || uris[0] != byAddress {
				t.Fatalf("no redirect URI after %q", what)
			}
			if !again {
				return
			}
			if left == 0 || fmt.Sprint(m) == before || what == "" {
				t.Fatalf("%q changes nothing, or there is no end to it", what)
			}
		}
	})
}

// TestTheCallerLeavesWhileARegistrationIsNegotiated.
func TestTheCallerLeavesWhileARegistrationIsNegotiated(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		refusal("invalid_client_metadata", "")(w, r)
	}))
	defer s.Close()
	r := usual(s.URL)
	r.Note = func(string) { cancel() }
	if _, err := Register(ctx, client(t, nil), r); !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("%v after %d requests", err, n)
	}
}
