package proxy

import (
	"net/http"
	"testing"
)

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
