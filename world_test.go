package mcpoauth_test

import (
	"context"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// world is a server, a store and the Clients that share them, in a bubble: a test waits for hours in no time.
type world struct {
	t     *testing.T
	net   *memoryNetwork
	srv   *authtest.Server
	st    *loose
	asked atomic.Int32
}

// inWorld calls fn with a world whose server has these options.
func inWorld(t *testing.T, o authtest.Options, fn func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: newMemoryNetwork(), st: &loose{Store: memstore.New()}}
		w.srv = w.net.authtest(t, o)
		fn(t, w)
	})
}

// options completes o: the store and the network are the world's.
func (w *world) options(o mcpoauth.Options) mcpoauth.Options {
	if o.Store == nil {
		o.Store = w.st
	}
	o.Network.HTTPClient = w.net.client(w.t)
	return o
}

// open returns a Client, as another process would have it.
func (w *world) open(o mcpoauth.Options) *mcpoauth.Client {
	w.t.Helper()
	return newClient(w.t, w.srv.MCPURL(), w.options(o))
}

// loggedIn returns a Client with a person that has logged in, and its token.
func (w *world) loggedIn(o mcpoauth.Options) (*mcpoauth.Client, *mcpoauth.Token) {
	w.t.Helper()
	o.Prompt = w.net.person(w.t, &w.asked)
	c := w.open(o)
	tok, err := c.Login(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return c, tok
}

// change rewrites the stored login of c.
func (w *world) change(c *mcpoauth.Client, f func(*record.Login)) {
	w.t.Helper()
	rec := stored(w.t, w.st, c)
	f(rec)
	overwrite(w.t, w.st, c, rec)
}

// answer makes fn answer the requests of a leg; false leaves them to the server.
func (w *world) answer(leg string, fn func(w http.ResponseWriter, r *http.Request) bool) {
	w.srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{leg: fn}
	})
}

// loose is a store in memory with one fault at a time: locks that exclude nobody, as on some network file systems, or
// an error of one kind of call.
type loose struct {
	*memstore.Store

	mu       sync.Mutex
	unlocked bool
	loadErr  error
	saveErr  error
	probeErr error
	// onLoad is called after a login was read and before the reader gets it, onList and onDelete before the call.
	onLoad, onList func()
	onDelete       func() error
}

func (s *loose) set(f func(*loose)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *loose) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	s.mu.Lock()
	err, onLoad := s.loadErr, s.onLoad
	s.mu.Unlock()
	if key.Kind != store.KindLogin {
		return s.Store.Load(ctx, key)
	}
	if err != nil {
		return nil, 0, err
	}
	data, rev, err := s.Store.Load(ctx, key)
	if onLoad != nil {
		onLoad()
	}
	return data, rev, err
}

func (s *loose) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	s.mu.Lock()
	err := s.saveErr
	s.mu.Unlock()
	if err != nil && key.Kind == store.KindLogin {
		return 0, err
	}
	return s.Store.Save(ctx, key, data, rev)
}

func (s *loose) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	s.mu.Lock()
	onList := s.onList
	s.mu.Unlock()
	if onList != nil {
		onList()
	}
	return s.Store.List(ctx, f)
}

func (s *loose) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	s.mu.Lock()
	onDelete := s.onDelete
	s.mu.Unlock()
	if onDelete != nil {
		if err := onDelete(); err != nil {
			return err
		}
	}
	return s.Store.Delete(ctx, key, rev)
}

func (s *loose) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	s.mu.Lock()
	unlocked := s.unlocked
	s.mu.Unlock()
	if unlocked {
		return ctx, func() error { return nil }, nil
	}
	return s.Store.Lock(ctx, key, name)
}

func (s *loose) Probe(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probeErr
}

// registration returns the stored registration and its key, and fails the test unless there is one.
func (w *world) registration() (reg *record.Registration, key store.Key, rev store.Revision) {
	w.t.Helper()
	n := 0
	for k, err := range w.st.Store.List(w.t.Context(), store.Filter{Kind: store.KindRegistration}) {
		if err != nil {
			w.t.Fatal(err)
		}
		key = k
		n++
	}
	data, rev, err := w.st.Load(w.t.Context(), key)
	if err == nil {
		reg, err = record.DecodeRegistration(data)
	}
	if err != nil || n != 1 {
		w.t.Fatalf("%d registrations, %v", n, err)
	}
	return reg, key, rev
}

// register rewrites the stored registration.
func (w *world) register(f func(*record.Registration)) {
	w.t.Helper()
	reg, key, rev := w.registration()
	f(reg)
	data, err := reg.Encode()
	if err == nil {
		_, err = w.st.Save(w.t.Context(), key, data, rev)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
