package authtest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// answer is an HTTP response that was read to its end.
type answer struct {
	status int // 0: the connection was closed instead
	header http.Header
	body   string
	json   map[string]any
}

// err is the OAuth error code of an answer.
func (a answer) err() string { s, _ := a.json["error"].(string); return s }

// do sends one request and follows no redirect. header holds names and values in turn.
func do(t testing.TB, method, target, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
	_ = json.Unmarshal(b, &a.json)
	return a
}

func postForm(t testing.TB, target string, v url.Values, header ...string) answer {
	t.Helper()
	return do(t, http.MethodPost, target, v.Encode(), append(header, "Content-Type", "application/x-www-form-urlencoded")...)
}

// basic is a header of RFC 6749 section 2.3.1.
func basic(id, secret string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))}
}

// origin is the scheme, host and port of a URL.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u.Scheme + "://" + u.Host
}

// register registers a client with this metadata, next to a redirect URI.
func (c *client) register(members map[string]any) answer {
	c.t.Helper()
	doc := map[string]any{"redirect_uris": []string{redirect}, "application_type": "native"}
	for k, v := range members {
		doc[k] = v
		if v == nil {
			delete(doc, k)
		}
	}
	b, err := json.Marshal(doc)
	if err != nil {
		c.t.Fatal(err)
	}
	return do(c.t, http.MethodPost, c.str("registration_endpoint"), string(b), "Content-Type", "application/json")
}

// callback is what the client receives: the error, "code", or "page" when nobody is sent back.
func (c *client) callback() string {
	c.t.Helper()
	q, err := c.authorize(true)
	switch {
	case err != nil:
		return "page"
	case q.Has("code"):
		return "code"
	}
	return q.Get("error")
}

// newCode is a code of a login that was allowed.
func (c *client) newCode() string {
	c.t.Helper()
	q, err := c.authorize(true)
	if err != nil || q.Get("code") == "" {
		c.t.Fatalf("authorize: %v, %v", q, err)
	}
	return q.Get("code")
}

// tokens is a login's token response.
func (c *client) tokens() map[string]any {
	c.t.Helper()
	status, doc := c.exchange(c.newCode())
	if status != http.StatusOK {
		c.t.Fatalf("token: %d, %v", status, doc)
	}
	return doc
}

// status is that of an MCP request with a token.
func (c *client) status(token string) int {
	c.t.Helper()
	status, _, _ := c.call(token, ping)
	return status
}

// resourceMetadata asks for the document of RFC 9728.
func (c *client) resourceMetadata() answer {
	c.t.Helper()
	return do(c.t, http.MethodGet, origin(c.srv.MCPURL())+"/.well-known/oauth-protected-resource/mcp", "")
}

// serverMetadata asks for the document of RFC 8414.
func (c *client) serverMetadata() map[string]any {
	c.t.Helper()
	return do(c.t, http.MethodGet, metadataURL(c.srv), "").json
}

// legs are those that were recorded.
func legs(srv *authtest.Server) []string {
	var all []string
	for _, r := range srv.Requests() {
		all = append(all, r.Leg)
	}
	return all
}

// sprint joins what was seen into one string to compare.
func sprint(v ...any) string {
	var all []string
	for _, one := range v {
		all = append(all, fmt.Sprint(one))
	}
	return strings.Join(all, "|")
}

// set and drop change a request.
func set(k, v string) func(url.Values) { return func(q url.Values) { q.Set(k, v) } }

func drop(k string) func(url.Values) { return func(q url.Values) { q.Del(k) } }
