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

// adapt returns a copy of a caller's transport with the checks in it, and whether every connection is checked.
func (c *Client) adapt(t *http.Transport) (rt http.RoundTripper, everyConnection bool) {
	t = t.Clone()
	if t.TLSClientConfig != nil && t.TLSNextProto == nil && slices.Contains(t.TLSClientConfig.NextProtos, "h2") {
		// Clone copies the offer of HTTP/2, but with our dialler the transport would not speak it.
		t.ForceAttemptHTTP2 = true
	}
	if t.MaxResponseHeaderBytes == 0 {
		t.MaxResponseHeaderBytes = maxHeader
	}
	return t, c.secure(t)
}

// secure puts the address check into the dialler and our certificates into TLS, and reports whether every connection is
// checked. A transport that dials by itself keeps doing so, and is not; but one that does so with a net.Dialer, as
// http.DefaultTransport does, is given addresses that were checked instead of names.
func (c *Client) secure(t *http.Transport) bool {
	if t.OnProxyConnectResponse == nil {
		t.OnProxyConnectResponse = refusedByProxy
	}
	//nolint:staticcheck // the deprecated hooks count too
	own := t.Dial != nil || t.DialTLSContext != nil || t.DialTLS != nil || t.DialContext != nil && !isNetDialer(t.DialContext)
	if !own {
		direct := t.DialContext
		if direct == nil {
			direct = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
		}
		checked := (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: c.cfg.Policy.Control}).DialContext
		if t.DialContext != nil || c.cfg.Lookup != nil {
			checked = func(ctx context.Context, network, addr string) (net.Conn, error) {
				return c.dialChecked(ctx, network, addr, direct)
			}
		}
		var known proxies
		if t.Proxy != nil {
			t.Proxy = known.remember(t.Proxy)
		}
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if known.has(addr) {
				// The proxy is the owner's choice; the host behind it was checked by name.
				return direct(ctx, network, addr)
			}
			return checked(ctx, network, addr)
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
	return !own
}

// isNetDialer reports whether dial is the method of a net.Dialer. Its address is the host's own; that of
// another dialler may be a tunnel's.
func isNetDialer(dial func(context.Context, string, string) (net.Conn, error)) bool {
	return dial != nil && reflect.ValueOf(dial).Pointer() == reflect.ValueOf(new(net.Dialer).DialContext).Pointer()
}

// proxies are the addresses that a transport was told to go through.
type proxies struct{ known sync.Map }

// remember returns a proxy setting that records its results. The transport calls it for each request
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
func (c *checked) CloseIdleConnections() { closeIdle(c.next) }
