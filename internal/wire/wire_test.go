package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var asJSON = http.Header{"Content-Type": {"application/json"}}

func TestMemberNamesAreExact(t *testing.T) {
	o, err := ParseObject([]byte(`{"authorization_servers":["https://a"],"AUTHORIZATION_SERVERS":["https://e"],"acce` + "\u017f" + `s_token":"x","to` + "\u212a" + `en_endpoint":"y"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Strings("authorization_servers"); !slices.Equal(got, []string{"https://a"}) {
		t.Errorf("got %v", got)
	}
	if o.String("access_token") != "" || o.String("token_endpoint") != "" {
		t.Error("a folded name was read")
	}
}

func TestBrokenDocumentsAreRefusedWhole(t *testing.T) {
	for name, doc := range map[string]string{
		"empty":              "",
		"blank":              " \n",
		"mark alone":         "\xef\xbb\xbf",
		"trailing text":      `{"issuer":"https://a"} garbage`,
		"two objects":        `{"issuer":"https://a"}{"issuer":"https://e"}`,
		"trailing brace":     `{"issuer":"https://a"}}`,
		"cut":                `{"issuer":"https://a"`,
		"duplicate":          `{"issuer":"https://a","issuer":"https://e"}`,
		"escaped duplicate":  `{"issuer":"https://a","issue\u0072":"https://e"}`,
		"list":               `[{"issuer":"https://a"}]`,
		"string":             `"issuer"`,
		"null":               `null`,
		"page":               `<html>{"issuer":"https://a"}</html>`,
		"not UTF-8":          "{\"issuer\":\"https://a\xff\"}",
		"UTF-16":             "\xff\xfe{\x00}\x00",
		"deep":               `{"issuer":"https://a","x":` + strings.Repeat("[", 101) + strings.Repeat("]", 101) + `}`,
		"very deep":          `{"x":` + strings.Repeat("[", MaxBody-5),
		"too long":           `{"x":"` + strings.Repeat("x", MaxBody) + `"}`,
		"missing comma":      `{"issuer":"https://a" "x":1}`,
		"control in a text":  "{\"issuer\":\"https://a\n\"}",
		"name without value": `{"issuer"}`,
		"no issuer":          `{"token_endpoint":"https://a/t"}`,
		"issuer is a list":   `{"issuer":["https://a"]}`,
		"issuer is a number": `{"issuer":1}`,
		"issuer is null":     `{"issuer":null}`,
	} {
		start := time.Now()
		if m, err := ParseServerMetadata([]byte(doc)); err == nil {
			t.Errorf("%s: accepted as %+v", name, m)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

func TestAByteOrderMarkIsAccepted(t *testing.T) {
	if m, err := ParseServerMetadata([]byte("\xef\xbb\xbf {\"issuer\":\"https://a\"}\r\n")); err != nil || m.Issuer != "https://a" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := ParseToken(200, asJSON, []byte("\xef\xbb\xbf"+`{"access_token":"a","token_type":"Bearer"}`), received); err != nil {
		t.Error(err)
	}
}

// It has a row in docs/compatibility.md.
func TestOddTypesInMetadata(t *testing.T) {
	m, err := ParseServerMetadata([]byte(`{"issuer":"https://a","scopes_supported":"a b","response_types_supported":"code","grant_types_supported":null,
		"response_modes_supported":[],"token_endpoint_auth_methods_supported":["none",7,null,"x_unheard_of",{}],"token_endpoint":7,"jwks_uri":[],
		"require_pushed_authorization_requests":"true","client_id_metadata_document_supported":1,"authorization_response_iss_parameter_supported":"no",
		"ui_locales_supported":"en","op_tos_uri":["x"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for what, ok := range map[string]bool{
		"scopes": slices.Equal(m.ScopesSupported, []string{"a", "b"}), "response types": slices.Equal(m.ResponseTypesSupported, []string{"code"}),
		"null list": m.GrantTypesSupported == nil, "empty list": m.ResponseModesSupported != nil && len(m.ResponseModesSupported) == 0,
		"mixed list": slices.Equal(m.TokenEndpointAuthMethodsSupported, []string{"none", "x_unheard_of"}), "number for a string": m.TokenEndpoint == "",
		"list for a string": m.JWKSURI == "", "string for true": m.RequirePushedAuthorizationRequests, "1 for true": m.ClientIDMetadataDocumentSupported,
		"text for a boolean": !m.AuthorizationResponseIssParameterSupported,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, m)
		}
	}
}

func TestHostileScopesAreNotTaken(t *testing.T) {
	for _, s := range []string{"a b\tc", `a "d`, "a\nb", "a\x00b", `a\b`, "ä", "a\x7f", strings.Repeat("a ", 101), strings.Repeat("a", 4097)} {
		if got, err := ParseScope(s); err == nil {
			t.Errorf("%.20q became %v", s, got)
		}
	}
	if got, err := ParseScope("  a  b:c/d?e=f&redirect_uri=x "); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	m, err := ParseResourceMetadata([]byte(`{"resource":"https://a","scopes_supported":["ok",1,null,"a b","c\nd","\"",{}]}`))
	if err != nil || !slices.Equal(m.ScopesSupported, []string{"ok", "a", "b", "c", "d"}) {
		t.Errorf("%v, %v", m.ScopesSupported, err)
	}
}

func TestLifetimes(t *testing.T) {
	const unknown = -1
	const years5 = 5 * 365 * 24 * 3600
	for lit, want := range map[string]int64{
		`3600`: 3600, `"3600"`: 3600, `" 3600"`: 3600, `3600.5`: 3600, `1e3`: 1000, `"1e3"`: 1000,
		`0`: 0, `-1`: 0, `-3600`: 0, `-4294963696`: 0, `"-5"`: 0, `0.4`: 0,
		`null`: unknown, `""`: unknown, `"3600abc"`: unknown, `"abc"`: unknown, `true`: unknown, `[]`: unknown, `{}`: unknown, `"NaN"`: unknown, `"Inf"`: unknown, `"0x10"`: unknown, `"1_0"`: unknown,
		// A lifetime that cannot be is unknown: a century and more, a time since 1970, milliseconds, nanoseconds.
		`9999999999999`: unknown, `1e12`: unknown, `1e400`: unknown, `9223372036854775807`: unknown, `9223372036854775808`: unknown, `-1e400`: 0,
		`2147483648`: unknown, `9007199254740993`: unknown, `1000000000000`: unknown, `3153600000`: unknown, `1764223467`: unknown, `1764223467000`: unknown,
		`3600000`: unknown, `"3600000"`: unknown, `3.6e6`: unknown, `86400000`: unknown, `900000`: unknown, `3600000000000`: unknown, `3600000000`: unknown,
		// These are long, and may be.
		`2592000`: 2592000, `5184000`: 5184000, `7776000`: 7776000, `31536000`: 31536000, `864001`: 864001, `180000`: 180000, `604800`: 604800, `1209600`: 1209600,
		`157679999`: years5 - 1, `157680000`: unknown, `157680001`: unknown, `315360000`: unknown,
		// Milliseconds: 5, 10, 14 and 15 minutes, an hour and a half, 6 hours, a day.
		`300000`: unknown, `600000`: unknown, `840000`: unknown, `5400000`: unknown, `21600000`: unknown,
	} {
		tok, err := ParseToken(200, asJSON, []byte(`{"access_token":"a","token_type":"Bearer","expires_in":`+lit+`}`), received)
		if err != nil {
			t.Errorf("%s: %v", lit, err)
			continue
		}
		if want == unknown {
			if !tok.Expiry.IsZero() || len(tok.Notes) == 0 != (lit == "null") {
				t.Errorf("%s: %v, want unknown; notes %q", lit, tok.Expiry, tok.Notes)
			}
			continue
		}
		if got := tok.Expiry; !got.Equal(received.Add(time.Duration(want) * time.Second)) {
			t.Errorf("%s: %v after it was received, want %d s", lit, got.Sub(received), want)
		}
		if _, err := json.Marshal(tok.Expiry); err != nil {
			t.Errorf("%s: the expiry cannot be saved: %v", lit, err)
		}
	}
	tok, err := ParseToken(200, http.Header{}, []byte("access_token=a&token_type=bearer&expires_in=99999999999"), received)
	if err != nil || !tok.Expiry.IsZero() || len(tok.Notes) != 1 || !strings.Contains(tok.Notes[0], "99999999999") {
		t.Errorf("form: %+v, %v", tok, err)
	}
}

func TestTheExpiryIsAWallClockTime(t *testing.T) {
	tok, err := ParseToken(200, asJSON, []byte(`{"access_token":"a","token_type":"Bearer","expires_in":60}`), time.Now())
	if err != nil || strings.Contains(tok.Expiry.String(), "m=") {
		t.Errorf("%v, %v", tok.Expiry, err)
	}
}

func TestTokenTypes(t *testing.T) {
	for lit, ok := range map[string]bool{
		`"bearer"`: true, `"BEARER"`: true, `"Bearer"`: true, `null`: true,
		`"DPoP"`: true, `"dpop"`: true, `""`: false, `"N_A"`: false, `"mac"`: false, `"Basic"`: false, `"Bearer\r\nX-Evil: 1"`: false, `7`: false, `"bea` + "\u027f" + `er"`: false, `["Bearer"]`: false,
	} {
		tok, err := ParseToken(200, asJSON, []byte(`{"access_token":"a","token_type":`+lit+`}`), received)
		if (err == nil) != ok {
			t.Errorf("%s: %v", lit, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: the error has several lines", lit)
		}
		want := "Bearer"
		if strings.EqualFold(lit, `"dpop"`) {
			want = "DPoP"
		}
		if ok && tok.TokenType != want {
			t.Errorf("%s: became %q", lit, tok.TokenType)
		}
	}
	tok, err := ParseToken(200, asJSON, []byte(`{"access_token":"a"}`), received)
	if err != nil || len(tok.Notes) != 1 {
		t.Errorf("an absent type is noted: %+v, %v", tok, err)
	}
}

func TestWhatIsNoToken(t *testing.T) {
	const secretText = "CANARY-secret"
	for name, c := range map[string]struct {
		status    int
		header    http.Header
		body      string
		code      string
		temporary bool
	}{
		"empty":                 {200, asJSON, "", "", false},
		"no content":            {204, http.Header{}, "", "", false},
		"empty object":          {200, asJSON, "{}", "", false},
		"only an id_token":      {200, asJSON, `{"id_token":"CANARY-secret","token_type":"Bearer"}`, "", false},
		"empty access_token":    {200, asJSON, `{"access_token":"","token_type":"Bearer"}`, "", false},
		"number":                {200, asJSON, `{"access_token":7,"token_type":"Bearer"}`, "", false},
		"line break in a token": {200, asJSON, `{"access_token":"CANARY-secret\r\nX: y","token_type":"Bearer"}`, "", false},
		"huge token":            {200, asJSON, `{"access_token":"` + strings.Repeat("x", 70<<10) + `","token_type":"Bearer"}`, "", false},
		"page":                  {200, http.Header{"Content-Type": {"text/html"}}, "<html>CANARY-secret</html>", "", true},
		"page called JSON":      {200, asJSON, "<!doctype html>", "", true},
		"firewall page":         {403, http.Header{"Content-Type": {"text/html"}}, "<html>", "", true},
		"page: not found":       {404, http.Header{"Content-Type": {"text/html"}}, "<html>", "", false},
		"UTF-16":                {200, http.Header{"Content-Type": {"application/json; charset=utf-16"}}, "\xff\xfe{\x00}\x00", "", false},
		"JWT":                   {200, http.Header{"Content-Type": {"application/jwt"}}, "eyJh.CANARY-secret.x", "", false},
		"form with duplicates":  {200, http.Header{}, "access_token=CANARY-secret&access_token=b", "", false},
		"GitHub's client error": {200, asJSON, `{"error":"incorrect_client_credentials"}`, "invalid_client", false},
		"GitHub's refresh":      {200, asJSON, `{"error":"bad_refresh_token"}`, "invalid_grant", false},
		"Slack's code error":    {200, asJSON, `{"ok":false,"error":"invalid_code"}`, "invalid_grant", false},
		"Slack's limit":         {200, asJSON, `{"ok":false,"error":"ratelimited"}`, "temporarily_unavailable", true},
		"Slack says no more":    {200, asJSON, `{"ok":false}`, "", false},
		"401 invalid_grant":     {401, asJSON, `{"error":"invalid_grant"}`, "invalid_grant", false},
		"500 invalid_grant":     {500, asJSON, `{"error":"invalid_grant"}`, "invalid_grant", false},
		"unknown word, 400":     {400, asJSON, `{"error":"Error","error_description":"no"}`, "Error", false},
		"unknown word, 503":     {503, asJSON, `{"error":"Error"}`, "Error", true},
		"server_error in a 400": {400, asJSON, `{"error":"server_error"}`, "server_error", true},
		"slow_down":             {400, asJSON, `{"error":"slow_down"}`, "slow_down", true},
		"list of errors":        {400, asJSON, `[{"message":"no"}]`, "", false},
		"list, with a code":     {400, asJSON, `[{"error":"invalid_grant"}]`, "invalid_grant", false},
		"deep list":             {400, asJSON, strings.Repeat("[", 200_000), "", false},
		"error is an object":    {400, asJSON, `{"error":{"code":"invalid_grant","message":"no"}}`, "invalid_grant", false},
		"plain text":            {400, http.Header{"Content-Type": {"text/plain"}}, "CANARY-secret", "", false},
		"429":                   {429, http.Header{}, "", "", true},
		"408":                   {408, http.Header{}, "", "", true},
		"425":                   {425, http.Header{}, "", "", true},
		"503":                   {503, asJSON, "{}", "", true},
	} {
		tok, err := ParseToken(c.status, c.header, []byte(c.body), received)
		var f *Fault
		if tok != nil || !errors.As(err, &f) {
			t.Errorf("%s: %+v, %v", name, tok, err)
			continue
		}
		if f.Code != c.code || f.Temporary != c.temporary || f.Message == "" || f.Status != c.status {
			t.Errorf("%s: %+v", name, f)
		}
		if all := fmt.Sprintf("%+v %v", *f, f); strings.Contains(all, secretText) {
			t.Errorf("%s: a secret or a body is in %s", name, all)
		}
	}
}

func TestAnEmptyErrorMemberIsNoError(t *testing.T) {
	for _, lit := range []string{`""`, `null`, `false`} {
		if _, err := ParseToken(200, asJSON, []byte(`{"access_token":"a","token_type":"Bearer","error":`+lit+`}`), received); err != nil {
			t.Errorf("%s: %v", lit, err)
		}
	}
}

func TestAnOddRefreshTokenDoesNotCostTheAccessToken(t *testing.T) {
	for _, lit := range []string{`"a\nb"`, `"ä"`, `7`, `null`, `""`, `["x"]`, `"` + strings.Repeat("x", 70<<10) + `"`} {
		tok, err := ParseToken(201, asJSON, []byte(`{"access_token":"a","token_type":"Bearer","refresh_token":`+lit+`}`), received)
		if err != nil || !tok.RefreshToken.IsZero() {
			t.Errorf("%.20s: %+v, %v", lit, tok, err)
		}
	}
}

func TestGrantedScopesInEveryShape(t *testing.T) {
	for lit, want := range map[string][]string{
		`"a b"`: {"a", "b"}, `["a","b"]`: {"a", "b"}, `["a b","c"]`: {"a", "b", "c"}, `"a,b"`: {"a", "b"}, `"a,,b,"`: {"a", "b"}, `"a b,c"`: {"a", "b,c"},
		`""`: nil, `null`: nil, `[]`: nil, `7`: nil, `"a\nb"`: nil, `","`: nil,
	} {
		tok, err := ParseToken(200, asJSON, []byte(`{"access_token":"a","token_type":"Bearer","scope":`+lit+`}`), received)
		if err != nil || !slices.Equal(tok.Scope, want) || tok.ScopePresent != (want != nil) {
			t.Errorf("%s: %+v, %v", lit, tok, err)
		}
	}
}

func TestErrorTextsAreHarmless(t *testing.T) {
	for _, text := range []string{
		"\x1b[2Jx", "\x1b]0;t\x07x", "\u009b31mx", "\x9b31m", "a\r\nb 2026-01-01 INFO login ok", "a\bb", "a\x7fb", "a\u202eb\u2066c", "a\u200bb", "a\u2028b",
		"a\x00b", "\ufe0fb", "\U000e0041b", strings.Repeat("x", 1<<20), strings.Repeat("\u200b", 1<<19), "a\xffb",
	} {
		for _, got := range []string{Clean(text), ParseOAuthError(400, asJSON, []byte(`{"error":`+quoted(text)+`,"error_description":`+quoted(text)+`}`)).Error()} {
			if strings.ContainsAny(got, "\x00\x07\x08\r\n\x1b\x7f\u009b\u202e\u2066\u200b\u2028\ufe0f") || !utf8.ValidString(got) || utf8.RuneCountInString(got) > 400 {
				t.Errorf("%.20q became %.80q", text, got)
			}
		}
		if n := utf8.RuneCountInString(Clean(text)); n > 200 {
			t.Errorf("%.20q became %d characters", text, n)
		}
	}
	if got := CleanN("  héllo \t wörld ", 5); got != "héll…" {
		t.Errorf("got %q", got)
	}
	if got := Clean(" two\n words  "); got != "two words" {
		t.Errorf("got %q", got)
	}
	if got := CleanN("exact", 5) + CleanN("x", 0); got != "exact" {
		t.Errorf("got %q", got)
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestOnlyHTTPSErrorPagesAreNamed(t *testing.T) {
	for uri, want := range map[string]string{"javascript:alert(1)": "", "http://a/e": "", "https://a/e": "https://a/e"} {
		if f := ParseOAuthError(400, asJSON, []byte(`{"error":"x","error_uri":`+quoted(uri)+`}`)); f.URI != want {
			t.Errorf("%s became %q", uri, f.URI)
		}
	}
}

func TestAnErrorInsideASuccess(t *testing.T) {
	if f := ErrorIn(200, asJSON, []byte(`{"error":"unsupported_token_type"}`)); f == nil || f.Code != "unsupported_token_type" {
		t.Errorf("%+v", f)
	}
	for _, body := range []string{"", "{}", `{"ok":true}`, "OK", "<html>"} {
		if f := ErrorIn(200, http.Header{}, []byte(body)); f != nil {
			t.Errorf("%q: %+v", body, f)
		}
	}
}

func TestTheResourceIndicatorIsNamedWhereItIsTheTrouble(t *testing.T) {
	for _, body := range []string{`{"error":"invalid_target"}`, `{"error":"invalid_request","error_description":"AADSTS901002: The 'resource' request parameter is not supported."}`, `{"error":"invalid_grant","error_description":"AADSTS9010010"}`} {
		if f := ParseOAuthError(400, asJSON, []byte(body)); !strings.Contains(f.Hint, "--no-resource (Options.Server.NoResource)") {
			t.Errorf("%s: %+v", body, f)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "2": 2 * time.Second, " 2 ": 2 * time.Second, "0": 0, "-1": 0, "-9223372036854775807": 0, "-99999999999999999999": 0, "abc": 0, "1.5": 0, "1e9": 0,
		"1000000000": time.Minute, "9223372036854775807": time.Minute, "99999999999999999999": time.Minute, "60": time.Minute, "61": time.Minute,
		"Thu, 01 Oct 2026 12:00:30 GMT": 30 * time.Second, "Thu, 01 Oct 2026 11:00:30 GMT": 0, "Thu, 01 Oct 2099 12:00:30 GMT": time.Minute,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {v}}, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
	if f := ParseOAuthError(429, http.Header{"Retry-After": {"7"}}, nil); !f.Temporary || f.RetryAfter != 7*time.Second {
		t.Errorf("%+v", f)
	}
}

func TestRegistrationAnswers(t *testing.T) {
	for name, doc := range map[string]string{
		"no client_id": `{}`, "empty": `{"client_id":""}`, "null": `{"client_id":null}`, "object": `{"client_id":{}}`, "negative": `{"client_id":-1}`, "fraction": `{"client_id":1.5}`,
		"huge": `{"client_id":"` + strings.Repeat("x", 1<<19) + `"}`, "line break": `{"client_id":"a\r\nb"}`, "not ASCII": `{"client_id":"ä"}`,
		"secret with a line break": `{"client_id":"a","client_secret":"a\nb"}`, "list": `[]`, "deep": `{"x":` + strings.Repeat("[", MaxBody/2),
	} {
		if r, err := ParseRegistration([]byte(doc)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	r, err := ParseRegistration([]byte(`{"client_id":12345678901234567890,"client_secret":null,"client_uri":"","jwks_uri":null,"jwks":{},"grant_types":["authorization_code","x"],
		"scope":["a","b"],"client_id_issued_at":1.7e9,"issuer":"https://honest","registration_access_token":"a\nb","registration_client_uri":"https://e/x"}`))
	if err != nil || r.ClientID != "12345678901234567890" || r.Scope != "a b" || len(r.GrantTypes) != 2 || !r.ClientSecret.IsZero() || r.IssuedAt.Unix() != 1.7e9 || !r.RegistrationAccessToken.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSecretExpiry(t *testing.T) {
	for lit, want := range map[string]int64{
		`0`: 0, `-1`: 0, `"abc"`: 0, `null`: 0, `1e18`: 0, `1e300`: 0, `[]`: 0, `1`: 1, `1700000000`: 1700000000, `"1700000000"`: 1700000000,
		`1.7e12`: 1700000000, `1700000000000`: 1700000000, `"2023-11-14T22:13:20Z"`: 1700000000,
	} {
		r, err := ParseRegistration([]byte(`{"client_id":"a","client_secret":"s","client_secret_expires_at":` + lit + `}`))
		if err != nil {
			t.Errorf("%s: %v", lit, err)
			continue
		}
		if want == 0 && !r.SecretExpiry.IsZero() || want != 0 && r.SecretExpiry.Unix() != want {
			t.Errorf("%s: %v", lit, r.SecretExpiry)
		}
		if _, err := json.Marshal(r.SecretExpiry); err != nil {
			t.Errorf("%s: %v", lit, err)
		}
	}
}

func TestPlainURLsHoldNoSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"https://h:8/a%2fb?api_key=SECRET#x": "https://h:8/a%2fb", "https://user:SECRET@h/": "https://h/", "SECRET": "(not a URL)", "%zz": "(not a URL)", "mailto:SECRET@h": "(not a URL)",
		"https://h/\u202e": "https://h/%E2%80%AE",
	} {
		if got := PlainURL(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestAFaultInWords(t *testing.T) {
	cause := errors.New("cause")
	f := &Fault{Message: "the token endpoint refused", Status: 400, Code: "invalid_grant", Description: "no", Err: cause}
	if got, want := f.Error(), `the token endpoint refused (status 400): invalid_grant: "no"`; got != want || !errors.Is(f, cause) {
		t.Errorf("got %s", got)
	}
}

func TestManyMembersAreReadInTime(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"scopes_supported":["` + strings.Repeat(`a","`, 100_000) + `a"]`)
	for i := range 40_000 {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	b.WriteString(`,"issuer":"https://a"}`)
	start := time.Now()
	if _, err := ParseServerMetadata([]byte(b.String())); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestShellWord: what a server says of itself may stand in a command that a person copies.
func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"https://as.example/t": "https://as.example/t", "": "''", "https://a;id": "'https://a;id'", "a'$(id)'": `'a'\''$(id)'\'''`, "a\nb\x1b[2J": "",
	} {
		got := ShellWord(in)
		if want != "" && got != want || strings.ContainsAny(got, "\n\x1b") {
			t.Errorf("%q: %s", in, got)
		}
	}
}

// TestALifetimeIsCheckedByTheTokensClaims: they shorten it and lengthen it never.
func TestALifetimeIsCheckedByTheTokensClaims(t *testing.T) {
	for name, tc := range map[string]struct {
		said                 string
		issued, expiry, want time.Duration // after it was received; 0 is unknown
		note                 string
	}{
		"nanoseconds":              {"8000000000", 0, 8 * time.Second, 8 * time.Second, "8000000000"},
		"no lifetime":              {"", -time.Minute, time.Hour, time.Hour + time.Minute, ""},
		"by the server's clock":    {"", 10 * time.Hour, 11 * time.Hour, time.Hour, ""},
		"a longer one":             {"86400", 0, time.Hour, time.Hour, "24h0m0s"},
		"the same":                 {"3600", 0, time.Hour, time.Hour, ""},
		"a little longer":          {"3600", 0, 59*time.Minute + 30*time.Second, time.Hour, ""},
		"a shorter one":            {"60", 0, time.Hour, time.Minute, ""},
		"an end in the past":       {"3600", 0, -time.Hour, time.Hour, ""},
		"before it was issued":     {"", time.Hour, time.Minute, time.Minute, ""},
		"claims that cannot be":    {"", 0, 20 * 365 * 24 * time.Hour, 0, ""},
		"short ones":               {"60", 0, 8 * time.Second, 8 * time.Second, "1m0s"},
		"milliseconds of a day":    {"86400000", 0, 24 * time.Hour, 24 * time.Hour, "86400000"},
		"over at once":             {"0", 0, time.Hour, 0, "0"},
		"odd milliseconds":         {"3599999", 0, time.Hour, time.Hour, "999h59m59s"},
		"an old one, handed again": {"600", -3000 * time.Second, 600 * time.Second, 10 * time.Minute, ""},
	} {
		body := `{"access_token":"a","token_type":"Bearer"}`
		if tc.said != "" {
			body = `{"access_token":"a","token_type":"Bearer","expires_in":` + tc.said + `}`
		}
		tok, err := ParseToken(200, asJSON, []byte(body), received)
		if err != nil {
			t.Fatal(err)
		}
		issued := time.Time{}
		if tc.issued != 0 {
			issued = received.Add(tc.issued)
		}
		tok.CheckLifetime(issued, received.Add(tc.expiry), received)
		if tc.want == 0 && !tok.Expiry.IsZero() && name != "over at once" || tc.want != 0 && !tok.Expiry.Equal(received.Add(tc.want)) {
			t.Errorf("%s: it expires %v after it was received", name, tok.Expiry.Sub(received))
		}
		if notes := strings.Join(tok.Notes, "; "); (notes == "") != (tc.note == "") || !strings.Contains(notes, tc.note) {
			t.Errorf("%s: notes %q", name, notes)
		}
	}
	tok := &Token{}
	if tok.CheckLifetime(received, time.Time{}, received); !tok.Expiry.IsZero() {
		t.Error("a claim that is not there counts")
	}
}

// TestTheLifetimeOfARefreshToken has several names and none in a specification.
func TestTheLifetimeOfARefreshToken(t *testing.T) {
	for members, want := range map[string]struct {
		life    time.Duration
		present bool
		notes   int
	}{
		`"refresh_expires_in":1800`:                                    {30 * time.Minute, true, 0},
		`"refresh_expires_in":0`:                                       {0, true, 0},
		`"refresh_token_expires_in":"15811200"`:                        {15811200 * time.Second, true, 0},
		`"x_refresh_token_expires_in":8726400.5`:                       {8726400 * time.Second, true, 0},
		`"refresh_expires_in":null`:                                    {0, false, 0},
		`"x":1`:                                                        {0, false, 0},
		`"refresh_expires_in":-1`:                                      {0, false, 1},
		`"refresh_expires_in":"soon"`:                                  {0, false, 1},
		`"refresh_expires_in":1800000000000`:                           {0, false, 1},
		`"refresh_expires_in":3600000`:                                 {0, false, 1},
		`"refresh_expires_in":[],"refresh_token_expires_in":60`:        {time.Minute, true, 1},
		`"refresh_token_expires_in":1764223467`:                        {0, false, 1},
		`"refresh_expires_in":86400,"x_refresh_token_expires_in":1000`: {24 * time.Hour, true, 0},
	} {
		tok, err := ParseToken(200, asJSON, []byte(tokenWith(members)), received)
		if err != nil || tok.RefreshExpiryPresent != want.present || len(tok.Notes) != want.notes {
			t.Errorf("%s: %+v, %v", members, tok, err)
			continue
		}
		if want.life == 0 && !tok.RefreshExpiry.IsZero() || want.life != 0 && !tok.RefreshExpiry.Equal(received.Add(want.life)) {
			t.Errorf("%s: it expires at %v", members, tok.RefreshExpiry)
		}
	}
}
