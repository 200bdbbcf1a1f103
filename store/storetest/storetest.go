// Package storetest is the contract of store.Store as tests. Every store passes it, and the author of
// another one can run it:
//
//	func TestMain(m *testing.M) {
//		storetest.Child(func() (store.Store, error) { return mystore.New(os.Getenv("MYSTORE_DIR")) })
//		os.Exit(m.Run())
//	}
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func() (store.Store, error) { return mystore.New(t.TempDir()) })
//	}
//
//	func TestContractAcrossProcesses(t *testing.T) {
//		dir := t.TempDir()
//		storetest.RunProcesses(t, func() (store.Store, error) { return mystore.New(dir) }, "MYSTORE_DIR="+dir)
//	}
package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
)

// TB is the part of testing.TB that the tests need.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// Open opens the store under test. What several calls return must share their records and locks if
// the store is one that is shared.
type Open func() (store.Store, error)

// limit bounds each clause: what takes longer hangs.
const limit = 20 * time.Second

// Run checks every clause of the contract within this process. The store must be empty.
func Run(t TB, open Open) {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	for _, clause := range []struct {
		name string
		f    func(*check)
	}{
		{"a record that is not there is not found", missing},
		{"bytes come back as they were saved", roundTrip},
		{"a save compares the revision", compareAndSwap},
		{"a revision is never given out twice", revisions},
		{"one of many concurrent saves wins", oneWins},
		{"a record is never half of two", torn},
		{"bytes are not shared with the caller", notShared},
		{"a deletion compares the revision", deletion},
		{"a listing has what the filter selects", listing},
		{"keys do not collide and do not escape", keys},
		{"a lock excludes", exclusion},
		{"locks of other names and keys are free", otherLocks},
		{"a wait for a lock ends with its context", lockWait},
		{"held ends with unlock", held},
		{"an ended context is honoured", ended},
	} {
		c := &check{t: t, name: clause.name, s: s}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer c.stop()
			clause.f(c)
		}()
		select {
		case <-done:
		case <-time.After(limit):
			t.Errorf("%s: it hangs", clause.name)
			return
		}
	}
}

// check is one clause under way.
type check struct {
	t    TB
	name string
	s    store.Store
}

// halt ends a clause.
type halt struct{}

func (c *check) stop() {
	if r := recover(); r != nil {
		if _, ok := r.(halt); !ok {
			c.t.Errorf("%s: panic: %v", c.name, r)
		}
	}
}

func (c *check) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("%s: %s", c.name, fmt.Sprintf(format, args...))
}

// must ends the clause on an error.
func (c *check) must(err error, what string) {
	c.t.Helper()
	if err != nil {
		c.errorf("%s: %v", what, err)
		panic(halt{})
	}
}

func ctx() context.Context { return context.Background() }

func login(id string) store.Key {
	return store.Key{Kind: store.KindLogin, ID: "https://" + id + ".example/mcp", Profile: "storetest"}
}

// save saves over rev and returns the new revision.
func (c *check) save(key store.Key, data string, rev store.Revision) store.Revision {
	c.t.Helper()
	next, err := c.s.Save(ctx(), key, []byte(data), rev)
	c.must(err, "save")
	return next
}

func (c *check) load(key store.Key) (string, store.Revision) {
	c.t.Helper()
	data, rev, err := c.s.Load(ctx(), key)
	c.must(err, "load")
	return string(data), rev
}

func (c *check) want(err, target error, what string) {
	c.t.Helper()
	if !errors.Is(err, target) {
		c.errorf("%s: got %v, want %v", what, err, target)
	}
}
