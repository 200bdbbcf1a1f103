package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/browser"
)

// maxPaste bounds a pasted line; a redirect URL is a small part of it.
const maxPaste = 64 << 10

// prompter asks the person at the terminal: browser, pasted address, or both at once.
type prompter struct {
	u         *ui
	noBrowser bool
	// qr says when a QR code is shown: auto, always or never.
	qr string

	// lines are those of stdin. One reader serves every prompt of the program, because a read
	// of a terminal cannot be taken back.
	lines chan string
}

func (p *prompter) prompt(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	u := p.u
	defer u.endWait()
	if lp.UserCode != "" {
		return p.device(ctx, lp)
	}
	paste := p.noBrowser || isTerminal(u.in)
	opened := make(chan error, 1)
	why := ""
	if p.noBrowser {
		why = "--no-browser"
	} else if ok, reason := browser.Available(); !ok {
		why = firstOf(clean(reason), "none was found")
	}
	p.introduce(lp, why == "")
	switch {
	case why == "":
		go func() {
			// What the browser says goes nowhere: a pipe of ours would break under it when we end.
			opened <- browser.Open(ctx, lp.URL, browser.Options{})
		}()
	case paste:
		p.elsewhere(lp)
	default:
		p.alone(lp, why)
	}
	var lines <-chan string
	if paste {
		if why == "" {
			u.say("If the browser cannot come back to this machine, paste the address it ends at here.")
		}
		if p.lines == nil {
			p.lines = make(chan string)
			go readLines(u.in, p.lines)
		}
		lines = p.lines
	}
	u.startWait("waiting for the login in the browser", lp.Deadline, 0, !paste)
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-opened:
			if err == nil {
				continue
			}
			u.say("the browser could not be opened: %s", clean(trimPrefix(err)))
			if paste {
				p.elsewhere(lp)
			} else {
				p.alone(lp, "it could not be opened")
			}
		case line, ok := <-lines:
			if !ok {
				lines = nil
				continue
			}
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			reply := &mcpoauth.LoginReply{RedirectURL: line}
			if lp.Check != nil {
				if err := lp.Check(reply); err != nil {
					u.say("that is not it: %s; paste the whole address that the browser shows at the end", clean(trimPrefix(err)))
					continue
				}
			}
			return reply, nil
		}
	}
}

// device shows the address and the code that another device needs.
func (p *prompter) device(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	p.u.who(lp)
	showCode(p.u, lp)
	p.u.showQR(lp.URL, p.qr)
	p.u.startWait("waiting for the code to be entered", lp.Deadline, 0, true)
	<-ctx.Done()
	return nil, nil
}

// showCode prints where to go and what to enter there.
func showCode(u *ui, lp *mcpoauth.LoginPrompt) {
	u.say("On any device, a phone for example, open\n\n  %s\n\nand enter the code\n\n  %s\n", lp.VerificationURL, clean(lp.UserCode))
	if lp.URL != lp.VerificationURL {
		u.say("This address has the code in it already:\n\n  %s\n", lp.URL)
	}
}

// introduce says who asks for what and prints the address of the login page.
func (p *prompter) introduce(lp *mcpoauth.LoginPrompt, opening bool) {
	p.u.who(lp)
	u := p.u
	if opening {
		u.say("Opening the browser. If nothing happens, open this address:")
	} else {
		u.say("Open this address in a browser:")
	}
	// The library checked the address: it has no character that a terminal could take amiss.
	u.say("\n  %s\n", lp.URL)
}

// who says who asks for what.
func (u *ui) who(lp *mcpoauth.LoginPrompt) {
	what := "Login to " + clean(lp.ServerURL)
	if lp.Profile != "" {
		what += " as profile " + clean(lp.Profile)
	}
	u.say("%s", what)
	u.say("  at        %s", clean(lp.Issuer))
	if lp.TokenHost != "" && lp.TokenHost != hostOf(lp.Issuer) {
		u.say("  code to   %s", clean(lp.TokenHost))
	}
	if len(lp.Scopes) > 0 {
		u.say("  scopes    %s", clean(strings.Join(lp.Scopes, " ")))
	}
}

// elsewhere explains what to do with a browser on another machine.
func (p *prompter) elsewhere(lp *mcpoauth.LoginPrompt) {
	p.u.say("On another machine the browser ends at a page that does not load: paste its address here.")
	if line := sshLine(lp.RedirectURI); line != "" {
		p.u.say("Or run this over there first, then nothing need be pasted: %s", line)
	}
}

// alone is for nobody at a terminal and no browser.
func (p *prompter) alone(lp *mcpoauth.LoginPrompt, why string) {
	line := "no browser here (" + why + ") and no terminal to paste into: "
	if ssh := sshLine(lp.RedirectURI); ssh != "" {
		line += "run " + ssh + " where a browser is, then open the address there; "
	}
	p.u.say("%sor run mcpoauth login --no-browser in a terminal", line)
}

// sshLine is the command that brings the callback from a browser's machine to this one.
func sshLine(redirectURI string) string {
	r, err := url.Parse(redirectURI)
	if err != nil || r.Port() == "" {
		return ""
	}
	host := r.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "ssh -L " + r.Port() + ":" + host + ":" + r.Port() + " " + sshTarget(os.Getenv)
}

// sshTarget is how this machine is reached: the way it was reached for this session, if it was.
func sshTarget(env func(string) string) string {
	target, port := "", ""
	if c := strings.Fields(env("SSH_CONNECTION")); len(c) == 4 {
		target = c[2]
		if c[3] != "22" {
			port = " -p " + shellWord(c[3])
		}
	} else if name, err := os.Hostname(); err == nil {
		target = name
	}
	if target == "" {
		target = "HOST"
	}
	if user := env("USER"); user != "" {
		target = user + "@" + target
	}
	return shellWord(target) + port
}

func hostOf(raw string) string {
	if r, err := url.Parse(raw); err == nil {
		return r.Host
	}
	return ""
}

// readLines sends the lines of r and closes the channel at the end.
func readLines(r io.Reader, lines chan<- string) {
	defer close(lines)
	b := bufio.NewReaderSize(r, maxPaste)
	for {
		line, err := b.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			// Too long to be an address: the rest of it goes the same way.
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = b.ReadSlice('\n')
			}
			line = nil
		}
		if len(line) > 0 {
			lines <- string(line)
		}
		if err != nil {
			return
		}
	}
}
