package sealed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
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
		s := seal(t, memstore.New(), nil, sealed.CheapPassphrase("correct horse"))
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	inner := memstore.New()
	right, wrong := sealed.GenerateKey(), sealed.GenerateKey()
	save(t, seal(t, inner, nil, right), one, "one")
	for name, k := range map[string]sealed.Key{"another key": wrong, "a passphrase": sealed.CheapPassphrase("x")} {
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
	t.Parallel()
	inner := memstore.New()
	first := seal(t, inner, nil, sealed.CheapPassphrase("correct horse"))
	save(t, first, one, "one")
	second := seal(t, inner, nil, sealed.CheapPassphrase("correct horse"))
	if got := load(t, second, one); got != "one" {
		t.Errorf("got %q", got)
	}
	save(t, second, two, "two")
	if got := load(t, first, two); got != "two" {
		t.Errorf("got %q", got)
	}
	var key *sealed.KeyError
	if _, _, err := seal(t, inner, nil, sealed.CheapPassphrase("wrong horse")).Load(t.Context(), one); !errors.As(err, &key) {
		t.Errorf("a wrong passphrase: %v", err)
	}
}

// salts says how many different salts the values of a store have.
func salts(t *testing.T, inner store.Store) int {
	t.Helper()
	seen := map[string]bool{}
	for key, err := range inner.List(t.Context(), store.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Salt string `json:"salt"`
		}
		if err := json.Unmarshal([]byte(load(t, inner, key)), &v); err != nil {
			t.Fatal(err)
		}
		if v.Salt != "" {
			seen[v.Salt] = true
		}
	}
	return len(seen)
}

func TestProcessesWithOnePassphraseShareItsSalt(t *testing.T) {
	t.Parallel()
	inner := memstore.New()
	save(t, seal(t, inner, nil, sealed.GenerateKey()), two, "another key's, without a salt")
	for i := range 4 {
		// A process that logs in somewhere new has opened nothing before.
		s := seal(t, inner, nil, sealed.CheapPassphrase("correct horse"))
		var wg sync.WaitGroup
		for j := range 4 {
			wg.Go(func() {
				id := one
				id.Profile = fmt.Sprint(i, j)
				if _, err := s.Save(t.Context(), id, []byte("x"), 0); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if n := salts(t, inner); n != 1 {
		t.Errorf("there are %d salts: reading this store makes as many keys of one passphrase", n)
	}
	// A salt of somebody who does not know the passphrase is not taken.
	wrong := seal(t, inner, nil, sealed.CheapPassphrase("wrong horse"))
	id := one
	id.Profile = "wrong"
	if _, err := wrong.Save(t.Context(), id, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if n := salts(t, inner); n != 2 {
		t.Errorf("%d salts", n)
	}
}

func TestKeysAreChanged(t *testing.T) {
	t.Parallel()
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
	var key *sealed.KeyError
	if n, err := before.Reseal(t.Context()); n != 0 || !errors.As(err, &key) {
		t.Errorf("with the old key alone: %d moved, %v", n, err)
	}
}

// meddled is a store in which somebody else saves just before the saves of ours.
type meddled struct {
	store.Store
	before func()
}

func (m *meddled) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	m.before()
	return m.Store.Save(ctx, key, data, rev)
}

func TestARecordThatChangesWhileItIsResealedIsNotLeftWithTheOldKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ times, moved int }{"once": {1, 1}, "all the time": {1000, 0}} {
		t.Run(name, func(t *testing.T) {
			inner := memstore.New()
			old, next := sealed.GenerateKey(), sealed.GenerateKey()
			before := seal(t, inner, nil, old)
			save(t, before, one, "first")
			n := 0
			both := seal(t, &meddled{Store: inner, before: func() {
				if n++; n > tc.times {
					return
				}
				_, rev, err := before.Load(t.Context(), one)
				if err == nil {
					_, err = before.Save(t.Context(), one, []byte("refreshed"), rev)
				}
				if err != nil {
					t.Error(err)
				}
			}}, nil, next, old)
			moved, err := both.Reseal(t.Context())
			if moved != tc.moved || (err == nil) != (tc.moved == 1) {
				t.Fatalf("%d moved, %v", moved, err)
			}
			if got := load(t, both, one); got != "refreshed" {
				t.Errorf("got %q: the other process's save is lost", got)
			}
			_, _, err = seal(t, inner, nil, next).Load(t.Context(), one)
			if (err == nil) != (tc.moved == 1) {
				t.Errorf("with the new key alone: %v", err)
			}
		})
	}
}

func TestOneRecordThatCannotBeOpenedDoesNotKeepTheOthersFromBeingResealed(t *testing.T) {
	t.Parallel()
	inner := memstore.New()
	old, next := sealed.GenerateKey(), sealed.GenerateKey()
	before, strange := seal(t, inner, nil, old), seal(t, inner, nil, sealed.GenerateKey())
	id := func(name string, i int) store.Key {
		return store.Key{Kind: store.KindLogin, ID: "https://mcp.example", Profile: fmt.Sprint(name, i)}
	}
	for i := range 8 {
		save(t, before, id("ours", i), "ours")
		save(t, strange, id("theirs", i), "theirs")
		save(t, inner, id("plain", i), "plain")
	}
	moved, err := seal(t, inner, nil, next, old).Reseal(t.Context())
	if moved != 8 || err == nil || !strings.Contains(err.Error(), "16 records") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%d moved, %v", moved, err)
	}
	for i := range 8 {
		if load(t, seal(t, inner, nil, next), id("ours", i)) != "ours" || load(t, strange, id("theirs", i)) != "theirs" || load(t, inner, id("plain", i)) != "plain" {
			t.Errorf("a value is another")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := seal(t, inner, nil, sealed.GenerateKey(), next).Reseal(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	gone := &unreachable{Store: inner}
	if n, err := seal(t, gone, nil, sealed.GenerateKey(), next).Reseal(t.Context()); n != 0 || !errors.Is(err, errUnreachable) || gone.loads != 1 {
		t.Errorf("a store that is gone: %d moved, %v, asked %d times", n, err, gone.loads)
	}
}

var errUnreachable = errors.New("unreachable")

// unreachable is a store on a network that went away.
type unreachable struct {
	store.Store
	loads int
}

func (u *unreachable) Load(context.Context, store.Key) ([]byte, store.Revision, error) {
	u.loads++
	return nil, 0, errUnreachable
}

// The values below were sealed by the first version. They must open for ever.
func TestValuesSealedByEarlierVersionsOpen(t *testing.T) {
	t.Parallel()
	keys, err := sealed.ParseKeys("3J2b1mJqDq8VYZcT3vX0x0bqk1o5b0YzqJxw0n0Yb3E=")
	if err != nil {
		t.Fatal(err)
	}
	passphrase, err := sealed.Passphrase("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	for value, k := range map[string]sealed.Key{
		`{"sealed":1,"key":"0afbdaa373fe","box":"PC9Xx0UEx77L+UoBi3DVr9UPynJ4Heq0OSxOV3iWYpgmBx+o0g=="}`:                                   keys[0],
		`{"sealed":1,"key":"c657f95fc19c","salt":"+iJdnIYPqNF6AXkn2Y4oTw==","box":"7Ub4dlOXtwdL3pngGLi63LLxk3dxwhl1PcBCG8gsDnSP+ialGw=="}`: passphrase,
	} {
		inner := memstore.New()
		save(t, inner, one, value)
		if got := load(t, seal(t, inner, nil, k), one); got != "the value" {
			t.Errorf("%s: %q", value, got)
		}
	}
}

func TestAPlainStoreMovesIn(t *testing.T) {
	t.Parallel()
	inner := memstore.New()
	rev := save(t, inner, one, `{"access_token":"x"}`)
	save(t, inner, two, "not even JSON")
	key := sealed.GenerateKey()
	_, _, err := seal(t, inner, nil, key).Load(t.Context(), one)
	var damaged *store.CorruptError
	if !errors.Is(err, sealed.ErrNotSealed) || errors.As(err, &damaged) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("without AllowPlain: %v", err)
	}
	if hint := mcpoauth.Hint(err); !strings.Contains(hint, "AllowPlain") || !strings.Contains(hint, "--seal-plain") {
		t.Errorf("without AllowPlain the hint is %q", hint)
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

func TestATornSealedValueIsDamagedAndNeverPlain(t *testing.T) {
	t.Parallel()
	key := sealed.GenerateKey()
	inner := memstore.New()
	save(t, seal(t, inner, nil, key), one, "one")
	whole := load(t, inner, one)
	for _, torn := range []string{whole[:len(whole)-1], whole[:20], whole + "x", strings.Replace(whole, ":1,", ":0,", 1)} {
		for _, allow := range []bool{false, true} {
			inner := memstore.New()
			save(t, inner, one, torn)
			s := seal(t, inner, &sealed.Options{AllowPlain: allow}, key)
			var damaged *store.CorruptError
			if got, _, err := s.Load(t.Context(), one); !errors.As(err, &damaged) {
				t.Errorf("%q (AllowPlain %t): %q, %v", torn, allow, got, err)
			}
			if n, err := s.Reseal(t.Context()); n != 0 || err == nil || load(t, inner, one) != torn {
				t.Errorf("%q (AllowPlain %t): %d sealed again, %v", torn, allow, n, err)
			}
		}
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	inner := memstore.New()
	save(t, inner, one, `{"sealed":99,"key":"x","box":""}`)
	var newer *store.VersionError
	if _, _, err := seal(t, inner, nil, sealed.GenerateKey()).Load(t.Context(), one); !errors.As(err, &newer) || newer.Format != 99 {
		t.Errorf("got %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
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

func TestKeyFilesThatAreNotTrusted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if err := sealed.CreateKeyFile(good); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Skip(err)
	}
	if keys, err := sealed.KeyFile(link); err != nil || len(keys) == 0 {
		t.Errorf("a symbolic link, as secrets are mounted: %d keys, %v", len(keys), err)
	}
	// What is cut off may be the key that opens most.
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, []byte(sealed.GenerateKey().Text()+"\n"+strings.Repeat("#", 64<<10)+"\n"+sealed.GenerateKey().Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := sealed.KeyFile(long); err == nil {
		t.Errorf("%d keys of two were read from a long file", len(keys))
	}
	if err := sealed.CreateKeyFile(filepath.Join(dir, "missing", "key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
}

// person is a Prompt that plays a person who allows, and counts.
func person(srv *authtest.Server, asked *int) mcpoauth.Prompt {
	return func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		*asked++
		_, err := srv.Browser(ctx, lp.URL)
		return nil, err
	}
}

func TestALoginReplacesADamagedRecordAndNoneThatAnotherKeySealed(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	key := sealed.GenerateKey()
	for _, tc := range []struct {
		name   string
		broken func(t *testing.T, inner store.Store, id store.Key) sealed.Key
		asked  int
	}{
		{"another key", func(*testing.T, store.Store, store.Key) sealed.Key { return sealed.GenerateKey() }, 0},
		{"a plain record", func(t *testing.T, inner store.Store, id store.Key) sealed.Key {
			_, rev, err := inner.Load(t.Context(), id)
			if err == nil {
				_, err = inner.Save(t.Context(), id, []byte(load(t, seal(t, inner, nil, key), id)), rev)
			}
			if err != nil {
				t.Fatal(err)
			}
			return key
		}, 0},
		{"a torn record", func(t *testing.T, inner store.Store, id store.Key) sealed.Key {
			data, rev, err := inner.Load(t.Context(), id)
			if err == nil {
				_, err = inner.Save(t.Context(), id, data[:len(data)/2], rev)
			}
			if err != nil {
				t.Fatal(err)
			}
			return key
		}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inner, asked := memstore.New(), 0
			login := func(k sealed.Key) error {
				c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: seal(t, inner, nil, k), Prompt: person(srv, &asked)})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close(context.Background()) }()
				_, err = c.Login(t.Context(), nil)
				return err
			}
			if err := login(key); err != nil {
				t.Fatal(err)
			}
			var id store.Key
			for k, err := range inner.List(t.Context(), store.Filter{Kind: store.KindLogin}) {
				if err != nil {
					t.Fatal(err)
				}
				id = k
			}
			k := tc.broken(t, inner, id)
			asked = 0
			before := load(t, inner, id)
			err := login(k)
			if changed := load(t, inner, id) != before; asked != tc.asked || changed != (tc.asked > 0) || (err == nil) != (tc.asked > 0) {
				t.Errorf("asked %d times, replaced: %t, %v", asked, changed, err)
			}
		})
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
	t.Parallel()
	k, p := sealed.GenerateKey(), sealed.CheapPassphrase("canary-phrase")
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
			t.Errorf("opened %q, sealed for another record or by nobody, as %q", data, got)
		}
		if _, err := inner.Save(context.Background(), one, data, 0); err != nil {
			t.Fatal(err)
		}
		if got, _, err := seal(t, inner, nil, key...).Load(context.Background(), one); err == nil && string(got) != "the value" {
			t.Errorf("opened %q, sealed by nobody, as %q", data, got)
		}
	})
}

// TestAKeyInHex: 64 hex digits are also base64, of 48 bytes, which says nothing to a person who has made the key with
// "openssl rand -hex 32".
func TestAKeyInHex(t *testing.T) {
	t.Parallel()
	for _, word := range []string{strings.Repeat("0123456789abcdef", 4), strings.Repeat("0123456789ABCDEF", 4)} {
		if _, err := sealed.ParseKeys(word); err == nil || !strings.Contains(err.Error(), "hex") || strings.Contains(err.Error(), word[:16]) {
			t.Errorf("%s: %v", word, err)
		}
	}
	if keys, err := sealed.ParseKeys(sealed.GenerateKey().Text()); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}
