package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/takeover"
)

// TestLifetimesInWords: what is unknown is not promised, and a login that ends unless it is used says when.
func TestLifetimesInWords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.Local)
	for name, tc := range map[string]struct {
		st        mcpoauth.Status
		line, row string
	}{
		"an end, renewed":      {mcpoauth.Status{Expiry: now.Add(time.Hour), CanRefresh: true}, "; it is refreshed automatically", ""},
		"an end unless used":   {mcpoauth.Status{Expiry: now.Add(time.Hour), CanRefresh: true, RefreshExpiry: now.Add(30 * time.Minute)}, "; it is refreshed automatically, until 2026-11-28 12:30 (30m) unless used", "until 2026-11-28 12:30 (30m) unless used"},
		"an end that has come": {mcpoauth.Status{Expiry: now.Add(-time.Hour), CanRefresh: true, RefreshExpiry: now.Add(-30 * time.Minute)}, "", "expired 2026-11-28 11:30 (30m ago)"},
		"no end given":         {mcpoauth.Status{CanRefresh: true}, "; the server does not say when the token expires: it is refreshed when the MCP server rejects it", ""},
	} {
		st := tc.st
		st.ServerURL = "https://s.example/mcp"
		if line := loginLine(&st, true, now); !strings.HasSuffix(line, tc.line) {
			t.Errorf("%s: %q", name, line)
		}
		if row := refreshLifetime(&st, now); row != tc.row {
			t.Errorf("%s: %q", name, row)
		}
		var out bytes.Buffer
		if err := (&ui{out: &out}).printList([]*mcpoauth.Status{&st}, nil, false); err != nil || strings.Contains(out.String(), "REFRESH TOKEN") != (tc.row != "") {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
		out.Reset()
		if err := (&ui{out: &out}).printList([]*mcpoauth.Status{&st}, nil, true); err != nil || strings.Contains(out.String(), `"refresh_expires_at": null`) != (tc.row == "") {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
	if got := describe(&takeover.Login{RefreshToken: "r"}, now); strings.Contains(got, "first used") || !strings.Contains(got, "rejects") {
		t.Errorf("a login to take over without an end: %q", got)
	}
}
