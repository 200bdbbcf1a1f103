package mcpoauth

import (
	"context"
	"iter"
	"runtime/debug"

	"github.com/mcpoauth/mcpoauth/store"
)

// guardedStore is a store whose panics become errors: what it panics with may hold a secret, and one damaged record
// must not end the program. The panic's value and stack go to the log.
type guardedStore struct {
	store.Store
	trace *tracer
}

func guard(st store.Store, t *tracer) guardedStore {
	if g, ok := st.(guardedStore); ok {
		st = g.Store
	}
	return guardedStore{st, t}
}

// recovered is deferred. It turns a panic into an error.
func (g guardedStore) recovered(ctx context.Context, err *error) {
	if p := recover(); p != nil {
		*err = g.trace.panicked(ctx, p, debug.Stack())
	}
}

// each calls yield for each key of a listing. It returns an error if the store panics; a panic of yield goes on.
func (g guardedStore) each(ctx context.Context, f store.Filter, yield func(store.Key, error) bool) (err error) {
	theirs := false
	defer func() {
		if theirs {
			return
		}
		if p := recover(); p != nil {
			err = g.trace.panicked(ctx, p, debug.Stack())
		}
	}()
	for key, err := range g.Store.List(ctx, f) {
		theirs = true
		more := yield(key, err)
		theirs = false
		if !more {
			return nil
		}
	}
	return nil
}

func (g guardedStore) Load(ctx context.Context, key store.Key) (data []byte, rev store.Revision, err error) {
	defer g.recovered(ctx, &err)
	return g.Store.Load(ctx, key)
}

func (g guardedStore) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (next store.Revision, err error) {
	defer g.recovered(ctx, &err)
	return g.Store.Save(ctx, key, data, rev)
}

func (g guardedStore) Delete(ctx context.Context, key store.Key, rev store.Revision) (err error) {
	defer g.recovered(ctx, &err)
	return g.Store.Delete(ctx, key, rev)
}

func (g guardedStore) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return func(yield func(store.Key, error) bool) {
		if err := g.each(ctx, f, yield); err != nil {
			yield(store.Key{}, err)
		}
	}
}

func (g guardedStore) Lock(ctx context.Context, key store.Key, name string) (held context.Context, unlock func() error, err error) {
	defer g.recovered(ctx, &err)
	held, free, err := g.Store.Lock(ctx, key, name)
	if err != nil {
		return nil, nil, err
	}
	return held, func() (err error) {
		defer g.recovered(ctx, &err)
		return free()
	}, nil
}

// Probe implements store.Prober, for a store that does.
func (g guardedStore) Probe(ctx context.Context) (err error) {
	defer g.recovered(ctx, &err)
	if p, ok := g.Store.(store.Prober); ok {
		return p.Probe(ctx)
	}
	return nil
}
