// Package interop tests the client against servers and clients that others wrote.
package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// missing skips a test whose peer is not installed, or fails it where everything must run.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("MCPOAUTH_TEST_ALL") == "1" {
		t.Fatalf("%s is not installed: run interop/setup.sh", what)
	}
	t.Skipf("%s is not installed: run interop/setup.sh", what)
}

func node(t *testing.T) string {
	t.Helper()
	return installed(t, "the npm packages (node, oidc-provider, conformance)", "node_modules/.bin/node")
}

func python(t *testing.T) string {
	t.Helper()
	return installed(t, "the Python package fastmcp", "venv/bin/python")
}

func installed(t *testing.T, what, path string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join("peers", path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abs); err != nil {
		missing(t, what)
	}
	return abs
}

// freePort returns a port that was free a moment ago. Only peers that cannot choose one by
// themselves get theirs in this way.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		next, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		_ = ln.Close()
		if err == nil {
			_ = next.Close()
			return port
		}
	}
}

// startLimit is how long a peer may take until it answers. On a machine that does much else, some take minutes.
const startLimit = 3 * time.Minute

// start starts a peer, waits until it answers at address, and ends it with the test. It returns what the
// peer says.
func start(t *testing.T, address string, env []string, argv ...string) *lockedBuffer {
	t.Helper()
	out := launch(t, env, argv...)
	for deadline := time.Now().Add(startLimit); ; time.Sleep(100 * time.Millisecond) {
		resp, err := http.Get(address)
		if err == nil {
			_ = resp.Body.Close()
			return out
		}
		select {
		case <-out.ended:
			t.Fatalf("%s has ended", strings.Join(argv, " "))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v", address, err)
		}
	}
}

// launch starts a peer, ends it with the test, and returns what it says.
func launch(t *testing.T, env []string, argv ...string) *lockedBuffer {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "peers"
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := lockedBuffer{ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(out.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-out.ended
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(argv[len(argv)-1]), out.String())
		}
	})
	return &out
}

// lockedBuffer is what a program says.
type lockedBuffer struct {
	mu    sync.Mutex
	b     strings.Builder
	ended chan struct{} // closed when a program of launch has ended
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startOIDCProvider starts oidc-provider and the TypeScript SDK's MCP server behind it.
func startOIDCProvider(t *testing.T, env ...string) (mcpURL, issuer string) {
	t.Helper()
	mcpURL, issuer, _ = oidcProvider(t, env...)
	return mcpURL, issuer
}

func oidcProvider(t *testing.T, env ...string) (mcpURL, issuer string, log *lockedBuffer) {
	t.Helper()
	n := node(t)
	port := freePort(t)
	issuer = "http://127.0.0.1:" + strconv.Itoa(port)
	rs := "http://127.0.0.1:" + strconv.Itoa(port+1)
	env = append(env, "MCP="+rs+"/mcp")
	log = start(t, issuer+"/jwks", append(slices.Clone(env), "PORT="+strconv.Itoa(port)), n, "oidc-provider.mjs")
	start(t, rs+"/mcp", append(slices.Clone(env), "PORT="+strconv.Itoa(port+1), "AS="+issuer), n, "mcp-server.mjs")
	return rs + "/mcp", issuer, log
}

// startFastMCP starts FastMCP's own server.
func startFastMCP(t *testing.T, env ...string) string {
	t.Helper()
	url, _ := fastMCP(t, env...)
	return url
}

func fastMCP(t *testing.T, env ...string) (url string, log *lockedBuffer) {
	t.Helper()
	py := python(t)
	port := strconv.Itoa(freePort(t))
	url = "http://127.0.0.1:" + port + "/mcp"
	return url, start(t, url, append(env, "PORT="+port), py, "fastmcp-server.py")
}

// chromiumPath returns where the browser is.
func chromiumPath(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "Chromium")
	}
	return path
}

// chromium returns a Prompt that opens the URL in headless Chromium and presses whatever button is
// there until the browser is back at the redirect URI. Nothing but loopback is reached.
func chromium(t *testing.T) mcpoauth.Prompt {
	t.Helper()
	path := chromiumPath(t)
	return func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		_, err := browse(ctx, path, p.URL, p.RedirectURI)
		return nil, err
	}
}

// browse does what chromium says, and returns the address at which the browser ended. That is empty if ctx ended first,
// because the login was settled.
func browse(ctx context.Context, chromium, page, redirectURI string) (at string, err error) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("no-first-run", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"))
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	ctx, stop := chromedp.NewExecAllocator(ctx, opts...)
	defer stop()
	ctx, end := chromedp.NewContext(ctx)
	defer end()
	if err := chromedp.Do(ctx, chromedp.Navigate(page)); err != nil {
		return "", fmt.Errorf("chromium: %w", err)
	}
	return press(ctx, redirectURI)
}

// press fills in forms and submits them.
func press(ctx context.Context, redirectURI string) (at string, err error) {
	const fill = `(() => {
		for (const [n, v] of [['login','alice'],['username','test-user@localhost'],['password','verysecure']]) { const e = document.querySelector('input[name=' + n + ']'); if (e) e.value = v; }
		for (const e of document.querySelectorAll('input[type=checkbox][name=scope]')) e.checked = true;
		const b = ['button[type=submit],input[type=submit]', 'button[onclick]'].flatMap(s => [...document.querySelectorAll(s)]).find(b => !/deny|cancel|abort|refuse/i.test(b.value + b.textContent));
		if (b && !b.dataset.pressed) { b.dataset.pressed = '1'; b.click(); return true }
		return false })()`
	for {
		at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href`))
		if err == nil && redirectURI != "" && strings.HasPrefix(at, redirectURI) {
			return at, nil
		}
		switch ctx.Err() {
		case nil:
		case context.DeadlineExceeded:
			return "", fmt.Errorf("the browser did not come back, it is at %s", at)
		default: // the login is settled
			return "", nil
		}
		_, _ = chromedp.Run(ctx, chromedp.Evaluate[bool](fill))
		time.Sleep(150 * time.Millisecond)
	}
}

// journal counts the exchanges of a client.
type journal struct {
	mu   sync.Mutex
	legs map[string]int
	log  []string
}

func (j *journal) trace() *mcpoauth.Trace {
	j.legs = map[string]int{}
	return &mcpoauth.Trace{
		Exchange: func(_ context.Context, e mcpoauth.Exchange) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.legs[string(e.Leg)]++
			j.log = append(j.log, fmt.Sprint(e.Leg, " ", e.Method, " ", e.URL, " ", e.Status, " ", e.Err))
		},
		Note: func(_ context.Context, n mcpoauth.Note) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.log = append(j.log, "note: "+n.Text)
		},
	}
}

func (j *journal) count(leg string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.legs[leg]
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.log, "\n")
}

func newClient(t *testing.T, url string, o mcpoauth.Options) *mcpoauth.Client {
	t.Helper()
	if o.Store == nil {
		o.Store = memstore.New()
	}
	c, err := mcpoauth.New(url, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
