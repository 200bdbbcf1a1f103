package mcpoauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
)

// tokenTimeout limits an adapter's call that has no context of its own.
const tokenTimeout = 60 * time.Second

// oauth2Source adapts a Client to golang.org/x/oauth2.
type oauth2Source struct {
	c   *Client
	ctx context.Context // oauth2.TokenSource has no parameter for it
}

// bearer returns a token that can be used by itself. A login whose tokens cannot is not refreshed for it.
func (c *Client) bearer(ctx context.Context) (*Token, error) {
	s := c.store.current.Load()
	if s == nil {
		if st, err := c.store.load(ctx); err == nil {
			s = st.session
		}
	}
	if s != nil && s.binding != nil && (s.usable(time.Now()) || s.renewable()) {
		return nil, &BoundTokenError{ServerURL: c.trace.server}
	}
	tok, err := c.Token(ctx, nil)
	if err == nil && tok.Type() == dpop.TokenType {
		return nil, &BoundTokenError{ServerURL: c.trace.server}
	}
	return tok, err
}

// TokenSource returns the Client as an oauth2.TokenSource. Only the values of ctx are used: its end does not end the
// source. Each call takes at most a minute. The tokens carry no refresh token; refreshing stays with the Client. A token
// that is bound to a key cannot be used this way: the error is a [BoundTokenError].
func (c *Client) TokenSource(ctx context.Context) oauth2.TokenSource {
	return &oauth2Source{c: c, ctx: context.WithoutCancel(ctx)}
}

// Token implements oauth2.TokenSource.
func (t *oauth2Source) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(t.ctx, tokenTimeout)
	defer cancel()
	tok, err := t.c.bearer(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: tok.AccessToken(), TokenType: tok.Type(), Expiry: tok.Expiry()}, nil
}

// OAuthHandler plugs a Client into the official Go SDK of MCP: it implements the SDK's auth.OAuthHandler and is safe
// for concurrent use. Prefer [Client.HTTPClient] where both are possible: it renews tokens for every kind of request,
// and does not block the SDK's connection meanwhile.
type OAuthHandler struct{ c *Client }

// OAuthHandler returns the Client as a handler for the official Go SDK.
func (c *Client) OAuthHandler() *OAuthHandler { return &OAuthHandler{c: c} }

// TokenSource returns the source of the tokens to send, nil while there is no login. The errors are those of
// [Client.Token], and a [BoundTokenError] for a token that is bound to a key.
func (h *OAuthHandler) TokenSource(ctx context.Context) (oauth2.TokenSource, error) {
	_, err := h.c.bearer(ctx)
	if errors.Is(err, ErrLoginRequired) {
		return nil, nil // what the SDK expects for "send without"
	}
	if err != nil {
		return nil, err
	}
	return &sdkSource{oauth2Source{c: h.c, ctx: context.WithoutCancel(ctx)}}, nil
}

// sdkSource reports a required login as the SDK's transport expects it: the transport then sends the request without
// a token, and the server's response leads to Authorize.
type sdkSource struct{ oauth2Source }

// Token implements oauth2.TokenSource.
func (s *sdkSource) Token() (*oauth2.Token, error) {
	tok, err := s.oauth2Source.Token()
	if errors.Is(err, ErrLoginRequired) {
		return nil, errors.Join(&oauth2.RetrieveError{ErrorCode: "invalid_grant", ErrorDescription: "login required"}, err)
	}
	return tok, err
}

// Authorize prepares a retry of req after resp, a 401 or 403: it renews the token, or logs in if [Options.Prompt]
// allows it. It closes resp.Body. The error is [ErrNoOAuth] if the response offers no way to authorize the request.
func (h *OAuthHandler) Authorize(ctx context.Context, req *http.Request, resp *http.Response) error {
	g := &h.c.gate
	s := g.logins.current.Load()
	c := readChallenge(resp.Header, s)
	discard(resp.Body)
	if g.closed.Load() {
		return errClosed
	}
	sent := req.Header.Get("Authorization")
	switch {
	case s == nil || sent == s.header[0]:
	case sent == "":
		s = nil
	case resp.StatusCode == http.StatusUnauthorized && s.usable(time.Now()):
		return nil // renewed since
	}
	o, err := g.overcome(ctx, refusal{status: resp.StatusCode, challenge: c, sent: s, reason: "not logged in"})
	if err != nil {
		return err
	}
	if o.next == nil {
		return &Error{Op: OpAuthorization, URL: g.trace.server, Status: resp.StatusCode, Message: "the server refused the request and offers no way to authorize it", Err: ErrNoOAuth}
	}
	return nil
}
