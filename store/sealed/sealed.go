// Package sealed encrypts the records of another store.
//
// It promises that a reader of the other store learns neither tokens nor client secrets from it,
// and cannot change a record or put one in another's place without its being noticed: each value is
// sealed with AES-256-GCM under a key of its own, derived with HKDF-SHA256 from the master key and the
// record's key, and bound to that. What stays visible is what a store needs to find a record: its
// kind, the server's URL, the profile, and when it was saved. Anyone who can write to the other store can
// delete records and bring back older values of the same one. Nonces are random, 96 bits of them; since
// each record has a key of its own, the limit that sets is 2^32 saves of one record.
//
// Several keys may be given: the first seals, all of them open, and [Store.Reseal] moves what is
// stored to the first. A key comes from a file ([KeyFile]), an environment variable ([KeyEnv]), a
// passphrase ([Passphrase]) or the system's keyring (package keyringstore). A record that is sealed
// with a key that is not there is a [KeyError]; it is never taken for a damaged or missing one, so
// no login replaces it. A value that is not sealed is [ErrNotSealed], unless [Options.AllowPlain] is set.
//
// A value names its format and its key's ID, and a passphrase's salt. The cost of a passphrase (Argon2id,
// 64 MiB, three passes, four lanes) belongs to the format: a later one may raise it, and what this one
// sealed still opens.
//
// Choose it where files are backed up or shared in the clear, and for Redis or PostgreSQL that others
// may read. On a person's own machine keyringstore does the same with a key nobody has to keep.
package sealed

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/mcpoauth/mcpoauth/store"
)

// version is the format of a sealed value.
const version = 1

// sealedPrefix is how every sealed value begins. What does so is never taken for a plain one.
const sealedPrefix = `{"sealed":`

// Options configure a [Store]. Nil is the zero value.
type Options struct {
	// AllowPlain reads values that are not sealed, and seals them when they are saved next: for moving
	// an existing store. [Store.Reseal] moves all at once. Without it such a value is ErrNotSealed.
	// While it is set, anyone who can write to the other store can put a record of theirs there.
	AllowPlain bool
}

// Store is a store whose values are sealed. Use [New].
type Store struct {
	inner store.Store
	keys  []Key
	opt   Options

	mu   sync.Mutex
	salt []byte               // the salt that values are sealed with, if the first key is a passphrase
	made map[string]masterKey // what passphrases became, by salt and position

	learn   chan struct{} // held while the salt is looked for
	learned bool
}

// box is a sealed value as it is stored.
type box struct {
	Version int    `json:"sealed"`
	KeyID   string `json:"key"`
	Salt    []byte `json:"salt,omitempty"`
	Box     []byte `json:"box"`
}

// ErrNotSealed means that a value in the other store is not sealed, and [Options.AllowPlain] is not set.
var ErrNotSealed error = notSealed{}

type notSealed struct{}

func (notSealed) Error() string { return "the record is not sealed" }

// HintText says what to do.
func (notSealed) HintText() string {
	return "seal what is there once: mcpoauth reseal --seal-plain (Options.AllowPlain and Store.Reseal)"
}

// KeyError means that a record is sealed with a key that the store was not given.
type KeyError struct {
	// Record that cannot be opened.
	Record store.Key
	// KeyID of the key it needs; Have are the IDs of those given (for passphrases what they make with the record's salt).
	KeyID string
	Have  []string
}

// Error implements error.
func (e *KeyError) Error() string {
	return fmt.Sprintf("%v is sealed with the key %s, but the store has %s", e.Record, e.KeyID, strings.Join(e.Have, ", "))
}

// HintText says what to do.
func (e *KeyError) HintText() string {
	return "give the key (or passphrase) that it was sealed with, after the current one; without it clear the login and log in again"
}

// New returns a store that keeps sealed values in inner. The first key seals, all of them open. It does
// no I/O.
func New(inner store.Store, opt *Options, keys ...Key) (*Store, error) {
	if inner == nil {
		return nil, errors.New("sealed: there is no store to seal")
	}
	if len(keys) == 0 {
		return nil, errors.New("sealed: there is no key")
	}
	s := &Store{inner: inner, keys: keys, made: make(map[string]masterKey), learn: make(chan struct{}, 1)}
	if opt != nil {
		s.opt = *opt
	}
	for i, k := range keys {
		if !k.valid() {
			return nil, fmt.Errorf("sealed: key %d is the zero Key", i+1)
		}
	}
	return s, nil
}

// Load implements store.Store. Its errors are also *KeyError, ErrNotSealed and, for a value that was
// changed, *store.CorruptError.
func (s *Store) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	data, rev, err := s.inner.Load(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	plain, _, err := s.open(key, data)
	if err != nil {
		return nil, 0, err
	}
	return plain, rev, nil
}

// Save implements store.Store.
func (s *Store) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	s.learnSalt(ctx)
	sealedData, err := s.seal(key, data)
	if err != nil {
		return 0, err
	}
	return s.inner.Save(ctx, key, sealedData, rev)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	return s.inner.Delete(ctx, key, rev)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return s.inner.List(ctx, f)
}

// Lock implements store.Store.
func (s *Store) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	return s.inner.Lock(ctx, key, name)
}

// Probe implements store.Prober where the other store does.
func (s *Store) Probe(ctx context.Context) error {
	if p, ok := s.inner.(store.Prober); ok {
		return p.Probe(ctx)
	}
	return nil
}

// Reseal seals again, with the first key, what is sealed with another, and with [Options.AllowPlain]
// what is not sealed. It returns how many records it moved. A record that changes meanwhile is looked at
// again. Records that cannot be opened stay as they are, and the error has the first of them; the others
// are moved all the same. Once it returns no error, and every process has the first key, the other keys can
// be dropped.
func (s *Store) Reseal(ctx context.Context) (moved int, err error) {
	var first error
	left := 0
	for key, err := range s.inner.List(ctx, store.Filter{}) {
		ok := false
		if err == nil {
			ok, err = s.reseal(ctx, key)
		}
		if ok {
			moved++
		}
		if err == nil {
			continue
		}
		if !ofOneRecord(err) {
			return moved, err
		}
		if left++; first == nil {
			first = err
		}
	}
	if left > 1 {
		return moved, fmt.Errorf("%d records stay as they are, one of them because %w", left, first)
	}
	return moved, first
}

// ofOneRecord reports whether an error says nothing about other records.
func ofOneRecord(err error) bool {
	return errors.As(err, new(*KeyError)) || errors.As(err, new(*store.CorruptError)) ||
		errors.As(err, new(*store.VersionError)) || errors.Is(err, ErrNotSealed) ||
		errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict)
}

// reseal moves one record to the first key, and reports whether it was with another.
func (s *Store) reseal(ctx context.Context, key store.Key) (moved bool, err error) {
	// The process that changes it may still have another key first, so it is not enough that it was changed.
	for range 10 {
		data, rev, err := s.inner.Load(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		plain, current, err := s.open(key, data)
		if err != nil || current {
			return false, err
		}
		if _, err = s.Save(ctx, key, plain, rev); !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
	}
	return false, fmt.Errorf("%v: it changes all the time, and still has another key: %w", key, store.ErrConflict)
}

// seal returns data as it is stored.
func (s *Store) seal(key store.Key, data []byte) ([]byte, error) {
	master, salt, err := s.sealing()
	if err != nil {
		return nil, err
	}
	b := box{Version: version, KeyID: master.ID(), Salt: salt}
	aead, err := master.aead(key)
	if err != nil {
		return nil, err
	}
	b.Box = aead.Seal(nil, nil, data, b.bound(key))
	return json.Marshal(b)
}

// bound is the additional data of a value: what must not be exchanged around it.
func (b *box) bound(key store.Key) []byte {
	return fmt.Appendf(nil, "mcpoauth sealed %d\x00%s\x00%x\x00%s", b.Version, b.KeyID, b.Salt, key.Digest())
}

// open returns the plain value, and whether the first key sealed it.
func (s *Store) open(key store.Key, data []byte) (plain []byte, current bool, err error) {
	var b box
	if err := json.Unmarshal(data, &b); err != nil || b.Version == 0 {
		if bytes.HasPrefix(data, []byte(sealedPrefix)) {
			return nil, false, &store.CorruptError{Err: errors.New("it is a sealed value, but not a whole one")}
		}
		if s.opt.AllowPlain {
			return data, false, nil
		}
		return nil, false, fmt.Errorf("%v: %w", key, ErrNotSealed)
	}
	if b.Version > version {
		return nil, false, &store.VersionError{Format: b.Version, Known: version}
	}
	var have []string
	for i, k := range s.keys {
		if k.passphrase != nil && len(b.Salt) == 0 {
			have = append(have, "a passphrase")
			continue
		}
		master, err := s.master(i, b.Salt)
		if err != nil {
			return nil, false, err
		}
		if master.ID() != b.KeyID {
			have = append(have, master.ID())
			continue
		}
		aead, err := master.aead(key)
		if err != nil {
			return nil, false, err
		}
		plain, err := aead.Open(nil, nil, b.Box, b.bound(key))
		if err != nil {
			return nil, false, &store.CorruptError{Err: errors.New("its seal is broken: it was changed, or belongs to another record")}
		}
		if plain == nil {
			plain = []byte{}
		}
		s.keepSalt(i, b.Salt)
		return plain, i == 0, nil
	}
	return nil, false, &KeyError{Record: key, KeyID: b.KeyID, Have: have}
}

// aead returns the cipher for one record. Each record has a key of its own, so that the random nonces
// of one do not meet those of another.
func (m masterKey) aead(key store.Key) (cipher.AEAD, error) {
	k, err := hkdf.Key(sha256.New, m.secret[:], nil, "mcpoauth record "+key.Digest(), len(m.secret))
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
