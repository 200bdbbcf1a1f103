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
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// tokenRequest is what a new token is needed for. The zero value is any usable token.
type tokenRequest struct {
	// rejected is a token that must not be the result.
	rejected string
	// scopes are those that the server demands.
	scopes []string
	// challenge is the server's demand, nil where the token has only expired.
	challenge *challenge
}

// key distinguishes requests that one token may not serve.
func (r tokenRequest) key() string {
	key := "renew " + r.rejected + " " + strings.Join(r.scopes, " ")
	if r.bound() {
		key += " bound"
	}
	return key
}

// bound reports whether the token must be bound to a key.
func (r tokenRequest) bound() bool { return r.challenge != nil && r.challenge.dpop }

// satisfiedBy reports whether a session satisfies the request.
func (r tokenRequest) satisfiedBy(s *session, now time.Time) bool {
	return s.usable(now) && s.access() != r.rejected && s.asked(r.scopes) && (s.binding != nil || !r.bound())
}

// tokenSource obtains the next token of a login. The caller holds the refresh lock.
type tokenSource interface {
	// next returns the record that follows previous, which is nil where there is none. An *endedError means that
	// only a person can continue; a *TemporaryError, that trying again may help.
	next(ctx context.Context, previous *stored, r tokenRequest) (*record.Login, error)
	// saved is called after the record is saved.
	saved(ctx context.Context)
	// standsAlone reports whether next needs no previous login.
	standsAlone() bool
}

// endedError means that the login has ended.
type endedError struct {
	// reason is for the record and for people.
	reason string
	// digest limits the end to what was refused, "" is for all.
	digest string
	// rec is the login's record if it has changed, nil if not.
	rec *record.Login
	// noted means that the record has the reason already.
	noted bool
	cause error
}

func (e *endedError) Error() string { return e.reason }
func (e *endedError) Unwrap() error { return e.cause }

// refreshSource uses the refresh token (RFC 6749 section 6).
type refreshSource struct {
	tokens   *tokenClient
	journal  refreshJournal
	pause    *cooldown
	discover *discoverer
	registry *registrar
	// accept checks a response beyond what all have in common; nil accepts it.
	accept acceptance
}

func (s *refreshSource) standsAlone() bool { return false }

func (s *refreshSource) saved(ctx context.Context) { s.journal.clear(ctx) }

func (s *refreshSource) next(ctx context.Context, previous *stored, _ tokenRequest) (*record.Login, error) {
	old := previous.rec
	if !previous.session.renewable() {
		return nil, &endedError{reason: previous.session.why(), noted: true}
	}
	if old.Grant != "" {
		return nil, errNotConfigured
	}
	if exp := old.Registration.SecretExpiry; !exp.IsZero() && time.Now().After(exp) && s.tokens.set.client.Secret == "" {
		return nil, &endedError{reason: "the client's registration has expired"}
	}
	entry, err := s.journal.begin(ctx, old.RefreshToken)
	if err != nil {
		return nil, err
	}
	// From here on the server may have rotated the token: the refresh is finished even if the caller leaves.
	ctx, cancel := detached(ctx, 3*exchangeTimeout)
	defer cancel()
	rec, tok, err := s.present(ctx, s.tokens.set.apply(old))
	if err != nil {
		return nil, s.failed(ctx, rec, entry, err)
	}
	s.tokens.trace.notes(ctx, NoteTokenResponse, tok.Notes)
	named := refreshScopes(rec)
	if len(named) > 0 {
		rec.Scopes = named // RFC 6749 section 5.1: granted unless the response says otherwise
	}
	applyToken(rec, tok)
	s.compareScopes(ctx, rec, old, named)
	if s.accept != nil {
		if err := s.accept(rec, tok, ""); err != nil {
			s.journal.clear(ctx)
			return nil, &endedError{reason: "the identity provider renewed no ID token", rec: rec, cause: err}
		}
	}
	return rec, nil
}

// compareScopes notes which of the scopes that the login had a refresh has lost, or brought back. named are those that it
// named.
func (s *refreshSource) compareScopes(ctx context.Context, rec, before *record.Login, named []string) {
	had := slices.Concat(before.Scopes, before.LostScopes)
	rec.LostScopes = slices.DeleteFunc(missing(rec.Scopes, had), func(scope string) bool { return scope == offlineAccess })
	rec.NoRefreshScope = rec.NoRefreshScope || len(named) > 0 && len(rec.LostScopes) > 0
	if lost := missing(before.LostScopes, rec.LostScopes); len(lost) > 0 {
		s.tokens.trace.note(ctx, NoteFewerScopes, fmt.Sprintf("the refresh brought no longer the scopes %q", strings.Join(lost, " ")))
	}
}

// errNotConfigured means that the stored login needs a grant that this Client does not have.
var errNotConfigured = errors.New("the login was obtained without a person, and its grant is not configured here")

// present sends the refresh token, again only where the server cannot have used it: the token endpoint is elsewhere
// now, or the resource indicator or the scopes were refused. It returns the record that was presented.
func (s *refreshSource) present(ctx context.Context, rec *record.Login) (*record.Login, *wire.Token, error) {
	tok, err := s.send(ctx, rec)
	if moved := s.movedEndpoint(ctx, rec, err); moved != nil {
		rec = moved
		tok, err = s.send(ctx, rec)
	}
	if s.resourceRefused(rec, err) {
		without := *rec
		without.NoRefreshResource = true
		if tok, err2 := s.send(ctx, &without); err2 == nil {
			s.tokens.trace.note(ctx, NoteResourceRefused, "the server refuses the resource indicator when refreshing; it is left out from now on")
			return &without, tok, nil
		}
	}
	if err != nil && faultOf(err).Code == "invalid_scope" && len(refreshScopes(rec)) > 0 {
		without := *rec
		without.NoRefreshScope = true
		if tok, err2 := s.send(ctx, &without); err2 == nil {
			return &without, tok, nil
		}
	}
	return rec, tok, err
}

// send presents the refresh token of a record once. On success the record says how the client was authenticated.
func (s *refreshSource) send(ctx context.Context, rec *record.Login) (*wire.Token, error) {
	auth, err := s.tokens.auth(rec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	r := grant.RefreshRequest{
		Endpoint: rec.TokenEndpoint, Auth: auth, RefreshToken: secret.New(rec.RefreshToken), Resource: rec.Resource,
		Scopes: refreshScopes(rec), ScopeSeparator: string(s.tokens.set.scopes.Separator),
		Extra: s.tokens.set.server.TokenParams, Format: s.tokens.format(rec),
	}
	if rec.NoRefreshResource {
		r.Resource = ""
	}
	tok, auth, err := grant.Refresh(ctx, s.tokens.guard(), r)
	if err == nil {
		s.tokens.authenticated(ctx, rec, auth)
	}
	return tok, err
}

// resourceRefused reports whether a refresh failed because of its resource indicator (RFC 8707 section 2).
func (s *refreshSource) resourceRefused(rec *record.Login, err error) bool {
	if err == nil || rec.Resource == "" || rec.NoRefreshResource || s.tokens.set.server.Resource != "" {
		return false
	}
	f := faultOf(err)
	return f.Code == "invalid_target" || f.Code == "invalid_request" && strings.Contains(strings.ToLower(f.Description), "resource")
}

// movedEndpoint looks whether the issuer has moved its token endpoint when the recorded one is gone, and returns the
// record with the new one. The refresh token goes only to the recorded endpoint's origin or the issuer's.
func (s *refreshSource) movedEndpoint(ctx context.Context, rec *record.Login, err error) *record.Login {
	if err == nil || rec.Issuer == "" || s.tokens.set.server.Endpoints.Token != "" {
		return nil
	}
	f := faultOf(err)
	if f.Code != "" || !slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone}, f.Status) {
		return nil
	}
	d, derr := s.discover.again(ctx, rec.Issuer)
	if derr != nil || d.Issuer != rec.Issuer || d.Server.TokenEndpoint == rec.TokenEndpoint {
		return nil
	}
	if !resource.SameOriginOf(d.Server.TokenEndpoint, rec.TokenEndpoint) && !resource.SameOriginOf(d.Server.TokenEndpoint, rec.Issuer) {
		s.tokens.trace.note(ctx, NoteEndpointMoved, "the issuer names a token endpoint on another origin; log in again to use it")
		return nil
	}
	moved := *rec
	moved.TokenEndpoint, moved.RevocationEndpoint = d.Server.TokenEndpoint, d.Server.RevocationEndpoint
	moved.WithheldRevocation = withheld(d.Withheld, "revocation_endpoint")
	return &moved
}

// failed decides what a failed refresh means. A refusal that is final ends the login for this refresh token, which is
// kept but not presented again.
func (s *refreshSource) failed(ctx context.Context, rec *record.Login, entry *journalEntry, err error) error {
	f := faultOf(err)
	public := publicError(f)
	if temporaryRefusal(f) {
		s.journal.failed(ctx, entry, f, s.pause.Fail(f.RetryAfter))
		if !errors.Is(public, ErrTemporary) {
			public = &TemporaryError{RetryAfter: f.RetryAfter, Err: public}
		}
		return public
	}
	s.journal.clear(ctx)
	ended := &endedError{digest: s.tokens.set.refusalDigest(rec), cause: public}
	switch {
	case errors.Is(err, grant.ErrNotBound):
		ended.reason = "the server no longer binds tokens to the key of this login (DPoP)"
	case f.Code == "invalid_client" || f.Code == "unauthorized_client":
		ended.reason = "the server no longer accepts this client"
		if f.Code == "unauthorized_client" && f.Status == http.StatusUnauthorized {
			ended.reason += ", or does not allow it to refresh"
		} else if f.Code == "unauthorized_client" {
			ended.reason = "the server does not allow this client to refresh"
		}
		if src := RegistrationSource(rec.Registration.Source); src == SourceDynamic || src == SourceImported {
			s.registry.forget(ctx, &rec.Registration)
		}
	case f.Code == "invalid_grant" && entry.Posts > 1:
		ended.reason = "the response to an earlier refresh was lost, and the server no longer accepts the refresh token"
	case f.Code == "invalid_grant":
		ended.reason = "the server no longer accepts the refresh token"
	case f.Status >= 400:
		ended.reason = "the server refused to refresh the login" + saying(f)
	default:
		// The response was a success that cannot be used, or nothing was sent at all: the login is as it was.
		s.pause.Fail(0)
		return public
	}
	return ended
}

// saying quotes the error code and the description of a refusal.
func saying(f *wire.Fault) string {
	var text string
	if f.Code != "" {
		text = ": " + f.Code
	}
	if f.Description != "" {
		text += fmt.Sprintf(": it says %q", f.Description)
	}
	return text
}

// temporaryRefusal reports whether the same request may succeed later.
func temporaryRefusal(f *wire.Fault) bool {
	switch f.Code {
	case "temporarily_unavailable", "server_error", "slow_down":
		return true
	}
	return f.Temporary || slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, f.Status)
}
