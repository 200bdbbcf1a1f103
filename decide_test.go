package mcpoauth

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

// sessionWith returns a session with a token, for tests of decisions.
func sessionWith(access string, scopes []string, change func(*record.Login)) *session {
	now := time.Now()
	rec := &record.Login{
		AccessToken: access, TokenType: "Bearer", RefreshToken: "r", Scopes: scopes, RequestedScopes: scopes,
		IssuedAt: now, Expiry: now.Add(time.Hour), Registration: record.Registration{ClientID: "c"},
	}
	if change != nil {
		change(rec)
	}
	return newSession(rec, 1, plainSettings)
}

// TestDecide is the policy for refusals as a table.
func TestDecide(t *testing.T) {
	sent := sessionWith("sent", []string{"a"}, nil)
	noRefresh := sessionWith("sent", nil, func(r *record.Login) { r.RefreshToken = "" })
	expired := sessionWith("sent", nil, func(r *record.Login) {
		r.IssuedAt, r.Expiry = r.IssuedAt.Add(-2*time.Hour), r.IssuedAt.Add(-time.Hour)
	})
	newer := sessionWith("newer", []string{"a"}, nil)
	wider := sessionWith("wider", []string{"a", "b"}, nil)
	bearer := &challenge{bearer: true}
	scopes := &challenge{bearer: true, code: "insufficient_scope", scopes: []string{"a", "b"}, scopeGiven: true}
	again := &challenge{bearer: true, required: &record.Authentication{ACRValues: "mfa"}}
	bound := &challenge{bearer: true, dpop: true}
	person, job, both := abilities{person: true, bind: true}, abilities{nonInteractive: true, bind: true}, abilities{person: true, nonInteractive: true, provider: true, bind: true}
	alone := abilities{bind: true}
	for name, tc := range map[string]struct {
		r    refusal
		can  abilities
		want actionKind
		// is checks the action further.
		is func(action) bool
	}{
		"403 with a good token":                   {refusal{status: 403, challenge: bearer, sent: sent}, person, passThrough, nil},
		"403 without a token":                     {refusal{status: 403, challenge: bearer}, person, passThrough, nil},
		"403 with an expired token":               {refusal{status: 403, challenge: bearer, sent: expired, stored: expired}, person, renewToken, nil},
		"401 without a token, a person":           {refusal{status: 401, challenge: bearer, reason: "why"}, person, logIn, func(a action) bool { return !a.ifOffered && a.login.rejected == "" }},
		"a bare 401 without a token":              {refusal{status: 401, challenge: &challenge{}}, person, logIn, func(a action) bool { return a.ifOffered }},
		"401 without a token, nobody":             {refusal{status: 401, challenge: bearer, reason: "why"}, alone, fail, func(a action) bool { return requires(a.err, "why") && a.require == nil && !a.ifOffered }},
		"401":                                     {refusal{status: 401, challenge: bearer, sent: sent, stored: sent}, person, renewToken, func(a action) bool { return a.token.rejected == "sent" && a.once == "" }},
		"401, renewed elsewhere":                  {refusal{status: 401, challenge: bearer, sent: sent, stored: newer}, person, useStored, nil},
		"401, ended elsewhere":                    {refusal{status: 401, challenge: bearer, sent: sent}, person, renewToken, nil},
		"401 for a token just obtained":           {refusal{status: 401, challenge: bearer, sent: sent, stored: sent, obtained: true}, person, suspectServer, nil},
		"401, obtained, but renewed since":        {refusal{status: 401, challenge: bearer, sent: sent, stored: newer, obtained: true}, person, useStored, nil},
		"401 in a cooldown":                       {refusal{status: 401, challenge: bearer, sent: sent, stored: sent}, abilities{person: true, cooling: time.Second}, fail, func(a action) bool { return errors.Is(a.err, ErrTemporary) }},
		"401 without a token in a cooldown":       {refusal{status: 401, challenge: bearer}, abilities{person: true, cooling: time.Second}, fail, func(a action) bool { return errors.Is(a.err, ErrTemporary) }},
		"bound tokens, a person":                  {refusal{status: 401, challenge: bound, sent: sent, stored: sent}, person, logIn, func(a action) bool { return a.login.rejected == "sent" && a.login.challenge == bound }},
		"bound tokens, a job":                     {refusal{status: 401, challenge: bound, sent: sent, stored: sent}, job, renewToken, func(a action) bool { return a.token.bound() }},
		"bound tokens, not wanted":                {refusal{status: 401, challenge: bound, sent: sent, stored: sent}, abilities{person: true}, renewToken, func(a action) bool { return !a.token.bound() }},
		"bound tokens, nobody":                    {refusal{status: 401, challenge: bound, sent: sent, stored: sent}, alone, fail, func(a action) bool { return errors.Is(a.err, ErrLoginRequired) && a.require != nil }},
		"scopes, a person":                        {refusal{status: 403, challenge: scopes, sent: sent, stored: sent}, person, logIn, func(a action) bool { return a.once == "a b" && isAsked(a.exhausted) && len(a.login.scopes) == 2 }},
		"scopes, a job":                           {refusal{status: 403, challenge: scopes, sent: sent, stored: sent}, job, renewToken, func(a action) bool { return a.once == "a b" && len(a.token.scopes) == 2 && a.token.rejected == "sent" }},
		"scopes, nobody":                          {refusal{status: 403, challenge: scopes, sent: sent, stored: sent}, alone, fail, func(a action) bool { return lacks(a.err, "b") }},
		"scopes, obtained elsewhere":              {refusal{status: 403, challenge: scopes, sent: sent, stored: wider}, person, useStored, nil},
		"scopes, renewed elsewhere without them":  {refusal{status: 403, challenge: scopes, sent: sent, stored: newer}, person, logIn, nil},
		"scopes without a token":                  {refusal{status: 403, challenge: scopes, reason: "why"}, alone, fail, func(a action) bool { return requires(a.err, "why") }},
		"another login, a person":                 {refusal{status: 401, challenge: again, sent: sent, stored: sent}, person, logIn, func(a action) bool { return a.once != "" && a.exhausted != nil && a.login.rejected == "sent" }},
		"another login, made elsewhere":           {refusal{status: 401, challenge: again, sent: sent, stored: newer}, person, useStored, nil},
		"another login, nobody":                   {refusal{status: 401, challenge: again, sent: sent, stored: sent}, alone, fail, func(a action) bool { return errors.Is(a.err, ErrLoginRequired) && a.require == again.required }},
		"another login, a job":                    {refusal{status: 401, challenge: again, sent: sent, stored: sent}, job, fail, func(a action) bool { return errors.Is(a.err, ErrAccessDenied) }},
		"another login, a company's":              {refusal{status: 401, challenge: again, sent: sent, stored: sent}, both, logIn, nil},
		"another login by 403":                    {refusal{status: 403, challenge: again, sent: sent, stored: sent}, person, logIn, nil},
		"another login without a token":           {refusal{status: 401, challenge: again}, person, logIn, func(a action) bool { return a.once == "" }},
		"a store that is away":                    {refusal{status: 401, challenge: bearer, sent: sent}, alone, renewToken, nil},
		"no refresh token, as the refresher says": {refusal{status: 401, challenge: bearer, sent: noRefresh, stored: noRefresh}, alone, renewToken, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tc.r.now = time.Now()
			a := decide(tc.r, tc.can)
			if a.kind != tc.want || tc.is != nil && !tc.is(a) {
				t.Errorf("got %+v", a)
			}
		})
	}
}

func requires(err error, reason string) bool {
	e, ok := errors.AsType[*LoginRequiredError](err)
	return ok && e.Reason == reason
}

func isAsked(err error) bool {
	e, ok := errors.AsType[*ScopeError](err)
	return ok && e.Asked
}

func lacks(err error, scope string) bool {
	e, ok := errors.AsType[*ScopeError](err)
	return ok && !e.Asked && len(e.Missing) == 1 && e.Missing[0] == scope
}

// TestDecideAfterARenewal: what follows when only a person can go on.
func TestDecideAfterARenewal(t *testing.T) {
	sent := sessionWith("sent", nil, nil)
	without := sessionWith("sent", nil, func(r *record.Login) { r.RefreshToken = "" })
	required := &LoginRequiredError{Reason: "the end"}
	wrongSecret := &LoginRequiredError{Reason: "the end", Err: &Error{Op: OpToken, Code: "invalid_client"}}
	at := func(s *session) refusal {
		return refusal{status: http.StatusUnauthorized, challenge: &challenge{bearer: true}, sent: s, stored: s}
	}
	if a := at(sent).afterRenewal(abilities{person: true}, required); a.kind != logIn || a.login.rejected != "sent" {
		t.Errorf("a person: %+v", a)
	}
	if a := at(sent).afterRenewal(abilities{}, required); a.kind != fail || !requires(a.err, "the end") || a.require == nil {
		t.Errorf("nobody: %+v", a)
	}
	if a := at(without).afterRenewal(abilities{}, required); a.kind != fail || !requires(a.err, "the server no longer accepts the access token, and there is no refresh token") {
		t.Errorf("without a refresh token: %+v", a)
	}
	if a := at(sent).afterRenewal(abilities{person: true, fixedClient: true}, wrongSecret); a.kind != fail || !errors.Is(a.err, ErrLoginRequired) {
		t.Errorf("a wrong secret: %+v", a)
	}
	if a := at(sent).afterRenewal(abilities{person: true}, wrongSecret); a.kind != logIn {
		t.Errorf("a client that registers itself: %+v", a)
	}
	if a := at(sent).afterRenewal(abilities{person: true, fixedClient: true}, required); a.kind != logIn {
		t.Errorf("a client registered by hand whose login has ended: %+v", a)
	}
	if a := at(sent).afterRenewal(abilities{nonInteractive: true, provider: true}, required); a.kind != fail || a.require != nil || !requires(a.err, "the end") {
		t.Errorf("a company's login: %+v", a)
	}
}

// TestStepBudget: each demand once, and not for too many.
func TestStepBudget(t *testing.T) {
	var b stepBudget
	for i, want := range []bool{true, true, true, true, true, false} {
		if got := b.take(string(rune('a' + i))); got != want {
			t.Errorf("demand %d: %t", i, got)
		}
	}
	if b.take("a") || !b.take("") || !b.take("") {
		t.Error("the same demand again, or none")
	}
	b.reset()
	if !b.take("f") || b.take("f") {
		t.Error("after a reset")
	}
}

// TestSettledBy: which stored login serves a login that had to wait.
func TestSettledBy(t *testing.T) {
	s := sessionWith("now", []string{"a"}, nil)
	ended := sessionWith("now", []string{"a"}, func(r *record.Login) { r.LoginRequired = "over" })
	demanded := sessionWith("now", []string{"a"}, func(r *record.Login) { r.Required = &record.Authentication{} })
	for name, tc := range map[string]struct {
		r    loginRequest
		s    *session
		want bool
	}{
		"the first login":                     {loginRequest{}, s, true},
		"none":                                {loginRequest{}, nil, false},
		"an ended one":                        {loginRequest{known: "before"}, ended, false},
		"one that was made since":             {loginRequest{known: "before"}, s, true},
		"the one that was known":              {loginRequest{known: "now"}, s, true},
		"the one that was known, demanded":    {loginRequest{known: "now"}, demanded, false},
		"one made since, demanded":            {loginRequest{known: "before"}, demanded, true},
		"forced":                              {loginRequest{force: true, known: "before"}, s, false},
		"the rejected one":                    {loginRequest{rejected: "now", known: "before"}, s, false},
		"another than the rejected one":       {loginRequest{rejected: "before", known: "before"}, s, true},
		"scopes that it has":                  {loginRequest{scopes: []string{"a"}, known: "before"}, s, true},
		"scopes that it lacks":                {loginRequest{scopes: []string{"b"}, known: "before"}, s, false},
		"scopes that the known one lacked":    {loginRequest{scopes: []string{"a"}, known: "now"}, s, false},
		"bound tokens":                        {loginRequest{challenge: &challenge{dpop: true}, known: "before"}, s, false},
		"a challenge that demands no binding": {loginRequest{challenge: &challenge{}, known: "before"}, s, true},
	} {
		if got := tc.r.settledBy(tc.s); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
