package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
)

const (
	lockSuffix = ".lock"
	// saveLock is the name of the lock under which a record is changed.
	saveLock = "save"
	// lockHint follows a lock that the file system did not give: some network file systems have none.
	lockHint = "the file system of this directory may not lock files, as some network file systems do not: name a directory on a local disk with MCPOAUTH_DIR " +
		"or --store file:DIR (Options.CacheDir), or a store on a server with --store redis://HOST or postgres://HOST/DATABASE (Options.Store)"
	// digestPrefix is how much of a key's digest names its locks.
	digestPrefix = 32
)

// Lock implements store.Store with a lock file that the kernel locks, so that the lock of a process that dies is
// free at once. The file is removed with the last lock of a key that has no record.
func (s *Store) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if err := s.makeDir(); err != nil {
		return nil, nil, err
	}
	path := s.lockPath(key, name)
	for {
		l, err := s.tryLock(path)
		if err != nil {
			return nil, nil, err
		}
		if l != nil {
			held, cancel := context.WithCancel(context.WithoutCancel(ctx))
			var once sync.Once
			return held, func() (err error) {
				once.Do(func() {
					cancel()
					err = s.unlock(l, key)
				})
				return err
			}, nil
		}
		// A context cannot end a system call that waits for a lock, so this polls.
		pause := time.NewTimer(10*time.Millisecond + rand.N(20*time.Millisecond)) // not a secret
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, nil, ctx.Err()
		case <-pause.C:
		}
	}
}

func (s *Store) lockPath(key store.Key, name string) string {
	return filepath.Join(s.dir, lockDir, key.Digest()[:digestPrefix]+"."+clean(name, 20)+lockSuffix)
}

// unlock frees a lock, and removes its file if the key has no record.
func (s *Store) unlock(l *lockFile, key store.Key) error {
	if _, err := os.Lstat(s.path(key)); errors.Is(err, fs.ErrNotExist) {
		return l.remove()
	}
	return l.unlock()
}

// removeLocks removes the lock files of keys that have no record any more, those that are held aside: their holders
// remove them.
func (s *Store) removeLocks(which func(prefix string) bool) {
	entries, err := os.ReadDir(filepath.Join(s.dir, lockDir))
	if err != nil {
		return // they cost nothing but their names
	}
	for _, e := range entries {
		if !isLock(e.Name()) || !which(e.Name()[:digestPrefix]) {
			continue
		}
		if l, err := s.tryLock(filepath.Join(s.dir, lockDir, e.Name())); err == nil && l != nil {
			_ = l.remove()
		}
	}
}

// isLock reports whether a file name in the lock directory is one that this package gives.
func isLock(name string) bool {
	return len(name) > digestPrefix && name[digestPrefix] == '.' && strings.HasSuffix(name, lockSuffix) && isHex(name[:digestPrefix])
}

// lockFile is a file that this process has locked.
type lockFile struct {
	f    *os.File
	path string
}

// tryLock returns the lock, or nil if another holder has it or the file was removed meanwhile.
func (s *Store) tryLock(path string) (*lockFile, error) {
	if info, err := os.Lstat(path); err == nil {
		if !info.Mode().IsRegular() {
			return nil, &unsafeError{path, "is not a regular file", "remove it"}
		}
		if err := checkOwner(path, info); err != nil {
			return nil, err
		}
	}
	// Each attempt opens the file anew: a lock belongs to the open file, and excludes other ones of the same
	// process as well.
	f, err := s.disk.openLock(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the directory was removed: the caller tries again
	}
	if err != nil {
		return nil, explain(path, err)
	}
	locked, err := s.disk.lock(f)
	if err != nil {
		_ = f.Close()
		return nil, &ioError{path: path, err: fmt.Errorf("lock: %w", err), hint: lockHint}
	}
	l := &lockFile{f, path}
	if !locked || !l.named() {
		return nil, f.Close()
	}
	return l, nil
}

// named reports whether the locked file is still the one behind its name. If it was removed between open and lock,
// the name leads to another file, or to none, whose lock is free.
func (l *lockFile) named() bool {
	mine, err := l.f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(l.path)
	return err == nil && os.SameFile(mine, now)
}

// unlock frees the lock. Closing the file does, since nothing else has it open.
func (l *lockFile) unlock() error { return l.f.Close() }

// remove frees the lock and removes its file, in an order in which no other file is removed.
func (l *lockFile) remove() error {
	if !l.named() {
		return l.unlock()
	}
	if removesOpenFiles {
		_ = os.Remove(l.path)
		return l.unlock()
	}
	err := l.unlock()
	_ = os.Remove(l.path) // fails if another process has opened it meanwhile
	return err
}
