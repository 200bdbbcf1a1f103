package mcpoauth_test

import (
	"errors"

	"github.com/mcpoauth/mcpoauth"
)

// errorAt reports whether err is, or wraps, an Error of the step op, which it stores in e.
func errorAt(err error, op mcpoauth.Op, e **mcpoauth.Error) bool {
	return errors.As(err, e) && (*e).Op == op
}
