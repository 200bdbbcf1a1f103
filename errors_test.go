package mcpoauth

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// TestTextsOfErrors say each thing once.
func TestTextsOfErrors(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"it failed":                         &Error{Message: "it failed", Status: 500},
		"it failed (https://a)":             &Error{Message: "it failed", URL: "https://a"},
		"it failed (https://a, status 500)": &Error{Message: "it failed", URL: "https://a", Status: 500},
		"https://a failed":                  &Error{Message: "https://a failed", URL: "https://a", Status: 500},
		"it failed: invalid_x":              &Error{Message: "it failed", Code: "invalid_x"},
		"invalid_x it is":                   &Error{Message: "invalid_x it is", Code: "invalid_x"},
		`it failed: the server says "no"`:   &Error{Message: "it failed", Description: "no"},
		"no, it failed":                     &Error{Message: "no, it failed", Description: "no"},
		"down":                              &TemporaryError{Err: errors.New("down")},
		"down (try again in 7s)":            &TemporaryError{RetryAfter: 7 * time.Second, Err: errors.New("down")},
		"login required for https://a: why": &LoginRequiredError{ServerURL: "https://a", Reason: "why"},
		`https://a needs the scopes "x y"`:  &ScopeError{ServerURL: "https://a", Missing: []string{"x", "y"}},
		`https://a still demands scopes that it does not name, after a login`: &ScopeError{ServerURL: "https://a", Asked: true},
		`https://a needs scopes that it does not name`:                        &ScopeError{ServerURL: "https://a"},
		`https://a still refuses the scopes "x" after a login for them`:       &ScopeError{ServerURL: "https://a", Missing: []string{"x"}, Asked: true},
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

// TestDecisionsByErrors: errors.Is finds each decision, and no other.
func TestDecisionsByErrors(t *testing.T) {
	t.Parallel()
	all := []error{ErrLoginRequired, ErrAccessDenied, ErrTemporary, ErrNoOAuth, ErrClosed, ErrLoginExists}
	for is, err := range map[error]error{ErrLoginRequired: &LoginRequiredError{}, ErrTemporary: &TemporaryError{Err: errors.New("x")}, ErrClosed: errClosed} {
		for _, target := range all {
			if errors.Is(fmt.Errorf("wrapped: %w", err), target) != errors.Is(target, is) {
				t.Errorf("%T is %v", err, target)
			}
		}
	}
	cause := errors.New("cause")
	for _, err := range []error{&LoginRequiredError{Err: cause}, &TemporaryError{Err: cause}, &Error{Err: cause}, &OptionError{Err: cause}} {
		if !errors.Is(err, cause) {
			t.Errorf("%T hides its cause", err)
		}
	}
	if Hint(fmt.Errorf("x: %w", &Error{Hint: "do it"})) != "do it" || Hint(&OptionError{Hint: "set it"}) != "set it" || Hint(cause) != "" || Hint(&BoundTokenError{}) == "" {
		t.Error("hints are not found")
	}
}

// TestFaultsAsErrors: each stage is a step, and a refusal or a fault that may pass stays one.
func TestFaultsAsErrors(t *testing.T) {
	t.Parallel()
	for stage, op := range map[wire.Stage]Op{
		wire.StageToken: OpToken, wire.StageDiscovery: OpDiscovery, wire.StageRegistration: OpRegistration, wire.StageRevocation: OpRevocation,
		wire.StageAuthorization: OpAuthorization, wire.StagePushedRequest: OpAuthorization,
	} {
		f := &wire.Fault{Stage: stage, URL: "https://a", Status: 400, Code: "access_denied", Description: "d", Message: "m", Hint: "h", NotOffered: true, Tried: []wire.Attempt{{URL: "https://t"}}, Err: http.ErrNoCookie}
		e, ok := errors.AsType[*Error](publicError(f))
		if !ok || e.Op != op || e.URL != f.URL || e.Status != 400 || e.Code != f.Code || e.Description != "d" || e.Message != "m" || e.Hint != "h" || !errors.Is(e, http.ErrNoCookie) {
			t.Errorf("%v: %+v", stage, e)
		}
		if errors.Is(e, ErrAccessDenied) != (op == OpAuthorization) || errors.Is(e, ErrNoOAuth) != (op == OpDiscovery) || (len(e.Tried) == 1) != (op == OpDiscovery) || errors.Is(publicError(f), ErrTemporary) {
			t.Errorf("%v: %v", stage, e)
		}
		f.Temporary, f.RetryAfter, f.Code, f.NotOffered = true, time.Second, "other", false
		temporary, ok := errors.AsType[*TemporaryError](publicError(f))
		if !ok || temporary.RetryAfter != time.Second || errors.Is(temporary, ErrAccessDenied) || errors.Is(temporary, ErrNoOAuth) {
			t.Errorf("%v: %v", stage, temporary)
		}
	}
	plain := errors.New("plain")
	if !errors.Is(publicError(plain), plain) || !errors.Is(faultOf(plain).Err, plain) || faultOf(plain).Message != "plain" {
		t.Error("an error that is no fault changes")
	}
	if f := (&wire.Fault{Code: "x"}); faultOf(fmt.Errorf("wrapped: %w", f)) != f {
		t.Error("a fault is not found")
	}
}
