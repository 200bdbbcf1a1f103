package cli

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestDocumentedConfigurations: every example of docs/configuration.md loads, and applies to its server.
func TestDocumentedConfigurations(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rest := string(b); ; n++ {
		_, after, ok := strings.Cut(rest, "```toml\n")
		if !ok {
			break
		}
		var example string
		example, rest, _ = strings.Cut(after, "```")
		path := filepath.Join(t.TempDir(), "mcpoauth.toml")
		if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		_, server, _ := strings.Cut(example, `[server."`)
		server, _, _ = strings.Cut(server, `"`)
		all, err := (&document{path: path}).layers(true, server+"/below", nil)
		if err != nil || len(all) == 0 || !strings.HasPrefix(all[0].name, "server.") {
			t.Errorf("%v, %v in\n%s", all, err, example)
		}
	}
	if n < 5 {
		t.Errorf("%d examples", n)
	}
}

func TestWhichSectionIsAServers(t *testing.T) {
	for _, c := range []struct {
		section, server string
		fits            bool
	}{
		{"https://a.example/mcp", "https://a.example/mcp", true},
		{"https://a.example/mcp/", "https://a.example/mcp", true},
		{"https://A.example:443/mcp", "https://a.example/mcp", true},
		{"https://a.example", "https://a.example/mcp", true},
		{"https://a.example/mcp", "https://a.example/mcp?tenant=1", true},
		{"https://a.example/mcp", "https://a.example/mcp2", false},
		{"https://a.example/mcp", "https://a.example", false},
		{"https://a.example", "https://a.example.evil.net", false},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
	} {
		_, n, err := covers(c.section, c.server)
		if err != nil || (n >= 0) != c.fits {
			t.Errorf("%s for %s: %d, %v", c.section, c.server, n, err)
		}
	}
}

// TestTheNearestSettingCounts: profile, server, defaults, and a client's secret goes with the client.
func TestTheNearestSettingCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	text := `
[defaults]
client-name = "defaults"
scope = ["d"]
profile = "work"
[server."https://a.example"]
client-name = "origin"
client-id = "o"
[server."https://a.example/mcp"]
client-id = "server"
client-secret-env = "SERVER"
resource = "https://a.example/mcp"
callback-port = 4711
[server."https://a.example/mcp".profile.work]
client-id = "work"
no-resource = true
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &flags{args: []string{"login"}}
	cmd := newLogin(f)
	if err := cmd.Flags().Set("add-scope", "x"); err != nil {
		t.Fatal(err)
	}
	f.config = path
	if _, err := f.fromFile(cmd, []string{"https://a.example/mcp"}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	cmd.Flags().Visit(func(fl *pflag.Flag) { got[fl.Name] = fl.Value.String() })
	want := map[string]string{"client-name": "defaults", "scope": "[d]", "profile": "work", "client-id": "work", "no-resource": "true", "callback-port": "4711", "add-scope": "[x]"}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	for _, name := range []string{"client-secret-env", "resource"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is %q", name, v)
		}
	}
}

// TestWhatTheFileMaySay: values have the types of the flags, and a secret is none of others' business.
func TestWhatTheFileMaySay(t *testing.T) {
	for _, c := range []struct {
		name, line, want string
		mode             os.FileMode
	}{
		{"a number in quotes", `callback-port = "8910"`, "without quotes", 0o600},
		{"a switch in quotes", `no-resource = "true"`, "without quotes", 0o600},
		{"a text without quotes", `client-id = 12345`, "in quotes", 0o600},
		{"a list without quotes", `scope = [1]`, "must contain strings", 0o600},
		{"an empty list", `scope = []`, "is empty", 0o600},
		{"a list of texts for one", `client-id = ["a", "b"]`, "one value", 0o600},
		{"a switch that is a number", `no-resource = 2`, "invalid value", 0o600},
		{"a date", `client-id = 2026-01-01`, "a string, a number", 0o600},
		{"a time that is none", `timeout = "soon"`, "invalid value", 0o600},
		{"the file itself", `config = "other.toml"`, "unknown setting", 0o600},
		{"a profile's section in a profile's", `profile = { work = { profile = { home = "x" } } }`, "a string, a number", 0o600},
		{"a number", `callback-port = 8910`, "", 0o644},
		{"a time", `timeout = "30s"`, "", 0o644},
		{"one text for a list", `scope = "a b"`, "", 0o644},
		{"a token in a header", `header = ["Authorization: Bearer abc"]`, "readable by other users", 0o640},
		{"a key in a header", `header = ["X-Api-Key: abc"]`, "readable by other users", 0o604},
		{"a key in a header that nobody else reads", `header = ["X-Api-Key: abc"]`, "", 0o600},
		{"a key of the environment", `header = ["X-Api-Key: ${KEY}"]`, "", 0o644},
		{"a header that is no secret", `header = ["X-Tenant: 7"]`, "", 0o644},
		{"a parameter", `token-param = ["client_password=abc"]`, "readable by other users", 0o644},
		{"a parameter that is no secret", `auth-param = ["audience=abc"]`, "", 0o644},
		{"the password of a store", `store = "redis://ann:abc@h"`, "readable by other users", 0o644},
		{"a store without one", `store = "redis://ann@h"`, "", 0o644},
		{"the password of a store in its query", `store = "postgres://h/db?password=abc"`, "readable by other users", 0o644},
		{"the password of a store that is no URL", `store = "redis://ann:abc@h:port"`, "readable by other users", 0o644},
		{"the key of an address", `assertion-url = "https://h.example/token?api_key=abc"`, "readable by other users", 0o644},
		{"a header for assertions", `assertion-header = ["Metadata-Secret: abc"]`, "readable by other users", 0o644},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == "readable by other users" && runtime.GOOS == "windows" {
				t.Skip("files have no such permissions")
			}
			path := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(path, []byte("[server.\"https://a.example\"]\n"+c.line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil { // not the umask's
				t.Fatal(err)
			}
			_, err := (&document{path: path}).layers(true, "https://a.example/mcp", nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), "line 2: ") || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "abc") {
				t.Errorf("the secret is in %v", err)
			}
		})
	}
}

// TestAFileThatOthersCanChange is refused: it would turn logins elsewhere, and run programs.
func TestAFileThatOthersCanChange(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such permissions")
	}
	for _, c := range []struct {
		file, dir os.FileMode
		want      string
	}{
		{0o644, 0o755, ""},
		{0o620, 0o755, "it is writable by other users"},
		{0o602, 0o755, "it is writable by other users"},
		{0o600, 0o777, "other users could put another file in its place"},
		{0o600, 0o770, "other users could put another file in its place"},
		{0o600, 0o720, "other users could put another file in its place"},
		{0o600, 0o777 | os.ModeSticky, ""}, // as /tmp: only the owner can
	} {
		dir := filepath.Join(t.TempDir(), "d")
		path := filepath.Join(dir, "c.toml")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(path, []byte("[defaults]\nclient-name = \"x\"\n"), 0o600), os.Chmod(path, c.file), os.Chmod(dir, c.dir)); err != nil {
			t.Fatal(err)
		}
		_, err := (&document{path: path}).layers(true, "https://a.example/mcp", nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v in %v: %v", c.file, c.dir, err)
		}
	}
}

// TestALongFile is refused, and not cut: what stands after the cut may be a safeguard.
func TestALongFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	for extra, long := range map[int]bool{0: false, 1: true} {
		text := "[defaults]\nclient-name = \"x\"\n#"
		text += strings.Repeat("x", maxConfig-len(text)+extra)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (&document{path: path}).layers(true, "https://a.example/mcp", nil); (err != nil) != long || long && !strings.Contains(err.Error(), "too long") {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
}

// TestSettingsOfOneServerAreNotForAnother: import takes several, and what the file says of the first is not said of all.
func TestSettingsOfOneServerAreNotForAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("[server.\"https://a.example\"]\nheader = [\"X-Key: ${KEY}\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		servers []string
		headers int
	}{{[]string{"https://a.example/mcp"}, 1}, {[]string{"https://a.example/mcp", "https://b.example/mcp"}, 0}, {[]string{"https://b.example/mcp"}, 0}} {
		f := &flags{args: []string{"import"}}
		cmd := newImport(f)
		f.config = path
		if _, err := f.fromFile(cmd, c.servers); err != nil || len(f.headers) != c.headers {
			t.Errorf("%v: %v, %v", c.servers, f.headers, err)
		}
	}
}

// TestWhatIsShownOfASetting has no secret in it.
func TestWhatIsShownOfASetting(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"header", "X-Key: canary", "(not shown)"},
		{"assertion-header", "X-Key: canary", "(not shown)"},
		{"token-param", "audience=canary", "(not shown)"},
		{"auth-param", "audience=canary", "(not shown)"},
		{"assertion-command", "canary", "(not shown)"},
		{"store", "keyring", "keyring"},
		{"store", "file:/home/me/logins", "file:/home/me/logins"},
		{"store", "redis:canary", "(not shown)"},
		{"store", "redis://:canary@h:port", "(not shown)"},
		{"store", "redis://ann:canary@h:1/2?password=canary", "redis://h:1/2"},
		{"assertion-url", "https://ann:canary@h.example/t?key=canary#canary", "https://h.example/t"},
		{"seal", "canary", "(not shown)"},
		{"seal", "env:NAME", "env:NAME"},
		{"seal", "keyring", "keyring"},
		{"client-id", "me", "me"},
	} {
		if got := shown(c.name, c.value); got != c.want {
			t.Errorf("%s %s is shown as %s, want %s", c.name, c.value, got, c.want)
		}
	}
}

// TestASecretOfTheEnvironmentIsNotForTheFilesClient: MCPOAUTH_CLIENT_SECRET goes with a client that was given beside
// it. A person who has set it for one server would show it to another.
func TestASecretOfTheEnvironmentIsNotForTheFilesClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("[server.\"https://a.example\"]\nclient-id = \"file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MCPOAUTH_CLIENT_SECRET", "canary")
	t.Setenv("MCPOAUTH_STORE", "file:"+t.TempDir())
	for _, c := range []struct {
		server, given, id, secret string
	}{
		{"https://a.example/mcp", "", "file", ""},
		{"https://a.example/mcp", "flag", "flag", "canary"},
		{"https://b.example/mcp", "flag", "flag", "canary"},
		{"https://b.example/mcp", "", "", ""},
	} {
		f := &flags{args: []string{"login"}, u: &ui{}}
		cmd := newLogin(f)
		args := []string{"--config", path}
		if c.given != "" {
			args = append(args, "--client-id", c.given)
		}
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		o, err := f.options(cmd, []string{c.server})
		if err != nil || o.Client.ID != c.id || o.Client.Secret != c.secret {
			t.Errorf("%+v: %v, %+v", c, err, o)
		}
	}
}

// TestAFileThatIsNotThere: only the one of the usual place may be missing.
func TestAFileThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	missing, folder := filepath.Join(dir, "no", "c.toml"), filepath.Join(dir, "c.toml")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		must bool
		bad  bool
	}{{missing, false, false}, {missing, true, true}, {folder, false, true}, {folder, true, true}} {
		if all, err := (&document{path: c.path}).layers(c.must, "https://a.example", nil); (err != nil) != c.bad || all != nil {
			t.Errorf("%+v: %v, %v", c, all, err)
		}
	}
}

// TestTheLineOfAMistake: what is wrong with a long file is found by its line.
func TestTheLineOfAMistake(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no TOML":                       {"[defaults]\nprofile = \n", "line 2: "},
		"a key twice":                   {"[defaults]\nprofile = \"a\"\nprofile = \"b\"\n", "line 3: "},
		"below other sections":          {"[defaults]\nprofile = \"a\"\n\n[server.\"https://a.example\"]\n# a comment\nnone = 1\n", "line 6: server."},
		"a dotted key":                  {"defaults.profile = \"a\"\ndefaults.none = 1\n", "line 2: defaults: unknown setting"},
		"in a profile":                  {"[server.\"https://a.example\".profile.work]\nscope = [\"a\"]\nnone = 1\n", "line 3: server."},
		"in a table within a line":      {"\nserver = { \"https://a.example\" = { none = 1 } }\n", "line 2: server."},
		"a section that is a value":     {"\ndefaults = 1\n", "line 2: defaults is not a section"},
		"a server that is a value":      {"[server]\n\"https://a.example\" = 1\n", "line 2: server."},
		"a profile that is a value":     {"[server.\"https://a.example\".profile]\nwork = 1\n", "line 2: server."},
		"sections that are a list":      {"[[server]]\nscope = [\"a\"]\n", "line 1: server is not a section"},
		"behind the mark of an editor":  {"\ufeff[defaults]\nnone = 1\n", "line 2: defaults: unknown setting"},
		"a whole file, with that mark":  {"\ufeff[defaults]\nprofile = \"a\"\n", ""},
		"a profile beside its setting":  {"[server.\"https://a.example\"]\nprofile = \"work\"\n", ""},
		"a server's table within lines": {"[server.\"https://a.example\"]\nscope = [\n  \"a\",\n]\nnone = 1\n", "line 5: server."},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := (&document{path: path}).layers(true, "https://a.example/mcp", nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
