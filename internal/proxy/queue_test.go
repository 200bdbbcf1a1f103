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

// testQueue is a queue whose calls go nowhere.
func testQueue() *queue {
	q := newQueue(1, &tasks{})
	q.serve, q.full = func(*call) {}, func() {}
	return q
}

func testCall(method string, ids ...string) *call {
	m := (&budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 1 << 20}).message()
	c := &call{outgoing: outgoing{msg: m}, method: method, done: make(chan struct{}), cancel: func() {}}
	for _, id := range ids {
		c.entries = append(c.entries, &entry{call: c, raw: []byte(id), method: method})
	}
	return c
}

// register registers the entries of a call.
func (c *call) register(t *testing.T, q *queue) {
	t.Helper()
	all := c.entries
	c.entries = nil
	for _, e := range all {
		if !q.register(e) {
			t.Fatalf("the id %s is in use", e.raw)
		}
	}
}

func cancelled(t *testing.T, id string) *call {
	m := (&budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 1 << 20}).messageOf([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`))
	if err := m.end(); err != nil {
		t.Fatal(err)
	}
	return &call{outgoing: outgoing{msg: m, elem: &m.top}}
}

// TestALaterCallKeepsItsAnswer: an id that was cancelled may be in use again when its first call ends.
func TestALaterCallKeepsItsAnswer(t *testing.T) {
	t.Parallel()
	q := testQueue()
	first, second := testCall("initialize", "5"), testCall("ping", "5")
	first.register(t, q)
	if q.cancel(cancelled(t, "5")) {
		t.Error("the server is told of what it never got")
	}
	second.register(t, q)
	if got := q.takeAll(first); len(got) != 0 {
		t.Error("the first call took the answer of the second")
	}
	if e := q.take(idKey([]byte("5"))); e == nil || e.call != second {
		t.Error("the second call has lost its answer")
	}
}

// TestCancellingOneOfABatch leaves the others alone.
func TestCancellingOneOfABatch(t *testing.T) {
	t.Parallel()
	q := testQueue()
	c := testCall("", "1", "2")
	c.cancel = func() { t.Error("the batch was cancelled") }
	c.register(t, q)
	if !q.cancel(cancelled(t, "1")) || q.wasCancelled(c) {
		t.Error("it is the server that has to know which")
	}
	if len(q.takeAll(c)) != 2 {
		t.Error("a request has lost its answer")
	}
}

// TestABatchIsTakenAsAWhole, or not at all.
func TestABatchIsTakenAsAWhole(t *testing.T) {
	t.Parallel()
	q := testQueue()
	testCall("ping", "1").register(t, q)
	testCall("initialize", "2").register(t, q)
	own := testCall("ping", "3")
	own.entries[0].sink = func(*message) {}
	own.register(t, q)
	for _, other := range []string{"n2", "n3", "n4"} {
		if _, ok := q.takeBatch(map[string]bool{"n1": true, other: true}); ok {
			t.Errorf("a batch with %s was taken", other)
		}
	}
	if all, ok := q.takeBatch(map[string]bool{"n1": true}); !ok || len(all) != 1 {
		t.Error("the batch was not taken")
	}
	if _, ok := q.takeBatch(map[string]bool{"n1": true}); ok {
		t.Error("it was taken twice")
	}
}

// TestACancelledRequestThatTheServerIgnores gives its place up after a while.
func TestACancelledRequestThatTheServerIgnores(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		s.post = func(_ http.ResponseWriter, r *http.Request, m rpc) bool {
			if m.Method == "tools/call" {
				<-r.Context().Done()
			}
			return m.Method == "tools/call"
		}
		h := start(t, Options{HTTP: c, URL: s.URL, MaxInFlight: 1})
		h.open(old)
		h.send(toolCall(5, "x"))
		s.heard("tools/call", 1)
		began := time.Now()
		h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`)
		h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
		h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
		if d := time.Since(began); d < cancelWait || d > cancelWait+time.Second {
			t.Errorf("its place was free after %v", d)
		}
	})
}

// TestNotificationsWaitInTheQueue once maxQueue of them wait to be sent, so that the host has to wait in the end.
func TestNotificationsWaitInTheQueue(t *testing.T) {
	t.Parallel()
	q := testQueue()
	q.noting = true // one is being sent
	for range maxQueue + 5 {
		c := testCall("notifications/progress")
		c.elem = &element{}
		if err := q.admit(c); err != nil {
			t.Fatal(err)
		}
	}
	if len(q.notes) != maxQueue || len(q.waiting) != 5 {
		t.Errorf("%d wait to be sent, and %d behind them", len(q.notes), len(q.waiting))
	}
	open, unsent := q.close()
	if len(open) != 0 || len(unsent) != maxQueue+5 || q.admit(testCall("ping", "1")) == nil {
		t.Errorf("%d are open and %d unsent at the end", len(open), len(unsent))
	}
}

// TestACancelledCallLeavesTheQueue, and is freed once.
func TestACancelledCallLeavesTheQueue(t *testing.T) {
	t.Parallel()
	q := testQueue()
	first, second := testCall("ping", "1"), testCall("ping", "2")
	for _, c := range []*call{first, second} {
		c.register(t, q)
		if err := q.admit(c); err != nil {
			t.Fatal(err)
		}
	}
	if len(q.waiting) != 1 {
		t.Fatalf("%d calls wait", len(q.waiting))
	}
	if q.cancel(cancelled(t, "2")) || len(q.waiting) != 0 || second.msg.refs.Load() != 0 {
		t.Errorf("%d calls wait, %d references", len(q.waiting), second.msg.refs.Load())
	}
}
