package mcpoauth

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

const (
	// maxEarly and earlyPart limit how long before its expiry a token is renewed: renewing a token of half a minute
	// five minutes early would renew it on every request.
	maxEarly  = time.Minute
	earlyPart = 10
	// maxSkew and skewPart limit how long before its expiry a token counts as expired, so that it does not expire in
	// transit.
	maxSkew  = time.Second
	skewPart = 20
	// minUse is how long a token is used at least after it was received: a lifetime of 0, or a clock that runs fast,
	// must not cause a refresh for each request.
	minUse = time.Second
)

// session is what a Client keeps of its login in memory: an immutable summary of the record, without what only a
// refresh needs.
type session struct {
	rev   store.Revision
	token Token
	// header is the value of Authorization, made once: every request shares it.
	header [1]string
	// binding is nil unless the token is bound to a key.
	binding *binding
	// until is when the token counts as expired; renewAt is when it is renewed ahead of that. The zero time is never.
	until, renewAt, issuedAt time.Time
	issuer, resource         string
	// login is the record's LoginID.
	login string
	// requested are the scopes that the login requested, which may be more than those granted.
	requested []string
	// lost are scopes that a refresh has lost, and one that names them may bring back.
	lost []string
	// required is the server's demand on the next login, nil if there is none.
	required *record.Authentication
	// ended is why the login cannot go on, "" while it can.
	ended string
	// refreshToken reports whether there is one; grant is the record's.
	refreshToken bool
	grant        string
}

// binding has what is needed to send a bound token.
type binding struct {
	key *dpop.Key
	// hash is the token's.
	hash string
}

func newSession(rec *record.Login, rev store.Revision, set *settings) *session {
	s := &session{
		rev: rev, issuedAt: rec.IssuedAt, issuer: rec.Issuer, resource: rec.Resource, required: rec.Required,
		login: rec.LoginID, ended: set.endedBecause(rec), refreshToken: rec.RefreshToken != "", grant: rec.Grant,
	}
	s.header[0] = rec.TokenType + " " + rec.AccessToken
	s.token = newToken(rec, s.header[0][len(rec.TokenType)+1:])
	if !slices.Equal(rec.RequestedScopes, rec.Scopes) {
		s.requested = slices.Clone(rec.RequestedScopes)
	}
	if refreshScopes(rec) != nil {
		s.lost = rec.LostScopes
	}
	if rec.DPoPKey != "" {
		key, err := dpop.ParseKey(rec.DPoPKey)
		if err != nil && s.ended == "" {
			s.ended = err.Error()
		}
		s.binding = &binding{key, dpop.Hash(rec.AccessToken)}
	}
	if rec.Expiry.IsZero() {
		return s
	}
	issuedAt := rec.IssuedAt
	if issuedAt.After(time.Now()) {
		issuedAt = time.Time{} // a clock was wrong
	}
	lifetime := rec.Expiry.Sub(issuedAt)
	if issuedAt.IsZero() || lifetime < 0 {
		lifetime = 0
	}
	s.until = rec.Expiry.Add(-min(maxSkew, lifetime/skewPart))
	if early := min(maxEarly, lifetime/earlyPart); early > 0 {
		// Jitter spreads the refreshes of processes that share a login.
		s.renewAt = rec.Expiry.Add(-early - time.Duration(rand.Int64N(int64(early/5)+1))) // not a secret
	}
	if used := issuedAt.Add(minUse); !issuedAt.IsZero() && s.until.Before(used) {
		s.until = used
	}
	return s
}

// refreshScopes returns the scopes that a refresh names: none, unless an earlier one that named none has lost some.
func refreshScopes(rec *record.Login) []string {
	if len(rec.LostScopes) == 0 || rec.NoRefreshScope {
		return nil
	}
	return slices.Concat(rec.Scopes, rec.LostScopes)
}

// access returns the access token, "" without a session.
func (s *session) access() string {
	if s == nil {
		return ""
	}
	return s.token.AccessToken()
}

// name returns the LoginID, "" without a session.
func (s *session) name() string {
	if s == nil {
		return ""
	}
	return s.login
}

// usable reports whether the token may be sent at now. The token of a login that has ended may not, even if it has
// not expired.
func (s *session) usable(now time.Time) bool {
	return s != nil && s.ended == "" && (s.until.IsZero() || now.Before(s.until))
}

// renewable reports whether a refresh can be tried.
func (s *session) renewable() bool { return s.ended == "" && (s.refreshToken || s.grant != "") }

// due reports whether the token should be renewed ahead of its expiry.
func (s *session) due(now time.Time) bool {
	return !s.renewAt.IsZero() && now.After(s.renewAt) && s.renewable()
}

// lasts reports whether the token stays usable for d after now.
func (s *session) lasts(now time.Time, d time.Duration) bool {
	return s.usable(now) && (s.until.IsZero() || !now.Add(d).After(s.until))
}

// asked reports whether the login was made for these scopes, whether the server granted them or not.
func (s *session) asked(scopes []string) bool {
	return covers(slices.Concat(s.token.scopes, s.requested), scopes)
}

// why returns why a person must log in.
func (s *session) why() string {
	if s.ended != "" {
		return s.ended
	}
	return "the access token has expired and there is no refresh token"
}
