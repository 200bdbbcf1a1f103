package mcpoauth_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// A firewall answers with a page to a client that has no name, or that of a library.
//
// It has a row in docs/compatibility.md.
func TestAFirewallThatWantsAName(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	block := func(w http.ResponseWriter, r *http.Request) bool {
		ua := r.Header.Get("User-Agent")
		if ua != "" && !strings.HasPrefix(ua, "Go-http-client") && r.Header.Get("Accept") != "" {
			return false
		}
		return page(403, "text/html", "<html>blocked</html>")(w, r)
	}
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{
			"resource-metadata": block, "server-metadata": block, "registration": block, "token": block, "refresh": block, "revocation": block, "client-deletion": block, "par": block,
		}
	})
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Expire()
	if s := ping(t, c); s != 200 {
		t.Errorf("status %d", s)
	}
	if res, err := c.Logout(t.Context()); err != nil || !res.Revoked {
		t.Errorf("%+v, %v", res, err)
	}
	other := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt, Network: mcpoauth.NetworkOptions{UserAgent: "house/1"}})
	ping(t, other)
	if last := srv.Requests()[len(srv.Requests())-2]; last.Leg != "token" || last.Header.Get("User-Agent") != "house/1" {
		t.Errorf("%s by %q", last.Leg, last.Header.Get("User-Agent"))
	}
}

// A company's network: names that only the proxy knows, certificates of an authority of its own. All of a login
// goes that way, and nothing goes another.
//
// It has a row in docs/compatibility.md.
func TestAProxyAndAnAuthorityOfItsOwn(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://tools.corp.invalid/mcp", "https://login.corp.invalid"
	p := inOrder(t, mcp, issuer)
	metadata := metadataOf(issuer)
	metadata["revocation_endpoint"] = issuer + "/revoke"
	p.documents[issuer+"/.well-known/oauth-authorization-server"] = metadata
	roots, cert := authority(t, "tools.corp.invalid", "login.corp.invalid")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "https", r.Host
		if r.URL.Path == "/revoke" {
			p.requests = append(p.requests, "revoke")
			return
		}
		resp, err := p.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return
		}
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of who does not trust it
	server.StartTLS()
	defer server.Close()
	var mu sync.Mutex
	through := map[string]bool{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("%s %s", r.Method, r.URL)
			return
		}
		mu.Lock()
		through[r.Host] = true
		mu.Unlock()
		tunnel(w, server.Listener.Addr().String())
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := mcpoauth.Options{Network: mcpoauth.NetworkOptions{HTTPClient: &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}, RootCAs: roots}, Prompt: p.person}
	c := newClient(t, mcp, o)
	p.call(c)
	p.dead = "Bearer access-1"
	p.call(c)
	if res, err := c.Logout(t.Context()); err != nil || !res.Revoked {
		t.Errorf("%+v, %v", res, err)
	}
	got := slices.DeleteFunc(p.requests, func(s string) bool { return s == "metadata" })
	if !slices.Equal(got, []string{"register", "authorize", "authorization_code", "refresh_token", "revoke", "revoke"}) {
		t.Errorf("requests %v", got)
	}
	if len(through) != 2 || !through["tools.corp.invalid:443"] || !through["login.corp.invalid:443"] {
		t.Errorf("through the proxy: %v", through)
	}
	// Without its authority it is not trusted.
	o.Network.RootCAs = nil
	if _, err := newClient(t, mcp, o).Login(t.Context(), nil); err == nil || !strings.Contains(mcpoauth.Hint(err), "--ca-file") {
		t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
	}
}

// TestAServerWantsACertificate: the login and the requests take the client certificate along, and without one
// the error says which setting gives it.
//
// It has a row in docs/compatibility.md.
func TestAServerWantsACertificate(t *testing.T) {
	t.Parallel()
	roots, cert := authority(t, "localhost")
	var p *provider
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "https", r.Host
		resp, err := p.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return
		}
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	// With TLS 1.3 the missing certificate is sometimes noticed as a cut connection.
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	issuer := "https://localhost:" + port
	p = inOrder(t, issuer+"/mcp", issuer)
	server.StartTLS()
	defer server.Close()
	o := mcpoauth.Options{Network: mcpoauth.NetworkOptions{RootCAs: roots}, Prompt: p.person}
	if _, err := newClient(t, issuer+"/mcp", o).Login(t.Context(), nil); err == nil || errors.Is(err, mcpoauth.ErrTemporary) || !strings.Contains(mcpoauth.Hint(err), "--client-cert") {
		t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
	}
	o.Network.ClientCertificates = []tls.Certificate{cert}
	c := newClient(t, issuer+"/mcp", o)
	p.call(c)
	p.dead = "Bearer access-1"
	p.call(c)
}
