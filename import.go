package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

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
	// ClientAuthMethod is none, client_secret_basic or client_secret_post. Empty chooses by the secret
	// and the server's metadata.
	ClientAuthMethod string
}

// String returns a description without the secrets.
func (l ImportedLogin) String() string { return "imported login of client " + wire.Clean(l.ClientID) }

// GoString returns the same as String.
func (l ImportedLogin) GoString() string { return l.String() }

// Format prints the same for every verb.
func (l ImportedLogin) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, l.String()) }

// ImportOptions configure [Client.Import]. Nil is the zero value.
type ImportOptions struct {
	// Force replaces a login that there is.
	Force bool
	// DryRun asks the server and decides, and stores nothing.
	DryRun bool
}

// ErrLoginExists means that there is a login already, and nothing was imported over it.
var ErrLoginExists = errors.New("there is a login to this server already")

// Import takes over a login of another program, without a new login. It asks the server where its
// authorization server is, and compares the issuer before anything is kept: no token is sent during the
// import. With rotating refresh tokens there can be one owner afterwards: the first refresh by either
// program ends the other's login, and at servers that detect reuse both.
//
// The error is ErrLoginExists, ErrLoginRequired if the login has ended and cannot be refreshed, an
// [AuthorizationError] if the server names another issuer, and whatever discovery may find.
func (c *Client) Import(ctx context.Context, l *ImportedLogin, opts *ImportOptions) (*Token, error) {
	var o ImportOptions
	if opts != nil {
		o = *opts
	}
	if err := c.closed(); err != nil {
		return nil, err
	}
	if l == nil || l.AccessToken == "" || l.ClientID == "" {
		return nil, errors.New("mcpoauth: an imported login needs an access token and a client ID")
	}
	if l.TokenType != "" && !strings.EqualFold(l.TokenType, "Bearer") {
		return nil, fmt.Errorf("mcpoauth: an imported token of the type %q cannot be used", wire.CleanN(l.TokenType, 20))
	}
	now := time.Now()
	if l.RefreshToken == "" && !l.Expiry.IsZero() && now.After(l.Expiry) {
		return nil, c.loginRequired("the other program's login has ended, and it has no refresh token", nil)
	}
	if !l.ClientSecretExpiry.IsZero() && now.After(l.ClientSecretExpiry) {
		return nil, c.loginRequired("the secret of the other program's client has expired", nil)
	}
	if err := c.probeStore(ctx); err != nil {
		return nil, err
	}
	f, err := c.discover(ctx, nil)
	if err != nil {
		return nil, err
	}
	if l.Issuer != "" && !resource.SameIssuer(l.Issuer, f.Issuer) {
		return nil, &AuthorizationError{Fact{
			URL: c.id, Message: fmt.Sprintf("the login is of the authorization server %s, but the server names %s now", wire.Clean(l.Issuer), f.Issuer),
			Hint: "nothing of it was sent there; log in again if the server has really moved",
		}}
	}
	rec := c.importedRecord(l, f)
	if o.DryRun {
		if !o.Force && c.stored(ctx) != nil {
			return nil, fmt.Errorf("mcpoauth: %s: %w", c.id, ErrLoginExists)
		}
		return newToken(rec), nil
	}
	_, unlock, err := c.store.Lock(ctx, c.key, loginLock)
	if err != nil {
		return nil, storeError("lock", err)
	}
	defer func() {
		if err := unlock(); err != nil {
			c.log.Warn("the login lock could not be released", "server", c.id, "err", err)
		}
	}()
	if !o.Force {
		if _, _, err := c.loadRecord(ctx); err == nil {
			return nil, fmt.Errorf("mcpoauth: %s: %w", c.id, ErrLoginExists)
		} else if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	s, err := c.replace(ctx, rec)
	if err != nil {
		return nil, err
	}
	if err := c.saveUnsaved(ctx); err != nil {
		return nil, err
	}
	return s.token, nil
}

// importedRecord is the login as we would have stored it.
func (c *Client) importedRecord(l *ImportedLogin, f *facts) *store.Record {
	rec := &store.Record{
		ServerURL: c.id, Profile: c.opts.Profile, ResourceOverride: c.opts.Resource, Resource: f.Resource, Issuer: f.Issuer,
		AccessToken: l.AccessToken, RefreshToken: l.RefreshToken, TokenType: "Bearer", Expiry: l.Expiry,
		Scopes: slices.Clone(l.Scopes), RequestedScopes: slices.Clone(l.Scopes),
		AuthorizationEndpoint: f.Server.AuthorizationEndpoint, TokenEndpoint: f.Server.TokenEndpoint, RevocationEndpoint: f.Server.RevocationEndpoint,
		ServerMetadataURL: f.ServerMetadataURL, IssParameterPromised: f.Server.AuthorizationResponseIssParameterSupported,
		Registration: store.Registration{
			Issuer: f.Issuer, ClientID: l.ClientID, ClientSecret: l.ClientSecret, AuthMethod: l.ClientAuthMethod, SecretExpiry: l.ClientSecretExpiry,
			Source: sourceImported,
		},
	}
	if rec.Registration.AuthMethod == "" {
		rec.Registration.AuthMethod = chooseAuthMethod(f.Server.TokenEndpointAuthMethodsSupported, l.ClientSecret)
	}
	return rec
}
