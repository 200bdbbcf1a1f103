package keyringstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

// keyUse says what becomes of a keyring without a key.
type keyUse int

const (
	// existingKey uses the keys that there are. Without one the error is ErrNoSecret.
	existingKey keyUse = iota
	// newKey makes a key if there is none.
	newKey
)

// question is a running call to the keyring. All callers wait for the same one, so a keyring that never answers is
// called once.
type question struct {
	ask   func() ([]sealed.Key, error)
	opens bool   // it asks for the keys that there are
	use   keyUse // and may make one
	done  chan struct{}
	err   error
}

// open returns the store that seals with the keyring's key. Only newKey makes a key where there is
// none.
func (s *Store) open(ctx context.Context, use keyUse) (*sealed.Store, error) {
	limit := time.NewTimer(s.opt.Timeout)
	defer limit.Stop()
	for {
		s.mu.Lock()
		if s.sealed != nil {
			defer s.mu.Unlock()
			return s.sealed, nil
		}
		s.mu.Unlock()
		q, err := s.question(ctx, limit, &question{ask: func() ([]sealed.Key, error) { return s.obtain(use) }, opens: true, use: use})
		if err != nil {
			return nil, err
		}
		if !q.opens || use == newKey && q.use == existingKey && errors.Is(q.err, ErrNoSecret) {
			continue // it was another caller's question
		}
		if q.err != nil {
			return nil, q.err
		}
	}
}

// ask calls the keyring once no other call is running.
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

// answer calls the keyring. The keys are kept even if no caller waits any more.
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
func (s *Store) obtain(use keyUse) ([]sealed.Key, error) {
	keys, err := s.get()
	if !errors.Is(err, ErrNoSecret) {
		return keys, err
	}
	if lost := s.lost(); lost != nil {
		// Another process may have made the key, and saved a record, since the keyring was asked.
		if keys, err := s.get(); err == nil {
			return keys, nil
		}
		return nil, lost
	}
	if use == existingKey {
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

// text returns the secret that holds the keys.
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

// ofKey makes a KeyLostError of the error of a record that no key of the keyring opens.
func (s *Store) ofKey(err error) error {
	if errors.As(err, new(*sealed.KeyError)) {
		return &KeyLostError{Dir: s.Dir(), Err: err}
	}
	return err
}

// Keys returns the keyring's keys, to seal another store with: the first seals, all open. Without one the
// error is ErrNoSecret; only [Store.Probe], [Store.Save] and [Store.NewKey] make one.
func (s *Store) Keys(ctx context.Context) ([]sealed.Key, error) {
	if _, err := s.open(ctx, existingKey); err != nil {
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
	err = s.ask(ctx, func() ([]sealed.Key, error) { return s.obtain(existingKey) })
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
