package mcpoauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// refreshLock names the lock of one token request and its save. It is apart from the lock of a
// login, so that a person at the browser stops no refresh.
const refreshLock = "refresh"

// Token returns a valid access token, refreshing it if need be. It never prompts: without a usable
// login the error is [ErrLoginRequired], and a fault that may pass is [ErrTemporary]. Any number
// of callers, in any number of processes, cause one refresh.
func (c *Client) Token(ctx context.Context, opts *TokenOptions) (*Token, error) {
	if opts == nil {
		opts = &TokenOptions{}
	}
	s, err := c.obtain(ctx, opts.MinValidity)
	if err != nil {
		return nil, err
	}
	return s.token, nil
}

// obtain returns a session with a token that stays usable for d, or a fresh one.
func (c *Client) obtain(ctx context.Context, d time.Duration) (*session, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	s := c.current.Load()
	if s.lasts(time.Now(), d) {
		c.renewAhead(ctx, s)
		return s, nil
	}
	return c.tokens.Do(ctx, "obtain "+d.String(), func(ctx context.Context) (*session, error) {
		s, err := c.look(ctx)
		if err != nil {
			if c.machine() && errors.Is(err, ErrLoginRequired) {
				return c.renew(ctx, "")
			}
			return nil, err
		}
		if s.lasts(time.Now(), d) {
			return s, nil
		}
		fresh, err := c.renew(ctx, s.rec.AccessToken)
		if err != nil && s.usable(time.Now()) {
			// Only more validity than there is was asked for; what there is beats nothing.
			c.note("the token could not be renewed early: " + err.Error())
			return s, nil
		}
		return fresh, err
	})
}

// renewAhead starts a refresh for a token that is good but near its end. Nobody waits for it.
func (c *Client) renewAhead(ctx context.Context, s *session) {
	if !s.due(time.Now()) || c.inBackoff() != nil {
		return
	}
	refused := s.rec.AccessToken
	c.tokens.Start(ctx, "renew "+refused, func(ctx context.Context) (*session, error) {
		return c.renewLocked(ctx, refused)
	})
}

// renew returns a session whose token is not refused, by a look into the store or by a refresh.
func (c *Client) renew(ctx context.Context, refused string) (*session, error) {
	return c.tokens.Do(ctx, "renew "+refused, func(ctx context.Context) (*session, error) {
		return c.renewLocked(ctx, refused)
	})
}

// look returns what the store has, or what could not be saved yet. A store that cannot be read
// matters only if there is no good token in memory.
func (c *Client) look(ctx context.Context) (*session, error) {
	if err := c.saveUnsaved(ctx); err != nil {
		c.log.Warn("a token is still not saved", "server", c.id, "err", err)
	}
	if s := c.pendingSession(); s != nil {
		return s, nil
	}
	ctx, cancel := c.whileOpen(ctx, storeTimeout)
	defer cancel()
	rec, rev, err := c.loadRecord(ctx)
	if err != nil {
		if cerr := c.closed(); cerr != nil {
			return nil, cerr
		}
		if s := c.current.Load(); s.usable(time.Now()) && !errors.Is(err, store.ErrNotFound) {
			c.note("the store cannot be read, going on with the token in memory: " + err.Error())
			return s, nil
		}
		if errors.Is(err, store.ErrNotFound) {
			c.current.Store(nil)
			return nil, c.loginRequired("not logged in", nil)
		}
		return nil, err
	}
	s := c.current.Load()
	if s == nil || s.rev != rev {
		s = newSession(rec, rev)
		c.current.Store(s)
	}
	if !s.usable(time.Now()) && !s.renewable() {
		return nil, c.loginRequired(endedBecause(s.rec), nil)
	}
	return s, nil
}

// whileOpen limits a wait before anything is sent: a closed Client need not see its end.
func (c *Client) whileOpen(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() { stop(); cancel() }
}

func endedBecause(rec *store.Record) string {
	if rec.LoginRequired != "" {
		return rec.LoginRequired
	}
	return "the access token has expired and there is no refresh token"
}

// loadRecord reads and decodes the login.
func (c *Client) loadRecord(ctx context.Context) (*store.Record, store.Revision, error) {
	data, rev, err := c.store.Load(ctx, c.key)
	if err != nil {
		return nil, 0, storeError("read", err)
	}
	rec, err := store.DecodeRecord(data)
	if err != nil {
		return nil, 0, storeError("read", err)
	}
	return rec, rev, nil
}

func (c *Client) loginRequired(reason string, err error) error {
	return &LoginRequiredError{ServerURL: c.id, Profile: c.opts.Profile, Reason: reason, Err: err}
}

// renewLocked refreshes under the lock that all processes share: look, lock, look again, post,
// save, unlock.
func (c *Client) renewLocked(ctx context.Context, refused string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait+exchangeTimeout)
	defer cancel()
	if err := c.inBackoff(); err != nil {
		return nil, err
	}
	stop := c.waiting("refresh-elsewhere", time.Now().Add(lockWait))
	wait, cancelWait := c.whileOpen(ctx, lockWait)
	held, unlock, err := c.store.Lock(wait, c.key, refreshLock)
	stop()
	cancelWait()
	if err != nil {
		if cerr := c.closed(); cerr != nil {
			return nil, cerr
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, &TemporaryError{Err: errors.New("another process holds the refresh of this login for too long")}
		}
		return nil, storeError("lock", err)
	}
	defer func() {
		if err := unlock(); err != nil {
			c.log.Warn("the refresh lock could not be released", "server", c.id, "err", err)
		}
	}()
	s, err := c.look(ctx)
	if err != nil && !(c.machine() && errors.Is(err, ErrLoginRequired)) {
		return nil, err
	}
	if s != nil && s.rec.AccessToken != refused && s.usable(time.Now()) {
		return s, nil
	}
	if c.machine() {
		return c.acquire(ctx, s, nil)
	}
	if s.rec.Grant != "" {
		return nil, c.loginRequired("the login is a machine's, and its grant is not configured here", nil)
	}
	if !s.renewable() {
		return nil, c.loginRequired(endedBecause(s.rec), nil)
	}
	if exp := s.rec.Registration.SecretExpiry; !exp.IsZero() && time.Now().After(exp) {
		return nil, c.ended(ctx, s, "the client's registration has expired", nil)
	}
	return c.post(ctx, held, s)
}

// post sends the refresh token of s once, or twice where the token endpoint has moved, and saves
// the answer. held ends when the lock is lost.
func (c *Client) post(ctx, held context.Context, s *session) (*session, error) {
	mark, err := c.markAttempt(ctx, s)
	if err != nil {
		return nil, err
	}
	tok, err := c.sendRefresh(ctx, s.rec)
	if moved := c.movedEndpoint(ctx, s.rec, err); moved != nil {
		s = newSession(moved, s.rev)
		tok, err = c.sendRefresh(ctx, s.rec)
	}
	if err != nil {
		return c.refreshFailed(ctx, s, mark, err)
	}
	if held.Err() != nil {
		c.note("the refresh lock was lost while the answer was on its way")
	}
	rec := *s.rec
	applyToken(&rec, tok)
	c.notes(tok.Notes)
	if c.provider {
		if err := c.takeIDToken(&rec, tok, ""); err != nil {
			c.clearMark(ctx)
			return nil, c.ended(ctx, newSession(&rec, s.rev), "the identity provider renewed no ID token", err)
		}
	}
	fresh, err := c.adopt(ctx, &rec, s.rev)
	if err != nil {
		return nil, err
	}
	c.clearMark(ctx)
	c.mu.Lock()
	c.failures, c.notBefore = 0, time.Time{}
	c.mu.Unlock()
	if f := c.opts.Trace.Refreshed; f != nil {
		f(c.event(fresh.rec), nil)
	}
	return fresh, nil
}

func (c *Client) sendRefresh(ctx context.Context, rec *store.Record) (*wire.Token, error) {
	auth, err := c.boundAuth(&rec.Registration, rec.DPoPKey)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	return grant.Refresh(ctx, c.http, grant.RefreshRequest{
		Endpoint: rec.TokenEndpoint, Auth: auth,
		RefreshToken: secret.New(rec.RefreshToken), Resource: rec.Resource, Extra: c.opts.TokenParams, Format: c.dialect(rec),
	})
}

// dialect is how the server writes its token responses: as the options say, else as the login has it, else as is
// known of the provider.
func (c *Client) dialect(rec *store.Record) grant.TokenResponseFormat {
	d := grant.TokenResponseFormat{Member: cmp.Or(c.opts.TokenMember, rec.TokenMember), BearerType: cmp.Or(c.opts.AllowTokenType, rec.BearerType)}
	if p := discovery.ProviderOf(rec.Issuer); p != nil && !c.opts.IgnoreProviders {
		d.Member, d.BearerType = cmp.Or(d.Member, p.TokenMember), cmp.Or(d.BearerType, p.TokenType)
	}
	return d
}

// applyToken takes a token response into rec. What the server left out stays as it was: most
// servers that do not rotate leave the refresh token out (RFC 6749 section 6).
func applyToken(rec *store.Record, tok *wire.Token) {
	rec.AccessToken, rec.TokenType = tok.AccessToken.Reveal(), tok.TokenType
	rec.Expiry, rec.IssuedAt = tok.Expiry, time.Now()
	if !tok.RefreshToken.IsZero() {
		rec.RefreshToken = tok.RefreshToken.Reveal()
	}
	if !tok.IDToken.IsZero() {
		rec.IDToken = tok.IDToken.Reveal()
	}
	if tok.ScopePresent {
		rec.Scopes = tok.Scope
	}
	rec.LoginRequired, rec.LoginRequiredAt = "", time.Time{}
}

// refreshFailed decides what a failed refresh means.
func (c *Client) refreshFailed(ctx context.Context, s *session, mark *attempt, err error) (*session, error) {
	fault := faultOf(err)
	defer func() {
		if f := c.opts.Trace.Refreshed; f != nil {
			f(c.event(s.rec), err)
		}
	}()
	switch {
	case fault.Temporary || fault.Code == "temporarily_unavailable" || fault.Code == "server_error" || fault.Code == "slow_down":
		pause := c.backOff(fault.RetryAfter)
		c.answered(ctx, mark, fault, pause)
		return nil, &TemporaryError{RetryAfter: fault.RetryAfter, Err: publicError(fault)}
	case errors.Is(err, grant.ErrNotBound):
		c.clearMark(ctx)
		return nil, c.ended(ctx, s, "the server no longer binds tokens to the key of this login (DPoP)", publicError(fault))
	case fault.Code == "invalid_grant":
		c.clearMark(ctx)
		if now, lerr := c.look(ctx); lerr == nil && now.rec.RefreshToken != s.rec.RefreshToken && now.usable(time.Now()) {
			return now, nil
		}
		reason := "the server no longer accepts the refresh token"
		if mark.Posts > 1 {
			reason = "the answer to an earlier refresh was lost, and the server no longer accepts the refresh token"
		}
		return nil, c.ended(ctx, s, reason, publicError(fault))
	case fault.Code == "invalid_client" || fault.Code == "unauthorized_client":
		c.clearMark(ctx)
		if src := s.rec.Registration.Source; src != sourceDynamic && src != sourceImported {
			return nil, publicError(fault)
		}
		c.forgetRegistration(ctx, &s.rec.Registration)
		return nil, c.ended(ctx, s, "the server no longer knows this client", publicError(fault))
	default:
		c.backOff(0)
		c.clearMark(ctx)
		return nil, publicError(fault)
	}
}

// ended marks the stored login, if it still is the one of s, as needing a person. Nothing is
// deleted: the registration serves the next login, and the record says why.
func (c *Client) ended(ctx context.Context, s *session, reason string, cause error) error {
	rec := *s.rec
	rec.LoginRequired, rec.LoginRequiredAt = reason, time.Now()
	if _, err := c.save(ctx, &rec, s.rev); err != nil && !errors.Is(err, store.ErrConflict) {
		c.log.Warn("the end of the login could not be noted", "server", c.id, "err", err)
	}
	c.current.Store(nil)
	if f := c.opts.Trace.LoginRequired; f != nil {
		f(c.event(s.rec), reason)
	}
	return c.loginRequired(reason, cause)
}

// movedEndpoint looks whether the issuer has moved its token endpoint when the recorded one is
// gone. The refresh token goes only to the recorded endpoint's origin or the issuer's.
func (c *Client) movedEndpoint(ctx context.Context, rec *store.Record, err error) *store.Record {
	if err == nil {
		return nil
	}
	f := faultOf(err)
	gone := f.Code == "" && slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone}, f.Status)
	if !gone || rec.Issuer == "" {
		return nil
	}
	d, derr := discovery.Discover(ctx, c.http, c.discoveryRequest("", rec.Issuer))
	if derr != nil || d.Issuer != rec.Issuer || d.Server.TokenEndpoint == rec.TokenEndpoint {
		return nil
	}
	if !sameOrigin(d.Server.TokenEndpoint, rec.TokenEndpoint) && !sameOrigin(d.Server.TokenEndpoint, rec.Issuer) {
		c.note("the issuer names a token endpoint on another origin; log in again to use it")
		return nil
	}
	moved := *rec
	moved.TokenEndpoint, moved.RevocationEndpoint = d.Server.TokenEndpoint, d.Server.RevocationEndpoint
	return &moved
}

// backOff spaces further refreshes after one that failed for the moment, and returns the pause.
func (c *Client) backOff(retryAfter time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	pause := min(time.Second<<min(c.failures, 5), 30*time.Second)
	if retryAfter > 0 {
		pause = retryAfter
	}
	c.failures++
	c.notBefore = time.Now().Add(pause)
	return pause
}

// inBackoff returns an error while no further refresh should be tried.
func (c *Client) inBackoff() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := time.Until(c.notBefore); wait > 0 {
		return &TemporaryError{RetryAfter: wait, Err: errors.New("the last refresh failed for the moment")}
	}
	return nil
}

// storeError is what a store's error means. A server that cannot be reached may be back soon.
func storeError(what string, err error) error {
	var gone *store.UnreachableError
	if errors.As(err, &gone) {
		return &TemporaryError{Err: fmt.Errorf("cannot %s the login: %w", what, err)}
	}
	return fmt.Errorf("mcpoauth: cannot %s the login: %w", what, err)
}
