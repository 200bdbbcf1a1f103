package mcpoauth

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/resource"
)

const (
	// maxCookies is how many cookies are kept, maxCookie how long name and value of one may be, in bytes.
	maxCookies = 50
	maxCookie  = 4 << 10
)

// cookieJar keeps the cookies of an MCP server for as long as the Client lives. Load balancers use them to send all
// requests of an MCP session to one machine. They go to the server's own origin and nowhere else, never with requests to
// an authorization server, and those of one login never with the token of another.
type cookieJar struct {
	// kept is nil until the server has set a cookie: few do, and a program may have many Clients.
	kept atomic.Pointer[cookies]
}

// cookies are those of one login.
type cookies struct {
	mu sync.Mutex
	// login is the login whose cookies are kept, "" for requests without a token.
	login string
	list  []*http.Cookie
}

// attach sets the Cookie header of a request that is sent with the token of a login.
func (j *cookieJar) attach(r *http.Request, login string) {
	delete(r.Header, "Cookie")
	k := j.kept.Load()
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.login != login {
		k.list = nil
		return
	}
	now := time.Now()
	var pairs []string
	for _, c := range k.list {
		if (c.Expires.IsZero() || now.Before(c.Expires)) && pathMatches(r.URL, c.Path) && (!c.Secure || r.URL.Scheme == "https" || resource.IsLoopbackHost(r.URL.Hostname())) {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	if pairs != nil {
		r.Header["Cookie"] = []string{strings.Join(pairs, "; ")}
	}
}

// keep keeps the cookies of a response.
func (j *cookieJar) keep(r *http.Request, h http.Header, login string) {
	if h["Set-Cookie"] == nil {
		return
	}
	k := j.kept.Load()
	if k == nil {
		j.kept.CompareAndSwap(nil, new(cookies))
		k = j.kept.Load()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.login != login {
		k.login, k.list = login, nil
	}
	now := time.Now()
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if !ofHost(c, r.URL) || len(c.Name)+len(c.Value) > maxCookie {
			continue
		}
		if !strings.HasPrefix(c.Path, "/") {
			c.Path = r.URL.Path[:max(strings.LastIndexByte(r.URL.Path, '/'), 0)]
		}
		k.drop(c)
		if c.MaxAge > 0 {
			c.Expires = now.Add(time.Duration(min(c.MaxAge, 1<<30)) * time.Second)
		}
		if c.MaxAge >= 0 && (c.Expires.IsZero() || now.Before(c.Expires)) && len(k.list) < maxCookies {
			k.list = append(k.list, c)
		}
	}
}

// drop removes the cookie that c replaces.
func (k *cookies) drop(c *http.Cookie) {
	for i, old := range k.list {
		if old.Name == c.Name && old.Path == c.Path {
			k.list = append(k.list[:i], k.list[i+1:]...)
			return
		}
	}
}

// ofHost reports whether a host may set a cookie for its domain (RFC 6265 section 5.3). The cookie is sent to that host alone.
func ofHost(c *http.Cookie, u *url.URL) bool {
	domain := strings.TrimPrefix(c.Domain, ".")
	return domain == "" || strings.EqualFold(domain, u.Hostname()) || strings.HasSuffix(strings.ToLower(u.Hostname()), "."+strings.ToLower(domain))
}

// pathMatches reports whether a cookie of a path goes with a request (RFC 6265 section 5.1.4).
func pathMatches(u *url.URL, path string) bool {
	rest, ok := strings.CutPrefix(u.Path, path)
	return ok && (rest == "" || strings.HasSuffix(path, "/") || path == "" || rest[0] == '/')
}
