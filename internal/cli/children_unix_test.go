//go:build unix

package cli

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestNoProgramInheritsWhatASettingNames: the browser, the program of run and an assertion's command get no variable
// that a setting names because it holds a secret, wherever the setting stands.
func TestNoProgramInheritsWhatASettingNames(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	srv.AddClient(authtest.Client{ID: "known", Secret: "canary-client", RedirectURIs: []string{"http://127.0.0.1/callback"}})
	dir := t.TempDir()
	secrets := map[string]string{
		"CORP_CLIENT": "canary-client", "CORP_PASSPHRASE": "canary-passphrase, of a decent length", "CORP_HEADER": "canary-header",
		"CORP_OTHER": "canary-of-another-server", "CORP_IDP": "canary-idp",
	}
	for name, value := range secrets {
		t.Setenv(name, value)
	}
	t.Setenv("CORP_PLAIN", "stays")
	config := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(config, []byte("[server.\"https://other.example/mcp\"]\nclient-id = \"x\"\nclient-secret-env = \"CORP_OTHER\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MCPOAUTH_HEADER", "X-Key: ${CORP_HEADER}")
	common := []string{srv.MCPURL(), "--config", config, "--client-id", "known", "--client-secret-env", "CORP_CLIENT", "--seal", "passphrase-env:CORP_PASSPHRASE", "--idp-client-secret-env", "CORP_IDP"}
	note := filepath.Join(dir, "environment")
	noted := func(what string) {
		t.Helper()
		env := await(t, note)
		_ = os.Remove(note)
		for line := range strings.Lines(env) {
			if strings.Contains(line, "canary") || strings.HasPrefix(line, "MCPOAUTH_HEADER") {
				t.Errorf("%s inherits %s", what, line)
			}
		}
		if !strings.Contains(env, "CORP_PLAIN=stays") {
			t.Errorf("%s lacks the rest of the environment", what)
		}
	}
	write := filepath.Join(dir, "note-environment")
	if err := os.WriteFile(write, []byte("#!/bin/sh\nenv > '"+note+".tmp' && mv '"+note+".tmp' '"+note+"'\ncase $1 in http*) exec testbrowser \"$1\";; esac\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BROWSER", write)
	start := func(args ...string) {
		t.Helper()
		var errs syncBuffer
		if code := Main(args, strings.NewReader(""), io.Discard, &errs); code != exitDone {
			t.Errorf("%v: %d, %s", args[:1], code, &errs)
		}
	}
	start(append([]string{"login"}, common...)...)
	noted("the browser of login")
	h := bridge(t, append(slices.Clone(common), "--profile", "bridge")...)
	if m := h.ask(initialize); m["result"] == nil {
		t.Errorf("%v; %s", m, h.errs)
	}
	h.end()
	noted("the browser of proxy")
	start(slices.Concat([]string{"run"}, common[1:], common[:1], []string{"--", write})...)
	noted("the program of run")
	var errs syncBuffer
	code := Main(slices.Concat([]string{"token"}, common, []string{"--profile", "machine", "--assertion-command", write}), strings.NewReader(""), io.Discard, &errs)
	if code == exitUsage {
		t.Errorf("%d, %s", code, &errs) // the command prints no assertion
	}
	noted("an assertion's command")
}

// TestVariablesThatASettingNames.
func TestVariablesThatASettingNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"client-secret-env", "A", "A"},
		{"idp-client-secret-env", "A", "A"},
		{"assertion-env", "A", "A"},
		{"seal", "env:A", "A"},
		{"seal", "passphrase-env:A", "A"},
		{"seal", "file:A", ""},
		{"seal", "keyring", ""},
		{"header", "X: ${A} and ${B}", "A B"},
		{"assertion-header", "X: $A ${B", "B"},
		{"header", "X: plain", ""},
		{"client-id", "A", ""},
	} {
		if got := strings.Join(secretVariables(c.name, c.value), " "); got != c.want {
			t.Errorf("%s = %s: %q, want %q", c.name, c.value, got, c.want)
		}
	}
}
