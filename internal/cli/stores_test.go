//go:build unix

package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/testserver"
)

// TestServersAsStores plays the command with logins in real servers: nothing lies in files, an empty
// profile is refused, and the tables of a database are made when they are needed.
func TestServersAsStores(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{AutoApprove: true})
	for name, start := range map[string]func(testserver.TB) string{
		"redis":    func(tb testserver.TB) string { return "redis://" + testserver.Redis(tb) },
		"postgres": testserver.Postgres,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			env := []string{"HOME=" + home, "BROWSER=" + asBrowser(t), "MCPOAUTH_STORE=" + start(t)}
			as := func(profile string, args ...string) (int, string, string) {
				t.Helper()
				var out, errs strings.Builder
				code := run(t, append(env, "MCPOAUTH_PROFILE="+profile), strings.NewReader(""), &out, &errs, args...)
				return code, out.String(), errs.String()
			}
			if code, _, errs := as("", "login", srv.MCPURL()); code != exitFailed && code != exitUsage || !strings.Contains(errs, "--profile") {
				t.Errorf("without a profile: %d, %s", code, errs)
			}
			if code, _, errs := as("alice", "token", srv.MCPURL()); code != exitLoginRequired {
				t.Errorf("token before a login: %d, %s", code, errs)
			}
			if code, _, errs := as("alice", "login", srv.MCPURL()); code != exitDone {
				t.Fatalf("login: %d, %s", code, errs)
			}
			if code, out, errs := as("alice", "token", srv.MCPURL()); code != exitDone || strings.TrimSpace(out) == "" {
				t.Errorf("token: %d, %q, %s", code, out, errs)
			}
			if code, out, errs := as("alice", "list"); code != exitDone || !strings.Contains(out, srv.MCPURL()) || !strings.Contains(out, "alice") {
				t.Errorf("list: %d, %q, %s", code, out, errs)
			}
			if code, _, errs := as("bob", "token", srv.MCPURL()); code != exitLoginRequired {
				t.Errorf("another profile: %d, %s", code, errs)
			}
			if code, _, errs := as("alice", "logout", srv.MCPURL()); code != exitDone {
				t.Errorf("logout: %d, %s", code, errs)
			}
			if files, _ := filepath.Glob(filepath.Join(home, "*", "*", "*")); len(files) > 0 {
				t.Errorf("files were written: %v", files)
			}
		})
	}
}
