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

func TestA404WithoutASessionIsAnError(t *testing.T) {
	s := newMCP(t, old)
	s.sessions = false
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			http.NotFound(w, nil)
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.refused("5", "http_error")
	h.close()
	if len(s.requests("DELETE")) != 0 || len(s.requests("initialize")) != 1 {
		t.Error("there was no session to end or to begin")
	}
}

func TestASessionLostForEverIsAnError(t *testing.T) {
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			http.NotFound(w, nil)
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.refused("5", "session_changed")
	if n := len(s.requests("initialize")); n > 5 {
		t.Errorf("%d sessions", n)
	}
}

func TestTheServerSpeaksByItself(t *testing.T) {
	s := newMCP(t, old)
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
	h := start(t, Options{URL: s.URL})
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
}

func TestASessionLostWhileNobodyAsksIsBegunAgain(t *testing.T) {
	s := newMCP(t, old)
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
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.expect(`{"jsonrpc":"2.0","method":"session-1"}`)
	s.lose()
	close(cut)
	h.expect(`{"jsonrpc":"2.0","method":"session-2"}`)
}

func TestAServerWithoutSuchAStream(t *testing.T) {
	for _, code := range []int{404, 405, 400, 501} {
		s := newMCP(t, old)
		s.get = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", code) }
		h := start(t, Options{URL: s.URL})
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
}

func TestAStreamIsResumed(t *testing.T) {
	s := newMCP(t, old)
	var gets atomic.Int32
	closed := make(chan time.Time, 1)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			sse(w, "id: a1\nretry: 120\ndata:\n\n"+data(`{"jsonrpc":"2.0","method":"n1"}`))
			closed <- time.Now()
			return true
		}
		return false
	}
	s.get = func(w http.ResponseWriter, r *http.Request) {
		last := r.Header.Get("Last-Event-Id")
		switch {
		case last == "":
			w.WriteHeader(http.StatusMethodNotAllowed)
		case last == "a1" && gets.Add(1) == 1:
			if d := time.Since(<-closed); d < 110*time.Millisecond {
				t.Errorf("the server asked for 120 ms, got %v", d)
			}
			sse(w, "id: a2\n"+data(`{"jsonrpc":"2.0","method":"n2"}`)+"retry: 1\n\n")
		case last == "a2" && gets.Add(1) == 2:
			panic(http.ErrAbortHandler)
		case last == "a2" && gets.Load() == 3:
			sse(w, data(result([]byte("5"), "x")))
			<-r.Context().Done() // it does not end the stream
		default:
			t.Errorf("resumed after %q", last)
		}
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.expect(`{"jsonrpc":"2.0","method":"n1"}`)
	h.expect(`{"jsonrpc":"2.0","method":"n2"}`)
	h.expect(result([]byte("5"), "x"))
	if n := len(s.requests("tools/call")); n != 1 {
		t.Errorf("the call was sent %d times", n)
	}
}

func TestAStreamThatCannotBeResumed(t *testing.T) {
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" || m.Method == "tools/list" && len(s.requests("tools/list")) == 1 {
			sse(w, "id: a1\nretry: 1\ndata:\n\n")
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.refused("5", "connection_lost")
	h.send(`{"jsonrpc":"2.0","id":6,"method":"tools/list"}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"tools/list"}}`)
}

func TestAnAnswerMayComeOnAnotherStream(t *testing.T) {
	s := newMCP(t, old)
	asked := make(chan bool)
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			sse(w, ": \n\n")
			asked <- true
			<-r.Context().Done() // the bridge lets go of this one
			asked <- true
			return true
		}
		return false
	}
	s.get = func(w http.ResponseWriter, r *http.Request) {
		sse(w, ": \n\n")
		<-asked
		sse(w, data(result([]byte("5"), "x"))+data(result([]byte("5"), "twice")))
		<-r.Context().Done()
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.expect(result([]byte("5"), "x"))
	<-asked
	h.close()
	h.nothing()
}

func TestAnotherInitializeBeginsAnotherSession(t *testing.T) {
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

func TestASessionIDThatFitsNoHeaderIsNotUsed(t *testing.T) {
	for id, want := range map[string]bool{"a": true, "": true, "a b": false, "é": false, strings.Repeat("x", maxField+1): false} {
		if fitsSessionID(id) != want {
			t.Errorf("%.20q", id)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for v, want := range map[string]time.Duration{"": 0, "2": 2 * time.Second, "-1": 0, "abc": 0, "1000000000": time.Minute, "99999999999999999": 0, "1h": 0} {
		if got := retryAfter(http.Header{"Retry-After": {v}}); got != want {
			t.Errorf("%q: %v", v, got)
		}
	}
	date := time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat)
	if got := retryAfter(http.Header{"Retry-After": {date}}); got < 15*time.Second || got > 21*time.Second {
		t.Errorf("%s: %v", date, got)
	}
}

func TestANotificationMayBeAnsweredWithAStream(t *testing.T) {
	s := newMCP(t, old)
	hang := make(chan bool)
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		switch m.Method {
		case "notifications/initialized":
			sse(w, data(`{"jsonrpc":"2.0","id":"s","method":"roots/list"}`))
			<-r.Context().Done()
			close(hang)
		case "notifications/x":
			// Accepted, but the response never ends.
			w.WriteHeader(http.StatusAccepted)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			return false
		}
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.expect(`{"jsonrpc":"2.0","id":"s","method":"roots/list"}`)
	h.send(`{"jsonrpc":"2.0","method":"notifications/x"}`)
	h.send(`{"jsonrpc":"2.0","method":"notifications/after"}`)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":1,"result":{"method":"ping"}}`)
	if !eventually(func() bool { return len(s.requests("notifications/after")) == 1 }) {
		t.Error("the next notification was held up")
	}
	h.close()
	<-hang
}

func TestALostSessionIsBegunAgainOverStreams(t *testing.T) {
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

func TestASessionLostInTheMiddleOfAStream(t *testing.T) {
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.ID != nil && m.Method != "initialize" && r.Header.Get("Mcp-Session-Id") == "session-1" {
			sse(w, "id: 1\nretry: 1\ndata:\n\n")
			s.lose()
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":6,"method":"tools/list"}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"tools/list"}}`)
	if n := len(s.requests("initialize")); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestResumingIsPatient(t *testing.T) {
	s := newMCP(t, old)
	var gets atomic.Int32
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			sse(w, "id: 1\nretry: 1\ndata:\n\n")
			return true
		}
		return false
	}
	s.get = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Last-Event-Id") == "" {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		switch gets.Add(1) {
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusBadGateway)
		default:
			sse(w, data(result([]byte("5"), "x")))
		}
	}
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	var refused, logins atomic.Int32
	h := start(t, Options{
		URL: s.URL, Classify: classify,
		HTTP: doer(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Last-Event-Id") != "" && logins.Load() == 0 {
				refused.Add(1)
				return nil, errLogin
			}
			return c.Do(r)
		}),
		Login: func(context.Context, error) error { logins.Add(1); return nil },
	})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.expect(result([]byte("5"), "x"))
	if refused.Load() != 1 || logins.Load() != 1 || len(s.requests("tools/call")) != 1 {
		t.Errorf("refused %d times, %d logins, %d calls", refused.Load(), logins.Load(), len(s.requests("tools/call")))
	}
}
