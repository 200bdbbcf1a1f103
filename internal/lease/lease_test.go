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
	lost     bool          // does what it is told, but the answer is lost
	slow     time.Duration // how long an answer takes after the server has acted
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

// answer takes its time, unless there is none.
func (e *entry) answer(err error) {
	if err == nil {
		time.Sleep(e.slow)
	}
}

func (e *entry) Acquire(_ context.Context, owner string, d time.Duration) (ok bool, err error) {
	err = e.do(func() {
		if ok = e.owner == "" || time.Now().After(e.end); ok {
			e.owner, e.end = owner, time.Now().Add(d)
		}
	})
	e.answer(err)
	return ok, err
}

func (e *entry) Renew(_ context.Context, owner string, d time.Duration) (ok bool, err error) {
	err = e.do(func() {
		e.renewals++
		if ok = e.owner == owner && time.Now().Before(e.end); ok {
			e.end = time.Now().Add(d)
		}
	})
	e.answer(err)
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

// The server counts from when it grants the lease. An answer that takes long must not make the holder believe that
// it has the lock longer than the server says.
func TestASlowAnswerDoesNotLengthenTheLease(t *testing.T) {
	for name, renewals := range map[string]int{"of the first request": 0, "of a renewal": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &entry{slow: d / 2}
				held, unlock, err := Lock(t.Context(), e, d)
				if err != nil {
					t.Fatal(err)
				}
				for {
					e.mu.Lock()
					done := e.renewals >= renewals
					e.mu.Unlock()
					if done {
						break
					}
					time.Sleep(time.Second)
				}
				// The server has acted; from now on it can no longer be reached.
				e.set(func() { e.down = true })
				<-held.Done()
				if !errors.Is(context.Cause(held), ErrLost) {
					t.Errorf("cause %v", context.Cause(held))
				}
				if late := time.Since(e.end); late > 0 {
					t.Errorf("held ended %v after the lease", late)
				}
				e.set(func() { e.slow = 0 })
				_ = unlock()
			})
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		given, want Options
		fails       bool
	}{
		{Options{}, Options{Lease: 30 * time.Second, Timeout: 5 * time.Second}, false},
		{Options{Lease: time.Second, Timeout: time.Minute}, Options{Lease: time.Second, Timeout: time.Minute}, false},
		{Options{Timeout: -1}, Options{Lease: 30 * time.Second, Timeout: 5 * time.Second}, false},
		{Options{Lease: time.Second - 1}, Options{}, true},
		{Options{Lease: -time.Minute}, Options{}, true},
	} {
		got, err := tc.given.WithDefaults(5 * time.Second)
		if (err != nil) != tc.fails || err == nil && got != tc.want {
			t.Errorf("%+v: %+v, %v", tc.given, got, err)
		}
	}
}
