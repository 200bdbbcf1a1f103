package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// stateless is a server of 2026-07-28.
func stateless(t testing.TB) *mcp {
	s := newMCP(t, "")
	s.sessions = false
	return s
}

func TestHeadersSayWhatTheBodySays(t *testing.T) {
	s := stateless(t)
	h := start(t, Options{URL: s.URL})
	for i, c := range []struct{ method, params, name string }{
		{"server/discover", meta, ""},
		{"tools/list", meta, ""},
		{"tools/call", `"name":"a-b",` + meta, "a-b"},
		{"tools/call", meta + `,"arguments":{"name":"no"},"name":"tr\u00e8s ✓"`, "=?base64?dHLDqHMg4pyT?="},
		{"prompts/get", `"name":" p",` + meta, "=?base64?IHA=?="},
		{"resources/read", `"name":"no","uri":"file:///a%20b?c=1",` + meta, "file:///a%20b?c=1"},
		{"resources/read", `"uri":"=?base64?x?=",` + meta, "=?base64?PT9iYXNlNjQ/eD89?="},
		{"tasks/get", `"taskId":"t1",` + meta, "t1"},
		{"completion/complete", `"name":"no",` + meta, ""},
	} {
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{%s}}`, i, c.method, c.params))
		h.expect(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"method":%q}}`, i, c.method))
		r := s.requests(c.method)
		g := r[len(r)-1].header
		if g.Get("Mcp-Method") != c.method || g.Get("Mcp-Name") != c.name || g.Get("Mcp-Protocol-Version") != "2026-07-28" || g["Mcp-Session-Id"] != nil {
			t.Errorf("%s: %v", c.method, g)
		}
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/made/up"}`)
	if !eventually(func() bool { return len(s.requests("notifications/made/up")) == 1 }) {
		t.Fatal("the notification was lost")
	}
	if g := s.requests("notifications/made/up")[0].header; g.Get("Mcp-Method") != "notifications/made/up" || g.Get("Mcp-Protocol-Version") != "2026-07-28" {
		t.Errorf("%v", g)
	}
	h.close()
	if len(s.requests("GET"))+len(s.requests("DELETE")) != 0 {
		t.Error("this revision has neither stream nor session")
	}
}

const annotated = `{"name":"good","inputSchema":{"type":"object","properties":{
 "region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"},"on":{"type":["boolean","null"],"x-mcp-header":"On"},
 "empty":{"type":"string","x-mcp-header":"Empty"},"tab":{"x-mcp-header":"Tab","type":"string"},"method":{"type":"string","x-mcp-header":"Method"},
 "deep":{"type":"object","properties":{"x":{"type":"string","x-mcp-header":"Deep"}}},"plain":{"type":"string","default":{"x-mcp-header":"no"}},
 "x-mcp-header":{"type":"string"}}}}`

func TestArgumentsAreRepeatedInHeaders(t *testing.T) {
	s := stateless(t)
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/list" {
			answer(w, `{"jsonrpc":"2.0","id":1,"result":{"tools":[`+annotated+`]}}`)
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + meta + `}}`)
	h.expect(strings.ReplaceAll(`{"jsonrpc":"2.0","id":1,"result":{"tools":[`+annotated+`]}}`, "\n", ""))
	for args, want := range map[string]map[string]string{
		`{"region":"us-west1","n":42,"on":false,"plain":"x","method":"m"}`:             {"Region": "us-west1", "N": "42", "On": "false", "Method": "m"},
		`{"region":"Hello, 世界","n":42.0,"on":true,"deep":{"x":" padded "}}`:            {"Region": "=?base64?SGVsbG8sIOS4lueVjA==?=", "N": "42", "On": "true", "Deep": "=?base64?IHBhZGRlZCA=?="},
		`{"region":"line1\nline2","n":-7,"on":null,"empty":"","tab":"\tindented"}`:     {"Region": "=?base64?bGluZTEKbGluZTI=?=", "N": "-7", "Empty": "", "Tab": "=?base64?CWluZGVudGVk?="},
		`{"region":["a"],"n":{},"deep":"x"}`:                                           {},
		`{"region":"a","region":"b"}`:                                                  {"Region": "b"},
		`{"region":"r","plain":"` + strings.Repeat("large \\\" ", 10_000) + `","n":1}`: {"Region": "r", "N": "1"},
		`5`: {},
	} {
		h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"good","arguments":` + args + `,` + meta + `}}`)
		h.expect(`{"jsonrpc":"2.0","id":2,"result":{"method":"tools/call"}}`)
		r := s.requests("tools/call")
		got := map[string]string{}
		for k, v := range r[len(r)-1].header {
			if k, ok := strings.CutPrefix(k, "Mcp-Param-"); ok {
				got[k] = v[0]
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%.80s: %v, want %v", args, got, want)
		}
	}
	// An old request is left alone.
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"good","arguments":{"region":"x"}}}`)
	h.line()
	r := s.requests("tools/call")
	if g := r[len(r)-1].header; g["Mcp-Param-Region"] != nil || g["Mcp-Method"] != nil {
		t.Errorf("%v", g)
	}
}

func TestToolsWithWrongAnnotationsAreLeftOut(t *testing.T) {
	wrong := []string{
		`"v":{"type":"string","x-mcp-header":""}`,
		`"v":{"type":"string","x-mcp-header":5}`,
		`"v":{"type":"object","x-mcp-header":"A"}`,
		`"v":{"type":"array","items":{"type":"string"},"x-mcp-header":"A"}`,
		`"v":{"type":"null","x-mcp-header":"A"}`,
		`"v":{"type":["null"],"x-mcp-header":"A"}`,
		`"v":{"type":"number","x-mcp-header":"A"}`,
		`"v":{"x-mcp-header":"A"}`,
		`"v":{"type":"string","x-mcp-header":"A"},"w":{"type":"string","x-mcp-header":"A"}`,
		`"v":{"type":"string","x-mcp-header":"Ab"},"w":{"type":"string","x-mcp-header":"aB"}`,
		`"v":{"type":"string","x-mcp-header":"a b"}`,
		`"v":{"type":"string","x-mcp-header":"a:b"}`,
		`"v":{"type":"string","x-mcp-header":"Région"}`,
		`"v":{"type":"string","x-mcp-header":"a\t1"}`,
		`"v":{"type":"string","x-mcp-header":"a\r\nEvil: 1"}`,
		`"v":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}`,
		`"v":{"anyOf":[{"type":"string","x-mcp-header":"A"}]}`,
		`"v":{"type":"object","properties":{"x":{"not":{"properties":{"y":{"type":"string","x-mcp-header":"A"}}}}}}`,
	}
	var tools []string
	for i, w := range wrong {
		tools = append(tools, fmt.Sprintf(`{"name":"wrong%d","inputSchema":{"type":"object","properties":{%s}}}`, i, w))
	}
	tools = append(
		tools, `{"name":"ref","inputSchema":{"$defs":{"d":{"type":"string","x-mcp-header":"A"}}}}`,
		`{"name":"root","inputSchema":{"type":"string","x-mcp-header":"A"}}`, `{"name":"kept" ,"inputSchema":{"type":"object"}}`,
	)
	s := stateless(t)
	list := `{"result":{"tools":[` + strings.Join(tools, ", ") + `],"ttlMs":0.0},"id":1,"jsonrpc":"2.0"}`
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/list" {
			sse(w, data(list))
			return true
		}
		return false
	}
	h := start(t, Options{URL: s.URL})
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + meta + `}}`)
	h.expect(`{"result":{"tools":[{"name":"kept" ,"inputSchema":{"type":"object"}}],"ttlMs":0.0},"id":1,"jsonrpc":"2.0"}`)
	if l := h.log.String(); !strings.Contains(l, "wrong0") || !strings.Contains(l, "two parameters name the header") {
		t.Error("nothing was said of it")
	}
	// Older revisions know nothing of annotations.
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	h.expect(list)
}

func TestACallWhoseHeadersDoNotFitIsSentAgain(t *testing.T) {
	s := stateless(t)
	mismatch := `{"jsonrpc":"2.0","id":%s,"error":{"code":-32020,"message":"Header mismatch"}}`
	s.post = func(w http.ResponseWriter, r *http.Request, m rpc) bool {
		switch {
		case m.Method == "tools/list" && strings.Contains(m.raw, `"cursor":"2"`):
			answer(w, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[%s]}}`, m.ID, annotated))
		case m.Method == "tools/list":
			answer(w, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[],"nextCursor":"2"}}`, m.ID))
		case m.Method == "tools/call" && r.Header.Get("Mcp-Param-Region") != "eu":
			w.WriteHeader(400)
			answer(w, fmt.Sprintf(mismatch, m.ID))
		default:
			return false
		}
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.send(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"good","arguments":{"region":"eu"},` + meta + `}}`)
	h.expect(`{"jsonrpc":"2.0","id":5,"result":{"method":"tools/call"}}`)
	for _, r := range s.requests("tools/list") {
		if !strings.Contains(r.raw, meta) || r.header.Get("Mcp-Protocol-Version") != "2026-07-28" {
			t.Errorf("%s", r.raw)
		}
	}
	// A second refusal is the host's.
	h.send(`{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"good","arguments":{"region":"us"},` + meta + `}}`)
	h.expect(fmt.Sprintf(mismatch, "6"))
	if n := len(s.requests("tools/call")); n != 4 {
		t.Errorf("%d calls", n)
	}
}

func TestStatelessErrorsPass(t *testing.T) {
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

func TestCancellingClosesTheStream(t *testing.T) {
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

func TestAStatelessStreamIsNotResumed(t *testing.T) {
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
