package proxy

import (
	"sync"
	"time"
)

const (
	// linger is how long a stream that has brought its answer may take to end, so that its connection can be used
	// again, and maxLinger how many streams may do so at once.
	linger    = time.Second
	maxLinger = 32
)

// lingering ends the streams that go on after their answer. One timer serves them all, and it is armed once a second
// at most, because arming one for each answer costs a system call in every exchange with the host.
type lingering struct {
	mu    sync.Mutex
	until map[*call]time.Time
	armed bool
}

// add lets the stream of a call go on for a while; then the call is cancelled. It reports false if too many streams
// do.
func (l *lingering) add(c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.until) >= maxLinger {
		return false
	}
	if l.until == nil {
		l.until = make(map[*call]time.Time)
	}
	l.until[c] = time.Now().Add(linger)
	if !l.armed {
		l.armed = true
		time.AfterFunc(linger, l.expire)
	}
	return true
}

// remove is called when the stream has ended.
func (l *lingering) remove(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, c)
}

// expire cancels the calls whose time is over, and arms the timer for the next.
func (l *lingering) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := time.Duration(-1)
	for c, until := range l.until {
		if left := time.Until(until); left <= 0 {
			delete(l.until, c)
			c.cancel()
		} else if next < 0 || left < next {
			next = left
		}
	}
	if l.armed = next >= 0; l.armed {
		time.AfterFunc(next, l.expire)
	}
}
