package proxy

import (
	"io"
	"sync"
)

// maxAhead is how much is read ahead. It is more than a pipe holds when its writer is gone.
const maxAhead = 256 << 10

// ahead is a reader that can be told to read ahead while its consumer is busy, so that it notices the end of the
// input before its consumer has taken all of it.
type ahead struct {
	r io.Reader
	// ended is called once, when the end is found while reading ahead.
	ended func()

	mu      sync.Mutex
	changed sync.Cond
	stash   []byte // read ahead
	err     error  // after stash
	reading bool   // a goroutine reads ahead
	busy    bool   // the consumer does not read
}

func newAhead(r io.Reader, ended func()) *ahead {
	a := &ahead{r: r, ended: ended}
	a.changed.L = &a.mu
	return a
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	a.busy = false
	for a.reading && len(a.stash) == 0 {
		a.changed.Wait()
	}
	if len(a.stash) > 0 {
		defer a.mu.Unlock()
		n := copy(p, a.stash)
		if a.stash = a.stash[n:]; len(a.stash) == 0 {
			a.stash = nil
		}
		return n, nil
	}
	err := a.err
	a.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return a.r.Read(p)
}

// watch reads ahead until the consumer reads again.
func (a *ahead) watch() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = true
	if a.reading || a.err != nil {
		return
	}
	a.reading = true
	go func() {
		buf := make([]byte, 32<<10)
		for more := true; more; {
			n, err := a.r.Read(buf)
			a.mu.Lock()
			a.stash = append(a.stash, buf[:n]...)
			a.err = err
			more = err == nil && a.busy && len(a.stash) < maxAhead
			a.reading = more
			a.changed.Broadcast()
			a.mu.Unlock()
			if err != nil {
				a.ended()
			}
		}
	}()
}
