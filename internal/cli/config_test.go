package cli

import (
	"os"
	"path/filepath"
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
		all, err := layers(path, true, server+"/below", nil)
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
		n, err := covers(c.section, c.server)
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
	t.Setenv(configEnv, path)
	f := &flags{args: []string{"login"}}
	cmd := newLogin(f)
	if err := cmd.Flags().Set("add-scope", "x"); err != nil {
		t.Fatal(err)
	}
	if err := f.fromFile(cmd, []string{"https://a.example/mcp"}); err != nil {
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
