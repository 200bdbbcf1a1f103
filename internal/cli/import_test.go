package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// fastmcpCache writes a login to srv as FastMCP 2.9 keeps it, below a home directory.
func fastmcpCache(t *testing.T, srv *authtest.Server, home string) {
	t.Helper()
	st := memstore.New()
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: st, Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		_, err := srv.Browser(ctx, p.URL)
		return nil, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Login(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	data, _, err := st.Load(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.DecodeLogin(data)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, ".fastmcp", "oauth-mcp-client-cache")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := strings.NewReplacer("://", "_", ".", "_", ":", "_").Replace(strings.TrimSuffix(srv.MCPURL(), "/mcp"))
	for suffix, v := range map[string]any{
		"_tokens.json":      map[string]any{"access_token": rec.AccessToken, "token_type": "Bearer", "expires_in": 3600, "refresh_token": rec.RefreshToken, "scope": strings.Join(rec.Scopes, " ")},
		"_client_info.json": map[string]any{"client_id": rec.Registration.ClientID, "client_secret": rec.Registration.ClientSecret, "token_endpoint_auth_method": rec.Registration.AuthMethod},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+suffix), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImport(t *testing.T) {
	srv := authtest.New(t, nil)
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("MCPOAUTH_DIR", filepath.Join(home, "ours"))
	fastmcpCache(t, srv, home)
	before := tree(t, filepath.Join(home, ".fastmcp"))
	run := func(args ...string) (int, string) {
		t.Helper()
		var out, errs strings.Builder
		code := Main(args, strings.NewReader(""), &out, &errs)
		for _, s := range srv.Secrets() {
			if strings.Contains(errs.String(), s) || strings.Contains(out.String(), s) && args[0] != "token" {
				t.Errorf("%v printed a secret", args)
			}
		}
		return code, errs.String()
	}
	if code, errs := run("import"); code != exitDone || !strings.Contains(errs, "1 login of FastMCP") {
		t.Errorf("survey: %d, %s", code, errs)
	}
	if code, errs := run("import", srv.MCPURL(), "--dry-run"); code != exitDone || !strings.Contains(errs, "would take over") {
		t.Errorf("dry run: %d, %s", code, errs)
	}
	if code, errs := run("import", srv.MCPURL()); code != exitUsage || !strings.Contains(errs, "--yes") {
		t.Errorf("with nobody to ask: %d, %s", code, errs)
	}
	if code, errs := run("token", srv.MCPURL()); code != exitLoginRequired {
		t.Errorf("token before: %d, %s", code, errs)
	}
	if code, errs := run("import", srv.MCPURL(), "--yes"); code != exitDone || !strings.Contains(errs, "took over") {
		t.Fatalf("import: %d, %s", code, errs)
	}
	if code, errs := run("import", srv.MCPURL(), "--yes"); code != exitFailed || !strings.Contains(errs, "--force") {
		t.Errorf("a second time: %d, %s", code, errs)
	}
	srv.Expire()
	if code, errs := run("token", srv.MCPURL(), "--min-validity", "2h"); code != exitDone || srv.Count("refresh") != 1 {
		t.Errorf("token after: %d, %d refreshes, %s", code, srv.Count("refresh"), errs)
	}
	if code, errs := run("import", "https://other.example/mcp", srv.MCPURL(), "--yes", "--force"); code != exitFailed || !strings.Contains(errs, "no login to https://other.example/mcp") || !strings.Contains(errs, "took over") {
		t.Errorf("one of two: %d, %s", code, errs)
	}
	for _, from := range []string{filepath.Join(home, "none"), filepath.Join(home, "a file")} {
		if err := os.WriteFile(filepath.Join(home, "a file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, errs := run("import", srv.MCPURL(), "--from", from, "--yes"); code != exitUsage || !strings.Contains(errs, "is not a directory") {
			t.Errorf("--from %s: %d, %s", from, code, errs)
		}
	}
	if after := tree(t, filepath.Join(home, ".fastmcp")); after != before {
		t.Error("the other program's files were changed")
	}
}

// tree is all that lies in a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		b.WriteString(path + "\n" + string(content) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
