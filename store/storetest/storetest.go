// Package storetest is the contract of store.Store as tests. Every store passes it, and whoever writes
// one can run it:
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
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
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

func missing(c *check) {
	key := login("missing")
	_, _, err := c.s.Load(ctx(), key)
	c.want(err, store.ErrNotFound, "load")
	_, err = c.s.Save(ctx(), key, []byte("x"), 7)
	c.want(err, store.ErrConflict, "save over a revision that never was")
	c.must(c.s.Delete(ctx(), key, 0), "delete")
	c.want(c.s.Delete(ctx(), key, 7), store.ErrConflict, "delete of a revision that never was")
}

func roundTrip(c *check) {
	key := login("roundtrip")
	var rev store.Revision
	for _, data := range []string{`{"a":1}`, "{ \"spaced\" : [1, 2] }\n", "", "\x00\xff not JSON", strings.Repeat("long ", 20000), "short"} {
		rev = c.save(key, data, rev)
		if rev == 0 {
			c.errorf("a save returned the revision 0")
		}
		got, at := c.load(key)
		if got != data || at != rev {
			c.errorf("saved %.40q at %d, loaded %.40q at %d", data, rev, got, at)
		}
	}
}

func compareAndSwap(c *check) {
	key := login("cas")
	first := c.save(key, "one", 0)
	_, err := c.s.Save(ctx(), key, []byte("again"), 0)
	c.want(err, store.ErrConflict, "creating what is there")
	second := c.save(key, "two", first)
	_, err = c.s.Save(ctx(), key, []byte("late"), first)
	c.want(err, store.ErrConflict, "saving over an old revision")
	_, err = c.s.Save(ctx(), key, []byte("early"), second+1)
	c.want(err, store.ErrConflict, "saving over a revision to come")
	if got, rev := c.load(key); got != "two" || rev != second {
		c.errorf("after refused saves: %q at %d", got, rev)
	}
}

func revisions(c *check) {
	key := login("revisions")
	seen := map[store.Revision]bool{}
	var rev store.Revision
	for i := range 20 {
		rev = c.save(key, strconv.Itoa(i), rev)
		if seen[rev] {
			c.errorf("the revision %d came twice", rev)
		}
		seen[rev] = true
		if i%5 == 4 {
			c.must(c.s.Delete(ctx(), key, rev), "delete")
			// A refresh that overlapped the deletion must not come through.
			_, err := c.s.Save(ctx(), key, []byte("ghost"), rev)
			c.want(err, store.ErrConflict, "saving over what was deleted")
			rev = 0
		}
	}
}

func oneWins(c *check) {
	key := login("onewins")
	rev := c.save(key, "start", 0)
	const n = 16
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, err := c.s.Save(ctx(), key, []byte(strconv.Itoa(i)), rev)
			if err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !errors.Is(err, store.ErrConflict) {
				c.errorf("save: %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		c.errorf("%d of %d saves over one revision were taken", won, n)
	}
}

func torn(c *check) {
	key := login("torn")
	record := func(b byte) []byte { return bytes.Repeat([]byte{b}, 30000+int(b)*200) }
	rev, err := c.s.Save(ctx(), key, record('a'), 0)
	c.must(err, "save")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				data, _, err := c.s.Load(ctx(), key)
				if err != nil {
					c.errorf("load: %v", err)
					return
				}
				if len(data) == 0 || !bytes.Equal(data, record(data[0])) {
					c.errorf("loaded %d bytes of which none or not all belong together", len(data))
					return
				}
			}
		})
	}
	for i := range 40 {
		rev, err = c.s.Save(ctx(), key, record('a'+byte(i%20)), rev)
		if err != nil {
			c.errorf("save: %v", err)
			break
		}
	}
	close(stop)
	readers.Wait()
}

func notShared(c *check) {
	key := login("shared")
	data := []byte("mine")
	_, err := c.s.Save(ctx(), key, data, 0)
	c.must(err, "save")
	copy(data, "XXXX")
	got, _, err := c.s.Load(ctx(), key)
	c.must(err, "load")
	if string(got) != "mine" {
		c.errorf("the store kept the caller's bytes: %q", got)
	}
	copy(got, "YYYY")
	if again, _ := c.load(key); again != "mine" {
		c.errorf("the store handed out its own bytes: %q", again)
	}
}

func deletion(c *check) {
	key := login("deletion")
	first := c.save(key, "one", 0)
	second := c.save(key, "two", first)
	c.want(c.s.Delete(ctx(), key, first), store.ErrConflict, "deleting an old revision")
	if got, _ := c.load(key); got != "two" {
		c.errorf("a refused deletion has deleted")
	}
	c.must(c.s.Delete(ctx(), key, second), "delete")
	_, _, err := c.s.Load(ctx(), key)
	c.want(err, store.ErrNotFound, "load")
	c.save(key, "three", 0)
	c.must(c.s.Delete(ctx(), key, 0), "delete whatever is there")
	_, _, err = c.s.Load(ctx(), key)
	c.want(err, store.ErrNotFound, "load")
}

func listing(c *check) {
	all := []store.Key{
		{Kind: store.KindLogin, ID: "https://l1.example", Profile: "list-a"},
		{Kind: store.KindLogin, ID: "https://l2.example", Profile: "list-b"},
		{Kind: store.KindRegistration, ID: "https://l1.example", Profile: "list-a"},
		{Kind: store.KindPending, ID: "p", Profile: "list-b"},
	}
	for _, k := range all {
		c.save(k, "x", 0)
	}
	gone := store.Key{Kind: store.KindLogin, ID: "https://gone.example", Profile: "list-a"}
	c.must(c.s.Delete(ctx(), gone, c.save(gone, "x", 0)), "delete")
	for _, tc := range []struct {
		f    store.Filter
		want []store.Key
	}{
		{store.Filter{Profiles: []string{"list-a", "list-b"}}, all},
		{store.Filter{Kind: store.KindLogin, Profiles: []string{"list-a", "list-b"}}, all[:2]},
		{store.Filter{Profiles: []string{"list-a"}}, []store.Key{all[0], all[2]}},
		{store.Filter{Kind: store.KindPending, Profiles: []string{"list-a"}}, nil},
		{store.Filter{Profiles: []string{}}, nil},
	} {
		got := map[store.Key]int{}
		for k, err := range c.s.List(ctx(), tc.f) {
			c.must(err, "list")
			got[k]++
		}
		for _, k := range tc.want {
			if got[k] != 1 {
				c.errorf("%+v listed %v %d times", tc.f, k, got[k])
			}
			delete(got, k)
		}
		for k := range got {
			c.errorf("%+v listed %v too", tc.f, k)
		}
	}
	for _, err := range c.s.List(ctx(), store.Filter{}) {
		c.must(err, "list")
		break // a listing may be left early
	}
	rest := 0
	for k, err := range c.s.List(ctx(), store.Filter{Kind: store.KindLogin}) {
		c.must(err, "list")
		if k.Kind != store.KindLogin {
			c.errorf("a listing of logins has %v", k)
		}
		rest++
	}
	if rest < 2 {
		c.errorf("a listing of all profiles has %d logins", rest)
	}
}

func keys(c *check) {
	ids := []string{
		"../../escape", "/etc/passwd", `C:\x`, "a\x00b", "a\nb", "CON", "a/", "a//", "a:b", "a*", "a?b[c]", "\u00e9", "e\u0301", strings.Repeat("long/", 1000), "A", "a", " a", "a ", "%2e%2e",
	}
	list := []store.Key{}
	for _, id := range ids {
		list = append(list, store.Key{Kind: store.KindLogin, ID: id, Profile: "keys"})
	}
	// Parts that run together must not meet.
	list = append(list, store.Key{Kind: store.KindLogin, ID: "xy", Profile: "z"}, store.Key{Kind: store.KindLogin, ID: "x", Profile: "yz"}, store.Key{Kind: store.KindRegistration, ID: "xy", Profile: "z"})
	for i, k := range list {
		c.save(k, strconv.Itoa(i), 0)
	}
	for i, k := range list {
		if got, _ := c.load(k); got != strconv.Itoa(i) {
			c.errorf("%.60v holds another key's record", k)
		}
	}
	found := map[store.Key]bool{}
	for k, err := range c.s.List(ctx(), store.Filter{Profiles: []string{"keys"}}) {
		c.must(err, "list")
		found[k] = true
	}
	for _, id := range ids {
		if !found[store.Key{Kind: store.KindLogin, ID: id, Profile: "keys"}] {
			c.errorf("the listing lost %.60q", id)
		}
	}
}

func exclusion(c *check) {
	key := login("exclusion")
	var mu sync.Mutex
	inside, entered := 0, 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				_, unlock, err := c.s.Lock(ctx(), key, "refresh")
				if err != nil {
					c.errorf("lock: %v", err)
					return
				}
				mu.Lock()
				inside++
				entered++
				if inside > 1 {
					c.errorf("%d holders at once", inside)
				}
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				inside--
				mu.Unlock()
				if err := unlock(); err != nil {
					c.errorf("unlock: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if entered != 40 {
		c.errorf("%d of 40 entered", entered)
	}
}

func otherLocks(c *check) {
	_, unlock, err := c.s.Lock(ctx(), login("lock1"), "refresh")
	c.must(err, "lock")
	defer func() { _ = unlock() }()
	for _, other := range []struct {
		key  store.Key
		name string
	}{{login("lock1"), "login"}, {login("lock2"), "refresh"}} {
		ctx, cancel := context.WithTimeout(ctx(), 3*time.Second)
		_, free, err := c.s.Lock(ctx, other.key, other.name)
		cancel()
		c.must(err, "lock of another name or key")
		c.must(free(), "unlock")
	}
	// A lock is no obstacle for the record.
	c.save(login("lock1"), "x", 0)
}

func lockWait(c *check) {
	key := login("lockwait")
	_, unlock, err := c.s.Lock(ctx(), key, "refresh")
	c.must(err, "lock")
	short, cancel := context.WithTimeout(ctx(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, free, err := c.s.Lock(short, key, "refresh"); err == nil {
		c.errorf("the lock was had twice")
		_ = free()
	} else if !errors.Is(err, context.DeadlineExceeded) {
		c.errorf("the wait ended with %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		c.errorf("the wait of 100ms took %v", took)
	}
	got := make(chan error, 1)
	go func() {
		_, free, err := c.s.Lock(ctx(), key, "refresh")
		if err == nil {
			err = free()
		}
		got <- err
	}()
	time.Sleep(20 * time.Millisecond)
	c.must(unlock(), "unlock")
	select {
	case err := <-got:
		c.must(err, "lock after unlock")
	case <-time.After(5 * time.Second):
		c.errorf("who waited did not get the lock")
	}
}

func held(c *check) {
	hold, unlock, err := c.s.Lock(ctx(), login("held"), "refresh")
	c.must(err, "lock")
	if hold.Err() != nil {
		c.errorf("held has ended before unlock")
	}
	c.must(unlock(), "unlock")
	select {
	case <-hold.Done():
	case <-time.After(5 * time.Second):
		c.errorf("held goes on after unlock")
	}
	_ = unlock()
	_, again, err := c.s.Lock(ctx(), login("held"), "refresh")
	c.must(err, "lock again")
	// A second unlock of the first must not free the second.
	_ = unlock()
	short, cancel := context.WithTimeout(ctx(), 100*time.Millisecond)
	defer cancel()
	if _, free, err := c.s.Lock(short, login("held"), "refresh"); err == nil {
		c.errorf("unlocking twice has freed somebody else's lock")
		_ = free()
	}
	c.must(again(), "unlock")
	// A holder whose context ends keeps the lock: it is released by unlock.
	brief, end := context.WithCancel(ctx())
	hold, unlock, err = c.s.Lock(brief, login("held"), "refresh")
	c.must(err, "lock")
	end()
	if hold.Err() != nil {
		c.errorf("held ended with the context of the wait")
	}
	c.must(unlock(), "unlock")
}

func ended(c *check) {
	over, cancel := context.WithCancel(ctx())
	cancel()
	key := login("ended")
	if _, _, err := c.s.Load(over, key); !errors.Is(err, context.Canceled) {
		c.errorf("load: %v", err)
	}
	if _, err := c.s.Save(over, key, []byte("x"), 0); !errors.Is(err, context.Canceled) {
		c.errorf("save: %v", err)
	}
	if err := c.s.Delete(over, key, 0); !errors.Is(err, context.Canceled) {
		c.errorf("delete: %v", err)
	}
	if _, unlock, err := c.s.Lock(over, key, "refresh"); !errors.Is(err, context.Canceled) {
		c.errorf("lock: %v", err)
		if err == nil {
			_ = unlock()
		}
	}
}
