package keyringstore

import "errors"

// ErrNoSecret means that the keyring works and has no such secret.
var ErrNoSecret = errors.New("no such secret in the keyring")

// UnavailableError means that no keyring can be used.
type UnavailableError struct {
	// Reason says what is missing.
	Reason string
	// Err is the system's, if there is one.
	Err error
}

// Error implements error.
func (e *UnavailableError) Error() string {
	return "the system's keyring is not available: " + e.Reason
}

// Unwrap returns the system's error.
func (e *UnavailableError) Unwrap() error { return e.Err }

// HintText says what to do.
func (e *UnavailableError) HintText() string {
	return "unlock or start the keyring; without one use --store file, sealed with a key file (--seal file:PATH) if need be"
}

// KeyLostError means that there are sealed records, but their key is no longer in the keyring.
type KeyLostError struct {
	// Dir has the records.
	Dir string
	// Err is the *sealed.KeyError of a record if the keyring has a key, but another one; else nil.
	Err error
}

// Error implements error.
func (e *KeyLostError) Error() string {
	what := "the key of the logins in " + e.Dir + " is no longer in the keyring"
	if e.Err != nil {
		what += ", which has another one: " + e.Err.Error()
	}
	return what
}

// Unwrap returns the record's error.
func (e *KeyLostError) Unwrap() error { return e.Err }

// HintText says what to do.
func (e *KeyLostError) HintText() string {
	return "bring the keyring back (another user's session, a reset password?); if it is lost, forget the logins with: mcpoauth clear --all --client --store keyring, and log in again"
}
