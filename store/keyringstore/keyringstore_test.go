//go:build unix

package keyringstore_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/testserver"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/keyringstore"
	"github.com/mcpoauth/mcpoauth/store/storetest"
)

const (
	dirEnv = "KEYRINGSTORE_TEST_DIR"
	// innerEnv is set in the process that runs within a D-Bus session of its own.
	innerEnv = "KEYRINGSTORE_TEST_INNER"
)

func TestMain(m *testing.M) {
	storetest.Child(func() (store.Store, error) { return keyringstore.New(&keyringstore.Options{Dir: os.Getenv(dirEnv)}) })
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

func open(t *testing.T, dir string, k keyringstore.Keyring) *keyringstore.Store {
	t.Helper()
	s, err := keyringstore.New(&keyringstore.Options{Dir: dir, Keyring: k, Timeout: 200 * time.Millisecond})
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

func TestTheKeyringHoldsOneSmallKeyAndTheFilesNoSecret(t *testing.T) {
	dir, k := t.TempDir(), &fake{}
	s := open(t, dir, k)
	if _, _, err := s.Load(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before the first save: %v", err)
	}
	if k.sets != 0 {
		t.Error("a look made a key")
	}
	const secret = "refresh-canary"
	for i := range 20 {
		id := key
		id.Profile = string(rune('a' + i))
		if _, err := s.Save(t.Context(), id, []byte(secret), 0); err != nil {
			t.Fatal(err)
		}
	}
	if k.sets != 1 || len(k.secrets) != 1 || k.gets > 5 {
		t.Errorf("%d secrets, written %d times, read %d times", len(k.secrets), k.sets, k.gets)
	}
	for _, v := range k.secrets {
		if len(v) > 100 {
			t.Errorf("the secret has %d bytes", len(v))
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), secret) {
			t.Errorf("%s gives the token away", f)
		}
	}
	// Another process, or this one after a restart.
	id := key
	id.Profile = "a"
	if data, _, err := open(t, dir, k).Load(t.Context(), id); err != nil || string(data) != secret {
		t.Errorf("after a restart: %q, %v", data, err)
	}
}

func TestNoKeyringIsNeverPlainFiles(t *testing.T) {
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

func TestAKeyringThatNeverAnswersIsAskedOnce(t *testing.T) {
	k := &fake{hang: make(chan struct{})}
	s := open(t, t.TempDir(), k)
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
	if k.gets > 4 {
		t.Errorf("it was asked %d times", k.gets)
	}
}

func TestALostKeyIsSaidAndNotReplaced(t *testing.T) {
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

func TestTwoProcessesMakeOneKey(t *testing.T) {
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
	if k.sets != 1 {
		t.Errorf("%d keys were made", k.sets)
	}
}

func TestASecretThatIsNoKey(t *testing.T) {
	k := &fake{secrets: map[string]string{"mcpoauth/store key 1": "something else"}}
	if _, err := open(t, t.TempDir(), k).Save(t.Context(), key, []byte("x"), 0); err == nil || !strings.Contains(err.Error(), "not a key") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutADesktop(t *testing.T) {
	try := func(t *testing.T) error {
		s, err := keyringstore.New(&keyringstore.Options{Dir: t.TempDir(), Timeout: 2 * time.Second})
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
	var unavailable *keyringstore.UnavailableError
	t.Run("no session", func(t *testing.T) {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		if err := try(t); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "DBUS_SESSION_BUS_ADDRESS") {
			t.Errorf("got %v", err)
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
		if err := try(t); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "did not answer") {
			t.Errorf("got %v", err)
		}
	})
}

// TestSecretService runs this test binary again within a D-Bus session that has a real GNOME Keyring.
func TestSecretService(t *testing.T) {
	if os.Getenv(innerEnv) != "" {
		t.Skip("within")
	}
	home := t.TempDir()
	for _, tc := range []struct{ name, start, run string }{
		{"the contract", testserver.UnlockedKeyring, "^TestWithin$"},
		{"a restart of the desktop", testserver.UnlockedKeyring, "^TestWithinAfterRestart$"},
		{"a session without a keyring", testserver.NoKeyring, "^TestWithinNothing$"},
		{"a locked keyring", testserver.LockedKeyring, "^TestWithinLocked$"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := testserver.Desktop(t, home, tc.start, os.Args[0], "-test.run", tc.run, "-test.v", "-test.timeout", "2m")
			cmd.Env = append(cmd.Env, innerEnv+"=1", dirEnv+"="+home+"/records")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: "+strings.Trim(tc.run, "^$")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func within(t *testing.T) *keyringstore.Store {
	t.Helper()
	if os.Getenv(innerEnv) == "" {
		t.Skip("only within TestSecretService")
	}
	s, err := keyringstore.New(&keyringstore.Options{Dir: os.Getenv(dirEnv), Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWithin(t *testing.T) {
	s := within(t)
	storetest.Run(t, func() (store.Store, error) { return s, nil })
	storetest.RunProcesses(t, func() (store.Store, error) { return s, nil })
	if _, err := s.Save(t.Context(), key, []byte("kept"), 0); err != nil {
		t.Error(err)
	}
}

func TestWithinAfterRestart(t *testing.T) {
	s := within(t)
	if data, _, err := s.Load(t.Context(), key); err != nil || string(data) != "kept" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestWithinNothing(t *testing.T) {
	s := within(t)
	var unavailable *keyringstore.UnavailableError
	if _, _, err := s.Load(t.Context(), key); !errors.As(err, &unavailable) {
		t.Errorf("got %v", err)
	} else {
		t.Log(err)
	}
}

func TestWithinLocked(t *testing.T) {
	s := within(t)
	var unavailable *keyringstore.UnavailableError
	if _, _, err := s.Load(t.Context(), key); !errors.As(err, &unavailable) {
		t.Errorf("got %v", err)
	} else {
		t.Log(err)
	}
}
