package storetest

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
)

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
				begun := time.Now()
				data, _, err := c.s.Load(ctx(), key)
				if err != nil {
					c.errorf("load: %v", err)
					return
				}
				if len(data) == 0 || !bytes.Equal(data, record(data[0])) {
					c.errorf("loaded %d bytes of which none or not all belong together", len(data))
					return
				}
				// Else few processors have no turn left for the writer.
				time.Sleep(max(time.Since(begun), 300*time.Microsecond))
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
