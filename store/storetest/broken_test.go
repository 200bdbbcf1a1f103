package storetest_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
	"github.com/mcpoauth/mcpoauth/store/storetest"
)

// recorder notes failures instead of failing.
type recorder struct {
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic("fatal")
}

func TestASoundStorePasses(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func() (store.Store, error) { return memstore.New(), nil })
}

// Each of these breaks one promise, and the contract must notice.
func TestBrokenStoresAreFound(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func() store.Store{
		"lost update":                    func() store.Store { return &lostUpdate{Store: memstore.New()} },
		"ignored revision":               func() store.Store { return &ignoredRevision{memstore.New()} },
		"lock that does not exclude":     func() store.Store { return &noLock{memstore.New()} },
		"one lock for all names":         func() store.Store { return &oneName{memstore.New()} },
		"lock wait that ignores context": func() store.Store { return &deafLock{memstore.New()} },
		"torn write":                     func() store.Store { return &tornWrite{Store: memstore.New()} },
		"shared bytes":                   func() store.Store { return &sharedBytes{Store: memstore.New(), kept: map[store.Key][]byte{}} },
		"revision reused after deletion": func() store.Store { return &reusedRevision{Store: memstore.New()} },
		"deletion that ignores revision": func() store.Store { return &blindDelete{memstore.New()} },
		"listing that ignores kinds":     func() store.Store { return &listsAll{memstore.New()} },
		"keys that run together":         func() store.Store { return &colliding{memstore.New()} },
		"unlock that frees another":      func() store.Store { return &doubleUnlock{Store: memstore.New(), gates: map[string]chan struct{}{}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			synctest.Test(t, func(*testing.T) {
				storetest.Run(r, func() (store.Store, error) { return broken(), nil })
			})
			if len(r.failures) == 0 {
				t.Error("the contract did not notice")
			} else {
				t.Log(r.failures[0])
			}
		})
	}
}

// lostUpdate compares, and writes later.
type lostUpdate struct {
	*memstore.Store
	mu sync.Mutex
}

func (s *lostUpdate) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	_, at, _ := s.Store.Load(ctx, key)
	if at != rev {
		return 0, store.ErrConflict
	}
	time.Sleep(100 * time.Microsecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, at, _ = s.Store.Load(ctx, key)
	return s.Store.Save(ctx, key, data, at)
}

type ignoredRevision struct{ *memstore.Store }

func (s *ignoredRevision) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	next, err := s.Store.Save(ctx, key, data, rev)
	if err != nil {
		_, at, _ := s.Store.Load(ctx, key)
		return s.Store.Save(ctx, key, data, at)
	}
	return next, nil
}

type noLock struct{ *memstore.Store }

func (s *noLock) Lock(ctx context.Context, _ store.Key, _ string) (context.Context, func() error, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	held, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return held, func() error { cancel(); return nil }, nil
}

type oneName struct{ *memstore.Store }

func (s *oneName) Lock(ctx context.Context, key store.Key, _ string) (context.Context, func() error, error) {
	return s.Store.Lock(ctx, key, "the")
}

type deafLock struct{ *memstore.Store }

func (s *deafLock) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	deaf, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2100*time.Millisecond)
	defer cancel()
	return s.Store.Lock(deaf, key, name)
}

// tornWrite writes a record in two steps.
type tornWrite struct{ *memstore.Store }

func (s *tornWrite) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	half, err := s.Store.Save(ctx, key, data[:len(data)/2], rev)
	if err != nil {
		return 0, err
	}
	time.Sleep(100 * time.Microsecond)
	return s.Store.Save(ctx, key, data, half)
}

type sharedBytes struct {
	*memstore.Store
	mu   sync.Mutex
	kept map[store.Key][]byte
}

func (s *sharedBytes) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	next, err := s.Store.Save(ctx, key, data, rev)
	if err == nil {
		s.mu.Lock()
		s.kept[key] = data
		s.mu.Unlock()
	}
	return next, err
}

func (s *sharedBytes) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	data, rev, err := s.Store.Load(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.kept[key]; ok && err == nil {
		data = kept
	}
	return data, rev, err
}

// reusedRevision counts each record's saves from one.
type reusedRevision struct {
	*memstore.Store
	mu   sync.Mutex
	real map[store.Key]store.Revision
	n    map[store.Key]store.Revision
}

func (s *reusedRevision) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n, s.real = map[store.Key]store.Revision{}, map[store.Key]store.Revision{}
	}
	if s.n[key] != rev {
		return 0, store.ErrConflict
	}
	next, err := s.Store.Save(ctx, key, data, s.real[key])
	if err != nil {
		return 0, err
	}
	s.real[key] = next
	s.n[key]++
	return s.n[key], nil
}

func (s *reusedRevision) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, _, err := s.Store.Load(ctx, key)
	return data, s.n[key], err
}

func (s *reusedRevision) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev != 0 && s.n[key] != rev {
		return store.ErrConflict
	}
	delete(s.n, key)
	delete(s.real, key)
	return s.Store.Delete(ctx, key, 0)
}

type blindDelete struct{ *memstore.Store }

func (s *blindDelete) Delete(ctx context.Context, key store.Key, _ store.Revision) error {
	return s.Store.Delete(ctx, key, 0)
}

type listsAll struct{ *memstore.Store }

func (s *listsAll) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return s.Store.List(ctx, store.Filter{Profiles: f.Profiles})
}

// colliding joins the parts of a key.
type colliding struct{ *memstore.Store }

func joined(key store.Key) store.Key {
	return store.Key{Kind: store.KindLogin, ID: string(key.Kind) + key.ID + key.Profile}
}

func (s *colliding) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	return s.Store.Load(ctx, joined(key))
}

func (s *colliding) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	return s.Store.Save(ctx, joined(key), data, rev)
}

// doubleUnlock frees the lock at every call.
type doubleUnlock struct {
	*memstore.Store
	mu    sync.Mutex
	gates map[string]chan struct{}
}

func (s *doubleUnlock) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	gate := s.gates[key.Digest()+name]
	if gate == nil {
		gate = make(chan struct{}, 1)
		s.gates[key.Digest()+name] = gate
	}
	s.mu.Unlock()
	select {
	case gate <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return held, func() error {
		cancel()
		select {
		case <-gate:
		default:
		}
		return nil
	}, nil
}
