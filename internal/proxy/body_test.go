package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestABodyOutlivesItsCall: a transport may read the body after the response is there.
func TestABodyOutlivesItsCall(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"in one piece": 1, "in several": 5 * chunkSize} {
		t.Run(name, func(t *testing.T) { bodyOutlives(t, strings.Repeat("the name that must survive", size/20+1)) })
	}
}

func bodyOutlives(t *testing.T, survives string) {
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
	h.send(toolCall(5, survives))
	h.expect(result([]byte("5"), "x"))
	body := <-late
	for i := range 20 { // whatever was freed would be used now
		h.send(toolCall(5, strings.Repeat(fmt.Sprint("another", i), len(survives)/10)))
		h.expect(result([]byte("5"), "x"))
	}
	p, err := io.ReadAll(body)
	if err != nil || string(p) != toolCall(5, survives) {
		t.Errorf("%q, %v", p, err)
	}
	_ = body.Close()
	_ = body.Close()
	if _, err := body.Read(p); err == nil {
		t.Error("a closed body can be read")
	}
}
