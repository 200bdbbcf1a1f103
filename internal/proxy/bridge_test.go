package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const old = "2025-11-25"

func TestARequestIsAnswered(t *testing.T) {
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

func TestWhatIsBeforeTheInitializedNotificationWaitsForIt(t *testing.T) {
	s := newMCP(t, old)
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
	h := start(t, Options{URL: s.URL, Grace: patience})
	// A script writes everything at once and closes its end.
	h.send("\ufeff" + fmt.Sprintf(initRequest, old) + "\n" + initNotified + "\r\n\n" + `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	_ = h.in.Close()
	h.expect(fmt.Sprintf(initAnswer, old))
	h.expect(`{"jsonrpc":"2.0","id":1,"result":{"method":"tools/list"}}`)
}

func TestMessagesPassAsTheyAre(t *testing.T) {
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
	s := newMCP(t, old)
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
	h := start(t, Options{URL: s.URL, MaxInFlight: 1})
	h.open(old)
	for i := range 2 * maxLinger {
		h.send(toolCall(100+i, "x"))
		h.expect(result([]byte(fmt.Sprint(100+i)), "x"))
	}
	closed.Wait()
}

func TestAServerAsksTheHost(t *testing.T) {
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

func TestWhatTheHostSendsWrong(t *testing.T) {
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
	if g := <-got; !strings.Contains(g, `"id":"s9"`) || !strings.Contains(g, "too_large") {
		t.Error(g)
	}
}

func TestAnIDInUseIsRefused(t *testing.T) {
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

// TestWhatTheServerSendsWrong is about answers to tools/call, which may not be repeated.
func TestWhatTheServerSendsWrong(t *testing.T) {
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

func TestBatchesWhereTheRevisionHasThem(t *testing.T) {
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
}

func TestABatchOfTheServerIsSplitWhereTheRevisionHasNone(t *testing.T) {
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

func TestLargeMessagesPassThroughAFile(t *testing.T) {
	s := newMCP(t, old)
	stream := false
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		if m.Method != "tools/call" {
			return false
		}
		echo := result(m.ID, "got "+m.raw)
		if stream {
			sse(w, data(echo))
		} else {
			answer(w, echo)
		}
		return true
	}
	dir := t.TempDir()
	h := start(t, Options{URL: s.URL, SpoolAbove: 1 << 20, TempDir: dir})
	h.open(old)
	for i := range 4 {
		stream = i%2 == 1
		msg := fmt.Sprintf(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"%s"}}`, strings.Repeat("0123456789abcdef", 250_000+i))
		h.send(msg)
		h.expect(result([]byte("5"), "got "+msg))
	}
}

func TestMessagesBeyondTheMemoryForAllGoToFiles(t *testing.T) {
	b := &budget{maxMessage: 1 << 20, spoolAbove: 1 << 20, memory: 100_000, dir: t.TempDir()}
	var all []*message
	text := `{"a":"` + strings.Repeat("x", 200_000) + `"}`
	for range 50 {
		m := b.messageOf([]byte(text))
		if err := m.end(); err != nil {
			t.Fatal(err)
		}
		if p, err := m.bytes(); err != nil || string(p) != text {
			t.Fatalf("%v, %d bytes", err, len(p))
		}
		all = append(all, m)
	}
	if used := b.used.Load(); used > 500_000 || b.spooled.Load() < 48 {
		t.Errorf("%d bytes are in memory, %d files", used, b.spooled.Load())
	}
	for _, m := range all {
		m.free()
	}
	if b.used.Load() != 0 || b.spooled.Load() != 0 {
		t.Errorf("%d bytes and %d files are left", b.used.Load(), b.spooled.Load())
	}
}

func TestALargeMessageThatCannotBeKeptIsAnError(t *testing.T) {
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			answer(w, result(m.ID, strings.Repeat("x", 100_000)))
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL, SpoolAbove: 50_000, TempDir: "/nonexistent"})
	h.open(old)
	h.send(toolCall(5, "x"))
	h.refused("5", "storage")
	h.send(toolCall(6, strings.Repeat("x", 60_000)))
	h.refused("6", "storage")
	h.send(`{"jsonrpc":"2.0","id":7,"method":"ping"}`)
	h.expect(`{"jsonrpc":"2.0","id":7,"result":{"method":"ping"}}`)
}

// TestABodyOutlivesItsCall: a transport may read the body after the response is there.
func TestABodyOutlivesItsCall(t *testing.T) {
	late := make(chan io.ReadCloser, 1)
	o := Options{URL: "http://server.example/mcp", HTTP: doer(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		if r.Method == http.MethodPost {
			select {
			case late <- r.Body:
			default:
				_ = r.Body.Close()
			}
			answer(w, result([]byte("5"), "x"))
		}
		return w.Result(), nil
	})}
	h := start(t, o)
	h.send(toolCall(5, "the name that must survive"))
	h.expect(result([]byte("5"), "x"))
	body := <-late
	for i := range 20 { // whatever was freed would be used now
		h.send(toolCall(5, fmt.Sprint("another", i)))
		h.expect(result([]byte("5"), "x"))
	}
	p, err := io.ReadAll(body)
	if err != nil || string(p) != toolCall(5, "the name that must survive") {
		t.Errorf("%q, %v", p, err)
	}
	_ = body.Close()
	_ = body.Close()
	if _, err := body.Read(p); err == nil {
		t.Error("a closed body can be read")
	}
}

func TestTheServerIsGoneAndBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	var refused atomic.Int32
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	up := make(chan bool, 1)
	o := Options{URL: "http://" + addr, HTTP: doer(func(r *http.Request) (*http.Response, error) {
		resp, err := (&http.Client{Transport: tr}).Do(r)
		if err != nil && refused.Add(1) == 2 {
			up <- true
		}
		return resp, err
	})}
	h := start(t, o)
	h.send(fmt.Sprintf(initRequest, old))
	<-up
	l, err = net.Listen("tcp", addr)
	if err != nil {
		t.Skip("the port was taken: ", err)
	}
	s := &mcp{t: t, version: old}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: s}}
	srv.Start()
	defer srv.Close()
	defer srv.CloseClientConnections()
	h.expect(fmt.Sprintf(initAnswer, old))
	if n := len(s.requests("initialize")); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
	h.close()
}

func TestWhatMayBeRepeatedIs(t *testing.T) {
	s := newMCP(t, old)
	var n atomic.Int32
	fails := int32(2)
	how := func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "initialize" || n.Add(1) > fails {
			return false
		}
		how(w)
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	h.expect(`{"jsonrpc":"2.0","id":1,"result":{"method":"tools/list"}}`)
	for _, code := range []int{502, 503, 504, 408} {
		n.Store(0)
		how = func(w http.ResponseWriter) { http.Error(w, "later", code) }
		h.send(`{"jsonrpc":"2.0","id":2,"method":"resources/read","params":{"uri":"x"}}`)
		h.expect(`{"jsonrpc":"2.0","id":2,"result":{"method":"resources/read"}}`)
	}
	// A call is repeated when the server did not act on it.
	fails = 1
	for _, code := range []int{429, 503} {
		n.Store(0)
		how = func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0.01"); http.Error(w, "later", code) }
		h.send(toolCall(3, "x"))
		h.expect(`{"jsonrpc":"2.0","id":3,"result":{"method":"tools/call"}}`)
	}
}

func TestRepeatingEnds(t *testing.T) {
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "initialize" || m.ID == nil {
			return false
		}
		http.Error(w, "later", http.StatusServiceUnavailable)
		return true
	}
	h := start(t, Options{URL: s.URL, RetryFor: 300 * time.Millisecond})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	h.refused("1", "http_error")
	if n := len(s.requests("ping")); n < 2 || n > 10 {
		t.Errorf("asked %d times", n)
	}
}

func TestCancelling(t *testing.T) {
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

func TestTheHostLeaves(t *testing.T) {
	for name, leave := range map[string]func(*host){
		"its end is closed":  func(h *host) { _ = h.in.Close() },
		"the bridge is told": func(h *host) { h.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newMCP(t, old)
			inside, gone := make(chan bool, 2), make(chan bool, 2)
			s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
				if m.Method == "tools/call" {
					inside <- true
					<-r.Context().Done()
					gone <- true
					return true
				}
				return false
			}
			s.get = func(w http.ResponseWriter, r *http.Request) {
				sse(w, ": \n\n")
				inside <- true
				<-r.Context().Done()
				gone <- true
			}
			h := start(t, Options{URL: s.URL, Grace: 50 * time.Millisecond})
			h.open(old)
			h.send(toolCall(5, "x"))
			<-inside
			<-inside
			began := time.Now()
			leave(h)
			h.refused("5", "ending")
			if err := h.close(); err != nil {
				t.Error(err)
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("it took %v", d)
			}
			<-gone
			<-gone
			if len(s.requests("DELETE")) != 1 {
				t.Error("the session was not ended")
			}
		})
	}
}

func TestTheEndIsInTimeThoughNobodyHelps(t *testing.T) {
	s := newMCP(t, old)
	hang := make(chan bool)
	s.get = func(w http.ResponseWriter, r *http.Request) { <-hang }
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/call" {
			answer(w, result(m.ID, strings.Repeat("x", 1<<20)))
			return true
		}
		return false
	}
	// The host reads nothing after the first line, the server does not take the end of the session.
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	defer outR.Close()
	done := make(chan error, 1)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	go func() {
		done <- Run(context.Background(), inR, outW, &Options{URL: s.URL, HTTP: doer(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodDelete {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return tr.RoundTrip(r)
		})})
	}()
	_, _ = io.WriteString(inW, fmt.Sprintf(initRequest, old)+"\n")
	_, _ = io.ReadFull(outR, make([]byte, 10))
	close(hang)
	_ = inW.Close()
	began := time.Now()
	select {
	case err := <-done:
		if d := time.Since(began); err != nil || d > 1500*time.Millisecond {
			t.Errorf("%v after %v", err, d)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

func TestTheHostCannotBeWrittenTo(t *testing.T) {
	s := newMCP(t, old)
	inR, inW := io.Pipe()
	defer inW.Close()
	outR, outW := io.Pipe()
	_ = outR.CloseWithError(errors.New("gone"))
	done := make(chan error, 1)
	c := &http.Client{Transport: &http.Transport{}}
	go func() {
		done <- Run(context.Background(), inR, outW, &Options{URL: s.URL, HTTP: c})
	}()
	_, _ = io.WriteString(inW, fmt.Sprintf(initRequest, old)+"\n")
	if err := <-done; err == nil || !strings.Contains(err.Error(), "writing to the host") {
		t.Error(err)
	}
	if _, err := Run2(nil); err == nil {
		t.Error("no options")
	}
}

// Run2 runs a bridge that should not begin.
func Run2(o *Options) (struct{}, error) {
	return struct{}{}, Run(context.Background(), strings.NewReader(""), io.Discard, o)
}

func TestAPanicAnswersWhatIsOpen(t *testing.T) {
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

// TestHiddenToolsInABatch: the rest of it goes on.
func TestHiddenToolsInABatch(t *testing.T) {
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

func TestHiddenTools(t *testing.T) {
	s := newMCP(t, old)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/list" {
			answer(w, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"Delete_all"}, {"name":"get" , "x":1.0},{"name":"x_delete_y"}],"nextCursor":"n"}}`)
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL, IgnoreTools: []string{"*DELETE*", "hidden"}})
	h.open(old)
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	h.expect(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get" , "x":1.0}],"nextCursor":"n"}}`)
	h.send(toolCall(2, "Hidden"))
	h.refused("2", "tool_hidden")
	h.send(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"hidden"}}`)
	h.send(toolCall(3, "get"))
	h.expect(`{"jsonrpc":"2.0","id":3,"result":{"method":"tools/call"}}`)
	if n := len(s.requests("tools/call")); n != 1 {
		t.Errorf("%d calls were sent, want the one of a tool that is not hidden", n)
	}
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "ac", true}, {"a*b*c", "aXbYc", true}, {"a*b*c", "acb", false}, {"*", "", true}, {"ab", "abc", false}, {"a*a", "a", false}, {"", "", true}, {"", "x", false},
	} {
		if matches(c.pattern, c.name) != c.want {
			t.Errorf("%q fits %q: not %t", c.name, c.pattern, c.want)
		}
	}
}
