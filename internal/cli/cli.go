// Package cli is the command line of mcpoauth, one file per command. Commands are thin: flags to
// [mcpoauth.Options], one call of the library, its result printed.
package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

// The exit codes. They are part of the compatibility promise.
const (
	exitDone          = 0 // what was asked for was done
	exitFailed        = 1 // it was not, for good
	exitUsage         = 2 // the command line, the environment or a file it names is wrong
	exitLoginRequired = 3 // a person has to log in (again)
	exitDenied        = 4 // the person or the server refused
	exitTemporary     = 5 // trying again later may help
)

// errInterrupted replaces whatever a signal made fail.
var errInterrupted = errors.New("interrupted")

// Main runs the command line and returns the exit code. args do not include the program's name.
//
// The first SIGINT or SIGTERM ends the command in order: no listener, lock, temporary file or
// half login stays behind. The second one kills.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	u := newUI(stdin, stdout, stderr)
	u.watched = make(chan struct{})
	go watchSignals(ctx, cancel, u.watched)
	root := newRoot(u, args)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	u.endWait()
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		err = withHint(errInterrupted, "nothing was left behind; run the same command again")
	}
	if program, ok := errors.AsType[*exitError](err); ok {
		return program.code // the program has reported its own error
	}
	if answer, ok := errors.AsType[*inspected](err); ok {
		return answer.code
	}
	if err != nil {
		u.fail(err)
	}
	return exitCode(err)
}

// watchSignals cancels at the first signal and leaves the second one to its default effect. It has a
// goroutine of its own because listening costs as much time as all flags together. It closes watched when
// it has begun.
func watchSignals(ctx context.Context, cancel context.CancelCauseFunc, watched chan<- struct{}) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(c)
	close(watched)
	select {
	case <-c:
		signal.Stop(c) // before the first has any effect that a person could answer with the second
		cancel(errInterrupted)
	case <-ctx.Done():
	}
}

// exitCode maps an error to the contract of exit codes.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted):
		return exitFailed
	case is[*usageError](err), is[*mcpoauth.OptionError](err):
		return exitUsage
	case errors.Is(err, mcpoauth.ErrAccessDenied):
		return exitDenied
	case errors.Is(err, mcpoauth.ErrLoginRequired), is[*mcpoauth.ScopeError](err):
		return exitLoginRequired
	case errors.Is(err, mcpoauth.ErrTemporary), errors.Is(err, errTimeout):
		return exitTemporary
	}
	return exitFailed
}

// is reports whether there is an error of a type in err.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// A usageError is a mistake in the command line, the environment or a file that they name.
type usageError struct{ message, hint string }

func (e *usageError) Error() string    { return e.message }
func (e *usageError) HintText() string { return e.hint }

// A hinted error is an error with the advice that goes with it in this command.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error    { return e.error }
func (e *hinted) HintText() string { return e.hint }

func withHint(err error, hint string) error { return &hinted{err, hint} }

func newRoot(u *ui, args []string) *cobra.Command {
	f := &flags{u: u, args: args}
	root := &cobra.Command{
		Use:   "mcpoauth",
		Short: "the OAuth client for MCP servers",
		Long: `mcpoauth logs in to MCP servers that require OAuth, keeps the logins refreshed and prints access
tokens.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				cmd.SetOut(u.err)
				_ = cmd.Help()
				return &usageError{"no command given", "start with: mcpoauth login URL"}
			}
			hint := "mcpoauth --help lists the commands"
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "did you mean " + strings.Join(near, " or ") + "? " + hint
			}
			return &usageError{"unknown command " + quote(args[0]), hint}
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(u.in)
	root.SetOut(u.out)
	root.SetErr(u.err)
	root.SetUsageFunc(usage)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err.Error(), cmd.CommandPath() + " --help lists the flags"}
	})
	// A command that is named first needs no other beside it.
	if len(args) > 0 {
		if build := command(args[0]); build != nil {
			root.CompletionOptions.DisableDefaultCmd = true
			root.AddCommand(build(f))
			return root
		}
	}
	for _, name := range []string{"login", "token", "headers", "list", "logout", "clear", "inspect", "proxy", "run", "setup", "import", "client-metadata", "config", "reseal", "demo", "version"} {
		root.AddCommand(command(name)(f))
	}
	return root
}

// command returns what makes the command of a name, nil for a name that is none.
func command(name string) func(*flags) *cobra.Command {
	switch name {
	case "login":
		return newLogin
	case "token":
		return newToken
	case "headers":
		return newHeaders
	case "list", "status":
		return newList
	case "logout":
		return newLogout
	case "clear":
		return newClear
	case "client-metadata":
		return newClientMetadata
	case "config":
		return newConfig
	case "inspect":
		return newInspect
	case "setup":
		return newSetup
	case "run":
		return newRun
	case "proxy":
		return newProxy
	case "import":
		return newImport
	case "reseal":
		return newReseal
	case "demo":
		return newDemo
	case "version":
		return newVersion
	}
	return nil
}

// body is what a command does with the options that its flags led to.
type body func(ctx context.Context, cmd *cobra.Command, args []string, o *mcpoauth.Options) error

// run wraps the body of a command that uses --timeout in its own way: the environment and the configuration file are
// read, and the settings become options.
func (f *flags) run(do body) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		o, err := f.options(cmd, args)
		if err != nil {
			return err
		}
		return do(cmd.Context(), cmd, args, o)
	}
}

// runLimited is run for a command all of which --timeout limits.
func (f *flags) runLimited(do body) func(*cobra.Command, []string) error {
	return f.run(func(ctx context.Context, cmd *cobra.Command, args []string, o *mcpoauth.Options) error {
		if f.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, errTimeout)
			defer cancel()
		}
		err := do(ctx, cmd, args, o)
		if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
			return withHint(errTimeout, "allow more time: --timeout "+f.timeout.String()+" was the limit")
		}
		return err
	})
}

var errTimeout = errors.New("the time limit of --timeout was reached")

// withClient calls body with a client for the server and closes the client afterwards, which
// waits for a save under way.
func (f *flags) withClient(ctx context.Context, server string, o *mcpoauth.Options, body func(*mcpoauth.Client) error) error {
	c, err := mcpoauth.New(server, o)
	if err != nil {
		return newFailed(err)
	}
	err = body(c)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if cerr := c.Close(closing); cerr != nil && err == nil {
		err = cerr
	}
	return err
}

// optionFlags are the flags that set options of the library whose values New may refuse.
var optionFlags = map[string]string{
	"Server.Issuer":      "--auth-server",
	"CacheDir":           "--store",
	"Callback.Host":      "--callback-host",
	"Callback.Path":      "--callback-path",
	"Callback.Port":      "--callback-port",
	"Client.ID":          "--client-id",
	"Client.MetadataURL": "--client-metadata-url",
	"Client.Secret":      "--client-secret-env",
	"Server.Resource":    "--resource",
	"Scopes.Separator":   "--scope-separator",
}

// newFailed tells a wrong URL or flag from a home directory that cannot be had.
func newFailed(err error) error {
	text, hint := trimPrefix(err), mcpoauth.Hint(err)
	option, ok := errors.AsType[*mcpoauth.OptionError](err)
	switch {
	case ok:
		if flag, ok := optionFlags[option.Option]; ok {
			text = flag + ": " + option.Err.Error()
		}
		return &usageError{text, cmp.Or(hint, "mcpoauth COMMAND --help describes the flags")}
	case strings.HasPrefix(text, "server URL"):
		return &usageError{text, cmp.Or(hint, "give the URL of the MCP server, as in https://mcp.example.com/mcp")}
	case hint == "":
		return &usageError{text, "name the directory for logins with --store file:DIR or MCPOAUTH_DIR"}
	}
	return err
}

// exactURL accepts exactly one argument.
func exactURL(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return &usageError{cmd.CommandPath() + " needs the URL of an MCP server", "as in: " + cmd.CommandPath() + " https://mcp.example.com/mcp"}
	}
	return &usageError{cmd.CommandPath() + " accepts one URL, not " + quote(strings.Join(args, " ")), cmd.CommandPath() + " --help"}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{cmd.CommandPath() + " accepts no arguments, but got " + quote(args[0]), cmd.CommandPath() + " --help"}
	}
	return nil
}
