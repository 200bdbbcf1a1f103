package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestALostSessionIsBegunAgain(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]func(w http.ResponseWriter, s *mcp){
		"404": func(w http.ResponseWriter, s *mcp) { http.Error(w, "gone", http.StatusNotFound) },
		"400 that speaks of the session": func(w http.ResponseWriter, s *mcp) {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid Session ID provided"},"id":null}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMCP(t, old)
			var dead atomic.Bool
			s.sessions = true
			s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
				if dead.Load() && r.Header.Get("Mcp-Session-Id") == "session-1" {
					lost(w, s)
					return true
				}
				return false
			}
			h := start(t, Options{URL: s.URL})
			h.open(old)
			level := `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}`
			h.send(strings.Replace(level, "info", "debug", 1))
			h.line()
			h.send(level)
			h.line()
			sub := `{"jsonrpc":"2.0","id":%d,"method":"resources/%s","params":{"uri":"file:///%s"}}`
			for i, what := range []string{"subscribe a", "subscribe b", "unsubscribe a", "subscribe c"} {
				var verb, uri string
				_, _ = fmt.Sscan(what, &verb, &uri)
				h.send(fmt.Sprintf(sub, 10+i, verb, uri))
				h.line()
			}
			dead.Store(true)
			// Several find out at once; one session takes its place.
			for i := range 5 {
				h.send(toolCall(20+i, "x"))
			}
			for range 5 {
				if l := h.line(); !strings.Contains(l, `"result":{"method":"tools/call"}`) {
					t.Fatal(l)
				}
			}
			inits := s.requests("initialize")
			if len(inits) != 2 || inits[0].raw != inits[1].raw || inits[1].header["Mcp-Session-Id"] != nil || inits[1].header["Mcp-Protocol-Version"] != nil {
				t.Errorf("initialize: %v", inits)
			}
			if n := s.requests("notifications/initialized"); len(n) != 2 || n[1].header.Get("Mcp-Session-Id") != "session-2" {
				t.Errorf("initialized: %v", n)
			}
			if n := s.requests("logging/setLevel"); len(n) != 3 || n[2].raw != level || n[2].header.Get("Mcp-Session-Id") != "session-2" {
				t.Errorf("the level: %v", n)
			}
			uris := map[string]bool{}
			for _, r := range s.requests("resources/subscribe")[3:] {
				if r.header.Get("Mcp-Session-Id") == "session-2" {
					uris[string(r.Params)] = true
				}
			}
			if len(uris) != 2 || !uris[`{"uri":"file:///b"}`] || !uris[`{"uri":"file:///c"}`] {
				t.Errorf("subscribed again: %v", uris)
			}
			h.close()
			h.nothing()
			if d := s.requests("DELETE"); len(d) != 1 || d[0].header.Get("Mcp-Session-Id") != "session-2" {
				t.Errorf("ended: %v", d)
			}
		})
	}
}

func TestASessionThatComesBackOtherwiseEndsTheBridge(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]string{
		"another version":      fmt.Sprintf(initAnswer, "2025-06-18"),
		"other capabilities":   strings.Replace(fmt.Sprintf(initAnswer, old), `{"tools":{}}`, `{"tools":{},"prompts":{}}`, 1),
		"no capabilities":      strings.Replace(fmt.Sprintf(initAnswer, old), `"capabilities":{"tools":{}},`, ``, 1),
		"an error in the end":  "",
		"the same, reordered ": strings.Replace(fmt.Sprintf(initAnswer, old), `{"tools":{}}`, ` { "tools" : { } } `, 1),
	} {
		t.Run(name, func(t *testing.T) {
			s := newMCP(t, old)
			n := 0
			s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
				if m.Method == "initialize" {
					if n++; n == 2 {
						if again == "" {
							answer(w, `{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"secret"}}`)
							return true
						}
						s.begin(w)
						answer(w, again)
						return true
					}
				}
				return false
			}
			h := start(t, Options{URL: s.URL})
			h.open(old)
			h.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
			h.line()
			s.lose()
			h.send(toolCall(5, "x"))
			switch {
			case again == "":
				h.refused("5", "bad_answer")
			case strings.HasPrefix(name, "the same"):
				h.expect(`{"jsonrpc":"2.0","id":5,"result":{"method":"tools/call"}}`)
			default:
				h.refused("5", "session_changed")
				select {
				case err := <-h.err:
					if !errors.Is(err, ErrSessionChanged) {
						t.Error(err)
					}
					h.err <- err
				case <-time.After(patience):
					t.Error("the bridge goes on")
				}
			}
		})
	}
}

func TestASessionLostForEverIsAnError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
			if m.Method == "tools/call" {
				http.NotFound(w, nil)
				return true
			}
			return false
		}
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.open(old)
		h.send(toolCall(5, "x"))
		h.refused("5", "session_changed")
		if n := len(s.requests("initialize")); n > 5 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestAnotherInitializeBeginsAnotherSession(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	h.line()
	if i := s.requests("initialize"); i[1].header["Mcp-Session-Id"] != nil {
		t.Errorf("%v", i[1].header)
	}
	if p := s.requests("ping")[0].header.Get("Mcp-Session-Id"); p != "session-2" {
		t.Error(p)
	}
}

func TestALostSessionIsBegunAgainOverStreams(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		switch m.Method {
		case "initialize":
			s.begin(w)
			sse(w, "id: 1\ndata:\n\n"+data(`{"jsonrpc":"2.0","method":"n"}`)+data(fmt.Sprintf(initAnswer, old)))
		case "resources/subscribe":
			sse(w, data(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)))
		default:
			return false
		}
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.send(fmt.Sprintf(initRequest, old))
	h.expect(`{"jsonrpc":"2.0","method":"n"}`)
	h.expect(fmt.Sprintf(initAnswer, old))
	h.send(initNotified)
	h.send(`{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a"}}`)
	h.expect(`{"jsonrpc":"2.0","id":3,"result":{}}`)
	s.lose()
	h.send(toolCall(5, "x"))
	h.expect(`{"jsonrpc":"2.0","method":"n"}`) // what the server says on the way is the host's
	h.expect(`{"jsonrpc":"2.0","id":5,"result":{"method":"tools/call"}}`)
	if n := len(s.requests("resources/subscribe")); n != 2 {
		t.Errorf("subscribed %d times", n)
	}
}

// TestASessionThatWasReplacedIsNotReplacedAgain: who notices late finds the new one.
func TestASessionThatWasReplacedIsNotReplacedAgain(t *testing.T) {
	t.Parallel()
	conn := newConnection(t.Context())
	before := conn.session.Load()
	conn.session.Store(conn.newSession("new", old, nil))
	tasks := &tasks{}
	tasks.close() // a replacement would never end
	s := &sessions{conn: conn, tasks: tasks}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.renew(ctx, before); err != nil {
		t.Error(err)
	}
}

// TestANewSessionWithoutAnIDThatFits is refused.
func TestANewSessionWithoutAnIDThatFits(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "initialize" && len(s.requests("initialize")) > 1 {
			w.Header().Set("Mcp-Session-Id", "a b")
			answer(w, fmt.Sprintf(initAnswer, old))
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	h.line()
	s.lose()
	h.send(toolCall(5, "x"))
	h.refused("5", "bad_answer")
}
