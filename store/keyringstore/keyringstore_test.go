//go:build unix

package keyringstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/testserver"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
	"github.com/mcpoauth/mcpoauth/store/keyringstore"
	"github.com/mcpoauth/mcpoauth/store/memstore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
	"github.com/mcpoauth/mcpoauth/store/storetest"
)

const (
	dirEnv = "KEYRINGSTORE_TEST_DIR"
	// innerEnv is set in the process that runs within a D-Bus session of its own.
	innerEnv = "KEYRINGSTORE_TEST_INNER"
)

func TestMain(m *testing.M) {
	storetest.Child(func() (store.Store, error) { return keyringstore.New(&keyringstore.Options{Dir: os.Getenv(dirEnv)}) })
	testserver.Parallel(8)
	os.Exit(m.Run())
}

// fake is a keyring in memory whose calls can be made to fail or to hang.
type fake struct {
	mu      sync.Mutex
	secrets map[string]string
	err     error
	hang    chan struct{}
	gets    int
	sets    int
}

func (f *fake) wait() {
	f.mu.Lock()
	hang := f.hang
	f.mu.Unlock()
	if hang != nil {
		<-hang
	}
}

func (f *fake) Get(service, account string) (string, error) {
	f.wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gets++
	if f.err != nil {
		return "", f.err
	}
	s, ok := f.secrets[service+"/"+account]
	if !ok {
		return "", keyringstore.ErrNoSecret
	}
	return s, nil
}

func (f *fake) Set(service, account, secret string) error {
	f.wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sets++
	if f.err != nil {
		return f.err
	}
	if f.secrets == nil {
		f.secrets = make(map[string]string)
	}
	f.secrets[service+"/"+account] = secret
	return nil
}

// made returns how many keys it was given. A question that nobody waits for any more may still ask it.
func (f *fake) made() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sets
}

// asked returns how often it was asked for a key.
func (f *fake) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gets
}

func open(t *testing.T, dir string, k keyringstore.Keyring) *keyringstore.Store {
	t.Helper()
	return openWithin(t, dir, k, 20*time.Second)
}

// openWithin is for keyrings that do not answer.
func openWithin(t *testing.T, dir string, k keyringstore.Keyring, limit time.Duration) *keyringstore.Store {
	t.Helper()
	s, err := keyringstore.New(&keyringstore.Options{Dir: dir, Keyring: k, Timeout: limit})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var key = store.Key{Kind: store.KindLogin, ID: "https://mcp.example/mcp"}

func TestContract(t *testing.T) {
	s := open(t, t.TempDir(), &fake{})
	storetest.Run(t, func() (store.Store, error) { return s, nil })
}

// small takes no more than the Windows Credential Manager does: 2560 bytes, in UTF-16.
type small struct{ *fake }

func (s small) Set(service, account, secret string) error {
	if 2*len(secret) > 2560 {
		return errors.New("the stub received bad data")
	}
	return s.fake.Set(service, account, secret)
}

// A login of any size lies in a file, sealed; the keyring holds the key alone.
func TestABigLoginAndASmallKeyring(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	s := open(t, dir, small{k})
	if _, _, err := s.Load(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before the first save: %v", err)
	}
	if k.made() != 0 {
		t.Error("a look made a key")
	}
	secret := strings.Repeat("refresh-canary", 500)
	for i := range 20 {
		id := key
		id.Profile = string(rune('a' + i))
		if _, err := s.Save(t.Context(), id, []byte(secret), 0); err != nil {
			t.Fatal(err)
		}
	}
	if k.made() != 1 || len(k.secrets) != 1 || k.asked() > 5 {
		t.Errorf("%d secrets, written %d times, read %d times", len(k.secrets), k.made(), k.asked())
	}
	for _, v := range k.secrets {
		if len(v) > 100 {
			t.Errorf("the secret has %d bytes", len(v))
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), "canary") {
			t.Errorf("%s gives the token away", f)
		}
	}
	// Another process, or this one after a restart.
	id := key
	id.Profile = "a"
	again := open(t, dir, small{k})
	data, rev, err := again.Load(t.Context(), id)
	if err != nil || string(data) != secret {
		t.Fatalf("after a restart: %q, %v", data, err)
	}
	if rev, err = again.Save(t.Context(), id, []byte("less"), rev); err != nil {
		t.Fatal(err)
	}
	if err := again.Delete(t.Context(), id, rev); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Load(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the end: %v", err)
	}
}

func TestNoKeyringIsNeverPlainFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := &fake{err: errors.New("broken")}
	s := open(t, dir, k)
	var unavailable *keyringstore.UnavailableError
	if _, err := s.Save(t.Context(), key, []byte("x"), 0); !errors.As(err, &unavailable) {
		t.Errorf("save: %v", err)
	}
	if _, _, err := s.Load(t.Context(), key); !errors.As(err, &unavailable) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("load: %v", err)
	}
	if err := s.Probe(t.Context()); !errors.As(err, &unavailable) {
		t.Errorf("probe: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(files) != 0 {
		t.Errorf("files were written: %v", files)
	}
	k.mu.Lock()
	k.err = nil
	k.mu.Unlock()
	if _, err := s.Save(t.Context(), key, []byte("x"), 0); err != nil {
		t.Errorf("after the keyring came back: %v", err)
	}
}

func TestAKeyringThatNeverAnswers(t *testing.T) {
	t.Parallel()
	k := &fake{hang: make(chan struct{})}
	s := openWithin(t, t.TempDir(), k, time.Second)
	start := time.Now()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			var unavailable *keyringstore.UnavailableError
			if _, _, err := s.Load(t.Context(), key); !errors.As(err, &unavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Load(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	k.mu.Lock()
	close(k.hang)
	k.hang = nil
	k.mu.Unlock()
	if _, err := s.Save(t.Context(), key, []byte("x"), 0); err != nil {
		t.Errorf("after it was unlocked: %v", err)
	}
	if k.asked() > 4 {
		t.Errorf("it was asked %d times", k.asked())
	}
}

func TestALostKeyIsSaidAndNotReplaced(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	if _, err := open(t, dir, k).Save(t.Context(), key, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	k.secrets = nil
	s := open(t, dir, k)
	var lost *keyringstore.KeyLostError
	if _, _, err := s.Load(t.Context(), key); !errors.As(err, &lost) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("load: %v", err)
	}
	if _, err := s.Save(t.Context(), key, []byte("y"), 0); !errors.As(err, &lost) {
		t.Errorf("save: %v", err)
	}
	if len(k.secrets) != 0 {
		t.Error("a new key was made, which orphans the records")
	}
	if err := s.Delete(t.Context(), key, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(t.Context(), key, []byte("y"), 0); err != nil {
		t.Errorf("after the records were removed: %v", err)
	}
}

func TestADirectoryThatCannotBeReadIsNoLostKey(t *testing.T) {
	t.Parallel()
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	s := open(t, link, &fake{})
	var lost *keyringstore.KeyLostError
	if _, _, err := s.Load(t.Context(), key); err == nil || errors.As(err, &lost) || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("load: %v", err)
	}
	// A record that is damaged is a record.
	if err := os.WriteFile(filepath.Join(dir, "login-"+key.Digest()+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, dir, &fake{}).Load(t.Context(), key); !errors.As(err, &lost) {
		t.Errorf("with a damaged record: %v", err)
	}
}

func TestAKeyThatAnotherOneTookThePlaceOfIsSaid(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	if _, err := open(t, dir, k).Save(t.Context(), key, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	first := k.secrets
	other := &fake{}
	if _, err := open(t, t.TempDir(), other).Save(t.Context(), key, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	k.secrets = other.secrets
	_, _, err := open(t, dir, k).Load(t.Context(), key)
	var lost *keyringstore.KeyLostError
	var damaged *store.CorruptError
	var cause *sealed.KeyError
	if !errors.As(err, &lost) || !errors.As(err, &cause) || errors.As(err, &damaged) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if hint := mcpoauth.Hint(err); !strings.Contains(hint, "keyring") {
		t.Errorf("the hint is %q", hint)
	}
	k.secrets = first
	if data, _, err := open(t, dir, k).Load(t.Context(), key); err != nil || string(data) != "x" {
		t.Errorf("after the key came back: %q, %v", data, err)
	}
}

// forgetful takes secrets and does not have them.
type forgetful struct{ fake }

func (f *forgetful) Set(service, account, _ string) error {
	err := f.fake.Set(service, account, "")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secrets = nil
	return err
}

func TestAKeyringThatForgetsIsNoKeyring(t *testing.T) {
	t.Parallel()
	k := &forgetful{}
	s, err := keyringstore.New(&keyringstore.Options{Dir: t.TempDir(), Keyring: k, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var unavailable *keyringstore.UnavailableError
	if _, err := s.Save(t.Context(), key, []byte("x"), 0); !errors.As(err, &unavailable) || errors.Is(err, keyringstore.ErrNoSecret) || strings.Contains(err.Error(), "did not answer") {
		t.Errorf("got %v", err)
	}
	if k.made() != 1 {
		t.Errorf("it was given %d keys", k.made())
	}
}

func TestAnotherProcessThatMakesTheKeyForTooLong(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	files, err := filestore.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	// It hangs in the keyring with the lock in its hand.
	_, unlock, err := files.Lock(t.Context(), store.Key{Kind: "key", ID: "mcpoauth"}, "create")
	if err != nil {
		t.Fatal(err)
	}
	s := openWithin(t, dir, k, 200*time.Millisecond)
	var unavailable *keyringstore.UnavailableError
	if _, err := s.Save(t.Context(), key, []byte("x"), 0); !errors.As(err, &unavailable) {
		t.Errorf("got %v", err)
	}
	if k.made() != 0 {
		t.Error("a key was made all the same")
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	// The question of the first save may still be under way, and fail.
	for end := time.Now().Add(20 * time.Second); ; {
		if _, err = s.Save(t.Context(), key, []byte("x"), 0); err == nil || !errors.As(err, &unavailable) || time.Now().After(end) {
			break
		}
	}
	if err != nil || k.made() != 1 {
		t.Errorf("after it was done: %v, %d keys made", err, k.made())
	}
}

func TestTheKeySealsOtherStoresToo(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	s := open(t, dir, k)
	if _, err := s.Keys(t.Context()); !errors.Is(err, keyringstore.ErrNoSecret) || k.made() != 0 {
		t.Errorf("before there is one: %v, %d made", err, k.made())
	}
	if err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	inner := memstore.New()
	for range 2 {
		// The second time it is another process.
		keys, err := open(t, dir, k).Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		other, err := sealed.New(inner, nil, keys...)
		if err != nil {
			t.Fatal(err)
		}
		_, rev, err := other.Load(t.Context(), key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := other.Save(t.Context(), key, []byte("x"), rev); err != nil {
			t.Fatal(err)
		}
	}
	if k.made() != 1 {
		t.Errorf("%d keys were made", k.made())
	}
}

// TestTheKeyChanges: with a process that runs all the while, and one that begins at each step.
func TestTheKeyChanges(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	running := open(t, dir, k)
	save := func(s *keyringstore.Store, profile string) {
		t.Helper()
		id := key
		id.Profile = profile
		_, rev, err := s.Load(t.Context(), id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := s.Save(t.Context(), id, []byte(profile), rev); err != nil {
			t.Fatal(err)
		}
	}
	all := func(s *keyringstore.Store, want ...string) {
		t.Helper()
		for _, profile := range want {
			id := key
			id.Profile = profile
			if data, _, err := s.Load(t.Context(), id); err != nil || string(data) != profile {
				t.Errorf("%s: %q, %v", profile, data, err)
			}
		}
	}
	if err := open(t, dir, k).DropOldKeys(t.Context(), sealed.Key{}); err == nil || k.made() != 0 {
		t.Errorf("without any key: %v, %d made", err, k.made())
	}
	save(running, "a")
	save(running, "b")
	if err := open(t, dir, k).NewKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	save(open(t, dir, k), "b")
	save(open(t, dir, k), "c")
	all(running, "a", "b", "c")
	all(open(t, dir, k), "a", "b", "c")
	if n, err := open(t, dir, k).Reseal(t.Context()); n != 1 || err != nil {
		t.Errorf("%d records were moved, %v; want that which the old key sealed", n, err)
	}
	// What the other keys have sealed since is moved before they go, and nothing goes for another key than the first.
	keys, err := running.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir, k).NewKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir, k).DropOldKeys(t.Context(), keys[0]); err == nil || k.made() != 3 {
		t.Errorf("%v, %d changes of the keyring", err, k.made())
	}
	if keys, err = open(t, dir, k).Keys(t.Context()); err != nil || len(keys) != 3 {
		t.Fatal(len(keys), err)
	}
	if err := open(t, dir, k).DropOldKeys(t.Context(), keys[0]); err != nil {
		t.Fatal(err)
	}
	all(open(t, dir, k), "a", "b", "c")
	all(running, "a", "b", "c")
	save(running, "a")
	if keys, err = open(t, dir, k).Keys(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("%d keys are left, %v", len(keys), err)
	}
	all(open(t, dir, k), "a")
}

func TestNothingIsDroppedThatIsNeeded(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	s := open(t, dir, k)
	if _, err := s.Save(t.Context(), key, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.NewKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DropOldKeys(t.Context(), keys[0]); !errors.As(err, new(*store.CorruptError)) {
		t.Errorf("got %v", err)
	}
	if keys, err := open(t, dir, k).Keys(t.Context()); err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func TestThereIsAnEndOfNewKeys(t *testing.T) {
	t.Parallel()
	k := &fake{}
	s := open(t, t.TempDir(), k)
	for range 16 {
		if err := s.NewKey(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if secret := k.secrets["mcpoauth/store key 1"]; len(secret) > 1024 {
		t.Errorf("the secret has %d bytes", len(secret))
	}
	if err := s.NewKey(t.Context()); err == nil || !strings.Contains(err.Error(), "drop the old") {
		t.Errorf("got %v", err)
	}
	keys, err := s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DropOldKeys(t.Context(), keys[0]); err != nil {
		t.Error(err)
	}
}

func TestTwoProcessesMakeOneKey(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			s, err := keyringstore.New(&keyringstore.Options{Dir: dir, Keyring: k})
			if err != nil {
				t.Error(err)
				return
			}
			id := key
			id.Profile = string(rune('a' + i))
			if _, err := s.Save(t.Context(), id, []byte("x"), 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if k.made() != 1 {
		t.Errorf("%d keys were made", k.made())
	}
}

func TestASecretThatIsNoKey(t *testing.T) {
	t.Parallel()
	k := &fake{secrets: map[string]string{"mcpoauth/store key 1": "something else"}}
	if _, err := open(t, t.TempDir(), k).Save(t.Context(), key, []byte("x"), 0); err == nil || !strings.Contains(err.Error(), "not a key") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutADesktop(t *testing.T) {
	within := func(t *testing.T, limit time.Duration) error {
		s, err := keyringstore.New(&keyringstore.Options{Dir: t.TempDir(), Timeout: limit})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = s.Save(t.Context(), key, []byte("x"), 0)
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("it took %v", d)
		}
		return err
	}
	try := func(t *testing.T) error { return within(t, 2*time.Second) }
	var unavailable *keyringstore.UnavailableError
	t.Run("no session", func(t *testing.T) {
		if _, err := os.Stat(fmt.Sprintf("/run/user/%d/bus", os.Getuid())); err == nil {
			t.Skip("this user has one")
		}
		// The D-Bus library would run this.
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "dbus-launch"), []byte("#!/bin/sh\ntouch "+bin+"/launched\nexit 1\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		if err := try(t); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "DBUS_SESSION_BUS_ADDRESS") {
			t.Errorf("got %v", err)
		}
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "autolaunch:")
		if err := try(t); !errors.As(err, &unavailable) {
			t.Errorf("got %v", err)
		}
		// One that the library does not look at.
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
		if err := os.WriteFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "bus"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := try(t); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "unix:path="+os.Getenv("XDG_RUNTIME_DIR")) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(filepath.Join(bin, "launched")); err == nil {
			t.Error("a bus was started, with an empty keyring behind it")
		}
	})
	t.Run("a session that is gone", func(t *testing.T) {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "gone"))
		if err := try(t); !errors.As(err, &unavailable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a session that never answers", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "bus")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
		if err := within(t, 200*time.Millisecond); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "did not answer") {
			t.Errorf("got %v", err)
		}
	})
}

// TestSecretService runs this test binary again within a D-Bus session that has a real GNOME Keyring.
func TestSecretService(t *testing.T) {
	t.Parallel()
	if os.Getenv(innerEnv) != "" {
		t.Skip("within")
	}
	type session struct{ name, start, run string }
	// The sessions of a home follow each other.
	for name, sessions := range map[string][]session{
		"a keyring in use": {
			{"the contract", testserver.UnlockedKeyring, "^TestWithin$"},
			{"a restart of the desktop", testserver.UnlockedKeyring, "^TestWithinAfterRestart$"},
			{"a session without a keyring", noService, "^TestWithinNothing$"},
			{"a locked keyring", testserver.LockedKeyring, "^TestWithinLocked$"},
			{"a keyring that stands still", keyringWithPID, "^TestWithinStopped$"},
		},
		"a keyring that was never set up": {{"locked", testserver.LockedKeyring, "^TestWithinLocked$"}},
		"programs that begin at once":     {{"with directories of their own", testserver.UnlockedKeyring, "^TestWithinDirectories$"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			for _, s := range sessions {
				t.Run(s.name, func(t *testing.T) {
					cmd := testserver.Desktop(t, home, s.start, os.Args[0], "-test.run", s.run, "-test.v", "-test.timeout", "2m")
					cmd.Env = append(cmd.Env, innerEnv+"=1", dirEnv+"="+home+"/records")
					out, err := testserver.Output(t, cmd)
					if err != nil || !strings.Contains(string(out), "--- PASS: "+strings.Trim(s.run, "^$")) {
						t.Errorf("%v\n%s", err, out)
					}
				})
			}
		})
	}
}

func within(t *testing.T) *keyringstore.Store {
	t.Helper()
	return withinLimit(t, 20*time.Second) // a busy machine starts the service slowly
}

func withinLimit(t *testing.T, limit time.Duration) *keyringstore.Store {
	t.Helper()
	if os.Getenv(innerEnv) == "" {
		t.Skip("only within TestSecretService")
	}
	s, err := keyringstore.New(&keyringstore.Options{Dir: os.Getenv(dirEnv), Timeout: limit})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWithin(t *testing.T) {
	t.Parallel()
	s := within(t)
	storetest.Run(t, func() (store.Store, error) { return s, nil })
	storetest.RunProcesses(t, func() (store.Store, error) { return s, nil })
	if _, err := s.Save(t.Context(), key, []byte("kept"), 0); err != nil {
		t.Error(err)
	}
}

func TestWithinAfterRestart(t *testing.T) {
	t.Parallel()
	s := within(t)
	if data, _, err := s.Load(t.Context(), key); err != nil || string(data) != "kept" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestWithinNothing(t *testing.T) {
	t.Parallel()
	s := within(t)
	var unavailable *keyringstore.UnavailableError
	if _, _, err := s.Load(t.Context(), key); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "no program") {
		t.Errorf("got %v", err)
	}
}

func TestWithinLocked(t *testing.T) {
	t.Parallel()
	s := within(t)
	var unavailable *keyringstore.UnavailableError
	if _, _, err := s.Load(t.Context(), key); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "it is locked") {
		t.Errorf("load: %v", err)
	}
	other := key
	other.Profile = "another"
	if _, err := s.Save(t.Context(), other, []byte("x"), 0); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "it is locked") {
		t.Errorf("save: %v", err)
	}
}

// loadEnv is "save" or "load" in a process of TestWithinDirectories, serviceEnv names the key.
const (
	loadEnv    = "KEYRINGSTORE_TEST_LOAD"
	serviceEnv = "KEYRINGSTORE_TEST_SERVICE"
)

func TestWithinDirectories(t *testing.T) {
	within(t)
	if what := os.Getenv(loadEnv); what != "" {
		s, err := keyringstore.New(&keyringstore.Options{Dir: os.Getenv(dirEnv), Service: os.Getenv(serviceEnv)})
		if err != nil {
			t.Fatal(err)
		}
		if what == "save" {
			fmt.Println("ready")
			_, _ = io.Copy(io.Discard, os.Stdin) // until all are
			if _, err := s.Save(t.Context(), key, []byte("kept"), 0); err != nil {
				t.Fatal(err)
			}
		}
		if data, _, err := s.Load(t.Context(), key); err != nil || string(data) != "kept" {
			t.Errorf("%q, %v", data, err)
		}
		return
	}
	for round := range 4 {
		var started []*exec.Cmd
		go1, start, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		child := func(i int, what string) *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestWithinDirectories$")
			cmd.Env = append(os.Environ(), loadEnv+"="+what, fmt.Sprintf("%s=round %d", serviceEnv, round), fmt.Sprintf("%s=%s/%d/%d", dirEnv, os.Getenv(dirEnv), round, i))
			cmd.Stderr = os.Stderr
			return cmd
		}
		var outs []*bufio.Reader
		for i := range 6 {
			cmd := child(i, "save")
			cmd.Stdin = go1
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			started, outs = append(started, cmd), append(outs, bufio.NewReader(out))
		}
		for _, out := range outs {
			if line, err := out.ReadString('\n'); err != nil || line != "ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
		}
		_ = go1.Close()
		_ = start.Close()
		for i, cmd := range started {
			said, _ := io.ReadAll(outs[i])
			if err := cmd.Wait(); err != nil {
				t.Errorf("round %d, save %d: %v\n%s", round, i, err, said)
			}
		}
		for i := range started {
			if said, err := child(i, "load").Output(); err != nil {
				t.Errorf("round %d, load %d: %v\n%s", round, i, err, said)
			}
		}
	}
}

// noService starts what follows on another bus, which can start no program: on the usual one the first
// question starts an installed keyring, which is then a locked one.
const noService = `cat >"$HOME/bus.conf" <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
	<type>session</type>
	<listen>unix:tmpdir=/tmp</listen>
	<policy context="default">
		<allow send_destination="*" eavesdrop="true"/>
		<allow eavesdrop="true"/>
		<allow own="*"/>
	</policy>
</busconfig>
END
set -- dbus-run-session --config-file="$HOME/bus.conf" -- "$@"`

const pidEnv = "KEYRINGSTORE_TEST_PID"

// keyringWithPID is an unlocked keyring whose process is known. Asked too early the bus would start
// another one.
const keyringWithPID = `printf secret | gnome-keyring-daemon --unlock --components=secrets --foreground >/dev/null 2>&1 &
export ` + pidEnv + `=$!
i=0; while [ $((i += 1)) -le 200 ]; do
	dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets | grep -q true && break
	sleep 0.05
done`

func TestWithinStopped(t *testing.T) {
	s := within(t)
	pid, err := strconv.Atoi(os.Getenv(pidEnv))
	if err != nil {
		t.Fatal(err)
	}
	// One in use goes on: its key is in memory.
	if _, _, err := s.Load(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	if _, _, err := s.Load(t.Context(), key); err != nil {
		t.Errorf("a store in use: %v", err)
	}
	late := withinLimit(t, 300*time.Millisecond)
	var unavailable *keyringstore.UnavailableError
	left := 0
	for i := range 3 {
		if _, _, err := late.Load(t.Context(), key); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "did not answer") {
			t.Errorf("got %v", err)
		}
		if n := runtime.NumGoroutine(); i == 0 {
			left = n
		} else if n > left {
			t.Errorf("%d goroutines after the first question, %d after another: each leaves some behind", left, n)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var data []byte
	for end := time.Now().Add(3 * time.Second); ; {
		data, _, err = late.Load(t.Context(), key)
		if err == nil || time.Now().After(end) {
			break // the keyring may take longer to go on than a question lasts
		}
	}
	if err != nil || string(data) != "kept" {
		t.Errorf("after it went on: %q, %v", data, err)
	}
}

// late is a keyring that answers its first question with what was true before something else happened.
type late struct {
	*fake
	meanwhile func()
}

func (k *late) Get(service, account string) (string, error) {
	if happen := k.meanwhile; happen != nil {
		k.meanwhile = nil
		happen()
		return "", keyringstore.ErrNoSecret
	}
	return k.fake.Get(service, account)
}

// TestAKeyThatIsMadeMeanwhile: another process makes the key and saves a record after this one has asked the keyring and
// before it looks for records. The key is not lost.
func TestAKeyThatIsMadeMeanwhile(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), &fake{}
	other := open(t, dir, k)
	s := open(t, dir, &late{fake: k, meanwhile: func() {
		if _, err := other.Save(t.Context(), key, []byte("x"), 0); err != nil {
			t.Error(err)
		}
	}})
	if data, _, err := s.Load(t.Context(), key); err != nil || string(data) != "x" {
		t.Errorf("%q, %v", data, err)
	}
}

// swapper is a keyring that keeps another key than it was given.
type swapper struct{ *fake }

func (k *swapper) Set(service, account, _ string) error {
	return k.fake.Set(service, account, sealed.GenerateKey().Text())
}

// TestAKeyringThatKeepsAnotherKey: what was sealed with the key that it was given could never be opened.
func TestAKeyringThatKeepsAnotherKey(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), &swapper{&fake{}})
	_, err := s.Save(t.Context(), key, []byte("x"), 0)
	var unavailable *keyringstore.UnavailableError
	if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "another secret") {
		t.Errorf("got %v", err)
	}
}
