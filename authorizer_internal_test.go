package mcpoauth

import (
	"net/http"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

// TestWhichStoredLoginServes a login that has its turn.
func TestWhichStoredLoginServes(t *testing.T) {
	t.Parallel()
	good := heldSession("good")
	expired := heldSession("good", func(r *record.Login) { r.Expiry = time.Now().Add(-time.Minute) })
	demanded := heldSession("good", func(r *record.Login) { r.Required = noRequirement })
	bound := heldSession("good")
	bound.binding = &binding{}
	dpop, plain := &challenge{dpop: true}, &challenge{}
	for name, tc := range map[string]struct {
		r    loginRequest
		s    *session
		want bool
	}{
		"a good one":                    {loginRequest{known: "good"}, good, true},
		"forced":                        {loginRequest{known: "other", force: true}, good, false},
		"expired":                       {loginRequest{known: "other"}, expired, false},
		"the rejected one":              {loginRequest{known: "other", rejected: "good"}, good, false},
		"the known one, another reject": {loginRequest{known: "good", rejected: "other"}, good, false},
		"one made since the rejection":  {loginRequest{known: "other", rejected: "other"}, good, true},
		"without the scopes":            {loginRequest{known: "other", scopes: []string{"write"}}, good, false},
		"with the scopes, made since":   {loginRequest{known: "other", scopes: []string{"read"}}, good, true},
		"with the scopes, known":        {loginRequest{known: "good", scopes: []string{"read"}}, good, false},
		"demanded, known":               {loginRequest{known: "good"}, demanded, false},
		"demanded, made since":          {loginRequest{known: "other"}, demanded, true},
		"not bound":                     {loginRequest{known: "other", challenge: dpop}, good, false},
		"bound":                         {loginRequest{known: "other", challenge: dpop}, bound, true},
		"no binding is demanded":        {loginRequest{known: "other", challenge: plain}, good, true},
	} {
		if got := tc.r.settledBy(tc.s); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestLoginsThatDiffer have keys that differ, so that none is taken for another.
func TestLoginsThatDiffer(t *testing.T) {
	t.Parallel()
	keys := map[string]string{}
	for name, r := range map[string]loginRequest{
		"none": {}, "forced": {force: true}, "a new client": {force: true, newClient: true}, "scopes": {scopes: []string{"a", "b"}}, "one scope": {scopes: []string{"a b"}},
		"rejected": {rejected: "x"}, "a challenge": {challenge: &challenge{}}, "bound": {challenge: &challenge{dpop: true}}, "a challenge's scope": {challenge: &challenge{scopes: []string{"a"}}},
		"a kind of login": {challenge: &challenge{required: &record.Authentication{ACRValues: "mfa"}}}, "a new login": {challenge: &challenge{required: &record.Authentication{MaxAge: "0"}}},
	} {
		if other, ok := keys[r.key()]; ok {
			t.Errorf("%s and %s are the same: %s", name, other, r.key())
		}
		keys[r.key()] = name
	}
	tokens := map[string]bool{}
	for _, r := range []tokenRequest{{}, {rejected: "x"}, {scopes: []string{"x"}}, {challenge: &challenge{dpop: true}}} {
		if tokens[r.key()] {
			t.Errorf("%s is twice there", r.key())
		}
		tokens[r.key()] = true
	}
}

// TestWhichTokenServes a request for a token.
func TestWhichTokenServes(t *testing.T) {
	t.Parallel()
	good := heldSession("good", func(r *record.Login) { r.RequestedScopes = []string{"read", "asked"} })
	bound := heldSession("good")
	bound.binding = &binding{}
	expired := heldSession("good", func(r *record.Login) { r.Expiry = time.Now().Add(-time.Minute) })
	dpop := &challenge{dpop: true}
	for name, tc := range map[string]struct {
		r    tokenRequest
		s    *session
		want bool
	}{
		"any":                     {tokenRequest{}, good, true},
		"the rejected one":        {tokenRequest{rejected: "good"}, good, false},
		"expired":                 {tokenRequest{}, expired, false},
		"none":                    {tokenRequest{}, nil, false},
		"a scope that it has":     {tokenRequest{scopes: []string{"read"}}, good, true},
		"one that was asked for":  {tokenRequest{scopes: []string{"asked"}}, good, true},
		"another scope":           {tokenRequest{scopes: []string{"write"}}, good, false},
		"bound, and it is not":    {tokenRequest{challenge: dpop}, good, false},
		"bound, and it is":        {tokenRequest{challenge: dpop}, bound, true},
		"a challenge for another": {tokenRequest{challenge: &challenge{}}, good, true},
	} {
		if got := tc.r.satisfiedBy(tc.s, time.Now()); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestWhatALoginDemands of the person's authentication: the challenge, else what was noted for the same issuer.
func TestWhatALoginDemands(t *testing.T) {
	t.Parallel()
	noted := &record.Authentication{ACRValues: "noted"}
	f := &discovered{Result: resultOf("https://as.example.com"), challenge: &challenge{}}
	previous := &record.Login{Issuer: "https://as.example.com", Required: noted}
	if got := requirementFor(f, previous); got != noted {
		t.Errorf("noted: %v", got)
	}
	if got := requirementFor(f, &record.Login{Issuer: "https://other.example.com", Required: noted}); got != nil {
		t.Errorf("noted for another issuer: %v", got)
	}
	if got := requirementFor(f, nil); got != nil {
		t.Errorf("nothing: %v", got)
	}
	f.challenge = wantsMFA
	if got := requirementFor(f, previous); got != wantsMFA.required {
		t.Errorf("the challenge: %v", got)
	}
}

// TestWhichLoginsAreTriedOnce: each demand once, few demands, all anew after a success.
func TestWhichLoginsAreTriedOnce(t *testing.T) {
	t.Parallel()
	var b stepBudget
	for range 20 {
		if !b.take("") {
			t.Fatal("what no server demands is not limited")
		}
	}
	for i, demand := range []string{"a", "b", "c", "d", "e"} {
		if !b.take(demand) || b.take(demand) {
			t.Errorf("demand %d", i)
		}
	}
	if b.take("f") {
		t.Error("there is no end")
	}
	b.reset()
	if !b.take("a") || !b.take("f") {
		t.Error("a success does not begin anew")
	}
}

// TestWhatARefusalIs: only 401 and 403.
func TestWhatARefusalIs(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{http.StatusUnauthorized: true, http.StatusForbidden: true, http.StatusOK: false, http.StatusNotFound: false, http.StatusPaymentRequired: false} {
		if refused(status) != want {
			t.Errorf("%d", status)
		}
	}
}
