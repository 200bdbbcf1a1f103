package terminal

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errNotMine = errors.New("it is another's")

// only accepts one line.
func only(want string) func(string) error {
	return func(line string) error {
		if line != want {
			return errNotMine
		}
		return nil
	}
}

// notComparable is a reader that cannot be the key of a map.
type notComparable struct {
	r io.Reader
	_ []int
}

func (n notComparable) Read(b []byte) (int, error) { return n.r.Read(b) }

func TestALineGoesToTheWaitThatAcceptsIt(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"comparable": func(r io.Reader) io.Reader { return r },
		"not comparable, and the wait is of the same Input": func(r io.Reader) io.Reader { return notComparable{r: r} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := io.Pipe()
				in := NewInput(wrap(r))
				one, two := in.Await(only("1")), in.Await(only("2"))
				go func() { _, _ = io.WriteString(w, "3\n\n  2 \n1\n"); _ = w.Close() }()
				if l := <-two.Lines; l.Text != "3" || !errors.Is(l.Refused, errNotMine) {
					t.Errorf("the latest wait got %+v", l)
				}
				if l := <-two.Lines; l.Text != "2" || l.Refused != nil {
					t.Errorf("the second wait got %+v", l)
				}
				if l := <-one.Lines; l.Text != "1" || l.Refused != nil {
					t.Errorf("the first wait got %+v", l)
				}
				one.End()
				two.End()
				synctest.Wait()
				late := in.Await(nil)
				if l, ok := <-late.Lines; ok {
					t.Errorf("got %+v after the end", l)
				}
				late.End()
			})
		})
	}
}

func TestAWaitThatEndsDoesNotHoldTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		in := NewInput(r)
		first := in.Await(only("1"))
		go func() { _, _ = io.WriteString(w, "wrong\n") }()
		synctest.Wait() // the line waits for the first wait to take it
		first.End()
		second := in.Await(only("2"))
		go func() { _, _ = io.WriteString(w, "2\n") }()
		if l := <-second.Lines; l.Text != "2" {
			t.Errorf("got %+v", l)
		}
		second.End()
		synctest.Wait()
		if n := len(inputs.readers); n != 0 {
			t.Errorf("%d readers are left", n)
		}
	})
}

// stuck returns no bytes and no error.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestAReaderThatMakesNoProgressEndsTheInput(t *testing.T) {
	typing := NewInput(stuck{}).Await(nil)
	defer typing.End()
	if l, ok := <-typing.Lines; ok {
		t.Errorf("got %+v", l)
	}
}

func TestALineMayBeAsLongAsTheLimit(t *testing.T) {
	for n, whole := range map[int]bool{maxLine - 1: true, maxLine: true, maxLine + 1: false} {
		line, err := readLine(strings.NewReader(strings.Repeat("x", n) + "\nnext\n"))
		if err != nil || whole && len(line) != n || !whole && line != "" {
			t.Errorf("of %d bytes %d were read, %v", n, len(line), err)
		}
	}
	if line, err := readLine(strings.NewReader(strings.Repeat("x", maxLine+1))); line != "" || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v", len(line), err)
	}
}

// safeBuffer may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.b.Reset()
	return s.b.String()
}

func TestOfTwoWaitsTheLatestIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b safeBuffer
		w := NewWriter(&b)
		if NewWriter(w) != w {
			t.Error("two writers for one stream do not know of each other")
		}
		one := w.Start(Wait{What: "one"})
		time.Sleep(time.Second)
		two := w.Start(Wait{What: "two", Deadline: time.Now().Add(5 * time.Minute)})
		time.Sleep(2*time.Minute + time.Second)
		if got := b.take(); got != "one\ntwo, 5m left\ntwo, 4m left\ntwo, 3m left\n" {
			t.Errorf("%q", got)
		}
		two.End()
		time.Sleep(time.Minute)
		if got := b.take(); got != "one\n" {
			t.Errorf("%q", got)
		}
		one.End()
		time.Sleep(time.Hour)
		if got := b.take(); got != "" {
			t.Errorf("%q", got)
		}
	})
}

func TestALiveLineIsTakenAwayBeforeAnythingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b safeBuffer
		w := NewWriter(&b)
		s := &Waiting{Wait: Wait{What: "waiting for something long"}, to: w, live: true, width: 12, stop: make(chan struct{}), done: make(chan struct{})}
		w.waits = append(w.waits, s)
		go s.run()
		synctest.Wait()
		if got := b.take(); got != "\rwaiting fo…" {
			t.Errorf("%q", got)
		}
		if _, err := io.WriteString(w, "a message\n"); err != nil {
			t.Fatal(err)
		}
		if got := b.take(); got != "\r"+strings.Repeat(" ", 11)+"\ra message\n" {
			t.Errorf("%q", got)
		}
		time.Sleep(1500 * time.Millisecond)
		if got := b.take(); got != "\rwaiting fo…" {
			t.Errorf("it is not shown again: %q", got)
		}
		s.End()
		if got := b.take(); got != "\r"+strings.Repeat(" ", 11)+"\r" {
			t.Errorf("%q", got)
		}
	})
}

func TestNoWriterIsNoPanic(t *testing.T) {
	if n, err := io.WriteString(NewWriter(nil), "x"); n != 1 || err != nil {
		t.Error(n, err)
	}
}
