package netguard

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// nextAddress is how long a connection to one address may take before the next one is tried beside it
// (RFC 8305 section 5).
const nextAddress = 250 * time.Millisecond

// dialFunc dials an address, as net.Dialer does.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// lookup returns the addresses of a host, a name or a literal.
func (c *Client) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if c.cfg.Lookup != nil {
		return c.cfg.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// dialChecked looks a host up, checks its addresses, and dials those that are allowed: a dialler that was given the
// name would connect to a forbidden address before anybody could look at it.
func (c *Client) dialChecked(ctx context.Context, network, addr string, dial dialFunc) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := c.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var allowed []string
	var refusal error
	for _, a := range addrs {
		target := net.JoinHostPort(a.Unmap().String(), port)
		if err := c.cfg.Policy.Control(network, target, nil); err != nil {
			refusal = cmp.Or(refusal, err)
			continue
		}
		allowed = append(allowed, target)
	}
	if len(allowed) == 0 {
		return nil, cmp.Or(refusal, error(&net.DNSError{Err: "no such host", Name: host, IsNotFound: true}))
	}
	return dialFirst(ctx, network, allowed, dial)
}

// dialFirst dials addresses, each a moment after the one before it or as soon as that has failed, and returns the first
// connection.
func dialFirst(ctx context.Context, network string, addrs []string, dial dialFunc) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	over := make(chan struct{})
	defer close(over)
	start := func(addr string) {
		conn, err := dial(ctx, network, addr)
		select {
		case results <- result{conn, err}:
		case <-over:
			if conn != nil {
				_ = conn.Close()
			}
		}
	}
	next := time.NewTimer(0)
	defer next.Stop()
	var failures []error
	for started := 0; ; {
		select {
		case <-next.C:
			if started < len(addrs) {
				go start(addrs[started])
				started++
				next.Reset(nextAddress)
			}
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			if failures = append(failures, r.err); len(failures) == len(addrs) {
				return nil, failures[0]
			}
			next.Reset(0)
		}
	}
}

// watched checks the connections of a transport that dials by itself, for the addresses that servers name. It sees those
// of transports which end in one of net/http, as wrappers do; a proxy's address, and a tunnel's, is the owner's choice
// and is not looked at.
//
// Once it has seen that the transport connects to the hosts of the URLs themselves, it looks each name up before the
// request and refuses one that leads to a forbidden address, so that nothing is connected to. The transport looks it up
// again, so the address that a connection has led to is looked at too, before the request is written.
type watched struct {
	policy Policy
	next   http.RoundTripper
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// direct means that the transport was seen to connect to the host of a URL.
	direct atomic.Bool
}

func (w *watched) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := w.checkName(req); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	host, address := req.URL.Hostname(), hostPort(req.URL)
	var mu sync.Mutex
	var looked bool
	var refusal error
	trace := &httptrace.ClientTrace{
		DNSStart: func(info httptrace.DNSStartInfo) {
			mu.Lock()
			defer mu.Unlock()
			if strings.EqualFold(info.Host, host) {
				looked = true
				w.direct.Store(true)
			}
		},
		ConnectStart: func(_, addr string) {
			if addr == address {
				w.direct.Store(true)
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			mu.Lock()
			defer mu.Unlock()
			if !looked || info.Conn == nil {
				return
			}
			if err := w.policy.Control("", info.Conn.RemoteAddr().String(), nil); err != nil {
				refusal = err
				_ = info.Conn.Close() // so that nothing can be written
			}
		},
	}
	resp, err := w.next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	mu.Lock()
	defer mu.Unlock()
	if refusal != nil {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, refusal
	}
	return resp, err
}

// checkName refuses a request whose host has a forbidden address: the transport chooses among all that it has. A name
// that cannot be looked up is left to the transport.
func (w *watched) checkName(req *http.Request) error {
	if !w.direct.Load() {
		return nil
	}
	addrs, err := w.lookup(req.Context(), req.URL.Hostname())
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	for _, a := range addrs {
		if err := w.policy.Control("", netip.AddrPortFrom(a.Unmap(), 0).String(), nil); err != nil {
			return err
		}
	}
	return nil
}

// hostPort returns the address that a URL is connected to, with the port of its scheme if it has none.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// CloseIdleConnections closes what the transport keeps open.
func (w *watched) CloseIdleConnections() { closeIdle(w.next) }

func closeIdle(rt http.RoundTripper) {
	if t, ok := rt.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
