package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTheServerIsGoneAndBack(t *testing.T) {
	t.Parallel()
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
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
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
		h := start(t, Options{HTTP: c, URL: s.URL})
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
	})
}

func TestRepeatingEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c := newPipeMCP(t, old)
		s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
			if m.Method == "initialize" || m.ID == nil {
				return false
			}
			http.Error(w, "later", http.StatusServiceUnavailable)
			return true
		}
		h := start(t, Options{HTTP: c, URL: s.URL, RetryFor: 300 * time.Millisecond})
		h.open(old)
		h.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		h.refused("1", "http_error")
		if n := len(s.requests("ping")); n < 2 || n > 10 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestATemporaryFailureIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := &far{err: errLater}
	bubble(t, Options{HTTP: f}, func(t *testing.T, h *host) {
		began := time.Now()
		h.send(fmt.Sprintf(initRequest, old))
		time.Sleep(5 * time.Second)
		f.login(true)
		h.expect(fmt.Sprintf(initAnswer, old))
		if d := time.Since(began); d != 6*time.Second {
			t.Errorf("it took %v", d)
		}
		if got := f.requests(); got != "refused initialize, refused initialize, initialize" {
			t.Error(got)
		}
		// A call was not acted on either.
		f.login(false)
		h.send(toolCall(1, "x"))
		began = time.Now()
		h.refused("1", "temporary")
		if d := time.Since(began); d > 15*time.Second || d < 10*time.Second {
			t.Errorf("it gave up after %v", d)
		}
	})
}

func TestACallWhoseHeadersDoNotFitIsSentAgain(t *testing.T) {
	t.Parallel()
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

// TestACertificateThatIsRefusedIsFinal: it does not get better by asking again.
func TestACertificateThatIsRefusedIsFinal(t *testing.T) {
	t.Parallel()
	asked := 0
	o := Options{HTTP: doer(func(r *http.Request) (*http.Response, error) {
		asked++
		return nil, &tls.CertificateVerificationError{Err: errors.New("it has expired")}
	})}
	bubble(t, o, func(t *testing.T, h *host) {
		began := time.Now()
		h.send(fmt.Sprintf(initRequest, old))
		h.refused("0", "unreachable")
		if d := time.Since(began); d != 0 || asked != 1 {
			t.Errorf("%d requests in %v", asked, d)
		}
	})
}

// TestAListOfToolsWithoutEnd: after a header mismatch no more than maxPages are asked for.
func TestAListOfToolsWithoutEnd(t *testing.T) {
	t.Parallel()
	s := stateless(t)
	mismatch := `{"jsonrpc":"2.0","id":5,"error":{"code":-32020,"message":"Header mismatch"}}`
	s.post = func(w http.ResponseWriter, _ *http.Request, m rpc) bool {
		if m.Method == "tools/list" {
			answer(w, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[],"nextCursor":"more"}}`, m.ID))
			return true
		}
		w.WriteHeader(http.StatusBadRequest)
		answer(w, mismatch)
		return true
	}
	h := start(t, Options{URL: s.URL})
	h.send(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"x",` + meta + `}}`)
	h.expect(mismatch)
	if n := len(s.requests("tools/list")); n != maxPages {
		t.Errorf("%d pages were asked for", n)
	}
}
