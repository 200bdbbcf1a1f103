package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSchemasThatAreTooMuch: a list of tools costs no more memory and time than its size lets expect.
func TestSchemasThatAreTooMuch(t *testing.T) {
	const leaf = `{"type":"string","x-mcp-header":"%d"}`
	leaves := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"%d":`+leaf, i, i))
		}
		return `{"properties":{` + strings.Join(all, ",") + `}}`
	}
	nested := func(depth int, inner string) string {
		return strings.Repeat(`{"properties":{"a":`, depth) + inner + strings.Repeat(`}}`, depth)
	}
	for name, schema := range map[string]string{
		"deep":               nested(3000, leaves(20_000)),
		"many headers":       leaves(200_000),
		"large and deep":     nested(3000, strings.Replace(leaves(1), `{`, `{"description":"`+strings.Repeat("x", 4_000_000)+`",`, 1)),
		"a type in a type":   `{"properties":{"a":{"x-mcp-header":"a","type":` + strings.Repeat("[", 9000) + `"` + strings.Repeat("x", 7_000_000) + `"` + strings.Repeat("]", 9000) + `}}}`,
		"one header often":   `{"properties":{"a":{"type":"string"` + strings.Repeat(`,"x-mcp-header":"a"`, 200_000) + `}}}`,
		"the name of a book": `{"properties":{"a":{"type":"string","x-mcp-header":"` + strings.Repeat("x", 4_000_000) + `"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := schemas{work: maxSchemaWork}
			begun := time.Now()
			var h []paramHeader
			var err error
			grew := peak(func() { h, err = w.annotations([]byte(schema)) })
			if err == nil || h != nil || grew > 16<<20 || time.Since(begun) > 10*time.Second {
				t.Errorf("%d headers, %v, %d MB, %v", len(h), err, grew>>20, time.Since(begun))
			}
		})
	}
	w := schemas{work: maxSchemaWork}
	if h, err := w.annotations([]byte(nested(maxSchemaDepth+1, leaves(1)))); err == nil {
		t.Errorf("deeper than the limit: %v", h)
	}
	if h, err := w.annotations([]byte(nested(20, leaves(30)))); err != nil || len(h) != 30 || len(h[0].path) != 21 {
		t.Errorf("%v, %v", h, err)
	}
}

func TestToolsWithWrongAnnotationsAreLeftOut(t *testing.T) {
	t.Parallel()
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
