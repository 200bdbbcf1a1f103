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

// TestAServerThatWantsNoPause ("retry: 0") gets one all the same.
func TestAServerThatWantsNoPause(t *testing.T) {
	t.Parallel()
	const most = 40
	nothing := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "retry: 0\nid: 1\n\n")
	}
	t.Run("the standing stream", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s, c := newPipeMCP(t, old)
			s.get = func(w http.ResponseWriter, _ *http.Request) { nothing(w) }
			h := start(t, Options{HTTP: c, URL: s.URL})
			h.open(old)
			time.Sleep(time.Second)
			if n := len(s.requests("GET")); n < 1 || n > most {
				t.Errorf("%d requests in a second", n)
			}
		})
	})
	t.Run("the stream of an answer", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s, c := newPipeMCP(t, old)
			s.get = func(w http.ResponseWriter, _ *http.Request) { nothing(w) }
			s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
				if m.Method == "tools/call" {
					nothing(w)
				}
				return m.Method == "tools/call"
			}
			h := start(t, Options{HTTP: c, URL: s.URL})
			h.open(old)
			h.send(toolCall(5, "x"))
			time.Sleep(time.Second)
			if n := len(s.requests("GET")); n < 2 || n > 2*most {
				t.Errorf("%d requests in a second", n)
			}
		})
	})
	t.Run("sessions that are lost at once", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s, c := newPipeMCP(t, old)
			s.get = func(w http.ResponseWriter, _ *http.Request) { nothing(w); s.lose() }
			h := start(t, Options{HTTP: c, URL: s.URL})
			h.open(old)
			time.Sleep(time.Second)
			if n := len(s.requests("initialize")); n < 2 || n > most {
				t.Errorf("%d sessions in a second", n)
			}
			// The pauses get longer.
			time.Sleep(5 * time.Minute)
			if n := len(s.requests("initialize")); n > 2*most {
				t.Errorf("%d sessions in five minutes", n)
			}
		})
	})
}

func TestTheServerSpeaksByItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		var n atomic.Int32
		var lasts []string
		s.get = func(w http.ResponseWriter, r *http.Request) {
			lasts = append(lasts, r.Header.Get("Last-Event-Id"))
			if a := r.Header.Get("Accept"); a != "text/event-stream" {
				t.Errorf("Accept: %s", a)
			}
			switch n.Add(1) {
			case 1:
				sse(w, "retry: 10\nid: one\n"+data(`{"jsonrpc":"2.0","method":"n1"}`)+data(`{"jsonrpc":"2.0","id":"s","method":"ping"}`))
			case 2:
				http.Error(w, "later", http.StatusServiceUnavailable)
			case 3:
				sse(w, "retry: 1\n"+data(`{"jsonrpc":"2.0","method":"n2"}`)+data(`{"jsonrpc":"2.0","id":77,"result":{}}`)+data("rubbish"))
			case 4:
				sse(w, data(`{"jsonrpc":"2.0","method":"n3"}`))
				<-r.Context().Done()
			}
		}
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.open(old)
		h.expect(`{"jsonrpc":"2.0","method":"n1"}`)
		h.expect(`{"jsonrpc":"2.0","id":"s","method":"ping"}`)
		h.expect(`{"jsonrpc":"2.0","method":"n2"}`)
		h.expect(`{"jsonrpc":"2.0","method":"n3"}`)
		h.close()
		h.nothing()
		if strings.Join(lasts, "|") != "|one|one|one" {
			t.Errorf("the stream was resumed after %q", lasts)
		}
		if g := s.requests("GET")[0]; g.header.Get("Mcp-Session-Id") != "session-1" || g.header.Get("Mcp-Protocol-Version") != old {
			t.Errorf("%v", g.header)
		}
	})
}

func TestASessionLostWhileNobodyAsksIsBegunAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		cut := make(chan bool)
		s.get = func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get("Mcp-Session-Id")
			sse(w, "retry: 1\n"+data(`{"jsonrpc":"2.0","method":"`+id+`"}`))
			if id == "session-1" {
				<-cut
				return
			}
			<-r.Context().Done()
		}
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.open(old)
		h.expect(`{"jsonrpc":"2.0","method":"session-1"}`)
		s.lose()
		close(cut)
		h.expect(`{"jsonrpc":"2.0","method":"session-2"}`)
	})
}

func TestAServerWithoutSuchAStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, code := range []int{404, 405, 400, 501} {
			s, c := newPipeMCP(t, old)
			s.get = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", code) }
			h := start(t, Options{HTTP: c, URL: s.URL})
			h.open(old)
			for i := range 20 {
				h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i))
				h.line()
			}
			h.close()
			if g, i := len(s.requests("GET")), len(s.requests("initialize")); g > 1 || i != 1 {
				t.Errorf("%d: asked %d times in %d sessions", code, g, i)
			}
		}
	})
}
