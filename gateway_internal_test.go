package mcpoauth

import (
	"errors"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

// TestDecideAboutGateways: redirects instead of refusals, and refusals of a session instead of a token.
func TestDecideAboutGateways(t *testing.T) {
	t.Parallel()
	sent := heldSession("sent", func(r *record.Login) { r.IssuedAt = time.Now() })
	older := heldSession("sent", func(r *record.Login) { r.IssuedAt = time.Now().Add(-time.Minute) })
	bare, bearer := &challenge{}, &challenge{bearer: true}
	person := abilities{person: true, bind: true}
	for name, tc := range map[string]struct {
		r    refusal
		can  abilities
		want actionKind
		is   func(action) bool
	}{
		"a redirect":                       {refusal{status: 302, redirect: true, challenge: bare, sent: sent, stored: sent}, person, renewToken, nil},
		"a redirect, a new token":          {refusal{status: 302, redirect: true, challenge: bare, sent: sent, stored: sent, obtained: true}, person, passThrough, nil},
		"a redirect in a cooldown":         {refusal{status: 302, redirect: true, challenge: bare, sent: sent, stored: sent}, abilities{person: true, cooling: time.Second}, passThrough, nil},
		"a redirect without a token":       {refusal{status: 302, redirect: true, challenge: bare}, person, logIn, func(a action) bool { return a.ifOffered }},
		"401 in a session, a new token":    {refusal{status: 401, inSession: true, challenge: bearer, sent: sent, stored: sent}, person, fail, func(a action) bool { return errors.Is(a.err, ErrTokenRejected) && !errors.Is(a.err, ErrTemporary) }},
		"401 in a session, an older token": {refusal{status: 401, inSession: true, challenge: bearer, sent: older, stored: older}, person, renewToken, nil},
		"401 in a session, obtained":       {refusal{status: 401, inSession: true, challenge: bearer, sent: sent, stored: sent, obtained: true}, person, suspectServer, nil},
	} {
		tc.r.now = time.Now()
		if a := decide(tc.r, tc.can); a.kind != tc.want || tc.is != nil && !tc.is(a) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
