package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// assertionRequest is what an assertion is for.
type assertionRequest struct {
	// issuer is the authorization server's.
	issuer, tokenEndpoint, resource string
	scopes                          []string
}

// assertions returns the assertion of a token request.
type assertions func(context.Context, assertionRequest) (string, error)

// noAssertion is for client credentials, which need none.
func noAssertion(context.Context, assertionRequest) (string, error) { return "", nil }

// machineSource obtains tokens by a grant that needs no person: client credentials, or an assertion.
type machineSource struct {
	tokens    *tokenClient
	pause     *cooldown
	discover  *discoverer
	registry  *registrar
	assertion assertions
	// person returns the LoginID of the person's login that the tokens are obtained with, nil where no person has one.
	person func() string
}

func (s *machineSource) standsAlone() bool { return true }

func (s *machineSource) saved(context.Context) {}

// next obtains a token. The endpoints of the previous login are used as they are, so that a restart fetches no
// metadata, unless the server demands something else or the settings have changed.
func (s *machineSource) next(ctx context.Context, previous *stored, r tokenRequest) (*record.Login, error) {
	rec, err := s.plan(ctx, previous, r)
	if err != nil {
		return nil, err
	}
	scopes := rec.RequestedScopes
	assertion, err := s.assertion(ctx, assertionRequest{rec.Issuer, rec.TokenEndpoint, rec.Resource, scopes})
	if err != nil {
		return nil, s.noAssertion(err)
	}
	if s.person != nil {
		rec.LoginID = s.person()
	}
	auth, err := s.tokens.auth(rec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := detached(ctx, exchangeTimeout)
	defer cancel()
	tok, auth, err := grant.Machine(ctx, s.tokens.guard(), grant.MachineRequest{
		Endpoint: rec.TokenEndpoint, Auth: auth, Type: rec.Grant, Assertion: secret.New(assertion), Resource: rec.Resource, Scopes: scopes,
		ScopeSeparator: string(s.tokens.set.scopes.Separator), Extra: s.tokens.set.server.TokenParams, Format: s.tokens.format(rec),
	})
	if err != nil {
		return nil, s.failed(err)
	}
	s.tokens.authenticated(ctx, rec, auth)
	s.tokens.trace.notes(ctx, NoteTokenResponse, tok.Notes)
	applyToken(rec, tok)
	rec.RefreshToken, rec.RefreshExpiry = "", time.Time{} // RFC 6749 section 4.4.3: the credentials are as good
	rec.Required = nil
	return rec, nil
}

// plan returns the record for the token.
func (s *machineSource) plan(ctx context.Context, previous *stored, r tokenRequest) (*record.Login, error) {
	set := s.tokens.set
	if previous != nil && r.challenge == nil && len(r.scopes) == 0 && s.same(previous) {
		rec := set.apply(previous.rec)
		rec.Grant, rec.Scopes = set.grant.grantType(), rec.RequestedScopes
		return rec, nil
	}
	var before *record.Login
	if previous != nil {
		before = previous.rec
	}
	f, err := s.discover.discover(ctx, r.challenge, before)
	if err != nil {
		return nil, err
	}
	if err := s.registry.checkKey(f); err != nil {
		return nil, err
	}
	scopes := set.scopesFor(f, r.scopes, before)
	if !slices.Contains(set.scopes.Request, offlineAccess) {
		// A refresh token is not needed.
		scopes = slices.DeleteFunc(scopes, func(s string) bool { return s == offlineAccess })
	}
	reg := &record.Registration{Issuer: f.Issuer, ClientID: set.client.ID, Source: string(SourcePreRegistered), AuthMethod: s.method(f)}
	set.rememberMethod(reg, before)
	rec := s.tokens.newRecord(f, reg, scopes)
	rec.Grant, rec.AuthorizationEndpoint = set.grant.grantType(), ""
	if before != nil && before.Grant == rec.Grant && before.Issuer == rec.Issuer && before.Registration.ClientID == set.client.ID {
		rec.LoginID = before.LoginID // the same machine
	}
	if _, err := s.tokens.bindRecord(rec, f, before); err != nil {
		return nil, err
	}
	return rec, nil
}

// same reports whether the stored login was obtained with the current settings.
func (s *machineSource) same(previous *stored) bool {
	set := s.tokens.set
	return previous.rec.Grant == set.grant.grantType() && set.mismatch(previous.rec) == "" && previous.rec.Registration.ClientID == set.client.ID &&
		(set.scopes.Request == nil || covers(previous.rec.RequestedScopes, set.scopes.Request))
}

// method returns how the client authenticates.
func (s *machineSource) method(f *discovered) string {
	c := s.tokens.set.client
	switch {
	case c.AuthMethod != "":
		return string(c.AuthMethod)
	case c.Key != nil:
		return string(AuthMethodPrivateKeyJWT)
	case c.Secret == "":
		return string(AuthMethodNone)
	}
	return s.registry.fixed(f).reg.AuthMethod
}

// noAssertion returns the error for an assertion that could not be obtained.
func (s *machineSource) noAssertion(err error) error {
	if _, ok := errors.AsType[*wire.Fault](err); ok {
		return s.failed(err)
	}
	if errors.Is(err, ErrTemporary) {
		s.pause.Fail(0)
		return err
	}
	if _, ok := errors.AsType[*Error](err); ok || errors.Is(err, ErrLoginRequired) || errors.Is(err, context.Canceled) {
		return err
	}
	e := &Error{Op: OpToken, Message: err.Error(), Err: err, Hint: "check where the assertion comes from"}
	if option, ok := errors.AsType[*OptionError](err); ok {
		e.Message, e.Hint = "the assertion: "+option.Err.Error(), option.Hint
	}
	return e
}

// failed returns the error of a token request. A refusal is final: no person is asked, and no other grant is tried.
func (s *machineSource) failed(err error) error {
	f := faultOf(err)
	if f.Temporary {
		s.pause.Fail(f.RetryAfter)
		return publicError(f)
	}
	if f.Code != "" || f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden {
		f.Err = errors.Join(ErrAccessDenied, f.Err)
	}
	return publicError(f)
}

// workloadAssertions returns the platform's token, and an error if it is for another audience.
func workloadAssertions(w WorkloadIdentity) assertions {
	return func(ctx context.Context, r assertionRequest) (string, error) {
		audience, fit := w.Audience, []string{w.Audience}
		if audience == "" {
			audience, fit = r.issuer, []string{r.issuer, strings.TrimSuffix(r.issuer, "/"), r.issuer + "/", r.tokenEndpoint}
		}
		text, err := w.Assertion(ctx, audience)
		if err != nil {
			return "", err
		}
		text = strings.TrimSpace(text)
		claims, err := grant.ReadClaims(text)
		if err != nil {
			return "", fmt.Errorf("the assertion is not a JWT: %w", err)
		}
		if !slices.ContainsFunc(fit, claims.For) {
			return "", &Error{
				Op:      OpToken,
				Message: fmt.Sprintf("the assertion is for %q, and not for %s: it was not sent", wire.Clean(strings.Join(claims.Audience, " ")), wire.Clean(audience)),
				Hint:    "have the platform issue it for the authorization server; if its administrator wants another audience set --assertion-audience (WorkloadIdentity.Audience)",
			}
		}
		return text, nil
	}
}
