package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/store"
)

// unsaved is a record that the store did not take: the token in it is used and the save tried
// again, since the refresh token it replaces is spent.
type unsaved struct {
	session *session
	err     error
}

// save writes rec over the revision rev.
func (c *Client) save(ctx context.Context, rec *record.Login, rev store.Revision) (store.Revision, error) {
	rec.SavedAt = time.Now()
	data, err := rec.Encode()
	if err != nil {
		return 0, fmt.Errorf("mcpoauth: encode the login: %w", err)
	}
	// A caller that gives up must not cut a save short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	next, err := c.store.Save(ctx, c.key, data, rev)
	if err != nil {
		return 0, fmt.Errorf("mcpoauth: save the login: %w", err)
	}
	return next, nil
}

// adopt saves a freshly received record over rev and makes it the current session. If the store
// fails the record is kept in memory and the save is tried again.
func (c *Client) adopt(ctx context.Context, rec *record.Login, rev store.Revision) (*session, error) {
	next, err := c.save(ctx, rec, rev)
	if errors.Is(err, store.ErrConflict) {
		return c.overtaken(ctx, rec)
	}
	if err != nil {
		next = rev
	}
	s := newSession(rec, next)
	c.mu.Lock()
	c.unsaved = nil
	if err != nil {
		c.unsaved = &unsaved{session: s, err: err}
	}
	c.mu.Unlock()
	c.current.Store(s)
	if err != nil {
		c.trace.saveFailed(ctx, rec, err)
	}
	return s, nil
}

// overtaken handles a record that somebody else changed while rec was on its way. A logout wins:
// the tokens are not written back but revoked, so that nothing of the login lives on.
func (c *Client) overtaken(ctx context.Context, rec *record.Login) (*session, error) {
	theirs, rev, err := c.loadRecord(ctx)
	if errors.Is(err, store.ErrNotFound) {
		c.current.Store(nil)
		c.revokeQuietly(ctx, rec)
		return nil, c.loginRequired("logged out in the meantime", nil)
	}
	if err != nil {
		return nil, err
	}
	s := newSession(theirs, rev)
	c.current.Store(s)
	if !s.usable(time.Now()) {
		return nil, c.loginRequired(endedBecause(theirs), nil)
	}
	return s, nil
}

func (c *Client) revokeQuietly(ctx context.Context, rec *record.Login) {
	if rec.RevocationEndpoint == "" || rec.RefreshToken == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	err := grant.Revoke(ctx, c.http, grant.RevokeRequest{Endpoint: rec.RevocationEndpoint, Auth: c.clientAuth(&rec.Registration), Token: secret.New(rec.RefreshToken), Hint: "refresh_token"})
	if err != nil {
		c.log.Warn("a token that came too late could not be revoked", "server", c.id, "err", err)
	}
}

// pendingSession returns the session whose record is not saved yet.
func (c *Client) pendingSession() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsaved == nil {
		return nil
	}
	return c.unsaved.session
}

// saveUnsaved tries a failed save once more. It returns nil when nothing is left to save.
func (c *Client) saveUnsaved(ctx context.Context) error {
	c.mu.Lock()
	u := c.unsaved
	c.mu.Unlock()
	if u == nil {
		return nil
	}
	next, err := c.save(ctx, u.session.rec, u.session.rev)
	if errors.Is(err, store.ErrConflict) {
		// Somebody logged in or out meanwhile: theirs counts.
		err = nil
		next = 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsaved != u {
		return nil
	}
	if err != nil {
		u.err = err
		return err
	}
	c.unsaved = nil
	if next != 0 {
		c.current.CompareAndSwap(u.session, newSession(u.session.rec, next))
	}
	return nil
}
