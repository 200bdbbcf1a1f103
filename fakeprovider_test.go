package mcpoauth_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// provider is an MCP server and its authorization server as one provider runs them, under the names that
// they have in the field; nothing of it reaches a network. It checks PKCE, the redirect URI, and the client.
type provider struct {
	t *testing.T
	// mcp is the URL of the MCP server, challenge its WWW-Authenticate; typed is how a person writes the URL.
	mcp, challenge, typed string
	// documents lie at their addresses; every other address is elsewhere, a 404 if nil.
	documents map[string]any
	elsewhere *document
	// authorize, token and register are the endpoints.
	authorize, token, register string
	// client, secret and method are the one client that it knows. register sets the first two.
	client, secret, method string
	// authenticates is another rule for who the client is than method.
	authenticates func(id, secret string, basic bool, form url.Values) bool
	// iss goes into callbacks, if there is one.
	iss string
	// refuses is a rule of the provider's own: an error code for a request of a leg, or "".
	refuses func(leg string, form url.Values) string
	// answer is the token response; n counts them. The tokens are access-n and refresh-n, fail the error.
	answer func(n int) (contentType, body string)
	fail   func(code string) document

	codes    map[string]url.Values
	issued   int
	rotating bool
	requests []string
	dead     string
}

func (p *provider) fails(code string) document {
	if p.fail != nil {
		return p.fail(code)
	}
	return document{http.StatusBadRequest, "application/json", []byte(`{"error":"` + code + `"}`)}
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	at := *r.URL
	at.RawQuery = ""
	switch address := at.String(); {
	case r.Method == http.MethodPost && address == p.mcp:
		return p.serve(r, body), nil
	case r.Method == http.MethodPost && address == p.token:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		return p.tokens(r, form).response(r), nil
	case r.Method == http.MethodPost && p.register != "" && address == p.register:
		return p.registers(body).response(r), nil
	case r.Method == http.MethodGet && p.documents[address] != nil:
		p.requests = append(p.requests, "metadata")
		return p.document(address).response(r), nil
	}
	if p.elsewhere != nil {
		return p.elsewhere.response(r), nil
	}
	return document{404, "text/plain", []byte("not found")}.response(r), nil
}

func (p *provider) document(address string) document {
	switch d := p.documents[address].(type) {
	case document:
		return d
	case []byte:
		return document{200, "application/json", d}
	default:
		return made(p.t, 200, d)
	}
}

// serve is the MCP server: one tool, for the bearer of the last token.
func (p *provider) serve(r *http.Request, body []byte) *http.Response {
	last := fmt.Sprintf("Bearer access-%d", p.issued)
	if p.issued == 0 || r.Header.Get("Authorization") != last || last == p.dead {
		resp := document{401, "application/json", []byte(`{"error":"invalid_token"}`)}.response(r)
		if p.challenge != "" {
			resp.Header.Set("WWW-Authenticate", p.challenge)
		}
		return resp
	}
	if !bytes.Contains(body, []byte("tools/call")) {
		p.t.Errorf("the MCP server got %s", body)
	}
	return document{200, "application/json", []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}`)}.response(r)
}

func (p *provider) registers(body []byte) document {
	p.requests = append(p.requests, "register")
	var m struct {
		Redirects []string `json:"redirect_uris"`
		Method    string   `json:"token_endpoint_auth_method"`
	}
	if err := json.Unmarshal(body, &m); err != nil || len(m.Redirects) == 0 || m.Method != p.method {
		p.t.Errorf("registration %s, %v", body, err)
	}
	p.client = "registered"
	answer := map[string]any{"client_id": p.client, "redirect_uris": m.Redirects, "token_endpoint_auth_method": m.Method}
	if p.method != "none" {
		p.secret = "s+cret"
		answer["client_secret"] = p.secret
	}
	return made(p.t, 201, answer)
}

func (p *provider) tokens(r *http.Request, form url.Values) document {
	leg := form.Get("grant_type")
	p.requests = append(p.requests, leg)
	id, password, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		password, _ = url.QueryUnescape(password)
	} else {
		id, password = form.Get("client_id"), form.Get("client_secret")
	}
	known := id == p.client && password == p.secret && basic == (p.method == "client_secret_basic")
	if p.authenticates != nil {
		known = p.authenticates(id, password, basic, form)
	}
	if !known {
		return p.fails("invalid_client")
	}
	if p.refuses != nil {
		if code := p.refuses(leg, form); code != "" {
			return p.fails(code)
		}
	}
	switch leg {
	case "authorization_code":
		asked := p.codes[form.Get("code")]
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		if asked == nil || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) || asked.Get("redirect_uri") != form.Get("redirect_uri") {
			return p.fails("invalid_grant")
		}
		delete(p.codes, form.Get("code"))
	case "refresh_token":
		want := "refresh-1"
		if p.rotating {
			want = fmt.Sprintf("refresh-%d", p.issued)
		}
		if form.Get("refresh_token") != want {
			return p.fails("invalid_grant")
		}
	default:
		return p.fails("unsupported_grant_type")
	}
	p.issued++
	contentType, body := p.answer(p.issued)
	return document{200, contentType, []byte(body)}
}

// person consents in the browser.
func (p *provider) person(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	p.requests = append(p.requests, "authorize")
	u, err := url.Parse(lp.URL)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	u.RawQuery = ""
	back := url.Values{"state": {q.Get("state")}}
	if p.iss != "" {
		back.Set("iss", p.iss)
	}
	code := ""
	if p.refuses != nil {
		code = p.refuses("authorize", q)
	}
	switch {
	case u.String() != p.authorize || q.Get("response_type") != "code" || q.Get("client_id") != p.client || q.Get("code_challenge_method") != "S256":
		p.t.Errorf("the browser was sent to %s", lp.URL)
	case code != "":
		back.Set("error", code)
	default:
		p.codes = map[string]url.Values{"code-1": q}
		back.Set("code", "code-1")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.Get("redirect_uri")+"?"+back.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	return nil, resp.Body.Close()
}

// use logs in by calling a tool, calls it again in other processes after the access token has ended, which
// must take one refresh each and none of the options, and returns the requests but those for metadata.
func (p *provider) use(o mcpoauth.Options) []string {
	p.t.Helper()
	o.Network.HTTPClient, o.Prompt = &http.Client{Transport: p}, p.person
	if o.Store == nil {
		o.Store = memstore.New()
	}
	typed := cmp.Or(p.typed, p.mcp)
	p.call(newClient(p.t, typed, o))
	for range 2 {
		p.dead = fmt.Sprintf("Bearer access-%d", p.issued)
		p.call(newClient(p.t, typed, mcpoauth.Options{Store: o.Store, Network: mcpoauth.NetworkOptions{HTTPClient: o.Network.HTTPClient}, Prompt: nobody(p.t)}))
	}
	return slices.DeleteFunc(p.requests, func(s string) bool { return s == "metadata" })
}

func (p *provider) call(c *mcpoauth.Client) {
	p.t.Helper()
	if status, err := call(c, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"do","arguments":{}}}`); status != 200 {
		p.t.Fatalf("status %d, %v (%s)", status, err, mcpoauth.Hint(err))
	}
}

// refused logs in with options that do not fit and returns the error.
func (p *provider) refused(o mcpoauth.Options, hint string) error {
	p.t.Helper()
	o.Network.HTTPClient, o.Prompt = &http.Client{Transport: p}, p.person
	_, err := newClient(p.t, p.mcp, o).Login(p.t.Context(), nil)
	if err == nil || !strings.Contains(mcpoauth.Hint(err), hint) {
		p.t.Errorf("got %v with the hint %q, want one with %q", err, mcpoauth.Hint(err), hint)
	}
	return err
}

func usualAnswer(n int) (string, string) {
	return "application/json", fmt.Sprintf(`{"access_token":"access-%d","token_type":"Bearer","expires_in":3600,"refresh_token":"refresh-%d"}`, n, n)
}

var once = []string{"authorize", "authorization_code", "refresh_token", "refresh_token"}

func (p *provider) wants(got, want []string) {
	p.t.Helper()
	if !slices.Equal(got, want) {
		p.t.Errorf("requests %v, want %v", got, want)
	}
}

func prmAt(mcp string, issuers ...string) map[string]any {
	return map[string]any{"resource": mcp, "authorization_servers": issuers, "bearer_methods_supported": []string{"header"}}
}
