package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/secret"
)

// exitError carries the exit code of the program that run has started.
type exitError struct{ code int }

func (e *exitError) Error() string { return "the program failed" }

func newRun(f *flags) *cobra.Command {
	b := &bridging{f: f}
	cmd := &cobra.Command{
		Use:   "run URL -- COMMAND [ARGUMENT…]",
		Short: "start a program that speaks HTTP but no OAuth",
		Long: `Start a program with the address of a local proxy in its environment (MCPOAUTH_URL), which adds the access
token to each request and forwards it to the server. The address contains a random key, and only this
machine can reach it. The exit code is the program's.`,
		Example: `  mcpoauth run https://mcp.example.com/mcp -- sh -c 'curl -s "$MCPOAUTH_URL" -d @request.json'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(programOf(args)) > 0 {
				return nil
			}
			return &usageError{"mcpoauth run needs the URL of an MCP server and a command", "as in: mcpoauth run https://mcp.example.com/mcp -- COMMAND"}
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().BoolVar(&b.noBrowser, "no-browser", false, "print the login's address and open no browser")
	b.addStepUp(cmd.Flags())
	for _, own := range []string{"no-browser", "step-up"} {
		cmd.Flags().Lookup(own).Annotations = map[string][]string{envFlag: nil}
	}
	f.addAll(cmd)
	cmd.RunE = f.run(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		if err := b.checkStepUp(); err != nil {
			return err
		}
		o.LoginTimeout, o.Prompt = f.timeout, b.prompt
		return f.withClient(ctx, args[0], o, func(c *mcpoauth.Client) error {
			return f.runProgram(ctx, c, programOf(args))
		})
	})
	return cmd
}

// programOf is the command after the URL, and after the -- that may stand between.
func programOf(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	argv := args[1:]
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	return argv
}

// runProgram serves the gate as long as the program runs.
func (f *flags) runProgram(ctx context.Context, c *mcpoauth.Client, argv []string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return withHint(err, "the loopback interface is needed")
	}
	g, err := newGate(f.u, c, ln.Addr().String())
	if err != nil {
		_ = ln.Close()
		return err
	}
	srv := &http.Server{Handler: g, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(ln) }()
	defer func() {
		_ = srv.Close()
		<-served
	}()

	//nolint:gosec,noctx // the person's own command; it is ended below, by a signal that it may handle
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f.u.in, f.u.out, f.u.err.Unwrap()
	cmd.Env = append(secret.Environ(os.Environ(), f.secretEnv), "MCPOAUTH_URL="+g.url())
	if f.u.watch != nil {
		<-f.u.watch() // a signal before that would end only us and leave the program behind
	}
	if err := cmd.Start(); err != nil {
		return &usageError{"the program cannot be started: " + trimPrefix(err), "give its name or path after --"}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err = <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			err = <-ended
		}
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &exitError{max(exit.ExitCode(), 1)}
	}
	return err
}

// gate is the address on this machine that stands for the server.
type gate struct {
	u     *ui
	host  string
	path  string
	proxy *httputil.ReverseProxy
}

func newGate(u *ui, c *mcpoauth.Client, host string) (*gate, error) {
	server, err := url.Parse(c.ServerURL())
	if err != nil {
		return nil, err
	}
	g := &gate{u: u, host: host, path: "/" + rand.Text()}
	g.proxy = &httputil.ReverseProxy{
		Transport:     &mcpoauth.Transport{Client: c, Cookies: true},
		FlushInterval: -1, // event streams
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			out := *server
			out.Path += strings.TrimPrefix(r.In.URL.Path, g.path)
			if q := r.In.URL.RawQuery; q != "" {
				out.RawQuery = strings.TrimPrefix(out.RawQuery+"&"+q, "&")
			}
			r.Out.URL, r.Out.Host = &out, ""
			// What the program knows of credentials is for the gate, not for the server.
			r.Out.Header.Del("Authorization")
			r.Out.Header.Del("Cookie")
			r.Out.Header.Del("Origin")
		},
		ErrorHandler: g.failed,
	}
	return g, nil
}

func (g *gate) url() string { return "http://" + g.host + g.path }

// ServeHTTP lets in who knows the key. Another name for this machine in Host, or a page's Origin, mean
// that a browser was led here.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if r.Host != g.host || origin != "" && origin != "http://"+g.host {
		http.Error(w, "only local requests to this address are accepted", http.StatusForbidden)
		return
	}
	if r.URL.Path != g.path && !strings.HasPrefix(r.URL.Path, g.path+"/") || strings.Contains(r.URL.Path, "/../") || strings.HasSuffix(r.URL.Path, "/..") {
		http.NotFound(w, r)
		return
	}
	g.proxy.ServeHTTP(w, r)
}

// failed answers with fixed words: what the authorization server says is for the person.
func (g *gate) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	g.u.warn("%s", trimPrefix(err))
	g.u.hint(hintFor(err))
	status, text := http.StatusBadGateway, "mcpoauth: the server cannot be reached"
	switch {
	case errors.Is(err, mcpoauth.ErrLoginRequired), is[*mcpoauth.ScopeError](err):
		text = "mcpoauth: a login is required"
	case errors.Is(err, mcpoauth.ErrAccessDenied):
		text = "mcpoauth: access was denied"
	case errors.Is(err, mcpoauth.ErrTemporary):
		status, text = http.StatusServiceUnavailable, "mcpoauth: try again later"
	}
	http.Error(w, text, status)
}
