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
// directory, and one in [Options.Dir].
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
	"os"
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

// ErrNoSecret means that the keyring works and has no such secret.
var ErrNoSecret = errors.New("no such secret in the keyring")

// UnavailableError means that there is no keyring to be had.
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

// Store is a store behind the system's keyring. Use [New].
type Store struct {
	files *filestore.Store
	opt   Options

	mu     sync.Mutex
	sealed *sealed.Store
	key    sealed.Key // that it seals with
	asked  *question
}

// question is a call to the keyring under way. One that never returns is asked once, whoever waits.
type question struct {
	create bool // it makes a key where there is none
	done   chan struct{}
	key    sealed.Key
	err    error
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

// open returns the store that seals with the keyring's key. Only create makes a key where there is
// none.
func (s *Store) open(ctx context.Context, create bool) (*sealed.Store, error) {
	limit := time.NewTimer(s.opt.Timeout)
	defer limit.Stop()
	for {
		s.mu.Lock()
		if s.sealed != nil {
			defer s.mu.Unlock()
			return s.sealed, nil
		}
		q := s.asked
		if q == nil {
			q = &question{create: create, done: make(chan struct{})}
			s.asked = q
			go s.answer(q)
		}
		s.mu.Unlock()
		select {
		case <-q.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.C:
			return nil, &UnavailableError{Reason: fmt.Sprintf("it did not answer within %v; it may be locked, and wait for its password", s.opt.Timeout)}
		}
		if create && !q.create && errors.Is(q.err, ErrNoSecret) {
			continue // it was a reader's question
		}
		if q.err != nil {
			return nil, q.err
		}
	}
}

// answer asks the keyring. What it learns is kept, whether or not somebody still waits.
func (s *Store) answer(q *question) {
	q.key, q.err = s.obtain(q.create)
	var opened *sealed.Store
	if q.err == nil {
		opened, q.err = sealed.New(s.files, nil, q.key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
	if q.err == nil {
		s.sealed, s.key = opened, q.key
	}
	close(q.done)
}

// obtain returns the key that the keyring has, and makes it if it may.
func (s *Store) obtain(create bool) (sealed.Key, error) {
	key, err := s.get()
	if !errors.Is(err, ErrNoSecret) {
		return key, err
	}
	if lost := s.lost(); lost != nil {
		return sealed.Key{}, lost
	}
	if !create {
		return sealed.Key{}, err
	}
	// Two processes that begin at once must not each make one: the second would orphan what the first
	// has sealed.
	unlock, err := s.lock()
	if err != nil {
		return sealed.Key{}, err
	}
	defer unlock()
	if key, err = s.get(); !errors.Is(err, ErrNoSecret) {
		return key, err
	}
	if lost := s.lost(); lost != nil {
		return sealed.Key{}, lost
	}
	text := sealed.GenerateKey().Text()
	if err := s.opt.Keyring.Set(s.opt.Service, account, text); err != nil {
		return sealed.Key{}, unavailable("it does not take a new secret", err)
	}
	key, err = s.get()
	if errors.Is(err, ErrNoSecret) {
		return sealed.Key{}, &UnavailableError{Reason: "it took a new secret and does not have it"}
	}
	if err != nil {
		return sealed.Key{}, unavailable("it does not give back what it was given", err)
	}
	if key.Text() != text {
		return sealed.Key{}, &UnavailableError{Reason: "it gives back another secret than it was given"}
	}
	return key, nil
}

// lock excludes all that may make the key.
func (s *Store) lock() (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opt.Timeout)
	defer cancel()
	name := store.Key{Kind: "key", ID: s.opt.Service}
	unlockUser := func() error { return nil }
	if user := s.userDir(); user != nil {
		// The user's one key is made for all directories. Where the user has no place of one's own
		// that can be written, the lock beside the records must do.
		_, u, err := user.Lock(ctx, name, "create")
		switch {
		case err == nil:
			unlockUser = u
		case ctx.Err() != nil:
			return nil, &UnavailableError{Reason: "another process waits for it, to make a key", Err: err}
		}
	}
	_, unlockDir, err := s.files.Lock(ctx, name, "create")
	if err != nil {
		_ = unlockUser()
		if ctx.Err() != nil {
			return nil, &UnavailableError{Reason: "another process waits for it, to make a key", Err: err}
		}
		return nil, err
	}
	return func() { _, _ = unlockDir(), unlockUser() }, nil
}

// userDir returns a directory that is the same for all stores of the user, nil if the keyring is not
// the user's or there is none.
func (s *Store) userDir() *filestore.Store {
	if _, ok := s.opt.Keyring.(system); !ok {
		return nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	user, err := filestore.New(filepath.Join(cache, "mcpoauth"))
	if err != nil {
		return nil
	}
	return user
}

func (s *Store) get() (sealed.Key, error) {
	text, err := s.opt.Keyring.Get(s.opt.Service, account)
	if errors.Is(err, ErrNoSecret) {
		return sealed.Key{}, err
	}
	if err != nil {
		return sealed.Key{}, unavailable("it cannot be read", err)
	}
	keys, err := sealed.ParseKeys(text)
	if err != nil || len(keys) != 1 {
		return sealed.Key{}, fmt.Errorf("the secret %q of the service %q in the keyring is not a key of this program", account, s.opt.Service)
	}
	return keys[0], nil
}

// lost reports that there are records whose key is gone.
func (s *Store) lost() error {
	for _, err := range s.files.List(context.Background(), store.Filter{}) {
		if err != nil && !errors.As(err, new(*store.CorruptError)) && !errors.As(err, new(*store.VersionError)) {
			return err // it is not known whether there are any
		}
		return &KeyLostError{Dir: s.files.Dir()}
	}
	return nil
}

func unavailable(reason string, err error) error {
	var u *UnavailableError
	if errors.As(err, &u) {
		return u
	}
	return &UnavailableError{Reason: reason + ": " + err.Error(), Err: err}
}

// Load implements store.Store. Its errors are also *UnavailableError, *KeyLostError and those of
// package sealed.
func (s *Store) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	in, err := s.open(ctx, false)
	if errors.Is(err, ErrNoSecret) {
		// There is no key because nothing was ever saved. A lost key is another error.
		return nil, 0, fmt.Errorf("%v: %w", key, store.ErrNotFound)
	}
	if err != nil {
		return nil, 0, err
	}
	data, rev, err := in.Load(ctx, key)
	var other *sealed.KeyError
	if errors.As(err, &other) {
		err = &KeyLostError{Dir: s.Dir(), Err: err}
	}
	return data, rev, err
}

// Save implements store.Store. The first one makes the key.
func (s *Store) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	in, err := s.open(ctx, true)
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

// Key returns the keyring's key, to seal another store with. Without one the error is ErrNoSecret; only
// [Store.Probe] and [Store.Save] make it.
func (s *Store) Key(ctx context.Context) (sealed.Key, error) {
	if _, err := s.open(ctx, false); err != nil {
		return sealed.Key{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key, nil
}

// Probe implements store.Prober: it makes the key if there is none.
func (s *Store) Probe(ctx context.Context) error {
	if _, err := s.open(ctx, true); err != nil {
		return err
	}
	return s.files.Probe(ctx)
}
