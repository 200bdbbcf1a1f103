package mcpoauth

import (
	"math/rand/v2"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

const (
	// maxEarly and earlyPart bound how long before its end a token is renewed: renewing a token
	// of half a minute five minutes early would renew it on every request.
	maxEarly  = time.Minute
	earlyPart = 10
	// maxSkew and skewPart bound how long before its end a token is taken for ended, so that it
	// does not end on the way.
	maxSkew  = time.Second
	skewPart = 20
	// minUse is how long a token just received is used whatever its lifetime says: a server
	// that says 0, or a clock that runs fast, must not cause a refresh per request.
	minUse = time.Second
)

// session is what a Client believes about its login: an immutable snapshot of the record.
type session struct {
	rec   *record.Login
	rev   store.Revision
	token *Token
	// binding is nil unless the token is bound to a key.
	binding *binding
	// header is the value of Authorization, made once: a request with a good token shares it.
	header []string
	// until is when the token is taken for ended, renewAt when a refresh starts ahead of that.
	// The zero time is never.
	until, renewAt time.Time
}

func newSession(rec *record.Login, rev store.Revision) *session {
	s := &session{rec: rec, rev: rev, token: newToken(rec)}
	if rec.DPoPKey != "" {
		key, err := dpop.ParseKey(rec.DPoPKey)
		if err != nil {
			ended := *rec
			ended.LoginRequired = err.Error()
			s.rec = &ended
		}
		s.binding = &binding{key, dpop.Hash(rec.AccessToken)}
	}
	s.header = []string{s.token.Authorization()}
	if rec.Expiry.IsZero() {
		return s
	}
	lifetime := rec.Expiry.Sub(rec.IssuedAt)
	if rec.IssuedAt.IsZero() || lifetime < 0 {
		lifetime = 0
	}
	s.until = rec.Expiry.Add(-min(maxSkew, lifetime/skewPart))
	if early := min(maxEarly, lifetime/earlyPart); early > 0 {
		// Jitter spreads the refreshes of processes that share a login.
		s.renewAt = rec.Expiry.Add(-early - time.Duration(rand.Int64N(int64(early/5)+1))) //nolint:gosec // not a secret
	}
	if used := rec.IssuedAt.Add(minUse); !rec.IssuedAt.IsZero() && s.until.Before(used) {
		s.until = used
	}
	return s
}

// usable reports whether the token may be sent at now. Whoever ended the login ended its token.
func (s *session) usable(now time.Time) bool {
	return s != nil && s.rec.LoginRequired == "" && (s.until.IsZero() || now.Before(s.until))
}

// renewable reports whether a refresh can be tried.
func (s *session) renewable() bool {
	return (s.rec.RefreshToken != "" || s.rec.Grant != "") && s.rec.LoginRequired == ""
}

// due reports whether the token should be renewed ahead of its end.
func (s *session) due(now time.Time) bool {
	return !s.renewAt.IsZero() && now.After(s.renewAt) && s.renewable()
}

// lasts reports whether the token stays usable for d after now.
func (s *session) lasts(now time.Time, d time.Duration) bool {
	return s.usable(now) && (s.until.IsZero() || !now.Add(d).After(s.until))
}
