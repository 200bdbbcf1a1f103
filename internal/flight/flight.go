// Package flight runs one call per key at a time and shares its result.
//
// A call runs in a goroutine of its own and counts who waits for it. Each caller leaves when its own
// context ends, which neither cancels the call nor fails the others; when the last one leaves, the call's
// context ends.
package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Group is a set of calls. The zero value is ready to use.
type Group[T any] struct {
	// Linger is how long the last caller to leave waits for the cancelled call to return, so that what it holds is
	// released. It must not be changed once the group is used.
	Linger time.Duration
	// Panicked is called with the value and the stack of a panic in a call, and returns the call's error. Nil returns
	// ErrPanic. It must not be changed once the group is used.
	Panicked func(ctx context.Context, value any, stack []byte) error

	mu    sync.Mutex
	calls map[string]*call[T]
	// running counts the calls whose function has not returned, those that nobody waits for included.
	running int
	// err is what a closed group answers, nil while it is open.
	err error
	// idle is closed when running reaches 0. It is made by the first Wait.
	idle chan struct{}
}

// ErrPanic is the error of a call that panicked. It has neither the value nor the stack, which may hold secrets.
var ErrPanic = errors.New("internal error")

type call[T any] struct {
	// done is closed after val and err are set.
	done chan struct{}
	val  T
	err  error
	// waiters counts the callers that have not left; a detached call counts one that never leaves.
	waiters int
	cancel  context.CancelFunc
	key     string
}

// Do returns the result of the call for key, starting it with fn if there is none. It returns early with
// ctx's error when ctx ends. fn receives a context with the values of the first caller's, which ends when
// the last caller has left or the group is closed. An empty key is never shared. A panic in fn becomes an
// error for all callers.
func (g *Group[T]) Do(ctx context.Context, key string, fn func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	c, err := g.join(ctx, key, fn)
	if err != nil {
		return zero, err
	}
	select {
	case <-c.done:
		return c.val, c.err
	case <-ctx.Done():
		if g.leave(c) && g.Linger > 0 {
			t := time.NewTimer(g.Linger)
			defer t.Stop()
			select {
			case <-c.done:
			case <-t.C:
			}
		}
		return zero, ctx.Err()
	}
}

// Start starts the call for key unless there is one, and does not wait. Nothing but closing the group
// cancels a call that was started so.
func (g *Group[T]) Start(ctx context.Context, key string, fn func(context.Context) (T, error)) {
	_, _ = g.join(ctx, key, fn)
}

func (g *Group[T]) join(ctx context.Context, key string, fn func(context.Context) (T, error)) (*call[T], error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return nil, g.err
	}
	if c := g.calls[key]; c != nil && key != "" {
		c.waiters++
		return c, nil
	}
	c := &call[T]{done: make(chan struct{}), waiters: 1, key: key}
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if key == "" {
		c.key = fmt.Sprintf("%p", c)
	}
	if g.calls == nil {
		g.calls = make(map[string]*call[T])
	}
	g.calls[c.key] = c
	g.running++
	go g.run(ctx, c, fn)
	return c, nil
}

func (g *Group[T]) run(ctx context.Context, c *call[T], fn func(context.Context) (T, error)) {
	defer func() {
		if r := recover(); r != nil {
			if c.err = ErrPanic; g.Panicked != nil {
				c.err = g.Panicked(ctx, r, debug.Stack())
			}
		}
		c.cancel()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.forget(c)
		close(c.done)
		if g.running--; g.running == 0 && g.idle != nil {
			close(g.idle)
			g.idle = nil
		}
	}()
	c.val, c.err = fn(ctx)
	if errors.Is(c.err, context.Canceled) {
		g.mu.Lock()
		if g.err != nil { // that is why it was cancelled
			c.err = g.err
		}
		g.mu.Unlock()
	}
}

// forget makes the next caller start a call of its own. The caller holds g.mu.
func (g *Group[T]) forget(c *call[T]) {
	if g.calls[c.key] == c {
		delete(g.calls, c.key)
	}
	if len(g.calls) == 0 {
		g.calls = nil
	}
}

// leave counts a caller out and reports whether it was the last.
func (g *Group[T]) leave(c *call[T]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.waiters--; c.waiters > 0 {
		return false
	}
	// Later callers must not get the result of a call that is being cancelled.
	g.forget(c)
	c.cancel()
	return true
}

// Close makes all later calls fail with err and cancels those that are running, which then fail with err too. It
// does not wait for them.
func (g *Group[T]) Close(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return
	}
	g.err = err
	for _, c := range g.calls {
		c.cancel()
	}
}

// Wait blocks until no call is running or ctx ends, whose error it then returns.
func (g *Group[T]) Wait(ctx context.Context) error {
	g.mu.Lock()
	if g.running == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
