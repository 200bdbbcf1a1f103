package lease

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// entry is a lock on a server in memory, which can be cut off.
type entry struct {
	mu       sync.Mutex
	owner    string
	end      time.Time
	down     bool
	lost     bool // does what it is told, but the answer is lost
	renewals int
}

var errDown = errors.New("the server is not there")

func (e *entry) do(f func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.down {
		return errDown
	}
	f()
	if e.lost {
		return errDown
	}
	return nil
}

func (e *entry) Acquire(_ context.Context, owner string, d time.Duration) (ok bool, err error) {
	err = e.do(func() {
		if ok = e.owner == "" || time.Now().After(e.end); ok {
			e.owner, e.end = owner, time.Now().Add(d)
		}
	})
	return ok, err
}

func (e *entry) Renew(_ context.Context, owner string, d time.Duration) (ok bool, err error) {
	err = e.do(func() {
		e.renewals++
		if ok = e.owner == owner && time.Now().Before(e.end); ok {
			e.end = time.Now().Add(d)
		}
	})
	return ok, err
}

func (e *entry) Release(_ context.Context, owner string) error {
	return e.do(func() {
		if e.owner == owner {
			e.owner = ""
		}
	})
}

func (e *entry) set(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

const d = 30 * time.Second

func TestAHeldLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entry{}
		held, unlock, err := Lock(t.Context(), e, d)
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*d)
		defer cancel()
		if _, _, err := Lock(short, e, d); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second holder: %v", err)
		}
		e.set(func() {
			if held.Err() != nil || e.renewals < 25 {
				t.Errorf("held: %v, %d renewals", held.Err(), e.renewals)
			}
		})
		if err := unlock(); err != nil || held.Err() == nil || e.owner != "" {
			t.Errorf("unlock: %v, held %v, owner %q", err, held.Err(), e.owner)
		}
		if err := unlock(); err != nil {
			t.Errorf("a second unlock: %v", err)
		}
	})
}

func TestAWaiterGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entry{}
		_, unlock, err := Lock(t.Context(), e, d)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { _ = unlock() })
		start := time.Now()
		_, unlock2, err := Lock(t.Context(), e, d)
		if err != nil {
			t.Fatal(err)
		}
		if wait := time.Since(start); wait < time.Minute || wait > time.Minute+time.Second {
			t.Errorf("waited %v", wait)
		}
		_ = unlock2()
	})
}

func TestADeadHoldersLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entry{owner: "somebody who died", end: time.Now().Add(d)}
		start := time.Now()
		_, unlock, err := Lock(t.Context(), e, d)
		if err != nil {
			t.Fatal(err)
		}
		if wait := time.Since(start); wait < d || wait > d+time.Second {
			t.Errorf("waited %v", wait)
		}
		_ = unlock()
	})
}

func TestHeldEndsBeforeAnotherCanHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entry{}
		held, unlock, err := Lock(t.Context(), e, d)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(d)
		e.set(func() { e.down = true })
		<-held.Done()
		if !errors.Is(context.Cause(held), ErrLost) {
			t.Errorf("cause %v", context.Cause(held))
		}
		e.set(func() {
			if !time.Now().Before(e.end) {
				t.Errorf("held ended %v after the lease", time.Since(e.end))
			}
		})
		if err := unlock(); !errors.Is(err, ErrLost) {
			t.Errorf("unlock: %v", err)
		}
	})
}

func TestABlipCostsNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entry{}
		held, unlock, err := Lock(t.Context(), e, d)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			e.set(func() { e.down = true })
			time.Sleep(d / 3)
			e.set(func() { e.down = false })
			time.Sleep(d)
		}
		if held.Err() != nil {
			t.Errorf("lost: %v", context.Cause(held))
		}
		if err := unlock(); err != nil {
			t.Error(err)
		}
	})
}

func TestAStolenLeaseIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entry{}
		held, unlock, err := Lock(t.Context(), e, d)
		if err != nil {
			t.Fatal(err)
		}
		e.set(func() { e.owner = "another" })
		<-held.Done()
		_ = unlock()
		if e.owner != "another" {
			t.Error("another's lease was released")
		}
	})
}

func TestALostAnswerLeavesNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entry{lost: true}
		if _, _, err := Lock(t.Context(), e, d); !errors.Is(err, errDown) {
			t.Fatalf("got %v", err)
		}
		if e.owner != "" {
			t.Error("the lock is held by nobody who knows")
		}
	})
}
