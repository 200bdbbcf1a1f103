package proxy

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// body returns a request body. The message stays until the body is closed, which a transport may do long after it has
// the response, and from another goroutine than the one that reads. A short message is copied into a bytes.Reader,
// because net/http sends those together with the header, in one write.
func (m *message) body() io.ReadCloser {
	if m.file == nil && len(m.chunks) == 1 {
		return io.NopCloser(bytes.NewReader(bytes.Clone(m.chunks[0])))
	}
	m.refs.Add(1)
	return &body{m: m, r: m.reader()}
}

// body is a request body that keeps its message.
type body struct {
	mu sync.Mutex
	m  *message
	r  io.Reader
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		return 0, errors.New("the body is closed")
	}
	return b.r.Read(p)
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m != nil {
		b.m.free()
		b.m = nil
	}
	return nil
}
