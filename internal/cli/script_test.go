package cli

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/testserver"
)

func TestMain(m *testing.M) {
	if strings.Contains(filepath.Base(os.Args[0]), ".test") {
		testserver.Parallel(6)
		testserver.ClearSettings()
		if err := os.Setenv("XDG_CONFIG_HOME", filepath.Join(os.TempDir(), "mcpoauth-tests-have-none")); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){
		"mcpoauth": func() {
			beforeMain()
			os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
		"testbrowser": testBrowser,
		"testprogram": testProgram,
	})
}

type serverKey struct{}

// noRaceSleep is for GORACE: under the race detector each program would end a second late.
const noRaceSleep = "atexit_sleep_ms=0"

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Getuid() == 0, nil
			}
			return false, errors.New("unknown condition " + cond)
		},
		Setup: setup,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status":        status,
			"clean":         sweep,
			"damage":        damage,
			"visits":        counter("authorize"),
			"registrations": counter("registration"),
			"refreshes":     counter("refresh"),
			"revocations":   counter("revocation"),
			"revoke-all":    func(ts *testscript.TestScript, _ bool, _ []string) { serverOf(ts).RevokeAll() },
			"sleep":         pause,
			"down":          func(ts *testscript.TestScript, _ bool, _ []string) { serverOf(ts).Close() },
			"revoked":       revoked,
			"short-lived":   shortLived,
			"substitute":    substitute,
		},
	})
}

// substitute replaces $MCP in a file by the server's URL.
func substitute(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "$MCP", ts.Getenv("MCP"))), 0o600))
}

func setup(env *testscript.Env) error {
	srv, err := authtest.Start(nil)
	if err != nil {
		return err
	}
	env.Defer(srv.Close)
	env.Values[serverKey{}] = srv
	bound, err := authtest.Start(&authtest.Options{DPoP: true})
	if err != nil {
		return err
	}
	env.Defer(bound.Close)
	bound.Set(func(f *authtest.Faults) { f.NonceUses = 2 })

	bin, err := exec.LookPath("testbrowser")
	if err != nil {
		return err
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mcp" {
			http.NotFound(w, r)
		}
	}))
	env.Defer(open.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/mcp" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write([]byte("<!doctype html><html><title>Welcome</title></html>"))
	}))
	env.Defer(page.Close)
	escapes := httptest.NewServer(hostile())
	env.Defer(escapes.Close)

	for k, v := range map[string]string{
		"MCP": srv.MCPURL(), "BOUND": bound.MCPURL(), "CLOSED": closed.URL + "/mcp", "OPEN": open.URL + "/mcp", "HTML": page.URL + "/mcp", "ESCAPES": escapes.URL + "/mcp",
		"BROWSER": "testbrowser", "TESTBROWSER": "", "HOME": env.WorkDir, "MCPOAUTH_DIR": filepath.Join(env.WorkDir, "logins"),
		"GORACE": noRaceSleep, "BIN": filepath.Dir(bin), "SSH_CONNECTION": "", "USER": "ann", "NO_PROXY": "127.0.0.1,localhost",
	} {
		env.Setenv(k, v)
	}
	return nil
}

// nasty is what a server may put into any text of its own.
const nasty = "\x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\u202eevil\u200b\u0085\u2028\r\nmcpoauth: logged in\x7f"

// hostile is a server whose every text attacks the terminal.
func hostile() http.Handler {
	quoted := strconv.QuoteToASCII(nasty)
	for from, to := range map[string]string{`\x1b`: `\u001b`, `\a`: `\u0007`, `\x7f`: `\u007f`} {
		quoted = strings.ReplaceAll(quoted, from, to)
	}
	doc := func(w http.ResponseWriter, origin string, status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(strings.NewReplacer("ORIGIN", origin, "NASTY", quoted).Replace(body)))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := "http://" + r.Host
		switch {
		case r.URL.Path == "/mcp":
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="`+"\x1b[31m\u202e"+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-protected-resource"):
			doc(w, origin, 200, `{"resource":"ORIGIN/mcp","authorization_servers":["ORIGIN"],"resource_name":NASTY}`)
		case strings.HasPrefix(r.URL.Path, "/.well-known/"):
			doc(w, origin, 200, `{"issuer":"ORIGIN","authorization_endpoint":"ORIGIN/a","token_endpoint":"ORIGIN/t","registration_endpoint":"ORIGIN/r",
				"response_types_supported":["code"],"code_challenge_methods_supported":["S256"],"service_documentation":NASTY}`)
		default:
			doc(w, origin, 400, `{"error":"invalid_client_metadata","error_description":NASTY,"error_uri":NASTY}`)
		}
	})
}

func serverOf(ts *testscript.TestScript) *authtest.Server {
	return ts.Value(serverKey{}).(*authtest.Server)
}

// status CODE[,CODE] CMD… runs a command that must end with one of the exit codes.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE[,CODE] command…")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	for want := range strings.SplitSeq(args[0], ",") {
		if strconv.Itoa(code) == want {
			return
		}
	}
	ts.Fatalf("exit code %d, want %s\nstdout: %s\nstderr: %s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
}

// sweep looks at the last command's output for secrets and for what could move a terminal.
func sweep(ts *testscript.TestScript, _ bool, _ []string) {
	for _, name := range []string{"stdout", "stderr"} {
		text := ts.ReadFile(name)
		if s := leaked(serverOf(ts), text); s != "" {
			ts.Fatalf("%s shows a secret (%.6s…):\n%s", name, s, text)
		}
		mustBePlain(fatalf(ts.Fatalf), text)
	}
}

type fatalf func(string, ...any)

func (f fatalf) Errorf(format string, args ...any) { f(format, args...) }

// damage cuts every record in a directory short.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.json"))
	if err != nil || len(files) == 0 {
		ts.Fatalf("no records in %s: %v", args[0], err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		ts.Check(err)
		ts.Check(os.Truncate(f, info.Size()/2))
	}
}

// counter makes a command that compares how often the server saw a leg.
func counter(leg string) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		if got := strconv.Itoa(serverOf(ts).Count(leg)); got != args[0] {
			ts.Fatalf("the server saw %s %s requests, want %s", got, leg, args[0])
		}
	}
}

// revoked checks that the server was told of a logout.
func revoked(ts *testscript.TestScript, _ bool, _ []string) {
	if serverOf(ts).Count("revocation") == 0 {
		ts.Fatalf("the server was told nothing")
	}
}

// leaked returns a secret of the server that is in text, the printed address apart, which has to have
// its state.
func leaked(srv *authtest.Server, text string) string {
	text = addressPattern.ReplaceAllString(text, "")
	for _, s := range srv.Secrets() {
		if strings.Contains(text, s) {
			return s
		}
	}
	return ""
}

// shortLived makes the tokens of the server live a second, or (off) an hour again.
func shortLived(ts *testscript.TestScript, _ bool, args []string) {
	serverOf(ts).Set(func(f *authtest.Faults) {
		f.TokenAnswer = func(m map[string]any) { m["expires_in"] = 1 }
		if len(args) > 0 {
			f.TokenAnswer = nil
		}
	})
}

func pause(ts *testscript.TestScript, _ bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}
