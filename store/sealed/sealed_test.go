package sealed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
	"github.com/mcpoauth/mcpoauth/store/memstore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
	"github.com/mcpoauth/mcpoauth/store/storetest"
)

const (
	dirEnv = "SEALED_TEST_DIR"
	keyEnv = "SEALED_TEST_KEY"
)

func TestMain(m *testing.M) {
	storetest.Child(func() (store.Store, error) {
		inner, err := filestore.New(os.Getenv(dirEnv))
		if err != nil {
			return nil, err
		}
		keys, err := sealed.KeyEnv(keyEnv)
		if err != nil {
			return nil, err
		}
		return sealed.New(inner, nil, keys...)
	})
	os.Exit(m.Run())
}

func seal(t testing.TB, inner store.Store, opt *sealed.Options, keys ...sealed.Key) *sealed.Store {
	t.Helper()
	s, err := sealed.New(inner, opt, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func passphrase(t testing.TB, text string) sealed.Key {
	t.Helper()
	k, err := sealed.Passphrase(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func save(t testing.TB, s store.Store, key store.Key, data string) store.Revision {
	t.Helper()
	rev, err := s.Save(t.Context(), key, []byte(data), 0)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func load(t testing.TB, s store.Store, key store.Key) string {
	t.Helper()
	data, _, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	one = store.Key{Kind: store.KindLogin, ID: "https://one.example/mcp"}
	two = store.Key{Kind: store.KindLogin, ID: "https://two.example/mcp"}
)

func TestContract(t *testing.T) {
	t.Run("a key", func(t *testing.T) {
		s := seal(t, memstore.New(), nil, sealed.GenerateKey())
		storetest.Run(t, func() (store.Store, error) { return s, nil })
	})
	t.Run("a passphrase", func(t *testing.T) {
		s := seal(t, memstore.New(), nil, passphrase(t, "correct horse"))
		storetest.Run(t, func() (store.Store, error) { return s, nil })
	})
}

func TestContractAcrossProcesses(t *testing.T) {
	dir, key := t.TempDir(), sealed.GenerateKey()
	inner, err := filestore.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := seal(t, inner, nil, key)
	storetest.RunProcesses(t, func() (store.Store, error) { return s, nil }, dirEnv+"="+dir, keyEnv+"="+key.Text())
}

func TestNothingCanBeReadBelow(t *testing.T) {
	inner := memstore.New()
	s := seal(t, inner, nil, sealed.GenerateKey())
	const secret = "refresh-token-canary"
	save(t, s, one, secret)
	save(t, s, two, secret)
	a, b := load(t, inner, one), load(t, inner, two)
	if strings.Contains(a+b, secret) || a == b {
		t.Error("the values below give the secret away, or that they are equal")
	}
	if load(t, s, one) != secret {
		t.Error("the value is lost")
	}
}

func TestAChangedOrExchangedValueIsNoticed(t *testing.T) {
	inner := memstore.New()
	s := seal(t, inner, nil, sealed.GenerateKey())
	save(t, s, one, "one")
	save(t, s, two, "two")
	data, rev, _ := inner.Load(t.Context(), one)
	var damaged *store.CorruptError

	if _, err := inner.Save(t.Context(), one, []byte(load(t, inner, two)), rev); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Load(t.Context(), one); !errors.As(err, &damaged) {
		t.Errorf("another record's value: %v", err)
	}
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 1
		_, rev, _ := inner.Load(t.Context(), one)
		if _, err := inner.Save(t.Context(), one, changed, rev); err != nil {
			t.Fatal(err)
		}
		if got, _, err := s.Load(t.Context(), one); err == nil && string(got) != "one" {
			t.Fatalf("byte %d changed, and %q was opened", i, got)
		} else if err == nil && !bytes.EqualFold(changed, data) {
			t.Errorf("byte %d changed (%q) without notice", i, changed)
		}
	}
}

func TestAnotherKeyIsNotADamagedRecord(t *testing.T) {
	inner := memstore.New()
	right, wrong := sealed.GenerateKey(), sealed.GenerateKey()
	save(t, seal(t, inner, nil, right), one, "one")
	for name, k := range map[string]sealed.Key{"another key": wrong, "a passphrase": passphrase(t, "x")} {
		_, _, err := seal(t, inner, nil, k).Load(t.Context(), one)
		var key *sealed.KeyError
		var damaged *store.CorruptError
		if !errors.As(err, &key) || errors.As(err, &damaged) || errors.Is(err, store.ErrNotFound) || len(key.Have) != 1 || key.Record != one {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := load(t, seal(t, inner, nil, wrong, right), one); got != "one" {
		t.Errorf("with both keys: %q", got)
	}
}

func TestAPassphraseOpensWhatItSealedInAnotherProcess(t *testing.T) {
	inner := memstore.New()
	first := seal(t, inner, nil, passphrase(t, "correct horse"))
	save(t, first, one, "one")
	second := seal(t, inner, nil, passphrase(t, "correct horse"))
	if got := load(t, second, one); got != "one" {
		t.Errorf("got %q", got)
	}
	save(t, second, two, "two")
	if got := load(t, first, two); got != "two" {
		t.Errorf("got %q", got)
	}
	var key *sealed.KeyError
	if _, _, err := seal(t, inner, nil, passphrase(t, "wrong horse")).Load(t.Context(), one); !errors.As(err, &key) {
		t.Errorf("a wrong passphrase: %v", err)
	}
}

func TestKeysAreChanged(t *testing.T) {
	inner := memstore.New()
	old, next := sealed.GenerateKey(), sealed.GenerateKey()
	before := seal(t, inner, nil, old)
	save(t, before, one, "one")
	save(t, before, two, "two")
	both := seal(t, inner, nil, next, old)
	if n, err := both.Reseal(t.Context()); n != 2 || err != nil {
		t.Fatalf("%d moved, %v", n, err)
	}
	if n, err := both.Reseal(t.Context()); n != 0 || err != nil {
		t.Errorf("a second time: %d moved, %v", n, err)
	}
	after := seal(t, inner, nil, next)
	if load(t, after, one) != "one" || load(t, after, two) != "two" {
		t.Error("the values are others")
	}
	if n, err := before.Reseal(t.Context()); n != 0 || err == nil {
		t.Errorf("with the old key alone: %d moved, %v", n, err)
	}
}

func TestAPlainStoreMovesIn(t *testing.T) {
	inner := memstore.New()
	rev := save(t, inner, one, `{"access_token":"x"}`)
	save(t, inner, two, "not even JSON")
	key := sealed.GenerateKey()
	if _, _, err := seal(t, inner, nil, key).Load(t.Context(), one); !errors.Is(err, sealed.ErrNotSealed) {
		t.Errorf("without AllowPlain: %v", err)
	}
	s := seal(t, inner, &sealed.Options{AllowPlain: true}, key)
	if got := load(t, s, one); got != `{"access_token":"x"}` {
		t.Errorf("got %q", got)
	}
	if _, err := s.Save(t.Context(), one, []byte("new"), rev); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Reseal(t.Context()); n != 1 || err != nil {
		t.Errorf("%d moved, %v", n, err)
	}
	strict := seal(t, inner, nil, key)
	if load(t, strict, one) != "new" || load(t, strict, two) != "not even JSON" {
		t.Error("the values are others")
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	inner := memstore.New()
	save(t, inner, one, `{"sealed":99,"key":"x","box":""}`)
	var newer *store.VersionError
	if _, _, err := seal(t, inner, nil, sealed.GenerateKey()).Load(t.Context(), one); !errors.As(err, &newer) || newer.Format != 99 {
		t.Errorf("got %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := sealed.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	if err := sealed.CreateKeyFile(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second key was written over the first: %v", err)
	}
	keys, err := sealed.KeyFile(path)
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	inner := memstore.New()
	save(t, seal(t, inner, nil, keys...), one, "one")
	if again, _ := sealed.KeyFile(path); load(t, seal(t, inner, nil, again...), one) != "one" {
		t.Error("the file's key is another")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sealed.KeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that everybody can read: %v", err)
	}
	if _, err := sealed.KeyFile(filepath.Dir(path)); err == nil {
		t.Error("a directory was taken for a key file")
	}
	if _, err := sealed.KeyFile(path + "-not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestKeysInText(t *testing.T) {
	a, b := sealed.GenerateKey(), sealed.GenerateKey()
	keys, err := sealed.ParseKeys("# comment\n" + a.Text() + " # the new one\n\n  " + b.Text())
	if err != nil || len(keys) != 2 || keys[0].Text() != a.Text() || keys[1].Text() != b.Text() {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	for _, bad := range []string{"", "# nothing", "not-base64!", "AAAA", strings.Repeat("A", 43) + "="} {
		if _, err := sealed.ParseKeys(bad); err == nil {
			t.Errorf("%q was taken for a key", bad)
		}
	}
	t.Setenv("SEALED_TEST_OTHER", "x")
	if _, err := sealed.KeyEnv("SEALED_TEST_OTHER"); err == nil || !strings.Contains(err.Error(), "SEALED_TEST_OTHER") {
		t.Errorf("got %v", err)
	}
	if _, err := sealed.KeyEnv("SEALED_TEST_MISSING"); err == nil {
		t.Error("a missing variable was a key")
	}
	if _, err := sealed.Passphrase(""); err == nil {
		t.Error("an empty passphrase was a key")
	}
	if _, err := sealed.New(memstore.New(), nil); err == nil {
		t.Error("no key was enough")
	}
	if _, err := sealed.New(memstore.New(), nil, sealed.Key{}); err == nil {
		t.Error("the zero key was enough")
	}
}

func TestKeysPrintRedacted(t *testing.T) {
	k, p := sealed.GenerateKey(), passphrase(t, "canary-phrase")
	out := fmt.Sprintf("%v %+v %#v %s %q %x %v %+v %#v", k, k, k, k, k, k, p, p, &p)
	if strings.Contains(out, k.Text()) || strings.Contains(out, "canary") {
		t.Errorf("a key was printed: %s", out)
	}
}

func FuzzOpen(f *testing.F) {
	key, err := sealed.ParseKeys("3J2b1mJqDq8VYZcT3vX0x0bqk1o5b0YzqJxw0n0Yb3E=")
	if err != nil {
		f.Fatal(err)
	}
	inner := memstore.New()
	save(f, seal(f, inner, nil, key...), one, "the value")
	f.Add([]byte(load(f, inner, one)))
	f.Add([]byte(`{"sealed":1,"key":"","salt":"AAAA","box":"AAAA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		inner := memstore.New()
		if _, err := inner.Save(context.Background(), two, data, 0); err != nil {
			t.Fatal(err)
		}
		if got, _, err := seal(t, inner, nil, key...).Load(context.Background(), two); err == nil {
			t.Errorf("opened %q, sealed by nobody, as %q", data, got)
		}
	})
}
