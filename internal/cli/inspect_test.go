package cli

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestAReportIsForThePerson: it has what the server said, and others get it from the person.
func TestAReportIsForThePerson(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	file := filepath.Join(t.TempDir(), "report.html")
	var errs strings.Builder
	if code := Main([]string{"inspect", srv.MCPURL(), "--html", file}, strings.NewReader(""), io.Discard, &errs); code != exitDone {
		t.Fatalf("%d, %s", code, errs.String())
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info, err)
	}
}

// TestAServersMarkupIsText in the page of an inspection.
func TestAServersMarkupIsText(t *testing.T) {
	const markup = `<script>canary</script>`
	page := inspectionPage(&mcpoauth.Inspection{
		URL: markup, Resource: markup, Issuer: markup,
		Findings:            []mcpoauth.Finding{{Severity: mcpoauth.SeverityError, ID: markup, Message: markup, Fix: markup, Reference: markup}},
		Requests:            []mcpoauth.InspectedRequest{{URL: markup, Outcome: markup}},
		Challenge:           &mcpoauth.InspectedChallenge{Status: 401, Headers: []string{markup}},
		ProtectedResource:   []byte(`{"x":"` + markup + `"}`),
		AuthorizationServer: []byte(`{"x":"` + markup + `"}`),
	})
	if strings.Contains(page, "<script") || strings.Count(page, "&lt;script&gt;canary") < 12 {
		t.Errorf("%d pieces of markup as text in\n%s", strings.Count(page, "&lt;script&gt;canary"), page)
	}
}
