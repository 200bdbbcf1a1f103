package proxy

import (
	"bytes"
	"io"
	"strconv"
	"time"
)

const (
	// maxSSEField is how long an event's id, type or retry may be.
	maxSSEField = 4 << 10
	// maxRetry is the longest wait that a server may ask for.
	maxRetry = 10 * time.Minute
)

// events reads a stream of server-sent events (the HTML standard, section 9.2.6).
type events struct {
	r    io.Reader
	buf  []byte
	rest []byte
	err  error

	begun  bool
	skipLF bool // the line before ended in CR

	// id is the last event's, and retry the wait that the server asks for (negative: none).
	id    string
	retry time.Duration
	// count is how many events there were, those without data included, and full how many had data.
	count, full int

	nextID string
	value  [maxSSEField]byte // of the line under way
}

func newEvents(r io.Reader, buf []byte) *events {
	return &events{r: r, buf: buf, retry: -1}
}

// more reads on. It reports whether there is anything.
func (e *events) more() bool {
	for len(e.rest) == 0 {
		if e.err != nil {
			return false
		}
		n, err := e.r.Read(e.buf)
		e.rest, e.err = e.buf[:n], err
	}
	return true
}

// next reads up to the end of the next event that has data, writes the data into m and returns the
// event's type. A stream that ends within an event ends before it.
func (e *events) next(m *message) (string, error) {
	var (
		kind  string
		lines int // of data
	)
	for {
		if !e.begun {
			if !e.byteOrderMark() {
				return "", e.err
			}
		}
		// The name of the field.
		var (
			name  [8]byte
			n     int
			long  bool
			ended bool
			colon bool
		)
		for !colon && !ended {
			if !e.more() {
				return "", e.err
			}
			c := e.rest[0]
			e.rest = e.rest[1:]
			if e.skipLF {
				e.skipLF = false
				if c == '\n' {
					continue
				}
			}
			switch {
			case c == '\r' || c == '\n':
				e.skipLF = c == '\r'
				ended = true
			case c == ':':
				colon = true
			case n < len(name):
				name[n] = c
				n++
			default:
				long = true
			}
		}
		if ended && n == 0 {
			// A blank line: the event is whole.
			e.id = e.nextID
			e.count++
			if lines > 0 && !m.empty() {
				e.full++
				return kind, nil
			}
			kind, lines = "", 0
			continue
		}
		field := string(name[:n])
		if long {
			field = ""
		}
		if field == "data" {
			if lines > 0 {
				m.write([]byte{'\n'})
			}
			lines++
		}
		if ended {
			if field == "id" {
				e.nextID = ""
			}
			if field == "event" {
				kind = ""
			}
			continue
		}
		// Its value, up to the end of the line.
		v, over, first := e.value[:0], false, true
		for done := false; !done; {
			if !e.more() {
				return "", e.err
			}
			if first {
				first = false
				if e.rest[0] == ' ' {
					e.rest = e.rest[1:]
					continue
				}
			}
			p := e.rest
			i := lineEnd(p)
			if i >= 0 {
				e.skipLF = p[i] == '\r'
				e.rest = p[i+1:]
				p = p[:i]
				done = true
			} else {
				e.rest = nil
			}
			switch field {
			case "data":
				m.write(p)
				if m.over {
					return kind, errTooLarge
				}
			case "id", "event", "retry":
				if over = over || len(v)+len(p) > maxSSEField; !over {
					v = append(v, p...)
				}
			}
		}
		switch {
		case over:
		case field == "event":
			kind = string(v)
		case field == "id" && bytes.IndexByte(v, 0) < 0:
			e.nextID = string(v)
		case field == "retry":
			if ms, err := strconv.ParseUint(string(v), 10, 63); err == nil {
				e.retry = maxRetry
				if ms < uint64(maxRetry/time.Millisecond) {
					e.retry = time.Duration(ms) * time.Millisecond
				}
			}
		}
	}
}

func (e *events) byteOrderMark() bool {
	const mark = "\ufeff"
	for len(e.rest) < len(mark) && e.err == nil && string(e.rest) == mark[:len(e.rest)] {
		n, err := e.r.Read(e.buf[len(e.rest):])
		e.rest, e.err = e.buf[:len(e.rest)+n], err
	}
	e.rest = bytes.TrimPrefix(e.rest, []byte(mark))
	e.begun = true
	return len(e.rest) > 0 || e.err == nil
}

func lineEnd(p []byte) int {
	i := bytes.IndexByte(p, '\n')
	if i >= 0 {
		p = p[:i]
	}
	if j := bytes.IndexByte(p, '\r'); j >= 0 {
		return j
	}
	return i
}
