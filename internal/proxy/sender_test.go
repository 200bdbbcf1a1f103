package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestARequestIsAnswered(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	h := start(t, Options{URL: s.URL + "#fragment", Header: http.Header{"X-Mine": {"yes"}}})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	h.expect(`{"jsonrpc":"2.0","id":1,"result":{"method":"tools/list"}}`)
	if err := h.close(); err != nil {
		t.Error(err)
	}
	first, list, gone := s.requests("initialize")[0], s.requests("tools/list")[0], s.requests("DELETE")
	if first.header["Mcp-Session-Id"] != nil || first.header["Mcp-Protocol-Version"] != nil {
		t.Errorf("the first request had %v", first.header)
	}
	for k, want := range map[string]string{
		"Mcp-Session-Id": "session-1", "Mcp-Protocol-Version": old, "X-Mine": "yes", "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Mcp-Method": "", "Mcp-Name": "",
	} {
		if got := list.header.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	if len(gone) != 1 || gone[0].header.Get("Mcp-Session-Id") != "session-1" || gone[0].header.Get("X-Mine") != "yes" {
		t.Errorf("the session was ended by %v", gone)
	}
}

// TestWhatTheServerSendsWrong is about answers to tools/call, which may not be repeated.
func TestWhatTheServerSendsWrong(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 300_000)
	for name, c := range map[string]struct {
		serve  func(http.ResponseWriter, rpc)
		reason string
		status int
	}{
		"another id":            {func(w http.ResponseWriter, _ rpc) { answer(w, result([]byte("99"), "x")) }, "bad_answer", 0},
		"the id as text":        {func(w http.ResponseWriter, _ rpc) { answer(w, result([]byte(`"5"`), "x")) }, "bad_answer", 0},
		"HTML":                  {func(w http.ResponseWriter, _ rpc) { _, _ = io.WriteString(w, "<html>secret") }, "bad_answer", 0},
		"nothing":               {func(w http.ResponseWriter, _ rpc) {}, "bad_answer", 0},
		"202":                   {func(w http.ResponseWriter, _ rpc) { w.WriteHeader(http.StatusAccepted) }, "bad_answer", 0},
		"JSON cut":              {func(w http.ResponseWriter, m rpc) { answer(w, result(m.ID, "secret")[:30]) }, "bad_answer", 0},
		"not UTF-8":             {func(w http.ResponseWriter, m rpc) { answer(w, result(m.ID, "x")+"\xff") }, "bad_answer", 0},
		"not UTF-8 inside":      {func(w http.ResponseWriter, m rpc) { answer(w, `{"jsonrpc":"2.0","result":"`+"\xff"+`","id":5}`) }, "bad_answer", 0},
		"not UTF-8 in a stream": {func(w http.ResponseWriter, m rpc) { sse(w, data(`{"jsonrpc":"2.0","result":"`+"\xff"+`","id":5}`)) }, "bad_answer", 0},
		"no version":            {func(w http.ResponseWriter, m rpc) { answer(w, `{"id":5,"result":{}}`) }, "bad_answer", 0},
		"deep": {func(w http.ResponseWriter, m rpc) {
			answer(w, `{"jsonrpc":"2.0","id":5,"result":`+strings.Repeat("[", 4_000_000))
		}, "bad_answer", 0},
		"too large": {func(w http.ResponseWriter, m rpc) { answer(w, result(m.ID, huge)) }, "too_large", 0},
		"too large, length known": {func(w http.ResponseWriter, m rpc) {
			w.Header().Set("Content-Length", "400000")
			answer(w, result(m.ID, huge))
		}, "too_large", 0},
		"too large in a stream":   {func(w http.ResponseWriter, m rpc) { sse(w, data(result(m.ID, huge))) }, "too_large", 0},
		"too large, id last":      {func(w http.ResponseWriter, m rpc) { sse(w, data(`{"jsonrpc":"2.0","result":"`+huge+`","id":5}`)) }, "too_large", 0},
		"a stream without answer": {func(w http.ResponseWriter, m rpc) { sse(w, data(`{"jsonrpc":"2.0","id":6,"result":{}}`)) }, "connection_lost", 0},
		"an empty stream":         {func(w http.ResponseWriter, m rpc) { sse(w, "") }, "connection_lost", 0},
		"a connection cut":        {func(w http.ResponseWriter, m rpc) { panic(http.ErrAbortHandler) }, "connection_lost", 0},
		"an answer cut": {func(w http.ResponseWriter, m rpc) {
			w.Header().Set("Content-Length", "400")
			answer(w, result(m.ID, "x"))
			panic(http.ErrAbortHandler)
		}, "connection_lost", 0},
		"401": {func(w http.ResponseWriter, m rpc) { http.Error(w, "secret", http.StatusUnauthorized) }, "refused", 401},
		"401 as JSON-RPC": {func(w http.ResponseWriter, m rpc) {
			w.WriteHeader(http.StatusUnauthorized)
			answer(w, `{"jsonrpc":"2.0","id":5,"error":{"code":-32001,"message":"secret"}}`)
		}, "refused", 401},
		"403": {func(w http.ResponseWriter, m rpc) { http.Error(w, "secret", http.StatusForbidden) }, "refused", 403},
		"500": {func(w http.ResponseWriter, m rpc) { http.Error(w, "secret", http.StatusInternalServerError) }, "http_error", 500},
		"503": {func(w http.ResponseWriter, m rpc) { http.Error(w, "secret", http.StatusServiceUnavailable) }, "http_error", 503},
		"a redirect": {func(w http.ResponseWriter, m rpc) {
			w.Header().Set("Location", "/secret")
			w.WriteHeader(http.StatusSeeOther)
		}, "http_error", 303},
		"a redirect that loses the message": {func(w http.ResponseWriter, m rpc) {
			w.Header().Set("Location", "/stream")
			w.WriteHeader(http.StatusFound)
		}, "http_error", 302},
		"an error body without end": {func(w http.ResponseWriter, m rpc) {
			w.WriteHeader(http.StatusInternalServerError)
			for range 2000 {
				_, _ = w.Write(bytes.Repeat([]byte("secret"), 1000))
			}
		}, "http_error", 500},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMCP(t, old)
			s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
				if m.Method != "tools/call" {
					return false
				}
				c.serve(w, m)
				return true
			}
			h := start(t, Options{URL: s.URL, MaxMessage: 200_000, SpoolAbove: 100_000, TempDir: t.TempDir()})
			h.open(old)
			h.send(toolCall(5, "x"))
			r := h.refused("5", c.reason)
			if r.Error.Data.HTTPStatus != c.status || strings.Contains(r.Error.Message, "secret") {
				t.Errorf("%+v", r)
			}
			h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
			h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
			if n := len(s.requests("tools/call")); n != 1 {
				t.Errorf("the call was sent %d times", n)
			}
			h.close()
			h.nothing()
		})
	}
}

func TestErrorsInJSONRPCPass(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	var status int
	var body string
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		w.WriteHeader(status)
		answer(w, body)
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	mine := `{"jsonrpc":"2.0","id":5,"error":{"code":-1,"message":"\u001b[31m no","data":[1.0]}}`
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{400, mine, mine},
		{500, mine, mine},
		{503, mine, mine},
		{200, mine, mine},
		{400, `{"jsonrpc":"2.0","id":null,"error":{"code":-2, "message":"m"}}`, `{"jsonrpc":"2.0","id":5,"error":{"code":-2, "message":"m"}}`},
		{422, `{"jsonrpc":"2.0","error":{"code":-3}}`, `{"jsonrpc":"2.0","id":5,"error":{"code":-3}}`},
		{200, `{"jsonrpc":"2.0","id":null,"error":{"code":-4}}`, `{"jsonrpc":"2.0","id":5,"error":{"code":-4}}`},
	} {
		status, body = c.status, c.body
		h.send(toolCall(5, "x"))
		h.expect(c.want)
	}
	// Something in between may have said this.
	status, body = 502, `{"jsonrpc":"2.0","id":null,"error":{"code":-4}}`
	h.send(toolCall(5, "x"))
	h.refused("5", "http_error")
}

func TestAPanicAnswersWhatIsOpen(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	h := start(t, Options{URL: s.URL, HTTP: doer(func(r *http.Request) (*http.Response, error) {
		if r.ContentLength > 200 {
			panic("a secret \x1b[31m")
		}
		return c.Do(r)
	})})
	h.open(old)
	h.send(toolCall(5, strings.Repeat("x", 200)))
	if r := h.refused("5", "internal_error"); strings.Contains(r.Error.Message, "secret") {
		t.Error(r.Error.Message)
	}
	if l := h.log.String(); !strings.Contains(l, "a secret") || strings.Contains(l, "\x1b") {
		t.Errorf("the log says %s", l)
	}
	// Notifications have a worker of their own, which goes on.
	h.send(`{"jsonrpc":"2.0","method":"notifications/` + strings.Repeat("x", 200) + `"}`)
	h.send(`{"jsonrpc":"2.0","method":"notifications/after"}`)
	h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
	if !eventually(func() bool { return len(s.requests("notifications/after")) == 1 }) {
		t.Error("no notification is sent any more")
	}
}

// TestStreamsThatNobodyNeeds: what needs no answer is answered with streams without end.
func TestStreamsThatNobodyNeeds(t *testing.T) {
	t.Parallel()
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

func TestStatelessErrorsPass(t *testing.T) {
	t.Parallel()
	s := stateless(t)
	unknown := `{"jsonrpc":"2.0","id":5,"error":{"code":-32601,"message":"Method not found"}}`
	version := `{"jsonrpc":"2.0","id":6,"error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2025-11-25"]}}}`
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "made/up" {
			w.WriteHeader(404)
			answer(w, unknown)
		} else {
			w.WriteHeader(400)
			answer(w, version)
		}
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.send(`{"jsonrpc":"2.0","id":5,"method":"made/up","params":{` + meta + `}}`)
	h.expect(unknown)
	h.send(`{"jsonrpc":"2.0","id":6,"method":"server/discover","params":{` + meta + `}}`)
	h.expect(version)
}

func TestA404WithoutASessionIsAnError(t *testing.T) {
	t.Parallel()
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

func TestANotificationMayBeAnsweredWithAStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
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
		h := start(t, Options{HTTP: c, URL: s.URL})
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
	})
}

// TestALengthBeyondTheLimitIsBelieved: nothing of the body is waited for.
func TestALengthBeyondTheLimitIsBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
			if m.Method != "tools/call" {
				return false
			}
			w.Header().Set("Content-Length", "100000000000")
			answer(w, "{")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.open(old)
		h.send(toolCall(5, "x"))
		began := time.Now()
		h.refused("5", "too_large")
		if d := time.Since(began); d != 0 {
			t.Errorf("after %v", d)
		}
	})
}

// TestASessionIDThatIsNoneIsNotUsed: the connection goes on without.
func TestASessionIDThatIsNoneIsNotUsed(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.sessions = false
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "initialize" {
			w.Header().Set("Mcp-Session-Id", "a b")
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":1,"result":{"method":"ping"}}`)
	if id := s.requests("ping")[0].header["Mcp-Session-Id"]; id != nil {
		t.Errorf("the session id is %q", id)
	}
}

// TestAnErrorThatSpeaksOfASession but names its request is the host's.
func TestAnErrorThatSpeaksOfASession(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	mine := `{"jsonrpc":"2.0","id":5,"error":{"code":-1,"message":"no such session in the calendar"}}`
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, mine)
		}
		return m.Method == "tools/call"
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.expect(mine)
	if n := len(s.requests("initialize")); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestTheBodyOfAnError is read to a limit, and for a limited time.
func TestTheBodyOfAnError(t *testing.T) {
	for name, wait := range map[string]time.Duration{"without end": 0, "that never comes": errorWait} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, c := newPipeMCP(t, old)
				var sent atomic.Int64
				s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
					if m.Method != "tools/call" {
						return false
					}
					w.WriteHeader(http.StatusInternalServerError)
					_, _ = io.WriteString(w, `{"x":"`)
					_ = http.NewResponseController(w).Flush()
					for piece := bytes.Repeat([]byte("x"), 10_000); wait == 0 && r.Context().Err() == nil; {
						n, err := w.Write(piece)
						if err != nil {
							break
						}
						sent.Add(int64(n))
					}
					<-r.Context().Done()
					return true
				}
				h := start(t, Options{HTTP: c, URL: s.URL})
				h.open(old)
				h.send(toolCall(5, "x"))
				began := time.Now()
				h.refused("5", "http_error")
				if d := time.Since(began); d != wait {
					t.Errorf("after %v, want %v", d, wait)
				}
				if n := sent.Load(); n > maxErrorBody+100_000 {
					t.Errorf("%d bytes were read", n)
				}
			})
		})
	}
}
