package netguard

import (
	"encoding/binary"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// loose reads an IPv4 address the way the most forgiving resolvers do: one to four parts, each decimal,
// octal or hexadecimal, the last one filling the rest, numbers wrapping round.
func loose(host string) (netip.Addr, bool) {
	parts := strings.Split(strings.TrimSuffix(strings.ToLower(host), "."), ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var v uint32
	for i, p := range parts {
		base := uint64(10)
		switch {
		case strings.HasPrefix(p, "0x"):
			p, base = p[2:], 16
		case len(p) > 1 && p[0] == '0' && strings.Trim(p, "01234567") == "":
			base = 8
		}
		if p == "" && base == 10 {
			return netip.Addr{}, false
		}
		var n uint64
		for _, c := range []byte(p) {
			d, err := strconv.ParseUint(string(c), int(base), 8)
			if err != nil {
				return netip.Addr{}, false
			}
			n = n*base + d
		}
		if i == len(parts)-1 {
			v |= uint32(n) & (1<<(32-8*i) - 1) // wrapping round is the point
		} else {
			v |= uint32(n&0xff) << (24 - 8*i)
		}
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, v))), true
}

func TestLooseNotation(t *testing.T) {
	for s, want := range map[string]string{"2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1", "0177.0.0.1": "127.0.0.1", "127.1": "127.0.0.1", "0": "0.0.0.0", "18446744075840258049": "127.0.0.1", "8.8.8.8": "8.8.8.8"} {
		if a, ok := loose(s); !ok || a.String() != want {
			t.Errorf("%s is %s, %t", s, a, ok)
		}
	}
	if a, ok := loose("1e100.net"); ok {
		t.Errorf("a name is %s", a)
	}
}

// notPublic knows only what the standard library knows, so it cannot share a mistake with classify.
func notPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 224 || a.As4()[0] == 100 && a.As4()[1]&0xc0 == 64)
}

// FuzzHost puts arbitrary text where the host of a URL stands. Whatever a public server names and we
// would ask is no address of a narrower network, in any notation.
func FuzzHost(f *testing.F) {
	for _, k := range addresses {
		for _, s := range k.list {
			f.Add(s)
			f.Add("[" + s + "]")
			f.Add("[" + s + "]:443")
		}
	}
	for _, s := range []string{
		"as.example", "as.example:8443", "LOCALHOST", "localhost.", "a.localhost", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "127.0.0.1.", "127.0.0.1..",
		"18446744075840258049", "127.0.0.08", "[::1%25lo]", "user@127.0.0.1", "127.0.0.1:80:80", "metadata", "x.internal", "1e100.net", "0x", "", ".", ":443", "127\u30020.0.1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		parsed, err := url.Parse("https://" + host + "/token")
		for _, u := range []*url.URL{parsed, {Scheme: "https", Host: host, Path: "/token"}} {
			if u == nil || err != nil && u == parsed {
				continue
			}
			public := (Policy{}).CheckURL(u)
			_ = ClassOf(u)
			if u.User != nil && public == nil {
				t.Errorf("%q is asked with user information", host)
			}
			if public == nil {
				name := strings.ToLower(u.Hostname())
				if a, ok := loose(name); ok && (notPublic(a) || name != a.String() && name != a.String()+".") {
					t.Errorf("%q is asked, and may be %s", host, a)
				}
				if a, perr := netip.ParseAddr(name); perr == nil && (notPublic(a) || a.Zone() != "") {
					t.Errorf("%q is asked", host)
				}
				if strings.HasSuffix("."+strings.TrimSuffix(name, "."), ".localhost") || strings.ContainsAny(name, " %/\\@\r\n\x00") {
					t.Errorf("%q is asked", host)
				}
			}
			for _, p := range policies() {
				other := p.CheckURL(u)
				if public == nil && other != nil {
					t.Errorf("%q is asked for a public server, but not with %+v: %v", host, p, other)
				}
				a, perr := netip.ParseAddr(strings.TrimSuffix(u.Hostname(), "."))
				if perr == nil && other == nil {
					if derr := p.Control("tcp", netip.AddrPortFrom(a, 443).String(), nil); derr != nil {
						t.Errorf("%q passes by name, not when dialled: %v", host, derr)
					}
				}
			}
			if err := (Policy{}).CheckURL(&url.URL{Scheme: "http", Host: host, Path: "/token"}); err == nil {
				t.Errorf("%q is asked in plain http", host)
			}
		}
	})
}

// FuzzAddress gives every 16 bytes a class: none that the standard library calls private, local or
// special may be public, and a mapped address is what it maps.
func FuzzAddress(f *testing.F) {
	for _, k := range addresses {
		for _, s := range k.list {
			b := netip.MustParseAddr(s).As16()
			f.Add(b[:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 16 {
			return
		}
		a := netip.AddrFrom16([16]byte(b[:16]))
		c := classify(a)
		if c == Public && notPublic(a) {
			t.Errorf("%s is public", a)
		}
		if got := classify(a.Unmap()); got != c {
			t.Errorf("%s is %s, unmapped %s", a, c, got)
		}
		if got := classify(a.WithZone("eth0")); a.Is6() && !a.Is4In6() && got != forbidden {
			t.Errorf("%s with a zone is %s", a, got)
		}
		v4 := netip.AddrFrom4([4]byte(b[12:16]))
		nat64 := netip.AddrFrom16([16]byte(append([]byte{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}, b[12:16]...)))
		if classify(v4) != Public && classify(nat64) == Public {
			t.Errorf("%s is public, %s is not", nat64, v4)
		}
	})
}
