package interop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/interop/servers"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

// peer is a product that runs, with an MCP server that takes its tokens.
type peer struct {
	mcpURL string
	// introspection is where the audience of opaque tokens is asked for, empty if nowhere.
	introspection string
}

// product is an authorization server of others.
type product struct {
	name    string
	version func(t *testing.T) string
	// start starts it with access tokens that live for life.
	start func(t *testing.T, life time.Duration) peer
	// life is five seconds if it is 0.
	life time.Duration
	// flags are what a login needs besides the URL.
	flags []string
	// special and setting are the words for docs/servers.md.
	special, setting string
}

// seat is a person at a terminal: the command, with a directory of its own.
type seat struct {
	dir, url string
	flags    []string
}

func (s *seat) command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := command()
	if err != nil {
		t.Fatalf("%v: %s", err, path)
	}
	cmd := exec.CommandContext(ctx, path, append(args, "--log-level", "debug")...)
	cmd.Env = append(os.Environ(), "MCPOAUTH_DIR="+s.dir)
	return cmd
}

// run runs a command to its end.
func (s *seat) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := s.command(ctx, t, args...)
	var out, log strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String(), log.String(), cmd.ProcessState.ExitCode()
}

var address = regexp.MustCompile(`(?m)^  (http\S+)\n`)

// login runs a login, whose pages are answered in Chromium, and returns its log and the callback as the browser saw it.
func (s *seat) login(t *testing.T, extra ...string) (log string, callback url.Values) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := s.command(ctx, t, slices.Concat([]string{"login", s.url, "--no-browser", "--timeout", "3m"}, s.flags, extra)...)
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	stdin, err := cmd.StdinPipe() // stays open: nothing is pasted
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !address.MatchString(said.String()) {
		select {
		case err := <-ended:
			t.Fatalf("login: %v\n%s", err, said.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	page := address.FindStringSubmatch(said.String())[1]
	u, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	chromium := chromiumPath(t)
	browsing, stop := context.WithCancel(ctx)
	defer stop()
	arrived := make(chan string, 1)
	go func() {
		at, err := browse(browsing, chromium, page, u.Query().Get("redirect_uri"))
		if err != nil {
			t.Errorf("%s: %v", page, err)
		}
		arrived <- at
	}()
	if err := <-ended; err != nil {
		t.Fatalf("login: %v\n%s", err, said.String())
	}
	time.AfterFunc(5*time.Second, stop) // the page that the browser ended at is still there
	if back, err := url.Parse(<-arrived); err == nil {
		callback = back.Query()
	}
	return said.String(), callback
}

// tokens asks for a token in several processes at once, and returns it and the number of refreshes.
func (s *seat) tokens(t *testing.T, processes int, extra ...string) (token string, refreshes int) {
	t.Helper()
	type printed struct {
		token, log string
		code       int
	}
	results := make([]printed, processes)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			results[i].token, results[i].log, results[i].code = s.run(t, append([]string{"token", s.url}, extra...)...)
		})
	}
	wg.Wait()
	for _, r := range results {
		refreshes += legs(r.log, mcpoauth.LegRefresh)
		if r.code != 0 || r.token != results[0].token {
			t.Errorf("token: exit code %d, one of several tokens: %v\n%s", r.code, r.token != results[0].token, r.log)
		}
	}
	return strings.TrimSpace(results[0].token), refreshes
}

// legs counts the exchanges of a leg in a debug log.
func legs(log string, leg mcpoauth.Leg) int {
	return strings.Count(log, " leg="+string(leg)+" ")
}

func (s *seat) store(t *testing.T) *filestore.Store {
	t.Helper()
	st, err := filestore.New(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// client is a program on the same machine that uses the login.
func (s *seat) client(t *testing.T) *mcpoauth.Client {
	t.Helper()
	return newClient(t, s.url, mcpoauth.Options{Store: s.store(t)})
}

func (s *seat) stored(t *testing.T) *record.Login {
	t.Helper()
	return stored(t, s.store(t), s.client(t))
}

func untilEnd(rec *record.Login) { time.Sleep(time.Until(rec.Expiry) + 200*time.Millisecond) }

// cycle is a login from its beginning to its end, and again, at a product as it runs.
func (p *product) cycle(t *testing.T) {
	if p.life == 0 {
		p.life = 5 * time.Second
	}
	running := p.start(t, p.life)
	s := &seat{dir: t.TempDir(), url: running.mcpURL, flags: p.flags}
	m := &servers.Server{Product: p.name, Version: p.version(t), Special: p.special, Setting: p.setting}

	in, code := inspectServer(t, s.url, s.flags...)
	if code != 0 || !in.Login.Possible {
		t.Errorf("inspect: exit code %d, %+v", code, in.Login)
	}
	log, callback := s.login(t)
	if n := listTools(t.Context(), t, s.client(t)); n == 0 {
		t.Error("no tools")
	}
	first := s.stored(t)
	announce(m, in.AuthorizationServer, log, callback, first)
	m.Resource = audience(t, running, first)

	untilEnd(first)
	token, refreshes := s.tokens(t, 1)
	second := s.stored(t)
	if refreshes != 1 || token == first.AccessToken || token != second.AccessToken {
		t.Errorf("at the end of the token: %d refreshes", refreshes)
	}
	last := s.fiveProcesses(t, second, p.life)
	if n := listTools(t.Context(), t, s.client(t)); n == 0 {
		t.Error("no tools after refreshes")
	}
	m.Revocation = s.logout(t, in.AuthorizationServer["revocation_endpoint"] != nil, last)

	s.login(t)
	if n := listTools(t.Context(), t, s.client(t)); n == 0 {
		t.Error("no tools after a login again")
	}
	m.Rotation, m.Reuse = reuse(t, s.stored(t))
	m.Offline = s.offline(t, in.AuthorizationServer)
	m.DPoP = s.bound(t, in.AuthorizationServer)
	if !t.Failed() {
		measured(t, *m)
	}
}

// fiveProcesses come at the end of a token: one of them refreshes. The tokens live for seconds, so on a machine that
// is busy it may be their end again before all have come; then that is done again.
func (s *seat) fiveProcesses(t *testing.T, rec *record.Login, life time.Duration) *record.Login {
	t.Helper()
	for range 4 {
		untilEnd(rec)
		begun := time.Now()
		token, refreshes := s.tokens(t, 5)
		rec = s.stored(t)
		if time.Since(begun) > life/2 && refreshes > 1 {
			continue
		}
		if refreshes != 1 || token != rec.AccessToken {
			t.Errorf("five processes at the end of a token: %d refreshes", refreshes)
		}
		return rec
	}
	t.Fatal("the machine is too busy for tokens of this life")
	return nil
}

// logout ends the login, and says what the server makes of the refresh token then.
func (s *seat) logout(t *testing.T, revokes bool, last *record.Login) string {
	t.Helper()
	out, log, code := s.run(t, "logout", s.url, "--json")
	var res struct {
		Revoked       bool
		ClientDeleted bool `json:"client_deleted"`
	}
	if err := json.Unmarshal([]byte(out), &res); err != nil || code != 0 || res.Revoked != revokes {
		t.Errorf("logout: %v, exit code %d, %s\n%s", err, code, out, log)
	}
	if _, _, code := s.run(t, "token", s.url); code != 3 {
		t.Errorf("token after the logout: exit code %d", code)
	}
	answer := refreshByHand(t, last, last.RefreshToken)
	said := "revoked, then " + answer.String()
	switch {
	case !revokes && answer.ok():
		said = "not offered: the refresh token lives on"
	case !revokes:
		said = "not offered, " + answer.String()
	case answer.ok():
		t.Errorf("the server still takes the refresh token")
	}
	if res.ClientDeleted {
		said += "; the client is deleted too (RFC 7592)"
	}
	return said
}

// answer is what a token endpoint says.
type answer struct {
	status  int
	Error   string
	Refresh string `json:"refresh_token"`
}

func (a answer) ok() bool { return a.status == http.StatusOK }

func (a answer) String() string {
	if a.Error == "" {
		return strconv.Itoa(a.status)
	}
	return strconv.Itoa(a.status) + " `" + a.Error + "`"
}

// refreshByHand sends a refresh token as the client of a login would.
func refreshByHand(t *testing.T, rec *record.Login, token string) (a answer) {
	t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {rec.Registration.ClientID}}
	if rec.Resource != "" {
		form.Set("resource", rec.Resource)
	}
	if rec.Registration.ClientSecret != "" && rec.Registration.AuthMethod == "client_secret_post" {
		form.Set("client_secret", rec.Registration.ClientSecret)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, rec.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if rec.Registration.AuthMethod == "client_secret_basic" {
		req.SetBasicAuth(url.QueryEscape(rec.Registration.ClientID), url.QueryEscape(rec.Registration.ClientSecret))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	a.status = resp.StatusCode
	_ = json.Unmarshal([]byte(body(t, resp)), &a) // not all errors are JSON
	return a
}

// reuse refreshes twice with one refresh token, and then with the newest.
func reuse(t *testing.T, rec *record.Login) (rotation, what string) {
	t.Helper()
	once := refreshByHand(t, rec, rec.RefreshToken)
	if !once.ok() {
		t.Fatalf("a refresh by hand: %v", once)
	}
	if once.Refresh == "" || once.Refresh == rec.RefreshToken {
		return "the same", ""
	}
	again := refreshByHand(t, rec, rec.RefreshToken)
	if again.ok() {
		return "a new one", "accepted"
	}
	if refreshByHand(t, rec, once.Refresh).ok() {
		return "a new one", again.String() + ", the new one lives"
	}
	return "a new one", again.String() + ", and the new one ends"
}

// offline is a login without offline_access, where the server knows that scope.
func (s *seat) offline(t *testing.T, metadata map[string]any) string {
	t.Helper()
	if !slices.Contains(words(metadata["scopes_supported"]), "offline_access") {
		return "not listed"
	}
	s.login(t, "--force", "--offline-access", "never")
	if s.stored(t).RefreshToken == "" {
		return "listed, and needed for a refresh token"
	}
	return "listed, not needed for a refresh token"
}

// bound is a login whose tokens are bound to a key, where the server knows that.
func (s *seat) bound(t *testing.T, metadata map[string]any) string {
	t.Helper()
	algorithms := words(metadata["dpop_signing_alg_values_supported"])
	if len(algorithms) == 0 {
		return "no"
	}
	s.login(t, "--force", "--dpop", "always")
	if kind := s.stored(t).TokenType; kind != "DPoP" {
		t.Errorf("--dpop always: a token of the type %s", kind)
	}
	return "tokens are bound with `--dpop always`"
}

// announce notes what the metadata says, and what a login showed.
func announce(m *servers.Server, metadata map[string]any, log string, callback url.Values, rec *record.Login) {
	m.Registration = "by hand"
	if legs(log, mcpoauth.LegRegistration) > 0 {
		m.Registration = "dynamic"
	}
	if rec.Registration.ClientSecret == "" {
		m.Registration += ", public"
	} else {
		m.Registration += ", `" + rec.Registration.AuthMethod + "`"
	}
	m.Documents = yes(metadata["client_id_metadata_document_supported"] == true, "announced")
	m.Device = yes(metadata["device_authorization_endpoint"] != nil, "announced")
	m.PAR = yes(metadata["pushed_authorization_request_endpoint"] != nil, "announced")
	if metadata["require_pushed_authorization_requests"] == true {
		m.PAR = "required"
	}
	m.Issuer = yes(callback.Has("iss"), "sent")
	if callback.Has("iss") && metadata["authorization_response_iss_parameter_supported"] == true {
		m.Issuer = "sent and announced"
	}
}

func yes(is bool, word string) string {
	if is {
		return word
	}
	return "no"
}

// audience is what became of the resource parameter.
func audience(t *testing.T, running peer, rec *record.Login) string {
	t.Helper()
	var claims struct {
		Aud any
	}
	parts := strings.Split(rec.AccessToken, ".")
	switch {
	case len(parts) == 3:
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
	case running.introspection != "":
		if err := introspect(t.Context(), running.introspection, rec.AccessToken, &claims); err != nil {
			t.Fatal(err)
		}
	default:
		return "not visible: the token is opaque"
	}
	if slices.Contains(words(claims.Aud), rec.Resource) {
		return "the token's `aud`"
	}
	return "ignored"
}

// words reads a list of texts, or one text.
func words(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

var measuring sync.Mutex

// measured compares what was measured with what docs/servers.md says, or writes both.
func measured(t *testing.T, m servers.Server) {
	t.Helper()
	measuring.Lock()
	defer measuring.Unlock()
	list, err := servers.Load("servers.json")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(s servers.Server) bool { return s.Product == m.Product })
	if !*update {
		if i < 0 || list[i] != m {
			t.Errorf("docs/servers.md does not say what was measured (go test -run '%s' -update):\n%+v", t.Name(), m)
		}
		return
	}
	if i < 0 {
		list = append(list, m)
	} else {
		list[i] = m
	}
	if err := servers.Save("servers.json", list); err != nil {
		t.Fatal(err)
	}
	if list, err = servers.Load("servers.json"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte(servers.Page(list)), 0o644); err != nil {
		t.Fatal(err)
	}
}

const page = "../docs/servers.md"

// TestServersPage: the page is made of what was measured, and has a row for each product that is.
func TestServersPage(t *testing.T) {
	if *update {
		t.Skip("it is written")
	}
	list, err := servers.Load("servers.json")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(page)
	if err != nil || string(data) != servers.Page(list) {
		t.Errorf("%v: %s is not what interop/servers.json says; go test -run 'TestProducts|TestKeycloak|TestSpring|TestHydra' -update writes it", err, page)
	}
	var have, want []string
	for _, s := range list {
		have = append(have, s.Product)
	}
	for _, p := range slices.Concat(products, []product{theKeycloak, spring, oryHydra}) {
		want = append(want, p.name)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("servers.json has %q, the tests have %q", have, want)
	}
}
