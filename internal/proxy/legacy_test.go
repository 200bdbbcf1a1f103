package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// sseServer is a server of 2024-11-05.
type sseServer struct {
	*httptest.Server
	mu       sync.Mutex
	streams  map[string]chan string
	n        int
	endpoint string // instead of the right one
	posts    []string
	refuse   int // status for POST to the stream's address
	// handle may answer by itself.
	handle func(stream string, m rpc) (string, bool)
}

func newSSEServer(t *testing.T) *sseServer {
	s := &sseServer{streams: map[string]chan string{}, refuse: http.StatusMethodNotAllowed}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *sseServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/sse" && r.Method == http.MethodGet:
		s.mu.Lock()
		s.n++
		id := fmt.Sprint(s.n)
		ch := make(chan string, 100)
		s.streams[id] = ch
		endpoint := s.endpoint
		s.mu.Unlock()
		if endpoint == "" {
			endpoint = "messages?s=" + id
		}
		sse(w, "event: endpoint\r\ndata: "+endpoint+"\r\n\r\n")
		for {
			select {
			case m := <-ch:
				if m == "cut" {
					return
				}
				sse(w, m)
			case <-r.Context().Done():
				return
			}
		}
	case r.URL.Path == "/messages" && r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		m := rpc{raw: string(body)}
		_ = json.Unmarshal(body, &m)
		id := r.URL.Query().Get("s")
		s.mu.Lock()
		s.posts = append(s.posts, id+" "+m.Method)
		ch := s.streams[id]
		s.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
		if s.handle != nil {
			if text, ok := s.handle(id, m); ok {
				ch <- text
				return
			}
		}
		switch {
		case m.Method == "initialize":
			ch <- "event: message\n" + data(fmt.Sprintf(initAnswer, "2024-11-05"))
		case m.ID != nil && m.Method != "":
			ch <- data(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"method":%q}}`, m.ID, m.Method))
		}
	default:
		w.WriteHeader(s.refuse)
	}
}

func (s *sseServer) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.posts, ", ")
}

func TestTheOldTransportIsDetected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode   Mode
		refuse int
		ok     bool
	}{
		"405":             {HTTPFirst, 405, true},
		"404":             {HTTPFirst, 404, true},
		"400":             {HTTPFirst, 400, true},
		"it comes first":  {SSEFirst, 500, true},
		"there is no new": {SSEOnly, 500, true},
		"not wanted":      {HTTPOnly, 405, false},
		"another refusal": {HTTPFirst, 500, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSSEServer(t)
			s.refuse = c.refuse
			h := start(t, Options{URL: s.URL + "/sse", Mode: c.mode})
			if !c.ok {
				h.send(fmt.Sprintf(initRequest, "2024-11-05"))
				if r := h.refused("0", "http_error"); r.Error.Data.HTTPStatus != c.refuse {
					t.Errorf("%+v", r)
				}
				return
			}
			h.open("2024-11-05")
			for i := range 10 {
				h.send(toolCall(i, "x"))
			}
			for range 10 {
				if l := h.line(); !strings.Contains(l, "tools/call") {
					t.Error(l)
				}
			}
			s.streams["1"] <- data(`{"jsonrpc":"2.0","method":"n"}`) + "event: endpoint\ndata: http://evil.example/\n\n"
			h.expect(`{"jsonrpc":"2.0","method":"n"}`)
			h.send(`{"jsonrpc":"2.0","id":20,"method":"ping"}`)
			h.expect(`{"jsonrpc":"2.0","id":20,"result":{"method":"ping"}}`)
			if s.n != 1 || !strings.HasPrefix(s.seen(), "1 initialize, 1 notifications/initialized, 1 tools/call") {
				t.Errorf("%d streams, %s", s.n, s.seen())
			}
		})
	}
}

func TestTheNewTransportIsFoundAfterTheOld(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	h := start(t, Options{URL: s.URL, Mode: SSEFirst})
	s.sessions = false
	h.open(old)
	h.send(toolCall(1, "x"))
	h.expect(`{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call"}}`)
}

func TestAServerThatIsNeitherIsAnError(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		http.Error(w, "secret", http.StatusNotFound)
		return true
	}
	for _, body := range []string{"", "data: x\n\n", "event: message\ndata: {}\n\n"} {
		s.get = func(w http.ResponseWriter, _ *http.Request) {
			if body == "" {
				answer(w, "{}")
			}
			sse(w, body)
		}
		h := start(t, Options{URL: s.URL})
		s.sessions = false
		h.send(fmt.Sprintf(initRequest, old))
		if r := h.refused("0", "http_error"); r.Error.Data.HTTPStatus != 404 {
			t.Errorf("%+v", r)
		}
		h.close()
	}
}

func TestAnEndpointElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	hits := 0
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer evil.Close()
	for _, endpoint := range []string{
		evil.URL + "/collect", "//" + strings.TrimPrefix(evil.URL, "http://") + "/x", "https:/messages", "ftp:x", "http://user:pw@SERVER/messages", "http://[::1", "\x00",
	} {
		s := newSSEServer(t)
		s.endpoint = strings.Replace(endpoint, "SERVER", strings.TrimPrefix(s.URL, "http://"), 1)
		h := start(t, Options{URL: s.URL + "/sse"})
		h.send(fmt.Sprintf(initRequest, "2024-11-05"))
		if r := h.refused("0", "bad_answer"); strings.Contains(r.Error.Message, "collect") {
			t.Errorf("%q: %+v", endpoint, r)
		}
		h.close()
		if s.seen() != "" {
			t.Errorf("%q: the server got %s", endpoint, s.seen())
		}
	}
	if hits != 0 {
		t.Errorf("the other origin was asked %d times", hits)
	}
}

func TestTheOldTransportsStreamBreaks(t *testing.T) {
	t.Parallel()
	s := newSSEServer(t)
	s.handle = func(stream string, m rpc) (string, bool) {
		if stream == "1" && (m.Method == "tools/call" || m.Method == "tools/list") {
			return "cut", true
		}
		return "", false
	}
	h := start(t, Options{URL: s.URL + "/sse"})
	h.open("2024-11-05")
	// This one may be repeated: on a new stream, in a new session.
	h.send(`{"jsonrpc":"2.0","id":4,"method":"tools/list"}`)
	h.expect(`{"jsonrpc":"2.0","id":4,"result":{"method":"tools/list"}}`)
	if got := s.seen(); got != "1 initialize, 1 notifications/initialized, 1 tools/list, 2 initialize, 2 notifications/initialized, 2 tools/list" {
		t.Error(got)
	}
	// This one not; the next is sent anew.
	s.handle = func(stream string, m rpc) (string, bool) { return "cut", stream == "2" && m.Method == "tools/call" }
	h.send(toolCall(5, "x"))
	h.refused("5", "connection_lost")
	h.send(toolCall(6, "x"))
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"tools/call"}}`)
}

// TestAStreamThatIsNotHTTPAndSSE: the server refuses messages, and has a stream on which nothing comes.
func TestAStreamThatIsNotHTTPAndSSE(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
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
		h := start(t, Options{HTTP: c, URL: s.URL, Patience: 100 * time.Millisecond})
		h.send(fmt.Sprintf(initRequest, old))
		h.refused("0", "http_error")
	})
}

func TestSameOrigin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"https://h.example/a", "HTTPS://H.EXAMPLE:443/b?c", true},
		{"http://h.example", "http://h.example:80", true},
		{"http://[::1]:8080/a", "http://[::1]:8080/b", true},
		{"http://h.example:443", "https://h.example", false},
		{"https://h.example", "https://h.example:8443", false},
		{"https://h.example", "https://a.h.example", false},
	} {
		a, errA := url.Parse(c.a)
		b, errB := url.Parse(c.b)
		if errA != nil || errB != nil || sameOrigin(a, b) != c.want || sameOrigin(b, a) != c.want {
			t.Errorf("%s and %s: want %t", c.a, c.b, c.want)
		}
	}
}
