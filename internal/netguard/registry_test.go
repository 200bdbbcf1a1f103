package netguard

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// TestSpecialPurposeRegistries compares the table of addresses with IANA's: what is not reachable from everywhere must not
// be taken for public, at either end of each block.
func TestSpecialPurposeRegistries(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/special-purpose.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	entries := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		entries++
		block, reachable, class := netip.MustParsePrefix(fields[0]), fields[1], fields[2]
		if block != block.Masked() || len(fields) < 5 || !strings.HasPrefix(fields[3], "RFC") || reachable != "yes" && class == Public.String() {
			t.Errorf("the entry %q is wrong", lines.Text())
		}
		for _, a := range []netip.Addr{block.Addr(), last(block)} {
			if block.Contains(netip.IPv6Loopback()) && block.Bits() < 128 {
				continue
			}
			if got := classify(a).String(); got != class {
				t.Errorf("%s of %s is %s, want %s", a, fields[0], got, class)
			}
		}
	}
	if entries != 48 {
		t.Errorf("%d entries, want 48", entries)
	}
	// Blocks whose addresses stand for others: the IPv4 address in them decides.
	for a, want := range map[string]Class{
		"::ffff:10.0.0.1": Private, "::ffff:127.0.0.1": Loopback, "::ffff:8.8.8.8": Public, // RFC 4291
		"64:ff9b::8.8.8.8": Public, "64:ff9b::10.0.0.1": forbidden, // RFC 6052
		"2002:808:808::1": Public, "2002:a00:1::1": forbidden, // RFC 3056
		// Multicast has registries of its own.
		"224.0.0.1": forbidden, "239.255.255.255": forbidden, "ff02::1": forbidden, "ff0e::1": forbidden,
		// Next to the blocks.
		"9.255.255.255": Public, "11.0.0.0": Public, "100.63.255.255": Public, "100.128.0.0": Public, "172.15.255.255": Public, "172.32.0.0": Public,
		"192.0.1.0": Public, "198.17.255.255": Public, "198.20.0.0": Public, "2001:200::": Public, "2001:db7:ffff::": Public, "2001:db9::": Public, "3ffe::": Public, "4000::": Public,
		"100:0:0:2::": Public, "fbff::": Public,
	} {
		if got := classify(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s is %s, want %s", a, got, want)
		}
	}
}

// last returns the last address of a block.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
