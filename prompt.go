package mcpoauth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/browser"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

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
