package netguard

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"time"
)

func (c *Client) ownTransport() *http.Transport {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 100, MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: dialTimeout, ExpectContinueTimeout: time.Second, MaxResponseHeaderBytes: maxHeader,
	}
	c.secure(t)
	return t
}

// adapt returns a copy of a caller's transport with the checks in it.
func (c *Client) adapt(t *http.Transport) *http.Transport {
	t = t.Clone()
	if t.TLSClientConfig != nil && t.TLSNextProto == nil && slices.Contains(t.TLSClientConfig.NextProtos, "h2") {
		// Clone copies the offer of HTTP/2, but with a dialler of ours nobody would speak it.
		t.ForceAttemptHTTP2 = true
	}
	if t.MaxResponseHeaderBytes == 0 {
		t.MaxResponseHeaderBytes = maxHeader
	}
	c.secure(t)
	return t
}

// secure puts the address check into the dialler and our certificates into TLS. A transport that
// dials by itself keeps doing so; if it does so with a net.Dialer, as http.DefaultTransport does, the
// address is checked when it has connected.
func (c *Client) secure(t *http.Transport) {
	//nolint:staticcheck // the deprecated hooks count too
	own := t.Dial != nil || t.DialTLSContext != nil || t.DialTLS != nil
	switch {
	case !own && isNetDialer(t.DialContext):
		dial := t.DialContext
		var known proxies
		if t.Proxy != nil {
			t.Proxy = known.remember(t.Proxy)
		}
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil || known.has(addr) {
				return conn, err
			}
			if err := c.cfg.Policy.Control(network, conn.RemoteAddr().String(), nil); err != nil {
				_ = conn.Close()
				return nil, err
			}
			return conn, nil
		}
	case !own && t.DialContext == nil:
		guarded := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: c.cfg.Policy.Control}
		plain := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
		var known proxies
		if t.Proxy != nil {
			t.Proxy = known.remember(t.Proxy)
		}
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if known.has(addr) {
				// The proxy is the owner's choice; what lies behind it was checked by name.
				return plain.DialContext(ctx, network, addr)
			}
			return guarded.DialContext(ctx, network, addr)
		}
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.cfg.RootCAs != nil {
		t.TLSClientConfig.RootCAs = c.cfg.RootCAs
	}
	if len(c.cfg.Certificates) > 0 {
		t.TLSClientConfig.Certificates = c.cfg.Certificates
	}
}

// isNetDialer reports whether dial is the method of a net.Dialer. Its address is the host's own; that of
// another dialler may be a tunnel's.
func isNetDialer(dial func(context.Context, string, string) (net.Conn, error)) bool {
	return dial != nil && reflect.ValueOf(dial).Pointer() == reflect.ValueOf(new(net.Dialer).DialContext).Pointer()
}

// proxies are the addresses that a transport was told to go through.
type proxies struct{ known sync.Map }

// remember returns a proxy setting that takes note of its answers. It is asked about each request
// before that request's connection is dialled.
func (p *proxies) remember(setting func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(req *http.Request) (*url.URL, error) {
		u, err := setting(req)
		if err == nil && u != nil {
			port := u.Port()
			if port == "" {
				port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
			}
			p.known.Store(net.JoinHostPort(u.Hostname(), port), true)
		}
		return u, err
	}
}

func (p *proxies) has(addr string) bool {
	_, ok := p.known.Load(addr)
	return ok
}

// checked refuses URLs before they are sent.
type checked struct {
	policy Policy
	next   http.RoundTripper
}

func (c *checked) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := c.policy.CheckURL(req.URL); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &refused{err}
	}
	return c.next.RoundTrip(req)
}

// CloseIdleConnections closes what the transport keeps open.
func (c *checked) CloseIdleConnections() {
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
