package mcpoauth_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/terminal/terminaltest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

func TestTheTerminalServesOneLoginAfterTheOther(t *testing.T) {
	t.Parallel()
	p := terminaltest.Open(t)
	prompt := mcpoauth.TerminalPrompt(p.TTY, p.TTY, &mcpoauth.TerminalOptions{OpenBrowser: func(context.Context, string) error { return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	done := ask(ctx, prompt, loginOf("one"))
	p.Await("waiting for the login in the browser, ", 1)
	cancel()
	ended(t, done)
	p.Type("late")

	done = ask(t.Context(), prompt, loginOf("two"))
	p.Await("waiting for the login in the browser, ", 2)
	p.Type(pastedFor("one"))
	p.Await("that is not it", 1)
	p.Type(pastedFor("two"))
	got(t, done, pastedFor("two"))
	seen := p.Close()
	if n := strings.Count(seen, "that is not it"); n != 1 {
		t.Errorf("%d refusals, want 1:\n%s", n, seen)
	}
	if strings.Contains(seen, "\x1b") || strings.Contains(seen, "\rwaiting") {
		t.Errorf("the wait is rewritten where a person types:\n%q", seen)
	}
}

func TestTheCountdownIsOneLine(t *testing.T) {
	t.Parallel()
	p := terminaltest.Open(t)
	prompt := mcpoauth.TerminalPrompt(p.TTY, p.TTY, &mcpoauth.TerminalOptions{NoPaste: true, OpenBrowser: func(context.Context, string) error { return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	login := loginOf("one")
	login.Deadline = time.Now().Add(59 * time.Second)
	done := ask(ctx, prompt, login)
	p.Await("\rwaiting for the login in the browser, 5", 2)
	cancel()
	ended(t, done)
	seen := p.Close()
	if strings.Contains(seen, "left\r\n") || !strings.HasSuffix(seen, " \r") {
		t.Errorf("the line stays:\n%q", seen)
	}
}

// TestALoginAtATerminal is a whole login: the address is read off the terminal, and where the browser ends is typed.
func TestALoginAtATerminal(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p := terminaltest.Open(t)
	shown := make(chan string, 1)
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Store: memstore.New(),
		Prompt: mcpoauth.TerminalPrompt(p.TTY, p.TTY, &mcpoauth.TerminalOptions{OpenBrowser: func(_ context.Context, url string) error {
			shown <- url
			return nil
		}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	go func() {
		back, err := srv.Decide(t.Context(), <-shown, true)
		if err != nil {
			t.Error(err)
			return
		}
		p.Type(back)
	}()
	if _, err := c.Login(t.Context(), nil); err != nil {
		t.Fatalf("%v\n%s", err, p.Seen())
	}
	p.Close()
}
