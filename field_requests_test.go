package mcpoauth_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// The MCP server redirects. On its origin the token stays on the request; elsewhere nothing of it arrives.
func TestFieldRedirectsOfTheServer(t *testing.T) {
	var mu sync.Mutex
	var elsewhere []http.Header
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, r.Header)
	}))
	defer other.Close()
	for name, tc := range map[string]struct {
		status int
		to     string
		want   int
	}{
		"307 to a slash":         {307, "/mcp/", 200},
		"308 to a path below":    {308, "/mcp/v2", 200},
		"302 to another origin":  {302, other.URL + "/mcp", 302},
		"307 to another origin":  {307, other.URL + "/mcp", 307},
		"307 to another program": {307, "/admin", 307},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
			ping(t, c)
			var arrived []string
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{
					"mcp": func(w http.ResponseWriter, _ *http.Request) bool {
						w.Header().Set("Location", tc.to)
						w.WriteHeader(tc.status)
						return true
					},
					"other": func(_ http.ResponseWriter, r *http.Request) bool {
						body, _ := io.ReadAll(r.Body)
						arrived = append(arrived, r.Method+" "+r.Header.Get("Authorization")[:7]+" "+string(body))
						return true
					},
				}
			})
			status, err := call(c, `{"id":1}`)
			if err != nil || status != tc.want {
				t.Errorf("status %d, %v", status, err)
			}
			if tc.want == 200 && !slices.Equal(arrived, []string{`POST Bearer  {"id":1}`}) {
				t.Errorf("arrived: %q", arrived)
			}
			// A client of the caller's own that follows everything is stopped.
			hc := &http.Client{Transport: &mcpoauth.Transport{Client: c}}
			resp, err := hc.Post(c.ServerURL(), "application/json", strings.NewReader(`{"id":1}`))
			if err == nil {
				resp.Body.Close()
			}
			if (err == nil) != (tc.want == 200) {
				t.Errorf("a client that follows everything: %v", err)
			}
		})
	}
	if len(elsewhere) != 0 {
		t.Errorf("another origin got %v", elsewhere)
	}
}

// The token endpoint redirects: neither code nor refresh token goes there.
func TestFieldRedirectsOfTheTokenEndpoint(t *testing.T) {
	hits := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer other.Close()
	srv := authtest.New(t, nil)
	st := memstore.New()
	away := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", other.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	for _, leg := range []string{"registration", "token", "refresh", "revocation"} {
		srv.Set(func(f *authtest.Faults) {
			f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{leg: away}
		})
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
		var err error
		switch leg {
		case "refresh":
			srv.Expire()
			_, err = tryPing(c)
		case "revocation":
			srv.Set(func(*authtest.Faults) {})
			var res *mcpoauth.LogoutResult
			if res, err = c.Logout(t.Context()); err == nil && !res.Revoked {
				err = errors.New("the server could not be told")
			}
		default:
			_, err = c.Login(t.Context(), nil)
		}
		if err == nil {
			t.Errorf("%s: no error", leg)
		}
		srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
		if leg == "token" {
			ping(t, c)
		}
	}
	if hits != 0 {
		t.Errorf("another origin got %d requests", hits)
	}
}

// A firewall answers with a page to whoever has no name, or that of a library.
func TestFieldAFirewallThatWantsAName(t *testing.T) {
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
func TestFieldAProxyAndAnAuthorityOfItsOwn(t *testing.T) {
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

// TestFieldAServerWantsACertificate: the login and the requests take the client certificate along, and without one
// the error says which setting gives it.
func TestFieldAServerWantsACertificate(t *testing.T) {
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

// tunnel connects what sent a CONNECT request with an address.
func tunnel(w http.ResponseWriter, address string) {
	up, err := net.Dial("tcp", address)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer up.Close()
	w.WriteHeader(http.StatusOK)
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	go func() {
		_, _ = io.Copy(up, buffered)
		up.Close()
	}()
	_, _ = io.Copy(down, up)
}

// authority makes a certificate authority and a certificate of it.
func authority(t *testing.T, names ...string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	certify := func(tmpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.SerialNumber, tmpl.NotBefore, tmpl.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if parent == nil {
			parent, signer = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, key
	}
	ca, caKey := certify(&x509.Certificate{Subject: pkix.Name{CommonName: "a company"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, key := certify(&x509.Certificate{DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature}, ca, caKey)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return pool, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
}

// Logs and errors end up in bug reports: neither has a secret in it, also where the server's answers do.
func TestFieldLogsAndErrorsHoldNoSecret(t *testing.T) {
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = "client_secret_basic" })
	var log bytes.Buffer
	o := mcpoauth.Options{
		Store:   memstore.New(),
		Prompt:  (&person{srv: srv}).prompt,
		Network: mcpoauth.NetworkOptions{Header: http.Header{"X-Api-Key": {"header-canary"}}},
		Logger:  slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	say := func(err error) {
		if err != nil {
			fmt.Fprintf(&log, "%v %+v %#v %s\n", err, err, err, mcpoauth.Hint(err))
		}
	}
	c := newClient(t, srv.MCPURL(), o)
	ping(t, c)
	echoed := []string{}
	for _, answer := range []struct {
		status     int
		kind, body string
	}{
		{400, "application/json", `{"error":"invalid_request","error_description":"what is ECHO"}`},
		{200, "application/json", `{"access_token":"ECHO","token_type":"mac"}`},
		{200, "application/json", `{"access_token":"ECHO","expires_in":`},
		{200, "text/html", `<html>access_token=ECHO</html>`},
		{500, "text/plain", `panic: ECHO`},
		{200, "application/json", `{"access_token":["ECHO"],"refresh_token":{"a":"ECHO"}}`},
	} {
		srv.Expire()
		srv.Set(func(f *authtest.Faults) {
			f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": func(w http.ResponseWriter, r *http.Request) bool {
				last := srv.Requests()[len(srv.Requests())-1]
				secret := last.Form.Get("refresh_token")
				if answer.status != 400 {
					secret = fmt.Sprintf("echo-canary-%d", len(echoed))
				}
				echoed = append(echoed, secret)
				return page(answer.status, answer.kind, strings.ReplaceAll(answer.body, "ECHO", secret))(w, r)
			}}
		})
		// Another client, that no pause of the last one holds.
		_, err := tryPing(newClient(t, srv.MCPURL(), o))
		if err == nil {
			t.Errorf("%+v: no error", answer)
		}
		say(err)
	}
	srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
	again := newClient(t, srv.MCPURL(), o)
	ping(t, again)
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": func(w http.ResponseWriter, r *http.Request) bool {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="not today: `+token+`"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}}
	})
	refused := newClient(t, srv.MCPURL(), o)
	if _, err := tryPing(refused); err == nil || !strings.Contains(err.Error(), "not today") {
		t.Errorf("got %v", err)
	} else {
		say(err)
	}
	srv.Set(func(f *authtest.Faults) { f.Intercept, f.AuthorizeError = nil, "server_error" })
	_, err := again.Login(context.Background(), &mcpoauth.LoginOptions{Force: true})
	say(err)
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"revocation": func(w http.ResponseWriter, r *http.Request) bool {
			last := srv.Requests()[len(srv.Requests())-1]
			return page(400, "application/json", `{"error":"unsupported_token_type","error_description":"never heard of `+last.Form.Get("token")+`"}`)(w, r)
		}}
	})
	res, err := again.Logout(context.Background())
	say(err)
	fmt.Fprintf(&log, "%+v\n", res)
	if len(echoed) != 6 || !strings.Contains(log.String(), "leg=refresh") || !strings.Contains(log.String(), "what is [redacted]") || !strings.Contains(log.String(), "never heard of [redacted]") || !strings.Contains(log.String(), "server_error") {
		t.Errorf("%d answers; the log:\n%s", len(echoed), &log)
	}
	for _, secret := range append(append(srv.Secrets(), echoed...), "header-canary") {
		if i := strings.Index(log.String(), secret); i >= 0 {
			t.Errorf("%.12s… is in the log: …%s", secret, log.String()[max(0, i-200):i])
		}
	}
}
