package terminal

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Writer is a stream that people read. It shows what the program waits for: on a terminal by one line that is
// rewritten in place and removed before anything else is written, elsewhere by plain lines a minute apart.
type Writer struct {
	w io.Writer

	mu    sync.Mutex
	waits []*Waiting // the last one is shown
}

// NewWriter returns a Writer to w, or w itself if it is one: then all who write to it know of each other. Nil
// writes nowhere.
func NewWriter(w io.Writer) *Writer {
	switch w := w.(type) {
	case nil:
		return &Writer{w: io.Discard}
	case *Writer:
		return w
	}
	return &Writer{w: w}
}

// Unwrap returns the stream itself.
func (w *Writer) Unwrap() io.Writer { return w.w }

// Write removes the line that says what is waited for and writes b.
func (w *Writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.waits {
		s.erase()
	}
	return w.w.Write(b)
}

// Wait says what the program waits for.
type Wait struct {
	// What is shown: one line without control characters.
	What string
	// Deadline is when the wait ends; the time left is shown. Zero shows none.
	Deadline time.Time
	// Delay is how long nothing is shown.
	Delay time.Duration
	// Plain writes plain lines on a terminal too, because a person types there.
	Plain bool
}

// Waiting is a Wait that is being shown, until End.
type Waiting struct {
	Wait

	to     *Writer
	live   bool // rewritten in place
	width  int  // of the terminal, 0 unknown
	column int  // columns of the line on the terminal now
	stop   chan struct{}
	done   chan struct{}
}

const (
	liveEvery  = time.Second
	plainEvery = time.Minute
)

// Start shows a wait.
func (w *Writer) Start(wait Wait) *Waiting {
	s := &Waiting{Wait: wait, to: w, live: !wait.Plain && IsTerminal(w.w), stop: make(chan struct{}), done: make(chan struct{})}
	if s.live {
		s.width, _ = Size(w.w)
	}
	w.mu.Lock()
	w.waits = append(w.waits, s)
	w.mu.Unlock()
	go s.run()
	return s
}

// End removes the line. It may be called once.
func (s *Waiting) End() {
	s.to.mu.Lock()
	s.erase()
	s.to.waits = slices.DeleteFunc(s.to.waits, func(other *Waiting) bool { return other == s })
	s.to.mu.Unlock()
	close(s.stop)
	<-s.done
}

func (s *Waiting) run() {
	defer close(s.done)
	every := plainEvery
	if s.live {
		every = liveEvery
	}
	timer := time.NewTimer(s.Delay)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-timer.C:
		}
		s.to.mu.Lock()
		if n := len(s.to.waits); n > 0 && s.to.waits[n-1] == s {
			for _, other := range s.to.waits[:n-1] {
				other.erase()
			}
			s.show()
		}
		s.to.mu.Unlock()
		timer.Reset(every)
	}
}

// text is the line at this moment.
func (s *Waiting) text(now time.Time) string {
	if s.Deadline.IsZero() {
		return s.What
	}
	return fmt.Sprintf("%s, %s left", s.What, Short(s.Deadline.Sub(now)))
}

// show writes the line; the caller holds the Writer's lock.
func (s *Waiting) show() {
	line := s.text(time.Now())
	if !s.live {
		fmt.Fprintln(s.to.w, line)
		return
	}
	n := utf8.RuneCountInString(line)
	if s.width > 1 && n >= s.width {
		n = s.width - 1
		line = string([]rune(line)[:n-1]) + "…"
	}
	fmt.Fprint(s.to.w, "\r", line, strings.Repeat(" ", max(0, s.column-n)))
	s.column = max(n, 1)
}

// erase blanks the line; the caller holds the Writer's lock.
func (s *Waiting) erase() {
	if s.column > 0 {
		fmt.Fprint(s.to.w, "\r", strings.Repeat(" ", s.column), "\r")
		s.column = 0
	}
}
