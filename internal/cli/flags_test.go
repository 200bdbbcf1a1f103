package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestATokenWithoutFlags: a command that makes no flags because none is set must do what it does with all of them.
func TestATokenWithoutFlags(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, v := range os.Environ() { // such as MCPOAUTH_TEST_ALL, which may stand for a flag as far as the command knows
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, "") // which restores it afterwards
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("MCPOAUTH_DIR", t.TempDir()) // the one variable that stands for no flag
	made := func(args ...string) (*flags, bool) {
		t.Helper()
		f := &flags{u: newUI(nil, &bytes.Buffer{}, &bytes.Buffer{}), args: args}
		cmd := command(args[0])(f)
		if err := cmd.ParseFlags(args[1:]); err != nil {
			t.Fatal(err)
		}
		if _, err := f.options(cmd, []string{"https://a.example/mcp"}); err != nil {
			t.Fatal(err)
		}
		return f, cmd.Flags().Lookup("profile") != nil
	}
	for _, name := range []string{"token", "headers"} {
		bare, with := made(name, "https://a.example/mcp")
		if with {
			t.Errorf("%s: flags are made although nothing sets one", name)
		}
		full, with := made(name, "https://a.example/mcp", "--min-validity", "0s")
		if !with {
			t.Errorf("%s: a command line with a flag has no flags", name)
		}
		bare.u, bare.args, bare.unmade, full.u, full.args = nil, nil, nil, nil, nil
		if !reflect.DeepEqual(bare, full) {
			t.Errorf("%s: without flags:\n%+v\nwith flags:\n%+v", name, bare, full)
		}
	}
	t.Run("the environment sets one", func(t *testing.T) {
		t.Setenv("MCPOAUTH_PROFILE", "work")
		if f, _ := made("token", "https://a.example/mcp"); f.profile != "work" {
			t.Errorf("the profile is %q", f.profile)
		}
	})
	t.Run("the configuration file sets one", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("XDG_CONFIG_HOME", dir)
		t.Setenv("HOME", dir)
		t.Setenv("AppData", dir)
		path, _ := configFile("")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("[defaults]\nprofile = \"home\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, _ := made("token", "https://a.example/mcp"); f.profile != "home" {
			t.Errorf("the profile is %q", f.profile)
		}
	})
}

// TestCompletionKnowsAllFlags although a token needs none.
func TestCompletionKnowsAllFlags(t *testing.T) {
	srv := authtest.New(t, nil)
	var out, errs bytes.Buffer
	if code := Main([]string{"__complete", "token", srv.MCPURL(), "--pro"}, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), "--profile") {
		t.Errorf("exit code %d: %s%s", code, out.String(), errs.String())
	}
	out.Reset()
	if code := Main([]string{"help", "token"}, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), "--profile") {
		t.Errorf("help: exit code %d: %s%s", code, out.String(), errs.String())
	}
}
