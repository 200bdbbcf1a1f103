package mcpoauth

import (
	"sync"
	"time"
)

// cooldown spaces attempts that fail: each failure in a row doubles the pause, up to a limit.
type cooldown struct {
	*pauses

	mu       sync.Mutex
	failures int32
	// until is in nanoseconds since 1970, 0 for no pause.
	until int64
}

// pauses are the first and the longest pause of a series.
type pauses struct{ base, limit time.Duration }

// Wait returns the rest of the pause, 0 if an attempt may be made.
func (c *cooldown) Wait() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, time.Until(time.Unix(0, c.until)))
}

// Fail begins a pause and returns it: retryAfter if that is not 0, else the next of the series.
func (c *cooldown) Fail(retryAfter time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	pause := c.limit
	if c.failures < 32 && c.base<<c.failures < c.limit {
		pause = c.base << c.failures
	}
	if retryAfter > 0 {
		pause = retryAfter
	}
	c.failures++
	c.until = time.Now().Add(pause).UnixNano()
	return pause
}

// Reset ends the pause and the series.
func (c *cooldown) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures, c.until = 0, 0
}
