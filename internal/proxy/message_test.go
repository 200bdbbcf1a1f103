package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestLargeMessagesPassThroughAFile(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	stream := false
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		echo := result(m.ID, "got "+m.raw)
		if stream {
			sse(w, data(echo))
		} else {
			answer(w, echo)
		}
		return true
	}
	dir := t.TempDir()
	h := start(t, Options{URL: s.URL, SpoolAbove: 1 << 20, TempDir: dir})
	h.open(old)
	for i := range 4 {
		stream = i%2 == 1
		msg := fmt.Sprintf(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"%s"}}`, strings.Repeat("0123456789abcdef", 250_000+i))
		h.send(msg)
		h.expect(result([]byte("5"), "got "+msg))
	}
}

func TestMessagesBeyondTheMemoryForAllGoToFiles(t *testing.T) {
	t.Parallel()
	b := &budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 100_000, dir: t.TempDir()}
	var all []*message
	text := `{"a":"` + strings.Repeat("x", 200_000) + `"}`
	for range 50 {
		m := b.messageOf([]byte(text))
		if err := m.end(); err != nil {
			t.Fatal(err)
		}
		if p, err := m.bytes(); err != nil || string(p) != text {
			t.Fatalf("%v, %d bytes", err, len(p))
		}
		all = append(all, m)
	}
	if used := b.used.Load(); used > 500_000 || b.spooled.Load() < 48 {
		t.Errorf("%d bytes are in memory, %d files", used, b.spooled.Load())
	}
	for _, m := range all {
		m.free()
	}
	if b.used.Load() != 0 || b.spooled.Load() != 0 {
		t.Errorf("%d bytes and %d files are left", b.used.Load(), b.spooled.Load())
	}
}

func TestALargeMessageThatCannotBeKeptIsAnError(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			answer(w, result(m.ID, strings.Repeat("x", 100_000)))
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL, SpoolAbove: 50_000, TempDir: "/nonexistent"})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.refused("5", "storage")
	h.send(toolCall(6, strings.Repeat("x", 60_000)))
	h.refused("6", "storage")
	h.send(`{"jsonrpc":"2.0","id":7,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":7,"result":{"method":"ping"}}`)
}

func TestALineOf100MB(t *testing.T) {
	s := newMCP(t, old)
	h := start(t, Options{URL: s.URL, TempDir: t.TempDir()})
	h.open(old)
	grew := peak(func() {
		piece := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		_, _ = io.WriteString(h.in, `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"`)
		for range 100 {
			if _, err := h.in.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		h.send(`"},"id":5}`)
		h.refused("5", "too_large")
	})
	if grew > 24<<20 {
		t.Errorf("the heap grew by %d MB", grew>>20)
	}
	h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
}

func TestAnAnswerWithoutEnd(t *testing.T) {
	for name, begin := range map[string]string{
		"JSON":    `{"jsonrpc":"2.0","id":5,"result":"`,
		"a line":  `data: {"jsonrpc":"2.0","result":"`,
		"no JSON": `data: {"jsonrpc":"2.0","id":`,
		"white":   "{",
	} {
		t.Run(name, func(t *testing.T) {
			s := newMCP(t, old)
			s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
				if m.Method != "tools/call" {
					return false
				}
				if strings.HasPrefix(begin, "data") {
					w.Header().Set("Content-Type", "text/event-stream")
				}
				_, _ = io.WriteString(w, begin)
				piece := bytes.Repeat([]byte("x"), 1<<20)
				if name == "white" {
					piece = bytes.Repeat([]byte(" "), 1<<20)
				}
				for r.Context().Err() == nil {
					if _, err := w.Write(piece); err != nil {
						break
					}
				}
				return true
			}
			h := start(t, Options{URL: s.URL, MaxMessage: 20 << 20, TempDir: t.TempDir()})
			h.open(old)
			if grew := peak(func() {
				h.send(toolCall(5, "x"))
				h.refused("5", "too_large")
			}); grew > 24<<20 {
				t.Errorf("the heap grew by %d MB", grew>>20)
			}
		})
	}
}
