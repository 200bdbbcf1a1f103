package proxy

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is how long to wait after so many failures in a row, with jitter.
func backoff(fails int) time.Duration {
	if fails == 0 {
		return 0
	}
	d := 100 * time.Millisecond << min(fails-1, 8)
	d = min(d, 20*time.Second)
	return time.Duration(float64(d) * (0.5 + rand.Float64())) // jitter
}

// atLeast is the pause before a stream is opened again after so many in a row that brought nothing, even if the
// server wants none ("retry: 0"): servers that make their clients poll mean seconds.
func atLeast(idle int) time.Duration { return min(backoff(max(idle, 1)), time.Second) }

// sleep waits, or returns why it did not.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
