//go:build unix

package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

func TestRunGivesAProgramAnAuthorizedAddress(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	dir := t.TempDir()
	note := filepath.Join(dir, "env")
	t.Setenv("MCPOAUTH_CLIENT_SECRET", "canary")
	// The program notes its environment; the requests are made by the test while it runs.
	fifo := filepath.Join(dir, "go")
	script := `env > "$0.tmp"; mv "$0.tmp" "$0"; while [ ! -e "$1" ]; do sleep 0.05; done; exit 7`
	code := make(chan int, 1)
	errs := &syncBuffer{}
	go func() {
		code <- Main([]string{"run", srv.MCPURL(), "--", "sh", "-c", script, note, fifo}, strings.NewReader(""), io.Discard, errs)
	}()
	env := await(t, note)
	var url string
	for line := range strings.Lines(env) {
		if v, ok := strings.CutPrefix(line, "MCPOAUTH_URL="); ok {
			url = strings.TrimSpace(v)
		} else if strings.HasPrefix(line, "MCPOAUTH_") {
			t.Errorf("the program's environment has %q", line)
		}
	}
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("other machines can reach %s", url)
	}
	post := func(url string, change func(*http.Request)) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if change != nil {
			change(req)
		}
		resp, err := new(http.Client).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if status, body := post(url, nil); status != http.StatusOK || !strings.Contains(body, `"result"`) {
		t.Errorf("%d %s; %s", status, body, errs)
	}
	if status, _ := post(url, func(r *http.Request) { r.Header.Set("Authorization", "Bearer other") }); status != http.StatusOK {
		t.Errorf("with a token of its own: %d", status)
	}
	srv.Expire()
	if status, _ := post(url, nil); status != http.StatusOK || srv.Count("refresh") != 1 {
		t.Errorf("after the token's end: %d, %d refreshes", status, srv.Count("refresh"))
	}
	seen := len(srv.Requests())
	for name, status := range map[string]int{
		"without the key": func() int { s, _ := post(url[:strings.LastIndexByte(url, '/')]+"/mcp", nil); return s }(),
		"a page's origin": func() int {
			s, _ := post(url, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
			return s
		}(),
		"another name": func() int { s, _ := post(url, func(r *http.Request) { r.Host = "evil.example" }); return s }(),
	} {
		if status != http.StatusForbidden && status != http.StatusNotFound {
			t.Errorf("%s: %d", name, status)
		}
	}
	if len(srv.Requests()) != seen {
		t.Error("a refused request reached the server")
	}
	if err := os.WriteFile(fifo, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 7 {
		t.Errorf("exit code %d; %s", got, errs)
	}
	if _, err := http.Post(url, "application/json", nil); err == nil {
		t.Error("the address is still there")
	}
}

func await(t *testing.T, path string) string {
	t.Helper()
	for range 500 {
		if b, err := os.ReadFile(path); err == nil {
			return string(b)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not come", path)
	return ""
}

func TestRunSaysWhatIsMissing(t *testing.T) {
	bridgeHome(t)
	for _, args := range [][]string{{"run"}, {"run", "https://mcp.example/mcp"}, {"run", "https://mcp.example/mcp", "--", "/no/such/program"}} {
		var errs strings.Builder
		if code := Main(args, strings.NewReader(""), io.Discard, &errs); code != exitUsage || !strings.Contains(errs.String(), "hint: ") {
			t.Errorf("%v: %d, %s", args, code, errs.String())
		}
	}
}

// TestAGateSendsWhatIsMeantForTheServer: below its URL, to its host, and nothing of what the program knows of credentials.
func TestAGateSendsWhatIsMeantForTheServer(t *testing.T) {
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer srv.Close()
	c, err := mcpoauth.New(srv.URL+"/mcp?tenant=1", &mcpoauth.Options{Store: memstore.New()})
	if err != nil {
		t.Fatal(err)
	}
	const address = "127.0.0.1:1"
	g, err := newGate(newUI(strings.NewReader(""), io.Discard, io.Discard), c, address)
	if err != nil {
		t.Fatal(err)
	}
	for below, want := range map[string]string{
		"": "/mcp?tenant=1", "/sub": "/mcp/sub?tenant=1", "?a=b": "/mcp?tenant=1&a=b",
		"2": "", "2/sub": "", "/../admin": "", "/..": "", "/sub/../../admin": "", "/%2e%2e/admin": "", "/sub/%2E%2E": "",
	} {
		got = nil
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, g.url()+below, strings.NewReader("{}"))
		for name, value := range map[string]string{"Authorization": "Bearer own", "Cookie": "own=1", "Origin": "http://" + address, "X-Other": "kept"} {
			req.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, req)
		switch {
		case want == "":
			if got != nil || w.Code != http.StatusNotFound {
				t.Errorf("%s: %d, and the server got %v", below, w.Code, got)
			}
		case got == nil:
			t.Errorf("%s: %d, and nothing reached the server", below, w.Code)
		default:
			if got.RequestURI != want || "http://"+got.Host != srv.URL || got.Header.Get("X-Other") != "kept" {
				t.Errorf("%s: the server got %s at %s with %v", below, got.RequestURI, got.Host, got.Header)
			}
			for _, name := range []string{"Authorization", "Cookie", "Origin"} {
				if v := got.Header.Get(name); v != "" {
					t.Errorf("%s: the server got the program's %s: %s", below, name, v)
				}
			}
		}
	}
	other, err := newGate(g.u, c, address)
	if err != nil || other.path == g.path || len(g.path) < 27 {
		t.Errorf("the key can be guessed: %s, and once more %s; %v", g.path, other.path, err)
	}
}

// TestAGateSaysWhatFailed: a program learns what it may do about it, and nothing that the authorization server said.
func TestAGateSaysWhatFailed(t *testing.T) {
	c, err := mcpoauth.New("https://mcp.example/mcp", &mcpoauth.Options{Store: memstore.New()})
	if err != nil {
		t.Fatal(err)
	}
	canary := withHint(errors.New("canary\x1b[2J"), "look\x1b[2J\nthere")
	for _, tc := range []struct {
		err    error
		status int
		text   string
	}{
		{&mcpoauth.LoginRequiredError{Reason: "canary"}, http.StatusBadGateway, "a login is required"},
		{&mcpoauth.ScopeError{Missing: []string{"canary"}}, http.StatusBadGateway, "a login is required"},
		{fmt.Errorf("%w: %w", mcpoauth.ErrAccessDenied, canary), http.StatusBadGateway, "access was denied"},
		{&mcpoauth.TemporaryError{Err: canary}, http.StatusServiceUnavailable, "try again later"},
		{canary, http.StatusBadGateway, "the server cannot be reached"},
	} {
		var errs strings.Builder
		g, err := newGate(newUI(strings.NewReader(""), io.Discard, &errs), c, "127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		g.failed(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, g.url(), nil), tc.err)
		if body := w.Body.String(); w.Code != tc.status || body != "mcpoauth: "+tc.text+"\n" || !strings.Contains(errs.String(), "canary") {
			t.Errorf("%v: %d %s; %s", tc.err, w.Code, body, errs.String())
		}
		mustBePlain(t, errs.String())
	}
}

// TestAProgramThatWasKilledHasFailed, whatever its exit code is then.
func TestAProgramThatWasKilledHasFailed(t *testing.T) {
	bridgeHome(t)
	var errs strings.Builder
	if code := Main([]string{"run", "https://mcp.example/mcp", "--", "sh", "-c", "kill -KILL $$"}, strings.NewReader(""), io.Discard, &errs); code != exitFailed {
		t.Errorf("exit code %d; %s", code, errs.String())
	}
}

// TestASignalEndsTheProgramInOrder: it gets a signal that it can handle.
func TestASignalEndsTheProgramInOrder(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		p := start(t, []string{"MCPOAUTH_DIR=" + t.TempDir()}, "run", "https://mcp.example/mcp", "--", "sh", "-c",
			`trap 'echo in order >&2; exit 3' TERM; echo ready >&2; i=0; while [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done`)
		p.await("ready")
		if err := p.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if code := p.exit(); code != exitFailed || !strings.Contains(p.text(), "in order\n") || !strings.Contains(p.text(), "mcpoauth: interrupted\n") {
			t.Errorf("%v: exit code %d\n%s", signal, code, p.text())
		}
	}
}

// TestASecondSignalDoesNotWaitForTheProgram: the first one lets it end in order, which this one does not.
func TestASecondSignalDoesNotWaitForTheProgram(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"MCPOAUTH_DIR=" + t.TempDir()}, "run", "https://mcp.example/mcp", "--", "sh", "-c",
		`trap 'echo not yet >&2' TERM; echo ready $$ >&2; i=0; while [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done`)
	program, err := strconv.Atoi(p.await("ready ([0-9]+)\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, then := range []func(){func() { p.await("not yet") }, func() { time.Sleep(200 * time.Millisecond) }} {
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		then()
	}
	if err := syscall.Kill(program, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	_ = p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("it waited for the program: %v\n%s", p.cmd.ProcessState, p.text())
	}
}

func TestAGateSpeaksFixedWords(t *testing.T) {
	srv := authtest.New(t, nil)
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New()})
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	g, err := newGate(newUI(strings.NewReader(""), io.Discard, &errs), c, "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url(), strings.NewReader("{}"))
	w := &answer{header: http.Header{}}
	g.ServeHTTP(w, req)
	if w.status != http.StatusBadGateway || !strings.Contains(w.body.String(), "a login is required") || !strings.Contains(errs.String(), "hint: run: mcpoauth login") {
		t.Errorf("%d %s; %s", w.status, w.body.String(), errs.String())
	}
}

type answer struct {
	header http.Header
	status int
	body   strings.Builder
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
