package flight

import (
	"context"
	"errors"
	"strings"
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

func TestALeaderWhoLeavesFailsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string]
		ctx, cancel := context.WithCancel(context.Background())
		fn := func(ctx context.Context) (string, error) {
			select {
			case <-time.After(time.Second):
				return "landed", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		left := make(chan error, 1)
		go func() {
			_, err := g.Do(ctx, "k", fn)
			left <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the leader got %v", err)
		}
		v, err := g.Do(context.Background(), "k", func(context.Context) (string, error) { return "another", nil })
		if v != "landed" || err != nil {
			t.Errorf("the follower got %q, %v", v, err)
		}
	})
}

func TestAPanicIsAnErrorForAll(t *testing.T) {
	var g Group[int]
	_, err := g.Do(context.Background(), "k", func(context.Context) (int, error) { panic("boom") })
	if err == nil || !strings.Contains(err.Error(), "boom") {
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
