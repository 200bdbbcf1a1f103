package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAnIDThatCannotBeSaid is none: stdout is UTF-8.
func TestAnIDThatCannotBeSaid(t *testing.T) {
	s := newMCP(t, old)
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send("{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}")
	h.refused("null", "parse_error")
	h.send("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"\xff\"}")
	h.refused("7", "parse_error")
}

// TestAServerThatWantsNoPause ("retry: 0") gets one all the same.
func TestAServerThatWantsNoPause(t *testing.T) {
	const most = 40
	nothing := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "retry: 0\nid: 1\n\n")
	}
	t.Run("the standing stream", func(t *testing.T) {
		s := newMCP(t, old)
		s.get = func(w http.ResponseWriter, _ *http.Request) { nothing(w) }
		h := start(t, Options{URL: s.URL})
		h.open(old)
		time.Sleep(time.Second)
		if n := len(s.requests("GET")); n < 1 || n > most {
			t.Errorf("%d requests in a second", n)
		}
	})
	t.Run("the stream of an answer", func(t *testing.T) {
		s := newMCP(t, old)
		s.get = func(w http.ResponseWriter, _ *http.Request) { nothing(w) }
		s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
			if m.Method == "tools/call" {
				nothing(w)
			}
			return m.Method == "tools/call"
		}
		h := start(t, Options{URL: s.URL})
		h.open(old)
		h.send(toolCall(5, "x"))
		time.Sleep(time.Second)
		if n := len(s.requests("GET")); n < 2 || n > 2*most {
			t.Errorf("%d requests in a second", n)
		}
	})
	t.Run("sessions that are lost at once", func(t *testing.T) {
		s := newMCP(t, old)
		s.get = func(w http.ResponseWriter, _ *http.Request) { nothing(w); s.lose() }
		h := start(t, Options{URL: s.URL})
		h.open(old)
		time.Sleep(time.Second)
		if n := len(s.requests("initialize")); n < 2 || n > most {
			t.Errorf("%d sessions in a second", n)
		}
	})
}

// TestStreamsThatNobodyNeeds: what needs no answer is answered with streams without end.
func TestStreamsThatNobodyNeeds(t *testing.T) {
	const asked = 40
	s := newMCP(t, old)
	var live, most atomic.Int64
	s.get = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range asked {
			_, _ = io.WriteString(w, data(fmt.Sprintf(`{"jsonrpc":"2.0","id":"p%d","method":"ping"}`, i)))
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	var answers atomic.Int64
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.Result == nil {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": nothing\n\n")
		_ = http.NewResponseController(w).Flush()
		most.Store(max(most.Load(), live.Add(1)))
		answers.Add(1)
		<-r.Context().Done()
		live.Add(-1)
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	for range asked {
		id := strings.Split(h.line(), `"`)[7]
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{}}`, id))
	}
	if !eventually(func() bool { return answers.Load() == asked && live.Load() <= maxExtras }) {
		t.Errorf("%d streams stay open", live.Load())
	}
	h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
}

// TestALogThatAServerFills: it has no end, but grows slower and slower.
func TestALogThatAServerFills(t *testing.T) {
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, strings.Repeat("data:{}\n\ndata:x\n\ndata:[[]]\n\n"+data(result([]byte("77"), "x")), 5000)+data(result(m.ID, "x")))
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.expect(result([]byte("5"), "x"))
	if n := strings.Count(h.log.String(), "level=WARN"); n < 3 || n > 300 {
		t.Errorf("%d warnings", n)
	}
}

// TestAStreamThatIsNotHTTPAndSSE: the server refuses messages, and has a stream on which nothing comes.
func TestAStreamThatIsNotHTTPAndSSE(t *testing.T) {
	s := newMCP(t, old)
	s.get = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": wait\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	s.post = func(w http.ResponseWriter, _ *http.Request, _ rpc) bool {
		http.Error(w, "not here", http.StatusNotFound)
		return true
	}
	h := start(t, Options{URL: s.URL, Patience: 100 * time.Millisecond})
	h.send(fmt.Sprintf(initRequest, old))
	h.refused("0", "http_error")
}

// TestANotificationThatHangs holds up nothing for long.
func TestANotificationThatHangs(t *testing.T) {
	for _, method := range []string{"notifications/initialized", "notifications/progress"} {
		t.Run(method, func(t *testing.T) {
			s := newMCP(t, old)
			s.post = func(_ http.ResponseWriter, r *http.Request, m rpc) bool {
				if m.Method == method {
					<-r.Context().Done()
				}
				return m.Method == method
			}
			h := start(t, Options{URL: s.URL, Patience: 10 * time.Millisecond})
			h.open(old)
			for i := range maxQueue * 2 {
				if method != "notifications/initialized" && i < 600 {
					h.send(`{"jsonrpc":"2.0","method":"` + method + `","params":{}}`)
				}
			}
			h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
			h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
		})
	}
}

// TestSchemasThatAreTooMuch: a list of tools costs no more memory and time than its size lets expect.
func TestSchemasThatAreTooMuch(t *testing.T) {
	const leaf = `{"type":"string","x-mcp-header":"%d"}`
	leaves := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"%d":`+leaf, i, i))
		}
		return `{"properties":{` + strings.Join(all, ",") + `}}`
	}
	nested := func(depth int, inner string) string {
		return strings.Repeat(`{"properties":{"a":`, depth) + inner + strings.Repeat(`}}`, depth)
	}
	for name, schema := range map[string]string{
		"deep":               nested(3000, leaves(20_000)),
		"many headers":       leaves(200_000),
		"large and deep":     nested(3000, strings.Replace(leaves(1), `{`, `{"description":"`+strings.Repeat("x", 4_000_000)+`",`, 1)),
		"a type in a type":   `{"properties":{"a":{"x-mcp-header":"a","type":` + strings.Repeat("[", 9000) + `"` + strings.Repeat("x", 7_000_000) + `"` + strings.Repeat("]", 9000) + `}}}`,
		"one header often":   `{"properties":{"a":{"type":"string"` + strings.Repeat(`,"x-mcp-header":"a"`, 200_000) + `}}}`,
		"the name of a book": `{"properties":{"a":{"type":"string","x-mcp-header":"` + strings.Repeat("x", 4_000_000) + `"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := schemas{work: maxSchemaWork}
			begun := time.Now()
			var h []paramHeader
			var err error
			grew := peak(func() { h, err = w.annotations([]byte(schema)) })
			if err == nil || h != nil || grew > 16<<20 || time.Since(begun) > 10*time.Second {
				t.Errorf("%d headers, %v, %d MB, %v", len(h), err, grew>>20, time.Since(begun))
			}
		})
	}
	w := schemas{work: maxSchemaWork}
	if h, err := w.annotations([]byte(nested(20, leaves(30)))); err != nil || len(h) != 30 || len(h[0].path) != 21 {
		t.Errorf("%v, %v", h, err)
	}
}
