package netguard

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// lookupTimeout bounds the lookup of a name for a transport that looks it up again by itself.
	lookupTimeout = 2 * time.Second
	// verdictLife is how long the result of such a lookup counts.
	verdictLife = time.Minute
	// maxVerdicts bounds how many are remembered.
	maxVerdicts = 256
	// nextAddress is how long a connection to one address may take before the next one is tried beside it
	// (RFC 8305 section 5).
	nextAddress = 250 * time.Millisecond
)

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

// resolving checks the addresses of a name before a request is given to a transport that dials by itself. That one
// looks the name up again, and may get another answer, or sends the request through a tunnel or proxy: this is no more
// than can be done from here. What cannot be looked up here is left to it.
type resolving struct {
	c    *Client
	next http.RoundTripper

	mu       sync.Mutex
	verdicts map[string]verdict
}

// verdict is what was found about a host.
type verdict struct {
	err   error
	until time.Time
}

func (r *resolving) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := r.check(req.Context(), req.URL.Hostname()); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	return r.next.RoundTrip(req)
}

// check returns why a host must not be asked.
func (r *resolving) check(ctx context.Context, host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil // it was checked with the URL
	}
	now := time.Now()
	r.mu.Lock()
	v, known := r.verdicts[host]
	r.mu.Unlock()
	if known && now.Before(v.until) {
		return v.err
	}
	limited, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := r.c.lookup(limited, host)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	v = verdict{until: now.Add(verdictLife)}
	for _, a := range addrs {
		// Any forbidden address counts: which one is dialled is not known here.
		if refusal := r.c.cfg.Policy.allow(classify(a), host+" has the address "+a.Unmap().String()+", and that"); err == nil && refusal != nil {
			v.err = cmp.Or(v.err, error(&refused{refusal}))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.verdicts == nil || len(r.verdicts) >= maxVerdicts {
		r.verdicts = make(map[string]verdict)
	}
	r.verdicts[host] = v
	return v.err
}

// CloseIdleConnections closes what the transport keeps open.
func (r *resolving) CloseIdleConnections() { closeIdle(r.next) }

func closeIdle(rt http.RoundTripper) {
	if t, ok := rt.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
