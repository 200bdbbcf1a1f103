package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/terminal"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// demoLifetime is how long the demo's access tokens live: long enough to be used, short enough
// to be watched while they end.
const demoLifetime = 3 * time.Second

func newDemo(f *flags) *cobra.Command {
	var realBrowser bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "show the whole protocol against an embedded server, without set-up",
		Long: `Start a protected MCP server with its authorization server on this machine, and show every HTTP
exchange in the life of a login: discover, register, log in, call a tool, let the token expire, refresh,
revoke. It plays the person's part itself and ends after a few seconds. Your own logins are not
touched.`,
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&realBrowser, "browser", false, "log in yourself, in the real browser")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runDemo(cmd.Context(), f.u, realBrowser)
	}
	return cmd
}

// demo tells the story on stdout.
type demo struct {
	u     *ui
	srv   *authtest.Server
	paint func(sgr, text string) string
	begun time.Time
	// origins become short names where the terminal is too narrow for whole URLs.
	origins *strings.Replacer
	narrow  bool
	width   int // of the URL column

	mu    sync.Mutex
	seen  int
	about string // what the next MCP request is for
	back  string // where the browser brings the code
	heard int    // how many of the server's requests were looked at
	err   error  // of writing
}

func runDemo(ctx context.Context, u *ui, realBrowser bool) (err error) {
	srv, err := authtest.Start(&authtest.Options{AccessTokenLifetime: demoLifetime})
	if err != nil {
		return fmt.Errorf("the demo's server could not be started: %w", err)
	}
	defer srv.Close()
	d := &demo{u: u, srv: srv, paint: painter(u.out), begun: time.Now()}
	d.layout()

	o := &mcpoauth.Options{
		Store:  memstore.New(),
		Client: mcpoauth.ClientOptions{Name: "mcpoauth demo"},
		Trace:  &mcpoauth.Trace{Exchange: d.exchange},
	}
	show := d.play
	if realBrowser {
		show = mcpoauth.TerminalPrompt(u.in, u.err, nil)
	}
	o.Prompt = func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		d.mu.Lock()
		d.back = p.RedirectURI
		d.mu.Unlock()
		return show(ctx, p)
	}
	c, err := mcpoauth.New(srv.MCPURL(), o)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := c.Close(context.WithoutCancel(ctx)); err == nil {
			err = cerr
		}
	}()
	if err := d.tell(ctx, c); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// tell is the story.
func (d *demo) tell(ctx context.Context, c *mcpoauth.Client) error {
	mcp, as := "", ""
	if d.narrow {
		mcp, as = " (mcp below)", " (auth below)"
	}
	d.print("A protected MCP server at %s%s,", d.srv.MCPURL(), mcp)
	d.print("its authorization server at %s%s. Both are part of this demo.", d.srv.Issuer(), as)
	d.print("\n%s", d.paint(dim, d.aligned(row{at: "TIME", leg: "LEG", address: "URL", about: "WHAT FOR"})))

	d.heading("Discover, register, log in")
	d.next("asked without a token, the server says where to look")
	tok, err := c.Login(ctx, nil)
	if err != nil {
		return err
	}
	old := tok.AccessToken()
	d.result("logged in; the access token lives %s", short(demoLifetime))

	d.heading("Call a tool")
	if err := d.call(ctx, c); err != nil {
		return err
	}

	d.heading("Let the token expire, call again")
	if err := d.sleep(ctx, time.Until(tok.Expiry())+50*time.Millisecond); err != nil {
		return err
	}
	if err := d.call(ctx, c); err != nil {
		return err
	}
	if tok, err = c.Token(ctx, nil); err != nil {
		return err
	}
	if tok.AccessToken() == old {
		return errors.New("the token was not refreshed")
	}
	d.result("no prompt: the refresh token gave a new access token")

	d.heading("Revoke")
	if _, err := c.Logout(ctx); err != nil {
		return err
	}
	if err := d.refused(ctx, tok.AccessToken()); err != nil {
		return err
	}
	if _, err := c.Token(ctx, nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
		return fmt.Errorf("after the logout there is still a login: %w", err)
	}
	d.result("the tokens are revoked at the server and forgotten here")

	d.mu.Lock()
	seen := d.seen
	d.mu.Unlock()
	d.print("")
	d.print("Shown: %d HTTP exchanges in %s: discovery, registration, login with PKCE, two tool calls,", seen, short(time.Since(d.begun)))
	d.print("one refresh, a logout. With a server of yours: mcpoauth login URL")
	return nil
}

// layout decides how exchanges are shown: on one line with whole URLs, or, on a narrow terminal, on
// two with short ones.
func (d *demo) layout() {
	mcp, as := originOf(d.srv.MCPURL()), originOf(d.srv.Issuer())
	const longestPath = len("/.well-known/oauth-protected-resource/mcp")
	d.width = max(len(mcp), len(as)) + longestPath
	if w := columns(d.u.out); w > 0 && w < d.width+90 {
		d.narrow = true
		d.origins = strings.NewReplacer(mcp, "mcp", as, "auth")
		d.width = len("mcp") + longestPath
	}
}

// row is one exchange as it is shown.
type row struct{ at, leg, method, address, status, about string }

// aligned is a row as one line, or two on a narrow terminal.
func (d *demo) aligned(r row) string {
	pad := strings.Repeat(" ", max(0, d.width-displayWidth(r.address)))
	line := fmt.Sprintf(" %7s %-17s %-4s %s%s %3s", r.at, r.leg, r.method, r.address, pad, r.status)
	if d.narrow {
		return line + "\n         " + r.about
	}
	return line + "  " + r.about
}

func originOf(raw string) string {
	r, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return r.Scheme + "://" + r.Host
}

func (d *demo) print(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write(fmt.Sprintf(format, args...))
}

// write writes one line; the caller holds the lock.
func (d *demo) write(line string) {
	if _, err := fmt.Fprintln(d.u.out, line); err != nil && d.err == nil {
		d.err = err
	}
}

func (d *demo) heading(text string) { d.print("\n%s", d.paint(bold, text)) }

func (d *demo) result(format string, args ...any) {
	d.print("  %s", d.paint(green, "= "+fmt.Sprintf(format, args...)))
}

// next says what the next MCP request is for.
func (d *demo) next(about string) {
	d.mu.Lock()
	d.about = about
	d.mu.Unlock()
}

// purposes says what each leg is for.
var purposes = map[string]string{
	"challenge":         "asked without a token, the server says where to look",
	"resource-metadata": "which authorization server the tokens come from",
	"server-metadata":   "its endpoints and what it supports",
	"registration":      "this program becomes a client there",
	"par":               "the authorization request is pushed beforehand",
	"authorize":         "the person sees who asks for what",
	"consent":           "the person allows it",
	"callback":          "the browser brings the code back",
	"token":             "the code and the PKCE verifier become tokens",
	"refresh":           "the refresh token becomes a new pair",
	"revocation":        "a token is revoked",
	"client-deletion":   "the client is deleted",
}

// exchange shows one HTTP exchange of the client.
func (d *demo) exchange(_ context.Context, e mcpoauth.Exchange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.browsed(e.Start, e.Leg == "token")
	about := purposes[string(e.Leg)]
	if e.Leg == "mcp" {
		about = d.about
	}
	status := fmt.Sprint(e.Status)
	if e.Err != nil {
		status, about = "–", clean(e.Err.Error())
	}
	d.line(e.Start, row{leg: string(e.Leg), method: e.Method, address: e.URL, status: status, about: about})
}

// browsed shows what the browser did meanwhile, of which only the server knows; the caller holds
// the lock. A code that is redeemed has come back before.
func (d *demo) browsed(now time.Time, back bool) {
	all := d.srv.Requests()
	for _, r := range all[min(d.heard, len(all)):] {
		if r.Leg == "authorize" || r.Leg == "consent" {
			d.line(r.Time, row{leg: r.Leg, method: r.Method, address: originOf(d.srv.Issuer()) + r.Path, status: fmt.Sprint(r.Status), about: purposes[r.Leg]})
		}
	}
	d.heard = len(all)
	if back && d.back != "" {
		d.line(now, row{leg: "callback", method: http.MethodGet, address: d.back, status: "200", about: purposes["callback"]})
		d.back = ""
	}
}

// line writes an exchange that began at a time; the caller holds the lock.
func (d *demo) line(at time.Time, r row) {
	d.seen++
	address, _, _ := strings.Cut(r.address, "?")
	if d.origins != nil {
		address = d.origins.Replace(address)
	}
	d.write(d.aligned(row{
		at: fmt.Sprintf("%6.3fs", at.Sub(d.begun).Seconds()), leg: clean(r.leg), method: clean(r.method), address: clean(address), status: r.status, about: d.paint(dim, r.about),
	}))
}

// play is the person at the browser: the real login page, its form and the button.
func (d *demo) play(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	_, err := d.srv.Browser(ctx, p.URL)
	return nil, err
}

// call calls a tool as any program would that has an http.Client.
func (d *demo) call(ctx context.Context, c *mcpoauth.Client) error {
	d.next("the tool whoami, with the token")
	body, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": 1, "method": "tools/call",
		"params": map[string]any{"name": "whoami", "arguments": map[string]any{}},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.ServerURL(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the tool call ended with %s", resp.Status)
	}
	text, err := toolText(b)
	if err != nil {
		return err
	}
	d.result("the tool says: %s", clean(text))
	return nil
}

// toolText reads the text of a tool's result, from JSON or the data lines of an event stream.
func toolText(b []byte) (string, error) {
	for line := range bytes.Lines(b) {
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			b = data
		}
	}
	var answer struct {
		Result struct {
			Content []struct {
				Text string `json:"text"`
			} `json:"content"`
		} `json:"result"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return "", fmt.Errorf("the tool's answer cannot be read: %w", err)
	}
	if len(answer.Result.Content) == 0 {
		return "", errors.New("the tool's answer is empty")
	}
	return answer.Result.Content[0].Text, nil
}

// refused shows that the server no longer takes a token.
func (d *demo) refused(ctx context.Context, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.srv.MCPURL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+token)
	at := time.Now()
	resp, err := new(http.Client).Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	d.mu.Lock()
	d.line(at, row{leg: "mcp", method: req.Method, address: d.srv.MCPURL(), status: fmt.Sprint(resp.StatusCode), about: "the old token, tried once more"})
	d.mu.Unlock()
	if resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("the server still accepts a revoked token: %s", resp.Status)
	}
	return nil
}

// sleep waits and shows it.
func (d *demo) sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	d.u.startWait(terminal.Wait{What: "letting the access token expire", Deadline: time.Now().Add(wait)})
	defer d.u.endWait()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
