// Package store has the contract between a client and the place where its logins are kept, and the
// encoding of what is kept.
//
// A store moves bytes. It promises three things that a login shared by many processes lives on: a
// save is atomic and compares the revision first, a lock excludes across all processes that share
// the store, and a record that cannot be read is never taken for one that is not there.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
)

// Kind is what a record is.
type Kind string

const (
	// KindLogin is a login: its ID is the server's canonical URL, plus a resource override.
	KindLogin Kind = "login"
	// KindRegistration is a dynamic registration: issuer and redirect URI without port.
	KindRegistration Kind = "registration"
	// KindPending is something under way: a login begun, or a refresh sent.
	KindPending Kind = "pending"
	// KindIdentityProvider is a login at an identity provider: its issuer.
	KindIdentityProvider Kind = "idp"
)

// Key names a record.
type Key struct {
	// Kind of the record. It must not be empty.
	Kind Kind
	// ID within the kind. It must not be empty. It may hold any bytes.
	ID string
	// Profile keeps accounts apart. Stores that several users share refuse an empty one.
	Profile string
}

// Digest returns the SHA-256 of the key, in hex: 64 characters that are safe anywhere.
func (k Key) Digest() string {
	h := sha256.New()
	for _, part := range []string{string(k.Kind), k.ID, k.Profile} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// String returns the key for messages.
func (k Key) String() string {
	if k.Profile == "" {
		return fmt.Sprintf("%s %q", k.Kind, k.ID)
	}
	return fmt.Sprintf("%s %q (profile %q)", k.Kind, k.ID, k.Profile)
}

// Revision numbers the saves of a record. 0 means that there is none.
type Revision uint64

// Filter selects keys. The zero value selects all.
type Filter struct {
	// Kind selects one kind, "" all.
	Kind Kind
	// Profiles selects these profiles, nil all.
	Profiles []string
}

// Match reports whether the filter selects a key.
func (f Filter) Match(k Key) bool {
	if f.Kind != "" && f.Kind != k.Kind {
		return false
	}
	return f.Profiles == nil || slices.Contains(f.Profiles, k.Profile)
}

// Store keeps records. All methods MUST be safe for concurrent use, from any number of processes if
// the store is shared by them, and MUST return promptly with ctx's error when ctx ends, except that a
// save that has begun may finish. Package storetest has this contract as tests.
type Store interface {
	// Load returns a record and its revision. Without one the error is ErrNotFound; any other error
	// means that it is not known whether there is one. The caller may change the bytes.
	Load(ctx context.Context, key Key) (data []byte, rev Revision, err error)

	// Save writes a record whole or not at all, and returns its new revision. rev must be the stored
	// one, 0 if there is none; else the error is ErrConflict and nothing is written. A revision MUST
	// NOT be given out twice for one key, deletion included. When Save returns, the record survives
	// the process, and for durable stores the machine. The bytes are not kept.
	Save(ctx context.Context, key Key, data []byte, rev Revision) (Revision, error)

	// Delete removes a record. With rev 0 it removes whatever is there, and its absence is no error;
	// otherwise rev must be the stored revision, else the error is ErrConflict.
	Delete(ctx context.Context, key Key, rev Revision) error

	// List yields the keys that the filter selects, in no order. What cannot be read is yielded as an
	// error, and the listing goes on if it can.
	List(ctx context.Context, f Filter) iter.Seq2[Key, error]

	// Lock waits until it holds the lock called name beside key, and excludes all other holders, in
	// other processes too. held ends when the lock is lost or unlocked. The lock of a process that
	// dies is free at once, or after its lease. A lock is not needed for Load, Save or Delete, and
	// there need not be a record. unlock may be called more than once.
	Lock(ctx context.Context, key Key, name string) (held context.Context, unlock func() error, err error)
}

// Prober is a Store that can say whether it takes records, before something expensive is done.
type Prober interface {
	// Probe returns why the store cannot be written, nil if it can.
	Probe(ctx context.Context) error
}

var (
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("no such record")
	// ErrConflict means that the stored revision is another one.
	ErrConflict = errors.New("the record was changed by somebody else")
	// ErrProfileRequired means that a store which several users share was asked for a record without a
	// profile.
	ErrProfileRequired error = profileRequired{}
)

type profileRequired struct{}

func (profileRequired) Error() string {
	return "this store is shared between users, and no profile is set: logins of different people would mix"
}

// HintText says what to do.
func (profileRequired) HintText() string {
	return "set a profile for the user: --profile NAME, MCPOAUTH_PROFILE or Options.Profile"
}

// CorruptError means that a record cannot be decoded. The record is left as it is.
type CorruptError struct {
	// Path says where it lies, if it has a place.
	Path string
	// Err says what is wrong.
	Err error
}

// Error implements error.
func (e *CorruptError) Error() string {
	if e.Path == "" {
		return "the record is damaged: " + e.Err.Error()
	}
	return "the record in " + e.Path + " is damaged: " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *CorruptError) Unwrap() error { return e.Err }

// IsCorrupt reports whether err means that a record cannot be decoded (a [CorruptError]).
func IsCorrupt(err error) bool {
	_, corrupt := errors.AsType[*CorruptError](err)
	return corrupt
}

// HintText says what to do.
func (e *CorruptError) HintText() string {
	return "log in again: the damaged record is set aside, not deleted; other logins are not affected"
}

// SealedError means that package sealed has sealed a record, and it is read without that package. It is
// neither damaged nor absent: no login replaces it.
type SealedError struct{}

// Error implements error.
func (*SealedError) Error() string { return "the record is sealed, and no key was given" }

// HintText says what to do.
func (*SealedError) HintText() string {
	return "give the key that it was sealed with: --seal or MCPOAUTH_SEAL (package sealed)"
}

// VersionError means that a record was written by a newer version of this module.
type VersionError struct {
	// Path says where it lies, if it has a place.
	Path string
	// Format is the record's, Known the highest this version reads.
	Format, Known int
}

// Error implements error.
func (e *VersionError) Error() string {
	where := ""
	if e.Path != "" {
		where = " in " + e.Path
	}
	return fmt.Sprintf("the record%s has format %d; this version reads up to %d", where, e.Format, e.Known)
}

// HintText says what to do.
func (e *VersionError) HintText() string {
	return "use the newer version of the program that wrote it, or remove it with the clear command"
}

// UnreachableError means that the server behind a store cannot be reached for now. Nothing is known about
// the record; trying again may help.
type UnreachableError struct {
	// Server names the kind of server: "redis", "postgres".
	Server string
	// Err is the cause.
	Err error
}

// Error implements error.
func (e *UnreachableError) Error() string { return e.Server + " cannot be reached: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// HintText says what to do.
func (e *UnreachableError) HintText() string {
	return "check the address of the store and that its server runs; the logins in it are not affected"
}

// Unreachable returns err as an UnreachableError if it is a fault of the network, and else with the server's
// name before it. It is for stores whose server lies behind a network.
func Unreachable(server string, err error) error {
	_, op := errors.AsType[*net.OpError](err)
	_, dns := errors.AsType[*net.DNSError](err)
	if op || dns || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed) {
		return &UnreachableError{Server: server, Err: err}
	}
	return fmt.Errorf("%s: %w", server, err)
}
