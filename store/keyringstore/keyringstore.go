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
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	keys   []sealed.Key // those of the keyring: the first seals, all open
	asked  *question
}

// question is a call to the keyring under way. One that never returns is asked once, whoever waits.
type question struct {
	ask    func() ([]sealed.Key, error)
	opens  bool // it asks for the keys that there are, and
	create bool // makes one where there is none
	done   chan struct{}
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
		s.mu.Unlock()
		q, err := s.question(ctx, limit, &question{ask: func() ([]sealed.Key, error) { return s.obtain(create) }, opens: true, create: create})
		if err != nil {
			return nil, err
		}
		if !q.opens || create && !q.create && errors.Is(q.err, ErrNoSecret) {
			continue // it was somebody else's question
		}
		if q.err != nil {
			return nil, q.err
		}
	}
}

// ask asks the keyring once nobody else does.
func (s *Store) ask(ctx context.Context, ask func() ([]sealed.Key, error)) error {
	limit := time.NewTimer(s.opt.Timeout)
	defer limit.Stop()
	for mine := (&question{ask: ask}); ; {
		q, err := s.question(ctx, limit, mine)
		if err != nil {
			return err
		}
		if q == mine {
			return q.err
		}
	}
}

// question returns the question under way, else mine, when it is answered.
func (s *Store) question(ctx context.Context, limit *time.Timer, mine *question) (*question, error) {
	s.mu.Lock()
	q := s.asked
	if q == nil {
		q = mine
		q.done = make(chan struct{})
		s.asked = q
		go s.answer(q)
	}
	s.mu.Unlock()
	select {
	case <-q.done:
		return q, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-limit.C:
		return nil, &UnavailableError{Reason: fmt.Sprintf("it did not answer within %v; it may be locked, and wait for its password", s.opt.Timeout)}
	}
}

// answer asks the keyring. What it learns is kept, whether or not somebody still waits.
func (s *Store) answer(q *question) {
	keys, err := q.ask()
	var opened *sealed.Store
	if err == nil {
		opened, err = sealed.New(s.files, nil, keys...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, q.err = nil, err
	if err == nil {
		s.sealed, s.keys = opened, keys
	}
	close(q.done)
}

// obtain returns the keys that the keyring has, and makes one if it may.
func (s *Store) obtain(create bool) ([]sealed.Key, error) {
	keys, err := s.get()
	if !errors.Is(err, ErrNoSecret) {
		return keys, err
	}
	if lost := s.lost(); lost != nil {
		return nil, lost
	}
	if !create {
		return nil, err
	}
	return s.change(func(keys []sealed.Key) ([]sealed.Key, error) {
		if len(keys) == 0 {
			keys = []sealed.Key{sealed.GenerateKey()}
		}
		return keys, nil
	})
}

// change gives the keyring what with makes of its keys; where it has none yet, with gets none.
func (s *Store) change(with func([]sealed.Key) ([]sealed.Key, error)) ([]sealed.Key, error) {
	// Two processes that begin at once must not each make a key: the second would orphan what the first
	// has sealed.
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, err := s.get()
	if errors.Is(err, ErrNoSecret) {
		err = s.lost()
	}
	if err != nil {
		return nil, err
	}
	keys, err := with(old)
	if err != nil || text(keys) == text(old) {
		return keys, err
	}
	if err := s.opt.Keyring.Set(s.opt.Service, account, text(keys)); err != nil {
		return nil, unavailable("it does not take a new secret", err)
	}
	got, err := s.get()
	if errors.Is(err, ErrNoSecret) {
		return nil, &UnavailableError{Reason: "it took a new secret and does not have it"}
	}
	if err != nil {
		return nil, unavailable("it does not give back what it was given", err)
	}
	if text(got) != text(keys) {
		return nil, &UnavailableError{Reason: "it gives back another secret than it was given"}
	}
	return got, nil
}

// text returns what the keyring keeps of keys.
func text(keys []sealed.Key) string {
	var words []string
	for _, k := range keys {
		words = append(words, k.Text())
	}
	return strings.Join(words, " ")
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

func (s *Store) get() ([]sealed.Key, error) {
	secret, err := s.opt.Keyring.Get(s.opt.Service, account)
	if errors.Is(err, ErrNoSecret) {
		return nil, err
	}
	if err != nil {
		return nil, unavailable("it cannot be read", err)
	}
	keys, err := sealed.ParseKeys(secret)
	if err != nil {
		return nil, fmt.Errorf("the secret %q of the service %q in the keyring is not a key of this program", account, s.opt.Service)
	}
	return keys, nil
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
	if errors.As(err, new(*sealed.KeyError)) {
		// Another process may have made a new key since this one asked for them.
		if aerr := s.ask(ctx, func() ([]sealed.Key, error) { return s.obtain(false) }); aerr != nil {
			return nil, 0, aerr
		}
		if in, err = s.open(ctx, false); err != nil {
			return nil, 0, err
		}
		data, rev, err = in.Load(ctx, key)
	}
	return data, rev, s.ofKey(err)
}

// ofKey makes a KeyLostError of the error of a record that no key of the keyring opens.
func (s *Store) ofKey(err error) error {
	if errors.As(err, new(*sealed.KeyError)) {
		return &KeyLostError{Dir: s.Dir(), Err: err}
	}
	return err
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

// Keys returns the keyring's keys, to seal another store with: the first seals, all open. Without one the
// error is ErrNoSecret; only [Store.Probe], [Store.Save] and [Store.NewKey] make one.
func (s *Store) Keys(ctx context.Context) ([]sealed.Key, error) {
	if _, err := s.open(ctx, false); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.keys), nil
}

// NewKey puts a new key before those of the keyring, for what is sealed from now on. The others stay, and open
// what they have sealed, until [Store.DropOldKeys]. A process that has asked for the keys before goes on with
// those, and asks again when it meets a record that the new one sealed.
func (s *Store) NewKey(ctx context.Context) error {
	return s.ask(ctx, func() ([]sealed.Key, error) {
		return s.change(func(old []sealed.Key) ([]sealed.Key, error) {
			if len(old) >= maxKeys {
				return nil, fmt.Errorf("there are %d keys of this program in the keyring, and more do not fit: drop the old ones first", len(old))
			}
			return append([]sealed.Key{sealed.GenerateKey()}, old...), nil
		})
	})
}

// Reseal seals the records of [Options.Dir] again with the first key of the keyring, where it was another,
// as [sealed.Store.Reseal] does.
func (s *Store) Reseal(ctx context.Context) (moved int, err error) {
	err = s.ask(ctx, func() ([]sealed.Key, error) { return s.obtain(false) })
	if errors.Is(err, ErrNoSecret) {
		return 0, nil // and no record
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	in := s.sealed
	s.mu.Unlock()
	moved, err = in.Reseal(ctx)
	return moved, s.ofKey(err)
}

// DropOldKeys leaves the first key alone in the keyring, once it has resealed the records of [Options.Dir]. It
// must be given, so that nothing is dropped when another process has put a newer one before it. What the other
// keys have sealed elsewhere, in other directories or stores, or seal from now on in processes that have run since
// before [Store.NewKey], is lost: move the one and end the other before.
func (s *Store) DropOldKeys(ctx context.Context, first sealed.Key) error {
	if _, err := s.Reseal(ctx); err != nil {
		return err
	}
	return s.ask(ctx, func() ([]sealed.Key, error) {
		return s.change(func(old []sealed.Key) ([]sealed.Key, error) {
			if len(old) == 0 || old[0].Text() != first.Text() {
				return nil, errors.New("another process has changed the keyring's key meanwhile; nothing is dropped")
			}
			return old[:1], nil
		})
	})
}

// Probe implements store.Prober: it makes the key if there is none.
func (s *Store) Probe(ctx context.Context) error {
	if _, err := s.open(ctx, true); err != nil {
		return err
	}
	return s.files.Probe(ctx)
}
