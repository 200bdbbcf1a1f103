package filestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/mcpoauth/mcpoauth/store"
)

// Lock implements store.Store with a lock file of its own, which is never removed: the kernel
// locks the file behind a name, and a new file behind it would be another lock.
func (s *Store) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if err := s.makeDir(); err != nil {
		return nil, nil, err
	}
	path := filepath.Join(s.dir, lockDir, key.Digest()[:32]+"."+clean(name, 20)+".lock")
	for {
		l, err := tryLock(path)
		if err != nil {
			return nil, nil, err
		}
		if l != nil {
			held, cancel := context.WithCancel(context.WithoutCancel(ctx))
			var once sync.Once
			return held, func() (err error) {
				once.Do(func() {
					cancel()
					err = l.Unlock()
				})
				return err
			}, nil
		}
		// The kernel has no way to wait for a lock that a context can end.
		pause := time.NewTimer(10*time.Millisecond + rand.N(20*time.Millisecond)) //nolint:gosec // not a secret
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, nil, ctx.Err()
		case <-pause.C:
		}
	}
}

// tryLock returns the lock, or nil if somebody else has it.
func tryLock(path string) (*flock.Flock, error) {
	if info, err := os.Lstat(path); err == nil {
		if !info.Mode().IsRegular() {
			return nil, &unsafeError{path, "is not a regular file", "remove it"}
		}
		if err := checkOwner(path, info); err != nil {
			return nil, err
		}
	}
	// One instance per attempt: an instance does not exclude itself.
	l := flock.New(path, flock.SetPermissions(fileMode))
	ok, err := l.TryLock()
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil //nolint:nilnil // somebody removed the directory: try again
		}
		return nil, fmt.Errorf("%w", explain(path, err))
	}
	if !ok {
		return nil, l.Close()
	}
	// Somebody may have removed the file between open and lock: what is locked has no name then, and
	// the name leads to a file whose lock is free.
	other := flock.New(path, flock.SetPermissions(fileMode))
	if ok, err := other.TryLock(); ok || err != nil {
		return nil, errors.Join(other.Close(), l.Unlock())
	}
	if err := other.Close(); err != nil {
		return nil, errors.Join(err, l.Unlock())
	}
	return l, nil
}
