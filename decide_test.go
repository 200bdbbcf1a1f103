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

// heldSession returns a session with this token that a refresh token can renew.
func heldSession(access string, change ...func(*record.Login)) *session {
	rec := &record.Login{
		ServerURL: "https://mcp.example.com/mcp", Issuer: "https://as.example.com", AccessToken: access, TokenType: "Bearer", RefreshToken: "r",
		Scopes: []string{"read"}, RequestedScopes: []string{"read"}, IssuedAt: time.Now().Add(-10 * time.Minute), Expiry: time.Now().Add(50 * time.Minute),
	}
	for _, f := range change {
		f(rec)
	}
	return newSession(rec, 1, plainSettings)
}

var (
	// forbiddenScope is a demand for a scope, wantsMFA one for another kind of login.
	forbiddenScope = &challenge{code: "insufficient_scope", scopes: []string{"write", "admin"}, bearer: true}
	wantsMFA       = &challenge{code: needsAuthentication, bearer: true, required: &record.Authentication{ACRValues: "mfa"}}
)

// decision is what a test compares of an action.
type decision struct {
	kind      actionKind
	is        error  // the error, nil for none
	says      string // what the error says
	reason    string // why a login is required
	missing   string // the scopes that are missing and were not asked for
	once      string
	rejected  string // the token that must not be the result
	scopes    string
	require   *record.Authentication
	ifOffered bool
	bound     bool // only a token bound to a key will do
}

func (d decision) check(t *testing.T, r refusal, a action) {
	t.Helper()
	if a.kind != d.kind || a.once != d.once || a.require != d.require || a.ifOffered != d.ifOffered {
		t.Errorf("kind %d, once %q, require %v, only if offered %t", a.kind, a.once, a.require, a.ifOffered)
	}
	if a.kind == fail && (a.err == nil || d.is != nil && !errors.Is(a.err, d.is) || !strings.Contains(a.err.Error(), d.says)) {
		t.Errorf("the error is %v", a.err)
	}
	if e, ok := errors.AsType[*LoginRequiredError](a.err); d.reason != "" && (!ok || e.Reason != d.reason) {
		t.Errorf("the error is %v, want the reason %q", a.err, d.reason)
	}
	if e, ok := errors.AsType[*ScopeError](a.err); d.missing != "" && (!ok || e.Asked || strings.Join(e.Missing, " ") != d.missing) {
		t.Errorf("the error is %v, want %q missing", a.err, d.missing)
	}
	if (a.once == "") != (a.exhausted == nil) {
		t.Errorf("once %q, and the error for more is %v", a.once, a.exhausted)
	}
	switch a.kind {
	case logIn:
		if l := a.login; l.rejected != d.rejected || l.known != d.rejected || strings.Join(l.scopes, " ") != d.scopes || l.challenge != r.challenge || l.force || l.newClient {
			t.Errorf("the login is for %+v", l)
		}
	case renewToken:
		if r := a.token; r.rejected != d.rejected || strings.Join(r.scopes, " ") != d.scopes || r.bound() != d.bound {
			t.Errorf("the token is for %+v", r)
		}
	case passThrough, fail, useStored, suspectServer:
	}
}

// TestDecide is the policy for refusals as a table.
func TestDecide(t *testing.T) {
	t.Parallel()
	now := time.Now()
	sent, other := heldSession("sent"), heldSession("other")
	wider := heldSession("wider", func(r *record.Login) { r.Scopes = []string{"read", "write", "admin"} })
	expired := heldSession("sent", func(r *record.Login) { r.Expiry = now.Add(-time.Second) })
	single := heldSession("sent", func(r *record.Login) { r.RefreshToken = "" })
	endless := heldSession("sent", func(r *record.Login) { r.Expiry = time.Time{} })
	bound := heldSession("sent")
	bound.binding = &binding{}
	demanded := heldSession("sent", func(r *record.Login) { r.Required = noRequirement })
	bare, bearer := &challenge{}, &challenge{bearer: true}
	dpop := &challenge{bearer: true, dpop: true}
	halfForbidden := &challenge{code: "insufficient_scope", scopes: []string{"read", "write"}, bearer: true, scopeGiven: true}
	person, machine := abilities{person: true, bind: true}, abilities{nonInteractive: true, bind: true}
	alone := abilities{bind: true}
	provided := abilities{person: true, nonInteractive: true, provider: true, bind: true}
	cooling := func(a abilities) abilities { a.cooling = 7 * time.Second; return a }
	const unauthorized, forbidden = http.StatusUnauthorized, http.StatusForbidden

	for name, tc := range map[string]struct {
		r    refusal
		can  abilities
		want decision
	}{
		"403 for a good token":           {refusal{status: forbidden, challenge: bearer, sent: sent}, person, decision{kind: passThrough}},
		"403 for an endless token":       {refusal{status: forbidden, challenge: bearer, sent: endless}, person, decision{kind: passThrough}},
		"403 without a token":            {refusal{status: forbidden, challenge: bearer}, person, decision{kind: passThrough}},
		"403, a kind of login, no token": {refusal{status: forbidden, challenge: wantsMFA}, person, decision{kind: passThrough}},
		"403 for an expired token":       {refusal{status: forbidden, challenge: bearer, sent: expired}, person, decision{kind: renewToken, rejected: "sent"}},
		"401":                            {refusal{status: unauthorized, challenge: bearer, sent: sent, stored: sent}, person, decision{kind: renewToken, rejected: "sent"}},
		"401, the scope code":            {refusal{status: unauthorized, challenge: forbiddenScope, sent: sent}, person, decision{kind: renewToken, rejected: "sent"}},
		"401, another token is stored":   {refusal{status: unauthorized, challenge: bearer, sent: sent, stored: other}, person, decision{kind: useStored}},
		"401, an expired one is stored": {
			refusal{status: unauthorized, challenge: bearer, sent: sent, stored: heldSession("other", func(r *record.Login) { r.Expiry = now.Add(-time.Second) })},
			person,
			decision{kind: renewToken, rejected: "sent"},
		},
		"401 for a new token":              {refusal{status: unauthorized, challenge: bearer, sent: sent, stored: sent, obtained: true}, person, decision{kind: suspectServer}},
		"401 for a new token, elsewhere":   {refusal{status: unauthorized, challenge: bearer, sent: sent, stored: other, obtained: true}, person, decision{kind: useStored}},
		"401 while it rejects all":         {refusal{status: unauthorized, challenge: bearer, sent: sent}, cooling(person), decision{kind: fail, is: ErrTemporary, says: "rejects every access token"}},
		"401 without a token":              {refusal{status: unauthorized, challenge: bearer, reason: "why"}, person, decision{kind: logIn}},
		"bare 401 without a token":         {refusal{status: unauthorized, challenge: bare, reason: "why"}, person, decision{kind: logIn, ifOffered: true}},
		"401 without a token or person":    {refusal{status: unauthorized, challenge: bearer, reason: "why"}, alone, decision{kind: fail, is: ErrLoginRequired, says: "why", reason: "why"}},
		"bare 401, nobody":                 {refusal{status: unauthorized, challenge: bare, reason: "why"}, alone, decision{kind: fail, is: ErrLoginRequired, ifOffered: true}},
		"403 for an expired one, stored":   {refusal{status: forbidden, challenge: bearer, sent: expired, stored: expired}, person, decision{kind: renewToken, rejected: "sent"}},
		"401, ended elsewhere":             {refusal{status: unauthorized, challenge: bearer, sent: sent}, person, decision{kind: renewToken, rejected: "sent"}},
		"401, a store that is away":        {refusal{status: unauthorized, challenge: bearer, sent: sent}, alone, decision{kind: renewToken, rejected: "sent"}},
		"401, no refresh token":            {refusal{status: unauthorized, challenge: bearer, sent: single, stored: single}, alone, decision{kind: renewToken, rejected: "sent"}}, // the refresher says it
		"401 while it rejects all, stored": {refusal{status: unauthorized, challenge: bearer, sent: sent, stored: sent}, cooling(person), decision{kind: fail, is: ErrTemporary}},
		"401 without a token, cooling":     {refusal{status: unauthorized, challenge: bearer}, cooling(person), decision{kind: fail, is: ErrTemporary}},

		"bound tokens are demanded":          {refusal{status: unauthorized, challenge: dpop, sent: sent}, person, decision{kind: logIn, rejected: "sent"}},
		"bound tokens, no person":            {refusal{status: unauthorized, challenge: dpop, sent: sent, stored: sent}, alone, decision{kind: fail, is: ErrLoginRequired, says: "bound to a key", require: noRequirement}},
		"bound tokens, demanded before":      {refusal{status: unauthorized, challenge: dpop, sent: sent, stored: demanded}, alone, decision{kind: fail, is: ErrLoginRequired}},
		"bound tokens, nothing is stored":    {refusal{status: unauthorized, challenge: dpop, sent: sent}, alone, decision{kind: fail, is: ErrLoginRequired, require: noRequirement}},
		"bound tokens, a machine":            {refusal{status: unauthorized, challenge: dpop, sent: sent}, machine, decision{kind: renewToken, rejected: "sent", bound: true}},
		"bound tokens, a machine, stored":    {refusal{status: unauthorized, challenge: dpop, sent: sent, stored: sent}, machine, decision{kind: renewToken, rejected: "sent", bound: true}},
		"bound tokens, and it is one":        {refusal{status: unauthorized, challenge: dpop, sent: bound}, person, decision{kind: renewToken, rejected: "sent"}},
		"bound tokens, which are not wanted": {refusal{status: unauthorized, challenge: dpop, sent: sent}, abilities{person: true}, decision{kind: renewToken, rejected: "sent"}},

		"scopes":                         {refusal{status: forbidden, challenge: forbiddenScope, sent: sent, stored: sent}, person, decision{kind: logIn, rejected: "sent", scopes: "write admin", once: "admin write"}},
		"scopes, stored elsewhere":       {refusal{status: forbidden, challenge: forbiddenScope, sent: sent, stored: wider}, person, decision{kind: useStored}},
		"scopes, others elsewhere":       {refusal{status: forbidden, challenge: forbiddenScope, sent: sent, stored: other}, person, decision{kind: logIn, rejected: "sent", scopes: "write admin", once: "admin write"}},
		"scopes, no person":              {refusal{status: forbidden, challenge: forbiddenScope, sent: sent, stored: sent}, alone, decision{kind: fail, says: `needs the scopes "write admin"`}},
		"scopes, one of them granted":    {refusal{status: forbidden, challenge: halfForbidden, sent: sent, stored: sent}, alone, decision{kind: fail, missing: "write"}},
		"scopes, no token, no person":    {refusal{status: forbidden, challenge: forbiddenScope, reason: "why"}, alone, decision{kind: fail, is: ErrLoginRequired, reason: "why"}},
		"scopes, a machine":              {refusal{status: forbidden, challenge: forbiddenScope, sent: sent, stored: sent}, machine, decision{kind: renewToken, rejected: "sent", scopes: "write admin", once: "admin write"}},
		"scopes, no token":               {refusal{status: forbidden, challenge: forbiddenScope, reason: "why"}, person, decision{kind: logIn}},
		"scopes, for one just obtained":  {refusal{status: forbidden, challenge: forbiddenScope, sent: sent, stored: sent, obtained: true}, person, decision{kind: logIn, rejected: "sent", scopes: "write admin", once: "admin write"}},
		"a kind of login":                {refusal{status: unauthorized, challenge: wantsMFA, sent: sent, stored: sent}, person, decision{kind: logIn, rejected: "sent", once: `login of the kind "mfa"`}},
		"a kind of login, with 403":      {refusal{status: forbidden, challenge: wantsMFA, sent: sent, stored: sent}, person, decision{kind: logIn, rejected: "sent", once: `login of the kind "mfa"`}},
		"a kind of login, elsewhere":     {refusal{status: unauthorized, challenge: wantsMFA, sent: sent, stored: other}, person, decision{kind: useStored}},
		"a kind of login, no person":     {refusal{status: unauthorized, challenge: wantsMFA, sent: sent, stored: sent}, alone, decision{kind: fail, is: ErrLoginRequired, says: `of the kind "mfa"`, require: wantsMFA.required}},
		"a kind of login, a machine":     {refusal{status: unauthorized, challenge: wantsMFA, sent: sent, stored: sent}, machine, decision{kind: fail, is: ErrAccessDenied}},
		"a kind of login, at a provider": {refusal{status: unauthorized, challenge: wantsMFA, sent: sent, stored: sent}, provided, decision{kind: logIn, rejected: "sent", once: `login of the kind "mfa"`}},
		"a kind of login, no token":      {refusal{status: unauthorized, challenge: wantsMFA, reason: "why"}, person, decision{kind: logIn}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.r.now = now
			tc.want.check(t, tc.r, decide(tc.r, tc.can))
		})
	}
}

// TestWhatADecisionRemembers: two demands for different claims are two, and the error for a third login says why.
func TestWhatADecisionRemembers(t *testing.T) {
	t.Parallel()
	r := refusal{status: http.StatusUnauthorized, challenge: &challenge{required: &record.Authentication{Claims: `{"a":1}`}}, sent: heldSession("sent"), now: time.Now()}
	first := decide(r, abilities{person: true})
	r.challenge = &challenge{required: &record.Authentication{Claims: `{"b":1}`}}
	if second := decide(r, abilities{person: true}); first.once == second.once {
		t.Errorf("both are %q", first.once)
	}
	r.challenge = forbiddenScope
	r.status = http.StatusForbidden
	e, ok := errors.AsType[*ScopeError](decide(r, abilities{person: true}).exhausted)
	if !ok || !e.Asked || !slices.Equal(e.Missing, forbiddenScope.scopes) {
		t.Errorf("got %v", e)
	}
}

// TestDecideAfterARenewal that found that a login is required.
func TestDecideAfterARenewal(t *testing.T) {
	t.Parallel()
	const over = "the server no longer accepts the refresh token"
	required := &LoginRequiredError{Reason: over}
	unknown := &LoginRequiredError{Reason: "unknown", Err: &Error{Op: OpToken, Code: "invalid_client"}}
	unfit := &LoginRequiredError{Reason: "unfit", Err: &Error{Code: "unauthorized_client"}}
	refused := &LoginRequiredError{Reason: "refused", Err: &Error{Code: "invalid_grant"}}
	none := func(r *record.Login) { r.RefreshToken = "" }
	machine := func(r *record.Login) { r.RefreshToken, r.Grant = "", "client_credentials" }
	ended := func(r *record.Login) { r.RefreshToken, r.LoginRequired = "", "ended" }
	person, fixed := abilities{person: true}, abilities{person: true, fixedClient: true}
	for name, tc := range map[string]struct {
		required *LoginRequiredError
		can      abilities
		sent     func(*record.Login)
		stored   func(*record.Login)
		want     actionKind
		reason   string
		require  bool
	}{
		"a person is asked":               {required: required, can: person, want: logIn},
		"no person":                       {required: required, want: fail, reason: over, require: true},
		"no person, no refresh token":     {required: required, sent: none, want: fail, reason: "the server no longer accepts the access token, and there is no refresh token", require: true},
		"no person, another grant":        {required: required, sent: machine, want: fail, reason: over, require: true},
		"no person, ended before":         {required: required, sent: ended, want: fail, reason: over, require: true},
		"no person, noted before":         {required: required, sent: none, stored: func(r *record.Login) { r.Required = noRequirement }, want: fail, reason: over},
		"a company's login":               {required: required, can: abilities{nonInteractive: true, provider: true}, want: fail, reason: over},
		"a fixed client that is unknown":  {required: unknown, can: fixed, want: fail, reason: "unknown"},
		"a fixed client that is unfit":    {required: unfit, can: fixed, want: fail, reason: "unfit"},
		"a fixed client, another refusal": {required: refused, can: fixed, want: logIn},
		"a fixed client, the login ended": {required: required, can: fixed, want: logIn},
		"a client that can be replaced":   {required: unknown, can: person, want: logIn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with := func(change func(*record.Login)) *session {
				if change == nil {
					return heldSession("sent")
				}
				return heldSession("sent", change)
			}
			sent := with(tc.sent)
			all := []*session{nil, sent} // what is stored is not known, or the same
			if tc.stored != nil {
				all = []*session{with(tc.stored)}
			}
			for _, stored := range all {
				r := refusal{status: http.StatusUnauthorized, challenge: &challenge{bearer: true}, sent: sent, stored: stored, now: time.Now()}
				a := r.afterRenewal(tc.can, tc.required)
				if a.kind != tc.want || (a.require != nil) != tc.require {
					t.Errorf("kind %d, require %v", a.kind, a.require)
				}
				if e, ok := errors.AsType[*LoginRequiredError](a.err); a.kind == fail && (!ok || e.Reason != tc.reason) {
					t.Errorf("got %v, want the reason %q", a.err, tc.reason)
				}
				if a.kind == logIn && a.login.rejected != "sent" {
					t.Errorf("the login is for %+v", a.login)
				}
			}
		})
	}
}

// TestStepBudget: each demand once, and not for too many.
func TestStepBudget(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	scoped := func(r *record.Login) { r.Scopes, r.RequestedScopes = []string{"a"}, []string{"a"} }
	s := heldSession("now", scoped)
	ended := heldSession("now", scoped, func(r *record.Login) { r.LoginRequired = "over" })
	demanded := heldSession("now", scoped, func(r *record.Login) { r.Required = &record.Authentication{} })
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
