package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/proxy"
	"github.com/mcpoauth/mcpoauth/store"
)

// host is the near side of a bridge.
type host struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *bufio.Reader
	errs *syncBuffer
	code chan int
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func bridge(t *testing.T, args ...string) *host {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	h := &host{t, inW, bufio.NewReader(outR), &syncBuffer{}, make(chan int, 1)}
	go func() {
		code := Main(append([]string{"proxy"}, args...), inR, outW, h.errs)
		outW.Close()
		h.code <- code
	}()
	t.Cleanup(func() { h.end() })
	return h
}

func (h *host) end() int {
	_ = h.in.Close()
	_, _ = io.Copy(io.Discard, h.out)
	select {
	case code := <-h.code:
		h.code <- code
		return code
	case <-time.After(5 * time.Second):
		h.t.Error("the bridge does not end")
		return -1
	}
}

// ask sends a message and returns the answer.
func (h *host) ask(message string) map[string]any {
	h.t.Helper()
	if _, err := io.WriteString(h.in, message+"\n"); err != nil {
		h.t.Fatalf("%v; %s", err, h.errs)
	}
	line, err := h.out.ReadString('\n')
	if err != nil {
		h.t.Fatalf("no answer: %v; %s", err, h.errs)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		h.t.Fatalf("%q: %v", line, err)
	}
	return m
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

func bridgeHome(t *testing.T) {
	t.Setenv("MCPOAUTH_DIR", filepath.Join(t.TempDir(), "logins"))
	t.Setenv("BROWSER", "testbrowser")
}

func TestABridgeLogsInWhenTheHostAsks(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	h := bridge(t, srv.MCPURL())
	if m := h.ask(initialize); m["result"] == nil {
		t.Fatalf("initialize: %v; %s", m, h.errs)
	}
	if _, err := io.WriteString(h.in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	if m := h.ask(`{"jsonrpc":"2.0","id":"a","method":"tools/list"}`); m["id"] != "a" || m["result"] == nil {
		t.Errorf("tools/list: %v", m)
	}
	srv.Expire()
	if m := h.ask(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`); m["result"] == nil || srv.Count("refresh") != 1 {
		t.Errorf("after the token's end: %v, %d refreshes", m, srv.Count("refresh"))
	}
	// A tool that needs another scope: the person is asked once more.
	if m := h.ask(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"write_note","arguments":{}}}`); m["result"] == nil || srv.Count("authorize") != 2 {
		t.Errorf("step-up: %v, %d visits; %s", m, srv.Count("authorize"), h.errs)
	}
	if code := h.end(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	for _, s := range srv.Secrets() {
		if strings.HasPrefix(s, "access-") && strings.Contains(h.errs.String(), s) {
			t.Error("a token was printed")
		}
	}
	// Another bridge has the same login.
	h = bridge(t, srv.MCPURL())
	if m := h.ask(initialize); m["result"] == nil || srv.Count("authorize") != 2 {
		t.Errorf("a second bridge: %v, %d visits", m, srv.Count("authorize"))
	}
}

func TestAHostIsToldToLogIn(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	h := bridge(t, srv.MCPURL(), "--no-browser", "--login-wait", "300ms")
	m := h.ask(initialize)
	e, _ := m["error"].(map[string]any)
	if e == nil || !strings.Contains(e["message"].(string), "mcpoauth login "+srv.MCPURL()) {
		t.Fatalf("got %v", m)
	}
	if !strings.Contains(h.errs.String(), srv.Issuer()) {
		t.Errorf("the address is not printed: %s", h.errs)
	}
}

func TestOtherProgramsArgumentsAreTaken(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	dir := t.TempDir()
	info := filepath.Join(dir, "client.json")
	if err := os.WriteFile(info, []byte(`{"client_id":"known","client_secret":"s3cret-canary"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	srv.AddClient(authtest.Client{ID: "known", Secret: "s3cret-canary", RedirectURIs: []string{"http://localhost:39217/callback"}})
	t.Setenv("TENANT", "acme")
	h := bridge(t, srv.MCPURL(), "39217", "--header", "X-Tenant: ${TENANT}", "--host", "localhost", "--transport", "http-first", "--auth-timeout", "60",
		"--ignore-tool", "write*", "--static-oauth-client-info", "@"+info, "--static-oauth-client-metadata", `{"client_name":"Me"}`, "--allow-http", "--enable-proxy", "--debug")
	if m := h.ask(initialize); m["result"] == nil {
		t.Fatalf("initialize: %v; %s", m, h.errs)
	}
	m := h.ask(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if b, _ := json.Marshal(m); strings.Contains(string(b), "write_note") || !strings.Contains(string(b), "whoami") {
		t.Errorf("tools: %s", b)
	}
	if srv.Count("registration") != 0 {
		t.Error("a client was registered")
	}
	tenant := false
	for _, r := range srv.Requests() {
		tenant = tenant || r.Leg == "mcp" && r.Header.Get("X-Tenant") == "acme"
	}
	if !tenant {
		t.Error("the header was not sent")
	}
	h.end()
	if s := h.errs.String(); !strings.Contains(s, "--enable-proxy is not needed") || strings.Contains(s, "canary") {
		t.Errorf("stderr: %s", s)
	}
	for _, args := range [][]string{
		{"proxy", srv.MCPURL(), "port"},
		{"proxy", srv.MCPURL(), "0"},
		{"proxy", srv.MCPURL(), "65536"},
		{"proxy", srv.MCPURL(), "--verify", "/no/such/authority.pem"},
		{"proxy", srv.MCPURL(), "--transport", "pigeon"},
		{"proxy", srv.MCPURL(), "--verify", "false"},
		{"proxy", srv.MCPURL(), "--static-oauth-client-info", "{}"},
		{"proxy", srv.MCPURL(), "--static-oauth-client-info", "@/no/such"},
		{"proxy"},
	} {
		var errs strings.Builder
		if code := Main(args, strings.NewReader(""), io.Discard, &errs); code != exitUsage || !strings.Contains(errs.String(), "hint: ") {
			t.Errorf("%v: %d, %s", args, code, errs.String())
		}
	}
}

// TestASecretOnACommandLineIsWarnedOf, since every user of the machine can read it; not one in a file.
func TestASecretOnACommandLineIsWarnedOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.json")
	const client = `{"client_id":"me","client_secret":"canary"}`
	if err := os.WriteFile(file, []byte(client), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, warned := range map[string]bool{client: true, "@" + file: false, `{"client_id":"me"}`: false} {
		var errs strings.Builder
		b := &bridging{f: &flags{u: newUI(nil, nil, &errs)}, alias: aliases{staticClient: value}}
		if err := b.translateClient(); err != nil || b.f.clientID != "me" {
			t.Errorf("%s: %v", value, err)
		}
		if got := strings.Contains(errs.String(), "warning: a secret on a command line can be read"); got != warned || strings.Contains(errs.String(), "canary") {
			t.Errorf("%s: %s", value, errs.String())
		}
	}
}

func TestTransports(t *testing.T) {
	for name, want := range map[string]proxy.Mode{
		"": proxy.HTTPFirst, "http-first": proxy.HTTPFirst, "sse-first": proxy.SSEFirst, "http-only": proxy.HTTPOnly, "http": proxy.HTTPOnly, "sse-only": proxy.SSEOnly, "sse": proxy.SSEOnly,
	} {
		if got, err := (&bridging{transport: name}).mode(); got != want || err != nil {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

// TestTheCommandForAPersonIsQuoted: it is copied into a shell, and the URL may have anything in it.
func TestTheCommandForAPersonIsQuoted(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	h := bridge(t, srv.MCPURL()+"?a=1&b=$(x)", "--no-browser", "--login-wait", "100ms")
	m := h.ask(initialize)
	e, _ := m["error"].(map[string]any)
	if text, _ := e["message"].(string); !strings.Contains(text, "mcpoauth login '"+srv.MCPURL()+"?a=1&b=$(x)'") {
		t.Errorf("got %v", m)
	}
}

// TestNobodyIsAskedWithAuthNone, as with fastmcp-remote.
func TestNobodyIsAskedWithAuthNone(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	h := bridge(t, srv.MCPURL(), "--auth", "none")
	if m := h.ask(initialize); m["error"] == nil {
		t.Errorf("got %v", m)
	}
	if srv.Count("authorize")+srv.Count("registration") != 0 {
		t.Error("a login was begun")
	}
}

// TestVerifyFalseIsNotAFile: the other programs switch the check of certificates off by it.
func TestVerifyFalseIsNotAFile(t *testing.T) {
	bridgeHome(t)
	for _, off := range []string{"false", "False", "0", "no", "off"} {
		var errs strings.Builder
		code := Main([]string{"proxy", "https://mcp.example/mcp", "--verify", off}, strings.NewReader(""), io.Discard, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), "--verify false is not supported") || !strings.Contains(errs.String(), "--ca-file") {
			t.Errorf("--verify %s: %d, %s", off, code, errs.String())
		}
	}
}

// It has a row in docs/compatibility.md.
func TestCredentialsOfYourOwn(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	t.Setenv("KEY", "mine")
	h := bridge(t, srv.MCPURL(), "--header", "Authorization: Bearer ${KEY}")
	if m := h.ask(initialize); m["error"] == nil {
		t.Errorf("got %v", m)
	}
	if srv.Count("authorize")+srv.Count("registration") != 0 {
		t.Error("a login was begun")
	}
}

func TestClassify(t *testing.T) {
	for err, want := range map[error]proxy.Failure{
		io.ErrUnexpectedEOF:                                            {Kind: proxy.FailedNetwork},
		&mcpoauth.LoginRequiredError{}:                                 {Kind: proxy.FailedLogin},
		&mcpoauth.ScopeError{Asked: true}:                              {Kind: proxy.FailedDenied, Code: "insufficient_scope"},
		&mcpoauth.TemporaryError{RetryAfter: time.Second, Err: io.EOF}: {Kind: proxy.FailedTemporary, RetryAfter: time.Second},
		&mcpoauth.Error{Op: mcpoauth.OpToken, Code: "invalid_client"}:  {Kind: proxy.FailedOther, Code: "invalid_client"},
		&mcpoauth.Error{Op: mcpoauth.OpAuthorization, Code: "access_denied", Err: mcpoauth.ErrAccessDenied}: {Kind: proxy.FailedDenied, Code: "access_denied"},
		&mcpoauth.Error{Op: mcpoauth.OpDiscovery}:                                                           {Kind: proxy.FailedOther},
		fmt.Errorf("cannot read it: %w", &store.CorruptError{Err: io.EOF}):                                  {Kind: proxy.FailedLogin},
		&store.VersionError{}: {Kind: proxy.FailedOther},
		&store.SealedError{}:  {Kind: proxy.FailedOther},
		fmt.Errorf("cannot read it: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}): {Kind: proxy.FailedOther},
	} {
		if got := classify(err); got != want {
			t.Errorf("%v: %+v, want %+v", err, got, want)
		}
	}
}

// TestAHostOpensTheAddress: one that takes addresses is asked to open the page of a step-up, and no browser of ours.
func TestAHostOpensTheAddress(t *testing.T) {
	for _, action := range []string{"decline", "accept"} {
		t.Run(action, func(t *testing.T) {
			bridgeHome(t)
			srv := authtest.New(t, nil)
			h := bridge(t, srv.MCPURL())
			say := func(line string) {
				t.Helper()
				if _, err := io.WriteString(h.in, line+"\n"); err != nil {
					t.Fatal(err)
				}
			}
			h.ask(strings.Replace(initialize, `"capabilities":{}`, `"capabilities":{"elicitation":{"url":{}}}`, 1))
			say(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
			t.Setenv("BROWSER", "false")
			const write = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note","arguments":{}}}`
			asked := h.ask(write)
			params, _ := asked["params"].(map[string]any)
			address, _ := params["url"].(string)
			if asked["method"] != "elicitation/create" || params["mode"] != "url" || !strings.HasPrefix(address, srv.Issuer()) {
				t.Fatalf("the host got %v; %s", asked, h.errs)
			}
			say(`{"jsonrpc":"2.0","id":"` + asked["id"].(string) + `","result":{"action":"` + action + `"}}`)
			want := []string{`"access_denied"`}
			if action == "accept" {
				if _, err := srv.Browser(t.Context(), address); err != nil {
					t.Fatal(err)
				}
				want = []string{"Written.", "notifications/elicitation/complete"} // in any order
			}
			var got strings.Builder
			for range want {
				line, err := h.out.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString(line)
			}
			for _, w := range want {
				if !strings.Contains(got.String(), w) {
					t.Errorf("%s is missing in %s", w, got.String())
				}
			}
			// What was declined is not asked for again at once; what was allowed need not be.
			if m := h.ask(write); (m["error"] != nil) != (action == "decline") {
				t.Errorf("right after it: %v", m)
			}
		})
	}
}

// TestALoginElsewhereBeginsAnotherSession: a bridge that goes on with it shows the session of the old login to nobody
// else.
func TestALoginElsewhereBeginsAnotherSession(t *testing.T) {
	bridgeHome(t)
	srv := authtest.New(t, nil)
	h := bridge(t, srv.MCPURL())
	if m := h.ask(initialize); m["result"] == nil {
		t.Fatalf("initialize: %v; %s", m, h.errs)
	}
	if m := h.ask(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); m["result"] == nil {
		t.Errorf("tools/list: %v", m)
	}
	var errs syncBuffer
	if code := Main([]string{"login", srv.MCPURL(), "--force"}, strings.NewReader(""), io.Discard, &errs); code != exitDone {
		t.Fatalf("%d, %s", code, &errs)
	}
	seen := len(srv.Requests())
	srv.Expire()
	if m := h.ask(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`); m["result"] == nil {
		t.Errorf("tools/list: %v", m)
	}
	if code := h.end(); code != exitDone {
		t.Errorf("exit code %d; %s", code, h.errs)
	}
	sessions := map[string]bool{}
	refused := ""
	for i, r := range srv.Requests() {
		id := r.Header.Get("Mcp-Session-Id")
		switch {
		case r.Leg != "mcp" || id == "":
		case i >= seen && refused == "":
			refused = id // with the token of before
		case id == refused:
			t.Error("the session of the old login was used with the new one")
		}
		sessions[id] = true
	}
	delete(sessions, "")
	if len(sessions) != 2 {
		t.Errorf("%d sessions; %s", len(sessions), h.errs)
	}
}

// TestWhichStepUpsOpenABrowserUnasked: docs/bridge.md says so. A server may demand an administrator's scope, and a model
// calls the tool that needs it.
func TestWhichStepUpsOpenABrowserUnasked(t *testing.T) {
	published := []string{"mcp:read", "mcp:write", "offline_access"}
	for name, tc := range map[string]struct {
		scopes  []string // that the authorization server lists
		args    []string
		opens   bool
		capable string // of the host
	}{
		"a scope that is published":       {published, nil, true, `{}`},
		"one that nobody publishes":       {[]string{"mcp:read", "offline_access"}, nil, true, `{}`},
		"the same, always":                {[]string{"mcp:read", "offline_access"}, []string{"--step-up", "always"}, true, `{}`},
		"one that is published, never":    {published, []string{"--step-up", "never"}, false, `{}`},
		"a host that asks its own person": {[]string{"mcp:read", "offline_access"}, nil, true, `{"elicitation":{"url":{}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			bridgeHome(t)
			srv := authtest.New(t, &authtest.Options{Scopes: tc.scopes})
			h := bridge(t, append([]string{srv.MCPURL()}, tc.args...)...)
			if m := h.ask(strings.Replace(initialize, `"capabilities":{}`, `"capabilities":`+tc.capable, 1)); m["result"] == nil {
				t.Fatalf("initialize: %v; %s", m, h.errs)
			}
			if _, err := io.WriteString(h.in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n"); err != nil {
				t.Fatal(err)
			}
			m := h.ask(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"write_note","arguments":{}}}`)
			asked := m["method"] == "elicitation/create"
			if got := srv.Count("authorize") >= 2 || asked; got != tc.opens || asked != (tc.capable != `{}`) {
				t.Errorf("%d visits, %v; %s", srv.Count("authorize"), m, h.errs)
			}
			if tc.opens && name != "one that nobody publishes" {
				return
			}
			if tc.opens { // but not a second time
				before := srv.Count("authorize")
				m = h.ask(`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"write_note","arguments":{}}}`)
				if n := srv.Count("authorize"); n != before {
					t.Errorf("%d visits more", n-before)
				}
			}
			e, _ := m["error"].(map[string]any)
			data, _ := e["data"].(map[string]any)
			if data["reason"] != "access_denied" || data["oauthError"] != "insufficient_scope" || !strings.Contains(h.errs.String(), "mcpoauth login "+srv.MCPURL()+" --add-scope mcp:write") || strings.Contains(fmt.Sprint(e), "mcp:write") {
				t.Errorf("got %v; %s", m, h.errs)
			}
		})
	}
	var errs syncBuffer
	for _, command := range []string{"proxy", "run"} {
		if code := Main([]string{command, "https://mcp.example.com/mcp", "--step-up", "often", "--", "x"}, strings.NewReader(""), io.Discard, &errs); code != exitUsage {
			t.Errorf("%s: %d, %s", command, code, &errs)
		}
	}
}
