package mcpoauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
)

// screen is where a prompt writes.
type screen struct {
	mu   sync.Mutex
	seen bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// await waits until text was shown n times.
func (s *screen) await(t *testing.T, text string, n int) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); strings.Count(s.String(), text) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%q was not shown %d times:\n%s", text, n, s)
		}
	}
}

// loginOf is a login that only the address with its state belongs to.
func loginOf(state string) *mcpoauth.LoginPrompt {
	return &mcpoauth.LoginPrompt{
		URL: "https://as.example/authorize?state=" + state, ServerURL: "https://mcp.example/" + state, Issuer: "https://as.example", TokenHost: "token.example",
		RedirectURI: "http://127.0.0.1:8910/callback", Scopes: []string{"read", "write"}, Deadline: time.Now().Add(time.Minute),
		Check: func(r *mcpoauth.LoginReply) error {
			if !strings.HasSuffix(r.RedirectURL, "state="+state) {
				return errors.New("the address belongs to another login")
			}
			return nil
		},
	}
}

func pastedFor(state string) string { return "http://127.0.0.1:8910/callback?code=c&state=" + state }

// prompted is what a prompt returned.
type prompted struct {
	reply *mcpoauth.LoginReply
	err   error
}

// ask runs a prompt beside the test.
func ask(ctx context.Context, prompt mcpoauth.Prompt, p *mcpoauth.LoginPrompt) <-chan prompted {
	done := make(chan prompted, 1)
	go func() {
		reply, err := prompt(ctx, p)
		done <- prompted{reply, err}
	}()
	return done
}

// got waits for the reply of a prompt.
func got(t *testing.T, done <-chan prompted, want string) {
	t.Helper()
	select {
	case r := <-done:
		if r.err != nil || r.reply == nil || r.reply.RedirectURL != want {
			t.Fatalf("got %+v, %v; want %s", r.reply, r.err, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the prompt did not return")
	}
}

// ended waits for a prompt whose context has ended.
func ended(t *testing.T, done <-chan prompted) {
	t.Helper()
	select {
	case r := <-done:
		if r.reply != nil || r.err != nil && !errors.Is(r.err, context.Canceled) {
			t.Fatalf("got %+v, %v", r.reply, r.err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the prompt did not return when its context ended")
	}
}

// inputs are the kinds of streams that are not a terminal: a pipe of the system, and a reader that cannot be polled.
func inputs(t *testing.T) map[string]func() (io.Reader, io.WriteCloser) {
	return map[string]func() (io.Reader, io.WriteCloser){
		"a pipe": func() (io.Reader, io.WriteCloser) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = r.Close(), w.Close() })
			return r, w
		},
		"a reader": func() (io.Reader, io.WriteCloser) { return io.Pipe() },
	}
}

var noBrowser = &mcpoauth.TerminalOptions{NoBrowser: true}

func TestALinePastedForTheSecondLoginReachesIt(t *testing.T) {
	t.Parallel()
	for name, open := range inputs(t) {
		for _, shared := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, one prompt: %t", name, shared), func(t *testing.T) {
				t.Parallel()
				in, keyboard := open()
				var out screen
				first := mcpoauth.TerminalPrompt(in, &out, noBrowser)
				second := first
				if !shared {
					second = mcpoauth.TerminalPrompt(in, &out, noBrowser)
				}
				// The first login is completed by the callback.
				ctx, cancel := context.WithCancel(t.Context())
				done := ask(ctx, first, loginOf("one"))
				out.await(t, "waiting for the login", 1)
				cancel()
				ended(t, done)

				done = ask(t.Context(), second, loginOf("two"))
				out.await(t, "waiting for the login", 2)
				fmt.Fprintln(keyboard, pastedFor("two"))
				got(t, done, pastedFor("two"))
				if n := strings.Count(out.String(), "https://as.example/authorize?state=two\n"); n != 1 {
					t.Errorf("the address was printed %d times:\n%s", n, &out)
				}
				if s := out.String(); strings.Contains(s, "that is not it") {
					t.Errorf("a line was refused:\n%s", s)
				}
			})
		}
	}
}

func TestALineTypedBetweenTwoLoginsIsForNeither(t *testing.T) {
	t.Parallel()
	for name, open := range inputs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "a reader" {
				// The read that has begun ends with the line, which must be over before the second login begins.
				synctest.Test(t, func(t *testing.T) { typedBetween(t, open, synctest.Wait) })
				return
			}
			typedBetween(t, open, func() {})
		})
	}
}

// typedBetween types a line between two logins. dropped returns once it was dropped, if it was read at all.
func typedBetween(t *testing.T, open func() (io.Reader, io.WriteCloser), dropped func()) {
	t.Helper()
	in, keyboard := open()
	var out screen
	prompt := mcpoauth.TerminalPrompt(in, &out, noBrowser)
	ctx, cancel := context.WithCancel(t.Context())
	done := ask(ctx, prompt, loginOf("one"))
	out.await(t, "waiting for the login", 1)
	cancel()
	ended(t, done)
	fmt.Fprintln(keyboard, "late")
	dropped()

	two := loginOf("two")
	two.Check = nil // would accept anything
	done = ask(t.Context(), prompt, two)
	out.await(t, "waiting for the login", 2)
	fmt.Fprintln(keyboard, pastedFor("two"))
	got(t, done, pastedFor("two"))
}

func TestAWrongLineIsRefusedAndAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, open := range inputs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, keyboard := open()
			var out screen
			done := ask(t.Context(), mcpoauth.TerminalPrompt(in, &out, noBrowser), loginOf("one"))
			go fmt.Fprint(keyboard, "\n\x1b[2J\n"+strings.Repeat("x", 300<<10)+"\n  "+pastedFor("other")+"\n\n"+pastedFor("one")+" \r\n")
			got(t, done, pastedFor("one"))
			if n := strings.Count(out.String(), "that is not it: the address belongs to another login; paste the whole address"); n != 2 {
				t.Errorf("%d refusals, want those of the escape sequence and of the other login:\n%s", n, &out)
			}
		})
	}
}

func TestTwoLoginsShareTheTerminal(t *testing.T) {
	t.Parallel()
	for name, open := range inputs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, keyboard := open()
			var out screen
			one := ask(t.Context(), mcpoauth.TerminalPrompt(in, &out, noBrowser), loginOf("one"))
			out.await(t, "waiting for the login", 1)
			two := ask(t.Context(), mcpoauth.TerminalPrompt(in, &out, noBrowser), loginOf("two"))
			out.await(t, "waiting for the login", 2)
			fmt.Fprintln(keyboard, pastedFor("neither"))
			out.await(t, "that is not it", 1)
			fmt.Fprintln(keyboard, pastedFor("two"))
			got(t, two, pastedFor("two"))
			fmt.Fprintln(keyboard, pastedFor("one"))
			got(t, one, pastedFor("one"))
			if n := strings.Count(out.String(), "that is not it"); n != 1 {
				t.Errorf("%d refusals, want 1:\n%s", n, &out)
			}
		})
	}
}

// readers counts the goroutines that read inputs.
func readers() int {
	b := make([]byte, 1<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "terminal.(*reader).run(")
}

// TestOneReaderAtMostIsLeft is not parallel: it counts goroutines.
func TestOneReaderAtMostIsLeft(t *testing.T) {
	before := readers()
	in, _ := io.Pipe()
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		var out screen
		done := ask(ctx, mcpoauth.TerminalPrompt(in, &out, noBrowser), loginOf("one"))
		out.await(t, "waiting for the login", 1)
		cancel()
		ended(t, done)
	}
	if n := readers() - before; n != 1 {
		t.Errorf("%d goroutines read the input, want the one whose read cannot be taken back", n)
	}
	_ = in.Close()
	if runtime.GOOS != "linux" {
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	var out screen
	done := ask(ctx, mcpoauth.TerminalPrompt(r, &out, noBrowser), loginOf("one"))
	out.await(t, "waiting for the login", 1)
	cancel()
	ended(t, done)
	for limit := time.Now().Add(5 * time.Second); readers() > before && time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
	}
	if n := readers() - before; n != 0 {
		t.Errorf("%d goroutines read a file that no login waits for", n)
	}
	// The program has its input for itself again.
	fmt.Fprintln(w, "for the program")
	b := make([]byte, 100)
	if n, err := r.Read(b); err != nil || string(b[:n]) != "for the program\n" {
		t.Errorf("the program reads %q, %v", b[:n], err)
	}
}

func TestNothingIsReadBeyondTheLine(t *testing.T) {
	t.Parallel()
	in := strings.NewReader(pastedFor("one") + "\nfor the program\n")
	reply, err := mcpoauth.TerminalPrompt(in, io.Discard, noBrowser)(t.Context(), loginOf("one"))
	if err != nil || reply == nil {
		t.Fatal(reply, err)
	}
	if rest, _ := io.ReadAll(in); string(rest) != "for the program\n" {
		t.Errorf("%q is left for the program", rest)
	}
}

func TestWhenInputEndsTheLoginGoesOnWaiting(t *testing.T) {
	t.Parallel()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, in := range map[string]io.Reader{"/dev/null": null, "an empty reader": strings.NewReader(""), "a line without an end": strings.NewReader("x"), "none": nil} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out screen
			prompt := mcpoauth.TerminalPrompt(in, &out, noBrowser)
			for i := range 2 {
				done := ask(ctx, prompt, loginOf("one"))
				out.await(t, "waiting for the login", i+1)
				select {
				case r := <-done:
					t.Fatalf("it returned %+v, %v", r.reply, r.err)
				case <-time.After(50 * time.Millisecond):
				}
				if i == 1 {
					cancel()
					ended(t, done)
				}
			}
		})
	}
}

// brokenWriter fails from the n-th write on.
type brokenWriter struct {
	mu sync.Mutex
	n  int
}

var errBroken = errors.New("broken pipe")

func (w *brokenWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n < 0 {
		return 0, errBroken
	}
	return len(b), nil
}

func TestAPromptThatCannotBeShownFails(t *testing.T) {
	t.Parallel()
	device := loginOf("one")
	device.UserCode, device.VerificationURL = "WDJB-MJHT", "https://as.example/device"
	for name, c := range map[string]struct {
		login  *mcpoauth.LoginPrompt
		in     io.Reader
		writes int
	}{
		"the address":                     {login: loginOf("one")},
		"the code":                        {login: device},
		"that the line is refused":        {login: loginOf("one"), in: strings.NewReader("wrong\n"), writes: 1},
		"that the browser was not opened": {login: loginOf("one"), writes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := &mcpoauth.TerminalOptions{NoBrowser: true}
			if c.in == nil {
				opts = &mcpoauth.TerminalOptions{OpenBrowser: func(context.Context, string) error {
					time.Sleep(20 * time.Millisecond) // the wait is shown first
					return errors.New("no display")
				}}
				if c.writes > 0 {
					c.writes++
				}
			}
			// With a line to read, the wait may be shown before or after the refusal; either fails.
			done := ask(t.Context(), mcpoauth.TerminalPrompt(c.in, &brokenWriter{n: c.writes}, opts), c.login)
			select {
			case r := <-done:
				if !errors.Is(r.err, errBroken) {
					t.Errorf("got %+v, %v", r.reply, r.err)
				}
			case <-time.After(5 * time.Second):
				t.Error("it waits for somebody who cannot know of it")
			}
		})
	}
}

func TestWhatAServerNamesIsCleaned(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[2J\u202e\r\nmcpoauth: logged in"
	for name, p := range map[string]*mcpoauth.LoginPrompt{
		"a browser": {URL: "https://as.example/" + evil, ServerURL: evil, Profile: evil, Issuer: evil, TokenHost: evil, Scopes: []string{evil}},
		"a code":    {URL: "https://as.example/" + evil, VerificationURL: "https://as.example/v" + evil, UserCode: evil, ServerURL: evil, Issuer: evil},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var out screen
		_, _ = mcpoauth.TerminalPrompt(nil, &out, &mcpoauth.TerminalOptions{NoBrowser: true, QR: mcpoauth.Never})(ctx, p)
		if s := out.String(); strings.ContainsAny(s, "\x1b\u202e\r") || strings.Contains(s, "\nmcpoauth") || !strings.Contains(s, "logged in") {
			t.Errorf("%s: %q", name, s)
		}
	}
}

// TestOpenBrowser: what a program opens the address with, and what it answers.
func TestOpenBrowser(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out screen
	opened := make(chan string, 1)
	done := ask(ctx, mcpoauth.TerminalPrompt(nil, &out, &mcpoauth.TerminalOptions{OpenBrowser: func(_ context.Context, url string) error {
		opened <- url
		return errors.New("no\x1b[2J display")
	}}), loginOf("one"))
	if got := <-opened; got != loginOf("one").URL {
		t.Errorf("opened %s", got)
	}
	out.await(t, "the browser could not be opened: no[2J display\n", 1)
	out.await(t, "ssh -L 8910:127.0.0.1:8910 ", 1)
	cancel()
	ended(t, done)

	declined := fmt.Errorf("%w: not now", mcpoauth.ErrAccessDenied)
	short, cancelShort := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancelShort()
	_, err := mcpoauth.TerminalPrompt(nil, &out, &mcpoauth.TerminalOptions{OpenBrowser: func(context.Context, string) error { return declined }})(short, loginOf("two"))
	if !errors.Is(err, mcpoauth.ErrAccessDenied) {
		t.Errorf("a login that was declined goes on: %v", err)
	}

	done = ask(ctx, mcpoauth.TerminalPrompt(nil, &out, &mcpoauth.TerminalOptions{NoBrowser: true, OpenBrowser: func(context.Context, string) error {
		t.Error("a browser was opened in spite of NoBrowser")
		return nil
	}}), loginOf("three"))
	ended(t, done)
}

// TestWhoIsReadFrom: a pipe or a file may be for the program.
func TestWhoIsReadFrom(t *testing.T) {
	t.Parallel()
	opens := func(context.Context, string) error { return nil }
	for name, c := range map[string]struct {
		file bool
		opts mcpoauth.TerminalOptions
		read bool
	}{
		"a pipe":                            {file: true, opts: mcpoauth.TerminalOptions{OpenBrowser: opens}},
		"a pipe, without a browser":         {file: true, opts: mcpoauth.TerminalOptions{NoBrowser: true}, read: true},
		"a reader":                          {opts: mcpoauth.TerminalOptions{OpenBrowser: opens}, read: true},
		"a reader, nothing is to be pasted": {opts: mcpoauth.TerminalOptions{OpenBrowser: opens, NoPaste: true}},
		"neither browser nor paste":         {opts: mcpoauth.TerminalOptions{NoBrowser: true, NoPaste: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := "a reader"
			if c.file {
				kind = "a pipe"
			}
			in, keyboard := inputs(t)[kind]()
			go fmt.Fprintln(keyboard, pastedFor("one"))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if !c.read {
				ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
			}
			reply, err := mcpoauth.TerminalPrompt(in, io.Discard, &c.opts)(ctx, loginOf("one"))
			if (reply != nil) != c.read || !c.read && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %+v, %v", reply, err)
			}
		})
	}
}
