package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/valkey-io/valkey-go"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
	"github.com/mcpoauth/mcpoauth/store/keyringstore"
	"github.com/mcpoauth/mcpoauth/store/pgstore"
	"github.com/mcpoauth/mcpoauth/store/redisstore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

const storeHint = "use file, file:DIR, keyring, redis://HOST, rediss://HOST or postgres://HOST/DATABASE"

// setStore understands --store and --seal. Nothing is connected before it is used; only the keyring is asked for
// its keys.
func (f *flags) setStore(ctx context.Context, o *mcpoauth.Options) error {
	if kind, dir, has := strings.Cut(f.store, ":"); (kind == "file" || kind == "") && len(f.seal) == 0 && has == (dir != "") {
		o.CacheDir = dir
		return nil
	}
	s, err := f.openStore()
	if err != nil {
		return err
	}
	if o.Store, err = f.sealStore(ctx, s); err != nil {
		return err
	}
	return nil
}

// openStore returns the store that --store names. The value may hold a password: no message repeats it.
func (f *flags) openStore() (store.Store, error) {
	kind, rest, has := strings.Cut(f.store, ":")
	switch {
	case kind == "file" && has && rest == "":
		return nil, &usageError{"--store file: needs a directory", "give one, as in --store file:/home/me/logins, or just --store file"}
	case kind == "file" || f.store == "":
		s, err := filestore.New(rest)
		if err != nil {
			return nil, newFailed(err)
		}
		return s, nil
	case kind == "keyring" && !has:
		s, err := keyringstore.New(nil)
		if err != nil {
			return nil, newFailed(err)
		}
		return s, nil
	case kind == "redis", kind == "rediss", kind == "valkey", kind == "valkeys":
		opt, err := valkey.ParseURL(strings.Replace(f.store, "valkey", "redis", 1))
		if err != nil || !strings.HasPrefix(rest, "//") {
			return nil, &usageError{"--store: the " + kind + " URL cannot be read", "as in redis://:PASSWORD@HOST:6379/0; MCPOAUTH_STORE keeps the password off the command line"}
		}
		opt.DisableCache = true
		opt.ForceSingleClient = true
		return redisstore.New(&redisConn{opt: opt}, nil)
	case kind == "postgres", kind == "postgresql":
		return openPostgres(f.store)
	}
	return nil, &usageError{"unknown kind of store in --store", storeHint}
}

// sealStore puts the seal of --seal around a store.
func (f *flags) sealStore(ctx context.Context, s store.Store) (store.Store, error) {
	if len(f.seal) == 0 {
		return s, nil
	}
	if _, ok := s.(*keyringstore.Store); ok {
		return nil, &usageError{"--store keyring is already sealed", "leave --seal out"}
	}
	keys, err := f.sealKeys(ctx)
	if err != nil {
		return nil, err
	}
	return sealed.New(s, &sealed.Options{AllowPlain: f.sealPlain}, keys...)
}

// sealKinds are the kinds of what --seal names.
var sealKinds = []string{"file", "env", "passphrase-env", "passphrase-file", sealKeyring}

const sealKeyring = "keyring"

// sealKeys reads the keys that --seal names.
func (f *flags) sealKeys(ctx context.Context) ([]sealed.Key, error) {
	var keys []sealed.Key
	for _, spec := range f.seal {
		kind, name, _ := strings.Cut(spec, ":")
		var more []sealed.Key
		var err error
		switch {
		case spec == sealKeyring:
			if more, err = keyringKeys(ctx); err != nil {
				return nil, err
			}
			f.keyringKeys = more
		case name == "":
			err = errors.New("the name after the colon is missing")
		case kind == "file":
			more, err = sealed.KeyFile(name)
		case kind == "env":
			more, err = sealed.KeyEnv(name)
		case kind == "passphrase-env":
			var k sealed.Key
			k, err = sealed.Passphrase(os.Getenv(name))
			more = []sealed.Key{k}
		case kind == "passphrase-file":
			var text string
			if text, err = readSecret("--seal", name); err == nil {
				var k sealed.Key
				k, err = sealed.Passphrase(text)
				more = []sealed.Key{k}
			}
		default:
			err = errors.New("unknown key type")
		}
		if err != nil {
			hint := "use file:PATH, env:NAME, passphrase-env:NAME, passphrase-file:PATH or keyring"
			if kind == "file" && errors.Is(err, os.ErrNotExist) {
				hint = "make one with: mcpoauth reseal --new-key " + name
			}
			// What has no known kind may be a key that somebody gave as it is.
			flag := "--seal"
			if slices.Contains(sealKinds, kind) {
				flag += " " + kind
			}
			return nil, &usageError{flag + ": " + strings.TrimPrefix(err.Error(), "sealed: "), hint}
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// keyringKeys returns the keys that the keyring has, and makes one if there is none.
func keyringKeys(ctx context.Context) ([]sealed.Key, error) {
	s, err := keyringstore.New(nil)
	if err != nil {
		return nil, err
	}
	keys, err := s.Keys(ctx)
	if errors.Is(err, keyringstore.ErrNoSecret) {
		if err = s.NewKey(ctx); err == nil {
			keys, err = s.Keys(ctx)
		}
	}
	return keys, err
}

// redisConn connects when it is first used, and again after that failed.
type redisConn struct {
	opt valkey.ClientOption
	mu  sync.Mutex
	c   valkey.Client
}

func (r *redisConn) client() (valkey.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.c == nil {
		c, err := valkey.NewClient(r.opt)
		if err != nil {
			return nil, err
		}
		r.c = c
	}
	return r.c, nil
}

// Do implements redisstore.Conn.
func (r *redisConn) Do(ctx context.Context, args ...any) (any, error) {
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	words := make([]string, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case string:
			words[i] = a
		case []byte:
			words[i] = string(a)
		default:
			return nil, fmt.Errorf("an argument of type %T", a)
		}
	}
	v, err := c.Do(ctx, c.B().Arbitrary(words...).Build()).ToAny()
	if valkey.IsValkeyNil(err) {
		return nil, nil
	}
	return v, err
}

// migrating makes the tables when it finds that they are not there. The library does not: a service's
// role may be forbidden to. A person who names a database wants it used.
type migrating struct {
	*pgstore.Store
}

func (m *migrating) retry(ctx context.Context, err error) bool {
	var missing *pgstore.NotMigratedError
	return errors.As(err, &missing) && m.Migrate(ctx) == nil
}

// Load implements store.Store.
func (m *migrating) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	data, rev, err := m.Store.Load(ctx, key)
	if m.retry(ctx, err) {
		return m.Store.Load(ctx, key)
	}
	return data, rev, err
}

// Lock implements store.Store.
func (m *migrating) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	held, unlock, err := m.Store.Lock(ctx, key, name)
	if m.retry(ctx, err) {
		return m.Store.Lock(ctx, key, name)
	}
	return held, unlock, err
}

// Probe implements store.Prober.
func (m *migrating) Probe(ctx context.Context) error {
	err := m.Store.Probe(ctx)
	if m.retry(ctx, err) {
		return m.Store.Probe(ctx)
	}
	return err
}

// openStore returns the store that the options name.
func openStore(o *mcpoauth.Options) (store.Store, error) {
	if o.Store != nil {
		return o.Store, nil
	}
	st, err := mcpoauth.OpenDefaultStore(o.CacheDir)
	if err != nil {
		return nil, newFailed(err)
	}
	return st, nil
}
