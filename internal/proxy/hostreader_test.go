package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestWhatTheHostSendsWrong(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	h := start(t, Options{URL: s.URL, MaxMessage: 100_000, SpoolAbove: 50_000})
	h.open(old)
	big := strings.Repeat("x", 120_000)
	for name, c := range map[string]struct{ line, id, reason string }{
		"no JSON":               {"hello", "null", "parse_error"},
		"cut":                   {`{"jsonrpc":"2.0","id":4,"method":"ping"`, "4", "parse_error"},
		"not UTF-8":             {"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\",\"id\":\"é\"}", `"é"`, "parse_error"},
		"too large, id last":    {`{"method":"` + big + `","jsonrpc":"2.0","id":5}`, "5", "too_large"},
		"too large, id first":   {`{"id":"6","method":"` + big + `","jsonrpc":"2.0"}`, `"6"`, "too_large"},
		"too large and wrong":   {`{"id":"6","method":"` + big + `","jsonrpc":"2.0"}}`, `"6"`, "too_large"},
		"no version":            {`{"id":1,"method":"ping"}`, "1", "invalid_request"},
		"neither this nor that": {`{"jsonrpc":"2.0","id":1}`, "1", "invalid_request"},
		"an id of null":         {`{"jsonrpc":"2.0","id":null,"method":"ping"}`, "null", "invalid_request"},
		"an id that is a list":  {`{"jsonrpc":"2.0","id":[1],"method":"ping"}`, "null", "invalid_request"},
		"a batch":               {`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "1", "no_batches"},
		"an empty batch":        {`[]`, "null", "invalid_request"},
		"a batch of nothing":    {`[1]`, "null", "invalid_request"},
		"a batch of wrong ones": {`[{"jsonrpc":"2.0","id":"q","method":"ping"},{}]`, `"q"`, "invalid_request"},
		"deep":                  {`{"jsonrpc":"2.0","id":8,"method":"x","params":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}", "8", "parse_error"},
	} {
		h.send(c.line)
		r := h.refused(c.id, c.reason)
		if c.reason == "too_large" && !strings.Contains(r.Error.Message, "100000 bytes") {
			t.Errorf("%s: %s", name, r.Error.Message)
		}
	}
	// A notification gets no answer, and nothing was broken.
	h.send(`{"jsonrpc":"2.0","method":"` + big + `"}`)
	h.send(`{"jsonrpc":"2.0","id":77,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":77,"result":{"method":"ping"}}`)
	for _, r := range s.requests("POST") {
		t.Errorf("the server got %s", r.raw)
	}
}

func TestAResponseTooLargeBecomesAnErrorForTheServer(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	got := make(chan string, 1)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Error != nil {
			got <- m.raw
			w.WriteHeader(http.StatusAccepted)
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL, MaxMessage: 1000})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":"s9","result":"` + strings.Repeat("x", 2000) + `"}`)
	select {
	case g := <-got:
		if !strings.Contains(g, `"id":"s9"`) || !strings.Contains(g, "too_large") {
			t.Error(g)
		}
	case <-time.After(5 * time.Second):
		t.Error("the server got nothing")
	}
}

func TestAnIDInUseIsRefused(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	release := make(chan bool)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			<-release
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(toolCall(5, "a"))
	h.send(`{"jsonrpc":"2.0","id":5.0,"method":"ping"}`)
	h.refused("5.0", "id_in_use")
	close(release)
	h.expect(`{"jsonrpc":"2.0","id":5,"result":{"method":"tools/call"}}`)
	h.send(`{"jsonrpc":"2.0","id":5,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":5,"result":{"method":"ping"}}`)
}

func TestBatchesWhereTheRevisionHasThem(t *testing.T) {
	t.Parallel()
	const version = "2025-03-26"
	s := newMCP(t, version)
	var reply func(w http.ResponseWriter, raw string)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if strings.HasPrefix(m.raw, "[") {
			reply(w, m.raw)
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.open(version)
	batch := `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":"b","method":"ping"}]`
	a, b := `{"jsonrpc":"2.0","id":"b","result":{}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}`
	both := "[" + a + ", " + b + "]"
	reply = func(w http.ResponseWriter, raw string) {
		if raw != batch {
			t.Errorf("the server got %s", raw)
		}
		answer(w, both)
	}
	h.send(batch)
	h.expect(both)
	reply = func(w http.ResponseWriter, _ string) { sse(w, data(a)+data(b)) }
	h.send(batch)
	h.expect(a)
	h.expect(b)
	// One answer is missing, another nobody waits for.
	reply = func(w http.ResponseWriter, _ string) { answer(w, "["+a+`,{"jsonrpc":"2.0","id":9,"result":{}}]`) }
	h.send(batch)
	h.expect(a)
	h.refused("1", "bad_answer")
	reply = func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusAccepted) }
	h.send(`[{"jsonrpc":"2.0","method":"notifications/x"}]`)
	h.send(`[{"jsonrpc":"2.0","id":0,"method":"initialize"}]`)
	h.refused("0", "invalid_request")
	h.send(`[{"jsonrpc":"2.0","id":3,"method":"ping"},{"jsonrpc":"2.0","id":3,"method":"ping"}]`)
	h.refused("3", "id_in_use")
	h.refused("3", "id_in_use")
	// The ids of a refused batch are free.
	h.send(`{"jsonrpc":"2.0","id":3,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":3,"result":{"method":"ping"}}`)
}

// TestHiddenToolsInABatch: the rest of it goes on.
func TestHiddenToolsInABatch(t *testing.T) {
	t.Parallel()
	const batches = "2025-03-26"
	s := newMCP(t, batches)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if !strings.HasPrefix(m.raw, "[") {
			return false
		}
		answer(w, `[{"jsonrpc":"2.0","id":4,"result":{}}]`)
		return true
	}
	h := start(t, Options{URL: s.URL, IgnoreTools: []string{"hidden"}})
	h.open(batches)
	h.send(`[` + toolCall(3, "hidden") + `, {"jsonrpc":"2.0","id":4,"method":"ping"},{"jsonrpc":"2.0","method":"tools/call","params":{"name":"hidden"}} ]`)
	h.refused("3", "tool_hidden")
	h.expect(`{"jsonrpc":"2.0","id":4,"result":{}}`)
	h.send(`[` + toolCall(5, "hidden") + `]`)
	h.refused("5", "tool_hidden")
	h.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":6,"result":{"method":"ping"}}`)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.seen {
		if strings.Contains(r.raw, "hidden") {
			t.Errorf("the server got %s", r.raw)
		}
	}
}

// TestAFloodOfResponsesHoldsTheHostUp: a response passes the queue, but not without limit.
func TestAFloodOfResponsesHoldsTheHostUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		var inside atomic.Int32
		release := make(chan bool)
		s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
			if m.Result != nil {
				inside.Add(1)
				<-release
			}
			return false
		}
		h := start(t, Options{HTTP: c, URL: s.URL})
		h.open(old)
		const n = maxReplies + 20
		sent := make(chan bool)
		go func() {
			for i := range n {
				h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{}}`, i))
			}
			close(sent)
		}()
		if !eventually(func() bool { return inside.Load() == maxReplies }) {
			t.Fatalf("%d responses came", inside.Load())
		}
		time.Sleep(50 * time.Millisecond)
		if k := inside.Load(); k > maxReplies {
			t.Errorf("%d responses are under way", k)
		}
		close(release)
		<-sent
		if !eventually(func() bool { return inside.Load() == n }) {
			t.Errorf("%d responses came", inside.Load())
		}
	})
}

// TestAnIDThatCannotBeSaid is none: stdout is UTF-8.
func TestAnIDThatCannotBeSaid(t *testing.T) {
	t.Parallel()
	s := newMCP(t, old)
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send("{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}")
	h.refused("null", "parse_error")
	h.send("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"\xff\"}")
	h.refused("7", "parse_error")
}
