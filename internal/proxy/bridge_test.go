package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTheHostLeaves(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*host){
		"its end is closed":  func(h *host) { _ = h.in.Close() },
		"the bridge is told": func(h *host) { h.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, c := newPipeMCP(t, old)
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
				h := start(t, Options{HTTP: c, URL: s.URL, Grace: 50 * time.Millisecond})
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
		})
	}
}

func TestTheEndIsInTimeThoughNobodyHelps(t *testing.T) {
	t.Parallel()
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
