package mcpoauth

import (
	"context"
	"errors"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/flight"
	"github.com/mcpoauth/mcpoauth/store"
)

// refresher keeps the token of a login valid. Any number of callers, in any number of processes, cause one token
// request: look, lock, look again, request, save, unlock.
type refresher struct {
	logins  *loginStore
	tokens  *tokenClient
	source  tokenSource
	trace   *tracer
	pause   cooldown
	flights flight.Group[*session]
}

// ensure returns a session with a token that stays usable for d, or a fresh one.
func (r *refresher) ensure(ctx context.Context, d time.Duration) (*session, error) {
	if s := r.logins.current.Load(); s.lasts(time.Now(), d) {
		r.ahead(ctx, s)
		return s, nil
	}
	return r.flights.Do(ctx, "ensure "+d.String(), func(ctx context.Context) (*session, error) {
		s, err := r.logins.reload(ctx)
		if err != nil {
			if r.source.standsAlone() && (errors.Is(err, ErrLoginRequired) || isCorrupt(err)) {
				return r.request(ctx, tokenRequest{})
			}
			return nil, err
		}
		if s.lasts(time.Now(), d) {
			return s, nil
		}
		fresh, err := r.request(ctx, tokenRequest{rejected: s.access()})
		if err != nil && s.usable(time.Now()) && ctx.Err() == nil {
			// The caller wanted a longer validity; the current token is still usable.
			r.trace.note(ctx, NoteRenewal, "the token could not be renewed early: "+err.Error())
			return s, nil
		}
		return fresh, err
	})
}

// ahead starts a refresh for a valid token that expires soon. No caller waits for it.
func (r *refresher) ahead(ctx context.Context, s *session) {
	if !s.due(time.Now()) || r.pause.Wait() > 0 {
		return
	}
	request := tokenRequest{rejected: s.access()}
	r.flights.Start(ctx, request.key(), func(ctx context.Context) (*session, error) { return r.request(ctx, request) })
}

// renew returns a session that satisfies a request, from the store or by a token request.
func (r *refresher) renew(ctx context.Context, request tokenRequest) (*session, error) {
	return r.flights.Do(ctx, request.key(), func(ctx context.Context) (*session, error) { return r.request(ctx, request) })
}

// request makes at most one token request, under the lock that all processes share.
func (r *refresher) request(ctx context.Context, request tokenRequest) (*session, error) {
	if wait := r.pause.Wait(); wait > 0 {
		return nil, &TemporaryError{RetryAfter: wait, Err: errors.New("the last token request failed for the moment")}
	}
	var s *session
	err := r.logins.locked(ctx, refreshLock, func(held context.Context) (err error) {
		s, err = r.underLock(ctx, held, request)
		return err
	})
	if errors.Is(err, errLockTimeout) {
		return nil, &TemporaryError{Err: err}
	}
	return s, err
}

func (r *refresher) underLock(ctx, held context.Context, request tokenRequest) (*session, error) {
	previous, err := r.previous(ctx)
	if err != nil {
		return nil, err
	}
	var rev store.Revision
	if previous != nil {
		if rev = previous.rev; request.satisfiedBy(previous.session, time.Now()) {
			return previous.session, nil
		}
	}
	rec, err := r.source.next(ctx, previous, request)
	if err != nil {
		return r.failed(ctx, previous, err)
	}
	if held.Err() != nil {
		r.trace.note(ctx, NoteStore, "the refresh lock was lost while the response was on its way")
	}
	s, err := r.logins.adopt(ctx, rec, rev)
	if errors.Is(err, errForgotten) {
		r.tokens.revokeLate(ctx, rec)
		return nil, r.logins.loginRequired(errForgotten.Error(), nil)
	}
	if err != nil {
		return nil, err
	}
	r.source.saved(ctx)
	r.pause.Reset()
	if !r.source.standsAlone() {
		r.trace.refreshed(ctx, rec, nil)
	}
	return s, nil
}

// previous returns the stored login, nil if there is none and none is needed.
func (r *refresher) previous(ctx context.Context) (*stored, error) {
	st, err := r.logins.load(ctx)
	switch {
	case err == nil:
		return st, nil
	case isCorrupt(err) && r.source.standsAlone():
		return nil, r.logins.setAside(ctx, err)
	case errors.Is(err, store.ErrNotFound) && r.source.standsAlone():
		return nil, nil // see above
	case errors.Is(err, store.ErrNotFound):
		return nil, r.logins.loginRequired("not logged in", nil)
	}
	return nil, err
}

// failed records that a login has ended, unless another process has renewed it with a newer refresh token meanwhile.
func (r *refresher) failed(ctx context.Context, previous *stored, err error) (*session, error) {
	ended, ok := errors.AsType[*endedError](err)
	switch {
	case errors.Is(err, errNotConfigured):
		return nil, r.logins.loginRequired(err.Error(), nil)
	case !ok:
		if previous != nil && !r.source.standsAlone() {
			r.trace.refreshed(ctx, previous.rec, err)
		}
		return nil, err
	}
	if ended.cause != nil {
		ctx, cancel := detached(ctx, storeTimeout)
		defer cancel()
		r.trace.refreshed(ctx, previous.rec, ended.cause)
		if now, err := r.logins.load(ctx); err == nil && now.rec.RefreshToken != previous.rec.RefreshToken && now.session.usable(time.Now()) {
			return now.session, nil
		}
	}
	if !ended.noted {
		st := *previous
		if ended.rec != nil {
			st.rec = ended.rec
		}
		r.logins.end(ctx, &st, ended.reason, ended.digest)
	}
	return nil, r.logins.loginRequired(ended.reason, ended.cause)
}
