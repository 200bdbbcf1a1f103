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
	// noRetry means that the server asked for no wait.
	noRetry time.Duration = -1
)

// events reads a stream of server-sent events (the HTML standard, section 9.2.6).
type events struct {
	r    io.Reader
	buf  []byte
	rest []byte
	err  error

	begun  bool
	skipLF bool // the line before ended in CR

	// id is the last event's, and retry the wait that the server asks for, noRetry if it asks for none.
	id    string
	retry time.Duration
	// count is how many events there were, those without data included, and full how many had data.
	count, full int

	nextID string
	kind   string // of the current event
	lines  int    // of data in the current event
	value  []byte // of the current line
}

func newEvents(r io.Reader, buf []byte) *events {
	return &events{r: r, buf: buf, retry: noRetry}
}

// eventField is the name of a line's field.
type eventField int8

const (
	otherField eventField = iota
	blankLine             // no name and no colon: the event ends
	dataField
	eventTypeField
	idField
	retryField
)

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

// next reads up to the end of the next event that has data, writes the data into m and returns the event's type.
// An event that the end of the stream cuts does not count.
func (e *events) next(m *message) (string, error) {
	e.kind, e.lines = "", 0
	if !e.begun && !e.byteOrderMark() {
		return "", e.err
	}
	for {
		f, colon, err := e.name()
		if err != nil {
			return "", err
		}
		if f == blankLine {
			e.id = e.nextID
			e.count++
			if e.lines > 0 && !m.empty() {
				e.full++
				return e.kind, nil
			}
			e.kind, e.lines = "", 0
			continue
		}
		if f == dataField {
			if e.lines > 0 {
				m.write([]byte{'\n'})
			}
			e.lines++
		}
		e.value = e.value[:0]
		if colon {
			fits, err := e.readValue(f, m)
			if err != nil {
				return e.kind, err
			}
			if !fits {
				continue
			}
		}
		e.set(f)
	}
}

// name reads the name of a line's field, up to the colon or to the end of the line.
func (e *events) name() (f eventField, colon bool, err error) {
	var name [8]byte // longer names mean nothing
	for n := 0; ; {
		if !e.more() {
			return otherField, false, e.err
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
			if n == 0 {
				return blankLine, false, nil
			}
			return fieldNamed(name[:min(n, len(name))]), false, nil
		case c == ':':
			return fieldNamed(name[:min(n, len(name))]), true, nil
		case n < len(name):
			name[n] = c
			n++
		}
	}
}

// fieldNamed returns the field with a name. A name of 8 bytes may be cut.
func fieldNamed(name []byte) eventField {
	switch string(name) {
	case "data":
		return dataField
	case "event":
		return eventTypeField
	case "id":
		return idField
	case "retry":
		return retryField
	}
	return otherField
}

// readValue reads the value of a field, up to the end of the line. Data goes to m, other values to e.value unless
// they are too long: then it reports false.
func (e *events) readValue(f eventField, m *message) (bool, error) {
	fits := true
	for first, done := true, false; !done; {
		if !e.more() {
			return false, e.err
		}
		if first {
			first = false
			if e.rest[0] == ' ' {
				e.rest = e.rest[1:]
				continue
			}
		}
		p := e.rest
		if i := lineEnd(p); i >= 0 {
			e.skipLF = p[i] == '\r'
			e.rest = p[i+1:]
			p = p[:i]
			done = true
		} else {
			e.rest = nil
		}
		switch f {
		case dataField:
			m.write(p)
			if m.over {
				return false, errTooLarge
			}
		case idField, eventTypeField, retryField:
			if fits = fits && len(e.value)+len(p) <= maxSSEField; fits {
				e.value = append(e.value, p...)
			}
		default:
		}
	}
	return fits, nil
}

// set takes a line that is complete.
func (e *events) set(f eventField) {
	switch f {
	case eventTypeField:
		e.kind = string(e.value)
	case idField:
		if bytes.IndexByte(e.value, 0) < 0 {
			e.nextID = string(e.value)
		}
	case retryField:
		if ms, err := strconv.ParseUint(string(e.value), 10, 63); err == nil {
			e.retry = maxRetry
			if ms < uint64(maxRetry/time.Millisecond) {
				e.retry = time.Duration(ms) * time.Millisecond
			}
		}
	default:
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

// lineEnd returns where the first CR or LF is, or -1.
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
