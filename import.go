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

// ImportedLogin is a login that another program has made: its tokens, and the client they were issued to.
// It holds secrets and prints redacted.
type ImportedLogin struct {
	// AccessToken, RefreshToken and TokenType as the token endpoint gave them. The refresh token may be
	// missing, the access token not. An empty type is Bearer.
	AccessToken, RefreshToken, TokenType string
	// Expiry of the access token. The zero time means that it is not known.
	Expiry time.Time
	// Scopes that were granted.
	Scopes []string
	// Issuer that the client is registered with. Empty means that it is not known; otherwise the
	// server must still name this one.
	Issuer string
	// ClientID, ClientSecret and ClientSecretExpiry (the zero time for never) are the client.
	ClientID, ClientSecret string
	ClientSecretExpiry     time.Time
	// ClientAuthMethod is how the client authenticates. Empty chooses by the secret and the server's metadata.
	ClientAuthMethod AuthMethod
}

// ImportOptions configure [Client.Import]. Nil is the zero value.
type ImportOptions struct {
	// Force replaces a login that there is.
	Force bool
	// DryRun asks the server and decides, and stores nothing.
	DryRun bool
}

// Import takes over a login of another program, without a new login. It asks the server where its
// authorization server is, and compares the issuer before anything is kept: no token is sent during the
// import. With rotating refresh tokens there can be one owner afterwards: the first refresh by either
// program ends the other's login, and at servers that detect reuse both.
//
// The error is ErrLoginExists, ErrLoginRequired if the login has ended and cannot be refreshed, an
// [Error] if the server names another issuer, and whatever discovery may find.
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

// takeOver asks the server and stores the login.
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

// vacant reports a login that must not be replaced.
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
