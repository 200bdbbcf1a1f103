package proxy

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestAStatelessStreamIsNotResumed(t *testing.T) {
	t.Parallel()
	s := stateless(t)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			sse(w, "id: 5\nretry: 1\ndata:\n\n")
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.send(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"x",` + meta + `}}`)
	h.refused("5", "connection_lost")
	if len(s.requests("GET")) != 0 {
		t.Error("it was asked for")
	}
}

func TestAStreamIsResumed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
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
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.open(old)
		h.send(toolCall(5, "x"))
		h.expect(`{"jsonrpc":"2.0","method":"n1"}`)
		h.expect(`{"jsonrpc":"2.0","method":"n2"}`)
		h.expect(result([]byte("5"), "x"))
		if n := len(s.requests("tools/call")); n != 1 {
			t.Errorf("the call was sent %d times", n)
		}
	})
}

func TestAStreamThatCannotBeResumed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
			if m.Method == "tools/call" || m.Method == "tools/list" && len(s.requests("tools/list")) == 1 {
				sse(w, "id: a1\nretry: 1\ndata:\n\n")
				return true
			}
			return false
		}
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.open(old)
		h.send(toolCall(5, "x"))
		h.refused("5", "connection_lost")
		h.send(`{"jsonrpc":"2.0","id":6,"method":"tools/list"}`)
		h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"tools/list"}}`)
	})
}

func TestASessionLostInTheMiddleOfAStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
			if m.ID != nil && m.Method != "initialize" && r.Header.Get("Mcp-Session-Id") == "session-1" {
				sse(w, "id: 1\nretry: 1\ndata:\n\n")
				s.lose()
				return true
			}
			return false
		}
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.open(old)
		h.send(`{"jsonrpc":"2.0","id":6,"method":"tools/list"}`)
		h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"tools/list"}}`)
		if n := len(s.requests("initialize")); n != 2 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestResumingIsPatient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
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
	})
}

// TestAStreamThatNeverComesBack is asked for no longer than requests are repeated.
func TestAStreamThatNeverComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
			if m.Method == "tools/call" {
				sse(w, "id: 1\nretry: 1\ndata:\n\n")
			}
			return m.Method == "tools/call"
		}
		s.get = func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
		}
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.wait = time.Hour
		h.open(old)
		h.send(toolCall(5, "x"))
		began := time.Now()
		h.refused("5", "connection_lost")
		if d := time.Since(began); d < defaultRetryFor || d > 2*time.Minute {
			t.Errorf("it was given up after %v", d)
		}
	})
}

// TestALoginThatFailsWhileAStreamIsResumed does not send the call again: the server acts on it.
func TestALoginThatFailsWhileAStreamIsResumed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
			if m.Method == "tools/call" {
				sse(w, "id: 1\nretry: 1\ndata:\n\n")
			}
			return m.Method == "tools/call"
		}
		h := start(t, Options{
			URL: s.URL, Classify: classify,
			HTTP: doer(func(r *http.Request) (*http.Response, error) {
				if r.Header.Get("Last-Event-Id") != "" {
					return nil, errLogin
				}
				return c.Do(r)
			}),
			Login: func(context.Context, error) error { return errLater },
		})
		h.open(old)
		h.send(toolCall(5, "x"))
		h.refused("5", "temporary")
		if n := len(s.requests("tools/call")); n != 1 {
			t.Errorf("the call was sent %d times", n)
		}
	})
}
