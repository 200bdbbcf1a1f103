//go:build !windows

package filestore

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
)

// faultyDisk sees what is synchronized, and fails when it is told to.
type faultyDisk struct {
	realDisk
	onSync func(f *os.File) error
	// onOpenLock runs between the open of a lock file and its lock.
	onOpenLock func(path string)
	// lockError is what locking fails with.
	lockError error
}

func (d *faultyDisk) sync(f *os.File) error {
	if d.onSync != nil {
		return d.onSync(f)
	}
	return d.realDisk.sync(f)
}

func (d *faultyDisk) openLock(path string) (*os.File, error) {
	f, err := d.realDisk.openLock(path)
	if err == nil && d.onOpenLock != nil {
		d.onOpenLock(path)
	}
	return f, err
}

func (d *faultyDisk) lock(f *os.File) (bool, error) {
	if d.lockError != nil {
		return false, d.lockError
	}
	return d.realDisk.lock(f)
}

func onDisk(t *testing.T) (*Store, *faultyDisk) {
	t.Helper()
	s, err := New(filepath.Join(t.TempDir(), "logins"))
	if err != nil {
		t.Fatal(err)
	}
	d := &faultyDisk{}
	s.disk = d
	return s, d
}

var aKey = store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"}

func mustSave(t *testing.T, s *Store, key store.Key, data string, rev store.Revision) store.Revision {
	t.Helper()
	rev, err := s.Save(t.Context(), key, []byte(data), rev)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func content(t *testing.T, s *Store, key store.Key) string {
	t.Helper()
	data, _, err := s.Load(t.Context(), key)
	if errors.Is(err, store.ErrNotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// files returns the names below the store's directory, the directories aside.
func files(t *testing.T, s *Store) []string {
	t.Helper()
	var out []string
	err := filepath.Walk(s.dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			name, _ := filepath.Rel(s.dir, path)
			out = append(out, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A machine that loses power must find the old record or the new one: the content is on the disk before it gets its
// name, and the name before the save returns.
func TestASaveIsOnTheDiskBeforeItReturns(t *testing.T) {
	t.Parallel()
	s, d := onDisk(t)
	rev := mustSave(t, s, aKey, "old", 0)
	var order []string
	d.onSync = func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		what := "file"
		if info.IsDir() {
			what = "directory"
			if f.Name() != s.dir {
				t.Errorf("synchronized %s", f.Name())
			}
		} else if b, err := os.ReadFile(f.Name()); err != nil || !strings.Contains(string(b), "bmV3") { // "new"
			t.Errorf("the file is synchronized before it is written: %q, %v", b, err)
		}
		order = append(order, what+" while the record is "+content(t, s, aKey))
		return nil
	}
	mustSave(t, s, aKey, "new", rev)
	if got := strings.Join(order, ", "); got != "file while the record is old, directory while the record is new" {
		t.Errorf("synchronized: %s", got)
	}
	order = nil
	if err := s.Delete(t.Context(), aKey, 0); err != nil || strings.Join(order, ", ") != "directory while the record is " {
		t.Errorf("a deletion: %v, synchronized %v", err, order)
	}
}

func TestASaveThatIsNotOnTheDiskFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is broken")
	for _, failing := range []string{"file", "directory"} {
		t.Run(failing, func(t *testing.T) {
			t.Parallel()
			s, d := onDisk(t)
			rev := mustSave(t, s, aKey, "old", 0)
			d.onSync = func(f *os.File) error {
				if info, err := f.Stat(); err != nil || info.IsDir() != (failing == "directory") {
					return err
				}
				return broken
			}
			if _, err := s.Save(t.Context(), aKey, []byte("new"), rev); !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			if got := content(t, s, aKey); failing == "file" && got != "old" || failing == "directory" && got != "new" {
				t.Errorf("the record is %q", got)
			}
			for _, name := range files(t, s) {
				if strings.HasPrefix(name, tempDir) {
					t.Errorf("%s was left behind", name)
				}
			}
		})
	}
}

// What is locked may have lost its name between open and lock. That lock excludes nobody.
func TestALockFileThatIsRemovedBetweenOpenAndLock(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(path string) error{
		"removed":  func(string) error { return nil },
		"replaced": func(path string) error { return os.WriteFile(path, nil, fileMode) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, d := onDisk(t)
			opened := 0
			d.onOpenLock = func(path string) {
				if opened++; opened == 1 {
					if err := errors.Join(os.Remove(path), replace(path)); err != nil {
						t.Error(err)
					}
				}
			}
			_, unlock, err := s.Lock(t.Context(), aKey, "refresh")
			if err != nil {
				t.Fatal(err)
			}
			if opened != 2 {
				t.Errorf("the file was opened %d times, want twice", opened)
			}
			d.onOpenLock = nil
			if l, err := s.tryLock(s.lockPath(aKey, "refresh")); l != nil || err != nil {
				t.Errorf("a second holder: %v, %v", l, err)
			}
			if err := unlock(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file system without locks, as NFS without its lock daemon, must be recognized as the cause: the error names the file
// and the hint the other places for logins.
func TestAFileSystemWithoutLocks(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.ENOLCK, syscall.EBADF, syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.EIO} {
		s, d := onDisk(t)
		rev := mustSave(t, s, aKey, "old", 0)
		d.lockError = cause
		for name, act := range map[string]func() error{
			"lock":   func() error { _, _, err := s.Lock(t.Context(), aKey, "refresh"); return err },
			"save":   func() error { _, err := s.Save(t.Context(), aKey, []byte("new"), rev); return err },
			"delete": func() error { return s.Delete(t.Context(), aKey, 0) },
		} {
			err := act()
			var hinted interface{ HintText() string }
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), filepath.Join(s.dir, lockDir)) || !errors.As(err, &hinted) {
				t.Fatalf("%s, %v: %v", name, cause, err)
			}
			for _, way := range []string{"MCPOAUTH_DIR", "--store file:DIR", "redis://", "postgres://"} {
				if !strings.Contains(hinted.HintText(), way) {
					t.Errorf("%s, %v: the hint %q lacks %s", name, cause, hinted.HintText(), way)
				}
			}
		}
		d.lockError = nil
		if got := content(t, s, aKey); got != "old" {
			t.Errorf("%v: the record is %q", cause, got)
		}
	}
}

// A holder whose lock file was removed must not remove another holder's.
func TestUnlockRemovesNoOtherLock(t *testing.T) {
	t.Parallel()
	s, _ := onDisk(t)
	_, first, err := s.Lock(t.Context(), aKey, "refresh")
	if err != nil {
		t.Fatal(err)
	}
	path := s.lockPath(aKey, "refresh")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, second, err := s.Lock(t.Context(), aKey, "refresh")
	if err != nil {
		t.Fatal(err)
	}
	if err := first(); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := s.Lock(short, aKey, "refresh"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second holder lost its lock: %v", err)
	}
	if err := second(); err != nil {
		t.Error(err)
	}
}

// A process that dies while it saves leaves a file with a whole record in it. The next save of any login removes it,
// and so do a logout and a clear.
func TestWhatADeadProcessLeft(t *testing.T) {
	t.Parallel()
	other := store.Key{Kind: store.KindLogin, ID: "https://other.example"}
	for name, act := range map[string]func(s *Store) error{
		"a save of the same login": func(s *Store) error { _, err := s.Save(t.Context(), aKey, []byte("x"), 0); return err },
		"a save of another login":  func(s *Store) error { _, err := s.Save(t.Context(), other, []byte("x"), 0); return err },
		"a logout of the login":    func(s *Store) error { return s.Delete(t.Context(), aKey, 0) },
		"a logout elsewhere": func(s *Store) error {
			rev, err := s.Save(t.Context(), other, []byte("x"), 0)
			return errors.Join(err, s.Delete(t.Context(), other, rev))
		},
		"a clear":     func(s *Store) error { return s.Clear(t.Context(), aKey.ID) },
		"a clear all": func(s *Store) error { return s.ClearAll(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := onDisk(t)
			if err := s.makeDir(); err != nil {
				t.Fatal(err)
			}
			pending := store.Key{Kind: store.KindPending, ID: "p"}
			for _, key := range []store.Key{aKey, pending} {
				if err := os.WriteFile(s.tempPath(key), []byte(`{"refresh_token":"SECRET"}`), fileMode); err != nil {
					t.Fatal(err)
				}
			}
			if err := act(s); err != nil {
				t.Fatal(err)
			}
			for _, file := range files(t, s) {
				if b, err := os.ReadFile(filepath.Join(s.dir, file)); err != nil || strings.Contains(string(b), "SECRET") {
					t.Errorf("%s is still there, %v", file, err)
				}
			}
		})
	}
}

// The file of a save under way is not taken for one that was left behind.
func TestASaveUnderWayIsNotSweptAway(t *testing.T) {
	t.Parallel()
	s, d := onDisk(t)
	other := store.Key{Kind: store.KindLogin, ID: "https://other.example"}
	elsewhere, err := New(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	d.onSync = func(f *os.File) error {
		if f.Name() == s.dir {
			return nil
		}
		mustSave(t, elsewhere, other, "x", 0)
		return nil
	}
	mustSave(t, s, aKey, "saved", 0)
	if got := content(t, s, aKey); got != "saved" {
		t.Errorf("the record is %q", got)
	}
}

func TestAnOldProbeIsSweptAndAFreshOneNot(t *testing.T) {
	t.Parallel()
	s, _ := onDisk(t)
	if err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"probe-old": time.Hour, "probe-new": 0, "of somebody else": time.Hour} {
		path := filepath.Join(s.dir, tempDir, name)
		then := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, fileMode), os.Chtimes(path, then, then)); err != nil {
			t.Fatal(err)
		}
	}
	mustSave(t, s, aKey, "x", 0)
	var left []string
	for _, name := range files(t, s) {
		if strings.HasPrefix(name, tempDir) {
			left = append(left, filepath.Base(name))
		}
	}
	if got := strings.Join(left, ", "); got != "of somebody else, probe-new" {
		t.Errorf("left: %s", got)
	}
}

// No lock file outlives its record: a service that begins many logins would collect them for ever.
func TestNoLockFileWithoutItsRecord(t *testing.T) {
	t.Parallel()
	s, _ := onDisk(t)
	locks := func() []string {
		entries, err := os.ReadDir(filepath.Join(s.dir, lockDir))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	lock := func(name string) func() error {
		_, unlock, err := s.Lock(t.Context(), aKey, name)
		if err != nil {
			t.Fatal(err)
		}
		return unlock
	}
	// Without a record the lock goes with its holder.
	if err := lock("login")(); err != nil || len(locks()) != 0 {
		t.Errorf("left: %v, %v", locks(), err)
	}
	// With one it stays, and goes with the record, if nobody holds it.
	rev := mustSave(t, s, aKey, "x", 0)
	if err := lock("refresh")(); err != nil {
		t.Fatal(err)
	}
	held := lock("login")
	if len(locks()) != 3 {
		t.Errorf("while there is a record: %v", locks())
	}
	if err := s.Delete(t.Context(), aKey, rev); err != nil {
		t.Fatal(err)
	}
	if got := locks(); len(got) != 1 || !strings.Contains(got[0], ".login.") {
		t.Errorf("after the deletion: %v, want the one that is held", got)
	}
	if err := held(); err != nil || len(locks()) != 0 {
		t.Errorf("in the end: %v, %v", locks(), err)
	}
	// What killed processes have left goes with all the rest, other people's files aside.
	for _, name := range []string{strings.Repeat("a", digestPrefix) + ".login.lock", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(s.dir, lockDir, name), nil, fileMode); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ClearAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := locks(); len(got) != 1 || got[0] != "notes.txt" {
		t.Errorf("after clear all: %v", got)
	}
}

// A process that is killed at the browser leaves the lock file of its login. The next login that begins removes it, and
// none that is held or has a record.
func TestLockFilesOfKilledLogins(t *testing.T) {
	t.Parallel()
	for kind, swept := range map[store.Kind]bool{store.KindPending: true, store.KindRegistration: true, store.KindLogin: false} {
		s, _ := onDisk(t)
		recorded, held := store.Key{Kind: store.KindLogin, ID: "https://recorded.example"}, store.Key{Kind: store.KindLogin, ID: "https://held.example"}
		mustSave(t, s, recorded, "x", 0)
		_, unlock, err := s.Lock(t.Context(), held, "login")
		if err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(s.dir, lockDir, strings.Repeat("a", digestPrefix)+".login.lock")
		if err := os.WriteFile(left, nil, fileMode); err != nil {
			t.Fatal(err)
		}
		mustSave(t, s, store.Key{Kind: kind, ID: "https://as.example http://127.0.0.1/callback"}, "x", 0)
		if _, err := os.Lstat(left); errors.Is(err, fs.ErrNotExist) != swept {
			t.Errorf("%s: %v", kind, err)
		}
		for _, path := range []string{s.lockPath(recorded, saveLock), s.lockPath(held, "login")} {
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		if err := unlock(); err != nil {
			t.Error(err)
		}
	}
}

// What was begun and not finished is not kept for ever; a login is.
func TestPendingRecordsEnd(t *testing.T) {
	t.Parallel()
	s, _ := onDisk(t)
	at := func(kind store.Kind, id string, age time.Duration) store.Key {
		key := store.Key{Kind: kind, ID: id}
		mustSave(t, s, key, "x", 0)
		then := time.Now().Add(-age)
		if err := os.Chtimes(s.path(key), then, then); err != nil {
			t.Fatal(err)
		}
		return key
	}
	stale := at(store.KindPending, "stale", pendingLife+time.Second)
	fresh := at(store.KindPending, "fresh", pendingLife-time.Minute)
	login := at(store.KindLogin, "https://pending.example", 10*pendingLife)
	again, err := New(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	mustSave(t, again, store.Key{Kind: store.KindPending, ID: "new"}, "x", 0)
	if content(t, s, stale) != "" || content(t, s, fresh) != "x" || content(t, s, login) != "x" {
		t.Errorf("stale %q, fresh %q, login %q", content(t, s, stale), content(t, s, fresh), content(t, s, login))
	}
	// Once a minute is enough.
	late := at(store.KindPending, "late", pendingLife+time.Second)
	mustSave(t, again, store.Key{Kind: store.KindPending, ID: "newer"}, "x", 0)
	if content(t, s, late) != "x" {
		t.Error("it was looked for twice within a minute")
	}
}

// envelopeIn writes an envelope where the record of key lies.
func envelopeIn(t *testing.T, s *Store, key store.Key, e envelope) {
	t.Helper()
	b, err := json.Marshal(e)
	if err == nil {
		err = errors.Join(s.makeDir(), os.WriteFile(s.path(key), b, fileMode))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A clock may jump back. A revision must not come again all the same: a late save could then overwrite a newer token.
func TestRevisionsGrowWhenTheClockJumpsBack(t *testing.T) {
	t.Parallel()
	s, _ := onDisk(t)
	future := store.Revision(time.Now().Add(24 * time.Hour).UnixNano())
	envelopeIn(t, s, aKey, envelope{Format: format, Kind: aKey.Kind, ID: aKey.ID, Revision: future, Data: []byte(`"old"`)})
	if rev := mustSave(t, s, aKey, `"new"`, future); rev != future+1 {
		t.Errorf("the revision after %d is %d", future, rev)
	}
}

// A file that was copied or renamed must not give one person's login to another.
func TestARecordThatBelongsToAnotherKey(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]store.Key{
		"another profile": {Kind: aKey.Kind, ID: aKey.ID, Profile: "somebody"}, "another server": {Kind: aKey.Kind, ID: aKey.ID + "x"}, "another kind": {Kind: store.KindRegistration, ID: aKey.ID},
	} {
		s, _ := onDisk(t)
		envelopeIn(t, s, aKey, envelope{Format: format, Kind: other.Kind, ID: other.ID, Profile: other.Profile, Revision: 5, Data: []byte(`"SECRET"`)})
		data, _, err := s.Load(t.Context(), aKey)
		if _, corrupt := errors.AsType[*store.CorruptError](err); !corrupt || data != nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// A newer version's record may have our members, and mean something else by them.
func TestANewerFormatWithOurMembers(t *testing.T) {
	t.Parallel()
	s, _ := onDisk(t)
	envelopeIn(t, s, aKey, envelope{Format: format + 1, Kind: aKey.Kind, ID: aKey.ID, Revision: 5, Data: []byte(`"x"`)})
	data, _, err := s.Load(t.Context(), aKey)
	if v, newer := errors.AsType[*store.VersionError](err); !newer || v.Format != format+1 || v.Known != format || data != nil {
		t.Errorf("%q, %v", data, err)
	}
}

// Some file systems cannot synchronize a directory, which is no failure of a save.
func TestADirectoryThatCannotBeSynchronized(t *testing.T) {
	t.Parallel()
	s, d := onDisk(t)
	d.onSync = func(f *os.File) error {
		if f.Name() == s.dir {
			return &os.PathError{Op: "sync", Path: s.dir, Err: syscall.EINVAL}
		}
		return nil
	}
	mustSave(t, s, aKey, "x", 0)
}

// TestTheFileOfASaveUnderWay is no rest of a killed process: another save leaves it alone.
func TestTheFileOfASaveUnderWay(t *testing.T) {
	t.Parallel()
	s, _ := onDisk(t)
	key := store.Key{Kind: store.KindLogin, ID: "https://slow.example"}
	_, unlock, err := s.Lock(t.Context(), key, saveLock)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.tempPath(key), []byte("half"), fileMode); err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, store.Key{Kind: store.KindLogin, ID: "https://fast.example"}, "x", 0)
	if _, err := os.Lstat(s.tempPath(key)); err != nil {
		t.Error(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	mustSave(t, s, store.Key{Kind: store.KindLogin, ID: "https://other.example"}, "x", 0)
	if _, err := os.Lstat(s.tempPath(key)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it stays when its save is over: %v", err)
	}
}
