package mcpoauth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/browser"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// A Prompt shows a person the authorization URL. It is called once per attempt.
//
// A nil reply means that the URL was shown; the login goes on waiting for the callback. A reply carries
// what the person pasted. An error ends the login. ctx is cancelled once the login completes some other way
// (the callback, another process) or ends; a Prompt should return then. One that does not is left behind
// after a second.
type Prompt func(ctx context.Context, p *LoginPrompt) (*LoginReply, error)

// LoginPrompt is what a [Prompt] shows.
type LoginPrompt struct {
	// URL is the authorization URL, checked and safe to open or print.
	URL string
	// UserCode is what the person enters at VerificationURL on another device, for logins with
	// [DeviceCode]; URL may contain it already. Empty for other logins.
	UserCode        string
	VerificationURL string
	// ServerURL is the MCP server that requires the login.
	ServerURL string
	// Profile is the profile that is being logged in.
	Profile string
	// Issuer is the authorization server. TokenHost is the host that will receive the code.
	Issuer    string
	TokenHost string
	// RedirectURI is where the browser will be sent back to.
	RedirectURI string
	// Scopes are the scopes requested.
	Scopes []string
	// Deadline is when the wait ends.
	Deadline time.Time
	// Check says what is wrong with a reply before the Prompt returns it, so that the person can be asked
	// again. Nil error: the reply belongs to this login.
	Check func(*LoginReply) error
}

// LoginReply is what a person gave back to a [Prompt].
type LoginReply struct {
	// RedirectURL is the URL the browser was sent to, or its query.
	RedirectURL string
}

// BrowserPrompt prints the authorization URL to w and opens it in the user's browser. That no
// browser could be opened is said on w; the login goes on waiting, since the URL is printed.
func BrowserPrompt(w io.Writer) Prompt {
	return func(ctx context.Context, p *LoginPrompt) (*LoginReply, error) {
		if err := printLogin(w, p); err != nil {
			return nil, err
		}
		if p.UserCode != "" {
			return nil, nil //nolint:nilnil // it is for another device
		}
		if ok, why := browser.Available(); !ok {
			_, err := fmt.Fprintf(w, "No browser was opened: %s. Open the URL above yourself.\n", wire.Clean(why))
			return nil, err
		}
		if err := browser.Open(ctx, p.URL, browser.Options{}); err != nil {
			_, err := fmt.Fprintf(w, "The browser could not be opened (%s). Open the URL above yourself.\n", wire.Clean(err.Error()))
			return nil, err
		}
		return nil, nil //nolint:nilnil // shown, go on waiting
	}
}

// PastePrompt prints the authorization URL to w and reads the redirect URL, which the person copies
// from the browser's address bar, from r. What belongs to another login is refused and asked for
// again. When r ends the login goes on waiting for the callback.
func PastePrompt(w io.Writer, r io.Reader) Prompt {
	return func(ctx context.Context, p *LoginPrompt) (*LoginReply, error) {
		if err := printLogin(w, p); err != nil || p.UserCode != "" {
			return nil, err
		}
		if _, err := fmt.Fprintf(w, "If the browser cannot reach this machine, it ends at an address that begins with\n  %s\nPaste that whole address here and press Enter.\n", p.RedirectURI); err != nil {
			return nil, err
		}
		lines := make(chan string)
		go func() {
			// A read from a terminal cannot be interrupted: the goroutine ends with its input.
			defer close(lines)
			sc := bufio.NewScanner(r)
			sc.Buffer(nil, 64<<10)
			for sc.Scan() {
				select {
				case lines <- strings.TrimSpace(sc.Text()):
				case <-ctx.Done():
					return
				}
			}
		}()
		for {
			select {
			case <-ctx.Done():
				return nil, nil //nolint:nilnil // settled by another road
			case line, ok := <-lines:
				if !ok {
					<-ctx.Done()
					return nil, nil //nolint:nilnil // nothing to read: the callback may still come
				}
				if line == "" {
					continue
				}
				reply := &LoginReply{RedirectURL: line}
				err := p.Check(reply)
				if err == nil {
					return reply, nil
				}
				if _, err := fmt.Fprintf(w, "That is not it: %s. Paste the whole address once more.\n", wire.Clean(err.Error())); err != nil {
					return nil, err
				}
			}
		}
	}
}

// AnyPrompt shows the login by all prompts at once; the first reply counts. An error counts only
// once every prompt has failed.
func AnyPrompt(prompts ...Prompt) Prompt {
	return func(ctx context.Context, p *LoginPrompt) (*LoginReply, error) {
		type result struct {
			reply *LoginReply
			err   error
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		results := make(chan result, len(prompts))
		for _, f := range prompts {
			go func() {
				reply, err := f(ctx, p)
				results <- result{reply, err}
			}()
		}
		var failures []error
		for range prompts {
			r := <-results
			if r.reply != nil {
				return r.reply, nil
			}
			if r.err != nil {
				failures = append(failures, r.err)
			}
		}
		if len(failures) == len(prompts) && len(prompts) > 0 {
			return nil, errors.Join(failures...)
		}
		return nil, nil //nolint:nilnil // shown at least once
	}
}

// printLogin names who asks and who answers before the URL: the person decides on that.
func printLogin(w io.Writer, p *LoginPrompt) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Log in to %s", wire.Clean(p.ServerURL))
	if p.Profile != "" {
		fmt.Fprintf(&b, " (profile %s)", wire.Clean(p.Profile))
	}
	fmt.Fprintf(&b, "\nThe authorization server is %s", wire.Clean(p.Issuer))
	if p.TokenHost != hostOf(p.Issuer) {
		fmt.Fprintf(&b, "; the token comes from %s", wire.Clean(p.TokenHost))
	}
	if len(p.Scopes) > 0 {
		fmt.Fprintf(&b, "\nIt will be asked for: %s", wire.Clean(strings.Join(p.Scopes, " ")))
	}
	if p.UserCode != "" {
		fmt.Fprintf(&b, "\nOn any device open\n\n  %s\n\nand enter the code\n\n  %s\n\n", p.VerificationURL, wire.Clean(p.UserCode))
	} else {
		fmt.Fprintf(&b, "\nOpen this URL in a browser:\n\n  %s\n\n", p.URL)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
