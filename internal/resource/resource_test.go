package resource

import (
	"net/url"
	"strings"
	"testing"
)

func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestParseServer(t *testing.T) {
	for raw, want := range map[string]string{
		"https://mcp.example.com/mcp":     "https://mcp.example.com/mcp",
		"HTTPS://MCP.Example.COM:443/MCP": "https://mcp.example.com/MCP",
		"https://mcp.example.com/":        "https://mcp.example.com",
		"https://mcp.example.com?":        "https://mcp.example.com",
		"https://mcp.example.com/a?b=c":   "https://mcp.example.com/a?b=c",
		"http://localhost:80/x":           "http://localhost/x",
		"http://[0:0::1]:8080/x":          "http://[::1]:8080/x",
		"https://bücher.example/x":        "https://xn--bcher-kva.example/x",
		"https://a.example/p%2Fq/":        "https://a.example/p%2Fq/",
	} {
		u, err := ParseServer(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if got := Canonical(u); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
	for raw, why := range map[string]string{
		"":                                       "no scheme",
		"mcp.example.com":                        "did you mean https://mcp.example.com?",
		"//mcp.example.com":                      "did you mean https://mcp.example.com?",
		"ftp://x":                                "neither https nor http",
		"javascript:alert(1)":                    "neither https nor http",
		"https:opaque":                           "names no host",
		"https:///path":                          "names no host",
		"https://user:pw@x.example":              "user name or password",
		"https://x.example/#frag":                "fragment",
		"https://x.example/#":                    "fragment",
		"https://x.example /":                    "spaces or control",
		"https://x.example/\x1b[31m":             "spaces or control",
		"https://x.example:99999":                "port",
		"https://x.example:0":                    "port",
		"https://x.example:":                     "port",
		"https://[fe80::1%25eth0]/":              "host",
		"https://exa$mple.com":                   "not valid",
		"https://" + strings.Repeat("a", maxURL): "longer",
	} {
		if _, err := ParseServer(raw); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60q: %v, want something about %q", raw, err, why)
		} else if strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%.60q: the error carries a control character", raw)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"https://a.example/x", "https://A.EXAMPLE:443/y", true},
		{"http://a.example", "http://a.example:80", true},
		{"http://a.example", "https://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example", "https://a.example.evil", false},
		{"https://a.example", "https://sub.a.example", false},
		{"https://[::1]:1", "https://[::1]:01", true},
		{"/x", "/x", false},
	} {
		if got := SameOrigin(mustParse(t, tc.a), mustParse(t, tc.b)); got != tc.same {
			t.Errorf("%s, %s: %t", tc.a, tc.b, got)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		document, asked string
		parent, covers  bool
	}{
		{"https://a.example/mcp", "https://a.example/mcp", false, true},
		{"https://A.example:443/mcp", "https://a.example/mcp", false, true},
		{"https://a.example/", "https://a.example", false, true},
		{"https://a.example", "https://a.example/mcp", false, false},
		{"https://a.example", "https://a.example/mcp", true, true},
		{"https://a.example/", "https://a.example/mcp", true, true},
		{"https://a.example/te", "https://a.example/team/mcp", true, false},
		{"https://a.example/team", "https://a.example/team/mcp", true, true},
		{"https://a.example/team/mcp/x", "https://a.example/team/mcp", true, false},
		{"https://b.example", "https://a.example/mcp", true, false},
		{"http://a.example", "https://a.example/mcp", true, false},
		{"https://a.example/x/..", "https://a.example/mcp", true, false},
		{"https://a.example/%2e%2e", "https://a.example/mcp", true, false},
		{"https://a.example/team", "https://a.example/team/../other", true, false},
		{"https://a.example/team", "https://a.example/team%2fx", true, false},
		{"https://a.example?x=1", "https://a.example/mcp", true, false},
		{"https://a.example#f", "https://a.example", true, false},
		{"https://u@a.example", "https://a.example", true, false},
		{"urn:x", "https://a.example", true, false},
		{"", "https://a.example", true, false},
		{"https://a.example/mcp?a=1", "https://a.example/mcp", false, false},
		{"https://a.example/MCP", "https://a.example/mcp", false, false},
	} {
		if got := Covers(tc.document, tc.asked, tc.parent); got != tc.covers {
			t.Errorf("document %q, asked %q, parent allowed %t: %t", tc.document, tc.asked, tc.parent, got)
		}
	}
}

func TestSameIssuer(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"https://a.example", "https://a.example", true},
		{"https://a.example/", "https://a.example", true},
		{"https://a.example", "https://a.example/", true},
		{"https://a.example/x", "https://a.example/x/", false},
		{"https://a.example", "https://A.example", false},
		{"https://a.example", "https://a.example:443", false},
		{"https://a.example", "http://a.example", false},
		{"https://a.example?", "https://a.example?/", false},
		{"https://a.example?x=", "https://a.example?x=/", false},
		{"https://a.example#", "https://a.example#/", false},
		{"https://a.example//", "https://a.example", false},
		{"", "", false},
		{"/", "", false},
	} {
		if got := SameIssuer(tc.a, tc.b); got != tc.same {
			t.Errorf("%q, %q: %t", tc.a, tc.b, got)
		}
	}
}

func TestSameSite(t *testing.T) {
	for _, tc := range []struct {
		hosts string
		same  bool
	}{
		{"auth.example.com api.example.com example.com", true},
		{"auth.example.com api.example.org", false},
		{"a.co.uk b.co.uk", false},
		{"a.github.io b.github.io", false},
		{"x.a.github.io a.github.io", true},
		{"127.0.0.1 localhost ::1", true},
		{"10.0.0.1 10.0.0.2", false},
		{"10.0.0.1 10.0.0.1", true},
		{"intranet intranet", true},
		{"intranet other", false},
		{"EXAMPLE.com example.COM", true},
	} {
		if got := SameSite(strings.Fields(tc.hosts)...); got != tc.same {
			t.Errorf("%s: %t", tc.hosts, got)
		}
	}
}

func TestIsLoopbackHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "[::1]": true,
		"localhoſt": false, "localhost.": false, "localhost.evil.example": false, "127.0.0.1.nip.io": false, "0.0.0.0": false, "::": false,
		"::ffff:127.0.0.1": false, "::1%lo": false, "": false, "2130706433": false,
	} {
		if got := IsLoopbackHost(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"https://Mcp.Example.com:443/a/../b?c#d", "http://[::1]:80", "https://bücher.example/ö", "https://a.example/%2f%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseServer(raw)
		if err != nil {
			return
		}
		once := Canonical(u)
		again, err := ParseServer(once)
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", raw, once, err)
		}
		if twice := Canonical(again); twice != once {
			t.Errorf("%q became %q, then %q", raw, once, twice)
		}
		if !SameOrigin(u, again) {
			t.Errorf("%q and %q have different origins", raw, once)
		}
		if !Covers(once, u.String(), false) {
			t.Errorf("%q does not cover %q", once, u)
		}
	})
}
