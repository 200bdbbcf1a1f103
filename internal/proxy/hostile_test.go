package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// peak watches the heap while fn runs and returns by how much it grew at most. It is about what is kept, so that
// garbage is collected early.
func peak(fn func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	fn()
	close(stop)
	<-done
	return most - before
}

// discards is a host that counts lines and keeps none.
type discards struct {
	lines atomic.Int64
	bytes atomic.Int64
}

func (d *discards) Write(p []byte) (int, error) {
	d.lines.Add(int64(bytes.Count(p, newline)))
	d.bytes.Add(int64(len(p)))
	return len(p), nil
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

func TestAFloodOfNotifications(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		one := []byte(data(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}`))
		for range n {
			if _, err := w.Write(one); err != nil {
				return true
			}
		}
		_, _ = io.WriteString(w, data(result(m.ID, "x")))
		return true
	}
	out := &discards{}
	inR, inW := io.Pipe()
	done := make(chan error, 1)
	c := &http.Client{Transport: &http.Transport{}}
	grew := peak(func() {
		go func() {
			done <- Run(context.Background(), inR, out, &Options{URL: s.URL, HTTP: c, Grace: patience})
		}()
		_, _ = io.WriteString(inW, fmt.Sprintf(initRequest, old)+"\n"+initNotified+"\n"+toolCall(5, "x")+"\n")
		_ = inW.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if got := out.lines.Load(); got != int64(n)+2 {
		t.Errorf("%d lines came", got)
	}
	if grew > 16<<20 {
		t.Errorf("the heap grew by %d MB", grew>>20)
	}
}

// TestAHostThatReadsNothingHoldsTheServerUp: back-pressure instead of memory.
func TestAHostThatReadsNothingHoldsTheServerUp(t *testing.T) {
	s := newMCP(t, old)
	var sent atomic.Int64
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		one := []byte(data(`{"jsonrpc":"2.0","method":"n","params":"` + strings.Repeat("x", 10_000) + `"}`))
		for r.Context().Err() == nil {
			k, err := w.Write(one)
			if err != nil {
				break
			}
			sent.Add(int64(k))
		}
		return true
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	c := &http.Client{Transport: &http.Transport{}}
	go func() {
		done <- Run(context.Background(), inR, outW, &Options{URL: s.URL, HTTP: c})
	}()
	_, _ = io.WriteString(inW, fmt.Sprintf(initRequest, old)+"\n")
	l := newLines(outR)
	m := (&budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 1 << 20}).message()
	if err := l.next(m); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(inW, toolCall(5, "x")+"\n")
	// The server gets no further once the sockets' buffers are full.
	var last int64 = -1
	if !eventually(func() bool {
		time.Sleep(100 * time.Millisecond)
		now := sent.Load()
		still := now == last && now > 0
		last = now
		return still
	}) {
		t.Errorf("the server sent %d bytes", last)
	}
	_ = inW.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = outR.Close()
}

// TestAFloodOfRequestsHoldsTheHostUp: so it is on the other side.
func TestAFloodOfRequestsHoldsTheHostUp(t *testing.T) {
	for name, c := range map[string]struct {
		n   int
		end func(*host)
	}{
		"and it leaves":          {2000, func(h *host) { _ = h.in.Close() }},
		"and the bridge is told": {100_000, func(h *host) { h.stop() }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMCP(t, old)
			var inside atomic.Int32
			s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
				if m.Method != "tools/call" {
					return false
				}
				inside.Add(1)
				<-r.Context().Done()
				return true
			}
			h := start(t, Options{URL: s.URL, MaxInFlight: 20})
			h.open(old)
			var taken atomic.Int32
			go func() {
				for i := range c.n {
					if _, err := io.WriteString(h.in, toolCall(i, "x")+"\n"); err != nil {
						return
					}
					taken.Add(1)
				}
			}()
			var last int32 = -1
			eventually(func() bool {
				time.Sleep(100 * time.Millisecond)
				now := taken.Load()
				still := now == last && now > 0
				last = now
				return still
			})
			if int(last)*len(toolCall(10, "x")) > maxAhead+maxQueue*100+200_000 || inside.Load() > 20 {
				t.Errorf("%d requests were taken, %d were sent", last, inside.Load())
			}
			began := time.Now()
			c.end(h)
			// What was begun is answered.
			for range maxQueue + 20 {
				if l := h.line(); !strings.Contains(l, `"ending"`) {
					t.Fatal(l)
				}
			}
			h.close()
			if d := time.Since(began); d > 2*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// TestAFloodOfResponsesHoldsTheHostUp: a response passes the queue, but not without limit.
func TestAFloodOfResponsesHoldsTheHostUp(t *testing.T) {
	s := newMCP(t, old)
	var inside atomic.Int32
	release := make(chan bool)
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.Result != nil {
			inside.Add(1)
			<-release
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	const n = maxReplies + 20
	sent := make(chan bool)
	go func() {
		for i := range n {
			h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{}}`, i))
		}
		close(sent)
	}()
	if !eventually(func() bool { return inside.Load() == maxReplies }) {
		t.Fatalf("%d responses came", inside.Load())
	}
	time.Sleep(50 * time.Millisecond)
	if k := inside.Load(); k > maxReplies {
		t.Errorf("%d responses are under way", k)
	}
	close(release)
	<-sent
	if !eventually(func() bool { return inside.Load() == n }) {
		t.Errorf("%d responses came", inside.Load())
	}
}

func TestASecretInTheURLIsNotLogged(t *testing.T) {
	h := start(t, Options{URL: "http://127.0.0.1:1/mcp?api_key=hunter2", RetryFor: time.Millisecond})
	h.send(fmt.Sprintf(initRequest, old))
	if r := h.refused("0", "unreachable"); strings.Contains(fmt.Sprint(r), "hunter2") {
		t.Error(r)
	}
	if l := h.log.String(); strings.Contains(l, "hunter2") || !strings.Contains(l, "refused") {
		t.Error(l)
	}
}

func TestWhatFitsNoHeaderIsNotSent(t *testing.T) {
	s := newMCP(t, "a version\\n")
	s.sessions = false
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			sse(w, "id: a\x01b\ndata:\n\n")
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(`a version\n`)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":1,"result":{"method":"ping"}}`)
	h.send(toolCall(5, "x"))
	h.refused("5", "connection_lost")
}

func TestWhatAServerSaysReachesTheLogClean(t *testing.T) {
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return true
		}
		_, _ = io.WriteString(c, "HTTP/1.1 500 \x1b]0;evil\x07\x1b[31mcrimson\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_ = c.Close()
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	if r := h.refused("5", "http_error"); strings.Contains(r.Error.Message, "crimson") {
		t.Error(r.Error.Message)
	}
	if l := h.log.String(); strings.ContainsAny(l, "\x1b\x07") || strings.Contains(l, `\x1b`) || !strings.Contains(l, "crimson") {
		t.Errorf("%q", l)
	}
}
