package proxy

import (
	"io"
	"sync"
)

// output writes whole messages to the host, one at a time.
type output struct {
	errors errorTexts
	// failed is called with the first error.
	failed func(error)

	mu  sync.Mutex
	w   io.Writer
	err error
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

// refuse answers the request with an id, raw JSON or nil for none, with an error.
func (o *output) refuse(id []byte, f *fault) { o.line(o.errors.answer(id, f)) }

func (o *output) check(err error) {
	if err != nil && o.err == nil {
		o.err = err
		o.failed(err)
	}
}
