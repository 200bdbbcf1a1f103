package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

func newToken(f *flags) *cobra.Command {
	var minValidity time.Duration
	cmd := &cobra.Command{
		Use:   "token URL",
		Short: "print a valid access token, refreshed if necessary",
		Long: `Print a valid access token for a server, refreshing it if necessary. No browser is ever opened: without
a usable login the exit code is 3.`,
		Example:           `  curl -H "Authorization: Bearer $(mcpoauth token https://mcp.example.com/mcp)" …`,
		Args:              exactURL,
		ValidArgsFunction: f.complete,
	}
	cmd.Flags().DurationVar(&minValidity, "min-validity", 0, "minimum `TIME` that the token must stay valid")
	f.addWhenNeeded(cmd)
	cmd.RunE = f.runLimited(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		return f.withToken(ctx, args[0], o, minValidity, func(t *mcpoauth.Token) error {
			_, err := fmt.Fprintln(f.u.out, t.AccessToken())
			return err
		})
	})
	return cmd
}

// withToken calls body with a valid token.
func (f *flags) withToken(ctx context.Context, server string, o *mcpoauth.Options, minValidity time.Duration, body func(*mcpoauth.Token) error) error {
	if minValidity < 0 {
		return &usageError{"--min-validity is negative", "give a duration such as 5m"}
	}
	return f.withClient(ctx, server, o, func(c *mcpoauth.Client) error {
		// A refresh would be in vain: the token is of no use by itself.
		if st, err := c.Status(ctx); err == nil && st.Bound && st.State != mcpoauth.StateLoginRequired {
			return &mcpoauth.BoundTokenError{ServerURL: server}
		}
		t, err := c.Token(ctx, &mcpoauth.TokenOptions{MinValidity: minValidity})
		f.u.endWait()
		if err != nil {
			return f.otherProfiles(ctx, o, c, err)
		}
		if t.Type() == "DPoP" {
			return &mcpoauth.BoundTokenError{ServerURL: server}
		}
		if left := time.Until(t.Expiry()); minValidity > 0 && !t.Expiry().IsZero() && left < minValidity {
			f.u.warn("the token expires in %s, earlier than requested", short(left))
		}
		return body(t)
	})
}

// otherProfiles adds to the error of a missing login that there is one under another profile.
func (f *flags) otherProfiles(ctx context.Context, o *mcpoauth.Options, c *mcpoauth.Client, err error) error {
	if !is[*mcpoauth.LoginRequiredError](err) {
		return err
	}
	logins, serr := openStore(o)
	if serr != nil {
		return err
	}
	var others []string
	for st, lerr := range mcpoauth.List(ctx, logins) {
		switch {
		case lerr != nil || st.Err != nil || st.ServerURL != c.ServerURL():
		case st.Profile == o.Profile:
			return err // that one has ended, and the error says why
		case st.Profile == "":
			others = append(others, "without a profile")
		default:
			others = append(others, "with --profile "+shellWord(st.Profile))
		}
	}
	if len(others) == 0 {
		return err
	}
	return withHint(err, "there is a login "+strings.Join(others, ", ")+"; for another one "+hintFor(err))
}
