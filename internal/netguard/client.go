package netguard

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
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
	// gets the address check, unless it dials by itself with something else than a net.Dialer. For such a
	// transport, and for any other http.RoundTripper, the addresses of the requests of the protocol are checked
	// before anything is written, as far as they can be seen from outside.
	HTTPClient *http.Client
	// Lookup replaces the system's resolver where names are looked up before they are dialled.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
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
	// Leg names its purpose; Method and URL (without query) are the request's.
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
	cfg Config
	// rt is for the MCP server, whose host the person has typed; protocol for all other requests.
	rt, protocol http.RoundTripper
	timeout      time.Duration
	origins      map[string]bool
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

// HeaderError means that a header field of [Config.Header] cannot be sent.
type HeaderError struct {
	// Name of the field. Its value may be a secret.
	Name string
}

// Error implements error.
func (e *HeaderError) Error() string {
	return fmt.Sprintf("the header field %q has characters that no header field may have", e.Name)
}

// Check returns what New would refuse: a header that cannot be sent is a *HeaderError.
func (c Config) Check() error {
	for name, values := range c.Header {
		if !validHeader(name, values) {
			return &HeaderError{Name: wire.CleanN(name, 80)}
		}
	}
	if !validHeader("User-Agent", []string{c.UserAgent}) {
		return &HeaderError{Name: "User-Agent"}
	}
	for _, o := range c.HeaderOrigins {
		if !isOrigin(o) {
			return fmt.Errorf("%q is not an origin: scheme, host and perhaps a port", wire.Clean(o))
		}
	}
	return nil
}

// isOrigin reports whether s is an http or https origin and nothing else: a path would suggest that others at that
// origin get no header.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" {
		return false
	}
	return u.User == nil && (u.Path == "" || u.Path == "/") && !strings.ContainsAny(s, "?#")
}

// New returns a Client. It does no I/O. The error is that of [Config.Check].
func New(cfg Config) (*Client, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, origins: make(map[string]bool)}
	for _, o := range cfg.HeaderOrigins {
		c.origins[resource.OriginOf(o)] = true
	}
	var rt http.RoundTripper
	if cfg.HTTPClient != nil {
		rt, c.timeout = cfg.HTTPClient.Transport, cfg.HTTPClient.Timeout
	}
	everyConnection := true
	switch t := rt.(type) {
	case nil:
		rt = c.ownTransport()
	case *http.Transport:
		rt, everyConnection = c.adapt(t)
	default:
		everyConnection = false
	}
	c.rt = &checked{policy: cfg.Policy, next: rt}
	c.protocol = c.rt
	if !everyConnection {
		c.protocol = &checked{policy: cfg.Policy, next: &watched{policy: cfg.Policy, next: rt, lookup: c.lookup}}
	}
	return c, nil
}

// validHeader reports whether a header field can be sent (RFC 9110 sections 5.1 and 5.5). A line break in a value would
// begin another field.
func validHeader(name string, values []string) bool {
	const token = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	return name != "" && strings.Trim(name, token) == "" && !slices.ContainsFunc(values, func(v string) bool { return strings.ContainsFunc(v, control) })
}

// Transport returns the guarded transport, for the requests to the MCP server.
func (c *Client) Transport() http.RoundTripper { return c.rt }

// CheckURL reports why the policy would not ask u.
func (c *Client) CheckURL(u *url.URL) error { return c.cfg.Policy.CheckURL(u) }

// Request says where a request goes.
type Request struct {
	// Leg names the request for traces.
	Leg string
	// URL to request.
	URL string
	// Header has further header fields; nil has none.
	Header http.Header
}

// Get fetches a document. It follows at most three redirects on the same origin. Any status is
// an answer; the error is a *wire.Fault.
func (c *Client) Get(ctx context.Context, r Request) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit(getTimeout))
	defer cancel()
	for hop := 0; ; hop++ {
		a, err := c.do(ctx, r, content{method: http.MethodGet})
		if err != nil || a.Status/100 != 3 || a.Header.Get("Location") == "" {
			return a, err
		}
		next, err := redirect(r.URL, a.Header.Get("Location"))
		if err == nil && hop >= maxRedirects {
			err = fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if err != nil {
			return a, nil // a redirect that is not followed is an answer like another
		}
		r.URL = next
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

// PostForm posts a form, once. It follows no redirect. The error is a *wire.Fault.
func (c *Client) PostForm(ctx context.Context, r Request, form url.Values) (*Answer, error) {
	return c.send(ctx, r, content{http.MethodPost, "application/x-www-form-urlencoded", []byte(form.Encode())})
}

// PostJSON posts a JSON document, once. It follows no redirect. The error is a *wire.Fault.
func (c *Client) PostJSON(ctx context.Context, r Request, body []byte) (*Answer, error) {
	return c.send(ctx, r, content{http.MethodPost, "application/json", body})
}

// PutJSON sends a JSON document with PUT, once. It follows no redirect. The error is a *wire.Fault.
func (c *Client) PutJSON(ctx context.Context, r Request, body []byte) (*Answer, error) {
	return c.send(ctx, r, content{http.MethodPut, "application/json", body})
}

// Delete sends a DELETE, once. It follows no redirect. The error is a *wire.Fault.
func (c *Client) Delete(ctx context.Context, r Request) (*Answer, error) {
	return c.send(ctx, r, content{method: http.MethodDelete})
}

// content is what a request sends: a nil body sends none.
type content struct {
	method, contentType string
	body                []byte
}

// send makes a request that may carry secrets or change something at the server.
func (c *Client) send(ctx context.Context, r Request, what content) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit(postTimeout))
	defer cancel()
	a, err := c.do(ctx, r, what)
	if _, unread := errors.AsType[*unusable](err); unread {
		// The server has acted on the request all the same, so the answer counts as lost.
		if f, ok := errors.AsType[*wire.Fault](err); ok {
			f.Temporary = true
		}
	}
	if err == nil && a.Status/100 == 3 {
		return nil, &wire.Fault{
			URL: wire.PlainURL(r.URL), Status: a.Status, Message: "the server answers with a redirect, which is not followed with secrets",
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

// do makes one exchange and reports it to the trace.
func (c *Client) do(ctx context.Context, r Request, what content) (*Answer, error) {
	start := time.Now()
	a, err := c.once(ctx, r, what)
	e := Exchange{Leg: r.Leg, Method: what.method, URL: wire.PlainURL(r.URL), Start: start, Duration: time.Since(start)}
	if err != nil {
		err = c.Fault(ctx, r.URL, err)
		e.Err = err
	} else {
		e.Status = a.Status
	}
	if c.cfg.Trace != nil {
		c.cfg.Trace(ctx, e)
	}
	return a, err
}

func (c *Client) once(ctx context.Context, r Request, what content) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, what.method, r.URL, bytes.NewReader(what.body))
	if err != nil {
		return nil, &refused{errors.New("it is not a URL")}
	}
	if what.body == nil {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	c.setHeader(req, r.Header, what.contentType)
	resp, err := c.protocol.RoundTrip(req)
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
	return &Answer{URL: r.URL, Status: resp.StatusCode, Header: resp.Header, Body: b, Received: time.Now(), ContentType: wire.MediaType(resp.Header)}, nil
}

// setHeader sets the header of a request: the configured fields where they belong, ours, and last those of the
// request itself.
func (c *Client) setHeader(req *http.Request, extra http.Header, contentType string) {
	if c.origins[resource.Origin(req.URL)] {
		maps.Copy(req.Header, c.cfg.Header)
	}
	req.Header.Set("Accept", "application/json")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	maps.Copy(req.Header, extra)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
}
