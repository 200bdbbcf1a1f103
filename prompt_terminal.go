package mcpoauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/browser"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/terminal"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// TerminalOptions are the options of [TerminalPrompt]. Nil is the zero value.
type TerminalOptions struct {
	// NoBrowser opens no browser: the address is printed, and a line is read from any kind of input.
	NoBrowser bool
	// NoPaste reads nothing. Otherwise lines are read if the input is a terminal, or is not a file, or with NoBrowser:
	// a file or a pipe may be for the program.
	NoPaste bool
	// OpenBrowser opens the address; ctx is that of the Prompt. Nil is the user's browser, where one is likely to open
	// in front of the person: not in an SSH session without a display. An error is shown and the login goes on; one
	// that is [ErrAccessDenied] ends it.
	OpenBrowser func(ctx context.Context, url string) error
	// WithoutEnv names environment variables that hold secrets: the browser does not inherit them. Those whose names
	// begin with MCPOAUTH_ it never does.
	WithoutEnv []string
	// QR shows the address of a login with [DeviceCode] as a QR code. [Auto] is on a terminal in which it fits.
	QR Mode
}

// TerminalPrompt returns a Prompt for a person at a terminal. It prints who asks for what and the address to out, opens
// the browser, and shows how long it still waits. A redirect URL can be pasted into in, for a browser on another
// machine; a line that belongs to another login is refused, and asked for again. For [DeviceCode] it shows the code.
//
// Any number of logins, of this Prompt and of others with the same in, share one reader: a line goes to the login that it
// belongs to, and no byte after it is read. When in ends, or is nil, the login goes on waiting for the callback. On Linux
// a file is read only while a login waits for a line; elsewhere, and for a reader that is no file, a read cannot be taken
// back, and the first line after a login may be read and dropped. The Prompt fails if out does.
func TerminalPrompt(in io.Reader, out io.Writer, opts *TerminalOptions) Prompt {
	t := &terminalPrompt{in: in, input: terminal.NewInput(in), out: terminal.NewWriter(out)}
	if opts != nil {
		t.opts = *opts
	}
	return t.prompt
}

// terminalPrompt is a Prompt for any number of logins at a terminal.
type terminalPrompt struct {
	in    io.Reader
	input *terminal.Input
	out   *terminal.Writer
	opts  TerminalOptions
}

func (t *terminalPrompt) prompt(ctx context.Context, p *LoginPrompt) (*LoginReply, error) {
	if p.UserCode != "" {
		return nil, t.device(ctx, p)
	}
	return t.browser(ctx, p)
}

// device shows the address and the code that another device needs.
func (t *terminalPrompt) device(ctx context.Context, p *LoginPrompt) error {
	var b strings.Builder
	introduce(&b, p)
	fmt.Fprintf(&b, "On any device, a phone for example, open\n\n  %s\n\nand enter the code\n\n  %s\n\n", address(p.VerificationURL), wire.Clean(p.UserCode))
	if p.URL != p.VerificationURL {
		fmt.Fprintf(&b, "This address contains the code already:\n\n  %s\n\n", address(p.URL))
	}
	b.WriteString(t.qr(p.URL))
	if _, err := io.WriteString(t.out, b.String()); err != nil {
		return err
	}
	wait := t.out.Start(terminal.Wait{What: "waiting for the code to be entered", Deadline: p.Deadline})
	defer wait.End()
	<-ctx.Done()
	return nil
}

// qr is the address as a QR code, "" if none is to be shown.
func (t *terminalPrompt) qr(target string) string {
	columns, lines := 1000, 1000
	switch t.opts.QR {
	case Never:
		return ""
	case Auto:
		columns, lines = terminal.Size(t.out)
		lines -= 4 // the code that is entered stays in sight
	case Always:
	}
	palette := terminal.Monochrome
	if terminal.Colours(t.out) {
		palette = terminal.BlackOnWhite
	}
	if code := terminal.QRCode(target, columns, lines, palette); code != "" {
		return code + "\n"
	}
	return ""
}

// browser opens the browser, and waits for a pasted redirect URL until the login is over.
func (t *terminalPrompt) browser(ctx context.Context, p *LoginPrompt) (*LoginReply, error) {
	var lines <-chan terminal.Line
	if t.reads() {
		// Before anything is shown: what is pasted at once must find the login waiting.
		typing := t.input.Await(func(line string) error {
			switch {
			case line == "":
				return errNothingPasted
			case p.Check == nil:
				return nil
			}
			return p.Check(&LoginReply{RedirectURL: line})
		})
		defer typing.End()
		lines = typing.Lines
	}
	why := t.noBrowser()
	if err := t.show(p, why); err != nil {
		return nil, err
	}
	opened := make(chan error, 1)
	if why == "" {
		go func() { opened <- t.open(ctx, p.URL) }()
	}
	// A line that is rewritten would garble what a person types.
	wait := t.out.Start(terminal.Wait{What: "waiting for the login in the browser", Deadline: p.Deadline, Plain: t.reads()})
	defer wait.End()
	for {
		var text string
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-opened:
			switch {
			case err == nil || ctx.Err() != nil:
				continue
			case errors.Is(err, ErrAccessDenied):
				return nil, err
			}
			text = "the browser could not be opened: " + wire.Clean(err.Error()) + "\n" + t.elsewhere(p, "it could not be opened")
		case line, ok := <-lines:
			switch {
			case !ok:
				lines = nil // the callback may still come
				continue
			case line.Refused == nil:
				return &LoginReply{RedirectURL: line.Text}, nil
			}
			text = "that is not it: " + wire.Clean(line.Refused.Error()) + "; paste the whole address that the browser shows at the end\n"
		}
		if _, err := io.WriteString(t.out, text); err != nil {
			return nil, err
		}
	}
}

var errNothingPasted = errors.New("nothing was pasted")

// reads reports whether lines are read.
func (t *terminalPrompt) reads() bool {
	return t.in != nil && !t.opts.NoPaste && (t.opts.NoBrowser || !terminal.IsFile(t.in) || terminal.IsTerminal(t.in))
}

// noBrowser says why no browser is opened, "" if one is.
func (t *terminalPrompt) noBrowser() string {
	switch {
	case t.opts.NoBrowser:
		return "--no-browser"
	case t.opts.OpenBrowser != nil:
		return ""
	}
	if ok, why := browser.Available(); !ok {
		return cmp.Or(why, "none was found")
	}
	return ""
}

func (t *terminalPrompt) open(ctx context.Context, target string) error {
	if f := t.opts.OpenBrowser; f != nil {
		return f(ctx, target)
	}
	// What the browser says goes nowhere: a pipe of ours would break under it when the program ends.
	return browser.Open(ctx, target, browser.Options{WithoutEnv: t.opts.WithoutEnv})
}

// show prints who asks for what, the address, and what to do with it, in one piece: other logins may use the terminal.
func (t *terminalPrompt) show(p *LoginPrompt, noBrowser string) error {
	var b strings.Builder
	introduce(&b, p)
	if noBrowser == "" && t.opts.OpenBrowser == nil {
		b.WriteString("Opening the browser. If nothing happens, open this address:")
	} else {
		b.WriteString("Open this address in a browser:")
	}
	fmt.Fprintf(&b, "\n\n  %s\n\n", address(p.URL))
	switch {
	case noBrowser != "":
		b.WriteString(t.elsewhere(p, noBrowser))
	case t.reads():
		b.WriteString("If the browser cannot come back to this machine, paste the address it ends at here.\n")
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// elsewhere explains what to do with a browser on another machine.
func (t *terminalPrompt) elsewhere(p *LoginPrompt, noBrowser string) string {
	forward := terminal.SSHForward(p.RedirectURI)
	if t.reads() {
		text := "On another machine the browser ends at a page that does not load: paste its address here.\n"
		if forward != "" {
			text += "Or run this on that machine first, then nothing needs to be pasted: " + forward + "\n"
		}
		return text
	}
	text := "no browser here (" + wire.Clean(noBrowser) + ") and no terminal to paste into: "
	if forward != "" {
		text += "run " + forward + " where a browser is, then open the address there; "
	}
	return text + "or log in from a terminal with --no-browser (TerminalOptions.NoBrowser)\n"
}

// introduce names who asks and who answers: the person decides on that.
func introduce(b *strings.Builder, p *LoginPrompt) {
	b.WriteString("Login to " + wire.Clean(p.ServerURL))
	if p.Profile != "" {
		b.WriteString(" as profile " + wire.Clean(p.Profile))
	}
	b.WriteString("\n  at        " + wire.Clean(p.Issuer) + "\n")
	if p.TokenHost != "" && p.TokenHost != resource.Host(p.Issuer) {
		b.WriteString("  code to   " + wire.Clean(p.TokenHost) + "\n")
	}
	if len(p.Scopes) > 0 {
		b.WriteString("  scopes    " + wire.Clean(strings.Join(p.Scopes, " ")) + "\n")
	}
}

// maxAddress is how much of an address is shown, in characters: more than the library allows one to have.
const maxAddress = 16 << 10

// address is a URL to print. The library has made it safe; another caller of the Prompt may not have.
func address(raw string) string { return wire.CleanN(raw, maxAddress) }
