package authtest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/authtest"
)

func callTool(name string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":%q}}`, name)
}

// mcp sends a request with a token and more headers.
func (c *client) mcp(method, token, body string, header ...string) answer {
	c.t.Helper()
	return do(c.t, method, c.srv.MCPURL(), body, append(header, "Authorization", "Bearer "+token)...)
}

// RFC 9728 section 5.1 and RFC 6750 section 3.
func TestTheChallenge(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	address := `resource_metadata="` + origin(srv.MCPURL()) + `/.well-known/oauth-protected-resource/mcp"`
	_, h, _ := c.call("", ping)
	lines := h.Values("WWW-Authenticate")
	if len(lines) != 2 || !strings.Contains(lines[1], address) || strings.Contains(lines[1], "error=") || !strings.HasPrefix(lines[0], "Basic ") {
		t.Errorf("without a token no error is named (RFC 6750): %q", lines)
	}
	if !regexp.MustCompile(`^bEARER +`).MatchString(lines[1]) {
		t.Errorf("the scheme's case is not odd: %q", lines[1])
	}
	access, _ := c.login()
	for name, header := range map[string]string{
		"a token that nobody issued": "Bearer nonsense",
		"an empty token":             "Bearer ",
		"the echo of token_type":     "bEARER " + access,
		"another scheme":             "Basic " + access,
		"a refresh token":            "Bearer " + c.tokens()["refresh_token"].(string),
	} {
		a := do(t, http.MethodPost, srv.MCPURL(), ping, "Authorization", header)
		if got := strings.Join(a.header.Values("WWW-Authenticate"), ", "); a.status != http.StatusUnauthorized || !strings.Contains(got, `error="invalid_token"`) || !strings.Contains(got, address) {
			t.Errorf("%s: %d, %s", name, a.status, got)
		}
	}
	if a := do(t, http.MethodPost, srv.MCPURL()+"?access_token="+access, ping); a.status != http.StatusUnauthorized {
		t.Errorf("a token in the address: %d", a.status)
	}
	// A token of another authorization server.
	other := newClient(t, authtest.New(t, nil))
	foreign, _ := other.login()
	if c.status(access) != http.StatusOK || c.status(foreign) != http.StatusUnauthorized {
		t.Error("a token of another server is good here")
	}
}

func TestToolsAndScopes(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	reader, _ := c.login()
	c.change = set("scope", "mcp:read mcp:write")
	writer, _ := c.login()
	c.change = set("scope", "mcp:write")
	other, _ := c.login()

	list := c.mcp(http.MethodPost, reader, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	for _, want := range []string{`"name":"whoami"`, `"name":"write_note"`, `"inputSchema":{"type":"object"}`, `"id":1`, `"jsonrpc":"2.0"`} {
		if !strings.Contains(list.body, want) {
			t.Errorf("tools/list has no %s: %s", want, list.body)
		}
	}
	for name, tc := range map[string]struct {
		token, body string
		status      int
		want        string
	}{
		"who am I":                  {reader, callTool("whoami"), 200, `"text":"You may: mcp:read"`},
		"who am I, with more":       {writer, callTool("whoami"), 200, `"text":"You may: mcp:read mcp:write"`},
		"a note":                    {writer, callTool("write_note"), 200, `"text":"Written."`},
		"a note, not allowed":       {reader, callTool("write_note"), 403, ""},
		"nothing without mcp:read":  {other, ping, 403, ""},
		"a tool that is not there":  {reader, callTool("rm"), 200, `"code":-32602`},
		"a method that is not here": {reader, `{"jsonrpc":"2.0","id":"x","method":"resources/list"}`, 200, `"code":-32601`},
		"ping":                      {reader, ping, 200, `"result":{}`},
		"a notification":            {reader, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202, ""},
		"no JSON":                   {reader, `hello`, 400, ""},
	} {
		a := c.mcp(http.MethodPost, tc.token, tc.body)
		if a.status != tc.status || !strings.Contains(a.body, tc.want) || tc.want == "" && a.body != "" {
			t.Errorf("%s: %d, %s", name, a.status, a.body)
		}
	}
	// A 403 names what is missing and not what is there (RFC 6750 section 3.1).
	for token, missing := range map[string]string{reader: "mcp:write", other: "mcp:read"} {
		got := c.mcp(http.MethodPost, token, callTool("write_note")).header.Values("WWW-Authenticate")
		if len(got) != 1 || !strings.HasPrefix(got[0], `Bearer error="insufficient_scope", scope="`+missing+`", resource_metadata="`) {
			t.Errorf("without %s: %q", missing, got)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		if a := c.mcp(method, reader, ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST, DELETE" {
			t.Errorf("%s: %d, %v", method, a.status, a.header)
		}
	}
}

func TestSessions(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	access, _ := c.login()
	begin := func(version string) (id, got string) {
		a := c.mcp(http.MethodPost, access, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+version+`"}}`)
		result, _ := a.json["result"].(map[string]any)
		got, _ = result["protocolVersion"].(string)
		return a.header.Get("Mcp-Session-Id"), got
	}
	for ask, want := range map[string]string{"2025-06-18": "2025-06-18", "2024-11-05": "2024-11-05", "1999-01-01": "2025-11-25", "": "2025-11-25"} {
		if id, got := begin(ask); id == "" || got != want {
			t.Errorf("initialize with %q: %q, session %q", ask, got, id)
		}
	}
	if a := c.mcp(http.MethodPost, access, `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`); !strings.Contains(a.body, `"supportedVersions":["2026-07-28","2025-11-25"`) || a.header.Get("Mcp-Session-Id") != "" {
		t.Errorf("server/discover: %s", a.body)
	}
	with := func(method, id string) int {
		header := []string{"Mcp-Session-Id", id}
		if id == "" {
			header = nil
		}
		return c.mcp(method, access, ping, header...).status
	}
	first, _ := begin("2025-11-25")
	second, _ := begin("2025-11-25")
	if first == second {
		t.Error("two sessions have one ID")
	}
	got := []int{
		with(http.MethodPost, first), with(http.MethodDelete, first), with(http.MethodPost, first), with(http.MethodDelete, first),
		with(http.MethodPost, second), with(http.MethodDelete, ""), with(http.MethodPost, "made up"), with(http.MethodPost, ""),
	}
	if want := []int{200, 200, 404, 404, 200, 404, 404, 200}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// Nobody ends a session without a token.
	if a := do(t, http.MethodDelete, srv.MCPURL(), "", "Mcp-Session-Id", second); a.status != http.StatusUnauthorized || with(http.MethodPost, second) != http.StatusOK {
		t.Errorf("a session was ended without a token: %d", a.status)
	}
	srv.ForgetSessions()
	if got := with(http.MethodPost, second); got != http.StatusNotFound {
		t.Errorf("after a new start: %d", got)
	}
}
