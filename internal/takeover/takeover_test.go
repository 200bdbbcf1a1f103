package takeover

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The fixtures are directories as the real programs wrote them, one for each case.
var urls = map[string]string{
	"loopback-port":            "http://127.0.0.1:18080/mcp",
	"localhost-port":           "http://localhost:18080/mcp",
	"https-host":               "https://mcp.example.com/mcp",
	"trailing-slash":           "https://mcp.example.com/mcp/",
	"deep-path":                "https://mcp.example.com/teams/a.b/mcp",
	"query":                    "https://mcp.example.com/mcp?tenant=acme&x=1",
	"port-hyphen":              "https://my-server.example.com:8443/v1/mcp",
	"upper-host":               "https://MCP.Example.com/mcp",
	"explicit-443":             "https://mcp.example.com:443/mcp",
	"confidential":             "http://127.0.0.1:18081/mcp",
	"no-expires-in":            "http://127.0.0.1:18082/mcp",
	"no-refresh-token":         "http://127.0.0.1:18083/mcp",
	"token-endpoint-elsewhere": "http://127.0.0.1:18084/mcp",
}

func TestWhatTheProgramsWrote(t *testing.T) {
	for _, p := range []struct {
		dir    string
		places func(c string) []Place
		// hasIssuer, relative and shared say what the program's format has.
		hasIssuer, shared bool
		none              map[string]bool
	}{
		{"fastmcp-2.9.2", home, false, true, nil},
		{"fastmcp-2.12.5", home, false, true, nil},
		// It refused to log in there, and left nothing.
		{"fastmcp-4.1.6/filetree", tokens1, true, false, map[string]bool{"explicit-443": true}},
		{"mcp-remote-0.15.1", config, true, false, nil},
	} {
		for c, url := range urls {
			t.Run(p.dir+"/"+c, func(t *testing.T) {
				found, problems := Find(p.places(filepath.Join("testdata", p.dir, c)), Query{URL: url})
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				if p.none[c] {
					if len(found) > 0 {
						t.Errorf("found %v", found[0].Files)
					}
					return
				}
				if len(found) != 1 {
					t.Fatalf("%d logins", len(found))
				}
				l := found[0]
				if l.AccessToken == "" || l.ClientID == "" || l.Scope != "mcp" || l.Shared != p.shared || len(l.RedirectURIs) != 1 {
					t.Errorf("incomplete: %d files, client %q, scope %q, shared %t", len(l.Files), l.ClientID, l.Scope, l.Shared)
				}
				if (l.RefreshToken == "") != (c == "no-refresh-token") {
					t.Errorf("refresh token %q", l.RefreshToken)
				}
				if l.Expiry.IsZero() != (c == "no-expires-in") {
					t.Errorf("expiry %v", l.Expiry)
				}
				if life := l.Expiry.Sub(l.Written); c != "no-expires-in" && (life < 59*time.Minute || life > 61*time.Minute) {
					t.Errorf("the token lives for %v", life)
				}
				if (l.ClientSecret != "") != (c == "confidential") || (l.AuthMethod == "none") == (c == "confidential") || l.SecretExpiry.IsZero() == (c == "confidential") {
					t.Errorf("secret %t, method %q, until %v", l.ClientSecret != "", l.AuthMethod, l.SecretExpiry)
				}
				if p.hasIssuer != strings.HasPrefix(l.Issuer, "http") {
					t.Errorf("issuer %q", l.Issuer)
				}
			})
		}
	}
}

func home(c string) []Place {
	return Places(filepath.Join(c, "home"), func(string) string { return "" })
}

func tokens1(c string) []Place { return []Place{PlaceOf(filepath.Join(c, "home", "tokens"))} }

func config(c string) []Place {
	return Places("/nowhere", func(name string) string {
		if name == "MCP_REMOTE_CONFIG_DIR" {
			return filepath.Join(c, "config")
		}
		return ""
	})
}

func TestOneHomeWithManyLogins(t *testing.T) {
	for _, dir := range []string{"fastmcp-2.9.2", "fastmcp-2.12.5"} {
		places := home(filepath.Join("testdata", dir, "one-home-all-urls"))
		for _, c := range []string{"loopback-port", "localhost-port", "https-host", "query", "port-hyphen", "upper-host", "explicit-443"} {
			if found, problems := Find(places, Query{URL: urls[c]}); len(found) != 1 || len(problems) > 0 {
				t.Errorf("%s, %s: %d logins, %v", dir, c, len(found), problems)
			}
		}
		if found, _ := Find(places, Query{URL: "https://other.example.com/mcp"}); len(found) != 0 {
			t.Errorf("%s: another host's login was found: %v", dir, found[0].Files)
		}
		s, _ := Survey(places)
		if len(s) != 1 || s[0].Logins != 6 {
			t.Errorf("%s: survey %+v", dir, s)
		}
	}
}

func TestMcpRemotesNamesHoldItsArguments(t *testing.T) {
	const url = "https://mcp.example.com/mcp"
	for c, q := range map[string]Query{
		"header":      {URL: url, Headers: []string{"X-Tenant: acme"}},
		"two-headers": {URL: url, Headers: []string{"X-B: 2", "X-A: 1"}},
		"resource":    {URL: url, Resource: "https://mcp.example.com/other"},
	} {
		places := config(filepath.Join("testdata", "mcp-remote-0.15.1", c))
		if found, problems := Find(places, q); len(found) != 1 || len(problems) > 0 {
			t.Errorf("%s: %d logins, %v", c, len(found), problems)
		}
		if found, _ := Find(places, Query{URL: url}); len(found) != 0 {
			t.Errorf("%s: found without its arguments", c)
		}
	}
	// A slash that was typed to one program and not to the other.
	places := config(filepath.Join("testdata", "mcp-remote-0.15.1", "trailing-slash"))
	if found, _ := Find(places, Query{URL: url}); len(found) != 1 {
		t.Error("not found without the slash")
	}
}

// TestADiskStore, as FastMCP left it where it was told to and in its usual place, and while it was open.
func TestADiskStore(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	copyTree(t, "testdata/fastmcp-4.1.6/disk-open", open)
	usual := t.TempDir()
	copyTree(t, "testdata/fastmcp-4.1.6/disk/loopback-port/home/tokens", filepath.Join(usual, ".fastmcp", "oauth-tokens"))
	for name, tc := range map[string]struct {
		places []Place
		url    string
		logins int
		shared bool
	}{
		"a directory":     {tokens1("testdata/fastmcp-4.1.6/disk/loopback-port"), urls["loopback-port"], 1, false},
		"the usual place": {Places(usual, func(string) string { return "" }), urls["loopback-port"], 1, false},
		"with its log":    {[]Place{PlaceOf(open)}, urls["https-host"], 2, false},
		"one for a host":  {[]Place{PlaceOf(open)}, urls["loopback-port"], 2, true},
	} {
		found, problems := Find(tc.places, Query{URL: tc.url})
		if len(found) != 1 || len(problems) > 0 {
			t.Errorf("%s: %d logins, %v", name, len(found), problems)
			continue
		}
		l := found[0]
		if l.AccessToken == "" || l.RefreshToken == "" || l.ClientID == "" || l.Scope != "mcp" || len(l.RedirectURIs) != 1 || l.Expiry.IsZero() || l.Written.IsZero() || l.Shared != tc.shared || len(l.Files) != 1 {
			t.Errorf("%s: client %q, scope %q, until %v, written %v, shared %t, files %v", name, l.ClientID, l.Scope, l.Expiry, l.Written, l.Shared, l.Files)
		}
		if s, problems := Survey(tc.places); len(s) != 1 || s[0].Logins != tc.logins || len(problems) > 0 {
			t.Errorf("%s: survey %+v, %v", name, s, problems)
		}
		if found, problems := Find(tc.places, Query{URL: "https://other.example.com/mcp"}); len(found)+len(problems) > 0 {
			t.Errorf("%s: another server's login: %d, %v", name, len(found), problems)
		}
	}
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	damaged := t.TempDir()
	b, err := os.ReadFile("testdata/fastmcp-4.1.6/disk/loopback-port/home/tokens/cache.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "cache.db"), b[:8192], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, url, want string
		places          []Place
	}{
		{"an encrypted SQLite database", urls["https-host"], "encrypted", home("testdata/fastmcp-4.1.6/disk-tilde/https-host")},
		{"a damaged SQLite database", urls["loopback-port"], "damaged", []Place{PlaceOf(damaged)}},
		{"an encrypted store", urls["https-host"], "encrypted", tokens1("testdata/fastmcp-4.1.6/filetree-fernet/https-host")},
	} {
		found, problems := Find(tc.places, Query{URL: tc.url})
		if len(found) != 0 || len(problems) != 1 {
			t.Errorf("%s: %d logins, %v", tc.name, len(found), problems)
			continue
		}
		var p *Problem
		if !errors.As(problems[0], &p) || !strings.Contains(p.Reason, tc.want) || p.Hint == "" {
			t.Errorf("%s: %v", tc.name, problems[0])
		}
		if _, problems := Survey(tc.places); len(problems) == 0 {
			t.Errorf("%s: the survey does not name it", tc.name)
		}
	}
	// A store whose login never succeeded.
	if found, problems := Find(tokens1("testdata/fastmcp-4.1.6/filetree-raw/https-host"), Query{URL: urls["https-host"]}); len(found)+len(problems) > 0 {
		t.Errorf("%v %v", found, problems)
	}
}

func TestFastmcpRemoteKeepsResourcesApart(t *testing.T) {
	home := t.TempDir()
	copyTree(t, "testdata/fastmcp-4.1.6/filetree/https-host/home/tokens", filepath.Join(home, ".fastmcp", "remote"))
	places := Places(home, func(string) string { return "" })
	q := Query{URL: urls["https-host"]}
	found, problems := Find(places, q)
	if len(found) != 1 || len(problems) > 0 {
		t.Fatalf("%d logins, %v", len(found), problems)
	}
	// sha256("https://r.example") begins so.
	copyTree(t, "testdata/fastmcp-4.1.6/filetree/https-host/home/tokens", filepath.Join(home, ".fastmcp", "remote", "resources", "72a79a4f7b83012f"))
	q.Resource = "https://r.example"
	if found, _ := Find(places, q); len(found) != 1 || !strings.Contains(found[0].Files[0], "resources") {
		t.Errorf("with a resource: %d logins", len(found))
	}
	if s, _ := Survey(places); len(s) != 1 || s[0].Logins != 2 || len(s[0].Servers) != 1 {
		t.Errorf("survey: %+v", s)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedAndHostileFiles(t *testing.T) {
	const url = "https://mcp.example.com/mcp"
	good := map[string]string{
		"https_mcp_example_com_tokens.json":      `{"access_token":"a","token_type":"Bearer","refresh_token":"r","expires_in":3600}`,
		"https_mcp_example_com_client_info.json": `{"client_id":"c","redirect_uris":["http://localhost:1/callback"]}`,
	}
	for name, tc := range map[string]struct{ file, content, want string }{
		"half a file":          {"https_mcp_example_com_tokens.json", `{"access_token":"a`, "damaged"},
		"a list":               {"https_mcp_example_com_tokens.json", `[]`, "not what this program writes"},
		"no token":             {"https_mcp_example_com_tokens.json", `{}`, "no access token"},
		"a control character":  {"https_mcp_example_com_tokens.json", `{"access_token":"a\u001b[31m"}`, "characters"},
		"no client":            {"https_mcp_example_com_client_info.json", `{}`, "client"},
		"a strange client":     {"https_mcp_example_com_client_info.json", `{"client_id":7}`, "not what"},
		"a header in a secret": {"https_mcp_example_com_client_info.json", `{"client_id":"c","client_secret":"a\r\nX: y"}`, "characters"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, content := range good {
				if f == tc.file {
					content = tc.content
				}
				if err := os.WriteFile(filepath.Join(dir, f), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			found, problems := Find([]Place{PlaceOf(dir)}, Query{URL: url})
			if len(found) != 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), tc.want) {
				t.Errorf("%v, %v", found, problems)
			}
		})
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "https_mcp_example_com_tokens.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if found, problems := Find([]Place{PlaceOf(dir)}, Query{URL: url}); len(found) != 0 || len(problems) != 1 {
		t.Errorf("a directory: %v, %v", found, problems)
	}
	if found, problems := Find([]Place{PlaceOf(filepath.Join(dir, "none"))}, Query{URL: url}); len(found)+len(problems) != 0 {
		t.Errorf("no directory: %v, %v", found, problems)
	}
}

func FuzzFastmcpFiles(f *testing.F) {
	f.Add([]byte(`{"data":{"token_payload":{"access_token":"a","expires_in":3600},"expires_at":"2026-11-23T07:41:51.360055Z"},"timestamp":1795416111.36}`), []byte(`{"client_id":"c"}`))
	f.Add([]byte(`{"access_token":"a","expires_in":1e300}`), []byte(`{"data":{"client_id":"c","client_secret_expires_at":-1}}`))
	f.Fuzz(func(t *testing.T, tokens, client []byte) {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"http_x_tokens.json": tokens, "http_x_client_info.json": client} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, err := fastmcpFiles{}.find(dir, Query{URL: "http://x/mcp"})
		if (l == nil) == (err == nil) {
			t.Fatalf("%v, %v", l, err)
		}
		if l != nil {
			if _, err := json.Marshal(l.Expiry); err != nil && !l.Expiry.IsZero() && l.Expiry.Year() > 9999 {
				t.Errorf("a time that cannot be stored: %v", l.Expiry)
			}
		}
	})
}
