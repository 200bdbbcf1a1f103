package mcpoauth

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Decisions a caller takes with errors.Is.
var (
	// ErrLoginRequired means that there is no usable login and nobody may be asked.
	ErrLoginRequired = errors.New("login required")
	// ErrAccessDenied means that the person or the authorization server refused.
	ErrAccessDenied = errors.New("access denied")
	// ErrTemporary means that trying again later may help. See [TemporaryError].
	ErrTemporary = errors.New("temporary failure")
	// ErrNoOAuth means that the server offers no OAuth that could be found.
	ErrNoOAuth = errors.New("the server offers no OAuth")
	// ErrClosed means that the Client was closed.
	ErrClosed = errors.New("client is closed")
)

// TemporaryError is a fault that may pass: the network, a rate limit, a server in trouble. It
// ends no login. errors.Is(err, ErrTemporary) reports true.
type TemporaryError struct {
	// RetryAfter is how long the server asked to wait, at most a minute; 0 when it did not say.
	RetryAfter time.Duration
	// Err is the fault.
	Err error
}

// Error implements error.
func (e *TemporaryError) Error() string {
	if e.RetryAfter > 0 {
		return fmt.Sprintf("%v (try again in %v)", e.Err, e.RetryAfter.Round(time.Second))
	}
	return e.Err.Error()
}

// Unwrap returns the fault.
func (e *TemporaryError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrTemporary].
func (e *TemporaryError) Is(target error) bool { return target == ErrTemporary }

// LoginRequiredError says why and for what a login is needed. errors.Is(err, ErrLoginRequired)
// reports true.
type LoginRequiredError struct {
	// ServerURL and Profile identify the login.
	ServerURL, Profile string
	// Reason is why there is none, in a few words.
	Reason string
	// Err is what led there, if anything did.
	Err error
}

// Error implements error.
func (e *LoginRequiredError) Error() string {
	return fmt.Sprintf("login required for %s: %s", e.ServerURL, e.Reason)
}

// Unwrap returns what led there.
func (e *LoginRequiredError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrLoginRequired].
func (e *LoginRequiredError) Is(target error) bool { return target == ErrLoginRequired }

// ScopeError means that the server wants scopes the login does not have and nobody may be asked,
// or that asking did not help (MCP authorization, scope challenge handling).
type ScopeError struct {
	// ServerURL identifies the server.
	ServerURL string
	// Missing are the scopes the server asked for and the login lacks.
	Missing []string
	// Asked reports whether a login for them was already tried.
	Asked bool
}

// Error implements error.
func (e *ScopeError) Error() string {
	if e.Asked {
		return fmt.Sprintf("%s still refuses the scopes %q after a login for them", e.ServerURL, strings.Join(e.Missing, " "))
	}
	return fmt.Sprintf("%s needs the scopes %q", e.ServerURL, strings.Join(e.Missing, " "))
}

// Fact is what the typed errors have in common.
type Fact struct {
	// URL is what was asked, without its query.
	URL string
	// Status is the HTTP status, 0 without a response.
	Status int
	// Code is the error code of RFC 6749 section 5.2 and its relatives, if the server sent one.
	Code string
	// Description is the server's own text: one line, cleaned and cut.
	Description string
	// Message is what happened.
	Message string
	// Hint is what to do about it. It may be empty.
	Hint string
	// Err is the cause, if there is one.
	Err error
}

// Error implements error.
func (f *Fact) Error() string {
	var b strings.Builder
	b.WriteString(f.Message)
	if f.URL != "" && !strings.Contains(f.Message, f.URL) {
		fmt.Fprintf(&b, " (%s", f.URL)
		if f.Status != 0 {
			fmt.Fprintf(&b, ", status %d", f.Status)
		}
		b.WriteString(")")
	}
	if f.Code != "" && !strings.Contains(f.Message, f.Code) {
		fmt.Fprintf(&b, ": %s", f.Code)
	}
	if f.Description != "" && !strings.Contains(f.Message, f.Description) {
		fmt.Fprintf(&b, ": the server says %q", f.Description)
	}
	return b.String()
}

// Unwrap returns the cause.
func (f *Fact) Unwrap() error { return f.Err }

// HintText returns the hint.
func (f *Fact) HintText() string { return f.Hint }

// DiscoveryError is a fault in the server's metadata (RFC 9728, RFC 8414).
type DiscoveryError struct {
	Fact
	// Tried are the URLs that were asked, in order.
	Tried []Attempt
}

// Attempt is one URL that discovery asked.
type Attempt struct {
	// URL that was asked.
	URL string
	// Status of the answer, 0 without one.
	Status int
	// ContentType of the answer.
	ContentType string
	// Outcome says what became of it.
	Outcome string
	// Duration of the exchange.
	Duration time.Duration
}

// RegistrationError is a fault in the registration of the client (RFC 7591).
type RegistrationError struct{ Fact }

// AuthorizationError is a fault in the authorization response (RFC 6749 section 4.1.2.1) or in
// what leads to it.
type AuthorizationError struct{ Fact }

// TokenError is a fault at the token or revocation endpoint (RFC 6749 section 5.2, RFC 7009).
type TokenError struct{ Fact }

// Hint returns what to do about err, or "".
func Hint(err error) string {
	var h interface{ HintText() string }
	if errors.As(err, &h) {
		return h.HintText()
	}
	return ""
}
