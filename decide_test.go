package mcpoauth

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

// tokenOf returns a session with a token that can be used until an hour from now, unless change says otherwise.
func tokenOf(access string, now time.Time, change func(*record.Login)) *session {
	rec := &record.Login{AccessToken: access, TokenType: "Bearer", IssuedAt: now.Add(-time.Minute), Expiry: now.Add(time.Hour), RefreshToken: "r", Scopes: []string{"read"}}
	if change != nil {
		change(rec)
	}
	return newSession(rec, 1, plainSettings)
}

// TestDecide is the policy for refusals: one row for each case of decide and of what it calls.
func TestDecide(t *testing.T) {
	t.Parallel()
	now := time.Now()
	sent, other := tokenOf("sent", now, nil), tokenOf("other", now, nil)
	admin := tokenOf("admin", now, func(r *record.Login) { r.Scopes = []string{"read", "admin"} })
	expired := tokenOf("sent", now, func(r *record.Login) { r.IssuedAt, r.Expiry = now.Add(-2*time.Hour), now.Add(-time.Hour) })
	bearer, bare := &challenge{bearer: true}, &challenge{}
	wantScope := &challenge{bearer: true, code: "insufficient_scope", scopes: []string{"admin"}}
	wantLogin := &challenge{bearer: true, code: needsAuthentication, required: &record.Authentication{ACRValues: "gold"}}
	wantKey := &challenge{bearer: true, dpop: true}
	person, alone, machine := abilities{person: true, bind: true}, abilities{bind: true}, abilities{nonInteractive: true, bind: true}
	company := abilities{nonInteractive: true, provider: true, person: true}
	cooling := abilities{person: true, cooling: time.Second}
	const unauthorized, forbidden = http.StatusUnauthorized, http.StatusForbidden

	for name, tc := range map[string]struct {
		r    refusal
		can  abilities
		want actionKind
		also func(action) bool
	}{
		"403 for a valid token":         {refusal{status: forbidden, challenge: bearer, sent: sent}, person, passThrough, nil},
		"403 without a token":           {refusal{status: forbidden, challenge: bearer}, person, passThrough, nil},
		"403 for an expired token":      {refusal{status: forbidden, challenge: bearer, sent: expired}, person, renewToken, nil},
		"401 without a token, a person": {refusal{status: unauthorized, challenge: bearer}, person, logIn, func(a action) bool { return !a.ifOffered && a.login.rejected == "" }},
		"a bare 401 without a token":    {refusal{status: unauthorized, challenge: bare}, person, logIn, func(a action) bool { return a.ifOffered }},
		"401 without a token, no person": {refusal{status: unauthorized, challenge: bearer, reason: "why"}, alone, fail, func(a action) bool {
			return errors.Is(a.err, ErrLoginRequired) && a.require == nil && strings.Contains(a.err.Error(), "why")
		}},
		"401 without a token, in a pause":  {refusal{status: unauthorized, challenge: bearer}, cooling, fail, func(a action) bool { return errors.Is(a.err, ErrTemporary) }},
		"401, no token was obtained yet":   {refusal{status: unauthorized, challenge: bearer, sent: sent, stored: sent}, person, renewToken, func(a action) bool { return a.token.rejected == "sent" && a.once == "" }},
		"401, another token is stored":     {refusal{status: unauthorized, challenge: bearer, sent: sent, stored: other}, person, useStored, nil},
		"401, another one in a pause":      {refusal{status: unauthorized, challenge: bearer, sent: sent, stored: other}, cooling, useStored, nil},
		"401 for a token just obtained":    {refusal{status: unauthorized, challenge: bearer, sent: sent, obtained: true}, person, suspectServer, nil},
		"401 in a pause":                   {refusal{status: unauthorized, challenge: bearer, sent: sent}, cooling, fail, func(a action) bool { return errors.Is(a.err, ErrTemporary) }},
		"a key is demanded, a person":      {refusal{status: unauthorized, challenge: wantKey, sent: sent}, person, logIn, func(a action) bool { return a.login.rejected == "sent" }},
		"a key is demanded, a machine":     {refusal{status: unauthorized, challenge: wantKey, sent: sent}, machine, renewToken, func(a action) bool { return a.token.challenge == wantKey }},
		"a key is demanded, and forbidden": {refusal{status: unauthorized, challenge: wantKey, sent: sent}, abilities{person: true}, renewToken, func(a action) bool { return a.token.challenge == nil }},
		"scopes, a person": {refusal{status: forbidden, challenge: wantScope, sent: sent}, person, logIn, func(a action) bool {
			return slices.Equal(a.login.scopes, wantScope.scopes) && a.once == "admin" && a.exhausted != nil
		}},
		"scopes, no person": {refusal{status: forbidden, challenge: wantScope, sent: sent}, alone, fail, func(a action) bool {
			e, ok := errors.AsType[*ScopeError](a.err)
			return ok && slices.Equal(e.Missing, wantScope.scopes) && !e.Asked
		}},
		"scopes, a machine":                 {refusal{status: forbidden, challenge: wantScope, sent: sent}, machine, renewToken, func(a action) bool { return slices.Equal(a.token.scopes, wantScope.scopes) && a.once == "admin" }},
		"scopes that another token has":     {refusal{status: forbidden, challenge: wantScope, sent: sent, stored: admin}, alone, useStored, nil},
		"scopes that another token lacks":   {refusal{status: forbidden, challenge: wantScope, sent: sent, stored: other}, person, logIn, nil},
		"scopes after a token was obtained": {refusal{status: forbidden, challenge: wantScope, sent: sent, obtained: true}, person, logIn, nil},
		"another login, a person":           {refusal{status: unauthorized, challenge: wantLogin, sent: sent}, person, logIn, func(a action) bool { return a.once != "" && a.exhausted != nil && a.login.challenge == wantLogin }},
		"another login, no person":          {refusal{status: unauthorized, challenge: wantLogin, sent: sent}, alone, fail, func(a action) bool { return errors.Is(a.err, ErrLoginRequired) && a.require == wantLogin.required }},
		"another login was made":            {refusal{status: unauthorized, challenge: wantLogin, sent: sent, stored: other}, alone, useStored, nil},
		"another login, by 403":             {refusal{status: forbidden, challenge: wantLogin, sent: sent}, person, logIn, nil},
		"another login, a machine":          {refusal{status: unauthorized, challenge: wantLogin, sent: sent}, machine, fail, func(a action) bool { return errors.Is(a.err, ErrAccessDenied) }},
		"another login, a company's":        {refusal{status: unauthorized, challenge: wantLogin, sent: sent}, company, logIn, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.r.now = now
			got := decide(tc.r, tc.can)
			if got.kind != tc.want || tc.also != nil && !tc.also(got) {
				t.Errorf("got %d, want %d: %+v", got.kind, tc.want, got)
			}
			if got.kind == fail && got.err == nil {
				t.Error("it fails without an error")
			}
		})
	}
}

// TestDecideAfterRenewal: a token could not be renewed because a login is required.
func TestDecideAfterRenewal(t *testing.T) {
	t.Parallel()
	now := time.Now()
	sent := tokenOf("sent", now, nil)
	last := tokenOf("sent", now, func(r *record.Login) { r.RefreshToken = "" })
	required := &LoginRequiredError{Reason: "why"}
	unknownClient := &LoginRequiredError{Reason: "why", Err: &Error{Code: "invalid_client"}}
	for name, tc := range map[string]struct {
		sent *session
		can  abilities
		err  *LoginRequiredError
		want actionKind
		also func(action) bool
	}{
		"a person":                      {sent, abilities{person: true}, required, logIn, func(a action) bool { return a.login.rejected == "sent" }},
		"no person":                     {sent, abilities{}, required, fail, func(a action) bool { return a.require == noRequirement && strings.Contains(a.err.Error(), "why") }},
		"no refresh token":              {last, abilities{}, required, fail, func(a action) bool { return strings.Contains(a.err.Error(), "no refresh token") }},
		"a fixed client is refused":     {sent, abilities{person: true, fixedClient: true}, unknownClient, fail, func(a action) bool { return errors.Is(a.err, unknownClient) }},
		"a registered client is":        {sent, abilities{person: true}, unknownClient, logIn, nil},
		"a fixed client, other reasons": {sent, abilities{person: true, fixedClient: true}, required, logIn, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := refusal{status: http.StatusUnauthorized, challenge: &challenge{bearer: true}, sent: tc.sent, now: now}
			if got := r.afterRenewal(tc.can, tc.err); got.kind != tc.want || tc.also != nil && !tc.also(got) {
				t.Errorf("got %d, want %d: %+v", got.kind, tc.want, got)
			}
		})
	}
}
