package proxy

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// TestGoroutinesAreUsedAgain: a few wait for the next task, and none is left at the end.
func TestGoroutinesAreUsedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged syncBuffer
		all := &tasks{log: slog.New(slog.NewTextHandler(&logged, nil))}
		release := make(chan bool)
		var done sync.WaitGroup
		for range 5 * maxIdle {
			done.Add(1)
			all.start("waiting", func() { defer done.Done(); <-release }, nil)
		}
		close(release)
		done.Wait()
		synctest.Wait()
		if n := len(all.idle); n != maxIdle {
			t.Errorf("%d goroutines wait, want %d", n, maxIdle)
		}
		ran, failed := 0, errors.New("")
		for range 3 * maxIdle {
			all.start("counting", func() { ran++ }, nil)
			synctest.Wait()
		}
		all.start("failing", func() { panic("x\x1b") }, func(err error) { failed = err })
		synctest.Wait()
		all.start("counting", func() { ran++ }, nil)
		synctest.Wait()
		if ran != 3*maxIdle+1 || !strings.Contains(failed.Error(), "failing") || strings.Contains(logged.String(), "\x1b") || strings.Contains(logged.String(), "goroutine") || !strings.Contains(logged.String(), "internal error") {
			t.Errorf("%d tasks ran, %v, %s", ran, failed, logged.String())
		}
		held := make(chan bool)
		all.start("held", func() { <-held }, nil)
		all.close()
		close(held)
		all.wait() // what ended after close waits for nothing
		all.start("late", func() { t.Error("a task was started after the end") }, nil)
		synctest.Wait()
	})
}
