package proxy

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

type event struct{ kind, data, id string }

// eventsOf reads a stream in pieces of n bytes.
func eventsOf(text string, n int, limit int64) ([]event, *events, error) {
	b := &budget{maxMessage: limit, spoolAbove: 1 << 20, memory: 1 << 20}
	ev := newEvents(strings.NewReader(text), make([]byte, n))
	var out []event
	for {
		m := b.message()
		m.raw = true
		kind, err := ev.next(m)
		if err != nil {
			m.free()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return out, ev, err
		}
		p, _ := m.bytes()
		out = append(out, event{kind, string(p), ev.id})
		m.free()
	}
}

func TestEventStreams(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text  string
		want  []event
		id    string
		retry time.Duration
	}{
		"one event":                      {"data: x\n\n", []event{{data: "x"}}, "", -1},
		"CR LF":                          {"data: x\r\n\r\ndata: y\r\n\r\n", []event{{data: "x"}, {data: "y"}}, "", -1},
		"CR":                             {"data: x\r\rdata: y\r\r", []event{{data: "x"}, {data: "y"}}, "", -1},
		"all three":                      {"data: x\rdata: y\ndata: z\r\n\n", []event{{data: "x\ny\nz"}}, "", -1},
		"a byte order mark":              {"\ufeffdata: x\n\n", []event{{data: "x"}}, "", -1},
		"a second mark is a name":        {"\ufeff\ufeffdata: x\n\ndata: y\n\n", []event{{data: "y"}}, "", -1},
		"comments":                       {": one\n:\ndata: x\n: two\n\n:three\n\n", []event{{data: "x"}}, "", -1},
		"one space goes, others stay":    {"data:  x\n\ndata:y\n\n", []event{{data: " x"}, {data: "y"}}, "", -1},
		"type, id and retry":             {"event: e\nid: 7\nretry: 20\ndata: x\n\ndata: y\n\n", []event{{"e", "x", "7"}, {"", "y", "7"}}, "7", 20 * time.Millisecond},
		"an id without data":             {"id: 1\ndata:\n\nid: 2\n\n", nil, "2", -1},
		"an id in an event cut":          {"id: 1\ndata: x\n\nid: 2\ndata: y\n", []event{{"", "x", "1"}}, "1", -1},
		"an empty id":                    {"id: 1\ndata: x\n\nid\ndata: y\n\n", []event{{"", "x", "1"}, {"", "y", ""}}, "", -1},
		"an id with NUL":                 {"id: a\x00b\ndata: x\n\n", []event{{data: "x"}}, "", -1},
		"a retry that is no number":      {"retry: 5s\nretry: -1\ndata: x\n\n", []event{{data: "x"}}, "", -1},
		"a retry beyond reason":          {"retry: 99999999999999\ndata: x\n\n", []event{{data: "x"}}, "", maxRetry},
		"a retry beyond numbers":         {"retry: 99999999999999999999999\n\n", nil, "", -1},
		"unknown fields":                 {"foo: bar\nDATA: no\ndatabase: no\ndata: x\nevents: no\n\n", []event{{data: "x"}}, "", -1},
		"data without a colon":           {"data\n" + "data\n\ndata: x\n\n", []event{{data: "\n"}, {data: "x"}}, "", -1},
		"an event cut":                   {"data: x\n\ndata: y\n", []event{{data: "x"}}, "", -1},
		"the type does not outlive":      {"event: e\n\ndata: x\n\n", []event{{data: "x"}}, "", -1},
		"blank lines":                    {"\n\n\r\n\rdata: x\n\n\n\n", []event{{data: "x"}}, "", -1},
		"a colon in data":                {"data: {\"a\":\"b: c\"}\n\n", []event{{data: `{"a":"b: c"}`}}, "", -1},
		"an id longer than anyone needs": {"id: " + strings.Repeat("x", maxSSEField+1) + "\ndata: x\n\n", []event{{data: "x"}}, "", -1},
		"nothing":                        {"", nil, "", -1},
	} {
		for n := 1; n < 20; n++ {
			size := max(n, 3) // room for the mark
			got, ev, err := eventsOf(c.text, size, 1<<20)
			if err != nil || !reflect.DeepEqual(got, c.want) || ev.id != c.id || ev.retry != c.retry {
				t.Errorf("%s in pieces of %d: %q, id %q, retry %v, %v", name, size, got, ev.id, ev.retry, err)
				break
			}
		}
	}
}

func TestEventsWaitForNothing(t *testing.T) {
	t.Parallel()
	// An event is there with its blank line's CR, not with the byte after it.
	r, w := io.Pipe()
	defer w.Close()
	ev := newEvents(r, make([]byte, 64))
	b := &budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 1 << 20}
	go func() { _, _ = io.WriteString(w, "data: {}\r\r") }()
	m := b.message()
	defer m.free()
	if _, err := ev.next(m); err != nil || m.end() != nil {
		t.Fatal(err)
	}
}

// endless repeats a text for ever, but no more often than allowed.
type endless struct {
	text string
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, errors.New("read too much")
	}
	e.left--
	return copy(p, e.text), nil
}

func TestALineWithoutEndEnds(t *testing.T) {
	t.Parallel()
	b := &budget{maxMessage: 1 << 20, spoolAbove: 1 << 18, memory: 1 << 18, dir: t.TempDir()}
	x := strings.Repeat("x", 1000)
	m := b.message()
	ev := newEvents(io.MultiReader(strings.NewReader(`data: {"jsonrpc":"2.0","id":5,"result":"`), &endless{x, 2000}), make([]byte, chunkSize))
	if _, err := ev.next(m); !errors.Is(err, errTooLarge) {
		t.Fatal(err)
	}
	if string(m.top.raw(fieldID)) != "5" || b.used.Load() > 2*chunkSize {
		t.Errorf("id %s, %d bytes used", m.top.raw(fieldID), b.used.Load())
	}
	m.free()
	// Nothing is kept of the other kinds.
	for _, begin := range []string{":", "foo: ", "foo", "id: ", "event: ", "data: x\nid: "} {
		m := b.message()
		ev := newEvents(io.MultiReader(strings.NewReader(begin), &endless{x, 20000}), make([]byte, chunkSize))
		if _, err := ev.next(m); err == nil || b.used.Load() > chunkSize {
			t.Errorf("%q: %v, %d bytes used", begin, err, b.used.Load())
		}
		m.free()
	}
	if b.used.Load() != 0 || b.spooled.Load() != 0 {
		t.Errorf("%d bytes and %d files are left", b.used.Load(), b.spooled.Load())
	}
}

func FuzzEvents(f *testing.F) {
	for _, s := range []string{"data: x\n\n", "\ufeffid: 1\r\nevent: e\rdata: {}\ndata\n\r\n", ":c\nretry: 5\n\n", "data: \xff\r"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a, evA, err := eventsOf(string(text), 4096, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		b, evB, _ := eventsOf(string(text), 3, 1<<20)
		if !reflect.DeepEqual(a, b) || evA.id != evB.id || evA.retry != evB.retry || evA.count != evB.count {
			t.Fatalf("whole %q, in pieces %q", a, b)
		}
		if want := plainEvents(string(text)); !reflect.DeepEqual(a, want) {
			t.Fatalf("got %q, want %q", a, want)
		}
		// A reader that fails is told apart from an end.
		ev := newEvents(io.MultiReader(bytes.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF)), make([]byte, 100))
		bud := &budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 1 << 20}
		for {
			m := bud.message()
			m.raw = true
			_, err := ev.next(m)
			m.free()
			if errors.Is(err, io.EOF) {
				t.Fatal("a fault became an end")
			} else if err != nil {
				break
			}
		}
	})
}

// plainEvents is the algorithm as the standard has it, for texts that are there in full.
func plainEvents(text string) (out []event) {
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	var kind, id, last string
	var data []string
	for _, l := range lines[:len(lines)-1] { // the last has no end
		if l == "" {
			last = id
			if d := strings.Join(data, "\n"); d != "" {
				out = append(out, event{kind, d, last})
			}
			kind, data = "", nil
			continue
		}
		name, value, _ := strings.Cut(l, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data = append(data, value)
		case "event":
			if len(value) <= maxSSEField {
				kind = value
			}
		case "id":
			if len(value) <= maxSSEField && !strings.Contains(value, "\x00") {
				id = value
			}
		}
	}
	return out
}
