// Package resource compares the identities of the protocol: resources, origins and issuers.
package resource

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// maxURL bounds a URL that a person types.
const maxURL = 4096

// Hostname returns the host of a URL without its port and brackets, "" if it is not a URL.
func Hostname(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// ParseServer parses the URL of an MCP server as a person types it: absolute, http or https,
// without user information and fragment. The error is a text for that person.
func ParseServer(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("it is longer than %d bytes", maxURL)
	}
	shown := raw
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		// What stands before it may be a password.
		shown = "..." + raw[i:]
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("%q has spaces or control characters in it", shown)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%q is not a URL", shown)
	}
	switch scheme := strings.ToLower(u.Scheme); {
	case u.User != nil:
		return nil, errors.New("it holds a user name or password; credentials do not belong in the URL")
	case scheme == "":
		return nil, fmt.Errorf("%q has no scheme; did you mean https://%s?", shown, strings.TrimPrefix(shown, "//"))
	case scheme != "https" && scheme != "http":
		return nil, fmt.Errorf("%q is neither https nor http", shown)
	case u.Opaque != "" || u.Hostname() == "":
		return nil, fmt.Errorf("%q names no host", shown)
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, fmt.Errorf("%q has a fragment", shown)
	}
	host, err := asciiHost(u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("the host %q is not valid", u.Hostname())
	}
	if p := u.Port(); strings.HasSuffix(u.Host, ":") || !validPort(p) {
		return nil, fmt.Errorf("the port %q is not valid", p)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	u.Host = HostPort(host, u.Port())
	return u, nil
}

func validPort(p string) bool {
	if p == "" {
		return true
	}
	n := 0
	for _, r := range p {
		if r < '0' || r > '9' {
			return false
		}
		if n = n*10 + int(r-'0'); n > 65535 {
			return false
		}
	}
	return n > 0
}

func asciiHost(host string) (string, error) {
	if strings.Contains(host, ":") {
		a, err := netip.ParseAddr(host)
		if err != nil || a.Zone() != "" {
			return "", errors.New("not an IPv6 address")
		}
		return a.String(), nil
	}
	ascii := true
	for i := range len(host) {
		ascii = ascii && host[i] < 0x80
	}
	if !ascii {
		var err error
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", err
		}
	}
	host = strings.ToLower(host)
	for i := range len(host) {
		if c := host[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return "", errors.New("not a host name")
		}
	}
	return host, nil
}

// HostPort joins a host and a port as they stand in a URL: an IPv6 address gets brackets, and without a port
// there is no colon.
func HostPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return host
}

// Host returns host and port of a URL as they stand in it, "" if it is not a URL.
func Host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// hostPort returns scheme and host in lower case, the default port dropped.
func hostPort(u *url.URL) (scheme, host string) {
	scheme = strings.ToLower(u.Scheme)
	name, port := lower(u.Hostname()), u.Port()
	if port != "" {
		if port = strings.TrimLeft(port, "0"); port == "" {
			port = "0"
		}
	}
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		port = ""
	}
	return scheme, HostPort(name, port)
}

// lower lowers ASCII letters only, byte by byte: the lower case of "İ" is "i", and that of a broken
// character is that of any other, but the hosts are others.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Canonical returns the form by which a server is known: scheme and host in lower case, no
// default port, no fragment, no slash for an empty path; path and query as they are (RFC 3986
// section 6.2, RFC 8707 section 2).
func Canonical(u *url.URL) string {
	c := *u
	c.Scheme, c.Host = hostPort(u)
	c.Fragment, c.RawFragment, c.User = "", "", nil
	if c.Path == "/" {
		c.Path, c.RawPath = "", ""
	}
	c.ForceQuery = false
	return c.String()
}

// Origin returns scheme, host and port as "https://host[:port]", in lower case, the default port
// dropped (RFC 6454).
func Origin(u *url.URL) string {
	scheme, host := hostPort(u)
	return scheme + "://" + host
}

// OriginOf returns the [Origin] of a URL, "" if it is not a URL with a host.
func OriginOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	return Origin(u)
}

// SameOriginOf is [SameOrigin] for URLs as text. A text that is not a URL has no origin.
func SameOriginOf(a, b string) bool {
	origin := OriginOf(a)
	return origin != "" && origin == OriginOf(b)
}

// SameOrigin reports whether two URLs share scheme, host and port.
func SameOrigin(a, b *url.URL) bool {
	if a.Host == b.Host && a.Scheme == b.Scheme {
		return a.Host != ""
	}
	sa, ha := hostPort(a)
	sb, hb := hostPort(b)
	return sa == sb && ha == hb && ha != ""
}

// plain reports whether all servers resolve a URL's path in the same way: no dot segments, no encoded slashes
// or dots, no backslashes.
func plain(u *url.URL) bool {
	p := strings.ToLower(u.EscapedPath())
	if strings.Contains(p, "%2f") || strings.Contains(p, "%2e") || strings.Contains(p, "%5c") || strings.ContainsAny(p, "\\;") {
		return false
	}
	return p == "" || path.Clean(p) == strings.TrimSuffix(p, "/") || p == "/"
}

// Same reports whether the resource that a document names is the one asked for, host case, default port and the
// slash of an empty path aside.
func Same(document, asked string) bool {
	d, a, ok := parsePair(document, asked)
	return ok && Canonical(d) == Canonical(a)
}

// SamePath is [Same], but a terminating slash of the path is ignored, and so is the query of the URL asked for where
// the document has none: servers often leave them out of their metadata.
func SamePath(document, asked string) bool {
	d, a, ok := parsePair(document, asked)
	if !ok {
		return false
	}
	path := func(u *url.URL) string { return strings.TrimSuffix(u.EscapedPath(), "/") }
	return Canonical(d) == Canonical(a) || SameOrParent(document, asked) && path(d) == path(a)
}

// SameOrParent reports whether the resource that a document names is the one asked for, or a parent of it on the
// same origin by whole path segments.
func SameOrParent(document, asked string) bool {
	d, a, ok := parsePair(document, asked)
	if !ok {
		return false
	}
	if Canonical(d) == Canonical(a) {
		return true
	}
	return d.RawQuery == "" && !d.ForceQuery && plain(d) && plain(a) && Below(d, a)
}

// parsePair parses the resource of a document and the one asked for. ok is false if the document's cannot name
// a resource.
func parsePair(document, asked string) (d, a *url.URL, ok bool) {
	d, err := url.Parse(document)
	if err != nil || d.User != nil || d.Opaque != "" || strings.Contains(document, "#") || d.Hostname() == "" {
		return nil, nil, false
	}
	a, err = url.Parse(asked)
	return d, a, err == nil
}

// Below reports whether child's path is parent's or lies below it by whole segments, on the same
// origin.
func Below(parent, child *url.URL) bool {
	if !SameOrigin(parent, child) {
		return false
	}
	if p, c := parent.EscapedPath(), child.EscapedPath(); p == c {
		return true
	}
	if !plain(parent) || !plain(child) {
		return false
	}
	p := strings.TrimSuffix(parent.EscapedPath(), "/")
	c := child.EscapedPath()
	return c == p || strings.HasPrefix(c, p+"/")
}

// SameIssuer reports whether a document's issuer is the announced one, one slash at the end aside: both have the same
// well-known addresses (RFC 8414 section 3.1).
func SameIssuer(announced, document string) bool {
	if announced == document {
		return announced != ""
	}
	long, short := announced, document
	if len(long) < len(short) {
		long, short = short, long
	}
	if long != short+"/" {
		return false
	}
	u, err := url.Parse(short)
	return err == nil && u.Host != "" && !strings.HasSuffix(short, "/") && u.RawQuery == "" && !u.ForceQuery && !strings.Contains(short, "#")
}

// SameSite reports whether the hosts share one registrable domain by the public suffix list.
// Addresses and names without such a domain must be equal; loopback names count as one.
func SameSite(hosts ...string) bool {
	var first string
	for i, h := range hosts {
		s := site(h)
		if i == 0 {
			first = s
		} else if s != first {
			return false
		}
	}
	return true
}

func site(host string) string {
	host = lower(host)
	if IsLoopbackHost(host) {
		return "localhost"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	if s, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return s
	}
	return host
}

// IsLoopbackHost reports whether host, without port, is localhost, in 127.0.0.0/8 or ::1. Names
// that merely resolve there are not.
func IsLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		// EqualFold folds beyond ASCII: "ſ" would pass for "s".
		return len(host) == len("localhost")
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Zone() == "" && (a.Is4() && a.IsLoopback() || a == netip.IPv6Loopback())
}
