package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// process is a running mcpoauth: this test binary under that name.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout bytes.Buffer

	mu     sync.Mutex
	stderr strings.Builder
	grown  chan struct{}
	ended  chan struct{}
}

func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p := &process{t: t, cmd: exec.CommandContext(ctx, exe, args...), grown: make(chan struct{}, 1), ended: make(chan struct{})}
	p.cmd.Args[0] = "mcpoauth"
	p.cmd.Env = append([]string{"GORACE=" + noRaceSleep, "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	p.cmd.Stdout = &p.stdout
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		b := bufio.NewReader(r)
		for {
			c, err := b.ReadByte()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.stderr.WriteByte(c)
			p.mu.Unlock()
			select {
			case p.grown <- struct{}{}:
			default:
			}
		}
	}()
	return p
}

// run runs mcpoauth with the given streams.
func run(t *testing.T, env []string, stdin io.Reader, stdout, stderr io.Writer, args ...string) int {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Args[0] = "mcpoauth"
	cmd.Env = append([]string{"GORACE=" + noRaceSleep, "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TERM=xterm"}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// await waits for a pattern on stderr and returns its first group.
func (p *process) await(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.After(20 * time.Second)
	for {
		if m := re.FindStringSubmatch(p.text()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-p.grown:
		case <-p.ended:
			if re.FindStringSubmatch(p.text()) == nil {
				p.t.Fatalf("ended without %q:\n%s", pattern, p.text())
			}
		case <-limit:
			p.t.Fatalf("no %q in\n%s", pattern, p.text())
		}
	}
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	<-p.ended
	err := p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	p.t.Fatalf("%v\n%s", err, p.text())
	return -1
}

// addressOnStderr is the line with the address of the login page.
const addressOnStderr = `(?m)^  (http\S+response_type=code\S*)\n`

var addressPattern = regexp.MustCompile(addressOnStderr)

// It has a row in docs/compatibility.md.
func TestTheBrowserIsOnAnotherMachine(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	dir := t.TempDir()
	p := start(t, []string{"MCPOAUTH_DIR=" + dir}, "login", srv.MCPURL(), "--no-browser", "--json", "--log-level", "debug")
	address := p.await(addressOnStderr)
	back, err := visit(t.Context(), address, true)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("state", "of-another-login")
	u.RawQuery = q.Encode()
	_, _ = io.WriteString(p.stdin, u.String()+"\n")
	p.await("that is not it")
	_, _ = io.WriteString(p.stdin, back+"\n")
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.text())
	}
	if !strings.Contains(p.stdout.String(), `"new": true`) {
		t.Errorf("stdout: %s", p.stdout.String())
	}
	// The log is at its most talkative here.
	if s := leaked(srv, p.text()+p.stdout.String()); s != "" {
		t.Errorf("a secret (%.6s…) is shown:\n%s", s, p.text())
	}
	mustBePlain(t, p.text())
}

// It has a row in docs/compatibility.md.
func TestNoBrowserAndNothingToRead(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p := start(t, []string{"MCPOAUTH_DIR=" + t.TempDir(), "MCPOAUTH_NO_BROWSER=1"}, "login", srv.MCPURL())
	_ = p.stdin.Close()
	back, err := visit(t.Context(), p.await(addressOnStderr), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), http.DefaultClient, back); err != nil {
		t.Fatal(err)
	}
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.text())
	}
}

// It has a row in docs/compatibility.md.
func TestNeitherBrowserNorTerminal(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	empty := t.TempDir()
	p := start(t, []string{"MCPOAUTH_DIR=" + t.TempDir(), "PATH=" + empty, "BROWSER=", "DISPLAY=", "WAYLAND_DISPLAY="}, "login", srv.MCPURL(), "--timeout", "1s")
	if code := p.exit(); code != exitTemporary {
		t.Fatalf("exit code %d\n%s", code, p.text())
	}
	if runtime.GOOS != "linux" {
		t.Skip("other systems bring a browser of their own")
	}
	line := regexp.MustCompile(`(?m)^no browser here .*$`).FindString(p.text())
	for _, want := range []string{"ssh -L ", "--no-browser"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing from %q in\n%s", want, line, p.text())
		}
	}
}

func TestInterruptLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGINT to send on Windows")
	}
	srv := authtest.New(t, nil)
	dir := t.TempDir()
	env := []string{"MCPOAUTH_DIR=" + dir}
	p := start(t, env, "login", srv.MCPURL(), "--no-browser")
	address, err := url.Parse(p.await(addressOnStderr))
	if err != nil {
		t.Fatal(err)
	}
	redirect, err := url.Parse(address.Query().Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	p.await("waiting for the login")
	begun := time.Now()
	_ = p.cmd.Process.Signal(os.Interrupt)
	if code := p.exit(); code != exitFailed {
		t.Errorf("exit code %d\n%s", code, p.text())
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if !strings.Contains(p.text(), "mcpoauth: interrupted\nhint: ") {
		t.Errorf("stderr:\n%s", p.text())
	}
	if c, err := net.DialTimeout("tcp", redirect.Host, time.Second); err == nil {
		c.Close()
		t.Errorf("%s is still open", redirect.Host)
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if d != nil && !d.IsDir() && regexp.MustCompile(`(?i)tmp|temp|pending`).MatchString(d.Name()) {
			t.Errorf("%s was left behind", path)
		}
		return nil
	})
	// No lock is in the way of the next login, and the registration is used again.
	p = start(t, append(env, "BROWSER="+asBrowser(t)), "login", srv.MCPURL(), "--timeout", "20s")
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.text())
	}
	if n := srv.Count("registration"); n != 1 {
		t.Errorf("%d registrations, want 1", n)
	}
}

func TestSecondInterruptKills(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGINT to send on Windows")
	}
	srv := authtest.New(t, nil)
	p := start(t, []string{"MCPOAUTH_DIR=" + t.TempDir()}, "login", srv.MCPURL(), "--no-browser")
	p.await("waiting for the login")
	// Both before the first had its effect, or the second finds nobody: either way it ends.
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Process.Signal(os.Interrupt)
	<-p.ended
	if p.cmd.Wait() == nil {
		t.Error("it ended as if nothing had happened")
	}
}

func TestClosedOutputIsNoPanic(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	env := []string{"MCPOAUTH_DIR=" + t.TempDir(), "BROWSER=" + asBrowser(t)}
	if p := start(t, env, "login", srv.MCPURL()); p.exit() != 0 {
		t.Fatal(p.text())
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	exe, _ := os.Executable()
	cmd := exec.CommandContext(t.Context(), exe, "token", srv.MCPURL(), "--min-validity", "10000h")
	cmd.Args[0] = "mcpoauth"
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir())
	cmd.Stdout = w
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || strings.Contains(stderr.String(), "panic") {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	// The refreshed token was saved before it was printed.
	p := start(t, env, "token", srv.MCPURL())
	if code := p.exit(); code != 0 || srv.Count("refresh") != 1 {
		t.Errorf("exit code %d after %d refreshes\n%s", code, srv.Count("refresh"), p.text())
	}
}

// asBrowser makes this test binary callable as testbrowser.
func asBrowser(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "testbrowser")
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if err := os.Symlink(exe, name); err != nil {
		t.Skip(err)
	}
	return name
}
