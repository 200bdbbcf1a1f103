package cli

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

func newHeaders(f *flags) *cobra.Command {
	var minValidity time.Duration
	cmd := &cobra.Command{
		Use:   "headers URL",
		Short: `print {"Authorization": "Bearer …"} for programs that call a helper`,
		Long: `Print the headers that a request to the server needs, as one JSON object of strings, refreshing the
token if need be. For programs that call a helper for headers. No browser is ever opened: without a
usable login the exit code is 3.`,
		Example:           `  mcpoauth headers https://mcp.example.com/mcp`,
		Args:              exactURL,
		ValidArgsFunction: f.complete,
	}
	cmd.Flags().DurationVar(&minValidity, "min-validity", 0, "minimum `TIME` that the token must stay valid")
	f.addWhenNeeded(cmd)
	cmd.RunE = f.runLimited(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		return f.withToken(ctx, args[0], o, minValidity, func(t *mcpoauth.Token) error {
			e := json.NewEncoder(f.u.out)
			e.SetEscapeHTML(false)
			return e.Encode(map[string]string{"Authorization": t.Authorization()})
		})
	})
	return cmd
}
