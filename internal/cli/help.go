package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcpoauth/mcpoauth"
)

// complete offers the servers that have a login, for the shell.
func (f *flags) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	o, err := f.options(cmd, nil)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	logins, err := openStore(o)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var urls []string
	for st, err := range mcpoauth.List(ctx, logins) {
		if err == nil && (f.profile == "" || st.Profile == f.profile) {
			urls = append(urls, clean(st.ServerURL))
		}
	}
	return urls, cobra.ShellCompDirectiveNoFileComp
}

// usage prints how a command is called, its own flags before the common ones.
func usage(cmd *cobra.Command) error {
	w := cmd.OutOrStderr()
	line := cmd.UseLine()
	if !cmd.HasParent() {
		line = cmd.CommandPath() + " COMMAND [flags]"
	}
	fmt.Fprintf(w, "usage: %s\n", line)
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(w, "alias: %s\n", strings.Join(cmd.Aliases, ", "))
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nexamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\ncommands:\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				// Those that cobra adds begin with a capital.
				fmt.Fprintf(w, "  %-12s %s\n", sub.Name(), strings.ToLower(sub.Short[:1])+sub.Short[1:])
			}
		}
		fmt.Fprintf(w, "\n%s COMMAND --help describes a command.\n", cmd.CommandPath())
	}
	own, shared := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	cmd.Flags().VisitAll(func(fl *pflag.Flag) {
		if _, ok := fl.Annotations[commonFlag]; ok {
			shared.AddFlag(fl)
		} else {
			own.AddFlag(fl)
		}
	})
	if own.HasAvailableFlags() {
		fmt.Fprintf(w, "\nflags:\n%s", own.FlagUsages())
	}
	if shared.HasAvailableFlags() {
		fmt.Fprintf(w, "\ncommon flags (each can also be set in the environment: %s and so on):\n%s", envName("profile"), shared.FlagUsages())
	}
	if !cmd.HasParent() {
		fmt.Fprint(w, "\nexit codes: 0 done, 1 failed, 2 usage, 3 login required, 4 refused, 5 temporary, try again\n")
	}
	return nil
}
