package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// remote sends HTTP requests to the server. It holds no state of a session.
type remote struct {
	http     Doer
	url      *url.URL
	headers  http.Header // of every request
	classify func(error) Failure
	patience time.Duration
	tools    *toolTable
	log      *slog.Logger
}

// header returns the header of a request in a session.
func (r *remote) header(s *session) http.Header {
	h := make(http.Header, 8+len(r.headers))
	maps.Copy(h, r.headers)
	if s.id != "" {
		h["Mcp-Session-Id"] = []string{s.id}
	}
	if s.version != "" && fitsSessionID(s.version) {
		h["Mcp-Protocol-Version"] = []string{s.version}
	}
	return h
}

// with returns a context for a request that belongs to the session, which [SameLogin] checks.
func (s *session) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

func newRequest(ctx context.Context, method string, u *url.URL, h http.Header) *http.Request {
	r := &http.Request{Method: method, URL: u, Host: u.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return r.WithContext(ctx)
}

// post sends a message. Its error is a fault, or ctx's.
func (r *remote) post(ctx context.Context, s *session, out outgoing) (*http.Response, error) {
	h := r.header(s)
	h["Content-Type"] = []string{"application/json"}
	h["Accept"] = []string{"application/json, text/event-stream"}
	if out.version != "" && out.elem != nil {
		delete(h, "Mcp-Session-Id")
		if err := r.tools.describe(h, out); err != nil {
			return nil, err
		}
	}
	u := r.url
	if s.sse != nil {
		u = s.sse.endpoint
	}
	limited := ctx
	if out.elem != nil && out.elem.notification() {
		// The messages after a notification must not wait for a server that never takes it.
		var cancel context.CancelFunc
		limited, cancel = context.WithCancel(ctx)
		t := time.AfterFunc(r.patience, cancel)
		defer t.Stop()
	}
	if out.version == "" {
		limited = s.with(limited)
	}
	req := newRequest(limited, http.MethodPost, u, h)
	req.Body, req.ContentLength = out.msg.body(), out.msg.size
	req.GetBody = func() (io.ReadCloser, error) { return out.msg.body(), nil }
	resp, err := r.http.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && limited.Err() != nil:
		return nil, &fault{reason: reasonLost, final: true, err: errors.New("the server did not take it in time")}
	case err != nil:
		f := r.failure(err)
		if f.rejected && s.id != "" && out.version == "" {
			f.reason, f.unsent = reasonSession, true
		}
		if f.reason == reasonSession {
			f.session = s
		}
		return nil, f
	case resp.Request != nil && resp.Request.Method != http.MethodPost:
		_ = resp.Body.Close()
		return nil, redirectFault(resp)
	}
	return resp, nil
}

// redirectFault is the fault of a response that came after a redirect had turned a POST into a GET: the message is
// lost (RFC 9110 section 15.4).
func redirectFault(resp *http.Response) *fault {
	status := http.StatusSeeOther
	if r := resp.Request.Response; r != nil {
		status = r.StatusCode
	}
	return &fault{reason: reasonStatus, status: status, final: true, err: errors.New("the server redirects messages with 301, 302 or 303 to " +
		wire.PlainURL(resp.Request.URL.String()) + ", which loses them: use that URL, or have the server use 308")}
}

// get opens a stream, or goes on after the event last, if that is not "".
func (r *remote) get(ctx context.Context, s *session, last string) (*http.Response, error) {
	h := r.header(s)
	h["Accept"] = []string{"text/event-stream"}
	h["Cache-Control"] = []string{"no-cache"}
	if last != "" {
		h["Last-Event-Id"] = []string{last}
	}
	return r.http.Do(newRequest(s.with(ctx), http.MethodGet, r.url, h))
}

// deleteSession tells the server that a session is over.
func (r *remote) deleteSession(ctx context.Context, s *session) {
	resp, err := r.http.Do(newRequest(s.with(ctx), http.MethodDelete, r.url, r.header(s)))
	if err != nil {
		r.log.Debug("the session could not be ended", "why", wire.Clean(r.failure(err).Error()))
		return
	}
	_ = resp.Body.Close()
}

// failure returns an error of the HTTP client or of a login as a fault.
func (r *remote) failure(err error) *fault {
	if errors.Is(err, errOtherLogin) {
		return &fault{reason: reasonSession, unsent: true, err: errOtherLogin}
	}
	c := r.classify(err)
	if withURL, ok := errors.AsType[*url.Error](err); ok {
		err = withURL.Err // a URL's query may hold a secret
	}
	f := &fault{code: c.Code, wait: c.RetryAfter, err: err}
	switch c.Kind {
	case FailedLogin:
		f.reason, f.unsent = reasonLogin, true
	case FailedDenied:
		f.reason = reasonDenied
	case FailedTemporary:
		f.reason, f.unsent = reasonTemporary, true
	case FailedOther, FailedRejected:
		f.reason, f.rejected = reasonAuthorization, c.Kind == FailedRejected
	default:
		f.reason, f.unsent = reasonLost, false
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		op, _ := errors.AsType[*net.OpError](err)
		switch {
		case untrusted, wire.TLSRefusalOf(err) != wire.NotRefused:
			f.reason, f.final = reasonNetwork, true
		case op != nil && (op.Op == "dial" || op.Op == "proxyconnect"):
			f.reason, f.unsent = reasonNetwork, true
		}
	}
	return f
}

// success reports whether a response's status is 2xx.
func success(resp *http.Response) bool { return resp.StatusCode/100 == 2 }

// drain reads the little that is left of a response, so that its connection can be used again.
func drain(resp *http.Response) {
	if resp.ContentLength != 0 {
		t := time.AfterFunc(linger, func() { _ = resp.Body.Close() })
		defer t.Stop()
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	}
	_ = resp.Body.Close()
}

func isEvents(h http.Header) bool {
	ct, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(ct), "text/event-stream")
}

// fitsHeader reports whether a text may be the value of a header as it is.
func fitsHeader(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return true
}

// fitsSessionID reports whether a text may be a session id: visible ASCII, of a limited length.
func fitsSessionID(id string) bool {
	for _, c := range []byte(id) {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	return len(id) <= maxField
}
