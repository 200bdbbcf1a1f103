package mcpoauth

import (
	"sync"
	"time"
)

// cooldown spaces attempts that fail: each failure in a row doubles the pause, up to a limit.
type cooldown struct {
	base, limit time.Duration

	mu       sync.Mutex
	failures int
	until    time.Time
}

// Wait returns how long to leave it alone, 0 if an attempt may be made.
func (c *cooldown) Wait() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, time.Until(c.until))
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
	c.until = time.Now().Add(pause)
	return pause
}

// Reset ends the pause and the series.
func (c *cooldown) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures, c.until = 0, time.Time{}
}
