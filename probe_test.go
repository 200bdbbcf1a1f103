package mcpoauth_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// noOAuth is a server that knows nothing of OAuth and answers requests to its MCP endpoint by fn.
type noOAuth struct {
	mu       sync.Mutex
	requests []string // method, session, and the JSON-RPC method
	answer   func(w http.ResponseWriter, r *http.Request, body string)
}

func (s *noOAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/mcp" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, _ := io.ReadAll(r.Body)
	_, method, _ := strings.Cut(string(body), `"method":"`)
	method, _, _ = strings.Cut(method, `"`)
	s.mu.Lock()
	s.requests = append(s.requests, strings.Join(strings.Fields(r.Method+" "+r.Header.Get("Mcp-Session-Id")+" "+method), " "))
	s.mu.Unlock()
	if r.Header.Get("Authorization") != "" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	s.answer(w, r, string(body))
}

func fixed(status int, header http.Header, body string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// TestWhatTheProbeFinds where a server does not ask for a token.
func TestWhatTheProbeFinds(t *testing.T) {
	t.Parallel()
	kind := func(s string) http.Header { return http.Header{"Content-Type": {s}} }
	for name, tc := range map[string]struct {
		answer   func(http.ResponseWriter, *http.Request, string)
		text     string
		err      error
		pause    time.Duration
		requests string
	}{
		"a server without a login": {
			answer: fixed(200, kind("application/json"), `{}`), text: "answers without a login", err: mcpoauth.ErrNoOAuth, requests: "POST server/discover",
		},
		"one that begins a session, which is ended": {
			answer: fixed(200, http.Header{"Content-Type": {"application/json"}, "Mcp-Session-Id": {"s1"}}, `{}`), text: "answers without a login", err: mcpoauth.ErrNoOAuth,
			requests: "POST server/discover, DELETE s1",
		},
		"a web page":          {answer: fixed(200, kind("text/html; charset=utf-8"), `<html>`), text: "a web page is at this URL", err: mcpoauth.ErrNoOAuth, requests: "POST server/discover"},
		"a page of XHTML":     {answer: fixed(200, kind("application/xhtml+xml"), `<html>`), text: "a web page is at this URL", err: mcpoauth.ErrNoOAuth, requests: "POST server/discover"},
		"nothing is there":    {answer: fixed(404, nil, ``), err: mcpoauth.ErrNoOAuth, requests: "POST server/discover, POST initialize"},
		"a server in trouble": {answer: fixed(502, kind("text/html"), `<html>`), text: "failed to answer", err: mcpoauth.ErrTemporary, requests: "POST server/discover"},
		"a rate limit": {
			answer: fixed(429, http.Header{"Retry-After": {"17"}}, ``), text: "failed to answer", err: mcpoauth.ErrTemporary, pause: 17 * time.Second, requests: "POST server/discover",
		},
		"an older server in trouble": {answer: func(w http.ResponseWriter, _ *http.Request, body string) {
			w.WriteHeader(map[bool]int{true: 503, false: 400}[strings.Contains(body, "initialize")])
		}, text: "failed to answer", err: mcpoauth.ErrTemporary, requests: "POST server/discover, POST initialize"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				s := &noOAuth{answer: tc.answer}
				srv := w.net.serve(t, s)
				_, err := newClient(t, srv.URL+"/mcp", w.options(mcpoauth.Options{Prompt: nobody(t)})).Login(t.Context(), nil)
				if !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.text) || mcpoauth.Hint(err) == "" && errors.Is(tc.err, mcpoauth.ErrNoOAuth) {
					t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
				}
				if e, ok := errors.AsType[*mcpoauth.TemporaryError](err); ok && e.RetryAfter != tc.pause {
					t.Errorf("try again in %v", e.RetryAfter)
				}
				if got := strings.Join(s.requests, ", "); got != tc.requests {
					t.Errorf("requests: %s", got)
				}
			})
		})
	}
}

// TestAServerThatKnowsInitializeOnly shows its challenge to that.
func TestAServerThatKnowsInitializeOnly(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.answer("challenge", func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Mcp-Method") != "server/discover" {
				return false
			}
			rw.WriteHeader(http.StatusBadRequest)
			return true
		})
		if _, tok := w.loggedIn(mcpoauth.Options{}); tok == nil || w.srv.Count("challenge") != 2 {
			t.Errorf("%v after %d probes", tok, w.srv.Count("challenge"))
		}
	})
}

// TestA401WithoutOAuthIsRemembered for a minute: a request costs no discovery each time.
func TestA401WithoutOAuthIsRemembered(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		var elsewhere atomic.Int32 // addresses are asked in parallel
		s := &noOAuth{answer: fixed(401, nil, `who are you?`)}
		srv := w.net.serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/mcp" {
				elsewhere.Add(1)
			}
			s.ServeHTTP(rw, r)
		}))
		for _, prompt := range []mcpoauth.Prompt{nil, nobody(t)} {
			c := newClient(t, srv.URL+"/mcp", w.options(mcpoauth.Options{Prompt: prompt}))
			before, looks := elsewhere.Load(), []bool{}
			for range 7 {
				resp, err := c.HTTPClient().Post(c.ServerURL(), "application/json", strings.NewReader(`{}`))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusUnauthorized || string(body) != `who are you?` {
					t.Errorf("status %d, %q, %v", resp.StatusCode, body, err)
				}
				_ = resp.Body.Close()
				now := elsewhere.Load()
				looks = append(looks, now > before)
				before = now
				time.Sleep(19 * time.Second)
			}
			if prompt == nil && !(looks[0] && !looks[1] && !looks[2] && !looks[3] && looks[4] && !looks[5]) {
				t.Errorf("looked for OAuth: %v", looks)
			}
		}
	})
}
