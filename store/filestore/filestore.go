// Package filestore keeps logins in files: the default store. Any number of processes of one user may
// share a directory on one machine; there is one file per record, so a damaged one costs no other.
//
// It promises that a save survives a crash of the process and of the machine (written aside,
// synchronized, renamed, and the directory synchronized), and that a lock is free as soon as its
// holder dies, because the kernel holds it. Directories are 0700 and files 0600 from their first byte;
// symbolic links, files of other users and directories that others may write are refused. Contents
// are not encrypted. It needs a file system with working advisory locks, which some network file
// systems lack. Choose it for programs that a person runs.
package filestore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/members"
	"github.com/mcpoauth/mcpoauth/store"
)

const (
	format    = 1
	suffix    = ".json"
	lockDir   = "locks"
	tempDir   = "tmp"
	maxFile   = 2 << 20
	dirMode   = 0o700
	fileMode  = 0o600
	corrupted = ".corrupt-"

	tempSuffix  = ".record"
	probePrefix = "probe-"
	// pendingLife is how long pending records are kept: a login is begun and finished within ten minutes.
	pendingLife = 15 * time.Minute
	// pendingSweep is how often one Store looks for expired pending records, and for lock files without a record.
	pendingSweep = time.Minute
)

// Store is a store in files. Use [New].
type Store struct {
	dir  string
	disk disk

	mu    sync.Mutex
	swept time.Time // the last search for expired pending records
}

// envelope is a file: a record with its key, so that a listing can name it, and its revision.
type envelope struct {
	Format   int             `json:"format"`
	Kind     store.Kind      `json:"kind"`
	ID       string          `json:"id"`
	Profile  string          `json:"profile"`
	Revision store.Revision  `json:"revision,string"`
	Data     json.RawMessage `json:"data,omitempty"`
	Bytes    []byte          `json:"bytes,omitempty"`
}

// New returns the store in dir, "" for [DefaultDir]. A relative dir is made absolute. It does no other I/O.
func New(dir string) (*Store, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return nil, err
		}
	}
	if !filepath.IsAbs(dir) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("the cache directory %q: %w", dir, err)
		}
		dir = abs
	}
	return &Store{dir: filepath.Clean(dir), disk: realDisk{}}, nil
}

// Dir returns the directory.
func (s *Store) Dir() string { return s.dir }

// path returns the file of a record: a name that a person recognises, and the digest that identifies it.
func (s *Store) path(key store.Key) string {
	name := string(key.Kind)
	if key.Kind == store.KindLogin || key.Kind == store.KindRegistration {
		name = CacheKey(key.ID)
	}
	return filepath.Join(s.dir, clean(name, maxReadable)+"-"+key.Digest()+suffix)
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	path := s.path(key)
	e, err := s.read(path)
	if err != nil {
		return nil, 0, err
	}
	if e == nil {
		return nil, 0, fmt.Errorf("%v: %w", key, store.ErrNotFound)
	}
	if e.key() != key {
		return nil, 0, &store.CorruptError{Path: path, Err: errors.New("it belongs to another login")}
	}
	return e.data(), e.Revision, nil
}

func (e *envelope) key() store.Key { return store.Key{Kind: e.Kind, ID: e.ID, Profile: e.Profile} }

func (e *envelope) data() []byte {
	if e.Data != nil {
		return e.Data
	}
	return append([]byte{}, e.Bytes...)
}

// read returns the envelope in path, nil if there is no file.
func (s *Store) read(path string) (*envelope, error) {
	if err := s.checkDir(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	b, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := parse(b)
	if e.Format > format { // a newer format may not even have our members
		return nil, &store.VersionError{Path: path, Format: e.Format, Known: format}
	}
	if err != nil || e.Kind == "" || e.Revision == 0 {
		return nil, &store.CorruptError{Path: path, Err: errors.New("it is not a whole record")}
	}
	return e, nil
}

// parse reads the envelope in b. What it returns beside an error has the format, if b has that.
func parse(b []byte) (*envelope, error) {
	e := &envelope{}
	parts, err := members.Split(b)
	if err != nil {
		return e, err
	}
	var kind, revision string
	for _, m := range []struct {
		name string
		to   any
	}{{"format", &e.Format}, {"kind", &kind}, {"id", &e.ID}, {"profile", &e.Profile}, {"revision", &revision}, {"bytes", &e.Bytes}} {
		if raw, ok := parts[m.name]; ok {
			if err := members.Decode(raw, m.to); err != nil {
				return e, err
			}
		}
	}
	e.Kind = store.Kind(kind)
	e.Data = parts["data"]
	n, err := strconv.ParseUint(revision, 10, 64)
	e.Revision = store.Revision(n)
	return e, err
}

// readFile reads a regular file of ours, within limits and without ever waiting.
func readFile(path string) ([]byte, error) {
	f, err := openForReading(path)
	if err != nil {
		return nil, explain(path, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, explain(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, &store.CorruptError{Path: path, Err: errors.New("it is not a regular file")}
	}
	if err := checkOwner(path, info); err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		tighten(f, fileMode)
	}
	if info.Size() > maxFile {
		return nil, &store.CorruptError{Path: path, Err: fmt.Errorf("it is longer than %d bytes", maxFile)}
	}
	b := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead)) // which is then read at once
	if _, err := b.ReadFrom(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, explain(path, err)
	}
	return b.Bytes(), nil
}

// Save implements store.Store. Pending records (store.KindPending) are kept for a quarter of an hour, and removed
// with a later save of that kind or of a registration. So are the lock files that killed processes have left.
func (s *Store) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	if key.Kind == store.KindPending || key.Kind == store.KindRegistration {
		s.sweepPending(ctx) // a login begins
	}
	return s.change(ctx, key, func(old *envelope) (*envelope, error) {
		var at store.Revision
		if old != nil {
			at = old.Revision
		}
		if at != rev {
			return nil, fmt.Errorf("%v: %w", key, store.ErrConflict)
		}
		e := &envelope{Format: format, Kind: key.Kind, ID: key.ID, Profile: key.Profile, Revision: nextRevision(old)}
		if compact, ok := asJSON(data); ok {
			e.Data = compact
		} else {
			e.Bytes = data
		}
		return e, nil
	})
}

// asJSON reports whether data survives being embedded byte for byte.
func asJSON(data []byte) (json.RawMessage, bool) {
	b, err := json.Marshal(json.RawMessage(data))
	if err != nil || string(b) != string(data) || len(data) == 0 {
		return nil, false
	}
	return b, true
}

// nextRevision returns a revision that no save of this key has had: the clock's, so that one given
// out before a deletion does not come again, and past the last one, so that a clock may jump.
func nextRevision(old *envelope) store.Revision {
	rev := store.Revision(max(1, time.Now().UnixNano()))
	if old != nil && rev <= old.Revision {
		rev = old.Revision + 1
	}
	return rev
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	if rev == 0 {
		if _, err := os.Lstat(s.path(key)); errors.Is(err, fs.ErrNotExist) {
			s.sweep()
			return ctx.Err()
		}
	}
	_, err := s.change(ctx, key, func(old *envelope) (*envelope, error) {
		if old == nil {
			if rev != 0 {
				return nil, fmt.Errorf("%v: %w", key, store.ErrConflict)
			}
			return nil, nil
		}
		if rev != 0 && old.Revision != rev {
			return nil, fmt.Errorf("%v: %w", key, store.ErrConflict)
		}
		return nil, os.Remove(s.path(key))
	})
	if err == nil {
		own := key.Digest()[:digestPrefix]
		s.removeLocks(func(prefix string) bool { return prefix == own })
	}
	return err
}

// sweepPending removes pending records that have expired, and lock files that have no record.
func (s *Store) sweepPending(ctx context.Context) {
	s.mu.Lock()
	due := time.Since(s.swept) >= pendingSweep
	if due {
		s.swept = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return // the save says why the directory cannot be used
	}
	recorded := make(map[string]bool)
	for _, entry := range entries {
		if digest := digestOf(entry.Name()); digest != "" {
			recorded[digest[:digestPrefix]] = true
		}
		if !strings.HasPrefix(entry.Name(), string(store.KindPending)+"-") || !isOurs(entry.Name()) {
			continue
		}
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < pendingLife {
			continue
		}
		if e, err := s.read(filepath.Join(s.dir, entry.Name())); err == nil && e != nil && e.Kind == store.KindPending {
			_ = s.Delete(ctx, e.key(), e.Revision)
		}
	}
	s.removeLocks(func(prefix string) bool { return !recorded[prefix] })
}

// change replaces a record under a short lock that makes the comparison and the write one step.
func (s *Store) change(ctx context.Context, key store.Key, f func(old *envelope) (*envelope, error)) (store.Revision, error) {
	_, unlock, err := s.Lock(ctx, key, saveLock)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unlock() }()
	// Remove the files of processes that died. The key's own file is not swept, because its lock is held here.
	s.sweep()
	if err := os.Remove(s.tempPath(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, explain(s.tempPath(key), err)
	}
	path := s.path(key)
	old, err := s.read(path)
	if _, damaged := errors.AsType[*store.CorruptError](err); damaged {
		// A record that cannot be read is kept, so that a person can look at it.
		if err := setAside(path); err != nil {
			return 0, err
		}
		old, err = nil, nil
	}
	if err != nil {
		return 0, err
	}
	e, err := f(old)
	if err != nil {
		return 0, explain(path, err)
	}
	if e == nil {
		return 0, s.syncDir()
	}
	b, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	if err := s.writeFile(key, b); err != nil {
		return 0, explain(path, err)
	}
	return e.Revision, nil
}

func setAside(path string) error {
	aside := path + corrupted + time.Now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(path, aside); err != nil {
		return explain(path, err)
	}
	return nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return func(yield func(store.Key, error) bool) {
		if err := s.checkDir(); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				yield(store.Key{}, err)
			}
			return
		}
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			yield(store.Key{}, explain(s.dir, err))
			return
		}
		for _, entry := range entries {
			if err := ctx.Err(); err != nil {
				yield(store.Key{}, err)
				return
			}
			if !isOurs(entry.Name()) || !strings.HasSuffix(entry.Name(), suffix) {
				continue
			}
			e, err := s.read(filepath.Join(s.dir, entry.Name()))
			switch {
			case err != nil:
				if !yield(store.Key{}, err) {
					return
				}
			case e == nil || !f.Match(e.key()):
			case !yield(e.key(), nil):
				return
			}
		}
	}
}

// isOurs reports whether a file name is one that this package gives.
func isOurs(name string) bool { return digestOf(name) != "" }

// digestOf returns the digest of the key in a file name that this package gives, "" for another name.
func digestOf(name string) string {
	base, rest, ok := strings.Cut(name, suffix)
	i := strings.LastIndexByte(base, '-')
	if !ok || i < 0 || len(base)-i-1 != 64 || rest != "" && !strings.HasPrefix(rest, corrupted) || !isHex(base[i+1:]) {
		return ""
	}
	return base[i+1:]
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// Clear removes the logins of a server URL, of every profile, and nothing else.
func (s *Store) Clear(ctx context.Context, serverURL string) error {
	return s.remove(ctx, func(e *envelope) bool {
		return e != nil && e.Kind == store.KindLogin && (e.ID == serverURL || strings.HasPrefix(e.ID, serverURL+" "))
	})
}

// ClearAll removes every record of this store, damaged ones too, with the locks that are not held. Files that are not
// ours stay.
func (s *Store) ClearAll(ctx context.Context) error {
	err := s.remove(ctx, func(*envelope) bool { return true })
	if s.checkDir() == nil {
		s.removeLocks(func(string) bool { return true })
	}
	return err
}

func (s *Store) remove(ctx context.Context, which func(*envelope) bool) error {
	if err := s.checkDir(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	s.sweep()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return explain(s.dir, err)
	}
	var failures []error
	for _, entry := range entries {
		if !isOurs(entry.Name()) {
			continue
		}
		path := filepath.Join(s.dir, entry.Name())
		e, err := s.read(path)
		if err == nil && e != nil && which(e) {
			err = s.Delete(ctx, e.key(), 0)
		} else if err != nil && which(nil) || strings.Contains(entry.Name(), corrupted) && which(nil) {
			err = os.Remove(path)
		} else {
			err = nil
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// Probe implements store.Prober: it writes and removes a small file.
func (s *Store) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.makeDir(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, tempDir), probePrefix)
	if err != nil {
		return explain(s.dir, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	// As much as a login takes: a full disk takes an empty file.
	_, err = f.Write(make([]byte, 16<<10))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return explain(s.dir, err)
	}
	return nil
}
