package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// perLogin is an HTTP client that sends with the token of a login, as Options.HTTP says.
type perLogin struct {
	login atomic.Pointer[string]
	// then is the login after the first request, "" for the same.
	then string
	once sync.Once
}

func (p *perLogin) set(login string) { p.login.Store(&login) }

func (p *perLogin) Do(r *http.Request) (*http.Response, error) {
	if err := SameLogin(r, *p.login.Load()); err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+*p.login.Load())
	resp, err := http.DefaultTransport.RoundTrip(r)
	if p.then != "" {
		p.once.Do(func() { p.set(p.then) })
	}
	return resp, err
}

// TestALoginThatEndsAsItsSessionBegins: the session that its first request began is not the next login's.
func TestALoginThatEndsAsItsSessionBegins(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	hc := &perLogin{then: "bob"}
	hc.set("ann")
	h := start(t, Options{URL: s.URL, HTTP: hc})
	h.open(old)
	h.send(toolCall(1, "x"))
	h.line()
	h.close()
	for _, r := range s.seen {
		if id, login := r.header.Get("Mcp-Session-Id"), r.header.Get("Authorization"); id == "session-1" && login != "Bearer ann" {
			t.Errorf("%s %s in %s with %s", r.verb, r.Method, id, login)
		}
	}
	// The stream of 2024 is the session.
	sse := newSSEServer(t)
	hc = &perLogin{then: "bob"}
	hc.set("ann")
	h = start(t, Options{URL: sse.URL + "/sse", Mode: SSEOnly, HTTP: hc})
	h.send(fmt.Sprintf(initRequest, "2024-11-05"))
	h.line() // whatever it says
	h.close()
	if got := sse.seen(); strings.Contains(got, "1 ") {
		t.Errorf("messages of the next login in the stream of the first: %s", got)
	}
}

// TestASessionBelongsToOneLogin: with the token of another login the bridge begins another session, and neither uses
// the old one nor ends it.
func TestASessionBelongsToOneLogin(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	hc := &perLogin{}
	hc.set("ann")
	h := start(t, Options{URL: s.URL, HTTP: hc})
	h.open(old)
	call := func(id int) {
		t.Helper()
		h.send(toolCall(id, "x"))
		if l := h.line(); !strings.Contains(l, `"result"`) {
			t.Fatal(l)
		}
	}
	call(1)
	call(2) // the same login, another token
	hc.set("bob")
	call(3)
	call(4)
	hc.set("ann") // it is over all the same
	call(5)
	h.close()
	of := map[string]string{}
	for _, r := range s.seen {
		id, login := r.header.Get("Mcp-Session-Id"), r.header.Get("Authorization")
		if id == "" {
			continue
		}
		if of[id] == "" {
			of[id] = login
		}
		if of[id] != login {
			t.Errorf("%s %s in %s of %s with %s", r.verb, r.Method, id, of[id], login)
		}
	}
	if len(of) != 3 || len(s.requests("initialize")) != 3 || len(s.requests("DELETE")) != 1 {
		t.Errorf("sessions %v, %d beginnings, %d ended", of, len(s.requests("initialize")), len(s.requests("DELETE")))
	}
}

// TestALoginEndsItsOwnSessionsOnly.
func TestALoginEndsItsOwnSessionsOnly(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	hc := &perLogin{}
	hc.set("ann")
	h := start(t, Options{URL: s.URL, HTTP: hc})
	h.open(old)
	h.send(toolCall(1, "x"))
	h.line()
	hc.set("bob")
	h.close()
	if ended := s.requests("DELETE"); len(ended) != 0 {
		t.Errorf("ended with %v", ended[0].header["Authorization"])
	}
}

// TestAStreamOfAnotherLogin: the server's own stream is opened again in a session of the new login.
func TestAStreamOfAnotherLogin(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	hc := &perLogin{}
	hc.set("ann")
	next := make(chan bool, 1)
	s.get = func(w http.ResponseWriter, r *http.Request) {
		sse(w, ": begun\n\nretry: 1\n\n")
		if r.Header.Get("Mcp-Session-Id") == "session-1" {
			hc.set("bob") // and the stream ends
			return
		}
		next <- true
		<-r.Context().Done()
	}
	h := start(t, Options{URL: s.URL, HTTP: hc})
	h.open(old)
	select {
	case <-next:
	case <-time.After(10 * time.Second):
		t.Error("the stream was not opened again")
	}
	h.close()
	for _, r := range s.requests("GET") {
		if want := map[string]string{"session-1": "Bearer ann", "session-2": "Bearer bob"}[r.header.Get("Mcp-Session-Id")]; r.header.Get("Authorization") != want {
			t.Errorf("a stream of %v with %v", r.header["Mcp-Session-Id"], r.header["Authorization"])
		}
	}
}

// TestAConnectionOf2024BelongsToOneLogin: its session is in the address that the stream names.
func TestAConnectionOf2024BelongsToOneLogin(t *testing.T) {
	t.Parallel()
	s := newSSEServer(t)
	hc := &perLogin{}
	hc.set("ann")
	h := start(t, Options{URL: s.URL + "/sse", Mode: SSEOnly, HTTP: hc})
	h.open("2024-11-05")
	if !eventually(func() bool { return strings.Contains(s.seen(), "1 notifications/initialized") }) {
		t.Fatal(s.seen())
	}
	hc.set("bob")
	h.send(toolCall(1, "x"))
	h.line()
	h.close()
	if got, want := s.seen(), "1 initialize, 1 notifications/initialized, 2 initialize, 2 notifications/initialized, 2 tools/call"; got != want {
		t.Errorf("got %s", got)
	}
}

// TestASessionThatGoesWithItsToken: a server that answers 401 to a session that it does not know gets a new one, once.
func TestASessionThatGoesWithItsToken(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	rejected := errors.New("rejected")
	var refuse atomic.Value
	refuse.Store("session-1")
	hc := doer(func(r *http.Request) (*http.Response, error) {
		if id := r.Header.Get("Mcp-Session-Id"); id != "" && (id == refuse.Load() || refuse.Load() == "all") {
			return nil, rejected
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	h := start(t, Options{URL: s.URL, HTTP: hc, Classify: func(err error) Failure {
		if errors.Is(err, rejected) {
			return Failure{Kind: FailedRejected}
		}
		return Failure{}
	}})
	refuse.Store("none")
	h.open(old)
	refuse.Store("session-1")
	h.send(toolCall(1, "x"))
	if l := h.line(); !strings.Contains(l, `"result"`) {
		t.Error(l)
	}
	begun := len(s.requests("initialize"))
	if begun != 2 {
		t.Errorf("%d sessions", begun)
	}
	refuse.Store("all")
	h.send(toolCall(2, "x"))
	if l := h.line(); !strings.Contains(l, "authorization_failed") {
		t.Error(l)
	}
	if n := len(s.requests("initialize")); n != begun+1 {
		t.Errorf("%d sessions after a refusal for good", n)
	}
	h.close()
}
