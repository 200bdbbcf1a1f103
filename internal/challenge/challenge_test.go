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
	bearer := func(kv ...string) Challenge {
		c := Challenge{Scheme: "bearer"}
		for i := 0; i < len(kv); i += 2 {
			c.add(kv[i], kv[i+1], true)
		}
		return c
	}
	for name, tc := range map[string]struct {
		lines []string
		want  []Challenge
	}{
		"no header":                         {nil, nil},
		"an empty line":                     {[]string{""}, nil},
		"a scheme alone":                    {[]string{"Bearer"}, []Challenge{bearer()}},
		"the scheme in another case":        {[]string{"bEARER realm=x"}, []Challenge{bearer("realm", "x")}},
		"names in another case":             {[]string{`Bearer Realm="x", SCOPE="a b"`}, []Challenge{bearer("realm", "x", "scope", "a b")}},
		"a comma within quotes":             {[]string{`Bearer realm="a, b", scope="c"`}, []Challenge{bearer("realm", "a, b", "scope", "c")}},
		"a scheme within quotes":            {[]string{`Bearer realm="Basic realm=\"x\", Digest", scope="c"`}, []Challenge{bearer("realm", `Basic realm="x", Digest`, "scope", "c")}},
		"escapes":                           {[]string{`Bearer realm="a\\b\"c"`}, []Challenge{bearer("realm", `a\b"c`)}},
		"empty list elements":               {[]string{`, ,Bearer , realm="x",, scope=y ,`}, []Challenge{bearer("realm", "x", "scope", "y")}},
		"white space around the equal sign": {[]string{"Bearer realm =\t\"x\" , scope= y"}, []Challenge{bearer("realm", "x", "scope", "y")}},
		"no comma between parameters":       {[]string{`Bearer realm="x" scope="y"`}, []Challenge{bearer("realm", "x", "scope", "y")}},
		"an empty value":                    {[]string{`Bearer realm="", scope=`}, []Challenge{bearer("realm", "", "scope", "")}},
		"a URL without quotes":              {[]string{`Bearer resource_metadata=https://x.example/y?a=b, error="e"`}, []Challenge{bearer("resource_metadata", "https://x.example/y?a=b", "error", "e")}},
		"single quotes":                     {[]string{`Bearer resource_metadata = 'https://x.example/a,b', error=e`}, []Challenge{bearer("resource_metadata", "https://x.example/a,b", "error", "e")}},
		"two schemes on a line": {
			[]string{`Basic realm="b", Bearer realm="x", scope="y"`},
			[]Challenge{{Scheme: "basic", Params: map[string]string{"realm": "b"}}, bearer("realm", "x", "scope", "y")},
		},
		"two lines": {
			[]string{`Basic realm="b"`, `Bearer scope="y"`},
			[]Challenge{{Scheme: "basic", Params: map[string]string{"realm": "b"}}, bearer("scope", "y")},
		},
		"a token68 before Bearer": {
			[]string{`Negotiate YII+/w==, Bearer scope="y"`},
			[]Challenge{{Scheme: "negotiate", Token68: "YII+/w=="}, bearer("scope", "y")},
		},
		"schemes without parameters": {
			[]string{`Negotiate, NTLM, Bearer scope=y`},
			[]Challenge{{Scheme: "negotiate"}, {Scheme: "ntlm"}, bearer("scope", "y")},
		},
		"a parameter twice": {
			[]string{`Bearer scope="a", scope="b"`},
			[]Challenge{{Scheme: "bearer", Params: map[string]string{"scope": "a"}, Broken: true}},
		},
		"a quote that never closes": {
			[]string{`Bearer scope="a", realm="x`, `DPoP algs="ES256"`},
			[]Challenge{
				{Scheme: "bearer", Params: map[string]string{"scope": "a"}, Broken: true},
				{Scheme: "dpop", Params: map[string]string{"algs": "ES256"}},
			},
		},
		"garbage before a challenge": {[]string{`;;; "x, Bearer" , Bearer scope=y`}, []Challenge{bearer("scope", "y")}},
		"a parameter without scheme": {[]string{`scope=x`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Parse(tc.lines); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// TestFieldHeaders are challenges as servers send them.
func TestFieldHeaders(t *testing.T) {
	b, err := os.ReadFile("testdata/field.json")
	if err != nil {
		t.Fatal(err)
	}
	var field []struct{ Name, Header string }
	if err := json.Unmarshal(b, &field); err != nil {
		t.Fatal(err)
	}
	const wellKnown = "/.well-known/oauth-protected-resource"
	want := map[string]Bearer{
		"atlassian":                {ResourceMetadata: "https://mcp.atlassian.com" + wellKnown + "/v2/mcp"},
		"dropbox":                  {ResourceMetadata: "https://mcp.dropbox.com" + wellKnown + "/mcp", Error: "invalid_token", ErrorDescription: "missing bearer token"},
		"linear-bad-token":         {Realm: "OAuth", ResourceMetadata: "https://mcp.linear.app" + wellKnown + "/mcp", Error: "invalid_token", Scope: "read write"},
		"microsoft-cae":            {Error: "insufficient_claims", Claims: "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiY3AxIn19fQ=="},
		"microsoft-graph-claims":   {Error: "insufficient_claims", Claims: `{"access_token":{"polids":{"essential":true`},
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
	for _, f := range field {
		w := want[f.Name]
		w.Found = true
		if got := FindBearer(http.Header{"Www-Authenticate": {f.Header}}); got != w {
			t.Errorf("%s: got %+v\nwant %+v", f.Name, got, w)
		}
	}
}

func TestFindBearer(t *testing.T) {
	find := func(lines ...string) Bearer { return FindBearer(http.Header{"Www-Authenticate": lines}) }
	if b := find(`Basic realm="x"`, `Negotiate`); b.Found || b.DPoP || b != (Bearer{}) {
		t.Errorf("Bearer was found in others: %+v", b)
	}
	if b := find(`Bearer error="a"`, `Bearer error="b", scope="s"`); b.Error != "a" || b.Scope != "s" {
		t.Errorf("the first sound value does not count: %+v", b)
	}
	if b := find(`Bearer scope="a", scope="evil", resource_metadata="https://x"`, `Bearer resource_metadata="https://y"`); b.Scope != "" || b.ResourceMetadata != "https://y" {
		t.Errorf("a broken challenge was used: %+v", b)
	}
	if b := find(`DPoP algs="ES256", resource_metadata="https://d", scope="d"`, `Bearer scope="b"`); !b.DPoP || !b.Found || b.Scope != "b" || b.ResourceMetadata != "https://d" {
		t.Errorf("DPoP and Bearer: %+v", b)
	}
}

func TestLimits(t *testing.T) {
	many := strings.Repeat("Bearer, ", 1000)
	if got := len(Parse([]string{many, many})); got != maxChallenges {
		t.Errorf("%d challenges", got)
	}
	if got := Parse([]string{strings.Repeat("x", maxHeader), "Bearer"}); len(got) != 1 || got[0].Scheme == "bearer" {
		t.Errorf("beyond the limit: %d challenges", len(got))
	}
	var b strings.Builder
	b.WriteString("Bearer ")
	for i := range 200 {
		b.WriteString("p" + strings.Repeat("x", i) + "=1,")
	}
	if got := Parse([]string{b.String()}); len(got[0].Params) > maxParams || !got[0].Broken {
		t.Errorf("%d parameters, broken %t", len(got[0].Params), got[0].Broken)
	}
}

// TestLinear feeds what makes a backtracking parser slow, up to the limit: a quadratic one would take
// minutes.
func TestLinear(t *testing.T) {
	start := time.Now()
	for _, unit := range []string{`"`, `\"`, `Bearer a="`, "a=", "a =", ", ", "a ", "==", "Bearer a b c ", "'", "a='"} {
		Parse([]string{strings.Repeat(unit, maxHeader/len(unit))})
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`Basic realm="b", Bearer realm="x\"y", scope="y", error=e`)
	f.Add(`Negotiate YII+/w==, Bearer a='b', c= https://x/y`)
	f.Fuzz(func(t *testing.T, line string) {
		for _, c := range Parse([]string{line}) {
			if c.Scheme == "" || c.Scheme != strings.ToLower(c.Scheme) {
				t.Errorf("scheme %q", c.Scheme)
			}
			for i := range len(c.Scheme) {
				if !isToken(c.Scheme[i]) {
					t.Errorf("scheme %q", c.Scheme)
				}
			}
			for name := range c.Params {
				if name != strings.ToLower(name) {
					t.Errorf("name %q", name)
				}
			}
		}
	})
}
