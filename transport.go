package mcpoauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
)

const (
	// maxReplay is the largest body that is kept in memory for a retry when the request cannot
	// give it again.
	maxReplay = 64 << 10
)

// Transport is an http.RoundTripper that authorizes requests to the Client's server. It is the main
// way in: any HTTP library and any MCP SDK can use it.
//
// The token goes to the server's origin and nowhere else, redirects included. A request that
// carries an Authorization header passes through. On 401 the token is renewed and the request sent
// once more, if its body can be had again (GetBody, or at most 64 KiB); a server that needs a login
// is logged in to where [Options.Prompt] allows it, and the error is [ErrLoginRequired] where not. A
// 401 that offers no OAuth, and any 403 but insufficient_scope, is the caller's.
type Transport struct {
	// Client authorizes the requests. It must not be nil.
	Client *Client
	// Base sends them. Nil is a guarded transport with the Client's certificates and proxies.
	Base http.RoundTripper
}

// CloseIdleConnections closes the connections that Base keeps for requests to come.
func (t *Transport) CloseIdleConnections() {
	if b, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		b.CloseIdleConnections()
	}
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return t.Client.http.Transport()
}

// HTTPClient returns an http.Client whose requests are authorized. It follows redirects within the
// server's origin only; others are returned as they are.
func (c *Client) HTTPClient() *http.Client {
	return &http.Client{Transport: &Transport{Client: c}, CheckRedirect: c.checkRedirect}
}

// checkRedirect stops at the border of an origin, so that the caller sees the redirect.
func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	if !c.mayFollow(req.URL, via[len(via)-1].URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

// mayFollow reports whether a redirect from one URL to the other keeps the token's audience: the
// server's origin, at its path or below.
func (c *Client) mayFollow(to, from *url.URL) bool {
	if !resource.SameOrigin(from, c.server) {
		return resource.SameOrigin(to, from)
	}
	if !resource.SameOrigin(to, c.server) {
		return false
	}
	return resource.Below(c.server, to) || resource.Below(from, to) || resource.Below(c.audience(), to)
}

// audience is the resource that the token was issued for, if it is a URL of the server's origin.
func (c *Client) audience() *url.URL {
	s := c.current.Load()
	if s == nil {
		return c.server
	}
	u, err := url.Parse(s.rec.Resource)
	if err != nil || !resource.SameOrigin(u, c.server) {
		return c.server
	}
	return u
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, base := t.Client, t.base()
	if req.Header["Authorization"] != nil {
		return base.RoundTrip(req)
	}
	if req.Response != nil || !(req.URL.Host == c.server.Host && req.URL.Scheme == c.server.Scheme) {
		if pass, err := c.foreign(req); err != nil {
			closeBody(req)
			return nil, err
		} else if pass {
			return base.RoundTrip(req)
		}
	}
	now := time.Now()
	if s := c.current.Load(); s.usable(now) {
		if s.due(now) {
			c.renewAhead(req.Context(), s)
		}
		r, replay := prepare(req)
		return c.finishTrip(base, req, r, replay, s)
	}
	return c.firstTrip(base, req)
}

// foreign reports whether a request is none of ours. A redirect that left the server's origin
// is an error: it must carry neither the token nor the body.
func (c *Client) foreign(req *http.Request) (pass bool, err error) {
	ours := resource.SameOrigin(req.URL, c.server)
	if req.Response == nil {
		return !ours, nil
	}
	to := req
	for r := req.Response; r != nil && r.Request != nil; r = r.Request.Response {
		if !c.mayFollow(to.URL, r.Request.URL) {
			return false, fmt.Errorf("mcpoauth: refused a redirect from %s to %s: a request keeps its token on the server's origin, at its path or below", plain(r.Request.URL), plain(to.URL))
		}
		to = r.Request
	}
	return !ours, nil
}

func plain(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// firstTrip sends a request while there is no good token in memory.
func (c *Client) firstTrip(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	s, err := c.obtain(req.Context(), 0)
	if err != nil && !errors.Is(err, ErrLoginRequired) {
		closeBody(req)
		return nil, err
	}
	r, replay := prepare(req)
	return c.finishTrip(base, req, r, replay, s)
}

// prepare returns a copy of req whose header may be changed, and a way to have its body again,
// nil if there is none. A body without GetBody is read if it is small.
func prepare(req *http.Request) (*http.Request, func() (io.ReadCloser, error)) {
	r := *req
	r.Header = maps.Clone(req.Header)
	if r.Header == nil {
		r.Header = make(http.Header, 1)
	}
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return &r, func() (io.ReadCloser, error) { return req.Body, nil }
	case req.GetBody != nil:
		return &r, req.GetBody
	case req.ContentLength > 0 && req.ContentLength <= maxReplay:
		b, err := io.ReadAll(io.LimitReader(req.Body, maxReplay+1))
		rest := req.Body
		if err != nil || int64(len(b)) != req.ContentLength {
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(b), errReader{err}, rest), rest}
			return &r, nil
		}
		_ = rest.Close()
		again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		r.Body, _ = again()
		return &r, again
	}
	return &r, nil
}

// errReader hands an error on to whoever reads the body.
type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) {
	if e.err == nil {
		return 0, io.EOF
	}
	return 0, e.err
}

// finishTrip sends r with s's token and deals with a refusal. req is the caller's own request.
func (c *Client) finishTrip(base http.RoundTripper, req, r *http.Request, replay func() (io.ReadCloser, error), s *session) (*http.Response, error) {
	resp, err := c.send(base, r, s, replay)
	if err != nil || !refusal(resp.StatusCode) {
		return resp, err
	}
	d := demandOf(resp.Header, s)
	next, err := c.answer(req.Context(), resp, d, s)
	if next == nil || err != nil || replay == nil && req.Body != nil {
		if err != nil {
			discard(resp.Body)
			return nil, err
		}
		return resp, nil
	}
	discard(resp.Body)
	for range 2 {
		if r, err = again(r, replay); err != nil {
			return nil, err
		}
		resp, err = c.send(base, r, next, replay)
		if err != nil || !refusal(resp.StatusCode) {
			if err == nil {
				c.welcomed()
			}
			return resp, err
		}
		d = demandOf(resp.Header, next)
		refused := next
		if next, err = c.answerAgain(req.Context(), resp, d, refused); next == nil || err != nil {
			if err != nil {
				discard(resp.Body)
				return nil, err
			}
			return resp, nil
		}
		discard(resp.Body)
	}
	return resp, nil
}

func refusal(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// again returns a copy of a request that was sent, for another try. Whatever still writes the first one must
// not see the body of the second.
func again(r *http.Request, replay func() (io.ReadCloser, error)) (*http.Request, error) {
	body, err := replay()
	if err != nil {
		return nil, fmt.Errorf("mcpoauth: the request's body cannot be had again: %w", err)
	}
	r2 := *r
	r2.Header, r2.Body = maps.Clone(r.Header), body
	return &r2, nil
}

// send attaches the token and sends.
func (c *Client) send(base http.RoundTripper, r *http.Request, s *session, replay func() (io.ReadCloser, error)) (*http.Response, error) {
	leg := "mcp"
	switch {
	case s == nil:
		delete(r.Header, "Authorization")
		leg = "challenge"
	case s.binding != nil:
		return c.sendBound(base, r, s, replay)
	default:
		r.Header["Authorization"] = s.header
	}
	return c.sendOnce(base, r, leg)
}

func (c *Client) sendOnce(base http.RoundTripper, r *http.Request, leg string) (*http.Response, error) {
	if len(c.opts.Network.Header) > 0 {
		r = c.withHeader(r)
	}
	if c.trace.hooks.Exchange == nil {
		return base.RoundTrip(r)
	}
	return c.exchange(leg, base, r)
}

// withHeader adds the configured headers where the request does not have them.
func (c *Client) withHeader(r *http.Request) *http.Request {
	if len(c.opts.Network.Header) == 0 || !resource.SameOrigin(r.URL, c.server) {
		return r
	}
	r2 := *r
	r2.Header = r.Header.Clone()
	for k, v := range c.opts.Network.Header {
		if _, ok := r2.Header[k]; !ok {
			r2.Header[k] = slices.Clone(v)
		}
	}
	return &r2
}

// exchange sends r and reports it to the trace.
func (c *Client) exchange(leg string, base http.RoundTripper, r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := base.RoundTrip(r)
	e := netguard.Exchange{Leg: leg, Method: r.Method, URL: plain(r.URL), Start: start, Duration: time.Since(start)}
	if err != nil {
		e.Err = withoutURL(err)
	} else {
		e.Status = resp.StatusCode
	}
	c.trace.exchange(r.Context(), e)
	return resp, err
}

// withoutURL takes the URL out of an error of net/http: its query may hold what must not be
// printed.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// answer decides what follows a first refusal: nil and no error hands the response to the caller.
func (c *Client) answer(ctx context.Context, resp *http.Response, d *demand, s *session) (*session, error) {
	if d.wanted != nil && s != nil {
		return c.authenticateAgain(ctx, d, s)
	}
	if resp.StatusCode == http.StatusForbidden {
		if d.code == "insufficient_scope" {
			return c.stepUp(ctx, d, s)
		}
		if s == nil || s.rec.Expiry.IsZero() || time.Now().Before(s.rec.Expiry) {
			return nil, nil
		}
	}
	if s == nil {
		return c.loginFor(ctx, d, c.whyNone(ctx), "")
	}
	if now, err := c.look(ctx); err == nil && now.rec.AccessToken != s.rec.AccessToken && now.usable(time.Now()) {
		return now, nil
	}
	if err := c.calmed(); err != nil {
		return nil, err
	}
	if d.dpop && s.binding == nil && c.opts.DPoP != Never {
		return c.bind(ctx, d, s)
	}
	next, err := c.renew(ctx, s.rec.AccessToken)
	if errors.Is(err, ErrLoginRequired) {
		var lr *LoginRequiredError
		reason := "the server no longer takes the access token"
		if errors.As(err, &lr) {
			reason = lr.Reason
		}
		if s.rec.LoginRequired == "" && s.rec.RefreshToken == "" && s.rec.Grant == "" {
			reason = "the server no longer takes the access token, and there is no refresh token"
		}
		return c.loginFor(ctx, d, reason, s.rec.AccessToken)
	}
	return next, err
}

// whyNone says why there is no usable login.
func (c *Client) whyNone(ctx context.Context) string {
	var lr *LoginRequiredError
	if _, err := c.look(ctx); errors.As(err, &lr) {
		return lr.Reason
	}
	return "not logged in"
}

// answerAgain decides what follows the refusal of a token just received. A refreshed one may be
// followed by a login, where somebody may be asked; after that the server is at fault.
func (c *Client) answerAgain(ctx context.Context, resp *http.Response, d *demand, s *session) (*session, error) {
	if d.wanted != nil {
		return c.authenticateAgain(ctx, d, s)
	}
	if resp.StatusCode == http.StatusForbidden {
		if d.code == "insufficient_scope" {
			return c.stepUp(ctx, d, s)
		}
		return nil, nil
	}
	fresh := time.Since(s.rec.IssuedAt) < time.Minute
	c.refused(fresh)
	if s.rec.Issuer != "" && c.issuerMoved(ctx, d, s) {
		return c.loginFor(ctx, d, "the server has moved to another authorization server", s.rec.AccessToken)
	}
	return nil, &Error{
		Op:  OpToken,
		URL: c.id, Status: resp.StatusCode, Code: d.code, Description: d.description,
		Message: "the MCP server refuses an access token that was just issued for it",
		Hint:    "the server is at fault, or the token is for another resource: compare --resource / --no-resource (Options.Server.Resource, Options.Server.NoResource) and the scopes with what its owner expects",
	}
}

// issuerMoved reports whether the server names another authorization server than the login's.
func (c *Client) issuerMoved(ctx context.Context, d *demand, s *session) bool {
	f, err := c.discover(ctx, d)
	return err == nil && f.Issuer != s.rec.Issuer
}

// loginFor logs in because the server demands it, or says that a login is required. A server
// that offers no OAuth gets its 401 handed to the caller.
func (c *Client) loginFor(ctx context.Context, d *demand, reason, refused string) (*session, error) {
	if !d.bearer && refused == "" && !c.offersOAuth(ctx, d) {
		return nil, nil
	}
	if c.opts.Prompt == nil {
		// The token may look good for long: the next login must not be content with it.
		if s, err := c.look(ctx); err == nil && refused != "" && s.rec.AccessToken == refused && s.rec.Wanted == nil && !c.machine() {
			c.noteWanted(ctx, s, &record.Authentication{})
		}
		return nil, c.loginRequired(reason, nil)
	}
	if err := c.calmed(); err != nil {
		return nil, err
	}
	s, err := c.joinLogin(ctx, want{refused: refused, challenge: d, force: refused != ""}, nil)
	if errors.Is(err, ErrNoOAuth) && refused == "" {
		return nil, nil
	}
	return s, err
}

// offersOAuth finds out whether a bare 401 stands for OAuth. That it does not is remembered for
// a minute.
func (c *Client) offersOAuth(ctx context.Context, d *demand) bool {
	c.mu.Lock()
	known := time.Now().Before(c.noOAuth)
	c.mu.Unlock()
	if known {
		return false
	}
	if c.opts.Prompt != nil {
		return true // the login's own discovery says so
	}
	_, err := c.discover(ctx, d)
	if errors.Is(err, ErrNoOAuth) {
		c.mu.Lock()
		c.noOAuth = time.Now().Add(time.Minute)
		c.mu.Unlock()
		return false
	}
	return true
}

// refused notes that the server took no token, not even a fresh one. Each time in a row it is left
// alone for longer.
func (c *Client) refused(fresh bool) {
	if !fresh {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calm = time.Now().Add(min(5*time.Second<<min(c.refusals, 6), time.Minute))
	c.refusals++
}

// welcomed ends what refused began.
func (c *Client) welcomed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals, c.calm, c.stepUps = 0, time.Time{}, nil
}

func (c *Client) calmed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := time.Until(c.calm); wait > 0 {
		return &TemporaryError{RetryAfter: wait, Err: &Error{
			Op:  OpToken,
			URL: c.id, Message: "the MCP server refuses every access token, fresh ones too", Hint: "the server is at fault: ask its owner which audience and scopes it expects",
		}}
	}
	return nil
}
