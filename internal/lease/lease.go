// Package lease makes a lock of a lease: an entry with an owner and an end on a server, renewed while
// the lock is held.
//
// A lease excludes as long as its holder runs. One that stands still for longer than the lease (a
// stopped process, a sleeping machine) loses the lock without noticing at once, so what it does under
// the lock must be fenced by a comparison when it writes.
package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// ErrLost is the cause of a held context that ended because the lease was lost.
var ErrLost = errors.New("the lock's lease was lost")

const (
	firstPause = 10 * time.Millisecond
	maxPause   = 250 * time.Millisecond
)

// Entry is one lock on the server. Its methods are called by one goroutine at a time.
type Entry interface {
	// Acquire makes owner the owner for d if there is none or its lease has ended.
	Acquire(ctx context.Context, owner string, d time.Duration) (bool, error)
	// Renew lets owner's lease end d from now. It reports false if owner is not the owner.
	Renew(ctx context.Context, owner string, d time.Duration) (bool, error)
	// Release ends owner's lease. That there is none is no error.
	Release(ctx context.Context, owner string) error
}

// Lock waits until it has the lease, and renews it until unlock. held ends with unlock, or with the
// cause ErrLost when another may have the lease.
func Lock(ctx context.Context, e Entry, d time.Duration) (held context.Context, unlock func() error, err error) {
	owner := rand.Text()
	pause := firstPause
	var since time.Time
	for {
		since = time.Now()
		ok, err := e.Acquire(ctx, owner, d)
		if err != nil {
			// The answer may have been lost, not the question.
			_ = release(e, owner, d)
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			return nil, nil, err
		}
		if ok {
			break
		}
		t := time.NewTimer(pause/2 + mathrand.N(pause)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, nil, ctx.Err()
		case <-t.C:
		}
		pause = min(pause*2, maxPause)
	}
	held, lose := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() { renew(held, e, owner, d, since, stop, lose) })
	var once sync.Once
	return held, func() (err error) {
		once.Do(func() {
			lost := context.Cause(held)
			close(stop)
			lose(context.Canceled)
			done.Wait()
			if lost != nil {
				err = fmt.Errorf("unlock: %w", lost)
			}
			// Also a lost one: it may have come back.
			if rerr := release(e, owner, d); err == nil {
				err = rerr
			}
		})
		return err
	}, nil
}

// release gives up a lease, whether or not the caller's context lives on.
func release(e Entry, owner string, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), min(d, 5*time.Second))
	defer cancel()
	return e.Release(ctx, owner)
}

// renew keeps the lease until stop, and calls lose when it may have ended. since is when the last
// answer that granted it was asked for.
func renew(held context.Context, e Entry, owner string, d time.Duration, since time.Time, stop <-chan struct{}, lose func(error)) {
	for {
		// A tenth of the lease is left for clocks that run at different speeds.
		end := since.Add(d - d/10)
		t := time.NewTimer(min(d/3, time.Until(end)))
		select {
		case <-stop:
			t.Stop()
			return
		case <-t.C:
		}
		asked := time.Now()
		ctx, cancel := context.WithDeadline(held, end)
		ok, err := e.Renew(ctx, owner, d)
		cancel()
		switch {
		case err == nil && ok:
			since = asked
		case err == nil || !time.Now().Before(end):
			lose(ErrLost)
			return
		default: // tried again until the lease may have ended
			p := time.NewTimer(min(maxPause, time.Until(end)))
			select {
			case <-stop:
				p.Stop()
				return
			case <-p.C:
			}
		}
	}
}
