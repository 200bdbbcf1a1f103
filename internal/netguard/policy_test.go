package netguard

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// addresses holds one or more addresses of every kind that a document or a resolver may name.
var addresses = []struct {
	kind  string
	class Class
	list  []string
}{
	{"public", Public, []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0",
		"192.167.255.255", "192.169.0.0", "169.253.255.255", "169.255.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001:80b::200e",
	}},
	{"loopback", Loopback, []string{"127.0.0.1", "127.0.0.0", "127.1.2.3", "127.255.255.255", "::1"}},
	{"mapped loopback", Loopback, []string{"::ffff:127.0.0.1", "::ffff:7f00:1"}},
	{"private (RFC 1918)", Private, []string{"10.0.0.1", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.1", "192.168.255.255"}},
	{"mapped private", Private, []string{"::ffff:10.0.0.1", "::ffff:c0a8:1"}},
	{"carrier-grade NAT and overlay networks", Private, []string{"100.64.0.0", "100.100.100.199", "100.127.255.255"}},
	{"unique local IPv6", Private, []string{"fc00::1", "fd00::1", "fd7a:115c:a1e0::1", "fdff:ffff::1"}},
	{"link-local", forbidden, []string{"169.254.0.1", "169.254.255.255", "fe80::1", "febf::1", "::ffff:169.254.1.1"}},
	{"cloud metadata", forbidden, []string{
		"169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "fd00:ec2::254", "fd20:ce::254",
		"100.100.100.200", "168.63.129.16", "192.0.0.192",
	}},
	{"unspecified and this network", forbidden, []string{"0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"}},
	{"multicast", forbidden, []string{"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"}},
	{"broadcast and reserved", forbidden, []string{"240.0.0.1", "255.255.255.255"}},
	{"documentation and benchmarks", forbidden, []string{"192.0.2.1", "198.51.100.1", "203.0.113.10", "198.18.0.1", "198.19.255.255", "2001:db8::1", "3fff::1"}},
	{"protocol assignments", forbidden, []string{"192.0.0.1", "192.88.99.1", "100::1", "5f00::1", "fec0::1"}},
	{"Teredo", forbidden, []string{"2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"}},
	{"NAT64 around a public address", Public, []string{
		"64:ff9b::808:808", "64:ff9b:1::808:808",
		"64:ff9b:1:808:8:800::", "64:ff9b:1:8:8:808::", "64:ff9b:1:0:8:808:800:0",
	}},
	{"NAT64 around another", forbidden, []string{
		"64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1::a00:1", "64:ff9b:1::", "64:ff9b:1::1",
	}},
	{"NAT64 with a shorter prefix around another, and a decoy at the end", forbidden, []string{
		"64:ff9b:1:7f08:8:800:808:808", "64:ff9b:1:87f:8:808:808:808", "64:ff9b:1:808:7f:808:808:808",
	}},
	{"6to4 around a public address", Public, []string{"2002:808:808::1"}},
	{"6to4 around another", forbidden, []string{"2002:a9fe:a9fe::1", "2002:7f00:1::1", "2002:c0a8:101::1", "2002::1"}},
	{"IPv4-compatible", forbidden, []string{"::a9fe:a9fe", "::7f00:1", "::10.0.0.1", "::2"}},
	{"IPv4-translated", forbidden, []string{"::ffff:0:7f00:1", "::ffff:0:a9fe:a9fe"}},
	{"ISATAP around another", forbidden, []string{"2606:4700::5efe:192.168.1.1", "2606:4700::200:5efe:a9fe:a9fe"}},
	{"ISATAP around a public address", Public, []string{"2606:4700::200:5efe:8.8.8.8"}},
	{"with a zone", forbidden, []string{"fe80::1%eth0", "::1%lo", "2606:4700::1%eth0", "::ffff:127.0.0.1%lo"}},
}

// It has a row in docs/compatibility.md.
func TestAddressesOfEveryKind(t *testing.T) {
	for _, k := range addresses {
		for _, s := range k.list {
			if got := classify(netip.MustParseAddr(s)); got != k.class {
				t.Errorf("%s (%s) is %s, want %s", s, k.kind, got, k.class)
			}
		}
	}
	if got := classify(netip.Addr{}); got != forbidden {
		t.Errorf("no address at all is %s", got)
	}
}

// allowed is the rule in one line: public always, the typed URL's own class, private and loopback with
// the setting; the rest never.
func allowed(c Class, p Policy) bool {
	return c != forbidden && (c == Public || c == p.Class || p.AllowPrivateNetwork)
}

func policies() []Policy {
	var out []Policy
	for _, c := range []Class{Public, Private, Loopback, forbidden} {
		for _, allow := range []bool{false, true} {
			out = append(out, Policy{Class: c, AllowPrivateNetwork: allow})
		}
	}
	return out
}

// TestAddressesUnderEveryPolicy asks for each address as a literal and as what a dialler is about to
// connect to: both must give the same answer.
func TestAddressesUnderEveryPolicy(t *testing.T) {
	for _, p := range policies() {
		for _, k := range addresses {
			for _, s := range k.list {
				a := netip.MustParseAddr(s)
				want := allowed(k.class, p)
				if err := p.Control("tcp", netip.AddrPortFrom(a, 443).String(), nil); (err == nil) != want {
					t.Errorf("typed %s, allow %t: dialling %s (%s): %v, want allowed %t", p.Class, p.AllowPrivateNetwork, s, k.kind, err, want)
				}
				host := s
				if a.Is6() {
					host = "[" + s + "]"
				}
				u := &url.URL{Scheme: "https", Host: host + ":8443", Path: "/token"}
				if err := p.CheckURL(u); (err == nil) != want {
					t.Errorf("typed %s, allow %t: %s (%s): %v, want allowed %t", p.Class, p.AllowPrivateNetwork, u, k.kind, err, want)
				}
			}
		}
	}
}

func TestDiallerRefusesWhatIsNoAddress(t *testing.T) {
	everything := Policy{Class: Loopback, AllowPrivateNetwork: true, AllowInsecureHTTP: true}
	for _, s := range []string{"", "localhost:443", "127.0.0.1", "127.0.0.1:99999", "/run/docker.sock", "[fe80::1%eth0]:443"} {
		if err := everything.Control("tcp", s, nil); err == nil {
			t.Errorf("%q may be dialled", s)
		}
	}
}

func TestClassOfTheTypedURL(t *testing.T) {
	for _, c := range []struct {
		host string
		want Class
	}{
		{"mcp.example.com", Public},
		{"mcp.example.com.", Public},
		{"8.8.8.8", Public},
		{"[2606:4700::1]", Public},
		{"localhost.example.com", Public},
		{"127.0.0.1.example.com", Public},
		{"10.0.0.1.example.com", Public},
		{"local.example", Public},

		{"localhost", Loopback},
		{"LocalHost:3000", Loopback},
		{"localhost.", Loopback},
		{"app.localhost:8443", Loopback},
		{"127.0.0.1:3000", Loopback},
		{"127.0.0.1.", Loopback},
		{"127.9.9.9", Loopback},
		{"[::1]:3000", Loopback},
		{"[::ffff:127.0.0.1]", Loopback},

		{"10.1.2.3", Private},
		{"192.168.1.10:8080", Private},
		{"100.101.102.103", Private},
		{"[fd12:3456::1]", Private},
		{"[::ffff:10.0.0.1]", Private},
		{"intranet", Private},
		{"keycloak:8080", Private},
		{"NAS.Local", Private},
		{"nas.local.", Private},
		{"mcp.corp", Private},
		{"mcp.lan", Private},
		{"mcp.home.arpa", Private},
		{"host.docker.internal", Private},

		// Nothing becomes reachable by typing it.
		{"169.254.169.254", forbidden},
		{"[fd00:ec2::254]", forbidden},
		{"0.0.0.0", forbidden},
		{"[fe80::1]", forbidden},
	} {
		u, err := url.Parse("https://" + c.host + "/mcp")
		if err != nil {
			t.Fatal(err)
		}
		if got := ClassOf(u); got != c.want {
			t.Errorf("%s is %s, want %s", c.host, got, c.want)
		}
	}
}

// TestTypedURLMayBeAsked: whatever class a typed URL has, the policy made of it lets that URL through.
func TestTypedURLMayBeAsked(t *testing.T) {
	for _, raw := range []string{
		"https://mcp.example.com/mcp", "https://intranet/mcp", "https://nas.local:8443/mcp", "https://10.0.0.1/mcp", "https://[fd12::1]/mcp", "https://100.64.0.1/mcp",
		"http://localhost:3000/mcp", "http://LOCALHOST:3000/mcp", "http://127.0.0.1:3000/mcp", "http://127.0.0.2/mcp", "http://[::1]:3000/mcp",
		"https://localhost./mcp", "https://app.localhost/mcp", "https://127.0.0.1./mcp", "https://[::ffff:127.0.0.1]/mcp",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Policy{Class: ClassOf(u)}).CheckURL(u); err != nil {
			t.Errorf("%s was typed, but: %v", raw, err)
		}
	}
	for _, raw := range []string{"http://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "https://metadata.google.internal/", "https://0.0.0.0/"} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Policy{Class: ClassOf(u), AllowPrivateNetwork: true, AllowInsecureHTTP: true}).CheckURL(u); err == nil {
			t.Errorf("%s is asked because it was typed", raw)
		}
	}
}

// TestLoopbackNamesFollowTheTypedClass: names that stand for this machine are its addresses.
func TestLoopbackNamesFollowTheTypedClass(t *testing.T) {
	for _, host := range []string{"localhost", "LOCALHOST", "localhost.", "app.localhost", "a.b.LocalHost", "app.localhost.", "127.0.0.1."} {
		u := &url.URL{Scheme: "https", Host: host}
		for _, p := range policies() {
			if err := p.CheckURL(u); (err == nil) != allowed(Loopback, p) {
				t.Errorf("typed %s, allow %t: %s: %v", p.Class, p.AllowPrivateNetwork, host, err)
			}
		}
	}
}

// TestIntranetNamesAreNotForPublicServers: behind a proxy the name is all that can be checked.
func TestIntranetNamesAreNotForPublicServers(t *testing.T) {
	for _, host := range []string{"vault", "vault.", "db.internal", "ip-10-0-0-1.ec2.internal", "printer.local", "idp.corp", "router.lan", "x.home.arpa", "DB.Internal"} {
		u := &url.URL{Scheme: "https", Host: host}
		if err := (Policy{}).CheckURL(u); err == nil {
			t.Errorf("a public server may name %s", host)
		}
		for _, p := range []Policy{{Class: Private}, {AllowPrivateNetwork: true}, {Class: Loopback}} {
			if err := p.CheckURL(u); err != nil {
				t.Errorf("typed %s, allow %t: %s: %v", p.Class, p.AllowPrivateNetwork, host, err)
			}
		}
	}
}

// TestCloudMetadataNames: the name alone is enough, since behind a proxy nothing else is seen.
func TestCloudMetadataNames(t *testing.T) {
	for _, host := range []string{"metadata.google.internal", "METADATA.google.internal.", "metadata", "metadata.goog", "metadata.azure.internal", "instance-data", "instance-data.ec2.internal"} {
		for _, p := range policies() {
			p.AllowInsecureHTTP = true
			if err := p.CheckURL(&url.URL{Scheme: "http", Host: host, Path: "/computeMetadata/v1/"}); err == nil {
				t.Errorf("typed %s, allow %t: %s is asked", p.Class, p.AllowPrivateNetwork, host)
			}
		}
	}
}

// TestUnusualNotationsAreNoHosts: system resolvers read these as addresses, some only on some systems.
func TestUnusualNotationsAreNoHosts(t *testing.T) {
	everything := Policy{Class: Loopback, AllowPrivateNetwork: true, AllowInsecureHTTP: true}
	for _, host := range []string{
		"2130706433", "2852039166", "0", "1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "0X7F000001", "0x7f.0.0.1", "0xa9fea9fe", "0x",
		"0177.0.0.1", "017700000001", "127.0.0.01", "127.0.0.08", "127.0.0.0x1", "169.254.43518", "1.2.3.4.5", "256.1.1.1", "127.1.",
		"18446744075840258049", "99999999999999999999999999", "example.123", "a.0x7f", "0x7f000001.",
	} {
		if err := everything.CheckURL(&url.URL{Scheme: "https", Host: host}); err == nil {
			t.Errorf("%s is asked", host)
		}
	}
}

func TestPlainHTTPIsForLoopbackHosts(t *testing.T) {
	p := Policy{Class: Loopback}
	for _, host := range []string{"localhost:1", "LOCALHOST:1", "127.0.0.1", "127.8.8.8", "[::1]:1"} {
		if err := p.CheckURL(&url.URL{Scheme: "http", Host: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{
		"localhost.evil.example", "127.0.0.1.evil.example", "localhost.", "app.localhost", "evil.example", "notlocalhost", "localhost-x",
		"127.0.0.1.", "[::ffff:127.0.0.1]", "[::2]", "8.8.8.8", "loca1host", "xn--localhost-9x0d",
	} {
		if err := p.CheckURL(&url.URL{Scheme: "http", Host: host}); err == nil {
			t.Errorf("http://%s is asked", host)
		}
	}
	insecure := Policy{AllowInsecureHTTP: true}
	if err := insecure.CheckURL(&url.URL{Scheme: "http", Host: "mcp.example.com"}); err != nil {
		t.Errorf("with the setting: %v", err)
	}
	if err := insecure.CheckURL(&url.URL{Scheme: "http", Host: "127.0.0.1"}); err == nil {
		t.Error("the setting for plain http opens loopback addresses")
	}
}

func TestURLsThatAreNeverAsked(t *testing.T) {
	everything := Policy{Class: Loopback, AllowPrivateNetwork: true, AllowInsecureHTTP: true}
	for _, raw := range []string{
		"", "/token", "//as.example/token", "as.example/token", "https:as.example", "https:///token", "https://:443/token",
		"javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "file://localhost/etc/passwd", "ftp://as.example/", "ws://as.example/", "unix://as.example/", "gopher://as.example/",
		"https://user:pw@as.example/", "https://user@as.example/", "https://@as.example/", "http://localhost@evil.example/",
		"https://as.example/#x", "http://evil.example#localhost",
		"https://[fe80::1%25lo]/", "https://[::1%25lo]/",
		"https://as.example:0/", "https://as.example:65536/", "https://as.example:99999999999999999999/",
		"https://b\u00fccher.example/", "https://ex%61mple.com/", "https://\u24dbocalhost/", "https://127\u30020\u30020\u30021/", "https://lo\u017fcalhost/", "https://as_example\u200b.com/",
		"https://a..b/", "https://.a.b/", "https://.../", "https://./", "https://as.example../",
		"https://as.example/" + strings.Repeat("a", maxURL), "https://as.example/?" + strings.Repeat("a", maxURL), "https://" + strings.Repeat("a.", maxURL/2) + "b/",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			continue // net/url refuses it already
		}
		if err := everything.CheckURL(u); err == nil {
			t.Errorf("%.80q is asked", raw)
		}
	}
	for name, u := range map[string]*url.URL{
		"nil":                   nil,
		"several colons":        {Scheme: "https", Host: "127.0.0.1:80:80"},
		"port that is none":     {Scheme: "https", Host: "as.example:http"},
		"space":                 {Scheme: "https", Host: "as.example .evil.example"},
		"line break":            {Scheme: "https", Host: "as.example\r\nX: y"},
		"slash":                 {Scheme: "https", Host: "as.example/evil"},
		"backslash":             {Scheme: "https", Host: `as.example\evil`},
		"at sign":               {Scheme: "https", Host: "as.example@evil.example"},
		"bracket":               {Scheme: "https", Host: "[::1"},
		"IPv6 without brackets": {Scheme: "https", Host: "::1"},
		"scheme with a break":   {Scheme: "https\n", Host: "as.example"},
		"opaque":                {Scheme: "https", Host: "as.example", Opaque: "//evil.example"},
	} {
		if err := everything.CheckURL(u); err == nil {
			t.Errorf("%s: %v is asked", name, u)
		}
	}
	for _, raw := range []string{
		"https://as.example", "HTTPS://AS.Example/token?tenant=1", "https://as.example:0443/", "https://as-1.example.co.uk./x", "https://xn--bcher-kva.example/",
		"https://a_b.example/", "https://0x.example/", "https://1e100.net/", "https://2130706433.example/",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Policy{}).CheckURL(u); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestRefusalsNameNoText: a refusal may be printed, so hostile parts of a URL are quoted or left out.
func TestRefusalsNameNoText(t *testing.T) {
	for _, u := range []*url.URL{
		{Scheme: "ht\x1b[31mtp" + strings.Repeat("x", 500), Host: "as.example"},
		{Scheme: "https", Host: "as\x1b]0;owned\a.example"},
		{Scheme: "https", User: url.UserPassword("u", "SECRET"), Host: "as.example"},
		{Scheme: "https", Host: "10.0.0.1", RawQuery: "code=SECRET"},
	} {
		err := (Policy{}).CheckURL(u)
		if err == nil {
			t.Errorf("%q is asked", u)
			continue
		}
		if s := err.Error(); strings.ContainsAny(s, "\x1b\a\n") || strings.Contains(s, "SECRET") || len(s) > 200 {
			t.Errorf("the refusal is %q", s)
		}
	}
}
