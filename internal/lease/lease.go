// Package lease implements a lock as a lease: an entry on a server with an owner and an expiry, which is renewed
// while the lock is held.
//
// A lease excludes others as long as its holder runs. A holder that is suspended for longer than the lease (a
// stopped process, a sleeping machine) loses the lock without noticing at once, so its writes under the lock must be
// fenced by a comparison.
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

const (
	defaultLease = 30 * time.Second
	// minLease survives a pause of the garbage collector or the network.
	minLease = time.Second
)

// Options say how long a store on a server waits and for how long a lock outlives its holder.
type Options struct {
	// Lease is how long a lock outlives a holder that died. 0 is 30 seconds; less than a second is an error.
	Lease time.Duration
	// Timeout limits each request to the server. 0, or less, is the store's default.
	Timeout time.Duration
}

// WithDefaults returns the options with the defaults filled in, or an error if they cannot be used.
func (o Options) WithDefaults(timeout time.Duration) (Options, error) {
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	if o.Lease < minLease {
		return o, errors.New("a lease of less than a second does not survive a pause of the garbage collector or the network")
	}
	if o.Timeout <= 0 {
		o.Timeout = timeout
	}
	return o, nil
}

// Entry is one lock on the server. Its methods are called by one goroutine at a time.
type Entry interface {
	// Acquire makes owner the owner for d if there is none or its lease has ended.
	Acquire(ctx context.Context, owner string, d time.Duration) (bool, error)
	// Renew extends owner's lease to d from now. It reports false if owner does not have the lease.
	Renew(ctx context.Context, owner string, d time.Duration) (bool, error)
	// Release ends owner's lease. It is not an error if there is none.
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
		t := time.NewTimer(pause/2 + mathrand.N(pause)) // jitter
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, nil, ctx.Err()
		case <-t.C:
		}
		pause = min(pause*2, maxPause)
	}
	h := &holder{entry: e, owner: owner, lease: d, stop: make(chan struct{})}
	h.held, h.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	h.done.Go(func() { h.renew(since) })
	return h.held, h.unlock, nil
}

// holder is a lock that is held.
type holder struct {
	entry Entry
	owner string
	lease time.Duration
	// held ends when lose is called: with the cause ErrLost if the lease may have ended.
	held context.Context // the lock is handed out as this context
	lose context.CancelCauseFunc
	// stop ends the renewals, and done waits for their end.
	stop chan struct{}
	done sync.WaitGroup
	once sync.Once
}

// unlock ends the lease. The second call and later ones do nothing.
func (h *holder) unlock() (err error) {
	h.once.Do(func() {
		lost := context.Cause(h.held)
		close(h.stop)
		h.lose(context.Canceled)
		h.done.Wait()
		if lost != nil {
			err = fmt.Errorf("unlock: %w", lost)
		}
		// A lost lease is released as well: it may have been granted again.
		if rerr := release(h.entry, h.owner, h.lease); err == nil {
			err = rerr
		}
	})
	return err
}

// release gives up a lease, whether or not the caller's context lives on.
func release(e Entry, owner string, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), min(d, 5*time.Second))
	defer cancel()
	return e.Release(ctx, owner)
}

// renew keeps the lease until stop, and calls lose when it may have ended. since is when the request was
// made whose answer granted it.
func (h *holder) renew(since time.Time) {
	for {
		// A tenth of the lease is kept for clocks that run at different speeds.
		end := since.Add(h.lease - h.lease/10)
		if !h.pause(min(h.lease/3, time.Until(end))) {
			return
		}
		asked := time.Now()
		ctx, cancel := context.WithDeadline(h.held, end)
		ok, err := h.entry.Renew(ctx, h.owner, h.lease)
		cancel()
		switch {
		case err == nil && ok:
			since = asked
		case err == nil || !time.Now().Before(end):
			h.lose(ErrLost)
			return
		default: // tried again until the lease may have ended
			if !h.pause(min(maxPause, time.Until(end))) {
				return
			}
		}
	}
}

// pause waits for d and reports whether the lock is still held by this holder.
func (h *holder) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-h.stop:
		return false
	case <-t.C:
		return true
	}
}
