package netguard

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	getTimeout  = 10 * time.Second
	postTimeout = 30 * time.Second
	dialTimeout = 10 * time.Second
	// maxHeader bounds response headers, bytes.
	maxHeader    = 128 << 10
	maxRedirects = 3
)

// Config configures a [Client].
type Config struct {
	// Policy decides which addresses may be asked.
	Policy Policy
	// HTTPClient makes the requests. Nil is a client of our own. An *http.Transport in it is cloned and
	// gets the address check, unless it dials by itself with something else than a net.Dialer.
	HTTPClient *http.Client
	// RootCAs and Certificates are for TLS. Nil is the system's, none.
	RootCAs      *x509.CertPool
	Certificates []tls.Certificate
	// UserAgent is sent with every request that has none.
	UserAgent string
	// Header goes to HeaderOrigins and nowhere else.
	Header        http.Header
	HeaderOrigins []string
	// Trace hears of every exchange.
	Trace func(context.Context, Exchange)
}

// Exchange is one HTTP exchange.
type Exchange struct {
	// Leg says what it was for; Method and URL (without query) what was asked.
	Leg, Method, URL string
	// Status is 0 without a response; Err then says why.
	Status int
	Err    error
	// Start and Duration of the exchange.
	Start    time.Time
	Duration time.Duration
	// Note says more.
	Note string
}

// Client makes the requests of the protocol. It is safe for concurrent use.
type Client struct {
	cfg     Config
	rt      http.RoundTripper
	timeout time.Duration
	origins map[string]bool
}

// Answer is a response, read within limits.
type Answer struct {
	// URL is the one that answered, after redirects.
	URL    string
	Status int
	Header http.Header
	Body   []byte
	// Received is when the answer had come, by the local clock.
	Received time.Time
	// ContentType is the media type in lower case.
	ContentType string
}

// New returns a Client. It does no I/O.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, origins: make(map[string]bool)}
	for _, o := range cfg.HeaderOrigins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("%q is not an origin", o)
		}
		c.origins[resource.Origin(u)] = true
	}
	var rt http.RoundTripper
	if cfg.HTTPClient != nil {
		rt, c.timeout = cfg.HTTPClient.Transport, cfg.HTTPClient.Timeout
	}
	switch t := rt.(type) {
	case nil:
		c.rt = &checked{policy: cfg.Policy, next: c.ownTransport()}
	case *http.Transport:
		c.rt = &checked{policy: cfg.Policy, next: c.adapt(t)}
	default:
		c.rt = &checked{policy: cfg.Policy, next: rt}
	}
	return c, nil
}

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

// Transport returns the guarded transport, for the requests to the MCP server.
func (c *Client) Transport() http.RoundTripper { return c.rt }

// CheckURL reports why the policy would not ask u.
func (c *Client) CheckURL(u *url.URL) error { return c.cfg.Policy.CheckURL(u) }

// Get fetches a document. It follows at most three redirects on the same origin. Any status is
// an answer; the error is a *wire.Fault.
func (c *Client) Get(ctx context.Context, leg, target string, extra http.Header) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit(getTimeout))
	defer cancel()
	for hop := 0; ; hop++ {
		a, err := c.do(ctx, leg, http.MethodGet, target, nil, extra)
		if err != nil || a.Status/100 != 3 || a.Header.Get("Location") == "" {
			return a, err
		}
		next, err := redirect(target, a.Header.Get("Location"))
		if err == nil && hop >= maxRedirects {
			err = fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if err != nil {
			return a, nil // a redirect that is not followed is an answer like another
		}
		target = next
	}
}

func redirect(from, location string) (string, error) {
	u, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	to, err := u.Parse(location)
	if err != nil {
		return "", err
	}
	if !resource.SameOrigin(u, to) {
		return "", errors.New("it leads to another origin")
	}
	return to.String(), nil
}

// PostForm posts a form, once. It follows no redirect.
func (c *Client) PostForm(ctx context.Context, leg, target string, form url.Values, extra http.Header) (*Answer, error) {
	return c.post(ctx, leg, http.MethodPost, target, "application/x-www-form-urlencoded", []byte(form.Encode()), extra)
}

// PostJSON posts a JSON document, once. It follows no redirect.
func (c *Client) PostJSON(ctx context.Context, leg, target string, body []byte, extra http.Header) (*Answer, error) {
	return c.post(ctx, leg, http.MethodPost, target, "application/json", body, extra)
}

// PutJSON sends a JSON document with PUT, once. It follows no redirect.
func (c *Client) PutJSON(ctx context.Context, leg, target string, body []byte, extra http.Header) (*Answer, error) {
	return c.post(ctx, leg, http.MethodPut, target, "application/json", body, extra)
}

// Delete sends a DELETE, once. It follows no redirect.
func (c *Client) Delete(ctx context.Context, leg, target string, extra http.Header) (*Answer, error) {
	return c.post(ctx, leg, http.MethodDelete, target, "", nil, extra)
}

func (c *Client) post(ctx context.Context, leg, method, target, contentType string, body []byte, extra http.Header) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit(postTimeout))
	defer cancel()
	h := extra.Clone()
	if h == nil {
		h = make(http.Header)
	}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	a, err := c.do(ctx, leg, method, target, body, h)
	var lost *unusable
	var f *wire.Fault
	if errors.As(err, &lost) && errors.As(err, &f) {
		f.Temporary = true // it was done all the same: to be handled like an answer that was lost
	}
	if err == nil && a.Status/100 == 3 {
		return nil, &wire.Fault{
			URL: plainURL(target), Status: a.Status, Message: "the server answers with a redirect, which is not followed with secrets",
			Hint: "the server's metadata should name the address that it redirects to",
		}
	}
	return a, err
}

func (c *Client) limit(d time.Duration) time.Duration {
	if c.timeout > 0 {
		return min(d, c.timeout)
	}
	return d
}

func (c *Client) do(ctx context.Context, leg, method, target string, body []byte, extra http.Header) (*Answer, error) {
	start := time.Now()
	a, err := c.once(ctx, method, target, body, extra)
	e := Exchange{Leg: leg, Method: method, URL: plainURL(target), Start: start, Duration: time.Since(start)}
	if err != nil {
		err = c.Fault(ctx, target, err)
		e.Err = err
	} else {
		e.Status = a.Status
	}
	if c.cfg.Trace != nil {
		c.cfg.Trace(ctx, e)
	}
	return a, err
}

func (c *Client) once(ctx context.Context, method, target string, body []byte, extra http.Header) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, &refused{errors.New("it is not a URL")}
	}
	if body == nil {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	if c.origins[resource.Origin(req.URL)] {
		for k, v := range c.cfg.Header {
			req.Header[k] = v
		}
	}
	req.Header.Set("Accept", "application/json")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	for k, v := range extra {
		req.Header[k] = v
	}
	resp, err := c.rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, &unusable{fmt.Errorf("it has the content encoding %q", wire.CleanN(enc, 40))}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxBody+1))
	if err != nil {
		return nil, err
	}
	if len(b) > wire.MaxBody {
		return nil, &unusable{fmt.Errorf("it is longer than %d bytes", wire.MaxBody)}
	}
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		t, _, _ = strings.Cut(resp.Header.Get("Content-Type"), ";")
	}
	return &Answer{URL: target, Status: resp.StatusCode, Header: resp.Header, Body: b, Received: time.Now(), ContentType: strings.ToLower(strings.TrimSpace(t))}, nil
}

// unusable marks answers that are not read.
type unusable struct{ err error }

func (e *unusable) Error() string { return "unusable answer: " + e.err.Error() }
func (e *unusable) Unwrap() error { return e.err }

// Fault makes a *wire.Fault of the error of a request that got no answer: what happened, to whom, and
// whether trying again may help.
func (c *Client) Fault(ctx context.Context, target string, err error) error {
	f := &wire.Fault{URL: plainURL(target), Err: withoutURL(err)}
	host := hostOf(target)
	var guard *refused
	var answer *unusable
	var unknown *net.DNSError
	var op *net.OpError
	var plainHTTP tls.RecordHeaderError
	switch {
	case errors.As(err, &guard):
		f.Unsent = true
		f.Message = f.URL + " is not asked: " + guard.err.Error()
		f.Hint = "--allow-private-network (Options.Allow.PrivateNetwork) allows private addresses, --allow-insecure-http (Options.Allow.InsecureHTTP) plain http"
	case errors.As(err, &answer):
		f.Message = "the answer of " + f.URL + " is not read: " + answer.err.Error()
		f.Hint = "the server is at fault: show its owner this message"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		f.Unsent, f.Temporary = true, true
		f.Message = "the proxy on the way to " + host + " cannot be reached: " + wire.Clean(op.Err.Error())
		f.Hint = "check HTTPS_PROXY and the network, then try again"
	case isTLS(err):
		f.Unsent = true
		f.Message = "the certificate of " + host + " is not accepted: " + wire.Clean(withoutURL(err).Error())
		f.Hint = "for a private certificate authority give its certificate with --ca-file (Options.Network.RootCAs)"
		var invalid x509.CertificateInvalidError
		var name x509.HostnameError
		switch {
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			f.Hint = "compare this machine's clock with another one; if it is right, the server's owner has to renew the certificate"
		case errors.As(err, &name):
			f.Hint = "check the host in the URL: another server answers there, or its certificate lacks the name"
		}
	case wire.TLSRefusalOf(err) != wire.NotRefused:
		f.Unsent = true
		f.Message = host + " ends the TLS connection: " + wire.Clean(withoutURL(err).Error())
		switch wire.TLSRefusalOf(err) {
		case wire.WantsCertificate:
			f.Hint = "it asks for a certificate of yours: give one that it knows with --client-cert and --client-key (Options.Network.ClientCertificates)"
		case wire.NoHandshake:
			f.Hint = "it knows neither TLS 1.2 nor a cipher that is safe today, or it asks for a certificate of yours: give one with --client-cert and --client-key (Options.Network.ClientCertificates)"
		case wire.UnknownName:
			f.Hint = "check the host in the URL: the server does not know this name"
		default:
			f.Hint = "it knows neither TLS 1.2 nor a cipher that is safe today: its owner has to update it"
		}
	case errors.As(err, &plainHTTP):
		f.Unsent = true
		f.Message = host + " does not speak TLS on this port"
		f.Hint = "check the port; a server on this machine without TLS has a URL that begins with http://"
	case errors.As(err, &unknown):
		f.Unsent, f.Temporary = true, true
		f.Message = "the host " + host + " is unknown"
		if !unknown.IsNotFound {
			f.Message = "the host " + host + " cannot be looked up"
		}
		f.Hint = "check the URL and the network"
	case errors.As(err, &op) && op.Op == "dial":
		f.Unsent, f.Temporary = true, true
		f.Message = host + " cannot be reached: " + wire.Clean(op.Err.Error())
		f.Hint = "check the URL and the network, then try again"
	case errors.Is(ctx.Err(), context.Canceled):
		f.Message, f.Err = "cancelled", context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		f.Temporary = true
		f.Message = host + " did not answer in time"
		f.Hint = "try again later"
	default:
		f.Temporary = true
		f.Message = "the connection to " + host + " broke: " + wire.Clean(withoutURL(err).Error())
		f.Hint = "try again later"
	}
	return f
}

func isTLS(err error) bool {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &unknown) || errors.As(err, &invalid) || errors.As(err, &name) || errors.As(err, &verify)
}

// withoutURL takes the URL out of an error of net/http: its query may hold a secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func plainURL(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "(not a URL)"
	}
	return wire.CleanN(u.Scheme+"://"+u.Host+u.EscapedPath(), 512)
}

func hostOf(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "(not a URL)"
	}
	return wire.CleanN(u.Host, 255)
}
