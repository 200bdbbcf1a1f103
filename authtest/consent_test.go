package authtest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/authtest"
)

var formOfPage = regexp.MustCompile(`(?s)<form method="post" action="([^"]+)">.*name="request" value="([^"]+)"`)

// request is a sound authorization request.
func (c *client) request() url.Values {
	sum := sha256.Sum256([]byte(c.verify))
	v := url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {redirect}, "state": {"s"}, "scope": {"mcp:read"}, "resource": {c.srv.MCPURL()},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if c.change != nil {
		c.change(v)
	}
	return v
}

// page opens the consent page and returns it with its form.
func (c *client) page() (a answer, action, id string) {
	c.t.Helper()
	a = do(c.t, http.MethodGet, c.str("authorization_endpoint")+"?"+c.request().Encode(), "")
	m := formOfPage.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || m == nil {
		c.t.Fatalf("the consent page: %d\n%s", a.status, a.body)
	}
	return a, origin(c.srv.Issuer()) + html.UnescapeString(m[1]), html.UnescapeString(m[2])
}

func (c *client) consentAction() string {
	c.t.Helper()
	_, action, _ := c.page()
	return action
}

func TestTheConsentPage(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	c.id = c.register(map[string]any{"client_name": `<b onclick="x">Evil & Co</b>`, "token_endpoint_auth_method": "none", "redirect_uris": []string{"com.example.app:/cb?a='%22><script>x</script>"}}).json["client_id"].(string)
	c.change = set("redirect_uri", "com.example.app:/cb?a='%22><script>x</script>")
	a, _, _ := c.page()
	for _, want := range []string{html.EscapeString(`<b onclick="x">Evil & Co</b>`), c.id, srv.MCPURL(), "mcp:read", "%22&gt;&lt;script&gt;x"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("a person is not told %q", want)
		}
	}
	// Self-contained, and nothing of it is another's.
	for _, bad := range []string{"<script", "<b ", " src=", "url(", "@import", "<link"} {
		if strings.Contains(a.body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	csp := a.header.Get("Content-Security-Policy")
	for name, ok := range map[string]bool{
		"not HTML":                  a.header.Get("Content-Type") == "text/html; charset=utf-8",
		"framed by anybody":         strings.Contains(csp, "frame-ancestors 'none'"),
		"scripts":                   strings.Contains(csp, "default-src 'none'") && !strings.Contains(csp, "script-src"),
		"kept in caches":            a.header.Get("Cache-Control") == "no-store",
		"sniffed":                   a.header.Get("X-Content-Type-Options") == "nosniff",
		"no dark colours":           strings.Contains(a.body, "prefers-color-scheme:dark"),
		"a placeholder left behind": !regexp.MustCompile(`\{(client|server|scopes|back|action|id|title|body)\}`).MatchString(a.body),
	} {
		if !ok {
			t.Errorf("the page: %s; %v", name, a.header)
		}
	}
	c.change = func(v url.Values) {
		v.Set("redirect_uri", "com.example.app:/cb?a='%22><script>x</script>")
		v.Del("scope")
	}
	if a, _, _ := c.page(); !strings.Contains(a.body, "whatever is needed") {
		t.Error("nothing is said about a request without a scope")
	}
}

func TestADecision(t *testing.T) {
	for name, tc := range map[string]struct {
		decision string
		want     string
	}{
		"allow":         {"allow", "code"},
		"deny":          {"deny", "access_denied"},
		"neither":       {"", "access_denied"},
		"another word":  {"Allow", "access_denied"},
		"allow, loudly": {"allow!", "access_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			c := newClient(t, srv)
			_, action, id := c.page()
			a := postForm(t, action, url.Values{"request": {id}, "decision": {tc.decision}})
			u, err := url.Parse(a.header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			got := q.Get("error")
			if q.Has("code") {
				got = "code"
			}
			// 303: a 307 would carry the form on to the client.
			if a.status != http.StatusSeeOther || got != tc.want || !strings.HasPrefix(u.String(), redirect+"?") {
				t.Errorf("%d, %s", a.status, u)
			}
			if q.Get("state") != "s" || q.Get("iss") != srv.Issuer() {
				t.Errorf("state and iss belong to errors, too: %v", q)
			}
			if a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("the redirect leaks: %v", a.header)
			}
			if a := postForm(t, action, url.Values{"request": {id}, "decision": {"allow"}}); a.status < 400 || a.header.Get("Location") != "" {
				t.Errorf("the form was taken twice: %d, %s", a.status, a.header.Get("Location"))
			}
		})
	}
}

func TestAConsentIsSentFromItsPage(t *testing.T) {
	c := newClient(t, authtest.New(t, nil))
	for name, header := range map[string][]string{
		"another site's form":          {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another port on this machine": {"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"},
		"an old browser":               {"Origin", "https://evil.example"},
		"a frame without an origin":    {"Origin", "null"},
	} {
		_, action, id := c.page()
		if a := postForm(t, action, url.Values{"request": {id}, "decision": {"allow"}}, header...); a.status < 400 || a.header.Get("Location") != "" {
			t.Errorf("%s: %d, %s", name, a.status, a.header.Get("Location"))
		}
		// The person is still there and may decide.
		a := postForm(t, action, url.Values{"request": {id}, "decision": {"allow"}}, "Sec-Fetch-Site", "same-origin", "Origin", origin(action))
		if !strings.Contains(a.header.Get("Location"), "code=") {
			t.Errorf("%s, then the person: %d, %s", name, a.status, a.body)
		}
	}
	_, action, id := c.page()
	for name, target := range map[string]string{"in the address": action + "?request=" + url.QueryEscape(id) + "&decision=allow", "without a form": action} {
		if a := do(t, http.MethodPost, target, ""); a.status < 400 {
			t.Errorf("%s: %d", name, a.status)
		}
		if a := do(t, http.MethodGet, target, ""); a.status < 400 {
			t.Errorf("%s, GET: %d", name, a.status)
		}
	}
	// Two pages have two forms.
	if _, _, other := c.page(); other == id || len(id) < 20 {
		t.Errorf("the hidden value can be guessed: %q, %q", id, other)
	}
}

// A page for a person, and nobody is sent anywhere: the redirect URI cannot be trusted.
func TestAnErrorThatIsNotSentBack(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	c.change = set("redirect_uri", "https://evil.example/<script>")
	a := do(t, http.MethodGet, c.str("authorization_endpoint")+"?"+c.request().Encode(), "")
	if a.status < 400 || a.header.Get("Location") != "" || !strings.Contains(a.body, "redirect URI") || strings.Contains(a.body, "<script>") {
		t.Errorf("%d, %v, %s", a.status, a.header, a.body)
	}
	if _, err := c.authorize(true); err == nil || !strings.Contains(err.Error(), "redirect URI") {
		t.Errorf("Decide does not say what the page says: %v", err)
	}
}

func TestTheRedirectKeepsTheQuery(t *testing.T) {
	c := newClient(t, authtest.New(t, nil))
	const withQuery = "http://127.0.0.1:9/callback?keep=me&code=old"
	c.id = c.register(map[string]any{"redirect_uris": []string{withQuery}, "token_endpoint_auth_method": "none"}).json["client_id"].(string)
	c.change = set("redirect_uri", withQuery)
	q, err := c.authorize(true)
	if err != nil || q.Get("keep") != "me" || len(q["code"]) != 1 || q.Get("code") == "old" {
		t.Errorf("%v, %v", q, err)
	}
}

// Browser goes where it is sent; the client's listener hears of it.
func TestBrowser(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	heard := make(chan *http.Request, 1)
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- r }))
	defer listener.Close()
	c.id = c.register(map[string]any{"redirect_uris": []string{listener.URL + "/cb"}, "token_endpoint_auth_method": "none"}).json["client_id"].(string)
	c.change = set("redirect_uri", listener.URL+"/cb")
	back, err := srv.Browser(t.Context(), c.str("authorization_endpoint")+"?"+c.request().Encode())
	if err != nil {
		t.Fatal(err)
	}
	r := <-heard
	if listener.URL+r.URL.String() != back || r.URL.Query().Get("code") == "" {
		t.Errorf("it went to %s and says %s", r.URL, back)
	}
	listener.Close()
	if _, err := srv.Browser(t.Context(), c.str("authorization_endpoint")+"?"+c.request().Encode()); err == nil {
		t.Error("it could not go back, and does not say so")
	}
}

func TestDecideOnOddPages(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	target := c.str("authorization_endpoint") + "?" + c.request().Encode()
	page := func(body string) func(*authtest.Faults) {
		return func(f *authtest.Faults) {
			f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"authorize": func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte(body))
				return true
			}}
		}
	}
	for name, fault := range map[string]func(*authtest.Faults){
		"no form":              page("<p>hello</p>"),
		"a form that is cut":   page(`<form method="post" action="/x`),
		"a form without value": page(`<form method="post" action="/x">`),
		"no answer":            func(f *authtest.Faults) { f.Drop = map[string]int{"consent": 1} },
		"a decision that leads nowhere": func(f *authtest.Faults) {
			f.Fail = map[string]int{"consent": http.StatusOK}
		},
	} {
		srv.Set(fault)
		if back, err := srv.Decide(t.Context(), target, true); err == nil {
			t.Errorf("%s: %s", name, back)
		}
		srv.Set(func(f *authtest.Faults) { *f = authtest.Faults{} })
	}
	for name, target := range map[string]string{"no address": "http://127.0.0.1:1/\x00", "nobody there": "http://127.0.0.1:1/"} {
		if _, err := srv.Decide(t.Context(), target, true); err == nil {
			t.Error(name)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := srv.Browser(gone, target); err == nil {
		t.Error("the context had ended")
	}
}
