//go:build unix

package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
