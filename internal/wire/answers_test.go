package wire

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Codes of single providers, and what they mean in the words of RFC 6749. What the server really said stays visible.
func TestProvidersOwnCodes(t *testing.T) {
	for own, want := range map[string]string{
		"bad_refresh_token": "invalid_grant", "bad_verification_code": "invalid_grant", "incorrect_client_credentials": "invalid_client",
		"invalid_refresh_token": "invalid_grant", "invalid_code": "invalid_grant", "code_already_used": "invalid_grant", "bad_client_secret": "invalid_client", "invalid_client_id": "invalid_client",
		"ratelimited": "temporarily_unavailable", "service_unavailable": "temporarily_unavailable", "request_timeout": "temporarily_unavailable", "internal_error": "server_error", "fatal_error": "server_error",
	} {
		for _, status := range []int{200, 400} {
			_, err := ParseToken(status, asJSON, []byte(`{"ok":false,"error":"`+own+`","error_description":"why"}`), received)
			var f *Fault
			if !errors.As(err, &f) || f.Code != want || f.Description != own+": why" || f.Temporary != (want == "temporarily_unavailable" || want == "server_error") {
				t.Errorf("%s, status %d: %+v", own, status, f)
			}
		}
	}
}

func TestErrorsInOtherShapes(t *testing.T) {
	for body, want := range map[string][2]string{
		`{"error":"invalid_grant","error_description":"a"}`:                        {"invalid_grant", "a"},
		`{"error":"x","error_description":"a","message":"b"}`:                      {"x", "a"},
		`{"error":"x","message":"b","detail":"c","msg":"d"}`:                       {"x", "b"},
		`{"error":"x","detail":"c","msg":"d"}`:                                     {"x", "c"},
		`{"error":"x","msg":"d"}`:                                                  {"x", "d"},
		`{"message":"Unrecognized client_id"}`:                                     {"", "Unrecognized client_id"},
		`{"error":{"code":"invalid_grant","type":"t","status":"s","message":"m"}}`: {"invalid_grant", "m"},
		`{"error":{"type":"t","status":"s"}}`:                                      {"t", ""},
		`{"error":{"status":"UNAUTHENTICATED","message":"m"}}`:                     {"UNAUTHENTICATED", "m"},
		`{"error":{"code":401,"status":"UNAUTHENTICATED"}}`:                        {"UNAUTHENTICATED", ""},
		`{"error":{"code":"x","message":"m"},"error_description":"a"}`:             {"x", "a"},
		`{"error":["invalid_grant"]}`:                                              {"", ""},
		`{"error":true}`:                                                           {"", ""},
		`{"error":7,"error_description":"a"}`:                                      {"", "a"},
		`{"error":"` + strings.Repeat("e", 65) + `"}`:                              {strings.Repeat("e", 63) + "…", ""},
		"\xef\xbb\xbf" + `[{"error":"invalid_grant","error_description":"a"},{}]`:  {"invalid_grant", "a"},
		`[]`:                {"", ""},
		`["invalid_grant"]`: {"", ""},
		`error=invalid_grant&error_description=a+b%21`: {"invalid_grant", "a b!"},
		`"invalid_grant"`:              {"", ""},
		`null`:                         {"", ""},
		`{"error":"invalid_grant"`:     {"", ""},
		`{"error":"x","error":"y"}`:    {"", ""},
		`error=x&error=y`:              {"", ""},
		`{"Error":"invalid_grant"}`:    {"", ""},
		`{"code":"invalid_grant"}`:     {"", ""},
		`{"errors":["invalid_grant"]}`: {"", ""},
		`{"errorCode":"E0000011","errorSummary":"Invalid token provided","errorLink":"E0000011","errorCauses":[]}`: {"E0000011", "Invalid token provided"},
		`{"error":"invalid_grant","errorCode":"E1","errorSummary":"x"}`:                                            {"invalid_grant", "x"},
	} {
		f := ParseOAuthError(400, asJSON, []byte(body))
		if f.Code != want[0] || f.Description != want[1] || f.Stage != "token" || f.Status != 400 || f.Temporary || f.Message == "" {
			t.Errorf("%s: %+v", body, f)
		}
	}
}

// An error is one whatever the status says, and so is "ok": false; a token that comes with it is not used.
func TestATokenBesideAnError(t *testing.T) {
	for member, refused := range map[string]bool{
		`"error":"x"`: true, `"error":{"code":"x"}`: true, `"error":["x"]`: true, `"error":true`: true, `"error":1`: true, `"ok":false`: true, `"ok":false,"error":null`: true,
		`"error":{}`: false, `"error":[]`: false, `"ok":true`: false, `"ok":"false"`: false, `"error_description":"x"`: false,
	} {
		tok, err := ParseToken(200, asJSON, []byte(`{"access_token":"CANARY","token_type":"Bearer",`+member+`}`), received)
		if (err != nil) != refused || (tok == nil) != refused || err != nil && strings.Contains(fmt.Sprintf("%+v", err), "CANARY") {
			t.Errorf("%s: %+v, %v", member, tok, err)
		}
	}
}

// What time does not heal is not temporary, whatever the status: a client would go on with it for ever.
func TestTheCodeDecidesBeforeTheStatus(t *testing.T) {
	for code, temporary := range map[string]map[int]bool{
		"invalid_grant":           {400: false, 401: false, 429: false, 500: false, 503: false},
		"invalid_client":          {400: false, 401: false, 429: false, 500: false, 503: false},
		"unauthorized_client":     {400: false, 401: false, 429: false, 500: false, 503: false},
		"temporarily_unavailable": {200: true, 400: true, 401: true, 503: true},
		"server_error":            {200: true, 400: true, 500: true},
		"slow_down":               {400: true, 429: true},
		"invalid_request":         {400: false, 401: false, 408: true, 429: true, 500: true, 599: true},
		"access_denied":           {403: false, 503: true},
	} {
		for status, want := range temporary {
			f := ParseOAuthError(status, asJSON, []byte(`{"error":"`+code+`"}`))
			if f.Temporary != want || f.Code != code {
				t.Errorf("%s in a %d: %+v", code, status, f)
			}
		}
	}
	for status, want := range map[int]bool{200: false, 302: false, 400: false, 401: false, 403: false, 404: false, 407: false, 408: true, 409: false, 425: true, 426: false, 429: true, 499: false, 500: true, 503: true, 520: true, 599: true} {
		if got := TemporaryStatus(status); got != want {
			t.Errorf("%d: %t", status, got)
		}
	}
}

// The content type is a hint, and often a bad one.
//
// It has a row in docs/compatibility.md.
func TestContentTypesOfTokens(t *testing.T) {
	for ct, body := range map[string]string{
		"application/json":                         `{"access_token":"a"}`,
		"application/json; charset=utf-8":          `{"access_token":"a"}`,
		"text/html":                                `{"access_token":"a"}`,
		"application/x-www-form-urlencoded":        `{"access_token":"a"}`,
		"Application/X-WWW-Form-URLEncoded":        `access%5Ftoken=a`,
		"application/x-www-form-urlencoded; q":     `access%5Ftoken=a`,
		"application/x-www-form-urlencoded ;=;x=;": `access%5Ftoken=a`,
		"":                "access_token=a&scope=",
		"application/xml": "access_token=a",
	} {
		tok, err := ParseToken(200, http.Header{"Content-Type": {ct}}, []byte(body), received)
		if err != nil || tok.AccessToken.Reveal() != "a" {
			t.Errorf("%q: %+v, %v", ct, tok, err)
		}
	}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for body, h := range map[string]http.Header{
		"access%5Ftoken=a":             {}, // nothing says that it is a form
		"access_token=a b":             form,
		"access_token=a\nb":            form,
		"access_token=<a>":             form,
		"access_token=%zz":             form,
		"access_token=a;refresh=b":     form,
		"access_token=&token_type=x":   form,
		"access_token=a&access_token=": form,
		"x":                            form,
		"access_token=" + strings.Repeat("a", MaxBody): form,
	} {
		tok, err := ParseToken(200, h, []byte(body), received)
		var f *Fault
		if tok != nil || !errors.As(err, &f) || f.Stage != "token" || f.Temporary || f.Message == "" || len(f.Message) > 200 {
			t.Errorf("%.40q: %+v, %v", body, tok, err)
		}
	}
	// A page is known by its type as well as by its first byte.
	for ct, body := range map[string]string{"text/html": "Please sign in", "application/xhtml+xml; x": "x", "application/json": " \n<html>", "text/html x; y": "x", "text/html; charset": ""} {
		f := ParseOAuthError(400, http.Header{"Content-Type": {ct}, "Retry-After": {"3"}}, []byte(body))
		if !f.Temporary || f.Stage != "token" || !strings.Contains(f.Message, "web page") || f.RetryAfter != 3*time.Second {
			t.Errorf("%q: %+v", ct, f)
		}
	}
	for _, status := range []int{404, 405, 410} {
		if f := ParseOAuthError(status, http.Header{}, []byte("<html>")); f.Temporary {
			t.Errorf("a page that says %d: %+v", status, f)
		}
	}
}

func tokenWith(members string) string {
	return `{"access_token":"a","token_type":"Bearer",` + members + `}`
}

func TestLimitsOfATokenAnswer(t *testing.T) {
	const longest = 64 << 10
	for n, ok := range map[int]bool{longest: true, longest + 1: false} {
		s := strings.Repeat("x", n)
		if _, err := ParseToken(200, asJSON, []byte(`{"access_token":"`+s+`"}`), received); (err == nil) != ok {
			t.Errorf("an access token of %d bytes: %v", n, err)
		}
		tok, err := ParseToken(200, asJSON, []byte(tokenWith(`"refresh_token":"`+s+`","id_token":"`+s+`"`)), received)
		if err != nil || (tok.RefreshToken.Reveal() == s) != ok || (tok.IDToken.Reveal() == s) != ok || ok != (len(tok.Notes) == 0) {
			t.Errorf("other tokens of %d bytes: %v", n, err)
		}
	}
	for s, ok := range map[string]bool{
		strings.TrimSpace(strings.Repeat("s ", 100)): true, strings.TrimSpace(strings.Repeat("s ", 101)): false,
		strings.Repeat("s", 4<<10): true, strings.Repeat("s", 4<<10+1): false,
	} {
		list, err := ParseScope(s)
		if (err == nil) != ok || ok && strings.Join(list, " ") != s {
			t.Errorf("%d bytes of scope: %v", len(s), err)
		}
		tok, err := ParseToken(200, asJSON, []byte(tokenWith(`"scope":"`+s+`"`)), received)
		if err != nil || tok.ScopePresent != ok || ok != (len(tok.Notes) == 0) {
			t.Errorf("%d bytes of granted scope: %v", len(s), err)
		}
	}
	many := `"scope":["` + strings.TrimSpace(strings.Repeat("s ", 60)) + `","` + strings.TrimSpace(strings.Repeat("t ", 41)) + `"]`
	if tok, err := ParseToken(200, asJSON, []byte(tokenWith(many)), received); err != nil || tok.ScopePresent {
		t.Errorf("101 scopes in two texts: %+v, %v", tok, err)
	}
	full := tokenWith(`"x":"` + strings.Repeat("x", MaxBody-len(tokenWith(`"x":""`))) + `"`)
	if _, err := ParseToken(200, asJSON, []byte(full), received); len(full) != MaxBody || err != nil {
		t.Errorf("%d bytes: %v", len(full), err)
	}
	if _, err := ParseToken(200, asJSON, []byte(full+" "), received); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("%d bytes: %v", len(full)+1, err)
	}
	tok, err := ParseToken(200, asJSON, []byte(tokenWith(`"expires_in":1e15`)), received)
	if err != nil || !tok.Expiry.IsZero() || len(tok.Notes) != 1 {
		t.Errorf("%+v, %v", tok, err)
	}
	tok, err = ParseToken(200, asJSON, []byte(tokenWith(`"expires_in":-1`)), received)
	if err != nil || !tok.Expiry.Equal(received) {
		t.Errorf("%+v, %v", tok, err)
	}
}

func TestWhatIsOddIsNoted(t *testing.T) {
	for members, word := range map[string]string{
		`"expires_in":"soon"`: "expires_in", `"expires_in":{}`: "expires_in", `"expires_in":"1e"`: "expires_in", `"expires_in":"--"`: "expires_in", `"expires_in":"1.5.1"`: "expires_in", `"expires_in":3600000`: "3600000", `"expires_in":3153600000`: "3153600000", `"refresh_token":"a\nb"`: "refresh_token", `"id_token":"é"`: "id_token", `"scope":"a\u0001"`: "scope",
		`"expires_in":null`: "", `"expires_in":1`: "", `"expires_in":0`: "0", `"expires_in":-7`: "-7", `"refresh_token":null`: "", `"refresh_token":"a b"`: "", `"scope":null`: "", `"scope":"a"`: "", `"x":1`: "",
	} {
		tok, err := ParseToken(200, asJSON, []byte(tokenWith(members)), received)
		if err != nil || (word == "") != (len(tok.Notes) == 0) || len(tok.Notes) > 1 || word != "" && !strings.Contains(tok.Notes[0], word) {
			t.Errorf("%s: %+v, %v", members, tok, err)
		}
	}
	tok, err := ParseToken(200, asJSON, []byte(tokenWith(`"refresh_token":"r t","id_token":"i"`)), received)
	if err != nil || tok.RefreshToken.Reveal() != "r t" || tok.IDToken.Reveal() != "i" || !tok.Expiry.IsZero() || tok.ScopePresent {
		t.Errorf("%+v, %v", tok, err)
	}
}

// Only members of a token response are read, at the top and by their exact names.
func TestNestedAndForeignMembers(t *testing.T) {
	for name, body := range map[string]string{
		"in another object":  `{"authed_user":{"access_token":"CANARY"}}`,
		"in a wrapper":       `{"data":{"access_token":"CANARY","token_type":"Bearer"}}`,
		"in a list":          `[{"access_token":"CANARY","token_type":"Bearer"}]`,
		"another case":       `{"Access_Token":"CANARY","token_type":"Bearer"}`,
		"folded":             `{"acce\u017fs_token":"CANARY","token_type":"Bearer"}`,
		"camel case":         `{"accessToken":"CANARY","tokenType":"Bearer"}`,
		"twice":              `{"access_token":"CANARY","access_token":"CANARY2","token_type":"Bearer"}`,
		"token as an object": `{"access_token":{"value":"CANARY"},"token_type":"Bearer"}`,
		"token with a space": `{"access_token":"CANARY x","token_type":"Bearer"}`,
		"six letters":        `{"access_token":"CANARY","token_type":"Signed"}`,
	} {
		tok, err := ParseToken(200, asJSON, []byte(body), received)
		var f *Fault
		if tok != nil || !errors.As(err, &f) || f.Stage != "token" || f.Temporary || f.Status != 200 || f.Hint == "" || strings.Contains(fmt.Sprintf("%+v", *f), "CANARY") {
			t.Errorf("%s: %+v, %v", name, tok, err)
		}
	}
	tok, err := ParseToken(200, asJSON, []byte(tokenWith(`"Refresh_Token":"x","EXPIRES_IN":5,"Scope":"x","expires_at":"2999-01-01T00:00:00Z","issuer":"https://e"`)), received)
	if want := (&Token{AccessToken: tok.AccessToken, TokenType: "Bearer"}); err != nil || !reflect.DeepEqual(tok, want) {
		t.Errorf("%+v, %v", tok, err)
	}
}

// Every member of both kinds of metadata gets where it belongs.
func TestEveryMemberOfMetadata(t *testing.T) {
	m, err := ParseServerMetadata([]byte(`{"issuer":"1","authorization_endpoint":"2","token_endpoint":"3","registration_endpoint":"4","revocation_endpoint":"5","introspection_endpoint":"6",
		"userinfo_endpoint":"7","jwks_uri":"8","device_authorization_endpoint":"9","pushed_authorization_request_endpoint":"10","scopes_supported":["11"],"response_types_supported":["12"],
		"response_modes_supported":["13"],"grant_types_supported":["14"],"token_endpoint_auth_methods_supported":["15"],"token_endpoint_auth_signing_alg_values_supported":["16"],
		"revocation_endpoint_auth_methods_supported":["17"],"code_challenge_methods_supported":["18"],"dpop_signing_alg_values_supported":["19"],"authorization_grant_profiles_supported":["20"],
		"require_pushed_authorization_requests":true,"require_signed_request_object":true,"authorization_response_iss_parameter_supported":true,"client_id_metadata_document_supported":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Raw) != 24 {
		t.Errorf("%d members", len(m.Raw))
	}
	m.Raw = nil
	if want := (&ServerMetadata{
		"1", "2", "3", "4", "5", "6", "7", "8", "9", "10",
		[]string{"11"},
		[]string{"12"},
		[]string{"13"},
		[]string{"14"},
		[]string{"15"},
		[]string{"16"},
		[]string{"17"},
		[]string{"18"},
		[]string{"19"},
		[]string{"20"},
		true, true, true, true, nil,
	}); !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v", m)
	}
	r, err := ParseResourceMetadata([]byte(`{"resource":"1","authorization_servers":["2"],"scopes_supported":["3"],"bearer_methods_supported":["4"],"resource_name":"5","resource_documentation":"6",
		"dpop_bound_access_tokens_required":true,"dpop_signing_alg_values_supported":["7"]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Raw = nil
	if want := (&ResourceMetadata{"1", []string{"2"}, []string{"3"}, []string{"4"}, "5", "6", true, []string{"7"}, nil}); !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v", r)
	}
	if r, err = ParseResourceMetadata([]byte("{}")); err != nil || r.AuthorizationServers != nil || r.Resource != "" || len(r.Raw) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, body := range []string{"", "[]", "null", `"x"`, "<html>", `{"resource":"a","resource":"b"}`, `{"resource":"a"} x`} {
		if r, err := ParseResourceMetadata([]byte(body)); err == nil {
			t.Errorf("%q became %+v", body, r)
		}
	}
}

func TestEveryMemberOfARegistration(t *testing.T) {
	r, err := ParseRegistration([]byte("\xef\xbb\xbf" + `{"client_id":"1","client_secret":"2","client_secret_expires_at":3,"token_endpoint_auth_method":"4","redirect_uris":["5"],"grant_types":["6"],"scope":"7 8",
		"registration_access_token":"9","registration_client_uri":"10","client_id_issued_at":11,"client_name":"x","Client_ID":"EVIL"}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.ClientID != "1" || r.ClientSecret.Reveal() != "2" || r.SecretExpiry.Unix() != 3 || r.AuthMethod != "4" || !slices.Equal(r.RedirectURIs, []string{"5"}) || !slices.Equal(r.GrantTypes, []string{"6"}) ||
		r.Scope != "7 8" || r.RegistrationAccessToken.Reveal() != "9" || r.RegistrationClientURI != "10" || r.IssuedAt.Unix() != 11 {
		t.Errorf("%+v", r)
	}
	for n, ok := range map[int]bool{2048: true, 2049: false} {
		if _, err := ParseRegistration([]byte(`{"client_id":"` + strings.Repeat("x", n) + `"}`)); (err == nil) != ok {
			t.Errorf("a client_id of %d bytes: %v", n, err)
		}
	}
	for n, ok := range map[int]bool{64 << 10: true, 64<<10 + 1: false} {
		if _, err := ParseRegistration([]byte(`{"client_id":"a","client_secret":"` + strings.Repeat("x", n) + `"}`)); (err == nil) != ok {
			t.Errorf("a secret of %d bytes: %v", n, err)
		}
	}
	// A number is text as it stands, unless it is none that a server would have given out.
	for lit, want := range map[string]string{`7`: "7", `"7"`: "7", `" ~"`: " ~", strings.Repeat("1", 64): strings.Repeat("1", 64), strings.Repeat("1", 65): "", `1e3`: "", `true`: "", `"a\u007f"`: "", `"a\u001f"`: ""} {
		r, err := ParseRegistration([]byte(`{"client_id":` + lit + `}`))
		if (err == nil) != (want != "") || err == nil && r.ClientID != want {
			t.Errorf("%.20s: %+v, %v", lit, r, err)
		}
	}
	// A time is one in seconds, in milliseconds, or in words; beyond the year 9999 nothing can be written down.
	for lit, want := range map[string]int64{`100000000000`: 100000000000, `100000000001`: 100000000, `253402300799999`: 253402300799, `253402300800000`: 0, `"1970-01-01T00:00:05Z"`: 5, `"1969-12-31T00:00:00Z"`: 0, `"tomorrow"`: 0} {
		r, err := ParseRegistration([]byte(`{"client_id":"a","client_id_issued_at":` + lit + `}`))
		if err != nil || want == 0 && !r.IssuedAt.IsZero() || want != 0 && r.IssuedAt.Unix() != want {
			t.Errorf("%s: %v, %v", lit, r.IssuedAt, err)
		}
	}
}

func TestMembersOfAnObject(t *testing.T) {
	long := `["` + strings.Repeat(`x","`, 999) + `x"]`
	o, err := ParseObject([]byte(`{"s":"x","e":"","n":null,"i":7,"l":["a","",1,null,"b"],"el":[],"t":true,"f":false,"ts":"TRUE","one":1,"ones":"1","yes":"yes","max":` + long + `,"over":` + strings.Replace(long, "[", `["x",`, 1) + `}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"s": {"x"}, "e": nil, "n": nil, "i": nil, "l": {"a", "b"}, "el": {}, "t": nil, "none": nil, "over": nil} {
		if got := o.Strings(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v", name, got)
		}
	}
	if len(o.Strings("max")) != 1000 || len(o.Scopes("max")) != 1000 || o.Scopes("over") != nil {
		t.Error("lists of 1000 and more")
	}
	for name, want := range map[string]bool{"t": true, "f": false, "ts": true, "one": true, "ones": true, "yes": false, "n": false, "s": false, "none": false, "l": false} {
		if o.Bool(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	for name, want := range map[string]bool{"s": true, "e": true, "n": false, "f": true, "none": false} {
		if o.Has(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	// The deepest nesting that is read, brackets in texts not counted.
	for n, ok := range map[int]bool{99: true, 100: false} {
		body := `{"x":` + strings.Repeat("[", n) + `"\"[[{{"` + strings.Repeat("]", n) + `,"y":[[]]}`
		if _, err := ParseObject([]byte(body)); (err == nil) != ok {
			t.Errorf("%d levels and one: %v", n, err)
		}
	}
}

func TestSmallThings(t *testing.T) {
	// What is no UTF-8 is left out; the character that stands for it is one like others.
	if got := Clean("a\xffb\ufffdc\xe2\x80"); got != "ab\ufffdc" {
		t.Errorf("got %q", got)
	}
	for s, want := range map[string]bool{"": false, " ": false, "a b": false, "!": true, "~": true, "\x1f": false, "\x7f": false, `"`: false, `\`: false, "[]": true} {
		if ValidScope(s) != want {
			t.Errorf("%q: %t", s, !want)
		}
	}
	if got := PlainURL("https://h/" + strings.Repeat("x", 600)); len([]rune(got)) != 512 {
		t.Errorf("%d characters", len([]rune(got)))
	}
}
