package resource

import (
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// FuzzCanonical: the canonical form of what a person types is settled, and names the same place.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		"https://Mcp.Example.com:443/a/../b?c#d", "http://[::1]:80", "https://bücher.example/ö", "https://a.example/%2f%2e", "https://a.example:0443/?", "https://u:p@a.example",
		"https://\u0130dp.example//x;y", "http://[2001:DB8::ffff:1.2.3.4]:0080/\\", "https://a.example/%", "localhost:80", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseServer(raw)
		if err != nil {
			if u != nil || err.Error() == "" || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q: %v, %q", raw, u, err)
			}
			return
		}
		if u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Fragment != "" || u.Opaque != "" || strings.ToLower(u.Host) != u.Host {
			t.Fatalf("%q was let through: %#v", raw, u)
		}
		for i := range len(u.Host) {
			if c := u.Host[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`/\?#@%"<>`, c) >= 0 {
				t.Fatalf("%q has the host %q", raw, u.Host)
			}
		}
		once := Canonical(u)
		again, err := ParseServer(once)
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", raw, once, err)
		}
		if twice := Canonical(again); twice != once {
			t.Errorf("%q became %q, then %q", raw, once, twice)
		}
		if !SameOrigin(u, again) || Origin(u) != Origin(again) || !strings.HasPrefix(once, Origin(u)) {
			t.Errorf("%q and %q have the origins %q and %q", raw, once, Origin(u), Origin(again))
		}
		if !Same(once, u.String()) || !SameOrParent(u.String(), once) {
			t.Errorf("%q does not cover %q, or not the other way", once, u)
		}
		if !Below(again, again) {
			t.Errorf("%q is not below itself", once)
		}
	})
}

// destination is where a request for u goes, as an HTTP client sees it: the name asked of the resolver,
// and the port.
func destination(u *url.URL) (string, bool) {
	host, err := idna.Lookup.ToASCII(u.Hostname())
	if err != nil || strings.Contains(u.Hostname(), ":") {
		host = u.Hostname()
	}
	var port int
	if p := u.Port(); p == "" {
		port = map[string]int{"http": 80, "https": 443}[strings.ToLower(u.Scheme)]
	} else if port, err = strconv.Atoi(p); err != nil {
		return "", false
	}
	b := []byte(host)
	for i := range b {
		if b[i] >= 'A' && b[i] <= 'Z' {
			b[i] |= 0x20
		}
	}
	return string(b) + " " + strconv.Itoa(port), true
}

// FuzzSameOrigin looks for two URLs that pass for one origin and lead to two places.
func FuzzSameOrigin(f *testing.F) {
	f.Add("https://idp.example", "https://\u0130dp.example")
	f.Add("https://k.example:443/x", "https://\u212a.example/y")
	f.Add("https://a.example:0", "https://a.example:")
	f.Add("http://[::A]:080", "http://[::a]")
	f.Add("http://a.example:443", "https://a.example:443")
	f.Add("https://a.example", "https://a.example@b.example")
	f.Fuzz(func(t *testing.T, rawA, rawB string) {
		a, errA := url.Parse(rawA)
		b, errB := url.Parse(rawB)
		if errA != nil || errB != nil {
			return
		}
		same := SameOrigin(a, b)
		if same != SameOrigin(b, a) {
			t.Errorf("%q and %q: the order matters", rawA, rawB)
		}
		if same != (Origin(a) == Origin(b) && a.Host != "" && a.Hostname()+a.Port() != "") {
			t.Errorf("%q and %q: %t, but the origins are %q and %q", rawA, rawB, same, Origin(a), Origin(b))
		}
		if !same {
			if !SameOrigin(a, a) && a.Hostname() != "" {
				t.Errorf("%q has another origin than itself", rawA)
			}
			return
		}
		if !strings.EqualFold(a.Scheme, b.Scheme) {
			t.Errorf("%q and %q have different schemes", rawA, rawB)
		}
		if da, ok := destination(a); ok {
			if db, ok := destination(b); ok && da != db {
				t.Errorf("%q leads to %q, %q to %q", rawA, da, rawB, db)
			}
		}
	})
}

// FuzzCovers looks for a document that passes for the one asked for and describes something else.
func FuzzCovers(f *testing.F) {
	f.Add("https://a.example", "https://a.example/mcp", true)
	f.Add("https://A.example:443/team/", "https://a.example/team/mcp?x=y", true)
	f.Add("https://a.example/team", "https://a.example/team/%2e%2e/other", true)
	f.Add("https://a.example/team", "https://a.example/team/..;/other", true)
	f.Add("https://a.example/x/..", "https://a.example/mcp", true)
	f.Add("https://u@a.example/mcp#", "https://a.example/mcp", false)
	f.Add("https:a.example?", "https://a.example", false)
	segments := func(u *url.URL) []string {
		return strings.FieldsFunc(u.EscapedPath(), func(r rune) bool { return r == '/' })
	}
	f.Fuzz(func(t *testing.T, document, asked string, parent bool) {
		covers := Same
		if parent {
			covers = SameOrParent
		}
		if !covers(document, asked) {
			return
		}
		d, errD := url.Parse(document)
		a, errA := url.Parse(asked)
		if errD != nil || errA != nil || d.Host == "" || d.User != nil || strings.Contains(document, "#") || !SameOrigin(d, a) {
			t.Fatalf("%q covers %q", document, asked)
		}
		if !SameOrParent(document, asked) {
			t.Errorf("%q covers %q only if parents are not allowed", document, asked)
		}
		if Same(document, asked) {
			if path.Join("/", d.EscapedPath()) != path.Join("/", a.EscapedPath()) || d.RawQuery != a.RawQuery {
				t.Errorf("%q is said to be %q", document, asked)
			}
			return
		}
		if d.RawQuery != "" {
			t.Errorf("%q has a query and covers %q", document, asked)
		}
		above, below := segments(d), segments(a)
		if len(above) > len(below) {
			t.Fatalf("%q is longer than %q", document, asked)
		}
		for i, s := range below {
			plain, err := url.PathUnescape(s)
			if err != nil || plain == "." || plain == ".." || strings.ContainsAny(plain, `/\;`) {
				t.Errorf("%q covers %q: the segment %q may mean something else", document, asked, s)
			}
			if i < len(above) && above[i] != s {
				t.Errorf("%q covers %q: the segment %q is %q", document, asked, s, above[i])
			}
		}
	})
}

// FuzzSameIssuer: nothing but one slash after the host is forgiven.
func FuzzSameIssuer(f *testing.F) {
	f.Add("https://a.example", "https://a.example/")
	f.Add("https://a.example/x", "https://a.example/x/")
	f.Add("https://a.example?", "https://a.example?/")
	f.Add("https:/", "https://")
	f.Fuzz(func(t *testing.T, a, b string) {
		same := SameIssuer(a, b)
		if same != SameIssuer(b, a) {
			t.Errorf("%q and %q: the order matters", a, b)
		}
		if same && strings.TrimSuffix(a, "/") != strings.TrimSuffix(b, "/") {
			t.Errorf("%q is said to be %q", a, b)
		}
		if same && a != b {
			if u, err := url.Parse(a); err != nil || u.Host == "" || strings.ContainsAny(a+b, "?#") || strings.HasSuffix(a, "/") && strings.HasSuffix(b, "/") {
				t.Errorf("%q is said to be %q", a, b)
			}
		}
		if !SameIssuer(a, a) && a != "" {
			t.Errorf("%q is not itself", a)
		}
	})
}

// FuzzSameSite looks for two names that pass for one owner's and belong to two.
func FuzzSameSite(f *testing.F) {
	f.Add("login.idp.example", "evil.\u0130dp.example")
	f.Add("a.co.uk", "b.co.uk")
	f.Add("x.a.github.io", "A.GITHUB.IO")
	f.Add("127.0.0.1", "LOCALHOST")
	f.Add("a.", ".")
	owner := func(host string) string {
		if ascii, err := idna.Lookup.ToASCII(host); err == nil {
			host = ascii
		}
		host = strings.ToLower(host)
		if o, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
			return o
		}
		return host
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		same := SameSite(a, b)
		if same != SameSite(b, a) || !SameSite(a, a) {
			t.Errorf("%q and %q: the order matters", a, b)
		}
		if same && (IsLoopbackHost(a) != IsLoopbackHost(b) || !IsLoopbackHost(a) && owner(a) != owner(b)) {
			t.Errorf("%q belongs to %q, %q to %q", a, owner(a), b, owner(b))
		}
	})
}
