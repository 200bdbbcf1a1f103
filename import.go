package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// ImportedLogin is a login that another program has made: its tokens, and the client that they were issued to. It
// prints without its secrets.
type ImportedLogin struct {
	// AccessToken, RefreshToken and TokenType are those of the token response. AccessToken is required. An empty
	// TokenType is Bearer.
	AccessToken, RefreshToken, TokenType string
	// Expiry is when the access token expires. The zero time is unknown.
	Expiry time.Time
	// Scopes are those granted.
	Scopes []string
	// Issuer is the one that the client is registered with. Empty is unknown; otherwise the server's metadata must
	// still name it.
	Issuer string
	// ClientID, which is required, and ClientSecret are the client's. ClientSecretExpiry is when the secret expires,
	// the zero time for never.
	ClientID, ClientSecret string
	ClientSecretExpiry     time.Time
	// ClientAuthMethod is how the client authenticates. Empty chooses by the secret and the server's metadata.
	ClientAuthMethod AuthMethod
}

// ImportOptions configure [Client.Import]. Nil is the zero value.
type ImportOptions struct {
	// Force replaces a stored login.
	Force bool
	// DryRun makes all checks and stores nothing.
	DryRun bool
}

// Import stores a login that another program has made, so that no new login is needed. It discovers the server's
// authorization server and compares the issuer first; no token is sent during the import. Where the server rotates
// refresh tokens only one program can go on using the login: the first refresh by either one ends the other's login,
// and both at a server that detects reuse.
//
// The error is [ErrLoginExists] if a login is stored, [ErrLoginRequired] if the imported login has expired and cannot
// be refreshed, or an [Error] of discovery or for another issuer.
func (c *Client) Import(ctx context.Context, l *ImportedLogin, opts *ImportOptions) (*Token, error) {
	var o ImportOptions
	if opts != nil {
		o = *opts
	}
	if c.closed.Load() {
		return nil, errClosed
	}
	if l == nil || l.AccessToken == "" || l.ClientID == "" {
		return nil, errors.New("mcpoauth: an imported login needs an access token and a client ID")
	}
	if l.TokenType != "" && !strings.EqualFold(l.TokenType, "Bearer") {
		return nil, fmt.Errorf("mcpoauth: an imported token of the type %q cannot be used", wire.CleanN(l.TokenType, 20))
	}
	now := time.Now()
	if l.RefreshToken == "" && !l.Expiry.IsZero() && now.After(l.Expiry) {
		return nil, c.store.loginRequired("the other program's login has ended, and it has no refresh token", nil)
	}
	if !l.ClientSecretExpiry.IsZero() && now.After(l.ClientSecretExpiry) {
		return nil, c.store.loginRequired("the secret of the other program's client has expired", nil)
	}
	return during(ctx, c, func(ctx context.Context) (*Token, error) { return c.takeOver(ctx, l, o) })
}

// takeOver discovers the server and stores the login.
func (c *Client) takeOver(ctx context.Context, l *ImportedLogin, o ImportOptions) (*Token, error) {
	if err := c.store.probe(ctx); err != nil {
		return nil, err
	}
	f, err := c.discoverer.discover(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	if l.Issuer != "" && !resource.SameIssuer(l.Issuer, f.Issuer) {
		return nil, &Error{
			Op: OpAuthorization, URL: c.trace.server, Message: fmt.Sprintf("the login is of the authorization server %s, but the server names %s now", wire.Clean(l.Issuer), f.Issuer),
			Hint: "nothing of it was sent there; log in again if the server has really moved",
		}
	}
	rec := c.importedRecord(l, f)
	if o.DryRun {
		if err := c.vacant(ctx, o); err != nil {
			return nil, err
		}
		tok := newToken(rec, rec.AccessToken)
		return &tok, nil
	}
	var tok *Token
	err = c.store.locked(ctx, loginLock, func(context.Context) error {
		if err := c.vacant(ctx, o); err != nil {
			return err
		}
		rev, err := c.store.revision(ctx)
		if err != nil {
			return storeError("read", err)
		}
		tok = &c.store.replace(ctx, rec, rev).token
		return c.store.saveUnsaved(ctx)
	})
	if err != nil {
		return nil, err
	}
	return tok, nil
}

// vacant returns an error if there is a login that must not be replaced.
func (c *Client) vacant(ctx context.Context, o ImportOptions) error {
	if o.Force {
		return nil
	}
	_, err := c.store.load(ctx)
	switch {
	case err == nil:
		return fmt.Errorf("mcpoauth: %s: %w", c.trace.server, ErrLoginExists)
	case errors.Is(err, store.ErrNotFound):
		return nil
	}
	return err
}

// importedRecord is the record of a login that another program has made.
func (c *Client) importedRecord(l *ImportedLogin, f *discovered) *record.Login {
	reg := &record.Registration{
		Issuer: f.Issuer, ClientID: l.ClientID, ClientSecret: l.ClientSecret, AuthMethod: string(l.ClientAuthMethod), SecretExpiry: l.ClientSecretExpiry,
		Source: string(SourceImported),
	}
	if reg.AuthMethod == "" {
		reg.AuthMethod = chooseAuthMethod(f.Server.TokenEndpointAuthMethodsSupported, l.ClientSecret)
	}
	rec := c.tokens.newRecord(f, reg, slices.Clone(l.Scopes))
	rec.AccessToken, rec.RefreshToken, rec.TokenType = l.AccessToken, l.RefreshToken, "Bearer"
	rec.Expiry = l.Expiry // when it was issued is not known
	return rec
}
