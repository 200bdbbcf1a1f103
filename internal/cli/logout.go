package cli

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

// logoutJSON is what logout --json prints.
type logoutJSON struct {
	Version     int    `json:"version"`
	Server      string `json:"server"`
	Profile     string `json:"profile"`
	WasLoggedIn bool   `json:"was_logged_in"`
	Revoked     bool   `json:"revoked"` // the server knows
	Detail      string `json:"detail"`
	// ClientDeleted: the registered client went with its last login.
	ClientDeleted bool `json:"client_deleted"`
}

func newLogout(f *flags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "logout URL",
		Short: "revoke a login at the server, then forget it",
		Long: `Revoke a login at the server, then forget it. It is forgotten here in any case; if it could not be
revoked, the exit code is 5. The client that was registered for it is deleted with the last login that
uses it, if the server allows that. A login at a company's identity provider is ended in the same way,
by its issuer.`,
		Args:              exactURL,
		ValidArgsFunction: f.complete,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	f.addAll(cmd)
	cmd.RunE = f.runLimited(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		return f.withClient(ctx, args[0], o, func(c *mcpoauth.Client) error {
			res, err := c.Logout(ctx)
			if res != nil && !res.WasLoggedIn && err == nil {
				res, err = logoutProvider(ctx, args[0], o)
			}
			f.u.endWait()
			if res == nil {
				return err
			}
			if asJSON {
				if perr := f.u.printJSON(logoutJSON{
					Version: 1, Server: clean(c.ServerURL()), Profile: clean(o.Profile),
					WasLoggedIn: res.WasLoggedIn, Revoked: res.Revoked, Detail: clean(res.Detail), ClientDeleted: res.ClientDeleted,
				}); perr != nil && err == nil {
					err = perr
				}
			}
			server := clean(c.ServerURL())
			switch {
			case err != nil:
			case !res.WasLoggedIn:
				f.u.say("there was no login to %s", server)
			case res.Revoked:
				f.u.say("logged out of %s: revoked at the server and forgotten here", server)
			default:
				f.u.say("logged out of %s: forgotten here; %s", server, cmp.Or(clean(res.Detail), "the server was not told"))
			}
			return err
		})
	})
	return cmd
}

// logoutProvider logs out of an identity provider, if the URL is the issuer of one.
func logoutProvider(ctx context.Context, issuer string, o *mcpoauth.Options) (*mcpoauth.LogoutResult, error) {
	c, err := mcpoauth.NewIdentityProvider(issuer, o)
	if err != nil {
		return nil, err
	}
	res, err := c.Logout(ctx)
	return res, errors.Join(err, c.Close(ctx))
}
