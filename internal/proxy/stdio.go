package proxy

import (
	"bytes"
	"io"
	"sync"
)

// lines reads newline-delimited messages.
type lines struct {
	r     io.Reader
	buf   []byte
	rest  []byte
	begun bool
	err   error
}

func newLines(r io.Reader) *lines { return &lines{r: r, buf: make([]byte, 64<<10)} }

// next reads a line into m. At the end of the input it returns io.EOF; a last line without its end
// counts.
func (l *lines) next(m *message) error {
	some := false
	for {
		if len(l.rest) == 0 {
			if l.err != nil {
				if some {
					return nil
				}
				return l.err
			}
			n, err := l.r.Read(l.buf)
			l.rest, l.err = l.buf[:n], err
			if !l.begun && n > 0 {
				l.begun = true
				l.rest = bytes.TrimPrefix(l.rest, []byte("\ufeff"))
			}
			continue
		}
		some = true
		if i := bytes.IndexByte(l.rest, '\n'); i >= 0 {
			m.write(l.rest[:i])
			l.rest = l.rest[i+1:]
			return nil
		}
		m.write(l.rest)
		l.rest = nil
	}
}

// maxAhead is how much is read ahead. It is more than a pipe holds when its writer is gone.
const maxAhead = 256 << 10

// ahead is a reader that can be told to read ahead while its consumer is busy, so that the end of the
// input is noticed behind what nobody has taken yet.
type ahead struct {
	r io.Reader
	// ended is called, once, when the end was seen while reading ahead.
	ended func()

	mu      sync.Mutex
	changed sync.Cond
	stash   []byte
	err     error
	reading bool // ahead
	busy    bool // the consumer
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

// output writes whole messages, one at a time.
type output struct {
	mu  sync.Mutex
	w   io.Writer
	err error
	// failed is told of the first error.
	failed func(error)
}

var newline = []byte{'\n'}

// message writes m and a line end.
func (o *output) message(m *message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	if m.file != nil {
		buf := chunks.Get().(*[chunkSize]byte)
		_, err := io.CopyBuffer(struct{ io.Writer }{o.w}, struct{ io.Reader }{m.reader()}, buf[:])
		chunks.Put(buf)
		if err == nil {
			_, err = o.w.Write(newline)
		}
		o.check(err)
		return
	}
	for i, c := range m.chunks {
		last := i == len(m.chunks)-1
		whole := last && len(c) < cap(c)
		if whole {
			c = append(c, '\n') // there is room behind it
		}
		_, err := o.w.Write(c)
		if err == nil && last && !whole {
			_, err = o.w.Write(newline)
		}
		if o.check(err); err != nil {
			return
		}
	}
}

// line writes a message of the bridge's own.
func (o *output) line(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	_, err := o.w.Write(append(p[:len(p):len(p)], '\n'))
	o.check(err)
}

func (o *output) check(err error) {
	if err != nil && o.err == nil {
		o.err = err
		o.failed(err)
	}
}
