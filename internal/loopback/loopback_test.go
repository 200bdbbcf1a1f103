package loopback

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

const state = "STATE-that-nobody-else-knows"

func listenFor(t testing.TB, cfg Config) *Listener {
	t.Helper()
	l, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// armed returns a listener that waits for state.
func armed(t testing.TB, cfg Config) *Listener {
	t.Helper()
	l := listenFor(t, cfg)
	if err := l.Arm(state); err != nil {
		t.Fatal(err)
	}
	return l
}

// send writes a request as it stands and reads the answer.
func send(t testing.TB, address, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(c, request) }() // the server may answer before it has read all
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return resp, string(b)
}

func (l *Listener) address() string { return l.listeners[0].Addr().String() }

// get asks for a target as a browser would.
func get(t testing.TB, l *Listener, target string, headers ...string) (*http.Response, string) {
	t.Helper()
	return send(t, l.address(), "GET "+target+" HTTP/1.1\r\nHost: "+l.address()+"\r\n"+strings.Join(append(headers, ""), "\r\n")+"\r\n")
}

// waiting fails the test if the login is over.
func waiting(t testing.TB, l *Listener, why string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.settled || len(l.answer) != 0 {
		t.Fatalf("%s ended the login", why)
	}
}

// finishes fails the test unless a good callback still ends the login.
func finishes(t testing.TB, l *Listener) {
	t.Helper()
	waiting(t, l, "something")
	good := url.Values{"code": {"GOOD"}, "state": {state}, "iss": {"https://as.example"}}
	if resp, _ := get(t, l, l.cfg.Path+"?"+good.Encode()); resp.StatusCode != http.StatusOK {
		t.Errorf("the good callback got %s", resp.Status)
	}
	if v, err := answer(t, l); err != nil || !reflect.DeepEqual(v, good) {
		t.Errorf("the answer is %v, %v; want %v", v, err, good)
	}
}

// answer waits for the end of the login, but not for long.
func answer(t testing.TB, l *Listener) (url.Values, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return l.Wait(ctx)
}

func haveIPv6() bool {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		_ = ln.Close()
	}
	return err == nil
}

func TestListensWhereTheRedirectURILeads(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		host, prefix string
		on           []string
	}{
		{"", "http://127.0.0.1:", []string{"127.0.0.1"}},
		{"127.0.0.1", "http://127.0.0.1:", []string{"127.0.0.1"}},
		{"127.0.0.2", "http://127.0.0.2:", []string{"127.0.0.2"}},
		{"::1", "http://[::1]:", []string{"::1"}},
		{"[::1]", "http://[::1]:", []string{"::1"}},
		{"localhost", "http://localhost:", []string{"127.0.0.1", "::1"}},
		{"LocalHost", "http://LocalHost:", []string{"127.0.0.1", "::1"}},
	} {
		if strings.Contains(k.prefix, "::1") && !haveIPv6() || k.host == "127.0.0.2" && runtime.GOOS != "linux" {
			continue
		}
		l := armed(t, Config{Host: k.host})
		port := strconv.Itoa(l.Port())
		if want := k.prefix + port + "/callback"; l.RedirectURI() != want || l.Port() == 0 {
			t.Errorf("%q: the redirect URI is %s, want %s", k.host, l.RedirectURI(), want)
		}
		var on []string
		for _, ln := range l.listeners {
			host, p, err := net.SplitHostPort(ln.Addr().String())
			if err != nil || p != port {
				t.Errorf("%q: bound %s", k.host, ln.Addr())
			}
			on = append(on, host)
		}
		want := k.on
		if !haveIPv6() {
			want = want[:1]
		}
		if !reflect.DeepEqual(on, want) {
			t.Errorf("%q: bound %q, want %q", k.host, on, want)
		}
		// The browser's own request: the URI as it stands, resolved by the system.
		u, err := url.Parse(l.RedirectURI())
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range on {
			resp, _ := send(t, net.JoinHostPort(host, port), "GET /callback?code=x&state=wrong HTTP/1.1\r\nHost: "+u.Host+"\r\n\r\n")
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%q at %s: %s", k.host, host, resp.Status)
			}
		}
		// Each family can end the login.
		resp, _ := send(t, net.JoinHostPort(on[len(on)-1], port), "GET /callback?code=x&state="+state+" HTTP/1.1\r\nHost: "+u.Host+"\r\n\r\n")
		if _, err := answer(t, l); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%q: %s, %v", k.host, resp.Status, err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("%q: %v", k.host, err)
		}
	}
}

func TestNoOtherHostIsBound(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"0.0.0.0", "::", "10.0.0.1", "192.168.1.1", "169.254.1.1", "as.example", "localhost.example", "localhost.", "a.localhost", "127.1", "2130706433", "::1%lo", "[", "127.0.0.1:80"} {
		if l, err := Listen(Config{Host: host}); err == nil {
			t.Errorf("%q is bound at %s", host, l.RedirectURI())
			_ = l.Close()
		}
	}
}

// TestTheListenerIsNotOnTheNetwork: nobody in the network can reach the login.
func TestTheListenerIsNotOnTheNetwork(t *testing.T) {
	t.Parallel()
	l := armed(t, Config{Host: "localhost"})
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		c, err := net.DialTimeout("tcp", net.JoinHostPort(p.Addr().String(), strconv.Itoa(l.Port())), 2*time.Second)
		if err == nil {
			_ = c.Close()
			t.Errorf("the listener answers at %s", p.Addr())
		}
	}
}

func TestFixedPort(t *testing.T) {
	t.Parallel()
	first := listenFor(t, Config{})
	port := first.Port()
	if _, err := Listen(Config{Port: port}); err == nil {
		t.Fatal("two listeners share a port")
	} else {
		var busy *PortBusyError
		if !errors.As(err, &busy) || busy.Port != port || !errors.Is(err, syscall.EADDRINUSE) && runtime.GOOS != "windows" || !strings.Contains(err.Error(), strconv.Itoa(port)) {
			t.Errorf("the error is %v (%T)", err, err)
		}
	}
	again := rebound(t, first)
	port = again.Port()
	if want := fmt.Sprintf("http://127.0.0.1:%d/callback", port); again.RedirectURI() != want {
		t.Errorf("the redirect URI is %s, want %s", again.RedirectURI(), want)
	}
	finishes(t, again)
}

// rebound closes a listener and binds its port anew. Where another program was quicker, it does so with
// another one.
func rebound(t testing.TB, l *Listener) *Listener {
	for range 10 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := Listen(Config{Host: l.cfg.Host, Port: l.Port()})
		var busy *PortBusyError
		switch {
		case err == nil:
			t.Cleanup(func() { _ = again.Close() })
			if err := again.Arm(state); err != nil {
				t.Fatal(err)
			}
			return again
		case !errors.As(err, &busy):
			t.Fatal(err)
		}
		l = listenFor(t, Config{Host: l.cfg.Host})
	}
	t.Fatal("a port is not free after Close")
	return nil
}

// TestSquatterOnTheOtherFamily: a browser that tries IPv6 first would bring the code to the program that listens there.
func TestSquatterOnTheOtherFamily(t *testing.T) {
	t.Parallel()
	if !haveIPv6() {
		t.Skip("no IPv6 here")
	}
	for range 10 {
		squatter, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = squatter.Close() }()
		port := squatter.Addr().(*net.TCPAddr).Port
		_, err = Listen(Config{Host: "localhost", Port: port})
		var busy *PortBusyError
		if !errors.As(err, &busy) || busy.Port != port {
			t.Fatalf("the error is %v", err)
		}
		if free, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = free.Close()
			return
		}
		// Another program may have been there first; not ten times.
	}
	t.Error("the first half stays bound")
}

func TestManyLoginsAtOnceHaveTheirOwnPorts(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 8 {
		l := listenFor(t, Config{Host: "localhost"})
		if seen[l.Port()] {
			t.Errorf("port %d twice", l.Port())
		}
		seen[l.Port()] = true
	}
}

// TestStrayRequests: none of them ends the login, each gets an answer in the four hundreds, and the good
// callback comes through afterwards.
func TestStrayRequests(t *testing.T) {
	t.Parallel()
	const good = "/callback?code=EVIL&state=" + state
	for _, k := range []struct {
		why, request string // {host} is the listener's
		status       int
	}{
		{"a wrong state", "GET /callback?code=EVIL&state=bad HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"no state", "GET /callback?code=EVIL HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"an empty state", "GET /callback?code=EVIL&state= HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"a state in other letters", "GET /callback?code=EVIL&state=" + strings.ToLower(state) + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"a longer state", "GET " + good + "x HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"the start of the state", "GET /callback?code=EVIL&state=STATE HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"two states", "GET " + good + "&state=bad HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"the state twice", "GET " + good + "&state=" + state + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"the state under another spelling", "GET /callback?code=EVIL&State=" + state + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"an error with a wrong state", "GET /callback?error=access_denied&state=bad HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"an error without state", "GET /callback?error=access_denied HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"two codes", "GET " + good + "&code=x HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"two issuers", "GET " + good + "&iss=https://a&iss=https://b HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"two errors", "GET /callback?state=" + state + "&error=a&error=b HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"two descriptions", "GET /callback?state=" + state + "&error=a&error_description=b&error_description=c HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"neither code nor error", "GET /callback?state=" + state + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"an empty code", "GET /callback?code=&state=" + state + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"no query", "GET /callback HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"a broken query", "GET " + good + "&x=%zz HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"semicolons", "GET /callback?code=EVIL;state=" + state + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"a line break in the code", "GET /callback?code=a%0d%0aSet-Cookie:x&state=" + state + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"a zero byte in the code", "GET /callback?code=a%00&state=" + state + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"a code beyond ASCII", "GET /callback?code=%C3%A9&state=" + state + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},

		{"the root", "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"the favicon", "GET /favicon.ico HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"robots", "GET /robots.txt HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"a debugger", "GET /debug/pprof/ HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"a token endpoint", "POST /token HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n", 404},
		{"two slashes", "GET /" + good + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"a slash after it", "GET " + strings.Replace(good, "?", "/?", 1) + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"another case", "GET " + strings.Replace(good, "/c", "/C", 1) + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"an escaped letter", "GET " + strings.Replace(good, "/c", "/%63", 1) + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"dot segments", "GET /x/.." + good + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"a longer path", "GET " + strings.Replace(good, "?", "s?", 1) + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"a path parameter", "GET " + strings.Replace(good, "?", ";x?", 1) + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},

		{"HEAD", "HEAD " + good + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 405},
		{"OPTIONS", "OPTIONS " + good + " HTTP/1.1\r\nHost: {host}\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Private-Network: true\r\n\r\n", 405},
		{"POST", "POST " + good + " HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n", 405},
		{"a form of another login", "POST /callback HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 17\r\n\r\ncode=EVIL&state=" + "x", 400},
		{"a form with a query", "POST /callback?a=b HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 44\r\n\r\ncode=EVIL&state=" + state, 400},
		{"a form of another host", "POST /callback HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 44\r\n\r\ncode=EVIL&state=" + state, 400},
		{"a script's form", "POST /callback HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: no-cors\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 44\r\n\r\ncode=EVIL&state=" + state, 400},
		{"another content type", "POST /callback HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: 44\r\n\r\ncode=EVIL&state=" + state, 405},
		{"a long form", "POST /callback HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 16398\r\n\r\ncode=EVIL&state=" + state + "&x=" + strings.Repeat("x", 16351), 400},
		{"no query", "GET /callback HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"PUT", "PUT " + good + " HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n", 405},
		{"DELETE", "DELETE " + good + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 405},
		{"TRACE", "TRACE " + good + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 405},
		{"a method in lower case", "get " + good + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 405},
		{"an override", "POST " + good + " HTTP/1.1\r\nHost: {host}\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n\r\n", 405},

		{"a name that leads here (rebinding)", "GET " + good + " HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n", 400},
		{"a name that only begins so", "GET " + good + " HTTP/1.1\r\nHost: localhost.evil.example:{port}\r\n\r\n", 400},
		{"another port", "GET " + good + " HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n", 400},
		{"no port", "GET " + good + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400},
		{"another address", "GET " + good + " HTTP/1.1\r\nHost: 127.0.0.9:{port}\r\n\r\n", 400},
		{"the unspecified address", "GET " + good + " HTTP/1.1\r\nHost: 0.0.0.0:{port}\r\n\r\n", 400},
		{"an empty host", "GET " + good + " HTTP/1.1\r\nHost: \r\n\r\n", 400},
		{"no host at all", "GET " + good + " HTTP/1.0\r\n\r\n", 400},
		{"two hosts", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n", 400},
		{"a forwarded host", "GET " + good + " HTTP/1.1\r\nHost: evil.example:{port}\r\nX-Forwarded-Host: {host}\r\n\r\n", 400},
		{"a whole URL", "GET http://{host}" + good + " HTTP/1.1\r\nHost: {host}\r\n\r\n", 400},
		{"a tunnel", "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},
		{"the server itself", "OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n", 404},

		{"a prefetch", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nSec-Purpose: prefetch;prerender\r\n\r\n", 400},
		{"a prefetch of old", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nPurpose: prefetch\r\n\r\n", 400},
		{"Firefox's prefetch of old", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nX-Moz: Prefetch\r\n\r\n", 400},
		{"an image on another page", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n\r\n", 400},
		{"a script on another page", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n\r\n", 400},
		{"a frame on another page", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\r\n", 400},
		{"a request that only says its mode", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: no-cors\r\n\r\n", 400},
		{"a request that only says its destination", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Dest: image\r\n\r\n", 400},
		{"fetch from another page", "GET " + good + " HTTP/1.1\r\nHost: {host}\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\r\n", 400},

		{"no HTTP", "hello\r\n\r\n", 400},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
	} {
		l := armed(t, Config{})
		request := strings.NewReplacer("{host}", l.address(), "{port}", strconv.Itoa(l.Port())).Replace(k.request)
		resp, body := send(t, l.address(), request)
		if resp.StatusCode != k.status {
			t.Errorf("%s: %s, want %d", k.why, resp.Status, k.status)
		}
		if k.status == 405 && resp.Header.Get("Allow") != "GET, POST" {
			t.Errorf("%s: Allow is %q", k.why, resp.Header.Get("Allow"))
		}
		for name := range resp.Header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Location" || name == "Set-Cookie" || name == "Refresh" {
				t.Errorf("%s: the answer has %s", k.why, name)
			}
		}
		if strings.Contains(body, "EVIL") || strings.Contains(body, state) || strings.Contains(fmt.Sprint(resp.Header), state) {
			t.Errorf("%s: the answer repeats the request: %v %s", k.why, resp.Header, body)
		}
		waiting(t, l, k.why)
		finishes(t, l)
		if err := l.Close(); err != nil {
			t.Errorf("%s: %v", k.why, err)
		}
	}
}

// TestStrayRequestsBeforeTheCallback on one listener.
func TestStrayRequestsBeforeTheCallback(t *testing.T) {
	t.Parallel()
	l := armed(t, Config{})
	for i := range 100 {
		get(t, l, fmt.Sprintf("/callback?code=EVIL&state=%d", i))
	}
	finishes(t, l)
}

// TestBrowsersOwnRequests: these are what browsers really send when the authorization server redirects.
func TestBrowsersOwnRequests(t *testing.T) {
	t.Parallel()
	for why, headers := range map[string][]string{
		"nothing":     nil,
		"a redirect":  {"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1", "Upgrade-Insecure-Requests: 1"},
		"a paste":     {"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"},
		"a referrer":  {"Referer: https://as.example/"},
		"a form post": {"Origin: null", "Cookie: a=b"},
		"keep-alive":  {"Connection: keep-alive", "Accept-Encoding: gzip, br"},
	} {
		l := armed(t, Config{})
		resp, _ := get(t, l, "/callback?code=c&state="+state, headers...)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", why, resp.Status)
			continue
		}
		if _, err := answer(t, l); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST", "127.0.0.1", "[::1]"} {
		l := armed(t, Config{})
		if resp, _ := send(t, l.address(), "GET /callback?code=c&state="+state+" HTTP/1.1\r\nHost: "+host+":"+strconv.Itoa(l.Port())+"\r\n\r\n"); resp.StatusCode != http.StatusOK {
			t.Errorf("the host %s: %s", host, resp.Status)
		}
	}
}

// TestHTTPsOwnPort: a browser leaves :80 out of the Host header. Binding it needs rights that tests lack.
func TestHTTPsOwnPort(t *testing.T) {
	t.Parallel()
	l := &Listener{cfg: Config{Host: "127.0.0.1"}, port: 80}
	for host, want := range map[string]bool{"127.0.0.1": true, "localhost": true, "[::1]": true, "127.0.0.1:80": true, "evil.example": false, "127.0.0.1:8080": false, "": false} {
		if got := l.ownHost(host); got != want {
			t.Errorf("%q is ours: %t", host, got)
		}
	}
	l.port = 8080
	if l.ownHost("127.0.0.1") {
		t.Error("a host without port is ours on port 8080")
	}
}

func TestNotArmed(t *testing.T) {
	t.Parallel()
	l := listenFor(t, Config{Path: "/oauth/callback"})
	if err := l.Arm(""); err == nil {
		t.Error("an empty state was taken")
	}
	for _, q := range []string{"code=c&state=", "code=c", "code=c&state=" + state} {
		if resp, _ := get(t, l, "/oauth/callback?"+q); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", q, resp.Status)
		}
	}
	if err := l.Arm(state); err != nil {
		t.Fatal(err)
	}
	if resp, _ := get(t, l, "/callback?code=c&state="+state); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the default path, which is not this listener's: %s", resp.Status)
	}
	finishes(t, l)
}

func TestErrorResponseEndsTheLogin(t *testing.T) {
	t.Parallel()
	l := armed(t, Config{})
	want := url.Values{"error": {"access_denied"}, "error_description": {"no\x1b[31m<b>"}, "state": {state}}
	resp, body := get(t, l, "/callback?"+want.Encode())
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, pageRefused.title) {
		t.Errorf("%s: %s", resp.Status, body)
	}
	if v, err := answer(t, l); err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("the answer is %v, %v", v, err)
	}
}

// TestReplay: the second arrival is told so, and nothing comes of it.
func TestReplay(t *testing.T) {
	t.Parallel()
	l := armed(t, Config{})
	finishes(t, l)
	for range 10 {
		resp, body := get(t, l, "/callback?code=OTHER&state="+state)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, pageSettled.title) {
			t.Errorf("%s: %s", resp.Status, body)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := l.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a second answer: %v, %v", v, err)
	}
}

func TestConcurrentCallbacks(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"code", "error"} {
		l := armed(t, Config{})
		var won, late atomic.Int32
		var winner atomic.Value
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				value := fmt.Sprintf("v%d", i)
				resp, body := get(t, l, "/callback?"+kind+"="+value+"&state="+state)
				switch {
				case resp.StatusCode != http.StatusOK:
					t.Errorf("%s", resp.Status)
				case strings.Contains(body, pageSettled.title):
					late.Add(1)
				default:
					won.Add(1)
					winner.Store(value)
				}
			})
		}
		v, err := answer(t, l)
		wg.Wait()
		if err != nil || won.Load() != 1 || late.Load() != 49 || v.Get(kind) != winner.Load() {
			t.Errorf("%d won, %d were late, the answer is %v (page for %v), %v", won.Load(), late.Load(), v, winner.Load(), err)
		}
	}
}

// TestTabClosedAtOnce: the answer counts although nobody looks at the page.
func TestTabClosedAtOnce(t *testing.T) {
	t.Parallel()
	l := armed(t, Config{})
	c, err := net.Dial("tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /callback?code=c&state="+state+" HTTP/1.1\r\nHost: "+l.address()+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	if _, err := answer(t, l); err != nil {
		t.Skip("the system dropped the request with its connection")
	}
}

// TestPageArrivesBeforeTheEnd: the program may close and end as soon as Wait returns.
func TestPageArrivesBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for range 20 {
		l := armed(t, Config{})
		page := make(chan string, 1)
		go func() { _, body := get(t, l, "/callback?code=c&state="+state); page <- body }()
		if _, err := answer(t, l); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if body := <-page; !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
			t.Fatalf("the page is %q", body)
		}
	}
}

func TestOversizedRequests(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("a", n) }
	l := armed(t, Config{})
	for _, k := range []struct {
		why, target string
		header      string
		status      int
	}{
		{"a query that is too long", "/callback?state=" + state + "&code=" + long(maxQuery), "", 400},
		{"a request line of 64 KiB", "/callback?state=" + state + "&code=" + long(64<<10), "", 431},
		{"a code of a megabyte", "/callback?state=" + state + "&code=" + long(1<<20), "", 431},
		{"a header of a megabyte", "/callback?code=c&state=" + state, "X: " + long(1<<20), 431},
		{"ten thousand headers", "/callback?code=c&state=" + state, strings.Repeat("X: y\r\n", 10000) + "X: y", 431},
		{"parameters without number", "/callback?code=c&state=" + state + strings.Repeat("&a", 1000), "", 400},
		{"a path of 20 KiB", "/" + long(20<<10), "", 404},
	} {
		if resp, _ := get(t, l, k.target, append([]string(nil), k.header)[:min(1, len(k.header))]...); resp.StatusCode != k.status {
			t.Errorf("%s: %s, want %d", k.why, resp.Status, k.status)
		}
		waiting(t, l, k.why)
	}
	// Real codes are long too.
	v := url.Values{"state": {state}, "code": {long(8 << 10)}}
	if resp, _ := get(t, l, "/callback?"+v.Encode()); resp.StatusCode != http.StatusOK {
		t.Errorf("a code of 8 KiB: %s", resp.Status)
	}
	if got, err := answer(t, l); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%v", err)
	}
}

// pipes is a listener without a network, for tests in which time stands still.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	end   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.end:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.end) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8765} }

// TestSlowRequests: a peer that sends or reads byte by byte, or nothing, is gone after some seconds, and others
// are served meanwhile.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	const host = "Host: 127.0.0.1:8765\r\n"
	for _, k := range []struct {
		why    string
		client func(net.Conn)
		within time.Duration
		settle bool
	}{
		{"a connection and nothing else", func(net.Conn) {}, 5 * time.Second, false},
		{"a header that never ends", func(c net.Conn) {
			_, _ = io.WriteString(c, "GET /callback HTTP/1.1\r\n"+host)
			for {
				if _, err := io.WriteString(c, "X: y\r\n"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, 5 * time.Second, false},
		{"a body that never comes", func(c net.Conn) {
			_, _ = io.WriteString(c, "POST /callback HTTP/1.1\r\n"+host+"Content-Length: 1000\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, 11 * time.Second, false},
		{"a page that nobody reads", func(c net.Conn) {
			_, _ = io.WriteString(c, "GET /callback?code=c&state="+state+" HTTP/1.1\r\n"+host+"\r\n")
		}, 11 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ln := &pipes{conns: make(chan net.Conn), end: make(chan struct{})}
			l := &Listener{cfg: Config{Host: "127.0.0.1", Path: "/callback"}, port: 8765, state: state, answer: make(chan url.Values, 1)}
			l.server = newServer(l)
			l.done.Go(func() { _ = l.server.Serve(ln) })
			client, server := net.Pipe()
			watched := &closing{Conn: server, closed: make(chan struct{})}
			start := time.Now()
			ln.conns <- watched
			var clients sync.WaitGroup
			clients.Go(func() { k.client(client) })

			if !k.settle {
				// Somebody else is served at once.
				other, theirs := net.Pipe()
				ln.conns <- theirs
				clients.Go(func() { _, _ = io.WriteString(other, "GET /x HTTP/1.1\r\n"+host+"\r\n") })
				if resp, err := http.ReadResponse(bufio.NewReader(other), nil); err != nil || resp.StatusCode != http.StatusNotFound || time.Since(start) != 0 {
					t.Errorf("%s: another request got %v after %v", k.why, err, time.Since(start))
				}
				_ = other.Close()
			}
			<-watched.closed
			if took := time.Since(start); took > k.within {
				t.Errorf("%s: closed after %v, want at most %v", k.why, took, k.within)
			}
			if k.settle {
				if _, err := answer(t, l); err != nil {
					t.Error(err)
				}
			}
			_ = client.Close()
			_ = l.Close()
			clients.Wait()
		})
	}
}

// TestCloseWaitsForNoSlowRequest: a second for a page under way, then the connection is cut.
func TestCloseWaitsForNoSlowRequest(t *testing.T) {
	t.Parallel()
	for why, text := range map[string]string{
		"half a request":                "GET /callback HTTP/1.1\r\nHost: 127",
		"a page that nobody reads":      "GET /callback HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"a connection and nothing else": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			ln := &pipes{conns: make(chan net.Conn), end: make(chan struct{})}
			l := &Listener{cfg: Config{Host: "127.0.0.1", Path: "/callback"}, port: 8765, state: state, answer: make(chan url.Values, 1)}
			l.server = newServer(l)
			l.done.Go(func() { _ = l.server.Serve(ln) })
			client, server := net.Pipe()
			watched := &closing{Conn: server, closed: make(chan struct{})}
			ln.conns <- watched
			_, _ = io.WriteString(client, text)
			synctest.Wait()
			start := time.Now()
			if err := l.Close(); err != nil {
				t.Errorf("%s: %v", why, err)
			}
			<-watched.closed
			if took := time.Since(start); took > lastPage {
				t.Errorf("%s: cut after %v, want at most %v", why, took, lastPage)
			}
			_ = client.Close()
		})
	}
}

// closing tells when its connection is closed.
type closing struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *closing) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// goroutines returns the stacks of what a listener leaves behind.
func goroutines() string {
	b := make([]byte, 1<<20)
	var out []string
	for _, g := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if strings.Contains(g, "net/http.(*Server)") || strings.Contains(g, "net/http.(*conn)") || strings.Contains(g, "net/http.(*connReader)") || strings.Contains(g, "loopback.(*Listener)") {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}

func TestCloseLeavesNothing(t *testing.T) {
	var closed sync.WaitGroup // side by side, since two of them wait for a page
	var all []*Listener
	for why, use := range map[string]func(*Listener) net.Conn{
		"unused": func(*Listener) net.Conn { return nil },
		"after the answer": func(l *Listener) net.Conn {
			finishes(t, l)
			return nil
		},
		"with a connection that a browser opened in advance": func(l *Listener) net.Conn { return dial(t, l, "") },
		"with half a request":                                func(l *Listener) net.Conn { return dial(t, l, "GET /callback HTTP/1.1\r\nHost: x") },
		"with a page that nobody reads": func(l *Listener) net.Conn {
			return dial(t, l, "GET /callback?code=c&state="+state+" HTTP/1.1\r\nHost: "+l.address()+"\r\n\r\n")
		},
	} {
		l, err := Listen(Config{Host: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Arm(state); err != nil {
			t.Fatal(err)
		}
		c := use(l)
		if c != nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		closed.Go(func() {
			start := time.Now()
			var wg sync.WaitGroup
			for range 3 { // by the login, by Close, by a signal
				wg.Go(func() {
					if err := l.Close(); err != nil {
						t.Errorf("%s: %v", why, err)
					}
				})
			}
			wg.Wait()
			if took := time.Since(start); took > lastPage+10*time.Second {
				t.Errorf("%s: Close took %v", why, took)
			}
			for _, ln := range l.listeners {
				if c, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %s is still open: %v, %v", why, ln.Addr(), c, err)
				}
			}
		})
		all = append(all, l)
	}
	closed.Wait()
	for _, l := range all {
		if err := rebound(t, l).Close(); err != nil {
			t.Error(err)
		}
	}
	end := time.Now().Add(20 * time.Second)
	for goroutines() != "" && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
	if left := goroutines(); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

func dial(t testing.TB, l *Listener, text string) net.Conn {
	c, err := net.Dial("tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, text)
	return c
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := armed(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := l.Wait(ctx); v != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", v, err)
	}
	finishes(t, l)
}

// shown is every page, by what leads to it.
func shown(t testing.TB, l *Listener) map[string]struct {
	*http.Response
	body string
} {
	out := map[string]struct {
		*http.Response
		body string
	}{}
	add := func(name string, resp *http.Response, body string) {
		out[name] = struct {
			*http.Response
			body string
		}{resp, body}
	}
	resp, body := get(t, l, "/favicon.ico")
	add("missing", resp, body)
	resp, body = get(t, l, "/callback?state=bad&code=x")
	add("stray", resp, body)
	resp, body = send(t, l.address(), "POST /callback HTTP/1.1\r\nHost: "+l.address()+"\r\nContent-Length: 0\r\n\r\n")
	add("method", resp, body)
	resp, body = send(t, l.address(), "HEAD / HTTP/1.1\r\nHost: "+l.address()+"\r\n\r\n")
	add("head", resp, body)
	resp, body = get(t, l, "/callback?code=c&state="+state)
	add("code", resp, body)
	resp, body = get(t, l, "/callback?code=c&state="+state)
	add("settled", resp, body)
	refused := armed(t, l.cfg)
	resp, body = get(t, refused, "/callback?error=access_denied&state="+state)
	add("refused", resp, body)
	return out
}

func TestPagesAreSelfContained(t *testing.T) {
	t.Parallel()
	for name, p := range shown(t, armed(t, Config{ServerName: "mcp.example.com"})) {
		for header, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := p.Header.Values(header); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		if !p.Close {
			t.Errorf("%s: the connection stays open", name)
		}
		csp := p.Header.Get("Content-Security-Policy")
		policy := map[string]string{}
		for _, d := range strings.Split(csp, ";") {
			k, v, _ := strings.Cut(strings.TrimSpace(d), " ")
			policy[k] = v
		}
		if len(policy) != 5 || policy["default-src"] != "'none'" || policy["base-uri"] != "'none'" || policy["form-action"] != "'none'" || policy["frame-ancestors"] != "'none'" || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", name, csp)
		}
		if name == "head" {
			if p.body != "" || p.ContentLength <= 0 {
				t.Errorf("HEAD has %d bytes of body and says %d", len(p.body), p.ContentLength)
			}
			continue
		}
		styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(p.body, -1)
		if len(styles) != 1 || len(styles[0][1]) < 100 {
			t.Fatalf("%s: %d styles", name, len(styles))
		}
		sum := sha256.Sum256([]byte(styles[0][1]))
		if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; policy["style-src"] != want {
			t.Errorf("%s: the policy allows the style %s, the page has %s", name, policy["style-src"], want)
		}
		// No script, and nothing that is loaded or led to.
		lower := strings.ToLower(p.body)
		for _, bad := range []string{"<script", "javascript:", "src=", "href=", "srcset", "action=", "http-equiv", "<link", "<iframe", "<object", "<embed", "<form", "<base", "<svg", "<a ", "@import", "url(", "://", " style=", "window."} {
			if strings.Contains(lower, bad) {
				t.Errorf("%s: the page has %q", name, bad)
			}
		}
		if m := regexp.MustCompile(`\son[a-z]+\s*=`).FindString(lower); m != "" {
			t.Errorf("%s: the page has %q", name, m)
		}
		if !strings.HasPrefix(lower, "<!doctype html>") || !strings.Contains(p.body, "mcp.example.com") || strings.ContainsAny(p.body, "{}") && regexp.MustCompile(`\{[a-z]+\}`).MatchString(p.body) {
			t.Errorf("%s: the page is %s", name, p.body)
		}
		if strings.Contains(p.body, state) {
			t.Errorf("%s: the page has the state", name)
		}
	}
}

// vectors are texts that break out of HTML, attributes, scripts and terminals.
var vectors = []string{
	"<script>alert(1)</script>", "</title><script>alert(1)</script>", "</style><img src=x onerror=alert(1)>", `"><svg/onload=alert(1)>`, "' onmouseover='alert(1)", "javascript:alert(1)",
	"<!--", "&lt;script&gt;", "{style}{title}{server}", "\x1b[31mred\x1b]0;title\x07", "\u202egpj.exe", "a\u0000b\u0085c\u2028d", "CALL 1-800-EVIL", strings.Repeat("<b>", 300),
}

// TestHostileTextOnTheCallbackPage: pages are fixed, byte for byte, whatever the request says.
func TestHostileTextOnTheCallbackPage(t *testing.T) {
	t.Parallel()
	plain := shown(t, armed(t, Config{ServerName: "mcp.example.com"}))
	for _, text := range vectors {
		q := url.QueryEscape(text)
		l := armed(t, Config{ServerName: "mcp.example.com"})
		strip := func(s string) string { return strings.Map(visible, s) }
		headers := []string{"Referer: https://as.example/" + strip(text), "User-Agent: " + strip(text), "Cookie: a=" + strip(text), "X-Evil: " + strip(text), "Accept-Language: " + strip(text)}
		callback := "/callback?code=" + q + "&state=" + q + "&iss=" + q
		refusal := "/callback?error=" + q + "&error_description=" + q + "&error_uri=" + q + "&state=bad"
		for target, want := range map[string]string{
			callback:                   "stray",
			refusal:                    "stray",
			"/callback?" + q + "=" + q: "stray",
			"/" + url.PathEscape(text): "missing",
			"/callback/" + url.PathEscape(text) + "?code=" + q: "missing",
		} {
			if _, body := get(t, l, target, headers...); body != plain[want].body {
				t.Errorf("%q changes the page: %s", text, body)
			}
		}
		if _, body := get(t, l, "/callback?error="+q+"&error_description="+q+"&error_uri="+q+"&iss="+q+"&state="+state, headers...); body != plain["refused"].body {
			t.Errorf("%q changes the page of a refusal: %s", text, body)
		}
		if v, err := answer(t, l); err != nil || v.Get("error") != text {
			t.Errorf("the answer is %v, %v", v, err)
		}
		if _, body := get(t, l, "/callback?code=c&error_description="+q+"&state="+state, headers...); body != plain["settled"].body {
			t.Errorf("%q changes the page: %s", text, body)
		}
	}
}

// visible drops what no header may hold.
func visible(r rune) rune {
	if r < 0x20 || r == 0x7f {
		return -1
	}
	return r
}

// TestServerNameIsText: the one text on the page that is not ours.
func TestServerNameIsText(t *testing.T) {
	t.Parallel()
	for _, text := range vectors {
		_, body := get(t, armed(t, Config{ServerName: text}), "/favicon.ico")
		rest := strings.Replace(strings.Replace(body, pageCSS, "", 1), pageMissing.text, "", 1)
		if strings.Count(body, "<script") != 0 || strings.Count(rest, "<b>") != 0 || strings.Count(rest, "<img") != 0 || strings.Count(rest, "<svg") != 0 || strings.Count(rest, "<!--") != 0 || strings.Count(body, pageCSS) != 1 || len(rest) > 4096 {
			t.Errorf("%q: %s", text, rest)
		}
		if i := strings.IndexFunc(body, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); i >= 0 {
			t.Errorf("%q: %q", text, body[i:min(i+20, len(body))])
		}
	}
	if _, body := get(t, armed(t, Config{ServerName: "mcp.example.com:8443"}), "/favicon.ico"); !strings.Contains(body, "mcp.example.com:8443") {
		t.Error("the page does not name the server")
	}
}

func TestParsePasted(t *testing.T) {
	t.Parallel()
	const redirect = "http://127.0.0.1:8765/callback"
	want := url.Values{"code": {"a b"}, "state": {"s"}}
	for why, text := range map[string]string{
		"the whole URL":                redirect + "?code=a+b&state=s",
		"with space and line ends":     "  " + redirect + "?code=a%20b&state=s \r\n",
		"in quotes":                    `"` + redirect + `?code=a+b&state=s"`,
		"in brackets":                  "<" + redirect + "?code=a+b&state=s>",
		"with a fragment":              redirect + "?code=a+b&state=s#_=_",
		"the query":                    "code=a+b&state=s",
		"the query with question mark": "?code=a+b&state=s",
	} {
		if v, err := ParsePasted(text, redirect); err != nil || !reflect.DeepEqual(v, want) {
			t.Errorf("%s: %v, %v", why, v, err)
		}
	}
	for why, text := range map[string]string{"the URL": redirect + "?", "the query": "", "the query with question mark": "?"} {
		v, err := ParsePasted(text+"error=access_denied&state=s&iss=https://as.example/a", redirect)
		if err != nil || v.Get("error") != "access_denied" || v.Get("iss") != "https://as.example/a" {
			t.Errorf("an error with an issuer, %s: %v, %v", why, v, err)
		}
	}
	for why, text := range map[string]string{
		"nothing":           " ",
		"a bare code":       "SplxlOBeZQQYbYS6WxSbIA",
		"no state":          redirect + "?code=c",
		"no code":           redirect + "?state=s",
		"the login page":    "https://as.example/authorize?client_id=x&state=s&code=c",
		"another port":      "http://127.0.0.1:8766/callback?code=c&state=s",
		"another host":      "http://127.0.0.1.evil.example:8765/callback?code=c&state=s",
		"another path":      "http://127.0.0.1:8765/callback2?code=c&state=s",
		"another scheme":    "https://127.0.0.1:8765/callback?code=c&state=s",
		"a broken query":    redirect + "?code=%zz&state=s",
		"a broken URL":      "http://[::1?code=c&state=s",
		"too long":          redirect + "?state=s&code=" + strings.Repeat("a", maxQuery),
		"quotes and no end": `"'<>`,
	} {
		v, err := ParsePasted(text, redirect)
		var paste *PasteError
		if v != nil || !errors.As(err, &paste) || paste.Error() == "" {
			t.Errorf("%s: %v, %v", why, v, err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%s: the error is %q", why, err)
		}
	}
}

// FuzzPasted: what passes has a state and an answer, and of whole URLs only the redirect URI's pass.
func FuzzPasted(f *testing.F) {
	const redirect = "http://127.0.0.1:8765/callback"
	for _, s := range []string{redirect + "?code=c&state=s", "?code=c&state=s", "code=c&state=s&iss=https://as.example", "<" + redirect + "?error=x&state=s>", "https://evil.example/?code=c&state=s", "c", "", "://", "?://=&code&state"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParsePasted(text, redirect)
		if err != nil {
			if v != nil {
				t.Errorf("%q: both %v and %v", text, v, err)
			}
			return
		}
		if !v.Has("state") || !v.Has("code") && !v.Has("error") {
			t.Errorf("%q is %v", text, v)
		}
		head, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(text), `"'<>`), "?")
		if strings.HasPrefix(head, "https:") || strings.HasPrefix(head, "http:") && head != redirect && !strings.ContainsAny(head, "&=") {
			t.Errorf("%q passes", text)
		}
	})
}

// FuzzRequest gives the listener whole requests: only a browser's navigation to the exact path with the
// state settles, and no page holds anything of a request.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET /callback?code=c&state=" + state + " HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"GET /callback?error=c&state=" + state + " HTTP/1.1\r\nHost: localhost:8765\r\nSec-Fetch-Mode: navigate\r\n\r\n",
		"GET /callback?code=c&state=" + state + "&state=x HTTP/1.1\r\nHost: [::1]:8765\r\n\r\n",
		"HEAD /callback?code=c&state=" + state + " HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"GET http://127.0.0.1:8765/callback?code=c&state=" + state + " HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"CONNECT 127.0.0.1:8765 HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"GET /callback HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n", "GET //callback HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "",
	} {
		f.Add([]byte(s))
	}
	pages := map[page]bool{pageStray: true, pageFragment: true, pageMissing: true, pageMethod: true, pageCode: true, pageRefused: true}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		l := &Listener{cfg: Config{Host: "127.0.0.1", Path: "/callback"}, port: 8765, state: state, answer: make(chan url.Values, 1)}
		p, v := l.judge(r)
		if !pages[p] {
			t.Errorf("%q is shown %+v", b, p)
		}
		settles := p == pageCode || p == pageRefused
		if (v != nil) != settles || settles != l.settled || settles != (p.status == http.StatusOK) {
			t.Errorf("%q: %v, settled %t, page %+v", b, v, l.settled, p)
		}
		if !settles {
			return
		}
		if r.Method != "GET" || !strings.HasPrefix(r.RequestURI, "/callback?") || len(v["state"]) != 1 || v.Get("state") != state || v.Get("code") == "" && v.Get("error") == "" || len(v["code"]) > 1 {
			t.Errorf("%q settles with %v", b, v)
		}
		switch strings.ToLower(r.Host) {
		case "127.0.0.1:8765", "localhost:8765", "[::1]:8765", "::1:8765":
		default:
			t.Errorf("%q settles for the host %q", b, r.Host)
		}
		if again, w := l.judge(r); again != pageSettled || w != nil {
			t.Errorf("%q settles twice", b)
		}
	})
}

func TestMain(m *testing.M) {
	code := m.Run()
	// What a server's end has started may need a moment.
	for end := time.Now().Add(10 * time.Second); goroutines() != "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if left := goroutines(); code == 0 && left != "" {
		_, _ = fmt.Fprintf(os.Stderr, "left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// TestThePagePromisesNothing: a browser closes no tab that it did not open by a script, so no page says that
// it will.
func TestThePagePromisesNothing(t *testing.T) {
	t.Parallel()
	for name, p := range shown(t, armed(t, Config{ServerName: "mcp.example.com"})) {
		text := strings.ToLower(p.body)
		if strings.Contains(text, "window.close") || strings.Contains(text, "will close") || strings.Contains(text, "<script") {
			t.Errorf("%s: %s", name, p.body)
		}
		if name == "code" && !strings.Contains(text, "you can close this tab") {
			t.Errorf("%s does not say what to do: %s", name, p.body)
		}
	}
}

// Some servers answer with a form that the browser posts (response_mode=form_post).
//
// It has a row in docs/compatibility.md.
func TestAFormCompletesTheLogin(t *testing.T) {
	t.Parallel()
	for _, headers := range []string{"", "Origin: https://login.example.com\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"} {
		l := armed(t, Config{})
		body := "code=c+1&iss=https%3A%2F%2Flogin.example.com&state=" + state
		resp, _ := send(t, l.address(), fmt.Sprintf("POST /callback HTTP/1.1\r\nHost: %s\r\n%sContent-Type: application/x-www-form-urlencoded;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s", l.address(), headers, len(body), body))
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
		v, err := answer(t, l)
		if err != nil || v.Get("code") != "c 1" || v.Get("iss") != "https://login.example.com" {
			t.Errorf("%v, %v", v, err)
		}
	}
}

// A listener may be used for a second request of the same login.
func TestArmedAgain(t *testing.T) {
	t.Parallel()
	l := armed(t, Config{})
	get(t, l, "/callback?error=invalid_request&state="+state)
	if v, err := answer(t, l); err != nil || v.Get("error") != "invalid_request" {
		t.Fatal(v, err)
	}
	if err := l.Arm("another"); err != nil {
		t.Fatal(err)
	}
	if resp, _ := get(t, l, "/callback?code=x&state="+state); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the first state: %d", resp.StatusCode)
	}
	get(t, l, "/callback?code=x&state=another")
	if v, err := answer(t, l); err != nil || v.Get("code") != "x" {
		t.Error(v, err)
	}
}

// A port that the system reserves is as good as taken: Hyper-V, WSL and Docker reserve ranges on Windows.
//
// It has a row in docs/compatibility.md.
func TestAPortThatTheSystemReserves(t *testing.T) {
	t.Parallel()
	for _, number := range []syscall.Errno{syscall.EACCES, 10013, syscall.EADDRINUSE, 10048} {
		_, err := Listen(Config{Port: 43210, Bind: func(string, string) (net.Listener, error) {
			return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", number)}
		}})
		var busy *PortBusyError
		reserved := number == syscall.EACCES || number == 10013
		if !errors.As(err, &busy) || busy.Port != 43210 || busy.Reserved() != reserved || strings.Contains(err.Error(), "reserved") != reserved {
			t.Errorf("%d: %v", number, err)
		}
	}
	// Without a port, or for another reason, it is a failure like any other.
	for port, number := range map[int]syscall.Errno{0: syscall.EACCES, 43210: syscall.EMFILE} {
		_, err := Listen(Config{Port: port, Bind: func(string, string) (net.Listener, error) { return nil, os.NewSyscallError("bind", number) }})
		if _, busy := errors.AsType[*PortBusyError](err); busy || !errors.Is(err, number) {
			t.Errorf("port %d: %v", port, err)
		}
	}
}

// An answer after a # sign does not reach the listener, but it can be pasted.
//
// It has a row in docs/compatibility.md.
func TestPastedFragment(t *testing.T) {
	t.Parallel()
	const uri = "http://127.0.0.1:1234/callback"
	for _, text := range []string{uri + "#code=c&state=s", "#code=c&state=s"} {
		if v, err := ParsePasted(text, uri); err != nil || v.Get("code") != "c" || v.Get("state") != "s" {
			t.Errorf("%s: %v, %v", text, v, err)
		}
	}
}
