package challenge

import (
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	params := func(kv ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	basic := func(kv ...string) Challenge { return Challenge{Scheme: "basic", Params: params(kv...)} }
	bearer := func(kv ...string) Challenge { return Challenge{Scheme: "bearer", Params: params(kv...)} }
	dpop := func(kv ...string) Challenge { return Challenge{Scheme: "dpop", Params: params(kv...)} }
	broken := func(scheme string, kv ...string) Challenge {
		c := Challenge{Scheme: scheme, Broken: true}
		if len(kv) > 0 {
			c.Params = params(kv...)
		}
		return c
	}
	bare := Challenge{Scheme: "bearer"}
	for name, tc := range map[string]struct {
		lines []string
		want  []Challenge
	}{
		"no header":                         {nil, nil},
		"an empty line":                     {[]string{""}, nil},
		"only separators":                   {[]string{" \t,, ,", ","}, nil},
		"a scheme alone":                    {[]string{"Bearer"}, []Challenge{bare}},
		"the scheme in another case":        {[]string{"bEARER realm=x"}, []Challenge{bearer("realm", "x")}},
		"names in another case":             {[]string{`Bearer Realm="x", SCOPE="a b"`}, []Challenge{bearer("realm", "x", "scope", "a b")}},
		"no spaces after the commas":        {[]string{`Bearer realm="https://x.example/token",service="x",scope="a:b:pull,push"`}, []Challenge{bearer("realm", "https://x.example/token", "service", "x", "scope", "a:b:pull,push")}},
		"empty list elements":               {[]string{`, ,Bearer , realm="x",, scope=y ,`}, []Challenge{bearer("realm", "x", "scope", "y")}},
		"white space around the equal sign": {[]string{"Bearer realm =\t\"x\" , scope= y\t,\terror=\te\tclaims=c"}, []Challenge{bearer("realm", "x", "scope", "y", "error", "e", "claims", "c")}},
		"no comma between parameters":       {[]string{`Bearer realm="x" scope="y"`}, []Challenge{bearer("realm", "x", "scope", "y")}},
		"an empty value":                    {[]string{`Bearer realm="", scope=`}, []Challenge{bearer("realm", "", "scope", "")}},
		"every character of a name":         {[]string{"Bearer a!#$%&'*+-.^_`|~z09=1"}, []Challenge{bearer("a!#$%&'*+-.^_`|~z09", "1")}},

		// Quoted strings.
		"a comma within quotes":                    {[]string{`Bearer realm="a, b", scope="c"`}, []Challenge{bearer("realm", "a, b", "scope", "c")}},
		"a scheme within quotes":                   {[]string{`Bearer realm="Basic realm=\"x\", Digest", scope="c"`}, []Challenge{bearer("realm", `Basic realm="x", Digest`, "scope", "c")}},
		"a parameter within the text of another":   {[]string{`Bearer error_description="try scope=\"all\", resource_metadata=\"https://evil.example\"", scope="a"`}, []Challenge{bearer("error_description", `try scope="all", resource_metadata="https://evil.example"`, "scope", "a")}},
		"escapes":                                  {[]string{`Bearer realm="a\\b\"c"`}, []Challenge{bearer("realm", `a\b"c`)}},
		"an escape that nothing needs":             {[]string{`Bearer realm="\a\,"`}, []Challenge{bearer("realm", "a,")}},
		"bytes beyond ASCII and NUL within quotes": {[]string{"Bearer realm=\"caf\xe9 ü\x00\", scope=y"}, []Challenge{bearer("realm", "caf\xe9 ü\x00", "scope", "y")}},
		"a quote that never closes": {
			[]string{`Bearer scope="a", realm="x`, `DPoP algs="ES256"`},
			[]Challenge{broken("bearer", "scope", "a"), dpop("algs", "ES256")},
		},
		"a quote that never closes takes the line": {[]string{`Bearer realm="x, DPoP algs=ES256`}, []Challenge{broken("bearer")}},
		"a line that ends in an escape":            {[]string{`Bearer realm="x\`}, []Challenge{broken("bearer")}},
		"the other challenges of its line stay":    {[]string{`Basic realm=b, Bearer realm="x`}, []Challenge{basic("realm", "b"), broken("bearer")}},

		// What servers write against the grammar.
		"a URL without quotes":             {[]string{`Bearer resource_metadata=https://x.example/y?a=b, error="e"`}, []Challenge{bearer("resource_metadata", "https://x.example/y?a=b", "error", "e")}},
		"padding without quotes":           {[]string{`Bearer claims=eyJ9fQ==, error=e`}, []Challenge{bearer("claims", "eyJ9fQ==", "error", "e")}},
		"bytes beyond ASCII, not quoted":   {[]string{"Bearer realm=caf\xe9, scope=y"}, []Challenge{bearer("realm", "caf\xe9", "scope", "y")}},
		"single quotes":                    {[]string{`Bearer resource_metadata = 'https://x.example/a,b', error=e`}, []Challenge{bearer("resource_metadata", "https://x.example/a,b", "error", "e")}},
		"single quotes that hold a space":  {[]string{`Bearer scope='read write'`}, []Challenge{bearer("scope", "read write")}},
		"a single quote that never closes": {[]string{`Bearer scope='x, error=e`}, []Challenge{bearer("scope", "'x", "error", "e")}},
		"an apostrophe in a value":         {[]string{`Bearer error_description=it's, error='e'`}, []Challenge{bearer("error_description", "it's", "error", "e")}},
		"a name without a value":           {[]string{`Bearer realm="x", insufficient, scope=y`}, []Challenge{bearer("realm", "x"), {Scheme: "insufficient", Params: params("scope", "y")}}},
		"a no-break space":                 {[]string{"Bearer\u00a0realm=\"x, y\", scope=z"}, []Challenge{bearer("scope", "z")}},

		// Several challenges.
		"two schemes on a line":       {[]string{`Basic realm="b", Bearer realm="x", scope="y"`}, []Challenge{basic("realm", "b"), bearer("realm", "x", "scope", "y")}},
		"two lines":                   {[]string{`Basic realm="b"`, `Bearer scope="y"`}, []Challenge{basic("realm", "b"), bearer("scope", "y")}},
		"schemes without parameters":  {[]string{`Negotiate, NTLM, Bearer scope=y`}, []Challenge{{Scheme: "negotiate"}, {Scheme: "ntlm"}, bearer("scope", "y")}},
		"no comma before a scheme":    {[]string{`Basic realm="b" Bearer scope="y"`}, []Challenge{basic("realm", "b"), bearer("scope", "y")}},
		"no comma between schemes":    {[]string{`Negotiate Bearer scope="y"`}, []Challenge{{Scheme: "negotiate"}, bearer("scope", "y")}},
		"no comma before the last":    {[]string{`Negotiate Bearer`}, []Challenge{{Scheme: "negotiate"}, bare}},
		"the same challenge twice":    {[]string{`Bearer scope="y"`, `Bearer scope="y"`}, []Challenge{bearer("scope", "y"), bearer("scope", "y")}},
		"a line carries nothing over": {[]string{`Bearer `, `realm=x`}, []Challenge{bare}},

		// Token68.
		"a token68 before Bearer":     {[]string{`Negotiate YII+/w==, Bearer scope="y"`}, []Challenge{{Scheme: "negotiate", Token68: "YII+/w=="}, bearer("scope", "y")}},
		"a token68 on its own line":   {[]string{`Negotiate YII=`, `Bearer scope="y"`}, []Challenge{{Scheme: "negotiate", Token68: "YII="}, bearer("scope", "y")}},
		"a token68 of Bearer":         {[]string{`Bearer abc==`}, []Challenge{{Scheme: "bearer", Token68: "abc=="}}},
		"a token68 without padding":   {[]string{`Negotiate TlRMTVNTUACAAAAHgAeADgA, Basic realm="b"`}, []Challenge{{Scheme: "negotiate", Token68: "TlRMTVNTUACAAAAHgAeADgA"}, basic("realm", "b")}},
		"a token68 in base64url":      {[]string{`Negotiate a-b_c~d.e1 ,Bearer`}, []Challenge{{Scheme: "negotiate", Token68: "a-b_c~d.e1"}, bare}},
		"a parameter is no token68":   {[]string{`Bearer scope=y`}, []Challenge{bearer("scope", "y")}},
		"a spaced one is none either": {[]string{`Bearer scope =y`}, []Challenge{bearer("scope", "y")}},

		// Duplicates.
		"a parameter twice":             {[]string{`Bearer scope="a", scope="b"`}, []Challenge{broken("bearer", "scope", "a")}},
		"twice in two cases":            {[]string{`Bearer Scope=a, sCOPE=a`}, []Challenge{broken("bearer", "scope", "a")}},
		"twice, the first one empty":    {[]string{`Bearer scope="", scope=b`}, []Challenge{broken("bearer", "scope", "")}},
		"twice, then a sound challenge": {[]string{`Basic realm=a, realm=b, Bearer scope=y`}, []Challenge{broken("basic", "realm", "a"), bearer("scope", "y")}},
		"once in each of two":           {[]string{`Basic realm=a, Bearer realm=b`}, []Challenge{basic("realm", "a"), bearer("realm", "b")}},

		// Garbage.
		"garbage only":                {[]string{"=", `"`, `"\`, "{}", "\x00\xff", `==, ="x"`, "/"}, nil},
		"garbage before a challenge":  {[]string{`;;; "x, Bearer" , Bearer scope=y`}, []Challenge{bearer("scope", "y")}},
		"garbage between parameters":  {[]string{`Bearer realm="x", {"a": "b, scope=evil"}, scope=y`}, []Challenge{bearer("realm", "x", "scope", "y")}},
		"a parameter without scheme":  {[]string{`scope=x`}, nil},
		"one before the first scheme": {[]string{`scope=x, Bearer realm=y`}, []Challenge{bearer("realm", "y")}},

		// The examples of RFC 9110 section 11.6.1, RFC 6750 section 3, RFC 9449 section 7.1, RFC 9470
		// section 3 and RFC 9728 section 5.1.
		"Basic and a new scheme": {
			[]string{`Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""`},
			[]Challenge{basic("realm", "simple"), {Scheme: "newauth", Params: params("realm", "apps", "type", "1", "title", `Login to "apps"`)}},
		},
		"an expired token": {
			[]string{`Bearer realm="example", error="invalid_token", error_description="The access token expired"`},
			[]Challenge{bearer("realm", "example", "error", "invalid_token", "error_description", "The access token expired")},
		},
		"a DPoP key of another token": {
			[]string{`DPoP error="invalid_token", error_description="Invalid DPoP key binding", algs="ES256"`},
			[]Challenge{dpop("error", "invalid_token", "error_description", "Invalid DPoP key binding", "algs", "ES256")},
		},
		"a login too long ago": {
			[]string{`Bearer error="insufficient_user_authentication", error_description="More recent authentication is required", max_age="5"`},
			[]Challenge{bearer("error", "insufficient_user_authentication", "error_description", "More recent authentication is required", "max_age", "5")},
		},
		"where the metadata is": {
			[]string{`Bearer resource_metadata="https://resource.example.com/.well-known/oauth-protected-resource"`},
			[]Challenge{bearer("resource_metadata", "https://resource.example.com/.well-known/oauth-protected-resource")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Parse(tc.lines); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// TestHeaders are challenges as servers send them.
//
// It has a row in docs/compatibility.md.
func TestHeaders(t *testing.T) {
	b, err := os.ReadFile("../../testdata/challenges.json")
	if err != nil {
		t.Fatal(err)
	}
	var field []struct {
		Name, Header string
		Params       map[string]string
	}
	if err := json.Unmarshal(b, &field); err != nil {
		t.Fatal(err)
	}
	const wellKnown = "/.well-known/oauth-protected-resource"
	want := map[string]Bearer{
		"atlassian":                {ResourceMetadata: "https://mcp.atlassian.com" + wellKnown + "/v2/mcp"},
		"dropbox":                  {ResourceMetadata: "https://mcp.dropbox.com" + wellKnown + "/mcp", Error: "invalid_token", ErrorDescription: "missing bearer token"},
		"linear-bad-token":         {Realm: "OAuth", ResourceMetadata: "https://mcp.linear.app" + wellKnown + "/mcp", Error: "invalid_token", Scope: "read write"},
		"microsoft-cae":            {Error: "insufficient_claims", Claims: "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiY3AxIn19fQ=="},
		"microsoft-graph-claims":   {Error: "insufficient_claims", Claims: `{"access_token":{"polids":{"essential":true,"values":["<GUID>"]}}}`},
		"microsoft-workiq":         {ResourceMetadata: "https://workiq.svc.cloud.microsoft" + wellKnown + "/mcp"},
		"monday":                   {ResourceMetadata: "https://mcp.monday.com" + wellKnown + "/mcp"},
		"paypal":                   {Realm: "OAuth", ResourceMetadata: "https://mcp.paypal.com" + wellKnown + "/mcp", Error: "invalid_token", ErrorDescription: "Missing or invalid access token"},
		"slack":                    {ResourceMetadata: "https://mcp.slack.com" + wellKnown},
		"stripe":                   {ResourceMetadata: "https://mcp.stripe.com" + wellKnown},
		"supabase":                 {Error: "invalid_request", ErrorDescription: "No access token was provided in this request", ResourceMetadata: "https://mcp.supabase.com" + wellKnown + "/mcp"},
		"variant-bws-single-quote": {ResourceMetadata: "https://example.com" + wellKnown},
		"variant-unquoted":         {ResourceMetadata: "https://x.example/y", Error: "x"},
		"xero":                     {Realm: "https://mcp.xero.com/mcp"},
	}
	if len(field) != len(want) {
		t.Errorf("%d headers, %d expectations", len(field), len(want))
	}
	lines := make([]string, 0, len(field))
	for _, f := range field {
		lines = append(lines, f.Header)
		if got := Parse([]string{f.Header}); !reflect.DeepEqual(got, []Challenge{{Scheme: "bearer", Params: f.Params}}) {
			t.Errorf("%s: got %+v\nwant %v", f.Name, got, f.Params)
		}
		w := want[f.Name]
		w.Found = true
		if got := FindBearer(http.Header{"Www-Authenticate": {f.Header}}); got != w {
			t.Errorf("%s: got %+v\nwant %+v", f.Name, got, w)
		}
	}

	// What lies between may join lines (RFC 9110 section 5.3): that changes nothing.
	apart := Parse(lines)
	if len(apart) != len(field) {
		t.Errorf("%d challenges of %d lines", len(apart), len(field))
	}
	for _, sep := range []string{",", ", ", " ,\t, "} {
		if joined := Parse([]string{strings.Join(lines, sep)}); !reflect.DeepEqual(joined, apart) {
			t.Errorf("joined by %q: got %+v\nwant %+v", sep, joined, apart)
		}
	}
}

func TestFindBearer(t *testing.T) {
	find := func(lines ...string) Bearer { return FindBearer(http.Header{"Www-Authenticate": lines}) }
	if b := find(`Basic realm="x"`, `Negotiate`); b != (Bearer{}) {
		t.Errorf("Bearer was found in others: %+v", b)
	}
	if b := find(`Bearer error="a"`, `Bearer error="b", scope="s"`); b.Error != "a" || b.Scope != "s" {
		t.Errorf("the first sound value does not count: %+v", b)
	}
	if b := find(`Bearer scope="a", scope="evil", resource_metadata="https://x"`, `Bearer resource_metadata="https://y"`); !b.Found || b.Scope != "" || b.ResourceMetadata != "https://y" {
		t.Errorf("a broken challenge was used: %+v", b)
	}
	if b := find(`DPoP algs="ES256", resource_metadata="https://d", scope="d"`, `Bearer scope="b"`); !b.DPoP || !b.Found || b.Scope != "b" || b.ResourceMetadata != "https://d" {
		t.Errorf("DPoP and Bearer: %+v", b)
	}
	if b := find(`DPoP error="use_dpop_nonce"`); b != (Bearer{DPoP: true, WantNonce: true, Error: "use_dpop_nonce"}) {
		t.Errorf("a nonce is wanted: %+v", b)
	}
	if b := find(`Bearer error="invalid_token"`, `DPoP error="use_dpop_nonce", algs="ES256"`, `DPoP algs="EdDSA"`); !b.WantNonce || b.Error != "invalid_token" || b.Algorithms != "ES256" {
		t.Errorf("a nonce is wanted besides: %+v", b)
	}
	if b := find(`DPoP error="invalid_token"`); b != (Bearer{DPoP: true, Error: "invalid_token"}) {
		t.Errorf("DPoP alone: %+v", b)
	}
	all := Bearer{
		Found: true, ResourceMetadata: "1", Scope: "2", Error: "3", ErrorDescription: "4", ErrorURI: "5", Realm: "6", ACRValues: "7", MaxAge: "8", Claims: "9",
	}
	if b := find(`Bearer resource_metadata=1, scope=2, error=3, error_description=4, error_uri=5, realm=6, acr_values=7, max_age=8, claims=9, other=10`); b != all {
		t.Errorf("all parameters: %+v", b)
	}
	for line, broken := range map[string]bool{
		`Bearer resource_metadata="https://a", resource_metadata="https://b"`: true, `DPoP algs="ES256`: true,
		`Basic realm="a", realm="b", Bearer scope="s"`: false, `Bearer scope="s"`: false,
	} {
		if b := find(line); b.Broken != broken || !b.Found && !b.DPoP {
			t.Errorf("%s: %+v", line, b)
		}
	}
	if b := FindBearer(nil); b != (Bearer{}) {
		t.Errorf("without headers: %+v", b)
	}
	if b := FindBearer(http.Header{"Proxy-Authenticate": {"Bearer scope=x"}, "Authorization": {"Bearer scope=x"}}); b != (Bearer{}) {
		t.Errorf("another header was read: %+v", b)
	}
}

// TestFindBearerOrder: what lies between may put challenges of its own before or after the server's.
func TestFindBearerOrder(t *testing.T) {
	const sound = `Bearer resource_metadata="https://m.example/prm", scope="a"`
	want := Bearer{Found: true, ResourceMetadata: "https://m.example/prm", Scope: "a"}
	for name, lines := range map[string][]string{
		"alone":                            {sound},
		"the last of a line":               {`Negotiate, Basic realm="b", ` + sound},
		"the first of a line":              {sound + `, Basic realm="b", scope="evil", error=e`},
		"the last line":                    {`Negotiate YII=`, `Basic realm="b"`, sound},
		"after garbage":                    {`{"error": "unauthorized, scope=evil"}`, "", sound},
		"after a quote that never closes":  {`Basic realm="`, sound},
		"after a broken one":               {`Bearer scope=evil, scope=worse, error=e`, sound},
		"before a broken one":              {sound, `Bearer error=e, realm="r`},
		"before another with other values": {sound, `Bearer resource_metadata="https://e.example/prm", scope="evil"`},
		"after an empty one":               {`Bearer`, sound},
		"after a token68":                  {`Bearer YII=`, sound},
	} {
		h := http.Header{}
		for _, l := range lines {
			h.Add("www-authenticate", l)
		}
		want := want
		want.Broken = strings.Contains(name, "broken")
		if got := FindBearer(h); got != want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestLimits(t *testing.T) {
	many := strings.Repeat("Bearer, ", 1000)
	if got := len(Parse([]string{many, many})); got != maxChallenges {
		t.Errorf("%d challenges", got)
	}
	last := strings.Repeat("Basic, ", maxChallenges-1) + `Bearer scope=y, Basic realm=z`
	if got := Parse([]string{last}); len(got) != maxChallenges || !reflect.DeepEqual(got[maxChallenges-1].Params, map[string]string{"scope": "y"}) {
		t.Errorf("the last one that counts: %d challenges, %+v", len(got), got[len(got)-1])
	}
	lines := make([]string, 0, maxChallenges+2)
	for range cap(lines) {
		lines = append(lines, "Negotiate, Basic realm=x, Bearer scope=y")
	}
	if got := len(Parse(lines)); got != maxChallenges {
		t.Errorf("%d challenges of many lines", got)
	}

	whole := strings.Repeat(" ", maxHeader-len("Bearer")) + "Bearer"
	if got := len(Parse([]string{whole})); got != 1 {
		t.Errorf("%d challenges at the limit of bytes", got)
	}
	if got := len(Parse([]string{whole, "Basic"})); got != 1 {
		t.Errorf("%d challenges beyond the limit of bytes", got)
	}
	if got := len(Parse([]string{" " + whole})); got != 0 {
		t.Errorf("%d challenges of a line beyond the limit of bytes", got)
	}

	named := func(n int) string {
		var b strings.Builder
		b.WriteString("Bearer ")
		for i := range n {
			b.WriteString("p" + strings.Repeat("x", i) + "=1,")
		}
		return b.String()
	}
	if got := Parse([]string{named(maxParams)}); len(got) != 1 || len(got[0].Params) != maxParams || got[0].Broken {
		t.Errorf("parameters up to the limit: %+v", got)
	}
	// With some of its parameters missing a challenge says something else.
	if got := Parse([]string{named(maxParams + 1)}); len(got) != 1 || len(got[0].Params) != maxParams || !got[0].Broken {
		t.Errorf("one parameter too many: %+v", got)
	}
}

// TestLinear feeds what makes a backtracking parser slow: one long line must cost about what the same
// bytes cost in sixteen short ones. A quadratic parser takes sixteen times as long.
func TestLinear(t *testing.T) {
	const pieces = 16
	// The fastest of several runs: a busy machine slows some of them.
	fastest := func(times int, line string) time.Duration {
		best := time.Hour
		for range 7 {
			start := time.Now()
			for range times {
				Parse([]string{line})
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	for _, unit := range []string{
		`"`, `\"`, `\`, `a="`, "a=", "a =", "a='", "a= ", ", ", " ", ";", "==", "/", "'", "a", "a=\"\" ", "a=b,", `"a" `, "a b ", "a/ ", "a= a", `,"`, "='",
	} {
		line := "Bearer " + strings.Repeat(unit, (maxHeader-len("Bearer "))/len(unit))
		one, many := fastest(1, line), fastest(pieces, line[:len(line)/pieces])
		if one > 6*many+time.Millisecond {
			t.Errorf("%d bytes of %q take %v, in %d pieces %v", len(line), unit, one, pieces, many)
		}
	}
}
