package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
)

// writeFile replaces the record of a key: a file aside, synchronized, renamed, and the directory synchronized, so
// that after a crash there is the old content or the new. The caller holds the key's save lock.
func (s *Store) writeFile(key store.Key, b []byte) (err error) {
	temp := s.tempPath(key)
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(temp)
		}
	}()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := s.disk.sync(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := rename(temp, s.path(key)); err != nil {
		return err
	}
	return s.syncDir()
}

// tempPath returns where the next content of a record is written. The name belongs to the key, so only the holder of
// its save lock uses it.
func (s *Store) tempPath(key store.Key) string {
	return filepath.Join(s.dir, tempDir, key.Digest()[:digestPrefix]+tempSuffix)
}

// disk is the part of the file system whose order and failures matter. Tests replace it.
type disk interface {
	// sync writes a file, or the entries of a directory, to the disk.
	sync(f *os.File) error
	// openLock opens a lock file, and creates it if need be.
	openLock(path string) (*os.File, error)
	// lock locks an open lock file and reports false if another holder has.
	lock(f *os.File) (bool, error)
}

type realDisk struct{}

func (realDisk) sync(f *os.File) error                  { return f.Sync() }
func (realDisk) openLock(path string) (*os.File, error) { return openLock(path) }
func (realDisk) lock(f *os.File) (bool, error)          { return lockExclusive(f) }

// sweep removes the temporary files of processes that died while they saved: they may hold a whole record. The files
// of a save under way are left alone, because the lock of its key is held.
func (s *Store) sweep() {
	entries, err := os.ReadDir(filepath.Join(s.dir, tempDir))
	if err != nil {
		return // the next save says why the directory cannot be used
	}
	for _, e := range entries {
		path := filepath.Join(s.dir, tempDir, e.Name())
		name, isTemp := strings.CutSuffix(e.Name(), tempSuffix)
		switch {
		case isTemp && len(name) == digestPrefix && isHex(name):
			l, err := s.tryLock(filepath.Join(s.dir, lockDir, name+"."+saveLock+lockSuffix))
			if err != nil || l == nil {
				continue
			}
			_ = os.Remove(path)
			_ = l.unlock()
		case strings.HasPrefix(e.Name(), probePrefix):
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > time.Minute {
				_ = os.Remove(path)
			}
		}
	}
}

// rename replaces a file. On Windows it fails while another process has the file open, so it tries again.
func rename(from, to string) error {
	var err error
	for try := range 20 {
		if err = os.Rename(from, to); err == nil || runtime.GOOS != "windows" {
			return err
		}
		time.Sleep(time.Duration(try+1) * 5 * time.Millisecond)
	}
	return err
}

// syncDir makes the names in the store's directory durable.
func (s *Store) syncDir() error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synchronized there
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := s.disk.sync(d); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// makeDir makes the directory and those for locks and temporary files.
func (s *Store) makeDir() error {
	for _, dir := range []string{s.dir, filepath.Join(s.dir, lockDir), filepath.Join(s.dir, tempDir)} {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(dir, dirMode); err != nil {
				return explain(dir, err)
			}
		}
		if err := checkDirectory(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) checkDir() error { return checkDirectory(s.dir) }

// checkDirectory refuses a directory in which another user could replace files.
func checkDirectory(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return explain(dir, err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return &unsafeError{dir, "is a symbolic link", "name the directory it leads to with MCPOAUTH_DIR or --store file:DIR (Options.CacheDir)"}
	}
	if !info.IsDir() {
		return &unsafeError{dir, "is not a directory", "remove it, or name another directory with MCPOAUTH_DIR or --store file:DIR (Options.CacheDir)"}
	}
	if err := checkOwner(dir, info); err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		if err := os.Chmod(dir, dirMode); err != nil {
			return &unsafeError{dir, "can be written or read by others", "make it yours alone: chmod 700 " + dir}
		}
	}
	return nil
}

// unsafeError means that a file or directory is not fit for secrets.
type unsafeError struct{ path, what, hint string }

func (e *unsafeError) Error() string    { return e.path + " " + e.what }
func (e *unsafeError) HintText() string { return e.hint }

// ioError is a failed file operation with a word on what to do.
type ioError struct {
	path string
	err  error
	hint string
}

func (e *ioError) Error() string {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(e.err, &p):
		return fmt.Sprintf("%s: %v", e.path, p.Err)
	case errors.As(e.err, &l):
		return fmt.Sprintf("%s: %v", e.path, l.Err)
	}
	return fmt.Sprintf("%s: %v", e.path, e.err)
}
func (e *ioError) Unwrap() error    { return e.err }
func (e *ioError) HintText() string { return e.hint }

// explain adds the place and a hint to an error of the file system.
func explain(path string, err error) error {
	var p *fs.PathError
	var l *os.LinkError
	var s *os.SyscallError
	if !errors.As(err, &p) && !errors.As(err, &l) && !errors.As(err, &s) {
		return err
	}
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, fs.ErrPermission):
		hint = "check the permissions, or name another directory with MCPOAUTH_DIR or --store file:DIR (Options.CacheDir)"
	case isReadOnly(err):
		hint = "the file system is read-only: name another directory with MCPOAUTH_DIR or --store file:DIR (Options.CacheDir)"
	case isFull(err):
		hint = "the disk is full or a quota is used up: make room, then try again"
	case isLoop(err):
		hint = "it is a symbolic link, which is refused: remove it"
	default:
		hint = "check the directory, or name another one with MCPOAUTH_DIR or --store file:DIR (Options.CacheDir)"
	}
	return &ioError{path: path, err: err, hint: hint}
}
