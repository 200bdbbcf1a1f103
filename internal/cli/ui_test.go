package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/keyringstore"
	"github.com/mcpoauth/mcpoauth/store/redisstore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

func plain(_, text string) string { return text }

func TestTableAlignsWideAndCombiningCharacters(t *testing.T) {
	var b bytes.Buffer
	rows := [][]cell{
		{{"SERVER", ""}, {"PROFILE", ""}, {"STATE", ""}},
		{{"https://a.example", ""}, {"日本語", ""}, {"valid", ""}},
		{{"https://bb.example", ""}, {"e\u0301te\u0301", ""}, {"expired", ""}},
		{{"x", ""}, {"", ""}, {"", ""}},
	}
	if err := writeTable(&b, rows, 0, plain); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"SERVER              PROFILE  STATE\n" +
		"https://a.example   日本語   valid\n" +
		"https://bb.example  e\u0301te\u0301      expired\n" +
		"x\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTableCutsTheLastColumnToTheTerminal(t *testing.T) {
	var b bytes.Buffer
	rows := [][]cell{{{"abc", ""}, {"read write 日本語 admin", ""}}}
	if err := writeTable(&b, rows, 20, plain); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSuffix(b.String(), "\n"); displayWidth(got) > 20 || !strings.HasSuffix(got, "…") {
		t.Errorf("%q takes %d columns of 20", got, displayWidth(got))
	}
	if fit("short", 5) != "short" || fit("日本語", 5) != "日本…" || fit("日本語", 4) != "日…" {
		t.Errorf("fit: %q %q %q", fit("short", 5), fit("日本語", 5), fit("日本語", 4))
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{withHint(errInterrupted, "again"), 1},
		{&usageError{"wrong", ""}, 2},
		{&mcpoauth.LoginRequiredError{ServerURL: "https://a.example", Reason: "none"}, 3},
		{fmt.Errorf("x: %w", &mcpoauth.ScopeError{Missing: []string{"a"}}), 3},
		{&mcpoauth.LoginRequiredError{Err: &mcpoauth.TemporaryError{Err: errors.New("dns")}}, 3},
		{&mcpoauth.Error{Op: mcpoauth.OpAuthorization, Err: mcpoauth.ErrAccessDenied}, 4},
		{&mcpoauth.TemporaryError{Err: errors.New("503")}, 5},
		{withHint(errTimeout, ""), 5},
		{mcpoauth.ErrNoOAuth, 1},
		{fmt.Errorf("x: %w", &mcpoauth.OptionError{Option: "Resource", Err: errors.New("wrong")}), 2},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("exit code of %v is %d, want %d", c.err, got, c.want)
		}
	}
}

func TestEveryClassOfErrorHasAHint(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&mcpoauth.LoginRequiredError{ServerURL: "https://a.example/mcp", Profile: "my work"}, "mcpoauth login https://a.example/mcp --profile 'my work'"},
		{&mcpoauth.LoginRequiredError{ServerURL: "https://a.example/$(x)?a&b"}, "mcpoauth login 'https://a.example/$(x)?a&b'"},
		{&mcpoauth.ScopeError{ServerURL: "https://a.example", Missing: []string{"a", "b"}}, "--add-scope 'a b'"},
		{&mcpoauth.ScopeError{ServerURL: "https://a.example/$(x)", Missing: []string{"$(y)"}}, "login 'https://a.example/$(x)' --add-scope '$(y)'"},
		{fmt.Errorf("x: %w", mcpoauth.ErrAccessDenied), "allow"},
		{&mcpoauth.TemporaryError{RetryAfter: 30 * time.Second, Err: errors.New("429")}, "30s"},
		{&mcpoauth.TemporaryError{Err: errors.New("dns")}, "network"},
		{&mcpoauth.TemporaryError{Err: &mcpoauth.Error{Op: mcpoauth.OpToken, Status: 503}}, "server is in trouble"},
		{mcpoauth.ErrNoOAuth, "URL"},
		{&store.CorruptError{}, "log in again"},
		{&store.VersionError{}, "newer"},
		{&mcpoauth.Error{Op: mcpoauth.OpToken, Hint: "the library's own"}, "the library's own"},
		{withHint(&mcpoauth.Error{Op: mcpoauth.OpToken, Hint: "inner"}, "outer"), "outer"},
	} {
		if got := hintFor(c.err); !strings.Contains(got, c.want) {
			t.Errorf("hint for %T: %q, want it to have %q", c.err, got, c.want)
		}
	}
}

// TestScopesThatWereNotGranted are named in the list, cleanly, and nothing is said of a login that has all of them.
func TestScopesThatWereNotGranted(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	u := newUI(nil, &out, &errs)
	st := []*mcpoauth.Status{{ServerURL: "https://a.example/mcp", MissingScopes: []string{"mcp:write"}}, {ServerURL: "https://b.example/mcp"}}
	if err := u.printList(st, nil, false); err != nil || !strings.Contains(errs.String(), `https://a.example/mcp: the server did not grant the requested scopes "mcp:write"`) || strings.Contains(errs.String(), "b.example") {
		t.Errorf("%v, %q", err, &errs)
	}
	out.Reset()
	if err := u.printList(st, nil, true); err != nil || strings.Count(out.String(), `"mcp:write"`) != 1 || !strings.Contains(out.String(), `"missing_scopes": []`) {
		t.Errorf("%v, %s", err, &out)
	}
}

func TestErrorsAreTwoCleanLines(t *testing.T) {
	var b bytes.Buffer
	u := newUI(nil, nil, &b)
	u.fail(withHint(errors.New("mcpoauth: token endpoint said \x1b[2J\u202eevil\r\nmcpoauth: logged in\x9b0m"), "look\nthere\x07"))
	if lines := strings.Split(b.String(), "\n"); len(lines) != 3 || lines[2] != "" ||
		!strings.HasPrefix(lines[0], "mcpoauth: token endpoint") || !strings.HasPrefix(lines[1], "hint: look") {
		t.Errorf("not two lines: %q", b.String())
	}
	mustBePlain(t, b.String())
	b.Reset()
	u.warn("the server said %s", "\x1b[2Jevil\r\nmcpoauth: logged in")
	if !strings.HasPrefix(b.String(), "mcpoauth: warning: the server said ") || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("not one line: %q", b.String())
	}
	mustBePlain(t, b.String())
	b.Reset()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = mcpoauth.TerminalPrompt(nil, u.err, nil)(ended, &mcpoauth.LoginPrompt{URL: "https://d.example/a", VerificationURL: "https://d.example/a", UserCode: "WDJB\x1b[2J\u202e-MJHT"})
	mustBePlain(t, b.String())
}

// mustBePlain fails the test on anything that could move a terminal.
func mustBePlain(t interface{ Errorf(string, ...any) }, s string) {
	for i, r := range s {
		if r < 0x20 && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\ufffd' ||
			r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r >= 0x200b && r <= 0x200f || r == 0x2028 || r == 0xfeff {
			t.Errorf("%U at byte %d of %q", r, i, s)
			return
		}
	}
}

func TestNoColourOnAPipe(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	var b bytes.Buffer
	u := newUI(nil, &b, &b)
	now := time.Now()
	found := []*mcpoauth.Status{
		{ServerURL: "https://a.example/mcp", State: "valid", Expiry: now.Add(time.Hour), Scopes: []string{"x\x1b[31m"}},
		{ServerURL: "https://b.example/mcp", Profile: "work", State: "login-required"},
	}
	if err := u.printList(found, nil, false); err != nil {
		t.Fatal(err)
	}
	mustBePlain(t, b.String())
	if !strings.Contains(b.String(), "PROFILE") {
		t.Errorf("no profile column: %s", b.String())
	}
}

func TestShellWords(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.example/mcp": "https://a.example/mcp", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestFlagsAndEnvironment(t *testing.T) {
	options := func(t *testing.T, args ...string) (*mcpoauth.Options, error) {
		t.Helper()
		f := &flags{u: newUI(nil, &bytes.Buffer{}, &bytes.Buffer{}), args: []string{"x"}}
		cmd := &cobra.Command{Use: "x"}
		f.addAll(cmd)
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		return f.options(cmd, nil)
	}
	t.Run("a flag wins over the environment", func(t *testing.T) {
		t.Setenv("MCPOAUTH_PROFILE", "env")
		t.Setenv("MCPOAUTH_SCOPE", "a b")
		t.Setenv("MCPOAUTH_NO_RESOURCE", "true")
		t.Setenv("MCPOAUTH_AUTH_PARAM", "audience=x y\nprompt=consent")
		o, err := options(t, "--profile", "flag")
		if err != nil {
			t.Fatal(err)
		}
		if o.Profile != "flag" || strings.Join(o.Scopes.Request, "|") != "a|b" || !o.Server.NoResource || o.Server.AuthorizeParams.Get("audience") != "x y" || o.Server.AuthorizeParams.Get("prompt") != "consent" {
			t.Errorf("got %+v", o)
		}
	})
	t.Run("the client secret from the environment belongs to a client", func(t *testing.T) {
		t.Setenv("MCPOAUTH_CLIENT_SECRET", "s3cret")
		if o, err := options(t); err != nil || o.Client.Secret != "" {
			t.Errorf("%v %v", o, err)
		}
		if o, err := options(t, "--client-id", "me"); err != nil || o.Client.Secret != "s3cret" {
			t.Errorf("%v %v", o, err)
		}
	})
	t.Run("headers take the environment's values", func(t *testing.T) {
		t.Setenv("API_KEY", "k: 1")
		o, err := options(t, "--header", "X-Key: pre-${API_KEY}", "--header", "X-Two:2")
		if err != nil || o.Network.Header.Get("X-Key") != "pre-k: 1" || o.Network.Header.Get("X-Two") != "2" {
			t.Errorf("%v %v", o, err)
		}
	})
	t.Run("stores", func(t *testing.T) {
		if o, err := options(t, "--store", "file:/tmp/with:colon"); err != nil || o.CacheDir != "/tmp/with:colon" {
			t.Errorf("%v %v", o, err)
		}
		for _, kind := range []string{"file:", "keyring:hunter2", "redis://u:hunter2@h:port", "redis:hunter2", "postgres:hunter2", "postgres://u:hunter2@h:port/db", "sqlite:hunter2", "FILE"} {
			_, err := options(t, "--store", kind)
			var usage *usageError
			if !errors.As(err, &usage) || usage.hint == "" || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("--store %s: %v", kind, err)
			}
		}
		for kind, want := range map[string]any{
			"keyring": &keyringstore.Store{}, "redis://u:p@h:1/2": &redisstore.Store{}, "rediss://h": &redisstore.Store{}, "valkey://h": &redisstore.Store{},
			"postgres://u:p@h/db": &migrating{}, "postgresql:///db": &migrating{},
		} {
			if o, err := options(t, "--store", kind); err != nil || reflect.TypeOf(o.Store) != reflect.TypeOf(want) {
				t.Errorf("--store %s: %T, %v", kind, o.Store, err)
			}
		}
		t.Setenv("A_KEY", sealed.GenerateKey().Text())
		if o, err := options(t, "--seal", "env:A_KEY"); err != nil || reflect.TypeOf(o.Store) != reflect.TypeFor[*sealed.Store]() {
			t.Errorf("--seal: %T, %v", o.Store, err)
		}
		for _, args := range [][]string{
			{"--seal", "hunter2"},
			{"--seal", "env:"},
			{"--seal", "env:NO_SUCH"},
			{"--seal", "file:/no/such"},
			{"--seal", "passphrase-env:NO_SUCH"},
			{"--seal", "other:x"},
			{"--seal", "keyring:hunter2"},
			{"--store", "keyring", "--seal", "env:A_KEY"},
		} {
			_, err := options(t, args...)
			var usage *usageError
			if !errors.As(err, &usage) || usage.hint == "" || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v: %v", args, err)
			}
		}
	})
	t.Run("a secret file is one line, however it ends", func(t *testing.T) {
		for text, want := range map[string]string{"s3cret": "s3cret", "s3cret\n": "s3cret", "s3cret\r\n": "s3cret", " s 3 ": " s 3 ", "": "", "\n": "", "s3cret\nmore": "", "s3cret\x00": ""} {
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			o, err := options(t, "--client-id", "me", "--client-secret-file", file)
			var usage *usageError
			if want != "" && (err != nil || o.Client.Secret != want) || want == "" && !errors.As(err, &usage) {
				t.Errorf("%q: %v", text, err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the secret is in %v", err)
			}
		}
	})
	t.Run("refused", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("EMPTY", "")
		noCert, long, key := filepath.Join(dir, "no.pem"), filepath.Join(dir, "long"), filepath.Join(dir, "key.pem")
		priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(priv)
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{noCert: []byte("no certificate"), long: bytes.Repeat([]byte("x"), maxFile+1), key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{
			{"--resource", "https://a", "--no-resource"},
			{"--offline-access", "perhaps"},
			{"--log-level", "loud"},
			{"--timeout", "-1s"},
			{"--auth-param", "novalue"},
			{"--token-param", "=x"},
			{"--header", "no colon"},
			{"--header", "X: ${EMPTY}"},
			{"--header", "X: ${unclosed"},
			{"--ca-file", dir},
			{"--ca-file", dir + "/none"},
			{"--client-key", dir},
			{"--client-secret-env", "EMPTY", "--client-id", "x"},
			{"--client-secret-file", dir + "/none"},
			{"--client-secret-env", "PATH"},
			{"--client-secret-env", "PATH", "--client-secret-file", "x"},
			{"--initial-access-token-file", "/dev/null"},
			{"--client-secret-env", "PATH", "--client-secret-file", noCert, "--client-id", "x"},
			{"--client-secret-file", long, "--client-id", "x"},
			{"--header", "X Y: 1"},
			{"--header", ": 1"},
			{"--header", "X: 1\r\nY: 2"},
			{"--header", "X: 1\x7f"},
			{"--assertion-header", "X: 1\nY: 2", "--assertion-url", "https://a.example"},
			{"--header", "X: ${PATH"},
			{"--ca-file", noCert},
			{"--client-key-file", key},
			{"--client-key-file", noCert, "--client-id", "x"},
			{"--client-key-file", key, "--client-id", "x", "--client-key-audience", "both"},
			{"--assertion-env", "PATH", "--assertion-file", noCert},
			{"--assertion-env", "PATH", "--grant", "client-credentials"},
			{"--assertion-env", "PATH", "--grant", "device-code"},
		} {
			_, err := options(t, args...)
			var usage *usageError
			if !errors.As(err, &usage) || usage.hint == "" {
				t.Errorf("%q: %v", args, err)
			}
		}
	})
	t.Run("a bad variable is named and its value is not shown", func(t *testing.T) {
		t.Setenv("MCPOAUTH_CALLBACK_PORT", "hunter2")
		_, err := options(t)
		if err == nil || !strings.Contains(err.Error(), "MCPOAUTH_CALLBACK_PORT") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	})
}

// TestNoBrowserMeansNone, for login and for the bridge: the address is printed, and nothing is started.
func TestNoBrowserMeansNone(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	script := filepath.Join(t.TempDir(), "browser")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n: > "+started+"\n"), 0o700); err != nil { // a program
		t.Fatal(err)
	}
	t.Setenv("BROWSER", script)
	lp := &mcpoauth.LoginPrompt{URL: "https://as.example/a?x=y", RedirectURI: "http://127.0.0.1:8910/callback", ServerURL: "https://mcp.example/mcp", Issuer: "https://as.example"}
	for _, noBrowser := range []bool{true, false} {
		for name, prompt := range map[string]func(*ui) mcpoauth.Prompt{
			"login": func(u *ui) mcpoauth.Prompt {
				return mcpoauth.TerminalPrompt(u.in, u.err, &mcpoauth.TerminalOptions{NoBrowser: noBrowser})
			},
			"proxy": func(u *ui) mcpoauth.Prompt { return (&bridging{f: &flags{u: u}, noBrowser: noBrowser}).prompt },
		} {
			_ = os.Remove(started)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if noBrowser {
				ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			seen := make(chan bool, 1)
			go func() {
				defer cancel()
				for ctx.Err() == nil {
					if _, err := os.Stat(started); err == nil {
						seen <- true
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
				seen <- false
			}()
			var b syncBuffer
			_, _ = prompt(newUI(strings.NewReader(""), io.Discard, &b))(ctx, lp)
			if got := <-seen; got == noBrowser || !strings.Contains(b.String(), lp.URL) {
				t.Errorf("%s, --no-browser=%t: a browser was started: %t; %s", name, noBrowser, got, b.String())
			}
		}
	}
}

func TestPromptAsksAgainAfterAWrongPaste(t *testing.T) {
	var b bytes.Buffer
	in := strings.NewReader("\nhttp://127.0.0.1:1/callback?state=wrong\n\x1b[2J\nhttp://127.0.0.1:1/callback?state=right\n")
	prompt := mcpoauth.TerminalPrompt(in, newUI(in, nil, &b).err, &mcpoauth.TerminalOptions{NoBrowser: true})
	reply, err := prompt(context.Background(), &mcpoauth.LoginPrompt{
		URL: "https://as.example/authorize?x=y", ServerURL: "https://mcp.example/mcp", Issuer: "https://as.example", TokenHost: "token.example\x1b[31m",
		RedirectURI: "http://127.0.0.1:8910/callback", Scopes: []string{"a", "b"}, Deadline: time.Now().Add(time.Minute),
		Check: func(r *mcpoauth.LoginReply) error {
			if !strings.HasSuffix(r.RedirectURL, "state=right") {
				return errors.New("it belongs to \x1b]0;another\x07 login")
			}
			return nil
		},
	})
	if err != nil || !strings.HasSuffix(reply.RedirectURL, "right") {
		t.Fatalf("%v %v", reply, err)
	}
	mustBePlain(t, b.String())
	for _, want := range []string{"https://mcp.example/mcp", "https://as.example/authorize?x=y\n", "code to   token.example", "scopes    a b", "ssh -L 8910:127.0.0.1:8910 "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing from\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "that is not it"); n != 2 {
		t.Errorf("%d refusals shown, want 2:\n%s", n, b.String())
	}
}

func TestPromptReturnsWhenTheLoginWasSettled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	u := newUI(strings.NewReader(""), nil, &bytes.Buffer{})
	if _, err := mcpoauth.TerminalPrompt(u.in, u.err, &mcpoauth.TerminalOptions{NoBrowser: true})(ctx, &mcpoauth.LoginPrompt{URL: "https://as.example/a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
