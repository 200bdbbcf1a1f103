package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestALoginUnderAnotherProfileIsOffered, but not one of another server, and not in place of one that has ended.
func TestALoginUnderAnotherProfileIsOffered(t *testing.T) {
	t.Parallel()
	env := []string{"MCPOAUTH_DIR=" + t.TempDir(), "BROWSER=" + asBrowser(t)}
	srv, other := authtest.New(t, &authtest.Options{AutoApprove: true, NoRotation: true}), authtest.New(t, nil)
	run := func(args ...string) (int, string) {
		t.Helper()
		var errs strings.Builder
		code := run(t, env, strings.NewReader(""), io.Discard, &errs, args...)
		return code, errs.String()
	}
	if code, errs := run("login", srv.MCPURL(), "--profile", "my work"); code != exitDone {
		t.Fatalf("%d, %s", code, errs)
	}
	if code, errs := run("token", srv.MCPURL()); code != exitLoginRequired || !strings.Contains(errs, "hint: there is a login with --profile 'my work'; for another one run: mcpoauth login ") {
		t.Errorf("no login without a profile: %d, %s", code, errs)
	}
	if code, errs := run("token", other.MCPURL()); code != exitLoginRequired || strings.Contains(errs, "my work") {
		t.Errorf("another server: %d, %s", code, errs)
	}
	if code, errs := run("login", srv.MCPURL()); code != exitDone {
		t.Fatalf("%d, %s", code, errs)
	}
	if code, errs := run("token", srv.MCPURL(), "--profile", "home"); code != exitLoginRequired || !strings.Contains(errs, "there is a login") || !strings.Contains(errs, "without a profile") || !strings.Contains(errs, "'my work'") {
		t.Errorf("a third profile: %d, %s", code, errs)
	}
	srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(m map[string]any) { m["expires_in"] = 1 } })
	if code, errs := run("login", srv.MCPURL(), "--force"); code != exitDone {
		t.Fatalf("%d, %s", code, errs)
	}
	srv.RevokeAll()
	time.Sleep(1100 * time.Millisecond)
	if code, errs := run("token", srv.MCPURL()); code != exitLoginRequired || strings.Contains(errs, "there is a login") {
		t.Errorf("the login has ended: %d, %s", code, errs)
	}
}

// TestTheTimeIsLimited for commands that only ask a server; the exit code says that a script may try again.
func TestTheTimeIsLimited(t *testing.T) {
	bridgeHome(t)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client is gone
		select {
		case <-r.Context().Done():
		case <-time.After(3 * time.Second):
		}
	}))
	defer srv.Close()
	var errs strings.Builder
	code := Main([]string{"inspect", srv.URL + "/mcp", "--timeout", "100ms"}, strings.NewReader(""), io.Discard, &errs)
	if code != exitTemporary || !strings.Contains(errs.String(), "hint: allow more time: --timeout 100ms was the limit") {
		t.Errorf("%d, %s", code, errs.String())
	}
}
