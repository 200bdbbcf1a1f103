package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// waiting shows what a command waits for. The zero deadline has no limit to show.
type waiting struct {
	out      io.Writer
	what     string
	deadline time.Time
	live     bool // rewritten in place
	width    int  // of the terminal; 0 unknown

	shown int // columns of the line on the terminal now
	stop  chan struct{}
	done  chan struct{}
}

const (
	liveEvery  = time.Second
	plainEvery = time.Minute
)

// startWait shows that the command waits, after delay, until endWait. inPlace asks for the line
// that is rewritten; without a terminal, or where a person types on it, plain lines are written.
func (u *ui) startWait(what string, deadline time.Time, delay time.Duration, inPlace bool) {
	u.endWait()
	w := &waiting{
		out:      u.raw(),
		what:     what,
		deadline: deadline,
		live:     inPlace && isTerminal(u.raw()),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	if w.live {
		w.width = columns(u.raw())
	}
	u.mu.Lock()
	u.wait = w
	u.mu.Unlock()
	go w.run(u, delay)
}

// endWait takes the line away.
func (u *ui) endWait() {
	u.mu.Lock()
	w := u.wait
	u.wait = nil
	if w != nil {
		w.erase()
		close(w.stop)
	}
	u.mu.Unlock()
	if w != nil {
		<-w.done
	}
}

func (w *waiting) run(u *ui, delay time.Duration) {
	defer close(w.done)
	every := plainEvery
	if w.live {
		every = liveEvery
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-timer.C:
		}
		u.mu.Lock()
		if u.wait == w {
			w.show()
		}
		u.mu.Unlock()
		timer.Reset(every)
	}
}

// text is the line at this moment.
func (w *waiting) text(now time.Time) string {
	if w.deadline.IsZero() {
		return w.what
	}
	return fmt.Sprintf("%s, %s left", w.what, short(w.deadline.Sub(now)))
}

func (w *waiting) show() {
	line := w.text(time.Now())
	if !w.live {
		fmt.Fprintln(w.out, line)
		return
	}
	if w.width > 1 {
		line = fit(line, w.width-1)
	}
	n := displayWidth(line)
	fmt.Fprint(w.out, "\r", line, strings.Repeat(" ", max(0, w.shown-n)))
	w.shown = max(n, 1)
}

// erase blanks the line; the caller holds the lock of the ui.
func (w *waiting) erase() {
	if w.shown > 0 {
		fmt.Fprint(w.out, "\r", strings.Repeat(" ", w.shown), "\r")
		w.shown = 0
	}
}
