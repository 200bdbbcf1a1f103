package cli

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

// loginJSON is what login --json prints.
type loginJSON struct {
	Version int      `json:"version"`
	Server  string   `json:"server"`
	Profile string   `json:"profile"`
	Issuer  string   `json:"issuer"`
	Scopes  []string `json:"scopes"`
	// MissingScopes were requested and not granted.
	MissingScopes []string   `json:"missing_scopes"`
	ExpiresAt     *time.Time `json:"expires_at"` // null: unknown
	// RefreshExpiresAt: the login ends then unless it is used before; null: never, or unknown.
	RefreshExpiresAt *time.Time `json:"refresh_expires_at"`
	CanRefresh       bool       `json:"can_refresh"`  // renews without a person
	RefreshHint      string     `json:"refresh_hint"` // what may bring a refresh token, or one that lasts longer
	New              bool       `json:"new"`          // false: there was a usable login
}

func newLogin(f *flags) *cobra.Command {
	var noBrowser, newClient, force, asJSON bool
	var qr string
	cmd := &cobra.Command{
		Use:   "login URL",
		Short: "log in to a server",
		Long: `Log in to an MCP server. A browser is opened at the server's login page, and the page's address is
printed as well. If the browser runs on another machine, paste the address at which it ends here. A login that is still usable is kept, see --force.`,
		Example: `  mcpoauth login https://mcp.example.com/mcp
  mcpoauth login https://mcp.example.com/mcp --no-browser
  mcpoauth login https://mcp.example.com/mcp --client-id ID --client-secret-env SECRET --callback-port 8910`,
		Args:              exactURL,
		ValidArgsFunction: f.complete,
	}
	fs := cmd.Flags()
	fs.BoolVar(&noBrowser, "no-browser", false, "open no browser: print the address and read the redirect URL from stdin")
	fs.Lookup("no-browser").Annotations = map[string][]string{envFlag: nil}
	fs.StringVar(&qr, "qr", "auto", "`WHEN` a login by device code shows its address as a QR code: auto (in a terminal), always or never")
	fs.BoolVar(&force, "force", false, "log in even if there is a usable login")
	fs.BoolVar(&newClient, "new-client", false, "register a new client, for a server that forgot the old one")
	fs.StringArrayVar(&f.addScopes, "add-scope", nil, "request this `SCOPE` in addition to those of the login (repeatable)")
	fs.BoolVar(&asJSON, "json", false, "print the result as JSON")
	f.addAll(cmd)
	cmd.RunE = f.run(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		showQR, err := mode("--qr", qr)
		if err != nil {
			return err
		}
		var fresh atomic.Bool
		o.LoginTimeout = f.timeout
		o.Trace.LoggedIn = func(context.Context, mcpoauth.LoginEvent) { fresh.Store(true) }
		o.Prompt = mcpoauth.TerminalPrompt(f.u.in, f.u.err, &mcpoauth.TerminalOptions{NoBrowser: noBrowser, QR: showQR, WithoutEnv: f.secretEnv})
		return f.withClient(ctx, args[0], o, func(c *mcpoauth.Client) error {
			tok, err := c.Login(ctx, &mcpoauth.LoginOptions{Force: force, NewClient: newClient, Scopes: words(f.addScopes)})
			f.u.endWait()
			if err != nil {
				return err
			}
			// The login stands; what is missing from its description is not worth a failure.
			st, err := c.Status(ctx)
			if err != nil || st == nil {
				st = &mcpoauth.Status{ServerURL: c.ServerURL(), Profile: o.Profile, Scopes: tok.Scopes(), Expiry: tok.Expiry()}
			}
			f.u.say("%s", loginLine(st, fresh.Load(), time.Now()))
			if line := missingScopes(st); line != "" {
				f.u.warn("%s", line)
			}
			if !asJSON {
				return nil
			}
			return f.u.printJSON(loginJSON{
				Version: 1, Server: clean(st.ServerURL), Profile: clean(st.Profile), Issuer: clean(st.Issuer),
				Scopes: cleanAll(tok.Scopes()), MissingScopes: cleanAll(st.MissingScopes), ExpiresAt: timeJSON(tok.Expiry()), RefreshExpiresAt: timeJSON(st.RefreshExpiry), CanRefresh: st.CanRefresh, RefreshHint: st.RefreshHint, New: fresh.Load(),
			})
		})
	})
	return cmd
}

// loginLine says what a login led to.
func loginLine(st *mcpoauth.Status, fresh bool, now time.Time) string {
	line := "logged in to "
	if !fresh {
		line = "already logged in to "
	}
	line += clean(st.ServerURL)
	if st.Profile != "" {
		line += " as profile " + clean(st.Profile)
	}
	switch {
	case st.CanRefresh && st.Expiry.IsZero():
		line += "; the server does not say when the token expires: it is refreshed when the MCP server rejects it" + unlessUsed(st, now)
	case st.CanRefresh:
		line += "; it is refreshed automatically" + unlessUsed(st, now)
	case st.Expiry.IsZero():
		line += "; the server does not say when it expires"
	default:
		line += "; it expires in " + short(st.Expiry.Sub(now)) + " and cannot be refreshed"
	}
	if st.RefreshHint != "" {
		line += "; " + st.RefreshHint
	}
	if !fresh {
		line += " (--force logs in again)"
	}
	return line
}

// missingScopes says which scopes a login requested in vain, "" if it has all of them.
func missingScopes(st *mcpoauth.Status) string {
	if len(st.MissingScopes) == 0 {
		return ""
	}
	return "the server did not grant the requested scopes " + quote(strings.Join(st.MissingScopes, " ")) + ": requests that need them will fail"
}

// unlessUsed says when a login ends by itself, "" if that is never or unknown.
func unlessUsed(st *mcpoauth.Status, now time.Time) string {
	if st.RefreshExpiry.IsZero() {
		return ""
	}
	return ", until " + moment(st.RefreshExpiry, now) + " unless used"
}

// timeJSON is nil for the zero time, and UTC in whole seconds otherwise.
func timeJSON(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// cleanAll never returns nil, so that JSON has an empty list.
func cleanAll(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, clean(s))
	}
	return out
}
