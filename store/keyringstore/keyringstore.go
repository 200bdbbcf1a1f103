// Package keyringstore keeps logins sealed with a key that lies in the operating system's keyring: the
// Keychain of macOS, the Credential Manager of Windows, the Secret Service of other desktops (GNOME
// Keyring, KWallet, KeePassXC).
//
// Keyrings limit the size of what they keep (Windows to 2,560 bytes, less than many a token), cannot
// compare before they write, and have no locks. So the keyring holds one small random key, and the
// records are files beside each other as package filestore keeps them, sealed as package sealed seals
// them. The promises of both hold: what lies on disk is of no use without the user's keyring, a save
// survives a crash, and any number of processes of one user on one machine share a login.
//
// Without a keyring every call fails with an [UnavailableError] that says what is missing. Nothing is
// ever kept in plain files instead: choose package sealed with a key file, or package filestore, where
// there is no keyring (containers, servers, SSH sessions without an unlocked one). Every call to the
// keyring is limited by [Options.Timeout]; the key is read once and then kept in memory. A keyring call
// cannot be broken off: where one never returns, a [Store] leaves that one call behind (on macOS the
// security command with it), and asks nothing else until it ends.
//
// A user has one key for each [Options.Service], whatever the directory. If it is gone while there are
// records, or another one has taken its place, that is a [KeyLostError]: no new key is made over them. So
// that processes make one key between them, it is made under a lock in mcpoauth in the user's cache
// directory, and one in [Options.Dir]. [Store.NewKey] puts another one before it, in the same secret of the
// keyring, [Store.Reseal] moves the records to that, and [Store.DropOldKeys] ends the change.
//
// The library below hands the secret to macOS's security command by its standard input, never as an
// argument, and to a Secret Service in clear over the user's own D-Bus session. A program that the user
// runs can ask an unlocked keyring for the key as this one does.
//
// Choose it for a person's own machine. It was tested with GNOME Keyring; the code for macOS and
// Windows is built, but was never run. There is no keyring on other systems than Linux, macOS, Windows,
// NetBSD and OpenBSD, nor on FreeBSD and DragonFly without cgo.
package keyringstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

const (
	defaultService = "mcpoauth"
	defaultTimeout = 10 * time.Second
	// account names the key within the service. Another format of the key would be another account.
	account = "store key 1"
	// maxKeys is how many keys fit into a secret of every keyring, with room to spare.
	maxKeys = 16
)

// Options configure a [Store]. Nil is the zero value.
type Options struct {
	// Service is the name under which the keyring shows the key. Empty is "mcpoauth".
	Service string
	// Dir is the directory of the sealed records. Empty is "keyring" in filestore's default directory.
	Dir string
	// Timeout limits every call to the keyring, a person's answer to "unlock?" included. 0 is ten
	// seconds.
	Timeout time.Duration
	// Keyring replaces the system's, for tests and for keyrings of other kinds. Stores in different
	// directories do not exclude each other while they make its key: give them different services.
	Keyring Keyring
}

// Keyring keeps small secrets of one user. Its methods may block.
type Keyring interface {
	// Get returns a secret. Without one the error is ErrNoSecret.
	Get(service, account string) (string, error)
	// Set keeps a secret, replacing one of the same name.
	Set(service, account, secret string) error
}

// Store is a store behind the system's keyring. Use [New].
type Store struct {
	files *filestore.Store
	opt   Options

	mu     sync.Mutex
	sealed *sealed.Store
	keys   []sealed.Key // those of the keyring: the first seals, all open
	asked  *question
}

// New returns the store of the current user. It does no I/O.
func New(opt *Options) (*Store, error) {
	s := &Store{}
	if opt != nil {
		s.opt = *opt
	}
	if s.opt.Service == "" {
		s.opt.Service = defaultService
	}
	if s.opt.Timeout <= 0 {
		s.opt.Timeout = defaultTimeout
	}
	if s.opt.Keyring == nil {
		s.opt.Keyring = system{}
	}
	dir := s.opt.Dir
	if dir == "" {
		base, err := filestore.DefaultDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(base, "keyring")
	}
	var err error
	s.files, err = filestore.New(dir)
	return s, err
}

// Dir returns the directory of the sealed records.
func (s *Store) Dir() string { return s.files.Dir() }

// Load implements store.Store. Its errors are also *UnavailableError, *KeyLostError and those of
// package sealed.
func (s *Store) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	in, err := s.open(ctx, existingKey)
	if errors.Is(err, ErrNoSecret) {
		// There is no key because nothing was ever saved. A lost key is another error.
		return nil, 0, fmt.Errorf("%v: %w", key, store.ErrNotFound)
	}
	if err != nil {
		return nil, 0, err
	}
	data, rev, err := in.Load(ctx, key)
	if errors.As(err, new(*sealed.KeyError)) {
		// Another process may have made a new key since this one asked for them.
		if aerr := s.ask(ctx, func() ([]sealed.Key, error) { return s.obtain(existingKey) }); aerr != nil {
			return nil, 0, aerr
		}
		if in, err = s.open(ctx, existingKey); err != nil {
			return nil, 0, err
		}
		data, rev, err = in.Load(ctx, key)
	}
	return data, rev, s.ofKey(err)
}

// Save implements store.Store. The first one makes the key.
func (s *Store) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	in, err := s.open(ctx, newKey)
	if err != nil {
		return 0, err
	}
	return in.Save(ctx, key, data, rev)
}

// Delete implements store.Store. It needs no keyring.
func (s *Store) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	return s.files.Delete(ctx, key, rev)
}

// List implements store.Store. It needs no keyring.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return s.files.List(ctx, f)
}

// Lock implements store.Store. It needs no keyring.
func (s *Store) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	return s.files.Lock(ctx, key, name)
}

// Probe implements store.Prober: it makes the key if there is none.
func (s *Store) Probe(ctx context.Context) error {
	if _, err := s.open(ctx, newKey); err != nil {
		return err
	}
	return s.files.Probe(ctx)
}
