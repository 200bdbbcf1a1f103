package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestASecretInTheURLIsNotLogged(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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

// TestANotificationThatHangs holds up nothing for long.
func TestANotificationThatHangs(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"notifications/initialized", "notifications/progress"} {
		t.Run(method, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, c := newPipeMCP(t, old)
				s.post = func(_ http.ResponseWriter, r *http.Request, m rpc) bool {
					if m.Method == method {
						<-r.Context().Done()
					}
					return m.Method == method
				}
				h := start(t, Options{HTTP: c, URL: s.URL, Patience: 10 * time.Millisecond})
				h.open(old)
				for i := range maxQueue * 2 {
					if method != "notifications/initialized" && i < 600 {
						h.send(`{"jsonrpc":"2.0","method":"` + method + `","params":{}}`)
					}
				}
				h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
				h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
			})
		})
	}
}

func TestASessionIDThatFitsNoHeaderIsNotUsed(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{"a": true, "": true, "a b": false, "é": false, strings.Repeat("x", maxField+1): false} {
		if fitsSessionID(id) != want {
			t.Errorf("%.20q", id)
		}
	}
}

// TestAMessageWithoutASessionCarriesNoSessionID, even if there is a session.
func TestAMessageWithoutASessionCarriesNoSessionID(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://server.example/mcp")
	if err != nil {
		t.Fatal(err)
	}
	var got http.Header
	r := &remote{url: u, classify: classify, tools: newToolTable(nil, nil), http: doer(func(req *http.Request) (*http.Response, error) {
		got = req.Header
		return &http.Response{Body: http.NoBody, Request: req}, nil
	})}
	m := (&budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 1 << 20}).messageOf([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err := m.end(); err != nil {
		t.Fatal(err)
	}
	s := &session{id: "id", version: old}
	for version, want := range map[string]string{"": "id", "2026-07-28": ""} {
		if _, err := r.post(t.Context(), s, outgoing{msg: m, elem: &m.top, version: version}); err != nil || got.Get("Mcp-Session-Id") != want {
			t.Errorf("%q: %v, %v", version, got, err)
		}
	}
}
