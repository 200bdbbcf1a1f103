package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lookups answers questions for names, each with the next of its answers, and counts them.
type lookups struct {
	mu      sync.Mutex
	answers map[string][]string // each a list with commas, "" for a failure
	asked   []string
}

func (l *lookups) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, host)
	all := l.answers[host]
	if len(all) == 0 || all[0] == "" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var out []netip.Addr
	for s := range strings.SplitSeq(all[0], ",") {
		out = append(out, netip.MustParseAddr(s))
	}
	l.answers[host] = all[min(1, len(all)-1):]
	return out, nil
}

// TestOrdinaryDialler: http.DefaultTransport and its like dial by a net.Dialer of the caller's. It is given addresses
// that were checked, so that a forbidden one is not even connected to.
func TestOrdinaryDialler(t *testing.T) {
	t.Parallel()
	internal := startCanary(t, nil)
	ordinary := func() *http.Client {
		return &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}}
	}
	for name, tc := range map[string]struct {
		answers []string
		policy  Policy
		word    string // of the fault, "" for an answer
		pass    bool
	}{
		"this machine":       {[]string{"127.0.0.1"}, Policy{}, "loopback", false},
		"mapped to IPv6":     {[]string{"::ffff:127.0.0.1"}, Policy{}, "loopback", false},
		"a cloud's metadata": {[]string{"169.254.169.254"}, Policy{Class: Loopback}, "never requested", false},
		"one of several":     {[]string{"169.254.169.254,10.0.0.1,127.0.0.1"}, Policy{Class: Loopback}, "", true},
		"allowed":            {[]string{"127.0.0.1"}, Policy{Class: Loopback}, "", true},
		"allowed by setting": {[]string{"127.0.0.1"}, Policy{AllowPrivateNetwork: true}, "", true},
		"unknown":            {[]string{""}, Policy{}, "is unknown", false},
		"no address":         {nil, Policy{}, "is unknown", false},
		// The second answer is never asked for: what was checked is what is dialled.
		"rebound": {[]string{"127.0.0.1", "169.254.169.254"}, Policy{Class: Loopback}, "", true},
	} {
		l := &lookups{answers: map[string][]string{"as.example": tc.answers}}
		tc.policy.AllowInsecureHTTP = true
		c := newClient(t, Config{Policy: tc.policy, HTTPClient: ordinary(), Lookup: l.lookup})
		before := internal.connects.Load()
		a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://as.example:" + internal.port() + "/"})
		connects := internal.connects.Load() - before
		switch {
		case tc.pass && (err != nil || string(a.Body) != "{}" || connects != 1):
			t.Errorf("%s: %v, %d connections", name, err, connects)
		case !tc.pass && (err == nil || !strings.Contains(err.Error(), tc.word) || !faultOf(t, err).Unsent || connects != 0):
			t.Errorf("%s: %v, %d connections", name, err, connects)
		}
		if len(l.asked) != 1 {
			t.Errorf("%s: looked up %q", name, l.asked)
		}
	}
}

// TestEveryWayToDialIsChecked: our own transport, one of the caller's without a dialler, and http.DefaultTransport.
func TestEveryWayToDialIsChecked(t *testing.T) {
	t.Parallel()
	internal := startCanary(t, nil)
	for name, hc := range map[string]*http.Client{
		"ours": nil, "the caller's": {Transport: &http.Transport{}}, "the default": {Transport: http.DefaultTransport}, "none": {},
	} {
		l := &lookups{answers: map[string][]string{"as.example": {"127.0.0.1"}}}
		c := newClient(t, Config{Policy: Policy{AllowInsecureHTTP: true}, HTTPClient: hc, Lookup: l.lookup})
		_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://as.example:" + internal.port() + "/"})
		if f := faultOf(t, err); !f.Unsent || f.Temporary || !strings.Contains(f.Message, "127.0.0.1") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if n := internal.connects.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// TestWrappersAreWatched: a wrapper looks names up by itself. What its connection has led to is looked at before anything
// is written.
func TestWrappersAreWatched(t *testing.T) {
	internal := startCanary(t, nil)
	resolve(t, map[string][][]string{"as.example": {{"127.0.0.1"}}, "proxy.example": {{"127.0.0.1"}}})
	inner := func() *http.Transport { return &http.Transport{} }
	byName, err := url.Parse("http://proxy.example:" + internal.port())
	if err != nil {
		t.Fatal(err)
	}
	byAddress, err := url.Parse(internal.URL)
	if err != nil {
		t.Fatal(err)
	}
	behind := func(u *url.URL) http.RoundTripper {
		p := &http.Transport{Proxy: http.ProxyURL(u)}
		t.Cleanup(p.CloseIdleConnections)
		return roundTripper(p.RoundTrip)
	}
	d := &net.Dialer{}
	for name, tc := range map[string]struct {
		rt     http.RoundTripper
		policy Policy
		pass   bool
	}{
		"a wrapper": {roundTripper(inner().RoundTrip), Policy{}, false},
		"a dialler around a dialler": {&http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return d.DialContext(ctx, network, addr)
		}}, Policy{}, false},
		"a wrapper, allowed":              {roundTripper(inner().RoundTrip), Policy{Class: Loopback}, true},
		"a wrapper of a proxy by name":    {behind(byName), Policy{}, true},
		"a wrapper of a proxy by address": {behind(byAddress), Policy{}, true},
		"a tunnel": {&http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, internal.Listener.Addr().String())
		}}, Policy{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			tc.policy.AllowInsecureHTTP = true
			c := newClient(t, Config{Policy: tc.policy, HTTPClient: &http.Client{Transport: tc.rt}})
			for range 2 {
				before := len(internal.requests())
				_, err := c.PostForm(t.Context(), Request{Leg: "token", URL: "http://as.example:" + internal.port() + "/"}, url.Values{"refresh_token": {"SECRET"}})
				sent := len(internal.requests()) - before
				if tc.pass && (err != nil || sent != 1) {
					t.Errorf("%v, %d requests", err, sent)
				}
				if tc.pass {
					continue
				}
				if f := faultOf(t, err); !f.Unsent || f.Temporary || !strings.Contains(f.Message, "127.0.0.1") || sent != 0 {
					t.Errorf("%+v, %d requests", f, sent)
				}
			}
		})
	}
}

// TestWrappersAreGivenNoForbiddenName: once it is known that a transport connects to the hosts of URLs by itself, a name
// that leads to a forbidden address is not even connected to.
func TestWrappersAreGivenNoForbiddenName(t *testing.T) {
	internal := startCanary(t, nil)
	resolve(t, map[string][][]string{"mcp.example": {{"127.0.0.1"}}, "as.example": {{"127.0.0.1"}}})
	for name, tc := range map[string]struct {
		answers  string
		policy   Policy
		connects int32
		fails    bool
	}{
		"forbidden":           {"169.254.169.254", Policy{Class: Loopback}, 0, true},
		"one of several":      {"127.0.0.1,169.254.169.254", Policy{Class: Loopback}, 0, true},
		"allowed":             {"127.0.0.1", Policy{Class: Loopback}, 1, false},
		"mapped":              {"::ffff:169.254.169.254", Policy{Class: Loopback}, 0, true},
		"nobody knows it":     {"", Policy{Class: Loopback}, 1, false},
		"private, by setting": {"127.0.0.1", Policy{AllowPrivateNetwork: true}, 1, false},
	} {
		for _, first := range []string{"http://mcp.example:" + internal.port() + "/", internal.URL + "/"} {
			tc.policy.AllowInsecureHTTP = true
			l := &lookups{answers: map[string][]string{"as.example": {tc.answers}}}
			inner := &http.Transport{DisableKeepAlives: true}
			c := newClient(t, Config{Policy: tc.policy, HTTPClient: &http.Client{Transport: roundTripper(inner.RoundTrip)}, Lookup: l.lookup})
			a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: first})
			body(t, a, err)
			if len(l.asked) != 0 {
				t.Errorf("%s: looked up %q before it was known how the transport connects", name, l.asked)
			}
			before := internal.connects.Load()
			_, err = c.PostForm(t.Context(), Request{Leg: "token", URL: "http://as.example:" + internal.port() + "/"}, url.Values{"code": {"SECRET"}})
			if n := internal.connects.Load() - before; n != tc.connects || (err != nil) != tc.fails || err != nil && !faultOf(t, err).Unsent {
				t.Errorf("%s after %s: %v, %d connections", name, first, err, n)
			}
		}
	}
}

// TestATransportWithoutANetworkLooksNothingUp: a fake in a test, or a tunnel, has names of its own.
func TestATransportWithoutANetworkLooksNothingUp(t *testing.T) {
	t.Parallel()
	l := &lookups{}
	c := newClient(t, Config{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})}, Lookup: l.lookup})
	for range 3 {
		if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "https://as.example/"}); err != nil {
			t.Error(err)
		}
	}
	if len(l.asked) != 0 {
		t.Errorf("looked up %q", l.asked)
	}
}

// fakeConn is a connection that only notes that it was closed.
type fakeConn struct {
	net.Conn
	addr   string
	closed chan struct{}
}

func (c *fakeConn) Close() error { close(c.closed); return nil }

func TestTheNextAddress(t *testing.T) {
	t.Parallel()
	const fails, hangs, works = "fails", "hangs", "works"
	for name, tc := range map[string]struct {
		addrs []string // how each behaves
		want  int      // the index of the one that is used, -1 for none
		after time.Duration
	}{
		"the only one":                     {[]string{works}, 0, 0},
		"the first of two":                 {[]string{works, works}, 0, 0},
		"after one that fails":             {[]string{fails, works}, 1, 0},
		"after one that does not answer":   {[]string{hangs, works}, 1, nextAddress},
		"after two that do not answer":     {[]string{hangs, hangs, works}, 2, 2 * nextAddress},
		"after both kinds":                 {[]string{fails, hangs, fails, works}, 3, nextAddress},
		"none":                             {[]string{fails, fails}, -1, 0},
		"none, and one that never answers": {[]string{fails, hangs}, -1, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var addrs []string
				for i, kind := range tc.addrs {
					addrs = append(addrs, fmt.Sprint(kind, i))
				}
				dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
					if network != "tcp" {
						t.Errorf("the network is %s", network)
					}
					switch strings.Trim(addr, "0123456789") {
					case fails:
						return nil, errors.New(addr)
					case hangs:
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return &fakeConn{addr: addr, closed: make(chan struct{})}, nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				conn, err := dialFirst(ctx, "tcp", addrs, dial)
				if took := time.Since(start); took != tc.after {
					t.Errorf("it took %v, want %v", took, tc.after)
				}
				switch {
				case tc.want < 0 && (err == nil || err.Error() != addrs[0]):
					t.Errorf("the error is %v, want the first one's", err)
				case tc.want >= 0 && (err != nil || conn.(*fakeConn).addr != addrs[tc.want]):
					t.Errorf("%+v, %v", conn, err)
				}
				synctest.Wait()
			})
		})
	}
}

// TestALateConnectionIsClosed: of two that come to be, one is used and the other is not leaked.
func TestALateConnectionIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := &fakeConn{addr: "late", closed: make(chan struct{})}
		dial := func(_ context.Context, _, addr string) (net.Conn, error) {
			if addr == "late" {
				time.Sleep(time.Second) // whatever its context says
				return late, nil
			}
			return &fakeConn{addr: addr, closed: make(chan struct{})}, nil
		}
		conn, err := dialFirst(t.Context(), "tcp", []string{"late", "good"}, dial)
		if err != nil || conn.(*fakeConn).addr != "good" {
			t.Fatalf("%+v, %v", conn, err)
		}
		<-late.closed
		select {
		case <-conn.(*fakeConn).closed:
			t.Error("the connection in use was closed")
		default:
		}
	})
}

// TestHeadersThatCannotBeSent are found before anything is sent: a line break would begin another header field.
func TestHeadersThatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, h := range []http.Header{
		{"X-Key": {"a\r\nHost: evil"}},
		{"X-Key": {"good", "SECRET\n"}},
		{"X-Key": {"SECRET\x00"}},
		{"X-Key": {"SECRET\x7f"}},
		{"X Key": {"v"}},
		{"X-Key\r\n": {"v"}},
		{"": {"v"}},
		{"X-Kéy": {"v"}},
		{"X:Key": {"v"}},
	} {
		_, err := New(Config{Header: h})
		var he *HeaderError
		if !errors.As(err, &he) || strings.Contains(err.Error(), "SECRET") || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: %v", h, err)
		}
	}
	for _, h := range []http.Header{nil, {"X-Key": {"", "a\tb", "ünïcode", "quoted \"text\""}}, {"x-lower_case.1": {"v"}}} {
		if _, err := New(Config{Header: h}); err != nil {
			t.Errorf("%q: %v", h, err)
		}
	}
}

// TestWhatIsNoOriginGetsNoHeader: a path, a query or a user name would suggest that the header goes there only.
func TestWhatIsNoOriginGetsNoHeader(t *testing.T) {
	t.Parallel()
	for o, ok := range map[string]bool{
		"https://as.example.com": true, "https://as.example.com:8443": true, "http://[::1]:80": true, "HTTPS://AS.example.com": true, "https://as.example.com/": true,
		"https://as.example.com/path": false, "https://as.example.com//": false, "https://as.example.com?x": false, "https://as.example.com?": false,
		"https://as.example.com#f": false, "https://as.example.com/#": false, "https://u@as.example.com": false, "https://u:p@as.example.com": false, "as.example.com": false,
		"ftp://as.example.com": false, "//as.example.com": false, "https:as.example.com": false, "https://": false, "https://:443": false, "": false, "*": false,
	} {
		if err := (Config{HeaderOrigins: []string{o}}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", o, err)
		}
	}
}
