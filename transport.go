package mcpoauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	wwwauth "github.com/mcpoauth/mcpoauth/internal/challenge"
	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/resource"
)

const (
	// maxReplay is the largest body that is kept in memory for a retry when the request cannot produce it again.
	maxReplay = 64 << 10
	// maxSends is how often one request is sent. That is enough for an expired token, a refresh, a step-up, and one
	// more of each.
	maxSends = 6
)

// Transport is an http.RoundTripper that authorizes requests to the Client's server. It is the main entry point: any
// HTTP library and any MCP SDK can use it.
//
// The token goes to the server's origin and nowhere else, redirects included. A request that has an Authorization
// header is sent as it is. On 401 the token is renewed and the request is sent again, if its body can be produced
// again (GetBody, or at most 64 KiB). If the server demands a login or further scopes, a person logs in by
// [Options.Prompt]; without a Prompt the error is [ErrLoginRequired] or a [ScopeError]. A request is sent six times
// at most, and then the last response is returned. So is a 401 of a server that offers no OAuth, and a 403 that
// demands neither scopes nor another login.
type Transport struct {
	// Client authorizes the requests. It must not be nil.
	Client *Client
	// Base sends them. Nil is a transport that checks addresses and uses [Options.Network].
	Base http.RoundTripper
	// Sending is called before each send of a request with a token. login names the login that the token belongs to: it
	// stays the same when the token is refreshed, and is another one after another login, in any process. It is "" for
	// logins of older versions. The request is not sent if the error is not nil, and RoundTrip returns that error. It is
	// for what a program keeps of one login, such as the session of an MCP server, and must not be used with another.
	// Nil is not called.
	Sending func(req *http.Request, login string) error
	// Cookies keeps the cookies of the server in memory, as load balancers need them that send all requests of an MCP
	// session to one machine. They go to the server's origin alone, with the requests of one login, and not with
	// requests that have a Cookie header. [Client.HTTPClient] sets it.
	Cookies bool
}

// CloseIdleConnections closes the connections that Base keeps for later requests.
func (t *Transport) CloseIdleConnections() {
	if b, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		b.CloseIdleConnections()
	}
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return t.Client.guard().Transport()
}

// HTTPClient returns an http.Client whose requests are authorized. It follows redirects within the server's origin only;
// others are returned as they are.
func (c *Client) HTTPClient() *http.Client {
	return &http.Client{Transport: &Transport{Client: c, Cookies: true}, CheckRedirect: c.checkRedirect}
}

// checkRedirect does not follow a redirect to another origin: the caller gets the response.
func (g *gate) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	if !g.mayFollow(req.URL, via[len(via)-1].URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

// mayFollow reports whether a redirect from one URL to the other keeps the token's audience: the server's origin, at its
// path or below.
func (g *gate) mayFollow(to, from *url.URL) bool {
	if !resource.SameOrigin(from, g.server) {
		return resource.SameOrigin(to, from)
	}
	if !resource.SameOrigin(to, g.server) {
		return false
	}
	return resource.Below(g.server, to) || resource.Below(from, to) || resource.Below(g.audience(), to)
}

// audience is the resource that the token was issued for, if it is a URL of the server's origin.
func (g *gate) audience() *url.URL {
	s := g.logins.current.Load()
	if s == nil {
		return g.server
	}
	u, err := url.Parse(s.resource)
	if err != nil || !resource.SameOrigin(u, g.server) {
		return g.server
	}
	return u
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	g := &t.Client.gate
	if g.closed.Load() {
		closeBody(req)
		return nil, errClosed
	}
	base := t.base()
	if req.Header["Authorization"] != nil {
		return base.RoundTrip(req)
	}
	if req.Response != nil || !(req.URL.Host == g.server.Host && req.URL.Scheme == g.server.Scheme) {
		if pass, err := g.otherOrigin(req); err != nil {
			closeBody(req)
			return nil, err
		} else if pass {
			return base.RoundTrip(req)
		}
	}
	now := time.Now()
	s := g.logins.current.Load()
	trip := trip{gate: g, base: base, sending: t.Sending, cookies: t.Cookies && req.Header["Cookie"] == nil, req: req}
	if s.usable(now) {
		if s.due(now) {
			g.refresh.ahead(req.Context(), s)
		}
		return trip.run(s, "")
	}
	s, err := g.refresh.ensure(req.Context(), 0)
	required, ok := errors.AsType[*LoginRequiredError](err)
	if err != nil && !ok {
		closeBody(req)
		return nil, err
	}
	if ok {
		return trip.run(nil, required.Reason)
	}
	return trip.run(s, "")
}

// ended returns the error of a request that failed with err: errClosed if Close has ended it, and not its own context.
func (t *trip) ended(err error) error {
	if t.closed.Load() && t.req.Context().Err() == nil && errors.Is(err, context.Canceled) {
		return errClosed
	}
	return err
}

// errClosed is the error of a closed Client.
var errClosed = fmt.Errorf("mcpoauth: %w", ErrClosed)

// otherOrigin reports whether a request does not go to the server. A redirect that left the server's origin is an error:
// it must carry neither the token nor the body.
func (g *gate) otherOrigin(req *http.Request) (pass bool, err error) {
	ours := resource.SameOrigin(req.URL, g.server)
	if req.Response == nil {
		return !ours, nil
	}
	to := req
	for r := req.Response; r != nil && r.Request != nil; r = r.Request.Response {
		if !g.mayFollow(to.URL, r.Request.URL) {
			return false, fmt.Errorf("mcpoauth: refused a redirect from %s to %s: a request keeps its token on the server's origin, at its path or below", plain(r.Request.URL), plain(to.URL))
		}
		to = r.Request
	}
	return !ours, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// trip is one request of the caller's, with all its retries.
type trip struct {
	*gate
	base    http.RoundTripper
	sending func(*http.Request, string) error
	// cookies: the server's are kept and sent.
	cookies bool
	// req is the caller's request, out the copy that is sent.
	req, out *http.Request
	// body produces the body again, nil if that is not possible.
	body func() (io.ReadCloser, error)
}

// run sends the request with the token of s, nil for none, and overcomes refusals until the response is the caller's
// or the budget is spent. reason is why there is no token.
func (t *trip) run(s *session, reason string) (*http.Response, error) {
	t.prepare()
	obtained := false
	for sends := 1; ; sends++ {
		resp, err := t.send(s)
		away := err == nil && t.redirectsAway(resp, s)
		if err != nil || !refused(resp.StatusCode) && !away {
			if err == nil && sends > 1 {
				t.accepted()
			}
			return resp, t.ended(err)
		}
		if sends == maxSends {
			return resp, nil
		}
		o, err := t.overcome(t.req.Context(), refusal{
			status: resp.StatusCode, challenge: readChallenge(resp.Header, s), sent: s, reason: reason, obtained: obtained, redirect: away, inSession: t.req.Header["Mcp-Session-Id"] != nil,
		})
		if err != nil {
			discard(resp.Body)
			return nil, t.ended(err)
		}
		if o.next == nil || !t.repeatable() {
			return resp, nil
		}
		discard(resp.Body)
		if err := t.again(); err != nil {
			return nil, err
		}
		s, obtained = o.next, o.obtained
	}
}

// redirectsAway reports whether a response redirects to where the token must not go, for now: instead of a 401, some
// gateways send a client whose token has ended to a page for people. A redirect for good is no refusal,
// and one that does not look like a login page is one only if a refresh can show it.
func (t *trip) redirectsAway(resp *http.Response, s *session) bool {
	switch resp.StatusCode {
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect:
	default:
		return false
	}
	to, err := t.out.URL.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" || t.mayFollow(to, t.out.URL) {
		return false
	}
	return s == nil || s.refreshToken || s.grant != "" || loginPage(to)
}

// loginPage reports whether an address looks like that of a login page.
func loginPage(u *url.URL) bool {
	text := strings.ToLower(u.Host + u.Path)
	return slices.ContainsFunc([]string{"login", "logon", "signin", "sign-in", "sign_in", "auth", "sso", "saml"}, func(word string) bool { return strings.Contains(text, word) })
}

// prepare makes the copy of the request whose header may be changed, and a way to produce its body again. A body without
// GetBody is read if it is small.
func (t *trip) prepare() {
	r := *t.req
	t.out = &r
	// A clone copies the table as it is; making a new one would hash each name again, which is most of the cost of a
	// request.
	if r.Header = maps.Clone(t.req.Header); r.Header == nil {
		r.Header = make(http.Header, 1)
	}
	switch {
	case t.req.Body == nil || t.req.Body == http.NoBody:
	case t.req.GetBody != nil:
		t.body = t.req.GetBody
	case t.req.ContentLength > 0 && t.req.ContentLength <= maxReplay:
		t.keepBody()
	}
}

// keepBody reads a small body into memory.
func (t *trip) keepBody() {
	b, err := io.ReadAll(io.LimitReader(t.req.Body, maxReplay+1))
	rest := t.req.Body
	if err != nil || int64(len(b)) != t.req.ContentLength {
		t.out.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(b), errReader{err}, rest), rest}
		return
	}
	_ = rest.Close()
	t.body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	t.out.Body, _ = t.body()
}

// errReader returns an error to the reader of the body.
type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) {
	if e.err == nil {
		return 0, io.EOF
	}
	return 0, e.err
}

// repeatable reports whether the request can be sent again.
func (t *trip) repeatable() bool {
	return t.body != nil || t.req.Body == nil || t.req.Body == http.NoBody
}

// again prepares another send. The base transport may still be writing the first request, so the second one has a
// body of its own.
func (t *trip) again() error {
	r := *t.out
	r.Header = maps.Clone(t.out.Header)
	if t.body != nil {
		body, err := t.body()
		if err != nil {
			return fmt.Errorf("mcpoauth: the request's body cannot be produced again: %w", err)
		}
		r.Body = body
	}
	t.out = &r
	return nil
}

// send attaches the token and sends.
func (t *trip) send(s *session) (*http.Response, error) {
	if t.closed.Load() {
		closeBody(t.out)
		return nil, errClosed
	}
	if s != nil && t.sending != nil {
		if err := t.sending(t.out, s.login); err != nil {
			closeBody(t.out)
			return nil, err
		}
	}
	switch {
	case s == nil:
		delete(t.out.Header, "Authorization")
		return t.once(LegChallenge, "")
	case s.binding != nil:
		return t.sendBound(s)
	}
	t.out.Header["Authorization"] = s.header[:]
	return t.once(LegMCP, s.login)
}

// once sends the request with the token of a login.
func (t *trip) once(leg Leg, login string) (*http.Response, error) {
	if t.cookies {
		t.gate.cookies.attach(t.out, login)
	}
	r := t.withHeader(t.out)
	var resp *http.Response
	var err error
	if t.trace.hooks.Exchange == nil {
		resp, err = t.base.RoundTrip(r)
	} else {
		resp, err = t.exchange(leg, t.base, r)
	}
	if t.cookies && err == nil {
		t.gate.cookies.keep(r, resp.Header, login)
	}
	return resp, err
}

const (
	// maxNonces is how often one request is repeated because of a nonce, patience how often without a pause, and
	// nonceWait the longest pause after that.
	maxNonces = 20
	patience  = 3
	nonceWait = 20 * time.Millisecond
)

// sendBound sends a request with a token that is bound. Where the server demands another nonce the request is repeated
// with that (RFC 9449 section 9): nothing was done.
func (t *trip) sendBound(s *session) (*http.Response, error) {
	prover := &dpop.Prover{Key: s.binding.key, Nonces: t.nonces}
	for try := 0; ; try++ {
		r := t.out
		proof, nonce, err := prover.Prove(r.Method, r.URL, s.binding.hash)
		if err != nil {
			closeBody(r)
			return nil, fmt.Errorf("mcpoauth: the DPoP proof cannot be signed: %w", err)
		}
		r.Header["Authorization"], r.Header[dpop.Header] = s.header[:], []string{proof}
		resp, err := t.once(LegMCP, s.login)
		if err != nil {
			return nil, err
		}
		another := t.nonces.Learn(r.URL, resp.Header, nonce)
		if resp.StatusCode != http.StatusUnauthorized || !wwwauth.FindBearer(resp.Header).WantNonce {
			return resp, nil
		}
		discard(resp.Body)
		switch {
		case !another || try == maxNonces:
			return nil, &Error{
				Op: OpToken, URL: t.trace.server, Status: resp.StatusCode, Code: dpop.WantNonce, Message: "the MCP server demands one DPoP nonce after the other",
				Hint: "the server is at fault; --dpop never (Options.DPoP) does without at the next login, if it allows that",
			}
		case !t.repeatable():
			return nil, &TemporaryError{Err: errors.New("the MCP server demands another DPoP nonce, and the request's body cannot be sent again: repeat the request")}
		}
		if err := t.again(); err != nil {
			return nil, err
		}
		if try >= patience {
			// Other requests use up each nonce: wait until they have passed, for a random time so that not all
			// continue at once.
			select {
			case <-time.After(rand.N(nonceWait)): // not a secret
			case <-t.out.Context().Done():
				closeBody(t.out)
				return nil, t.out.Context().Err()
			}
		}
	}
}
