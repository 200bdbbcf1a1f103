package challenge

import (
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
)

// FuzzParse: whatever a server sends, the parse has the promised form, and what one line says does
// not touch the challenges of another.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "Bearer", `Basic realm="b", Bearer realm="x\"y", scope="y", error=e`, `Negotiate YII+/w==, Bearer a='b', c= https://x/y`,
		`Bearer scope="a", scope="b"`, `Bearer realm="x`, `Bearer realm="x\`, "Bearer a=\"\x00\xff\", ;, \"", "Negotiate Bearer", strings.Repeat("a=b,", 80),
	} {
		f.Add(s)
	}
	b, err := os.ReadFile("../../testdata/challenges.json")
	if err != nil {
		f.Fatal(err)
	}
	var field []struct{ Header string }
	if err := json.Unmarshal(b, &field); err != nil || len(field) == 0 {
		f.Fatal(err)
	}
	for _, h := range field {
		f.Add(h.Header)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := Parse([]string{line})
		if len(got) > maxChallenges || len(line) > maxHeader && len(got) > 0 {
			t.Fatalf("%d challenges of %d bytes", len(got), len(line))
		}
		for _, c := range got {
			check(t, c, line)
		}
		if b := FindBearer(http.Header{"Www-Authenticate": {line}}); !b.Found && !b.DPoP && b != (Bearer{}) {
			t.Errorf("values of no challenge: %+v", b)
		}

		const own = `Bearer resource_metadata="https://m.example/prm"`
		if around := Parse([]string{own, line, own}); len(line)+2*len(own) <= maxHeader && len(got) < maxChallenges-1 {
			if n := len(around); n != len(got)+2 || !reflect.DeepEqual(around[0], around[n-1]) || !reflect.DeepEqual(around[1:n-1], append([]Challenge{}, got...)) {
				t.Errorf("%q between two other lines: %+v, alone %+v", line, around, got)
			}
		}
	})
}

func check(t *testing.T, c Challenge, line string) {
	if c.Scheme == "" || c.Scheme != strings.ToLower(c.Scheme) || !token(c.Scheme) {
		t.Errorf("scheme %q", c.Scheme)
	}
	if raw := strings.TrimRight(c.Token68, "="); c.Token68 != "" && (!token(strings.ReplaceAll(raw, "/", "")) || raw == "" || !strings.Contains(line, c.Token68)) {
		t.Errorf("token68 %q", c.Token68)
	}
	if len(c.Params) > maxParams || c.Params != nil && len(c.Params) == 0 {
		t.Errorf("%d parameters", len(c.Params))
	}
	for name, value := range c.Params {
		if name == "" || name != strings.ToLower(name) || !token(name) {
			t.Errorf("name %q", name)
		}
		// A value is made of the line's bytes: nothing but the escapes is lost, nothing comes in.
		rest := line
		for i := range len(value) {
			at := strings.IndexByte(rest, value[i])
			if at < 0 {
				t.Fatalf("value %q of %q", value, line)
			}
			rest = rest[at+1:]
		}
	}
}

func token(s string) bool {
	for i := range len(s) {
		if !isToken(s[i]) {
			return false
		}
	}
	return true
}

// FuzzQuoted: what a server quotes by the rules arrives as it is, whatever it holds, and adds nothing
// to the challenges around it.
func FuzzQuoted(f *testing.F) {
	f.Add("a, b", "read write", "ES256")
	f.Add(`Bearer scope="x", realm=y\`, `"`, `\"`)
	f.Add("", "'", "=, DPoP algs=")
	quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	f.Fuzz(func(t *testing.T, realm, scope, algs string) {
		first := "Basic realm=" + quote(realm)
		second := "Bearer scope=" + quote(scope) + ",realm = " + quote(algs)
		third := "DPoP algs=" + quote(algs) + ", error=" + quote(realm)
		if len(first)+len(second)+len(third)+4 > maxHeader {
			return
		}
		want := []Challenge{
			{Scheme: "basic", Params: map[string]string{"realm": realm}},
			{Scheme: "bearer", Params: map[string]string{"scope": scope, "realm": algs}},
			{Scheme: "dpop", Params: map[string]string{"algs": algs, "error": realm}},
		}
		for _, lines := range [][]string{{first, second, third}, {first + ", " + second + " ," + third}, {first + ",", second + ", " + third}} {
			if got := Parse(lines); !reflect.DeepEqual(got, want) {
				t.Errorf("%q: got %+v\nwant %+v", lines, got, want)
			}
		}
	})
}
