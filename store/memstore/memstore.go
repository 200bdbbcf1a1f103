// Package memstore is a store in memory, for tests and programs whose logins need not outlive them.
// Its locks exclude within one Store; nothing is shared between processes.
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/mcpoauth/mcpoauth/store"
)

// Store is a store in memory. Use [New].
type Store struct {
	mu      sync.Mutex
	records map[store.Key]record
	locks   map[string]chan struct{}
	last    store.Revision
}

type record struct {
	data []byte
	rev  store.Revision
}

// New returns an empty store.
func New() *Store {
	return &Store{records: make(map[store.Key]record), locks: make(map[string]chan struct{})}
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[key]
	if !ok {
		return nil, 0, fmt.Errorf("%v: %w", key, store.ErrNotFound)
	}
	return bytes.Clone(r.data), r.rev, nil
}

// Save implements store.Store.
func (s *Store) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[key].rev != rev {
		return 0, fmt.Errorf("%v: %w", key, store.ErrConflict)
	}
	s.last++
	s.records[key] = record{append([]byte{}, data...), s.last}
	return s.last, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev != 0 && s.records[key].rev != rev {
		return fmt.Errorf("%v: %w", key, store.ErrConflict)
	}
	delete(s.records, key)
	return nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return func(yield func(store.Key, error) bool) {
		s.mu.Lock()
		var keys []store.Key
		for k := range s.records {
			if f.Match(k) {
				keys = append(keys, k)
			}
		}
		s.mu.Unlock()
		for _, k := range keys {
			if err := ctx.Err(); err != nil {
				yield(store.Key{}, err)
				return
			}
			if !yield(k, nil) {
				return
			}
		}
	}
}

// Lock implements store.Store.
func (s *Store) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	s.mu.Lock()
	id := key.Digest() + " " + name
	gate := s.locks[id]
	if gate == nil {
		gate = make(chan struct{}, 1)
		s.locks[id] = gate
	}
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	select {
	case gate <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var once sync.Once
	return held, func() error {
		once.Do(func() {
			cancel()
			<-gate
		})
		return nil
	}, nil
}
