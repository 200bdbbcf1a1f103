package netguard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
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
		"one that dials by itself": {Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, internal.Listener.Addr().String())
		}}},
		"a wrapper": {Transport: roundTripper(http.DefaultTransport.RoundTrip)},
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

// TestNamesBeforeAForeignRoundTripper: what is no transport of net/http looks names up by itself, so all that can be done is to look
// before it does.
func TestNamesBeforeAForeignRoundTripper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lookups{answers: map[string][]string{
			"good.example": {"203.0.114.1", "127.0.0.1"}, "bad.example": {"203.0.114.1,10.0.0.1"}, "unknown.example": nil,
		}}
		var sent []string
		rt := roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r.URL.Hostname())
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
		})
		c := newClient(t, Config{HTTPClient: &http.Client{Transport: rt}, Lookup: l.lookup})
		get := func(target string) error {
			_, err := c.Get(t.Context(), Request{URL: target})
			return err
		}
		if err := get("https://good.example/"); err != nil {
			t.Error(err)
		}
		if err := get("https://bad.example/"); err == nil || !faultOf(t, err).Unsent || !strings.Contains(err.Error(), "10.0.0.1") {
			t.Errorf("bad: %v", err)
		}
		// Behind a proxy or a tunnel there are names that are known there only.
		if err := get("https://unknown.example/"); err != nil {
			t.Error(err)
		}
		// A literal needs no lookup.
		if err := errors.Join(get("https://203.0.114.2/"), get("https://[2606:4700::1]/")); err != nil {
			t.Error(err)
		}
		if got := strings.Join(sent, " "); got != "good.example unknown.example 203.0.114.2 2606:4700::1" {
			t.Errorf("sent to %s", got)
		}
		// For a minute the answer counts.
		time.Sleep(verdictLife - time.Second)
		if err := get("https://good.example/"); err != nil {
			t.Error(err)
		}
		if err := get("https://bad.example/"); err == nil {
			t.Error("bad.example was asked")
		}
		if got := strings.Join(l.asked, " "); got != "good.example bad.example unknown.example" {
			t.Errorf("looked up %s", got)
		}
		time.Sleep(time.Second)
		if err := get("https://good.example/"); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("after a minute: %v", err)
		}
		// A refused request closes its body, as the transport would have.
		closed := false
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://bad.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Body = closer{io.NopCloser(strings.NewReader("x")), &closed}
		if resp, err := c.Transport().RoundTrip(req); err == nil {
			_ = resp.Body.Close()
			t.Error("bad.example was asked")
		}
		if !closed {
			t.Error("the body is still open")
		}
		// What is remembered does not grow for ever.
		for i := range 3 * maxVerdicts {
			_ = get(fmt.Sprintf("https://h%d.example/", i))
		}
		r := c.rt.(*checked).next.(*resolving)
		if n := len(r.verdicts); n == 0 || n > maxVerdicts {
			t.Errorf("%d verdicts", n)
		}
	})
}

// TestALookupThatHangs: a resolver that does not answer holds a request for two seconds, and the caller's context ends
// the wait at once.
func TestALookupThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rt := roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
		})
		hang := func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		c := newClient(t, Config{HTTPClient: &http.Client{Transport: rt}, Lookup: hang})
		start := time.Now()
		if _, err := c.Get(t.Context(), Request{URL: "https://slow.example/"}); err != nil || time.Since(start) != lookupTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := c.Get(ctx, Request{URL: "https://slower.example/"}); err == nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
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
