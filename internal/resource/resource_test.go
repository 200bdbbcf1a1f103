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
		"https://mcp.example.com/mcp":           "https://mcp.example.com/mcp",
		"HTTPS://MCP.Example.COM:443/MCP":       "https://mcp.example.com/MCP",
		"https://mcp.example.com/":              "https://mcp.example.com",
		"https://mcp.example.com/mcp/":          "https://mcp.example.com/mcp/",
		"https://mcp.example.com//":             "https://mcp.example.com//",
		"https://mcp.example.com?":              "https://mcp.example.com",
		"https://mcp.example.com/?":             "https://mcp.example.com",
		"https://mcp.example.com/a?b=c":         "https://mcp.example.com/a?b=c",
		"https://mcp.example.com/?b=%2F&a=/?":   "https://mcp.example.com?b=%2F&a=/?",
		"https://mcp.example.com./mcp":          "https://mcp.example.com./mcp",
		"http://localhost:80/x":                 "http://localhost/x",
		"http://localhost:443/x":                "http://localhost:443/x",
		"https://localhost:80/x":                "https://localhost:80/x",
		"https://mcp.example.com:0443/x":        "https://mcp.example.com/x",
		"https://mcp.example.com:08443/x":       "https://mcp.example.com:8443/x",
		"https://mcp.example.com:65535":         "https://mcp.example.com:65535",
		"http://[0:0::1]:8080/x":                "http://[::1]:8080/x",
		"https://[2001:DB8:0::A]:443/x":         "https://[2001:db8::a]/x",
		"https://bücher.example/x":              "https://xn--bcher-kva.example/x",
		"https://BÜCHER.example/x":              "https://xn--bcher-kva.example/x",
		"https://XN--BCHER-KVA.example/x":       "https://xn--bcher-kva.example/x",
		"https://b%C3%BCcher.example/x":         "https://xn--bcher-kva.example/x",
		"http://\uff11\uff12\uff17.0.0.1:8080/": "http://127.0.0.1:8080",
		"https://a_b.example/x":                 "https://a_b.example/x",
		"https://a.example/p%2Fq/":              "https://a.example/p%2Fq/",
		"https://a.example/%6dcp/%7Eme":         "https://a.example/%6dcp/%7Eme",
		"https://a.example/a/../b/./c":          "https://a.example/a/../b/./c",
		"https://a.example/@scope/server":       "https://a.example/@scope/server",
	} {
		u, err := ParseServer(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if got := Canonical(u); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
	for raw, why := range map[string]string{
		"":                                             "no scheme",
		"mcp.example.com":                              "did you mean https://mcp.example.com?",
		"//mcp.example.com":                            "did you mean https://mcp.example.com?",
		"localhost:8080/mcp":                           "neither https nor http",
		"ftp://x":                                      "neither https nor http",
		"javascript:alert(1)":                          "neither https nor http",
		"https:opaque":                                 "names no host",
		"https:///path":                                "names no host",
		"https://:443/path":                            "names no host",
		"https:/mcp.example.com":                       "names no host",
		"https://user:hunter2@x.example":               "user name or password",
		"https://@x.example":                           "user name or password",
		"//user:hunter2@x.example":                     "user name or password",
		"ftp://user:hunter2@x.example":                 "user name or password",
		"user:hunter2@x.example":                       "neither https nor http",
		"https:/user:hunter2@x.example":                "names no host",
		"https://user:hunter2 @x.example":              "spaces or control",
		"https://user:hunter2@x.example:port/":         "not a URL",
		"https://user:hunter2@more@x.example/%":        "not a URL",
		"https://x.example/#frag":                      "fragment",
		"https://x.example/#":                          "fragment",
		"https://x.example /":                          "spaces or control",
		"https://x.example/a\tb":                       "spaces or control",
		" https://x.example/":                          "spaces or control",
		"https://x.example/\n":                         "spaces or control",
		"https://x.example/\x7f":                       "spaces or control",
		"https://x.example/\x1b[31m":                   "spaces or control",
		"https://x.example:99999":                      "port",
		"https://x.example:65536":                      "port",
		"https://x.example:0":                          "port",
		"https://x.example:000":                        "port",
		"https://x.example:":                           "port",
		"https://x.example:" + strings.Repeat("9", 40): "port",
		"https://[fe80::1%25eth0]/":                    "host",
		"https://[1.2.3.4]/":                           "not a URL",
		"https://[::1":                                 "not a URL",
		"https://::1/":                                 "not",
		"https://exa$mple.com":                         "not valid",
		"https://exa%2fmple.com":                       "not a URL",
		"https://a\uff0fb.example":                     "not valid",
		"https://a\u200bb\u202e.example":               "not valid",
		"https://a\\b.example":                         "not",
		"https://" + strings.Repeat("a", maxURL):       "longer",
	} {
		if _, err := ParseServer(raw); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60q: %v, want something about %q", raw, err, why)
		} else if strings.ContainsAny(err.Error(), "\x1b\n\u202e") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.60q: the error carries a control character or a password: %q", raw, err)
		}
	}
}

// TestCanonicalOfDocuments: URLs that come from servers were not parsed by ParseServer.
func TestCanonicalOfDocuments(t *testing.T) {
	for raw, want := range map[string]string{
		"https://user:pw@A.example:443/x#f": "https://a.example/x",
		"https://a.example/#":               "https://a.example",
		"https://a.example:/x":              "https://a.example/x",
		"https://a.example:0/x":             "https://a.example:0/x",
		"https://a.example:00443/x":         "https://a.example/x",
		"https://[::A]:443":                 "https://[::a]",
	} {
		u := mustParse(t, raw)
		if got := Canonical(u); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
		if u.String() != mustParse(t, raw).String() {
			t.Errorf("%s was changed", raw)
		}
	}
}

func TestOrigin(t *testing.T) {
	for raw, want := range map[string]string{
		"https://A.example:443/x?y#z":  "https://a.example",
		"https://u:p@a.example/x":      "https://a.example",
		"http://a.example:443":         "http://a.example:443",
		"http://a.example:080/":        "http://a.example",
		"https://[2001:DB8::1]:8443/x": "https://[2001:db8::1]:8443",
	} {
		if got := Origin(mustParse(t, raw)); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"https://a.example/x", "https://A.EXAMPLE:443/y", true},
		{"https://a.example/x?y#z", "https://u:p@a.example", true},
		{"http://a.example", "http://a.example:80", true},
		{"http://a.example", "https://a.example", false},
		{"http://a.example:443", "https://a.example", false},
		{"http://a.example:443", "https://a.example:443", false},
		{"https://a.example:80", "https://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example", "https://a.example:4430", false},
		{"https://a.example", "https://a.example:0", false},
		{"https://a.example", "https://a.example.evil", false},
		{"https://a.example", "https://a.example.", false},
		{"https://a.example", "https://sub.a.example", false},
		{"https://a.example", "https://a.example@evil.example", false},
		{"https://[::1]:1", "https://[::1]:01", true},
		{"https://[2001:DB8::1]", "https://[2001:db8::1]:443", true},
		{"https://[::1]", "https://[::2]", false},
		{"http://127.0.0.1", "http://localhost", false},
		{"http://127.0.0.1", "http://[::ffff:127.0.0.1]", false},
		// The lower case of these letters is ASCII; the hosts are others.
		{"https://idp.example", "https://\u0130dp.example", false},
		{"https://kdp.example", "https://\u212adp.example", false},
		{"https://\xf2.example", "https://\x8d.example", false},
		{"/x", "/x", false},
		{"https:///x", "https:///x", false},
		{"https:///x", "https://:443/x", false},
		{"mailto:a", "mailto:a", false},
	} {
		a, b := mustParse(t, tc.a), mustParse(t, tc.b)
		if got := SameOrigin(a, b); got != tc.same {
			t.Errorf("%s, %s: %t", tc.a, tc.b, got)
		}
		if got := SameOrigin(b, a); got != tc.same {
			t.Errorf("%s, %s: %t", tc.b, tc.a, got)
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
		{"HTTPS://a.example/mcp", "https://a.example/mcp", false, true},
		{"http://127.0.0.1:80/mcp", "http://127.0.0.1/mcp", false, true},
		{"https://[::1]:443/mcp", "https://[::1]/mcp", false, true},
		{"https://a.example/", "https://a.example", false, true},
		{"https://a.example", "https://a.example/", false, true},
		{"https://a.example/mcp?a=1", "https://a.example/mcp?a=1", false, true},
		{"https://a.example/p%2Fq", "https://a.example/p%2Fq", false, true},

		// Nothing else is ignored.
		{"https://a.example/MCP", "https://a.example/mcp", true, false},
		{"https://a.example/mcp/", "https://a.example/mcp", false, false},
		{"https://a.example/mcp", "https://a.example/mcp/", false, false},
		{"https://a.example/%6dcp", "https://a.example/mcp", true, false},
		{"https://a.example/%7Eme", "https://a.example/~me", true, false},
		{"https://a.example/mcpEVIL", "https://a.example/mcp", true, false},
		{"https://a.example/mcp", "https://a.example/mcpEVIL", true, false},
		{"https://a.example/mcp?a=1", "https://a.example/mcp", true, false},
		{"https://a.example/mcp", "https://a.example/mcp?a=1", false, false},
		{"https://a.example/mcp?a=1", "https://a.example/mcp?a=2", true, false},
		{"https://a.example/mcp#f", "https://a.example/mcp", true, false},
		{"https://a.example/mcp#", "https://a.example/mcp", true, false},
		{"https://u@a.example/mcp", "https://a.example/mcp", true, false},
		{"https://a.example:8443/mcp", "https://a.example/mcp", true, false},
		{"https://a.example:0/mcp", "https://a.example/mcp", true, false},
		{"https://a.example./mcp", "https://a.example/mcp", true, false},
		{"http://a.example/mcp", "https://a.example/mcp", true, false},
		{"https://b.example/mcp", "https://a.example/mcp", true, false},
		{"https://\u0130dp.example/mcp", "https://idp.example/mcp", true, false},

		// A parent, where one is allowed.
		{"https://a.example", "https://a.example/mcp", false, false},
		{"https://a.example", "https://a.example/mcp", true, true},
		{"https://a.example/", "https://a.example/mcp", true, true},
		{"https://A.example:443", "https://a.example/mcp", true, true},
		{"https://a.example", "https://a.example/mcp?a=1", true, true},
		{"https://a.example/mcp", "https://a.example/mcp?a=1", true, true},
		{"https://a.example/mcp", "https://a.example/mcp/", true, true},
		{"https://a.example/team", "https://a.example/team/mcp", true, true},
		{"https://a.example/team/", "https://a.example/team/mcp", true, true},
		{"https://a.example/team", "https://a.example/team/x/mcp", true, true},
		{"https://a.example/p%20q", "https://a.example/p%20q/mcp", true, true},

		// No parent.
		{"https://a.example/te", "https://a.example/team/mcp", true, false},
		{"https://a.example/team/mcp/x", "https://a.example/team/mcp", true, false},
		{"https://a.example/team/other", "https://a.example/team/mcp", true, false},
		{"https://a.example/Team", "https://a.example/team/mcp", true, false},
		{"https://b.example", "https://a.example/mcp", true, false},
		{"https://example", "https://a.example/mcp", true, false},
		{"http://a.example", "https://a.example/mcp", true, false},
		{"https://a.example:8443", "https://a.example/mcp", true, false},
		{"https://a.example?x=1", "https://a.example/mcp", true, false},
		{"https://a.example?", "https://a.example/mcp", true, false},
		{"https://a.example#f", "https://a.example", true, false},
		{"https://u@a.example", "https://a.example", true, false},

		// Paths that servers resolve in different ways.
		{"https://a.example/x/..", "https://a.example/mcp", true, false},
		{"https://a.example/.", "https://a.example/mcp", true, false},
		{"https://a.example/%2e%2e", "https://a.example/mcp", true, false},
		{"https://a.example/team/../mcp", "https://a.example/mcp", true, false},
		{"https://a.example/team", "https://a.example/team/../other", true, false},
		{"https://a.example/team/../mcp", "https://a.example/team/../mcp?x=1", true, false},
		{"https://a.example/team", "https://a.example/team/%2E%2e/other", true, false},
		{"https://a.example/team", "https://a.example/team/./mcp", true, false},
		{"https://a.example/team", "https://a.example/team%2fx", true, false},
		{"https://a.example/team", "https://a.example/team/x%2F..%2F..%2Fother", true, false},
		{"https://a.example/team", "https://a.example/team/..%5cother", true, false},
		{"https://a.example/team", `https://a.example/team/..\other`, true, false},
		{"https://a.example/team", "https://a.example/team/..;/other", true, false},
		{"https://a.example/team", "https://a.example/team//other", true, false},
		{"https://a.example//", "https://a.example/mcp", true, false},

		{"urn:x", "https://a.example", true, false},
		{"https:a.example", "https://a.example", true, false},
		{"//a.example", "https://a.example", true, false},
		{"a.example", "https://a.example", true, false},
		{"/mcp", "https://a.example/mcp", true, false},
		{"https://a.example/%zz", "https://a.example/mcp", true, false},
		{"https://a.example", "https://a.example/%zz", true, false},
		{"https://", "https://", true, false},
		{"https://:/mcp", "https:///mcp", true, false},
		{"", "https://a.example", true, false},
		{"", "", true, false},
	} {
		covers := Same
		if tc.parent {
			covers = SameOrParent
		}
		if got := covers(tc.document, tc.asked); got != tc.covers {
			t.Errorf("document %q, asked %q, parent allowed %t: %t", tc.document, tc.asked, tc.parent, got)
		}
	}
}

func TestSamePath(t *testing.T) {
	for _, tc := range []struct {
		document, asked string
		same            bool
	}{
		{"https://a.example/mcp", "https://a.example/mcp", true},
		{"https://A.example:443/mcp/", "https://a.example/mcp", true},
		{"https://a.example/mcp", "https://a.example/mcp/", true},
		{"https://a.example/mcp", "https://a.example/mcp?a=1", true},
		{"https://a.example/mcp?a=1", "https://a.example/mcp?a=1", true},
		{"https://a.example", "https://a.example/?a=1", true},
		{"https://a.example/mcp?a=1", "https://a.example/mcp", false},
		{"https://a.example/mcp?a=1", "https://a.example/mcp?a=2", false},
		{"https://a.example", "https://a.example/mcp", false},
		{"https://a.example/", "https://a.example/mcp?a=1", false},
		{"https://a.example/team", "https://a.example/team/mcp", false},
		{"https://a.example/mcp//", "https://a.example/mcp", false},
		{"https://a.example/mcp/.", "https://a.example/mcp", false},
		{"https://a.example/mcp/%2e", "https://a.example/mcp", false},
		{"https://b.example/mcp", "https://a.example/mcp", false},
		{"http://a.example/mcp", "https://a.example/mcp", false},
		{"https://u@a.example/mcp", "https://a.example/mcp", false},
		{"https://a.example/mcp#", "https://a.example/mcp", false},
		{"", "https://a.example/mcp", false},
		{"https://a.example/mcp", "https://a.example/%zz", false},
	} {
		if got := SamePath(tc.document, tc.asked); got != tc.same {
			t.Errorf("document %q, asked %q: %t", tc.document, tc.asked, got)
		}
	}
}

func TestHostsAndOrigins(t *testing.T) {
	for _, tc := range []struct{ host, port, want string }{
		{"a.example", "", "a.example"}, {"a.example", "8443", "a.example:8443"}, {"127.0.0.1", "80", "127.0.0.1:80"}, {"::1", "", "[::1]"}, {"::1", "80", "[::1]:80"},
	} {
		if got := HostPort(tc.host, tc.port); got != tc.want {
			t.Errorf("%q and %q: %q", tc.host, tc.port, got)
		}
	}
	for _, tc := range []struct{ raw, host, origin string }{
		{"https://A.example:443/mcp?x", "A.example:443", "https://a.example"},
		{"http://[::1]:8080/", "[::1]:8080", "http://[::1]:8080"},
		{"/mcp", "", ""},
		{"https://%zz", "", ""},
		{"", "", ""},
	} {
		if got := Host(tc.raw); got != tc.host {
			t.Errorf("the host of %q is %q", tc.raw, got)
		}
		if got := Hostname(tc.raw); got != strings.Trim(strings.TrimSuffix(strings.TrimSuffix(tc.host, ":443"), ":8080"), "[]") {
			t.Errorf("the host name of %q is %q", tc.raw, got)
		}
		if got := OriginOf(tc.raw); got != tc.origin {
			t.Errorf("the origin of %q is %q", tc.raw, got)
		}
	}
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"https://a.example/x", "https://A.example:443/y", true},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example", "https://b.example", false},
		{"", "", false},
		{"/x", "/x", false},
		{"https://%zz", "https://%zz", false},
	} {
		if got := SameOriginOf(tc.a, tc.b); got != tc.same {
			t.Errorf("%q and %q: %t", tc.a, tc.b, got)
		}
	}
}

// TestBelow: where a redirected request may take its token.
func TestBelow(t *testing.T) {
	for _, tc := range []struct {
		parent, child string
		below         bool
	}{
		{"https://a.example/mcp", "https://a.example/mcp", true},
		{"https://a.example/mcp", "https://a.example/mcp/", true},
		{"https://a.example/mcp/", "https://a.example/mcp", true},
		{"https://a.example/mcp", "https://a.example/mcp/v2?x=y#z", true},
		{"https://a.example", "https://a.example/mcp", true},
		{"https://a.example/", "https://A.EXAMPLE:443/mcp", true},
		{"https://a.example/a/../b", "https://a.example/a/../b?x", true},
		{"https://a.example/mcp", "https://a.example/", false},
		{"https://a.example/mcp", "https://a.example/mcp2", false},
		{"https://a.example/mcp", "https://a.example/other", false},
		{"https://a.example/mcp", "https://a.example/mcp/../other", false},
		{"https://a.example/mcp", "https://a.example/mcp/%2e%2e/other", false},
		{"https://a.example/mcp/..", "https://a.example/mcp/../other", false},
		{"https://a.example/mcp", "http://a.example/mcp/v2", false},
		{"https://a.example/mcp", "https://b.example/mcp", false},
		{"https://a.example/mcp", "https://a.example:8443/mcp", false},
	} {
		if got := Below(mustParse(t, tc.parent), mustParse(t, tc.child)); got != tc.below {
			t.Errorf("%s below %s: %t", tc.child, tc.parent, got)
		}
	}
}

func TestSameIssuer(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"https://a.example", "https://a.example", true},
		{"https://a.example/x", "https://a.example/x", true},
		{"https://a.example/", "https://a.example", true},
		{"http://localhost:8080/", "http://localhost:8080", true},
		{"https://[::1]:9/", "https://[::1]:9", true},
		{"https://a.example/x", "https://a.example/x/", true},
		{"https://a.example/x/", "https://a.example/x//", false},
		{"https://a.example/x", "https://a.example/x//", false},
		{"https://a.example//", "https://a.example", false},
		{"https://a.example//", "https://a.example/", false},
		{"https://a.example/tenant1", "https://a.example/tenant2", false},
		{"https://a.example/tenant1", "https://a.example", false},
		{"https://a.example/Tenant", "https://a.example/tenant", false},
		{"https://a.example/%2D", "https://a.example/-", false},
		{"https://a.example", "https://A.example", false},
		{"https://a.example/", "https://A.example", false},
		{"HTTPS://a.example", "https://a.example", false},
		{"https://a.example", "https://a.example:443", false},
		{"https://a.example", "https://a.example.", false},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://a.example?", false},
		{"https://a.example", "https://a.example#", false},
		{"https://a.example", "https://u@a.example", false},
		{"https://a.example", " https://a.example", false},
		{"https://a.example?", "https://a.example?/", false},
		{"https://a.example?x=", "https://a.example?x=/", false},
		{"https://a.example#", "https://a.example#/", false},
		{"https://a.example#x", "https://a.example#x/", false},
		{"https:", "https:/", false},
		{"https:/", "https://", false},
		{"a.example", "a.example/", false},
		{"", "", false},
		{"/", "", false},
	} {
		if got := SameIssuer(tc.a, tc.b); got != tc.same {
			t.Errorf("%q, %q: %t", tc.a, tc.b, got)
		}
		if got := SameIssuer(tc.b, tc.a); got != tc.same {
			t.Errorf("%q, %q: %t", tc.b, tc.a, got)
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
		{"10.0.0.1 192.168.0.1", false},
		{"10.0.0.1 10.0.0.1", true},
		{"intranet INTRANET", true},
		{"intranet other", false},
		{"EXAMPLE.com example.COM", true},
		{"a.example.com A.Example.Com b.EXAMPLE.com", true},
		{"a.example.com b.example.com c.example.net", false},
		{"example.com notexample.com", false},
		{"example.com example.com.evil.net", false},
		{"a.internal b.internal", false},
		{"b.a.internal a.internal", true},
		{"com COM", true},
		{"com example.com", false},
		{"localhost localhost.example.com", false},
		{"127.0.0.1 127.0.0.1.example.com", false},
		{"2001:db8::1 2001:db8::1", true},
		{"2001:db8::1 2001:db8::2", false},
		// The lower case of these letters is ASCII; the hosts are others.
		{"login.idp.example evil.\u0130dp.example", false},
		{"login.kdp.example evil.\u212adp.example", false},
		{"login.\xf2.example evil.\x8d.example", false},
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
