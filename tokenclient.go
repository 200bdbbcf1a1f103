package mcpoauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// tokenClient has what all token requests of a Client share.
type tokenClient struct {
	*network
	nonces *dpop.Nonces
}

// newRecord returns the record of a login that is being made: the only place that writes out its members.
func (t *tokenClient) newRecord(f *discovered, reg *record.Registration, scopes []string) *record.Login {
	return &record.Login{
		LoginID: grant.NewState(), ServerURL: t.trace.server, Profile: t.trace.profile, ResourceOverride: t.set.server.Resource, Resource: f.Resource, Issuer: f.Issuer,
		Scopes: scopes, RequestedScopes: scopes, AuthorizationEndpoint: f.Server.AuthorizationEndpoint, TokenEndpoint: f.Server.TokenEndpoint,
		IssuerSpelling: f.Spelling, RevocationEndpoint: f.Server.RevocationEndpoint, WithheldRevocation: withheld(f.Withheld, "revocation_endpoint"), ServerMetadataURL: f.ServerMetadataURL,
		IssParameterPromised: f.Server.AuthorizationResponseIssParameterSupported, Registration: *reg,
		OfflineAccessOffered: slices.Contains(f.Server.ScopesSupported, offlineAccess),
		TokenMember:          t.set.server.TokenMember, BearerType: t.set.allow.TokenType,
	}
}

// acceptance checks a token response, beyond what all have in common, and completes the record. nonce is that of the
// login, "" for a refresh.
type acceptance func(rec *record.Login, tok *wire.Token, nonce string) error

// applyToken copies a token response into rec. A member that the response lacks keeps its value: most servers that do
// not rotate refresh tokens leave it out (RFC 6749 section 6).
func applyToken(rec *record.Login, tok *wire.Token) {
	rec.AccessToken, rec.TokenType = tok.AccessToken.Reveal(), tok.TokenType
	rec.Expiry, rec.IssuedAt = tok.Expiry, time.Now()
	if !tok.RefreshToken.IsZero() {
		rec.RefreshToken, rec.RefreshExpiry = tok.RefreshToken.Reveal(), time.Time{}
	}
	if tok.RefreshExpiryPresent {
		rec.RefreshExpiry = tok.RefreshExpiry
	}
	if !tok.IDToken.IsZero() {
		rec.IDToken = tok.IDToken.Reveal()
	}
	if tok.ScopePresent {
		rec.Scopes = tok.Scope
	}
	rec.LoginRequired, rec.LoginRequiredFor, rec.LoginRequiredAt = "", "", time.Time{}
}

// format returns the form of the server's token responses: the settings', else the login's, else what is known of the
// provider.
func (t *tokenClient) format(rec *record.Login) grant.TokenResponseFormat {
	f := grant.TokenResponseFormat{Member: cmp.Or(t.set.server.TokenMember, rec.TokenMember), BearerType: cmp.Or(t.set.allow.TokenType, rec.BearerType)}
	if p := discovery.ProviderOf(rec.Issuer); p != nil && !t.set.server.IgnoreProviders {
		f.Member, f.BearerType = cmp.Or(f.Member, p.TokenMember), cmp.Or(f.BearerType, p.TokenType)
	}
	return f
}

// auth returns how the client of a record authenticates, and proves possession of the login's key if there is one.
func (t *tokenClient) auth(rec *record.Login) (grant.ClientAuth, error) {
	a := t.set.authFor(&rec.Registration)
	if rec.DPoPKey == "" {
		return a, nil
	}
	k, err := dpop.ParseKey(rec.DPoPKey)
	if err != nil {
		return a, &Error{Op: OpToken, URL: t.trace.server, Message: err.Error(), Err: err, Hint: "log in again"}
	}
	a.Prover = &dpop.Prover{Key: k, Nonces: t.nonces}
	return a, nil
}

// authenticated notes in a record how the server has authenticated its client.
func (t *tokenClient) authenticated(ctx context.Context, rec *record.Login, a grant.ClientAuth) {
	reg := &rec.Registration
	if reg.AuthMethod == a.Method && reg.ClientIDInBody == a.IDInBody {
		return
	}
	text := "the server authenticates this client by " + a.Method + " and not by " + reg.AuthMethod
	if reg.AuthMethod == a.Method {
		text = "the server wants client_id in the body beside " + a.Method
	}
	t.trace.note(ctx, NoteClientAuthentication, text+", which is remembered")
	reg.AuthMethod, reg.ClientIDInBody = a.Method, a.IDInBody
}

// bindingKey makes the key for a new login's tokens, nil if they are not to be bound. previous is the login before.
func (t *tokenClient) bindingKey(f *discovered, previous *record.Login) (*dpop.Key, error) {
	if t.set.dpop == Never {
		return nil, nil // no key is an answer
	}
	needed := t.set.dpop == Always || f.challenge.dpop
	lists := [][]string{f.Server.DPoPSigningAlgValuesSupported, f.challenge.dpopAlgs}
	if m := f.ResourceMetadata; m != nil {
		needed = needed || m.DPoPBoundAccessTokensRequired
		lists = append(lists, m.DPoPSigningAlgValuesSupported)
	}
	// Never downgrade: an attacker who suppresses the demand could use a token that leaked.
	needed = needed || previous != nil && previous.DPoPKey != "" && previous.Issuer == f.Issuer
	if !needed {
		return nil, nil // see above
	}
	key, err := dpop.NewKey(lists...)
	if errors.Is(err, dpop.ErrAlgorithms) {
		return nil, &Error{Op: OpAuthorization, URL: f.Issuer, Message: err.Error(), Err: err, Hint: "--dpop never (Options.DPoP) does without, if the server allows it"}
	}
	if err != nil {
		return nil, fmt.Errorf("mcpoauth: %w", err)
	}
	return key, nil
}

// bindRecord gives a record the key that its tokens will be bound to, and returns the key's thumbprint, "" if they are
// not to be bound.
func (t *tokenClient) bindRecord(rec *record.Login, f *discovered, previous *record.Login) (thumbprint string, err error) {
	key, err := t.bindingKey(f, previous)
	if key == nil || err != nil {
		return "", err
	}
	if rec.DPoPKey, err = key.Text(); err != nil {
		return "", fmt.Errorf("mcpoauth: %w", err)
	}
	return key.Thumbprint(), nil
}

// revokeTimeout limits the requests of a logout.
const revokeTimeout = 10 * time.Second

// revoke revokes one token of a record (RFC 7009). hint is refresh_token or access_token.
func (t *tokenClient) revoke(ctx context.Context, rec *record.Login, token, hint string) error {
	return grant.Revoke(ctx, t.guard(), grant.RevokeRequest{
		Endpoint: rec.RevocationEndpoint, Auth: t.set.authFor(&rec.Registration), Token: secret.New(token), Hint: hint,
	})
}

// revokeLate revokes tokens that arrived after their login was removed.
func (t *tokenClient) revokeLate(ctx context.Context, rec *record.Login) {
	if rec.RevocationEndpoint == "" {
		return
	}
	token, hint := rec.RefreshToken, "refresh_token"
	if token == "" {
		token, hint = rec.AccessToken, "access_token"
	}
	ctx, cancel := detached(ctx, revokeTimeout)
	defer cancel()
	if err := t.revoke(ctx, rec, token, hint); err != nil {
		t.trace.log.WarnContext(ctx, "a token that came too late could not be revoked", "server", t.trace.server, "err", err)
	}
}
