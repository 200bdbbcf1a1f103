package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestHiddenTools(t *testing.T) {
	t.Parallel()
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

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// stateless is a server of 2026-07-28.
func stateless(t testing.TB) *mcp {
	s := newMCP(t, "")
	s.sessions = false
	return s
}

func TestHeadersSayWhatTheBodySays(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

func TestToolsThatAreRememberedHaveALimit(t *testing.T) {
	t.Parallel()
	table := newToolTable(nil, nil)
	h := []paramHeader{{name: "A", path: []string{"a"}}}
	for i := range maxTools + 10 {
		table.set(fmt.Sprint(i), h)
	}
	if len(table.headers) != maxTools || table.get("0") == nil || table.get(fmt.Sprint(maxTools)) != nil {
		t.Errorf("%d tools are remembered", len(table.headers))
	}
	table.set("0", nil)
	table.set("new", h)
	if table.get("0") != nil || table.get("new") == nil {
		t.Error("a place was not free again")
	}
}
