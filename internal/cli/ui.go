package cli

// The rules of the user interface:
//
//   - stdout carries what was asked for (a token, headers, a list, JSON, the demo's story) and
//     nothing else. What is for people goes to stderr.
//   - An error is two lines: "mcpoauth: " and what happened, "hint: " and what to do. Lower case, no
//     full stop. A warning is one line that starts with "mcpoauth: warning: ".
//   - Text that came from a server passes through clean before it is written anywhere.
//   - Colour only on a terminal, only without NO_COLOR, and never as the only bearer of a meaning.
//     A pipe sees no escape sequence.
//   - A person who has to wait is told what for and how long still: on a terminal by one line that is
//     rewritten in place by carriage return, elsewhere by plain lines a minute apart.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/terminal"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// maxMessage bounds an error line in runes; what a server says inside it has been cut already.
const maxMessage = 1000

type ui struct {
	in  io.Reader
	out io.Writer
	err *terminal.Writer
	// watch begins to watch for signals. Its channel is closed once a signal ends the command in order. Nil if nothing
	// watches for signals.
	watch func() <-chan struct{}

	mu   sync.Mutex
	wait *terminal.Waiting // what the command waits for, other than the person
}

func newUI(stdin io.Reader, stdout, stderr io.Writer) *ui {
	return &ui{in: stdin, out: stdout, err: terminal.NewWriter(stderr)}
}

// startWait shows what the command waits for, until endWait.
func (u *ui) startWait(w terminal.Wait) {
	u.endWait()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.wait = u.err.Start(w)
}

// endWait removes what startWait shows.
func (u *ui) endWait() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.wait != nil {
		u.wait.End()
		u.wait = nil
	}
}

// say writes one line for people.
func (u *ui) say(format string, args ...any) {
	fmt.Fprintf(u.err, format+"\n", args...)
}

func (u *ui) warn(format string, args ...any) {
	u.say("mcpoauth: warning: %s", wire.CleanN(fmt.Sprintf(format, args...), maxMessage))
}

// fail writes an error and what to do about it.
func (u *ui) fail(err error) {
	u.say("mcpoauth: %s", wire.CleanN(trimPrefix(err), maxMessage))
	u.hint(hintFor(err))
}

// hint writes what to do about an error, if that is known. It may name what a server said.
func (u *ui) hint(text string) {
	if text != "" {
		u.say("hint: %s", wire.CleanN(text, maxMessage))
	}
}

// hintFor finds the advice for an error: what the command said, then what follows from a missing
// login, then what the library said, then that of its class.
func hintFor(err error) string {
	if is[*hinted](err) || is[*usageError](err) {
		return mcpoauth.Hint(err)
	}
	scope, missing := errors.AsType[*mcpoauth.ScopeError](err)
	login, required := errors.AsType[*mcpoauth.LoginRequiredError](err)
	temporary, passes := errors.AsType[*mcpoauth.TemporaryError](err)
	switch {
	case missing && scope.Asked:
		return "ask the server's owner whether your account and this client may have them"
	case missing:
		return "run: mcpoauth login " + shellWord(scope.ServerURL) + " --add-scope " + shellWord(strings.Join(scope.Missing, " "))
	case required:
		hint := "run: mcpoauth login " + shellWord(login.ServerURL)
		if login.Profile != "" {
			hint += " --profile " + shellWord(login.Profile)
		}
		return hint
	case mcpoauth.Hint(err) != "":
		return mcpoauth.Hint(err)
	case errors.Is(err, mcpoauth.ErrAccessDenied):
		return "log in again and allow the access, or ask the server's operator"
	case passes && temporary.RetryAfter > 0:
		return "try again in " + short(temporary.RetryAfter)
	case errors.Is(err, mcpoauth.ErrTemporary) && answered(err):
		return "the server is in trouble: try again later, or show its owner this message"
	case errors.Is(err, mcpoauth.ErrTemporary):
		return "check the network and the address, then try again"
	case errors.Is(err, mcpoauth.ErrNoOAuth):
		return "if the server works without a login, use it without mcpoauth; otherwise check the URL, path included"
	case errors.Is(err, os.ErrPermission):
		return "make the directory writable for you, or use another one with --store file:DIR or MCPOAUTH_DIR"
	}
	return ""
}

// answered reports whether an error is that of an HTTP response.
func answered(err error) bool {
	e, ok := errors.AsType[*mcpoauth.Error](err)
	return ok && e.Status != 0
}

func trimPrefix(err error) string { return strings.TrimPrefix(err.Error(), "mcpoauth: ") }

// clean makes text from outside fit for one line of a terminal.
func clean(s string) string { return wire.Clean(s) }

func quote(s string) string { return strconv.Quote(wire.Clean(s)) }

// shellWord quotes a word for a command line that a person may copy.
func shellWord(s string) string { return wire.ShellWord(s) }

// printJSON writes v as one indented document to stdout.
func (u *ui) printJSON(v any) error {
	e := json.NewEncoder(u.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// columns is the width of the terminal behind stream, 0 if there is none.
func columns(stream any) int {
	w, _ := terminal.Size(stream)
	return w
}

// painter returns a function that colours text for stream, or leaves it alone.
func painter(stream any) func(sgr, text string) string {
	if !terminal.Colours(stream) {
		return func(_, text string) string { return text }
	}
	return func(sgr, text string) string {
		if text == "" || sgr == "" {
			return text
		}
		return "\x1b[" + sgr + "m" + text + "\x1b[0m"
	}
}

const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// short formats a duration as people say it: 45s, 4m 30s, 54m, 3h 20m, 12d.
func short(d time.Duration) string { return terminal.Short(d) }
