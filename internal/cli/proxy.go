package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/browser"
	"github.com/mcpoauth/mcpoauth/internal/proxy"
	"github.com/mcpoauth/mcpoauth/store"
)

// bridging is the proxy command at work.
type bridging struct {
	f                     *flags
	loginWait             time.Duration
	noBrowser, loginFirst bool
	ignoreTools           []string
	transport             string
	stepUp                string
	// unpublished means that a browser was opened for scopes that the server does not publish.
	unpublished atomic.Bool
	maxMessage  int64
	alias       aliases
}

// aliases are what mcp-remote and fastmcp-remote call our flags.
type aliases struct {
	host, verify, auth           string
	authTimeout                  float64
	staticMetadata, staticClient string
	allowHTTP, enableProxy       bool
	debug, silent                bool
}

func newProxy(f *flags) *cobra.Command {
	b := &bridging{f: f}
	cmd := &cobra.Command{
		Use:   "proxy URL [CALLBACK-PORT]",
		Short: "carry MCP between a stdio host and a remote server",
		Long: `Carry MCP between a host that starts programs and speaks to them by stdin and stdout, and a remote
server that requires OAuth. The login is shared with every other mcpoauth command and all other bridges.
If one is needed, the address is printed and the browser opened when the host's first request waits for
it; after --login-wait the host is told that a login is required, and the login goes on.

The arguments of mcp-remote and fastmcp-remote are accepted unchanged: in a host's configuration
"npx mcp-remote URL …" becomes "mcpoauth proxy URL …".`,
		Example: `  mcpoauth proxy https://mcp.example.com/mcp
  mcpoauth proxy https://mcp.example.com/mcp --header 'X-Tenant: ${TENANT}' --ignore-tool 'delete*'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return &usageError{"mcpoauth proxy needs the URL of an MCP server", "as in: mcpoauth proxy https://mcp.example.com/mcp"}
		},
	}
	fs := cmd.Flags()
	fs.DurationVar(&b.loginWait, "login-wait", 25*time.Second, "`TIME` that a request waits for a login before the host is told that one is required")
	fs.BoolVar(&b.noBrowser, "no-browser", false, "print the login's address and open no browser")
	b.addStepUp(fs)
	fs.BoolVar(&b.loginFirst, "login-first", false, "log in before the host's first message is read")
	fs.StringArrayVar(&b.ignoreTools, "ignore-tool", nil, "hide tools of this `NAME` from the host; * stands for anything (repeatable)")
	fs.StringVar(&b.transport, "transport", "http-first", "`TRANSPORT` to use: http-first, sse-first, http-only or sse-only")
	fs.Int64Var(&b.maxMessage, "max-message", 64<<20, "largest message in `BYTES`")
	for _, own := range []string{"login-wait", "no-browser", "step-up", "login-first", "ignore-tool", "transport", "max-message"} {
		fs.Lookup(own).Annotations = map[string][]string{envFlag: nil}
	}
	a := &b.alias
	fs.StringVar(&a.host, "host", "", "")
	fs.Float64Var(&a.authTimeout, "auth-timeout", 0, "")
	fs.StringVar(&a.staticMetadata, "static-oauth-client-metadata", "", "")
	fs.StringVar(&a.staticClient, "static-oauth-client-info", "", "")
	fs.BoolVar(&a.allowHTTP, "allow-http", false, "")
	fs.BoolVar(&a.enableProxy, "enable-proxy", false, "")
	fs.StringVar(&a.verify, "verify", "", "")
	fs.StringVar(&a.auth, "auth", "", "")
	fs.BoolVar(&a.debug, "debug", false, "")
	fs.BoolVar(&a.silent, "silent", false, "")
	for _, hidden := range []string{"host", "auth-timeout", "static-oauth-client-metadata", "static-oauth-client-info", "allow-http", "enable-proxy", "verify", "auth", "debug", "silent"} {
		fs.Lookup(hidden).Hidden = true
	}
	f.addAll(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.translate(cmd, args); err != nil {
			return err
		}
		return f.run(b.run)(cmd, args)
	}
	return cmd
}

// translate turns the other programs' arguments into ours. What means nothing here is said.
func (b *bridging) translate(cmd *cobra.Command, args []string) error {
	f, a := b.f, &b.alias
	given := map[string]string{}
	if len(args) == 2 {
		port, err := strconv.Atoi(args[1])
		if err != nil || port < 1 || port > 65535 {
			return &usageError{"invalid callback port " + quote(args[1]), "as in: mcpoauth proxy " + quote(args[0]) + " 3334"}
		}
		given["callback-port"] = args[1]
	}
	if a.host != "" {
		given["callback-host"] = a.host
	}
	if a.authTimeout > 0 {
		given["timeout"] = time.Duration(a.authTimeout * float64(time.Second)).String()
	}
	if a.allowHTTP {
		given["allow-insecure-http"] = "true"
	}
	for name, value := range given {
		// As if given by its own name: environment and configuration file count less.
		if err := cmd.Flags().Set(name, value); err != nil {
			return &usageError{"invalid value " + quote(value) + " for --" + name, "mcpoauth proxy --help"}
		}
	}
	if a.debug {
		f.logLevel = "debug"
	}
	if a.enableProxy {
		b.note("--enable-proxy is not needed: HTTPS_PROXY, HTTP_PROXY and NO_PROXY are always honoured")
	}
	switch strings.ToLower(a.verify) {
	case "", "true", "1", "yes", "on":
	case "false", "0", "no", "off":
		return &usageError{"--verify false is not supported: anyone on the network path could read the tokens", "give the server's certificate authority: --ca-file FILE"}
	default:
		f.caFile = a.verify
	}
	if err := b.translateClient(); err != nil {
		return err
	}
	return nil
}

func (b *bridging) note(format string, args ...any) {
	if !b.alias.silent {
		b.f.u.say("mcpoauth: "+format, args...)
	}
}

// translateClient reads the clients that mcp-remote takes as JSON, or as @FILE.
func (b *bridging) translateClient() error {
	f := b.f
	if v := b.alias.staticMetadata; v != "" {
		var m map[string]any
		if err := jsonArgument("--static-oauth-client-metadata", v, &m); err != nil {
			return err
		}
		if name, ok := m["client_name"].(string); ok && f.clientName == "" {
			f.clientName = name
		}
		if scope, ok := m["scope"].(string); ok && len(f.scopes) == 0 {
			f.scopes = []string{scope}
		}
		f.clientMetadata = m
	}
	if v := b.alias.staticClient; v != "" {
		var c struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		}
		if err := jsonArgument("--static-oauth-client-info", v, &c); err != nil {
			return err
		}
		if c.ID == "" {
			return &usageError{"--static-oauth-client-info has no client_id", `as in '{"client_id": "…"}', or @FILE`}
		}
		f.clientID, f.clientSecret = c.ID, c.Secret
		if c.Secret != "" && !strings.HasPrefix(v, "@") {
			f.u.warn("a secret on a command line can be read by every user of this machine; put it into a file and give @FILE, or use --client-secret-env")
		}
	}
	return nil
}

// jsonArgument decodes an argument that is JSON, or @ and the name of a file with it.
func jsonArgument(flag, value string, v any) error {
	text := []byte(value)
	if name, ok := strings.CutPrefix(value, "@"); ok {
		var err error
		if text, err = readFile(flag, name); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(text, v); err != nil {
		return &usageError{flag + " is not a JSON object", "give JSON, or @ and the name of a file that holds it"}
	}
	return nil
}

func (b *bridging) mode() (proxy.Mode, error) {
	switch b.transport {
	case "http-first", "":
		return proxy.HTTPFirst, nil
	case "sse-first":
		return proxy.SSEFirst, nil
	case "http-only", "http":
		return proxy.HTTPOnly, nil
	case "sse-only", "sse":
		return proxy.SSEOnly, nil
	}
	return 0, invalidValue("--transport", b.transport, "http-first, sse-first, http-only or sse-only")
}

// addStepUp adds the flag that says which step-ups open a browser.
func (b *bridging) addStepUp(fs *pflag.FlagSet) {
	fs.StringVar(&b.stepUp, "step-up", "auto", "`WHEN` a demand for further scopes opens a browser: auto (once for scopes that the server does not publish), always or never")
}

// checkStepUp returns an error for a value that --step-up does not have.
func (b *bridging) checkStepUp() error {
	_, err := mode("--step-up", b.stepUp)
	return err
}

// unasked returns an error for a step-up that may not open a browser without being asked to: docs/bridge.md says which.
func (b *bridging) unasked(lp *mcpoauth.LoginPrompt) error {
	scopes := lp.Unpublished
	if b.stepUp == "never" {
		scopes = lp.StepUp
	}
	if len(scopes) == 0 || b.stepUp == "always" || b.noBrowser {
		return nil
	}
	if b.stepUp != "never" && !b.unpublished.Load() {
		return nil
	}
	command := "mcpoauth login " + shellWord(lp.ServerURL)
	if lp.Profile != "" {
		command += " --profile " + shellWord(lp.Profile)
	}
	for _, scope := range scopes {
		command += " --add-scope " + shellWord(scope)
	}
	why := "another demand for scopes that the server does not publish"
	if b.stepUp == "never" {
		why = "a demand for further scopes"
	}
	return &mcpoauth.Error{
		Op: mcpoauth.OpAuthorization, URL: lp.ServerURL, Code: "insufficient_scope", Err: mcpoauth.ErrAccessDenied,
		Message: why + " opens no browser by itself: " + strings.Join(cleanAll(scopes), " "),
		Hint:    "if you want to allow them: " + command + "; --step-up always opens the browser",
	}
}

func (b *bridging) run(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
	f := b.f
	mode, err := b.mode()
	if err == nil {
		err = b.checkStepUp()
	}
	if err != nil {
		return err
	}
	if o.Logger == nil && !b.alias.silent {
		o.Logger = slog.New(slog.NewTextHandler(f.u.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	// Two clients share the login through the store: one sends and never asks anybody, the other
	// logs in when the bridge says so.
	asking := *o
	asking.LoginTimeout = f.timeout
	asking.Prompt = b.prompt
	return f.withClient(ctx, args[0], o, func(quiet *mcpoauth.Client) error {
		return f.withClient(ctx, args[0], &asking, func(login *mcpoauth.Client) error {
			if b.loginFirst {
				if _, err := login.Login(ctx, nil); err != nil {
					return err
				}
				f.u.endWait()
			}
			hc := quiet.HTTPClient()
			hc.Transport = &mcpoauth.Transport{Client: quiet, Sending: proxy.SameLogin, Cookies: true}
			opt := &proxy.Options{
				URL: args[0], HTTP: hc, Classify: classify, LoginCommand: "mcpoauth login " + shellWord(quiet.ServerURL()),
				LoginWait: b.loginWait, IgnoreTools: b.ignoreTools, Mode: mode, MaxMessage: b.maxMessage, Logger: o.Logger,
				Login: func(ctx context.Context, cause error) error {
					err := b.login(ctx, login, cause)
					f.u.endWait()
					return err
				},
			}
			if auth := o.Network.Header.Get("Authorization"); auth != "" || b.alias.auth == "none" {
				// A host that brings credentials of its own wants no others.
				opt.Header, opt.HTTP, opt.Login = http.Header{}, quiet.HTTPClient(), nil
				if auth != "" {
					opt.Header.Set("Authorization", auth)
				}
			}
			in, done := polled(f.u.in)
			defer done()
			err := proxy.Run(ctx, in, f.u.out, opt)
			if errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted) {
				return nil // who ends a bridge has ended it
			}
			return err
		})
	})
}

// login logs in for the scopes that are missing.
func (b *bridging) login(ctx context.Context, c *mcpoauth.Client, cause error) error {
	opts := &mcpoauth.LoginOptions{}
	if scope, ok := errors.AsType[*mcpoauth.ScopeError](cause); ok {
		opts.Scopes = scope.Missing
	}
	_, err := c.Login(ctx, opts)
	if err != nil && ctx.Err() == nil {
		b.f.u.warn("%s", trimPrefix(err))
		b.f.u.hint(hintFor(err))
	}
	return err
}

// prompt shows a login where standard input belongs to the host or to the program that was started.
func (b *bridging) prompt(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	if err := b.unasked(lp); err != nil && !proxy.CanAskHost(ctx) {
		return nil, err
	}
	return mcpoauth.TerminalPrompt(nil, b.f.u.err, &mcpoauth.TerminalOptions{
		QR:          mcpoauth.Never,
		OpenBrowser: func(ctx context.Context, address string) error { return b.open(ctx, lp, address) },
	})(ctx, lp)
}

// open asks the host to open the address, and opens a browser if the host cannot.
func (b *bridging) open(ctx context.Context, lp *mcpoauth.LoginPrompt, address string) error {
	if action, done, ok := proxy.AskHost(ctx, clean(lp.ServerURL)+" needs a login at "+clean(lp.Issuer)+".", address); ok {
		if action != "accept" {
			return fmt.Errorf("%w: the login was declined in the host", mcpoauth.ErrAccessDenied)
		}
		<-ctx.Done() // the login is over, one way or the other
		done()
		return nil
	}
	if err := b.unasked(lp); err != nil {
		return err // the host could not ask after all
	}
	if b.noBrowser {
		return nil
	}
	if len(lp.Unpublished) > 0 {
		b.unpublished.Store(true)
	}
	if ok, why := browser.Available(); !ok {
		return errors.New(why)
	}
	return browser.Open(ctx, address, browser.Options{WithoutEnv: b.f.secretEnv})
}

// classify says what an error of the library means for a request of the host's.
func classify(err error) proxy.Failure {
	var f proxy.Failure
	step, failed := errors.AsType[*mcpoauth.Error](err)
	scope, missing := errors.AsType[*mcpoauth.ScopeError](err)
	temporary, passes := errors.AsType[*mcpoauth.TemporaryError](err)
	if failed && (step.Op == mcpoauth.OpAuthorization || step.Op == mcpoauth.OpToken) {
		f.Code = step.Code
	}
	switch {
	case errors.Is(err, mcpoauth.ErrAccessDenied):
		f.Kind = proxy.FailedDenied
	case missing && scope.Asked:
		f.Kind, f.Code = proxy.FailedDenied, "insufficient_scope"
	case missing, errors.Is(err, mcpoauth.ErrLoginRequired), is[*store.CorruptError](err): // a login replaces it
		f.Kind = proxy.FailedLogin
	case errors.Is(err, mcpoauth.ErrTokenRejected):
		f.Kind = proxy.FailedRejected
	case passes:
		f.Kind, f.RetryAfter = proxy.FailedTemporary, temporary.RetryAfter
	case failed, is[*fs.PathError](err), mcpoauth.Hint(err) != "", errors.Is(err, mcpoauth.ErrClosed):
		// A store that cannot be read, a key that is missing, a setting: what the network says comes without a hint.
		f.Kind = proxy.FailedOther
	}
	return f
}
