package mcpoauth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Decisions that a caller makes with errors.Is.
var (
	// ErrLoginRequired means that there is no usable login and that no person may be asked. See [LoginRequiredError].
	ErrLoginRequired = errors.New("login required")
	// ErrAccessDenied means that the person or the authorization server denied access.
	ErrAccessDenied = errors.New("access denied")
	// ErrTemporary means that trying again later may help, and that no login has ended. See [TemporaryError].
	ErrTemporary = errors.New("temporary failure")
	// ErrTokenRejected means that the MCP server refuses an access token that was just issued for it. If it happens in an
	// MCP session, a new session may help: some servers answer 401 to a session that they do not know.
	ErrTokenRejected = errors.New("a new access token is rejected")
	// ErrNoOAuth means that no OAuth could be found at the server.
	ErrNoOAuth = errors.New("the server offers no OAuth")
	// ErrClosed means that the Client was closed.
	ErrClosed = errors.New("client is closed")
	// ErrLoginExists means that [Client.Import] found a login and did not replace it.
	ErrLoginExists = errors.New("there is a login to this server already")
)

// Op is the step of the protocol in which an [Error] occurred.
type Op string

const (
	// OpDiscovery is reading the challenge and the metadata (RFC 9728, RFC 8414).
	OpDiscovery Op = "discovery"
	// OpRegistration is the registration of the client (RFC 7591, RFC 7592).
	OpRegistration Op = "registration"
	// OpAuthorization is the authorization request and its response (RFC 6749 section 4.1).
	OpAuthorization Op = "authorization"
	// OpToken is the token endpoint, or the use of a token it issued (RFC 6749 section 5, RFC 6750).
	OpToken Op = "token"
	// OpRevocation is the revocation endpoint (RFC 7009).
	OpRevocation Op = "revocation"
)

// Error is a failure in one step of the protocol. errors.Is finds the decision in it ([ErrAccessDenied],
// [ErrNoOAuth]) or around it ([ErrTemporary]).
type Error struct {
	// Op is the step.
	Op Op
	// URL is what was requested, without its query. It may be empty.
	URL string
	// Status is the HTTP status, 0 without a response.
	Status int
	// Code is the server's error code (RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1), empty without one.
	Code string
	// Description is the server's error_description: one line without control characters, cut to a limit.
	Description string
	// Message is what happened.
	Message string
	// Hint is what to do about it. It may be empty.
	Hint string
	// Tried are the metadata URLs that discovery requested, in order; nil for other steps.
	Tried []Attempt
	// Err is the cause, if there is one.
	Err error
}

// Attempt is one URL that discovery requested.
type Attempt struct {
	// URL is what was requested.
	URL string
	// Status is the response's HTTP status, 0 without one.
	Status int
	// ContentType is the response's.
	ContentType string
	// Outcome is how the response was used, or why it was not.
	Outcome string
	// Duration is how long the exchange took.
	Duration time.Duration
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.URL != "" && !strings.Contains(e.Message, e.URL) {
		fmt.Fprintf(&b, " (%s", e.URL)
		if e.Status != 0 {
			fmt.Fprintf(&b, ", status %d", e.Status)
		}
		b.WriteString(")")
	}
	if e.Code != "" && !strings.Contains(e.Message, e.Code) {
		fmt.Fprintf(&b, ": %s", e.Code)
	}
	if e.Description != "" && !strings.Contains(e.Message, e.Description) {
		fmt.Fprintf(&b, ": the server says %q", e.Description)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// HintText returns the hint.
func (e *Error) HintText() string { return e.Hint }

// TemporaryError is a fault that may pass: the network, a rate limit, a server in trouble. It ends no
// login. errors.Is(err, ErrTemporary) reports true.
type TemporaryError struct {
	// RetryAfter is how long to wait before the next attempt, at most a minute; 0 is unknown.
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

// LoginRequiredError is the reason why a person must log in. errors.Is(err, ErrLoginRequired) reports true.
type LoginRequiredError struct {
	// ServerURL and Profile identify the login.
	ServerURL, Profile string
	// Reason is why there is no usable login, in a few words.
	Reason string
	// Err is the cause, if there is one.
	Err error
}

// Error implements error.
func (e *LoginRequiredError) Error() string {
	return fmt.Sprintf("login required for %s: %s", e.ServerURL, e.Reason)
}

// Unwrap returns the cause.
func (e *LoginRequiredError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrLoginRequired].
func (e *LoginRequiredError) Is(target error) bool { return target == ErrLoginRequired }

// ScopeError means that the server demands scopes that the login does not have and no person may be asked,
// or that a login for them did not help (MCP authorization, scope challenge handling).
type ScopeError struct {
	// ServerURL identifies the server.
	ServerURL string
	// Missing are the scopes that the server demands and the login lacks. It is empty if the server names none.
	Missing []string
	// Asked reports whether a login for them was already tried.
	Asked bool
}

// Error implements error.
func (e *ScopeError) Error() string {
	scopes := fmt.Sprintf("the scopes %q", strings.Join(e.Missing, " "))
	if len(e.Missing) == 0 {
		scopes = "scopes that it does not name"
	}
	switch {
	case !e.Asked:
		return fmt.Sprintf("%s needs %s", e.ServerURL, scopes)
	case len(e.Missing) == 0:
		return fmt.Sprintf("%s still demands %s, after a login", e.ServerURL, scopes)
	}
	return fmt.Sprintf("%s still refuses %s after a login for them", e.ServerURL, scopes)
}

// BoundTokenError means that a caller asked for a token by itself that can only be used with the key that it is bound
// to (RFC 9449).
type BoundTokenError struct {
	// ServerURL identifies the login.
	ServerURL string
}

// Error implements error.
func (e *BoundTokenError) Error() string {
	return "the access token for " + e.ServerURL + " is bound to a key (DPoP) and cannot be used by itself"
}

// HintText returns what to use instead.
func (e *BoundTokenError) HintText() string {
	return "send requests through mcpoauth run or mcpoauth proxy (Client.HTTPClient), which prove possession of the key; --dpop never (Options.DPoP) requests a plain token at the next login, if the server allows it"
}

// OptionError means that an option, or the server URL, cannot be used.
type OptionError struct {
	// Option is the option's name, as in "Client.Secret", or "server URL".
	Option string
	// Hint is what to do about it. It may be empty.
	Hint string
	// Err is what is wrong with it.
	Err error
}

// Error implements error.
func (e *OptionError) Error() string { return "mcpoauth: " + e.Option + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *OptionError) Unwrap() error { return e.Err }

// HintText returns the hint.
func (e *OptionError) HintText() string { return e.Hint }

func optionError(option string, err error, hint string) error {
	return &OptionError{Option: option, Err: err, Hint: hint}
}

// Hint returns what to do about err, "" if that is unknown. It finds the hints in this package's errors and in the
// stores'.
func Hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		HintText() string
	}](err); ok {
		return h.HintText()
	}
	return ""
}

// faultOf returns the fault of a stage, or wraps an error that is none.
func faultOf(err error) *wire.Fault {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return f
	}
	return &wire.Fault{Message: err.Error(), Err: err}
}

// publicError turns the fault of a stage into the package's typed errors.
func publicError(err error) error {
	f, ok := errors.AsType[*wire.Fault](err)
	if !ok {
		return err
	}
	e := &Error{Op: OpToken, URL: f.URL, Status: f.Status, Code: f.Code, Description: f.Description, Message: f.Message, Hint: f.Hint, Err: f.Err}
	switch f.Stage {
	case wire.StageToken:
	case wire.StageDiscovery:
		e.Op = OpDiscovery
		for _, a := range f.Tried {
			e.Tried = append(e.Tried, Attempt(a))
		}
		if f.NotOffered {
			e.Err = errors.Join(ErrNoOAuth, f.Err)
		}
	case wire.StageRegistration:
		e.Op = OpRegistration
	case wire.StageRevocation:
		e.Op = OpRevocation
	case wire.StageAuthorization, wire.StagePushedRequest:
		e.Op = OpAuthorization
		if f.Code == "access_denied" {
			e.Err = errors.Join(ErrAccessDenied, f.Err)
		}
	}
	if f.Temporary {
		return &TemporaryError{RetryAfter: f.RetryAfter, Err: e}
	}
	return e
}
