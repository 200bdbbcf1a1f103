package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/flight"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// coordinator makes one login at a time, in this process and across all that share the store.
type coordinator struct {
	logins     *loginStore
	set        *settings
	trace      *tracer
	authorizer authorizer
	// A login makes earlier failures irrelevant: it resets the pause of refresh and clears the journal.
	refresh *refresher
	journal refreshJournal
	flights flight.Group[*session]
}

// login runs the login of this process, or joins it. Each caller leaves when its own context ends; when the last one
// has left, the login is cancelled.
func (c *coordinator) login(ctx context.Context, request loginRequest) (*session, error) {
	if c.set.prompt == nil {
		return nil, c.logins.loginRequired("no person can be asked: no prompt is configured", nil)
	}
	s, err := c.flights.Do(ctx, request.key(), func(ctx context.Context) (*session, error) { return c.once(ctx, request) })
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("mcpoauth: login: %w", ctx.Err())
	}
	return s, err
}

// once is one login, from the lock to the saved record.
func (c *coordinator) once(ctx context.Context, request loginRequest) (*session, error) {
	// Make sure that the store is writable before sending a person to a browser.
	if err := c.logins.probe(ctx); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(c.set.loginTimeout)
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errLoginTimeout)
	defer cancel()
	var s *session
	turn := false
	err := c.logins.locked(ctx, loginLock, func(context.Context) (err error) {
		turn = true
		s, err = c.underLock(ctx, request, deadline)
		return err
	})
	if err != nil && !turn && ctx.Err() != nil {
		return nil, timedOut(ctx, &TemporaryError{Err: &Error{
			Op: OpAuthorization, Message: "another process is logging in to this server and has not finished",
			Hint: "finish that login in its browser window, or end its process; --timeout (Options.LoginTimeout) waits longer",
		}})
	}
	return s, err
}

func (c *coordinator) underLock(ctx context.Context, request loginRequest, deadline time.Time) (*session, error) {
	plan := loginPlan{request: request, deadline: deadline}
	st, err := c.logins.load(ctx)
	switch {
	case err == nil:
		if request.settledBy(st.session) {
			return st.session, nil
		}
		plan.previous, plan.rev = st.rec, st.rev
	case !errors.Is(err, store.ErrNotFound) && !isCorrupt(err):
		// A record that cannot be read could not be replaced safely either: fail before prompting.
		return nil, err
	}
	s, err := c.authorizer.authorize(ctx, plan)
	if err != nil {
		return nil, err
	}
	c.refresh.pause.Reset()
	c.journal.clear(ctx)
	c.trace.loggedIn(ctx, &record.Login{Issuer: s.issuer, Expiry: s.token.expiry, Scopes: s.token.scopes})
	return s, nil
}
