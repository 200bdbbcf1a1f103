// Package netguard makes the requests of the protocol and decides which URLs and addresses may be
// requested.
package netguard

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/mcpoauth/mcpoauth/internal/resource"
)

// Class is where an address lives.
type Class int

const (
	// Public addresses are reachable from everywhere.
	Public Class = iota
	// Private addresses belong to a local network.
	Private
	// Loopback addresses belong to this machine.
	Loopback
	// forbidden addresses are never requested: link-local, multicast, cloud metadata, reserved.
	forbidden
)

// String names the class.
func (c Class) String() string {
	return [...]string{"public", "private", "loopback", "forbidden"}[c]
}

// ClassOf returns the class of the URL that a person typed. A name is public unless it is localhost:
// the address that a name resolves to must not extend what its server may refer to.
func ClassOf(u *url.URL) Class {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if isLocalhost(host) {
		return Loopback
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return classify(a)
	}
	if isIntranet(host) {
		return Private
	}
	return Public
}

// isLocalhost reports whether a name in lower case stands for this machine (RFC 6761 section 6.3).
func isLocalhost(name string) bool {
	return resource.IsLoopbackHost(name) || strings.HasSuffix(name, ".localhost")
}

// isIntranet reports whether a name in lower case is one that no public resolver knows.
func isIntranet(name string) bool {
	return !strings.Contains(name, ".") || hasSuffix(name, ".local", ".internal", ".lan", ".home.arpa", ".corp")
}

func hasSuffix(s string, suffixes ...string) bool {
	for _, x := range suffixes {
		if strings.HasSuffix(s, x) {
			return true
		}
	}
	return false
}

// Policy decides which addresses may be requested.
type Policy struct {
	// Class of the URL that the person typed: addresses of this class are allowed besides public ones.
	Class Class
	// AllowPrivateNetwork allows private and loopback addresses whatever Class is.
	AllowPrivateNetwork bool
	// AllowInsecureHTTP allows plain http on any host.
	AllowInsecureHTTP bool
}

const maxURL = 8192

// CheckURL reports why a URL must not be requested: it is neither https nor http on a loopback host, it has
// user information, a fragment or a zone, its host is not ASCII, or its address is not allowed.
func (p Policy) CheckURL(u *url.URL) error {
	if u == nil || u.Host == "" || u.Opaque != "" {
		return errors.New("it is not an absolute URL")
	}
	if len(u.Host)+len(u.Path)+len(u.RawQuery) > maxURL {
		return fmt.Errorf("it is longer than %d bytes", maxURL)
	}
	host := u.Hostname()
	switch {
	case u.User != nil:
		return errors.New("it holds a user name or password")
	case u.Fragment != "":
		return errors.New("it has a fragment")
	case strings.Contains(host, "%"):
		return errors.New("its host has a zone")
	}
	for i := range len(host) {
		c := host[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_:", c) >= 0) {
			return errors.New("its host has characters that a host name cannot have")
		}
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("its port is not valid")
		}
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
	case "http":
		if !resource.IsLoopbackHost(host) && !p.AllowInsecureHTTP {
			return errors.New("it is plain http on a host other than loopback")
		}
	default:
		return fmt.Errorf("its scheme %.20q is neither https nor http", u.Scheme)
	}
	return p.checkHost(host)
}

// checkHost checks literals and names that stand for addresses.
func (p Policy) checkHost(host string) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	switch name {
	case "metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "instance-data", "instance-data.ec2.internal":
		return errors.New("it is a cloud metadata service")
	}
	if isLocalhost(name) {
		return p.allow(Loopback, host)
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return p.allow(classify(a), host)
	}
	switch {
	case strings.Contains("."+name+".", "..") || strings.Contains(name, ":"):
		return errors.New("its host is neither a name nor an address")
	case numeric(name):
		// Some resolvers take 2130706433, 0x7f.1 and 127.1 for addresses.
		return errors.New("its host is an address in an unusual notation")
	case p.Class == Public && isIntranet(name):
		// Our dialler would see its address, but a proxy dials by itself.
		return p.allow(Private, host)
	}
	return nil
}

// numeric reports whether a name ends in a number: no name that a resolver knows does.
func numeric(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == ""
}

func (p Policy) allow(c Class, what string) error {
	switch {
	case c == forbidden:
		return fmt.Errorf("%s is an address that is never requested (link-local, cloud metadata or reserved)", what)
	case c == Public || c == p.Class || p.AllowPrivateNetwork:
		return nil
	}
	return fmt.Errorf("%s is a %s address, but the server that was asked for is %s", what, c, p.Class)
}

// Control is a net.Dialer's hook: it checks the address that is really dialled, after resolving.
func (p Policy) Control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refused{fmt.Errorf("%q is not an address", address)}
	}
	if err := p.allow(classify(ap.Addr()), ap.Addr().String()); err != nil {
		return &refused{err}
	}
	return nil
}

// refused marks errors of the guard itself, which are permanent.
type refused struct{ err error }

func (e *refused) Error() string { return "refused: " + e.err.Error() }
func (e *refused) Unwrap() error { return e.err }

type block struct {
	prefix netip.Prefix
	class  Class
}

// blocks are the special-purpose registries of IPv4 and IPv6 (RFC 6890 and later), the more special
// first, with the metadata services of the large clouds.
var blocks = sync.OnceValue(func() []block {
	var out []block
	add := func(c Class, prefixes ...string) {
		for _, s := range prefixes {
			out = append(out, block{netip.MustParsePrefix(s), c})
		}
	}
	add(forbidden, "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128")
	add(Loopback, "127.0.0.0/8", "::1/128")
	add(Private, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
	add(forbidden, "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "fec0::/10", "ff00::/8", "100::/64", "100:0:0:1::/64", "2001:db8::/32", "2001::/23", "3fff::/20", "5f00::/16")
	return out
})

// classify returns the class of an address. An IPv4-mapped one is of the IPv4 address's class; one that
// carries a non-public IPv4 address in another way is forbidden, because it has no legitimate use.
func classify(a netip.Addr) Class {
	if !a.IsValid() || a.Zone() != "" {
		return forbidden
	}
	a = a.Unmap()
	for _, b := range blocks() {
		if b.prefix.Contains(a) {
			return b.class
		}
	}
	if a.Is6() {
		for _, v4 := range embedded(a) {
			if classify(v4) != Public {
				return forbidden
			}
		}
	}
	return Public
}

// embedded returns the IPv4 addresses that an IPv6 address may carry: NAT64 (RFC 6052, RFC 8215),
// 6to4, IPv4-compatible, IPv4-translated, ISATAP.
func embedded(a netip.Addr) []netip.Addr {
	b := a.As16()
	at := func(i ...int) netip.Addr { return netip.AddrFrom4([4]byte{b[i[0]], b[i[1]], b[i[2]], b[i[3]]}) }
	last := at(12, 13, 14, 15)
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a), netip.MustParsePrefix("::/96").Contains(a), netip.MustParsePrefix("::ffff:0:0:0/96").Contains(a):
		return []netip.Addr{last}
	case netip.MustParsePrefix("64:ff9b:1::/48").Contains(a):
		// The network's owner chose one of four layouts. What begins with 0 is no address but zeros
		// around one, unless there is nothing else.
		var out []netip.Addr
		for _, v4 := range []netip.Addr{at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last} {
			if v4.As4()[0] != 0 {
				out = append(out, v4)
			}
		}
		if out == nil {
			out = append(out, last)
		}
		return out
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return []netip.Addr{at(2, 3, 4, 5)}
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe:
		return []netip.Addr{last}
	}
	return nil
}
