package mcpoauth

import (
	"errors"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// faultOf returns the fault of a stage, or wraps what is none.
func faultOf(err error) *wire.Fault {
	var f *wire.Fault
	if errors.As(err, &f) {
		return f
	}
	return &wire.Fault{Message: err.Error(), Err: err}
}

// publicError turns the fault of a stage into the package's typed errors.
func publicError(err error) error {
	var f *wire.Fault
	if !errors.As(err, &f) {
		return err
	}
	fact := Fact{URL: f.URL, Status: f.Status, Code: f.Code, Description: f.Description, Message: f.Message, Hint: f.Hint, Err: f.Err}
	var typed error
	switch f.Stage {
	case "discovery":
		d := &DiscoveryError{Fact: fact}
		for _, a := range f.Tried {
			d.Tried = append(d.Tried, Attempt(a))
		}
		if f.NotOffered {
			d.Err = errors.Join(ErrNoOAuth, f.Err)
		}
		typed = d
	case "registration":
		typed = &RegistrationError{Fact: fact}
	case "authorization", "par":
		if f.Code == "access_denied" {
			fact.Err = errors.Join(ErrAccessDenied, f.Err)
		}
		typed = &AuthorizationError{Fact: fact}
	default:
		typed = &TokenError{Fact: fact}
	}
	if f.Temporary {
		return &TemporaryError{RetryAfter: f.RetryAfter, Err: typed}
	}
	return typed
}
