// Package flight runs one call per key at a time and shares its result.
//
// A flight is detached from whoever started it: a caller that leaves, the first one included,
// neither cancels the flight nor fails the others.
package flight

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Group is a set of flights. The zero value is ready to use.
type Group[T any] struct {
	mu    sync.Mutex
	calls map[string]*call[T]
	wg    sync.WaitGroup
}

type call[T any] struct {
	done chan struct{}
	val  T
	err  error
}

// Do returns the result of the flight for key, starting it with fn if none is under way. It
// returns early with ctx's error when ctx ends; the flight goes on. fn receives a context with
// ctx's values but without its cancellation, so it must bound itself. A panic in fn becomes an
// error for all callers.
func (g *Group[T]) Do(ctx context.Context, key string, fn func(context.Context) (T, error)) (T, error) {
	c := g.join(ctx, key, fn)
	select {
	case <-c.done:
		return c.val, c.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// Start starts the flight for key unless one is under way, and does not wait.
func (g *Group[T]) Start(ctx context.Context, key string, fn func(context.Context) (T, error)) {
	g.join(ctx, key, fn)
}

func (g *Group[T]) join(ctx context.Context, key string, fn func(context.Context) (T, error)) *call[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.calls[key]; c != nil {
		return c
	}
	c := &call[T]{done: make(chan struct{})}
	if g.calls == nil {
		g.calls = make(map[string]*call[T])
	}
	g.calls[key] = c
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		defer func() {
			if r := recover(); r != nil {
				c.err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
			g.mu.Lock()
			delete(g.calls, key)
			g.mu.Unlock()
			close(c.done)
		}()
		c.val, c.err = fn(context.WithoutCancel(ctx))
	}()
	return c
}

// Wait blocks until no flight is under way or ctx ends, whose error it then returns.
func (g *Group[T]) Wait(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
