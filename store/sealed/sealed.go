// Package sealed encrypts the records of another store.
//
// It promises that whoever can read the other store learns neither tokens nor client secrets from it,
// and cannot change a record or put one in another's place without its being noticed: each value is
// sealed with AES-256-GCM under a key of its own, derived with HKDF-SHA256 from the master key and the
// record's key, and bound to that. What stays visible is what a store needs to find a record: its
// kind, the server's URL, the profile, and when it was saved. Whoever can write to the other store can
// delete records and bring back older values of the same one.
//
// Several keys may be given: the first seals, all of them open, and [Store.Reseal] moves what is
// stored to the first. A key comes from a file ([KeyFile]), an environment variable ([KeyEnv]), a
// passphrase ([Passphrase]) or the system's keyring (package keyringstore). A record that is sealed
// with a key that is not there is a [KeyError]; it is never taken for a damaged or missing one, so
// no login replaces it.
//
// Choose it where files are backed up or shared in the clear, and for Redis or PostgreSQL that others
// may read. On a person's own machine keyringstore does the same with a key nobody has to keep.
package sealed

import (
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

// Options configure a [Store]. Nil is the zero value.
type Options struct {
	// AllowPlain reads values that are not sealed, and seals them when they are saved next: for moving
	// an existing store. [Store.Reseal] moves all at once. Without it such a value is ErrNotSealed.
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
}

// box is a sealed value as it is stored.
type box struct {
	Version int    `json:"sealed"`
	KeyID   string `json:"key"`
	Salt    []byte `json:"salt,omitempty"`
	Box     []byte `json:"box"`
}

// ErrNotSealed means that a value in the other store is not sealed, and [Options.AllowPlain] is not set.
var ErrNotSealed = errors.New("the record is not sealed")

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
	s := &Store{inner: inner, keys: keys, made: make(map[string]masterKey)}
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
// what is not sealed. It returns how many records it moved. Afterwards the other keys can be dropped,
// once every process has the first. Records that change meanwhile are left to whoever changed them. An
// error leaves the rest as it was.
func (s *Store) Reseal(ctx context.Context) (moved int, err error) {
	for key, err := range s.inner.List(ctx, store.Filter{}) {
		if err != nil {
			return moved, err
		}
		data, rev, err := s.inner.Load(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return moved, err
		}
		plain, current, err := s.open(key, data)
		if err != nil {
			return moved, err
		}
		if current {
			continue
		}
		if _, err = s.Save(ctx, key, plain, rev); err == nil {
			moved++
		} else if !errors.Is(err, store.ErrConflict) {
			return moved, err
		}
	}
	return moved, nil
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
