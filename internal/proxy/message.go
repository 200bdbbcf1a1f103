package proxy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

const chunkSize = 16 << 10

// softChunks is how many chunks of a message stay in memory when the memory for all messages is used up.
const softChunks = 4

var (
	errTooLarge = errors.New("message too large")
	errStorage  = errors.New("a large message cannot be kept")
)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// budget is the memory that the messages of one bridge may use.
type budget struct {
	maxMessage int64
	spoolAbove int64
	memory     int64
	dir        string
	used       atomic.Int64
	spooled    atomic.Int64 // files open, for tests
}

// message is the text of one JSON-RPC message, or of a batch: in chunks of memory, or in a file if it is large. It
// is filled once and then only read.
type message struct {
	scanner
	b      *budget
	chunks [][]byte
	file   *os.File
	name   string // of a file that could not be unlinked while open
	size   int64
	read   int64 // how much was written, line breaks included
	raw    bool  // not JSON: not scanned
	over   bool  // too large: it is scanned to its end, but not kept
	broken error // why it could not be kept

	refs atomic.Int32
}

func (b *budget) message() *message {
	m := &message{b: b}
	m.refs.Store(1)
	return m
}

// messageOf returns a message of the bridge's own making.
func (b *budget) messageOf(text []byte) *message {
	m := b.message()
	m.write(text)
	return m
}

// room returns memory to read into.
func (m *message) room() []byte {
	n := len(m.chunks)
	if n == 0 || len(m.chunks[n-1]) == chunkSize {
		m.chunks = append(m.chunks, chunks.Get().(*[chunkSize]byte)[:0])
		m.b.used.Add(chunkSize)
		n++
	}
	c := m.chunks[n-1]
	return c[len(c):chunkSize]
}

// added makes the first n bytes of room part of the message.
func (m *message) added(n int) {
	last := &m.chunks[len(m.chunks)-1]
	start := len(*last)
	got := (*last)[start : start+n]
	if !m.raw {
		got = m.scan(got)
	}
	if m.read += int64(n); m.read > m.b.maxMessage {
		m.over = true
	}
	if m.over || m.err != nil {
		m.drop() // the text is not used any more
		return
	}
	*last = (*last)[:start+len(got)]
	m.size += int64(len(got))
	full := len(*last) == chunkSize
	if m.file != nil && full ||
		m.file == nil && (m.size > m.b.spoolAbove || full && len(m.chunks) >= softChunks && m.b.used.Load() > m.b.memory) {
		m.spool()
	}
}

// write adds p. It may change p.
func (m *message) write(p []byte) {
	for len(p) > 0 {
		n := copy(m.room(), p)
		p = p[n:]
		m.added(n)
	}
}

// fill reads r to its end, or until the message is too large. An error is r's.
func (m *message) fill(r io.Reader) error {
	for !m.over && m.err == nil {
		n, err := r.Read(m.room())
		if n > 0 {
			m.added(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// end is called when all was written. It returns why the message cannot be used.
func (m *message) end() error {
	if m.file != nil {
		m.spool()
	}
	switch {
	case m.over:
		return errTooLarge
	case m.err != nil:
		return m.err
	case m.broken != nil:
		return m.broken
	}
	return m.finish()
}

// spool moves the chunks in memory to the file.
func (m *message) spool() {
	if m.broken == nil && m.file == nil {
		f, err := os.CreateTemp(m.b.dir, "mcpoauth-*") // 0600
		if err != nil {
			m.broken = fmt.Errorf("%w: %w", errStorage, err)
		} else {
			m.file = f
			m.b.spooled.Add(1)
			if os.Remove(f.Name()) != nil {
				m.name = f.Name()
			}
		}
	}
	for _, c := range m.chunks {
		if m.broken == nil {
			if _, err := m.file.Write(c); err != nil {
				m.broken = fmt.Errorf("%w: %w", errStorage, err)
			}
		}
	}
	m.release()
}

// release gives the memory back.
func (m *message) release() {
	for _, c := range m.chunks {
		chunks.Put((*[chunkSize]byte)(c[:chunkSize]))
		m.b.used.Add(-chunkSize)
	}
	m.chunks = nil
}

// drop gives back all that the message holds.
func (m *message) drop() {
	m.release()
	if m.file != nil {
		_ = m.file.Close()
		if m.name != "" {
			_ = os.Remove(m.name)
		}
		m.file = nil
		m.b.spooled.Add(-1)
	}
}

// free gives up one reference to the message. A body that a transport has not closed yet holds another.
func (m *message) free() {
	if m != nil && m.refs.Add(-1) == 0 {
		m.drop()
	}
}

// empty reports whether nothing but white space was written.
func (m *message) empty() bool {
	return m.raw && m.size == 0 || !m.raw && m.state == sValue && m.depth == 0 && m.err == nil
}

// bytes returns the text in one piece. It is a copy unless the text is in one piece already.
func (m *message) bytes() ([]byte, error) {
	if m.file == nil && len(m.chunks) == 1 {
		return m.chunks[0], nil
	}
	p := make([]byte, m.size)
	_, err := io.ReadFull(m.reader(), p)
	return p, err
}

// reader returns a reader of the text, which must not outlive the message.
func (m *message) reader() io.Reader {
	if m.file != nil {
		return io.NewSectionReader(m.file, 0, m.size)
	}
	return &chunkReader{left: m.chunks}
}

type chunkReader struct {
	left [][]byte
	off  int
}

func (r *chunkReader) Read(p []byte) (n int, err error) {
	for len(r.left) > 0 && n < len(p) {
		c := copy(p[n:], r.left[0][r.off:])
		n += c
		if r.off += c; r.off == len(r.left[0]) {
			r.left, r.off = r.left[1:], 0
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
