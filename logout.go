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

// revokeTimeout bounds what is said to the server at a logout.
const revokeTimeout = 10 * time.Second

// LogoutResult says what a logout did.
type LogoutResult struct {
	// WasLoggedIn reports whether there was a login to forget.
	WasLoggedIn bool
	// Revoked reports whether the server confirmed that the tokens are dead.
	Revoked bool
	// Detail says in a few words why Revoked is false. It may be empty.
	Detail string
	// ClientDeleted reports whether the client's dynamic registration was deleted at the server with the last
	// login that used it (RFC 7592).
	ClientDeleted bool
}

// Logout forgets the login and revokes its tokens at the server that issued them (RFC 7009), the
// refresh token first. The login is forgotten whatever the server says; if it could not be told, the
// error is [ErrTemporary] or says why. A dynamic registration stays while another login uses it; with the last
// one it is deleted at the server, where that allows it (RFC 7592), and kept for the next login where not.
func (c *Client) Logout(ctx context.Context) (*LogoutResult, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	rec, err := c.forget(ctx, false)
	if err != nil || rec == nil {
		return &LogoutResult{}, err
	}
	res := &LogoutResult{WasLoggedIn: true}
	if rec.RevocationEndpoint == "" {
		res.Detail = "the server offers no revocation"
		res.ClientDeleted = c.deleteUnused(ctx, &rec.Registration)
		return res, nil
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	var failures []error
	for _, t := range []struct{ token, hint string }{{rec.RefreshToken, "refresh_token"}, {rec.AccessToken, "access_token"}} {
		if t.token == "" {
			continue
		}
		err := grant.Revoke(ctx, c.http, grant.RevokeRequest{Endpoint: rec.RevocationEndpoint, Auth: c.clientAuth(&rec.Registration), Token: secret.New(t.token), Hint: t.hint})
		if err != nil && t.hint == "access_token" && faultOf(err).Code == "unsupported_token_type" {
			continue // RFC 7009 section 2.2.1: the refresh token takes it along, or it ends soon
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("the %s: %w", t.hint, publicError(err)))
		}
	}
	if len(failures) > 0 {
		res.Detail = "the server could not be told"
		return res, &TemporaryError{Err: fmt.Errorf("mcpoauth: the login is forgotten here, but the server may still honour its tokens: %w", errors.Join(failures...))}
	}
	res.Revoked = true
	res.ClientDeleted = c.deleteUnused(ctx, &rec.Registration)
	return res, nil
}

// deleteUnused deletes a dynamic registration that no stored login uses any more, and reports whether the server
// confirmed that. What is in doubt stays: the next login needs it.
func (c *Client) deleteUnused(ctx context.Context, reg *record.Registration) bool {
	if reg.Source != string(SourceDynamic) || reg.ClientURI == "" || reg.AccessToken == "" || !c.manageable(reg) {
		return false
	}
	key := c.registrationKey(reg.Issuer, reg.RedirectURI)
	data, rev, err := c.store.Load(ctx, key)
	if err != nil {
		return false
	}
	stored, err := record.DecodeRegistration(data)
	if err != nil || stored.ClientID != reg.ClientID || time.Now().Before(stored.LoginUntil) {
		return false // another's, or a login may be under way with it
	}
	for login, err := range c.store.List(ctx, store.Filter{Kind: store.KindLogin, Profiles: []string{c.opts.Profile}}) {
		if err != nil {
			return false
		}
		data, _, err := c.store.Load(ctx, login)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return false
		}
		rec, err := record.DecodeLogin(data)
		if err != nil || rec.Issuer == reg.Issuer && rec.Registration.ClientID == reg.ClientID {
			return false
		}
	}
	// A login that begins now writes the registration first: then this fails.
	if c.store.Delete(ctx, key, rev) != nil {
		return false
	}
	if err := grant.DeleteClient(ctx, c.http, stored.ClientURI, secret.New(stored.AccessToken)); err != nil {
		c.trace.note(ctx, NoteRegistration, "the registration could not be deleted at the server: "+publicError(err).Error())
		return false
	}
	return true
}

// forget removes the login from the store and returns it, nil if there was none. A refresh under way
// finds it gone and revokes what it got. unread removes also what cannot be read here: another key
// sealed it, or a newer version wrote it.
func (c *Client) forget(ctx context.Context, unread bool) (*record.Login, error) {
	c.mu.Lock()
	c.unsaved = nil
	c.mu.Unlock()
	rec, _, err := c.loadRecord(ctx)
	var damaged *store.CorruptError
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.As(err, &damaged) && (!unread || errors.Is(err, ErrTemporary)) {
		return nil, err
	}
	if derr := c.store.Delete(ctx, c.key, 0); derr != nil {
		return nil, storeError("remove", derr)
	}
	c.clearMark(ctx)
	c.current.Store(nil)
	if err != nil {
		return nil, nil //nolint:nilerr // absent or unreadable: nothing to revoke, and gone now
	}
	return rec, nil
}

// ClearOptions are the options of one [Client.Clear]. Nil is the zero value.
type ClearOptions struct {
	// Registration removes the client's dynamic registration too, at the server as well where
	// it allows that (RFC 7592).
	Registration bool
}

// Clear forgets the login locally and says nothing of it to the server.
func (c *Client) Clear(ctx context.Context, opts *ClearOptions) error {
	if err := c.closed(); err != nil {
		return err
	}
	rec, err := c.forget(ctx, true)
	if err != nil || opts == nil || !opts.Registration {
		return err
	}
	return c.clearRegistrations(ctx, rec)
}

// clearRegistrations removes the registration of rec. Without a record there is nothing that says
// which one is meant.
func (c *Client) clearRegistrations(ctx context.Context, rec *record.Login) error {
	if rec == nil || rec.Registration.Source != string(SourceDynamic) {
		return nil
	}
	reg := &rec.Registration
	if data, _, err := c.store.Load(ctx, c.registrationKey(reg.Issuer, reg.RedirectURI)); err == nil {
		// The token that manages it may have changed since the login.
		if now, err := record.DecodeRegistration(data); err == nil && now.ClientID == reg.ClientID {
			reg = now
		}
	}
	c.forgetRegistration(ctx, reg)
	if reg.ClientURI == "" || reg.AccessToken == "" {
		return nil
	}
	if !c.manageable(reg) {
		return &Error{Op: OpRegistration, URL: reg.ClientURI, Message: "the registration is forgotten here, but not deleted at the server: its management address is on another origin"}
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	if err := grant.DeleteClient(ctx, c.http, reg.ClientURI, secret.New(reg.AccessToken)); err != nil {
		return fmt.Errorf("mcpoauth: the registration is forgotten here, but the server could not be told: %w", publicError(err))
	}
	return nil
}
