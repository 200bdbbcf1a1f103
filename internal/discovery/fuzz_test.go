package discovery

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// script answers the requests of one discovery: resource metadata addresses with one document, all others
// with another, and counts.
type script struct {
	t           *testing.T
	prm, server []byte
	status      int

	mu      sync.Mutex // several addresses are asked at once
	asked   int
	origins map[string]bool
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked++
	s.origins[resource.Origin(r.URL)] = true
	s.mu.Unlock()
	if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" || r.URL.User != nil || r.URL.Scheme != "https" {
		s.t.Errorf("%s %s", r.Method, r.URL)
	}
	body := s.server
	if strings.Contains(r.URL.Path, "oauth-protected-resource") || r.URL.Path == "/meta" {
		body = s.prm
	}
	return &http.Response{StatusCode: s.status, Header: http.Header{"Location": {"/x"}}, Body: io.NopCloser(strings.NewReader(string(body))), Request: r}, nil
}

// FuzzDiscover answers with foreign bytes. Whatever they are: few requests, no panic, and what is accepted keeps
// the promises of this package.
func FuzzDiscover(f *testing.F) {
	usualPRM := []byte(`{"resource":"` + mcp + `","authorization_servers":["` + issuer + `"]}`)
	f.Add(usualPRM, []byte(metadata(issuer, nil)), "", 200)
	f.Add(usualPRM, []byte(metadata(issuer+"/", nil)), "/meta", 200)
	f.Add([]byte("{}"), []byte(metadata(mcpOrigin, nil)), "", 200)
	f.Add([]byte(`{"resource":"`+mcpOrigin+`","authorization_servers":["`+issuer+`/t","`+issuer+`/t?","x"]}`), []byte(metadata(issuer+"/t", map[string]any{"code_challenge_methods_supported": nil})), mcpOrigin+"/meta#x", 200)
	f.Add(usualPRM, []byte(htmlPage), "https://evil.example.net/", 302)
	f.Add(usualPRM, []byte(strings.Replace(metadata(issuer, nil), `"https://auth.example.com/token"`, `"https://user@auth.example.com/token"`, 1)), "", 200)
	files, _ := filepath.Glob("../../testdata/corpus/*")
	if len(files) < 50 {
		f.Fatalf("%d documents", len(files))
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if strings.Contains(name, "-prm.") {
			f.Add(b, []byte(metadata(issuer, nil)), "", 200)
		} else if m, err := wire.ParseServerMetadata(b); err == nil {
			f.Add([]byte(`{"resource":"`+mcp+`","authorization_servers":["`+m.Issuer+`"]}`), b, "", 200)
		}
	}
	f.Fuzz(func(t *testing.T, prm, server []byte, header string, status int) {
		s := &script{t: t, prm: prm, server: server, status: status, origins: map[string]bool{}}
		c, err := netguard.New(netguard.Config{HTTPClient: &http.Client{Transport: s}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := Discover(context.Background(), c, Request{ServerURL: mcp, MetadataURL: header})
		// Three places, each redirected three times, and six for each of three issuers.
		if s.asked > (3+3*6)*4 {
			t.Errorf("%d requests", s.asked)
		}
		if err != nil {
			var f *wire.Fault
			if res != nil || !errors.As(err, &f) || f.Stage != "discovery" || f.Message == "" || strings.ContainsAny(f.Error()+f.Hint, "\x1b\r\n") {
				t.Fatalf("%#v", err)
			}
			return
		}
		if !resource.SameIssuer(res.Announced, res.Issuer) || res.Issuer != res.Server.Issuer {
			t.Errorf("announced %q, found %q", res.Announced, res.Issuer)
		}
		if res.Legacy != (res.ResourceMetadata == nil) || res.Legacy && res.Announced != mcpOrigin || !resource.SameOrParent(res.Resource, mcp) || res.Guessed {
			t.Errorf("%+v", res)
		}
		silent := string(res.Server.Raw["code_challenge_methods_supported"])
		if !strings.Contains(silent, `S256`) && !strings.Contains(silent, `\u`) && !isKnown(res.Issuer, silentPKCE) {
			t.Errorf("no PKCE: %s", silent)
		}
		for _, e := range []string{res.Server.AuthorizationEndpoint, res.Server.TokenEndpoint, res.Server.RegistrationEndpoint, res.Server.RevocationEndpoint, res.Server.PushedAuthorizationRequestEndpoint} {
			u, err := url.Parse(e)
			if e == "" && e != res.Server.AuthorizationEndpoint && e != res.Server.TokenEndpoint {
				continue
			}
			if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
				t.Errorf("endpoint %q", e)
			}
		}
	})
}

// FuzzKnownIssuer looks for a host that passes for another one.
func FuzzKnownIssuer(f *testing.F) {
	for _, k := range known {
		for _, issuer := range k.Issuers {
			f.Add(strings.ReplaceAll(issuer, "*", "a"))
		}
	}
	f.Add("https://evil.net@x.b2clogin.com/t/v2.0")
	suffixes := []string{
		"login.microsoftonline.com", "sts.windows.net", "login.microsoftonline.us", "login.partner.microsoftonline.cn", ".ciamlogin.com", ".b2clogin.com", ".amazonaws.com", "github.com", "accounts.google.com",
		"mcp.slack.com", "slack.com", ".okta.com", ".auth0.com", "auth.atlassian.com", "login.salesforce.com", "test.salesforce.com", ".my.salesforce.com",
		"www.dropbox.com", "dropbox.com",
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Only what has the form of an issuer gets this far.
		if !isIssuer(s) || ProviderOf(s) == nil {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q", s)
		}
		for _, x := range suffixes {
			if host := u.Hostname(); host == x || strings.HasPrefix(x, ".") && strings.HasSuffix(host, x) {
				return
			}
		}
		t.Errorf("%q passes", s)
	})
}
