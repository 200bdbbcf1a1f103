package mcpoauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// LogoutResult is the outcome of a logout.
type LogoutResult struct {
	// WasLoggedIn reports whether a login was stored.
	WasLoggedIn bool
	// Revoked reports whether the server confirmed the revocation.
	Revoked bool
	// Detail is why Revoked is false, in a few words. It names a revocation endpoint that was not told because it lies
	// on another site than the token endpoint. It may be empty.
	Detail string
	// ClientDeleted reports whether the client's dynamic registration was deleted at the server with the last
	// login that used it (RFC 7592).
	ClientDeleted bool
}

// Logout removes the login from the store and revokes its tokens at the server that issued them (RFC 7009), the
// refresh token first. The login is removed even if the revocation fails; the error is then [ErrTemporary]. A dynamic
// registration is kept while another login uses it. With the last one it is deleted at the server if the server
// supports that (RFC 7592), and kept for the next login if not.
func (c *Client) Logout(ctx context.Context) (*LogoutResult, error) {
	return during(ctx, c, c.logout)
}

func (c *Client) logout(ctx context.Context) (*LogoutResult, error) {
	rec, err := c.store.forget(ctx, keepUnreadable)
	if err != nil {
		return &LogoutResult{}, err
	}
	c.login.journal.clear(ctx)
	if rec == nil {
		return &LogoutResult{}, nil
	}
	res, rec := &LogoutResult{WasLoggedIn: true}, c.set.apply(rec)
	if rec.RevocationEndpoint == "" {
		res.Detail = notRevoked(rec)
	} else if err := c.revokeAll(ctx, rec); err != nil {
		res.Detail = "the server could not be told"
		return res, &TemporaryError{Err: fmt.Errorf("mcpoauth: the login is forgotten here, but the server may still accept its tokens: %w", err)}
	} else {
		res.Revoked = true
	}
	res.ClientDeleted = c.registrar.deleteUnused(ctx, &rec.Registration)
	return res, nil
}

// notRevoked is why the tokens of a login without a revocation endpoint are not revoked.
func notRevoked(rec *record.Login) string {
	if rec.WithheldRevocation == "" {
		return "the server offers no revocation"
	}
	return fmt.Sprintf("the revocation endpoint %s was not told, because it is not on the site of the token endpoint %s and would collect the tokens; "+
		"if the server's owner confirms it, log in with --allow-foreign-endpoints (Options.Allow.ForeignEndpoints)", wire.Clean(rec.WithheldRevocation), wire.PlainURL(rec.TokenEndpoint))
}

// revokeAll revokes the tokens of a record, the refresh token first.
func (c *Client) revokeAll(ctx context.Context, rec *record.Login) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	var failures []error
	for _, t := range []struct{ token, hint string }{{rec.RefreshToken, "refresh_token"}, {rec.AccessToken, "access_token"}} {
		if t.token == "" {
			continue
		}
		err := c.tokens.revoke(ctx, rec, t.token, t.hint)
		if err != nil && t.hint == "access_token" && faultOf(err).Code == "unsupported_token_type" {
			continue // RFC 7009 section 2.2.1: it ends with the refresh token, or soon
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("the %s: %w", t.hint, publicError(err)))
		}
	}
	return errors.Join(failures...)
}

// keepUnreadable stops a removal at a record that cannot be read here: another key sealed it, or a newer version wrote
// it.
func keepUnreadable(error) bool { return false }

// removeUnreadable permits the removal of such a record, unless the store cannot be reached.
func removeUnreadable(err error) bool {
	_, unreachable := errors.AsType[*store.UnreachableError](err)
	return !unreachable
}

// ClearOptions are the options of one [Client.Clear]. Nil is the zero value.
type ClearOptions struct {
	// Registration removes the client's dynamic registration too, also at the server if it supports that (RFC 7592).
	Registration bool
}

// Clear removes the login from the store and does not revoke its tokens. Nil opts are the zero value.
func (c *Client) Clear(ctx context.Context, opts *ClearOptions) error {
	_, err := during(ctx, c, func(ctx context.Context) (struct{}, error) {
		rec, err := c.store.forget(ctx, removeUnreadable)
		if err != nil {
			return struct{}{}, err
		}
		c.login.journal.clear(ctx)
		if rec == nil || opts == nil || !opts.Registration {
			return struct{}{}, nil
		}
		return struct{}{}, c.registrar.clear(ctx, &rec.Registration)
	})
	return err
}
