package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMessagesPassAsTheyAre(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	odd := `{ "x-new" : [1.0, 1e400,-0 ,123456789012345678901234567890, "\ud800é\/"],"jsonrpc":"2.0","id":%s,"method":"made/up","params":[{"a":1,"a":2}]}`
	back := `{"RESULT":1, "result" : {"a":1.50,"a":"\u0041"} ,"jsonrpc":"2.0","id":%s}`
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "made/up" {
			return false
		}
		if want := fmt.Sprintf(odd, m.ID); m.raw != want {
			t.Errorf("the server got %s\nwant %s", m.raw, want)
		}
		w.Header().Set("Content-Type", "Application/JSON; charset=UTF-8")
		_, _ = fmt.Fprintf(w, back, m.ID)
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	for _, id := range []string{"1", `"a\"b"`, "1.5", "-3", "12345678901234567890", `""`} {
		h.send(fmt.Sprintf(odd, id))
		h.expect(fmt.Sprintf(back, id))
	}
}

func TestLineBreaksBetweenTokensGo(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		answer(w, "{\r\n  \"jsonrpc\": \"2.0\",\n  \"id\": "+string(m.ID)+",\n  \"result\": {\n    \"text\": \"a\\nb\"\n  }\n}\n")
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(3, "x"))
	h.expect(`{  "jsonrpc": "2.0",  "id": 3,  "result": {    "text": "a\nb"  }}`)
}

func TestAStreamIsAnswered(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		sse(w, "\ufeff: hello\r\n\r\nid: 1\ndata: \n\nevent: other\ndata: {}\n\n"+data(`{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`)+
			"event: message\rdata: {\"jsonrpc\":\"2.0\",\rdata: \"id\":"+string(m.ID)+",\rdata:\"result\":{}}\r\r")
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	for i := range 100 {
		h.send(toolCall(100+i, "x"))
		h.expect(`{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`)
		h.expect(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{}}`, 100+i))
	}
}

func TestAStreamThatGoesOnAfterTheAnswerHoldsNothingUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		var closed sync.WaitGroup
		s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
			if m.Method != "tools/call" {
				return false
			}
			closed.Add(1)
			defer closed.Done()
			sse(w, data(result(m.ID, "x")))
			<-r.Context().Done()
			return true
		}
		h := start(t, Options{HTTP: c, URL: s.URL, MaxInFlight: 1})
		h.open(old)
		for i := range 2 * maxLinger {
			h.send(toolCall(100+i, "x"))
			h.expect(result([]byte(fmt.Sprint(100+i)), "x"))
		}
		closed.Wait()
	})
}

func TestAServerAsksTheHost(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	got := make(chan string, 1)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		switch {
		case m.Method == "tools/call":
			sse(w, data(`{"jsonrpc":"2.0","id":"s1","method":"elicitation/create","params":{}}`))
			sse(w, data(result(m.ID, <-got)))
		case m.Result != nil:
			got <- m.raw
			w.WriteHeader(http.StatusAccepted)
		default:
			return false
		}
		return true
	}
	// The one place is taken by the call that waits for the answer; more calls wait behind it.
	h := start(t, Options{URL: s.URL, MaxInFlight: 1})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":"s1","method":"elicitation/create","params":{}}`)
	reply := `{"jsonrpc":"2.0","id":"s1","result":{"action":"decline"}}`
	h.send(reply)
	h.expect(result([]byte("5"), reply))
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			if len(m.ID)%2 == 0 {
				sse(w, data(result(m.ID, strings.Repeat("x", 100_000))))
			} else {
				answer(w, result(m.ID, strings.Repeat("y", 100_000)))
			}
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL, MaxInFlight: 16})
	h.open(old)
	const n = 300
	go func() {
		for i := range n {
			h.send(toolCall(1000+i*7, "x"))
		}
	}()
	seen := map[string]int{}
	for range n {
		l := h.line()
		if !strings.HasSuffix(l, `"}}`) || len(l) < 100_000 {
			t.Fatalf("%.200s", l)
		}
		seen[l[:40]]++
	}
	for k, c := range seen {
		if c != 1 {
			t.Errorf("%s came %d times", k, c)
		}
	}
	if len(seen) != n {
		t.Errorf("%d answers", len(seen))
	}
}

func TestAFloodOfNotifications(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		one := []byte(data(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}`))
		for range n {
			if _, err := w.Write(one); err != nil {
				return true
			}
		}
		_, _ = io.WriteString(w, data(result(m.ID, "x")))
		return true
	}
	out := &discards{}
	inR, inW := io.Pipe()
	done := make(chan error, 1)
	c := &http.Client{Transport: &http.Transport{}}
	grew := peak(func() {
		go func() {
			done <- Run(context.Background(), inR, out, &Options{URL: s.URL, HTTP: c, Grace: patience})
		}()
		_, _ = io.WriteString(inW, fmt.Sprintf(initRequest, old)+"\n"+initNotified+"\n"+toolCall(5, "x")+"\n")
		_ = inW.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if got := out.lines.Load(); got != int64(n)+2 {
		t.Errorf("%d lines came", got)
	}
	if grew > 16<<20 {
		t.Errorf("the heap grew by %d MB", grew>>20)
	}
}

// TestAHostThatReadsNothingHoldsTheServerUp: back-pressure instead of memory.
func TestAHostThatReadsNothingHoldsTheServerUp(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	var sent atomic.Int64
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		one := []byte(data(`{"jsonrpc":"2.0","method":"n","params":"` + strings.Repeat("x", 10_000) + `"}`))
		for r.Context().Err() == nil {
			k, err := w.Write(one)
			if err != nil {
				break
			}
			sent.Add(int64(k))
		}
		return true
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	c := &http.Client{Transport: &http.Transport{}}
	go func() {
		done <- Run(context.Background(), inR, outW, &Options{URL: s.URL, HTTP: c})
	}()
	_, _ = io.WriteString(inW, fmt.Sprintf(initRequest, old)+"\n")
	l := newLines(outR)
	m := (&budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 1 << 20}).message()
	if err := l.next(m); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(inW, toolCall(5, "x")+"\n")
	// The server gets no further once the sockets' buffers are full.
	var last int64 = -1
	if !eventually(func() bool {
		time.Sleep(100 * time.Millisecond)
		now := sent.Load()
		still := now == last && now > 0
		last = now
		return still
	}) {
		t.Errorf("the server sent %d bytes", last)
	}
	_ = inW.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = outR.Close()
}

// TestALogThatAServerFills: it has no end, but grows slower and slower.
func TestALogThatAServerFills(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, strings.Repeat("data:{}\n\ndata:x\n\ndata:[[]]\n\n"+data(result([]byte("77"), "x")), 5000)+data(result(m.ID, "x")))
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.expect(result([]byte("5"), "x"))
	if n := strings.Count(h.log.String(), "level=WARN"); n < 3 || n > 300 {
		t.Errorf("%d warnings", n)
	}
}

func TestAnAnswerMayComeOnAnotherStream(t *testing.T) {
	t.Parallel()
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

func TestABatchOfTheServerIsSplitWhereTheRevisionHasNone(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			answer(w, `[{"jsonrpc":"2.0","method":"n"} , `+result(m.ID, "x")+`,[1],7]`)
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.expect(`{"jsonrpc":"2.0","method":"n"}`)
	h.expect(result([]byte("5"), "x"))
}

// TestABatchOfTheServerThatIsNotInOrder is not passed on as a whole.
func TestABatchOfTheServerThatIsNotInOrder(t *testing.T) {
	t.Parallel()
	s := newMCP(t, batches)
	reply := ""
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "ping" || m.Method == "tools/list" {
			answer(w, reply)
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(batches)
	one := `{"jsonrpc":"2.0","id":5,"result":{}}`
	reply = "[" + one + `,{"jsonrpc":"2.0","id":5,"result":{"again":1}}]`
	h.send(`{"jsonrpc":"2.0","id":5,"method":"ping"}`)
	h.expect(one)
	h.close()
	h.nothing()
	// A batch does not show what is hidden.
	h = start(t, Options{URL: s.URL, IgnoreTools: []string{"hidden"}})
	h.open(batches)
	reply = `[{"jsonrpc":"2.0","id":6,"result":{"tools":[{"name":"hidden"},{"name":"x"}]}}]`
	h.send(`{"jsonrpc":"2.0","id":6,"method":"tools/list"}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"tools":[{"name":"x"}]}}`)
}
