package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// echoServer answers every request with a result of a size.
func echoServer(b *testing.B, size int, stream bool) *httptest.Server {
	text := strings.Repeat("x", size)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		id := member(body, "id")
		switch {
		case r.Method != http.MethodPost:
			w.WriteHeader(405)
		case id == nil:
			w.WriteHeader(202)
		case stream:
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"text\":\"%s\"}}\n\n", id, text)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"text":"%s"}}`, id, text)
		}
	}))
	b.Cleanup(s.Close)
	return s
}

// BenchmarkPassThrough measures the bridge from pipe to pipe, beside the same requests sent directly.
func BenchmarkPassThrough(b *testing.B) {
	for _, size := range []int{100, 1 << 20, 16 << 20} {
		for _, stream := range []bool{false, true} {
			kind := map[bool]string{false: "json", true: "sse"}[stream]
			b.Run(fmt.Sprintf("direct/%s/%d", kind, size), func(b *testing.B) {
				s := echoServer(b, size, stream)
				c := s.Client()
				b.ReportAllocs()
				for b.Loop() {
					r, _ := http.NewRequest(http.MethodPost, s.URL, strings.NewReader(toolCall(1, "x")))
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("Accept", "application/json, text/event-stream")
					resp, err := c.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < int64(size) {
						b.Fatal(n, err)
					}
					_ = resp.Body.Close()
				}
			})
			for _, parallel := range []int{1, 16} {
				if size > 100 && parallel > 1 {
					continue
				}
				b.Run(fmt.Sprintf("bridge/%s/%d/%d", kind, size, parallel), func(b *testing.B) {
					s := echoServer(b, size, stream)
					through(b, s, parallel)
				})
			}
		}
	}
}

func through(b *testing.B, s *httptest.Server, parallel int) {
	inR, inW, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	tr := &http.Transport{MaxIdleConnsPerHost: 32}
	done := make(chan error, 1)
	go func() {
		done <- Run(context.Background(), inR, outW, &Options{URL: s.URL, HTTP: &http.Client{Transport: tr}})
		_ = outW.Close()
	}()
	r := bufio.NewReaderSize(outR, 1<<20)
	read := func() {
		for {
			_, err := r.ReadSlice('\n')
			if err == nil {
				return
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	open := 0
	for i := 0; b.Loop(); i++ {
		if open == parallel {
			read()
			open--
		}
		_, _ = io.WriteString(inW, toolCall(i, "x")+"\n")
		open++
	}
	for range open {
		read()
	}
	_ = inW.Close()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
