package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
)

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
