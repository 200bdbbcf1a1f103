package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsBeforeTheInitializedNotificationWaitsForIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		var ready atomic.Bool
		s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
			switch m.Method {
			case "initialize":
				time.Sleep(20 * time.Millisecond)
			case "notifications/initialized":
				time.Sleep(20 * time.Millisecond)
				ready.Store(true)
			case "tools/list":
				if !ready.Load() {
					t.Error("the list was asked for before the notification was taken")
				}
			}
			return false
		}
		h := start(t, Options{HTTP: c, URL: s.URL, Grace: patience})
		// A script writes everything at once and closes its end.
		h.send("\ufeff" + fmt.Sprintf(initRequest, old) + "\n" + initNotified + "\r\n\n" + `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		_ = h.in.Close()
		h.expect(fmt.Sprintf(initAnswer, old))
		h.expect(`{"jsonrpc":"2.0","id":1,"result":{"method":"tools/list"}}`)
	})
}

func TestCancelling(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	begun, ended := make(chan bool, 1), make(chan bool, 1)
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		switch m.Method {
		case "tools/call":
			sse(w, ": \n\n")
			begun <- true
			<-ended
			if strings.Contains(m.raw, "late") {
				sse(w, data(result(m.ID, "late")))
			}
			return true
		case "notifications/cancelled":
			ended <- true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`
	h.send(toolCall(5, "x"))
	<-begun
	h.send(cancel)
	// The server ends without an answer, and none is made up. What is sent next waits for nothing.
	s.heard("notifications/cancelled", 1)
	h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
	if got := s.requests("notifications/cancelled"); len(got) != 1 || got[0].raw != cancel || got[0].header.Get("Mcp-Session-Id") == "" {
		t.Errorf("the server heard %v", got)
	}
	// It may answer all the same.
	h.send(toolCall(8, "late"))
	<-begun
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":8}}`)
	h.expect(result([]byte("8"), "late"))
}

func TestWhatIsCancelledIsNotGoneOnWith(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	begun, ended := make(chan bool, 1), make(chan bool, 1)
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		switch m.Method {
		case "resources/read":
			sse(w, "id: 1\nretry: 1\ndata:\n\n")
			begun <- true
			<-ended
			return true
		case "notifications/cancelled":
			w.WriteHeader(http.StatusAccepted)
			ended <- true
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":5,"method":"resources/read","params":{"uri":"x"}}`)
	<-begun
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`)
	// Its id is free once it is over.
	if !eventually(func() bool {
		h.send(`{"jsonrpc":"2.0","id":5,"method":"ping"}`)
		return h.line() == `{"jsonrpc":"2.0","id":5,"result":{"method":"ping"}}`
	}) {
		t.Fatal("it is not over")
	}
	h.close()
	h.nothing()
	if n := len(s.requests("resources/read")); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	for _, g := range s.requests("GET") {
		if g.header.Get("Last-Event-Id") != "" {
			t.Error("its stream was resumed")
		}
	}
}

func TestWhatWaitsIsCancelledHere(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	release := make(chan bool)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			<-release
		}
		return false
	}
	h := start(t, Options{URL: s.URL, MaxInFlight: 1})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.send(toolCall(6, "never sent"))
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":6}}`)
	h.send(`{"jsonrpc":"2.0","id":7,"method":"ping"}`)
	close(release)
	h.expect(`{"jsonrpc":"2.0","id":5,"result":{"method":"tools/call"}}`)
	h.expect(`{"jsonrpc":"2.0","id":7,"result":{"method":"ping"}}`)
	if n := len(s.requests("tools/call")); n != 1 || len(s.requests("notifications/cancelled")) != 0 {
		t.Errorf("%d calls came", n)
	}
}

// TestAFloodOfRequestsHoldsTheHostUp: so it is on the other side.
func TestAFloodOfRequestsHoldsTheHostUp(t *testing.T) {
	t.Parallel()
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

func TestARequestThatWaitsForALoginIsCancelled(t *testing.T) {
	t.Parallel()
	o := Options{HTTP: &far{}, Login: func(ctx context.Context, _ error) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		h.send(fmt.Sprintf(initRequest, old))
		synctest.Wait()
		h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":0}}`)
		synctest.Wait()
		h.nothing()
		// Its id is free, its place too.
		h.send(fmt.Sprintf(initRequest, old))
		h.refused("0", "login_pending")
	})
}

func TestACallThatWaitsForALoginIsCancelledHere(t *testing.T) {
	t.Parallel()
	f := &far{loggedIn: true}
	o := Options{HTTP: f, Login: func(ctx context.Context, _ error) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		h.open(old)
		synctest.Wait()
		f.login(false)
		h.send(toolCall(5, "x"))
		synctest.Wait()
		h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`)
		synctest.Wait()
		if got := f.requests(); strings.Contains(got, "notifications/cancelled") {
			t.Errorf("the server was told of what it never saw: %s", got)
		}
		began := time.Now()
		h.send(toolCall(5, "x"))
		h.refused("5", "login_pending")
		if d := time.Since(began); d != 25*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestCancellingClosesTheStream(t *testing.T) {
	t.Parallel()
	s := stateless(t)
	begun, closed := make(chan bool), make(chan bool)
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.Method == "subscriptions/listen" {
			sse(w, data(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}`)+"id: 5\ndata:\n\n")
			begun <- true
			<-r.Context().Done()
			closed <- true
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.send(`{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen","params":{` + meta + `}}`)
	h.expect(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}`)
	<-begun
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"sub"}}`)
	<-closed
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"gone"}}`)
	h.send(`{"jsonrpc":"2.0","id":6,"method":"ping","params":{` + meta + `}}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
	if len(s.requests("notifications/cancelled")) != 0 {
		t.Error("the server was told in words too")
	}
}
