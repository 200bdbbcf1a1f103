package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/terminal/terminaltest"
)

// pty opens a pseudo-terminal of 100 columns: the program's side, and what arrives on the
// other side until close is called.
func pty(t *testing.T) (tty *os.File, keyboard io.Writer, closed func() string) {
	t.Helper()
	p := terminaltest.Open(t)
	return p.TTY, p.Keyboard, p.Close
}

func TestWaitOnATerminalIsOneLineRewrittenAndTakenAway(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	tty, _, closed := pty(t)
	env := []string{"MCPOAUTH_DIR=" + t.TempDir(), "BROWSER=" + asBrowser(t), "TESTBROWSER=never"}
	code := run(t, env, nil, nil, tty, "login", srv.MCPURL(), "--timeout", "2500ms")
	seen := closed()
	if code != exitTemporary {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(seen, "\rwaiting for the login in the browser, "); n < 2 {
		t.Errorf("the line was written %d times:\n%q", n, seen)
	}
	if strings.Contains(seen, "left\r\n") || strings.Contains(seen, "\x1b") {
		t.Errorf("the line was ended, or there are escapes:\n%q", seen)
	}
	if !strings.Contains(seen, "\rmcpoauth: no response came back") {
		t.Errorf("the error does not begin its line:\n%q", seen)
	}
}

// It has a row in docs/compatibility.md.
func TestBrowserAndPasteAtOnce(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	tty, keyboard, closed := pty(t)
	env := []string{"MCPOAUTH_DIR=" + t.TempDir(), "BROWSER=" + asBrowser(t), "TESTBROWSER=never"}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer w.Close()
		run(t, env, tty, nil, w, "login", srv.MCPURL(), "--timeout", "20s")
	}()
	var stderr strings.Builder
	b := make([]byte, 4096)
	pasted := false
	for {
		n, err := r.Read(b)
		stderr.Write(b[:n])
		if err != nil {
			break
		}
		if m := addressPattern.FindStringSubmatch(stderr.String()); m != nil && !pasted && strings.Contains(stderr.String(), "paste the address") {
			pasted = true
			back, err := visit(t.Context(), m[1], true)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(keyboard, back)
		}
	}
	<-ended
	closed()
	if !strings.Contains(stderr.String(), "logged in to ") {
		t.Errorf("not logged in:\n%s", stderr.String())
	}
}

// TestAnImportNeedsAYes: who only presses Enter has not said it.
func TestAnImportNeedsAYes(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	home := t.TempDir()
	fastmcpCache(t, srv, home)
	env := []string{"MCPOAUTH_DIR=" + t.TempDir(), "HOME=" + home}
	for _, c := range []struct {
		answer string
		code   int
	}{{"", exitFailed}, {"n", exitFailed}, {"yep", exitFailed}, {"Y", exitDone}} {
		tty, keyboard, closed := pty(t)
		fmt.Fprintln(keyboard, c.answer)
		var errs bytes.Buffer
		code := run(t, env, tty, nil, &errs, "import", srv.MCPURL())
		closed()
		if code != c.code || !strings.Contains(errs.String(), "Take over? [y/N]") || strings.Contains(errs.String(), "took over") != (code == exitDone) {
			t.Errorf("%q: exit code %d\n%s", c.answer, code, errs.String())
		}
	}
}

func TestColourOnATerminalOnlyWithoutNoColor(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	env := []string{"MCPOAUTH_DIR=" + t.TempDir(), "BROWSER=" + asBrowser(t)}
	if code := run(t, env, nil, nil, nil, "login", srv.MCPURL()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, c := range []struct {
		env  string
		want bool
	}{{"X=", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		tty, _, closed := pty(t)
		code := run(t, append(env, c.env), nil, tty, nil, "list")
		seen := closed()
		if code != 0 || strings.Contains(seen, "\x1b[") != c.want {
			t.Errorf("%s: exit code %d, %q", c.env, code, seen)
		}
		for line := range strings.Lines(seen) {
			if !c.want && displayWidth(strings.TrimRight(line, "\r\n")) > 100 {
				t.Errorf("%q is wider than the terminal", line)
			}
		}
	}
}

// TestACodeForAnotherDevice is shown large, as a QR code too where there is a terminal for it.
func TestACodeForAnotherDevice(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("NO_COLOR", "")
	lp := &mcpoauth.LoginPrompt{
		URL: "https://d.example/a?user_code=WDJB-MJHT", VerificationURL: "https://d.example/a", UserCode: "WDJB-MJHT",
		ServerURL: "https://mcp.example/mcp", Issuer: "https://d.example", Deadline: time.Now().Add(time.Minute),
	}
	show := func(w io.Writer, when mcpoauth.Mode) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := mcpoauth.TerminalPrompt(strings.NewReader(""), w, &mcpoauth.TerminalOptions{QR: when})
		if reply, err := p(ctx, lp); reply != nil || err != nil {
			t.Errorf("%+v, %v", reply, err)
		}
	}
	tty, _, closed := pty(t)
	show(tty, mcpoauth.Auto)
	out := closed()
	for _, want := range []string{"\n  https://d.example/a\r\n", "\n  WDJB-MJHT\r\n", "?user_code=WDJB-MJHT", "\x1b[38;5;16;48;5;231m", "█"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	tty, _, closed = pty(t)
	show(tty, mcpoauth.Never)
	if out := closed(); strings.Contains(out, "█") || !strings.Contains(out, "WDJB-MJHT") {
		t.Errorf("never:\n%s", out)
	}
	var pipe bytes.Buffer
	show(&pipe, mcpoauth.Auto)
	if strings.Contains(pipe.String(), "█") || !strings.Contains(pipe.String(), "WDJB-MJHT") {
		t.Errorf("in a pipe:\n%s", pipe.String())
	}
	show(&pipe, mcpoauth.Always)
	if !strings.Contains(pipe.String(), "█") || strings.Contains(pipe.String(), "\x1b") {
		t.Errorf("in a pipe, always:\n%s", pipe.String())
	}
}
