package terminal

import (
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxLine bounds a line that is read, in bytes; a redirect URL is a small part of it.
const maxLine = 64 << 10

// Input is a stream of lines that people type or paste.
type Input struct {
	r io.Reader
	// used means that somebody has waited for a line. inputs guards it.
	used bool
}

// NewInput returns the lines of r.
func NewInput(r io.Reader) *Input { return &Input{r: r} }

// Line is a line that a person typed or pasted.
type Line struct {
	// Text has no white space around it. It is empty only for a wait that accepts that.
	Text string
	// Refused says why no wait accepts the line. Nil: the receiver's does.
	Refused error
}

// Typing waits for a line.
type Typing struct {
	// Lines receives the lines that no wait accepts, if this one began last, and then the one line that this one
	// accepts: the wait ends with it. It is closed when the input ends.
	Lines <-chan Line

	lines  chan Line
	accept func(line string) error
	from   *reader
	ended  chan struct{}
}

// reader is the goroutine that reads the lines of a stream, as long as somebody waits for them.
type reader struct {
	key     any
	r       io.Reader
	waiting []*Typing
}

// inputs are the streams that are being read. A stream such as standard input is one for the whole process: if each
// login read it by itself, each would take lines that are meant for another. Only for that is this state of the
// package; an entry lives as long as its goroutine.
var inputs = struct {
	sync.Mutex
	readers map[any]*reader
}{readers: map[any]*reader{}}

// Await waits for a line, until End. accept says why a line is not for this wait, nil if it is; it is called from
// another goroutine. Nil accepts any line.
//
// All waits for lines of one stream, of whatever Input, share one reader, and a line goes to the wait that accepts it.
// No byte is read beyond the line. On Linux a file is not read while nobody waits; elsewhere a read that has begun
// cannot be taken back, and the line that ends it is dropped if nobody waits for it. What was typed since the last
// wait of this Input is dropped where that can be told.
func (in *Input) Await(accept func(line string) error) *Typing {
	if accept == nil {
		accept = func(string) error { return nil }
	}
	lines := make(chan Line)
	t := &Typing{Lines: lines, lines: lines, accept: accept, ended: make(chan struct{})}
	var key any = in
	if reflect.ValueOf(in.r).Comparable() {
		key = in.r
	}
	inputs.Lock()
	defer inputs.Unlock()
	t.from = inputs.readers[key]
	if in.used && (t.from == nil || len(t.from.waiting) == 0) {
		drop(in.r)
	}
	in.used = true
	if t.from == nil {
		t.from = &reader{key: key, r: in.r}
		inputs.readers[key] = t.from
		go t.from.run()
	}
	t.from.waiting = append(t.from.waiting, t)
	return t
}

// End ends the wait. It may be called once.
func (t *Typing) End() {
	t.leave()
	close(t.ended)
}

func (t *Typing) leave() {
	inputs.Lock()
	defer inputs.Unlock()
	t.from.waiting = slices.DeleteFunc(t.from.waiting, func(other *Typing) bool { return other == t })
}

// run reads lines until the stream ends or nobody waits.
func (r *reader) run() {
	for {
		// Where it cannot be told whether there is something to read, the read waits for it.
		ready, err := readable(r.r, pollEvery)
		var line string
		if err != nil || ready && r.wanted() {
			if line, err = readLine(r.r); line != "" || err == nil {
				r.deliver(strings.TrimSpace(line))
			}
		}
		if r.over(err) {
			return
		}
	}
}

// pollEvery is how long a goroutine may stay after the last wait has ended.
const pollEvery = 200 * time.Millisecond

func (r *reader) wanted() bool {
	inputs.Lock()
	defer inputs.Unlock()
	return len(r.waiting) > 0
}

// over reports whether nobody waits, or the stream has ended, which those who wait are told.
func (r *reader) over(err error) bool {
	inputs.Lock()
	defer inputs.Unlock()
	if err == nil && len(r.waiting) > 0 {
		return false
	}
	for _, t := range r.waiting {
		close(t.lines)
	}
	r.waiting = nil
	delete(inputs.readers, r.key)
	return true
}

// deliver gives a line to the wait that accepts it, which ends with it, or tells the latest wait that none does.
func (r *reader) deliver(text string) {
	inputs.Lock()
	waiting := slices.Clone(r.waiting)
	inputs.Unlock()
	if len(waiting) == 0 {
		return
	}
	line := Line{Text: text}
	to := waiting[len(waiting)-1]
	for _, t := range waiting {
		if line.Refused = t.accept(text); line.Refused == nil {
			to = t
			t.leave()
			break
		}
	}
	if text == "" && line.Refused != nil {
		return // Enter alone is no mistake
	}
	select {
	case to.lines <- line:
	case <-to.ended:
	}
}

// readLine reads a line byte by byte, so that what follows it stays for whatever reads the stream next. A line that is
// too long is returned as "".
func readLine(r io.Reader) (string, error) {
	var line []byte
	var b [1]byte
	for empty, long := 0, false; ; {
		n, err := r.Read(b[:])
		if n > 0 {
			empty = 0
			switch {
			case b[0] == '\n' && long:
				return "", nil
			case b[0] == '\n':
				return string(line), nil
			case len(line) == maxLine:
				long = true
			default:
				line = append(line, b[0])
			}
		}
		switch empty++; {
		case err != nil && long:
			return "", err
		case err != nil:
			return string(line), err
		case empty > 100:
			return "", io.ErrNoProgress
		}
	}
}

// drop reads what can be read at once, within the bounds of a line.
func drop(r io.Reader) {
	var b [1]byte
	for range maxLine {
		if ready, err := readable(r, 0); err != nil || !ready {
			return
		}
		if _, err := r.Read(b[:]); err != nil {
			return
		}
	}
}

// errNoPoll means that it cannot be told whether a read would wait.
var errNoPoll = errors.New("not a file that can be polled")
