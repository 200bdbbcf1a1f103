package proxy

import (
	"bytes"
	"io"
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

// next reads a line into m. At the end of the input it returns io.EOF; a last line without a line end
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
