package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

func newClear(f *flags) *cobra.Command {
	var all, client bool
	cmd := &cobra.Command{
		Use:   "clear [URL | --all]",
		Short: "forget a login without telling the server",
		Long: `Forget a login on this machine without telling the server: the tokens stay valid there until they
expire. To revoke them, use mcpoauth logout. With --client the registered client is forgotten too, and
deleted at the server if the server supports that.`,
		Example: `  mcpoauth clear https://mcp.example.com/mcp
  mcpoauth clear --all --client`,
		ValidArgsFunction: f.complete,
	}
	cmd.Flags().BoolVar(&all, "all", false, "clear every login of every profile")
	cmd.Flags().BoolVar(&client, "client", false, "clear the registered client too")
	f.addAll(cmd)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case all && len(args) > 0:
			return &usageError{"clear accepts a URL or --all, not both", "mcpoauth clear --help"}
		case all:
			return nil
		case len(args) == 0:
			return &usageError{"clear needs the URL of an MCP server, or --all", "mcpoauth list shows the logins"}
		}
		return exactURL(cmd, args)
	}
	cmd.RunE = f.runLimited(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		co := &mcpoauth.ClearOptions{Registration: client}
		if all {
			st, err := openStore(o)
			if err != nil {
				return err
			}
			n, err := mcpoauth.ClearAll(ctx, st, co)
			if err == nil || n > 0 {
				f.u.say("%s forgotten here", count(n, "login"))
			}
			return err
		}
		return f.withClient(ctx, args[0], o, func(c *mcpoauth.Client) error {
			if err := c.Clear(ctx, co); err != nil {
				return err
			}
			f.u.say("the login to %s is forgotten here", clean(c.ServerURL()))
			return nil
		})
	})
	return cmd
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
