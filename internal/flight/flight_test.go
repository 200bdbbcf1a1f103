package flight

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestManyCallersShareOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		var runs atomic.Int32
		release := make(chan struct{})
		for range 5000 {
			go func() {
				v, err := g.Do(context.Background(), "k", func(context.Context) (int, error) {
					runs.Add(1)
					<-release
					return 7, nil
				})
				if v != 7 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
			}()
		}
		synctest.Wait() // all of them are there
		close(release)
		synctest.Wait()
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs", n)
		}
	})
}

// join starts a caller of key in a goroutine and returns once it waits. Its result arrives on the channel.
func join(ctx context.Context, t *testing.T, g *Group[string], key string, fn func(context.Context) (string, error)) <-chan result {
	t.Helper()
	out := make(chan result, 1)
	go func() {
		v, err := g.Do(ctx, key, fn)
		out <- result{v, err}
	}()
	synctest.Wait()
	return out
}

type result struct {
	v   string
	err error
}

// lands returns after a second, or when its context ends.
func lands(ctx context.Context) (string, error) {
	select {
	case <-time.After(time.Second):
		return "landed", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func never(context.Context) (string, error) { return "another call", nil }

func TestEachCallerLeavesByItsOwnContext(t *testing.T) {
	for name, leader := range map[string]bool{"the leader leaves": true, "a follower leaves": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Group[string]
				leaving, cancel := context.WithCancel(t.Context())
				first, second := t.Context(), leaving
				if leader {
					first, second = leaving, t.Context()
				}
				a, b := join(first, t, &g, "k", lands), join(second, t, &g, "k", never)
				if leader {
					a, b = b, a
				}
				cancel()
				synctest.Wait()
				if r := <-b; !errors.Is(r.err, context.Canceled) {
					t.Errorf("who left got %+v", r)
				}
				if r := <-a; r.v != "landed" || r.err != nil {
					t.Errorf("who stayed got %+v", r)
				}
			})
		})
	}
}

func TestTheLastOneToLeaveCancelsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string]
		ended := false
		release := make(chan struct{})
		stubborn := func(ctx context.Context) (string, error) {
			<-ctx.Done()
			ended = true
			<-release
			return "late", nil
		}
		one, cancelOne := context.WithCancel(t.Context())
		two, cancelTwo := context.WithCancel(t.Context())
		join(one, t, &g, "k", stubborn)
		join(two, t, &g, "k", stubborn)
		cancelOne()
		synctest.Wait()
		if ended {
			t.Fatal("the call was cancelled while somebody waited")
		}
		cancelTwo()
		synctest.Wait()
		if !ended {
			t.Fatal("the call goes on for nobody")
		}
		// The cancelled call is still running: its result is for nobody who comes now.
		if v, err := g.Do(t.Context(), "k", never); v != "another call" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		waited := make(chan error, 1)
		go func() { waited <- g.Wait(t.Context()) }()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("Wait did not wait for the cancelled call")
		default:
		}
		close(release)
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}

func TestAStartedCallNeedsNoCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string]
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		g.Start(ctx, "k", func(ctx context.Context) (string, error) {
			_, err := lands(ctx)
			got <- err
			return "", err
		})
		joined := join(ctx, t, &g, "k", never)
		cancel()
		if r := <-joined; !errors.Is(r.err, context.Canceled) {
			t.Errorf("the caller got %+v", r)
		}
		if err := <-got; err != nil {
			t.Errorf("the started call was cancelled: %v", err)
		}
	})
}

func TestAnEmptyKeyIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string]
		a, b := join(t.Context(), t, &g, "", lands), join(t.Context(), t, &g, "", never)
		if r := <-b; r.v != "another call" {
			t.Errorf("got %+v", r)
		}
		if r := <-a; r.v != "landed" {
			t.Errorf("got %+v", r)
		}
	})
}

func TestAContextThatHasEndedStartsNothing(t *testing.T) {
	var g Group[string]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Do(ctx, "k", func(context.Context) (string, error) {
		t.Error("it was called")
		return "", nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAClosedGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string]
		over := errors.New("over")
		running := join(t.Context(), t, &g, "k", lands)
		g.Close(over)
		g.Close(errors.New("closed twice"))
		if r := <-running; r.err != over { //nolint:errorlint // the very error
			t.Errorf("the running call got %+v", r)
		}
		if _, err := g.Do(t.Context(), "k", never); err != over { //nolint:errorlint // the very error
			t.Errorf("Do: %v", err)
		}
		g.Start(t.Context(), "k", func(context.Context) (string, error) {
			t.Error("a closed group started a call")
			return "", nil
		})
		if err := g.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if g.calls != nil {
			t.Error("a group without calls keeps its map")
		}
	})
}

// TestDoBesideWait is for the race detector: calls that begin and end while others wait for none.
func TestDoBesideWait(t *testing.T) {
	var g Group[int]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				_, _ = g.Do(t.Context(), "k", func(context.Context) (int, error) { return 1, nil })
			}
		})
		wg.Go(func() {
			for range 2000 {
				if err := g.Wait(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestAPanicIsAnErrorForAll(t *testing.T) {
	var g Group[int]
	_, err := g.Do(context.Background(), "k", func(context.Context) (int, error) { panic("boom") })
	if !errors.Is(err, ErrPanic) || strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v", err)
	}
	want := errors.New("another error")
	g.Panicked = func(_ context.Context, value any, stack []byte) error {
		if value != "boom" || !strings.Contains(string(stack), "TestAPanicIsAnErrorForAll") {
			t.Errorf("%v, %s", value, stack)
		}
		return want
	}
	if _, err := g.Do(context.Background(), "k", func(context.Context) (int, error) { panic("boom") }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if err := g.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestWaitHonoursItsContext(t *testing.T) {
	var g Group[int]
	release := make(chan struct{})
	g.Start(context.Background(), "k", func(context.Context) (int, error) { <-release; return 0, nil })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := g.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}
