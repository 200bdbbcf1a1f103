package mcpoauth_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

// watched is a body that tells whether it was closed.
type watched struct {
	io.Reader
	closed bool
}

func (b *watched) Close() error {
	b.closed = true
	return nil
}

// refusedRequest is what the SDK's transport hands to Authorize: a request with this token, "" for none, and the answer.
func refusedRequest(t *testing.T, w *world, tok *mcpoauth.Token, status int, challenge string) (*http.Request, *http.Response, *watched) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.srv.MCPURL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if tok != nil {
		req.Header.Set("Authorization", tok.Authorization())
	}
	body := &watched{Reader: strings.NewReader("refused")}
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: body}
	if challenge != "" {
		resp.Header.Set("WWW-Authenticate", challenge+`, resource_metadata="`+strings.TrimSuffix(w.srv.MCPURL(), "/mcp")+`/.well-known/oauth-protected-resource/mcp"`)
	}
	return req, resp, body
}

// TestTheHandlerForTheSDK makes the Client ready for a retry, or says why that is not possible.
func TestTheHandlerForTheSDK(t *testing.T) {
	t.Parallel()
	const expired, bare = `Bearer error="invalid_token"`, "Bearer"
	type state struct {
		w      *world
		c      *mcpoauth.Client // without a person
		person *mcpoauth.Client
		tok    *mcpoauth.Token
	}
	for name, tc := range map[string]struct {
		status    int
		challenge string
		before    func(t *testing.T, s *state)
		asPerson  bool
		check     func(err error) bool // nil: no error
		refreshes int
		logins    int // beside the first
	}{
		"401": {status: 401, challenge: expired, refreshes: 1},
		"401 for a token that was renewed since": {status: 401, challenge: expired, refreshes: 1, before: func(t *testing.T, s *state) {
			if _, err := s.c.TokenRejected(t.Context(), s.tok); err != nil {
				t.Error(err)
			}
		}},
		"401 for a token that another process has renewed": {status: 401, challenge: expired, refreshes: 1, before: func(t *testing.T, s *state) {
			if _, err := s.person.TokenRejected(t.Context(), s.tok); err != nil {
				t.Error(err)
			}
		}},
		"401 to a request without a token, and no person": {status: 401, challenge: bare, check: is(mcpoauth.ErrLoginRequired), before: func(t *testing.T, s *state) {
			s.tok = nil
			if _, err := s.c.Logout(t.Context()); err != nil {
				t.Error(err)
			}
		}},
		"401 to a request without a token": {status: 401, challenge: bare, asPerson: true, logins: 1, before: func(t *testing.T, s *state) {
			s.tok = nil
			if _, err := s.person.Logout(t.Context()); err != nil {
				t.Error(err)
			}
		}},
		"403 for scopes, and no person": {status: 403, challenge: `Bearer error="insufficient_scope", scope="mcp:write"`, check: func(err error) bool {
			e, ok := errors.AsType[*mcpoauth.ScopeError](err)
			return ok && !e.Asked && len(e.Missing) == 1
		}},
		"403 for scopes": {status: 403, challenge: `Bearer error="insufficient_scope", scope="mcp:write"`, asPerson: true, logins: 1},
		"403":            {status: 403, check: is(mcpoauth.ErrNoOAuth)},
		"401 of a login that has ended": {status: 401, challenge: expired, check: is(mcpoauth.ErrLoginRequired), before: func(_ *testing.T, s *state) {
			s.w.change(s.c, func(rec *record.Login) { rec.RefreshToken = "" })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				s := &state{w: w}
				s.person, s.tok = w.loggedIn(mcpoauth.Options{})
				s.c = w.open(mcpoauth.Options{})
				if _, err := s.c.Token(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				if tc.before != nil {
					tc.before(t, s)
				}
				c := s.c
				if tc.asPerson {
					c = s.person
				}
				h, old := c.OAuthHandler(), s.tok
				req, resp, body := refusedRequest(t, w, old, tc.status, tc.challenge)
				err := h.Authorize(t.Context(), req, resp)
				if tc.check == nil && err != nil || tc.check != nil && (err == nil || !tc.check(err)) {
					t.Errorf("got %v", err)
				}
				if !body.closed {
					t.Error("the body of the answer is open")
				}
				if w.srv.Count("refresh") != tc.refreshes || int(w.asked.Load())-1 != tc.logins {
					t.Errorf("%d refreshes, %d logins", w.srv.Count("refresh"), w.asked.Load()-1)
				}
				if err != nil {
					return
				}
				source, err := h.TokenSource(t.Context())
				if err != nil || source == nil {
					t.Fatal(source, err)
				}
				if tok, err := source.Token(); err != nil || old != nil && tok.AccessToken == old.AccessToken() {
					t.Errorf("the retry has the token that was refused: %v", err)
				}
			})
		})
	}
}

func is(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) }
}

// TestTokenSources: of the SDK and of golang.org/x/oauth2. That no login is there is said in the way of each.
func TestTokenSources(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c := w.open(mcpoauth.Options{})
		if source, err := c.OAuthHandler().TokenSource(t.Context()); source != nil || err != nil {
			t.Errorf("without a login: %v, %v", source, err)
		}
		if _, err := c.TokenSource(t.Context()).Token(); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("without a login: %v", err)
		}
		_, tok := w.loggedIn(mcpoauth.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		sdk, err := c.OAuthHandler().TokenSource(ctx)
		if err != nil || sdk == nil {
			t.Fatal(sdk, err)
		}
		plain := c.TokenSource(ctx)
		cancel()
		for _, source := range []oauth2.TokenSource{sdk, plain} {
			got, err := source.Token()
			if err != nil || got.AccessToken != tok.AccessToken() || got.RefreshToken != "" || !got.Expiry.Equal(tok.Expiry()) || got.Type() != "Bearer" {
				t.Errorf("%v, %v", got, err)
			}
		}
		time.Sleep(2 * time.Hour)
		got, err := plain.Token()
		if err != nil || got.AccessToken == tok.AccessToken() || !got.Valid() {
			t.Errorf("after its end: %v, %v", got, err)
		}
		// The SDK's transport knows by the code that a login is needed.
		if _, err := c.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = sdk.Token()
		retrieve, ok := errors.AsType[*oauth2.RetrieveError](err)
		if !ok || retrieve.ErrorCode != "invalid_grant" || !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("after a logout: %v", err)
		}
		// A store that cannot be read is no missing login.
		w.st.set(func(s *loose) { s.loadErr = errors.New("locked") })
		if source, err := c.OAuthHandler().TokenSource(t.Context()); source != nil || err == nil {
			t.Errorf("a store that cannot be read: %v, %v", source, err)
		}
	})
}

// TestABoundTokenIsNoSource: without the key it is of no use to another transport.
func TestABoundTokenIsNoSource(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{DPoP: true}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		var bound *mcpoauth.BoundTokenError
		if source, err := c.OAuthHandler().TokenSource(t.Context()); source != nil || !errors.As(err, &bound) {
			t.Errorf("the SDK's: %v, %v", source, err)
		}
		if tok, err := c.TokenSource(t.Context()).Token(); tok != nil || !errors.As(err, &bound) {
			t.Errorf("x/oauth2's: %v, %v", tok, err)
		}
	})
}
