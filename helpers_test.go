package mcpoauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// errorAt reports whether err is, or wraps, an Error of the step op, which it stores in e.
func errorAt(err error, op mcpoauth.Op, e **mcpoauth.Error) bool {
	return errors.As(err, e) && (*e).Op == op
}

// inOrder is a provider with nothing odd about it, for a test to change one thing.
func inOrder(t *testing.T, mcp, issuer string) *provider {
	t.Helper()
	u, err := url.Parse(mcp)
	if err != nil {
		t.Fatal(err)
	}
	prm := u.Scheme + "://" + u.Host + path.Join("/.well-known/oauth-protected-resource", u.Path)
	base := strings.TrimSuffix(issuer, "/")
	return &provider{
		t: t, mcp: mcp, authorize: base + "/authorize", token: base + "/token", register: base + "/register", method: "none", rotating: true, iss: issuer,
		documents: map[string]any{prm: prmAt(mcp, issuer), base + "/.well-known/oauth-authorization-server": metadataOf(issuer)},
		answer:    usualAnswer,
	}
}

func metadataOf(issuer string) map[string]any {
	base := strings.TrimSuffix(issuer, "/")
	return map[string]any{
		"issuer": issuer, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "registration_endpoint": base + "/register",
		"code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"none"},
		"authorization_response_iss_parameter_supported": true,
	}
}

var registeredOnce = append([]string{"register"}, once...)

// asked returns the authorization requests that a server got.
func asked(srv *authtest.Server) []url.Values {
	var out []url.Values
	for _, r := range srv.Requests() {
		if r.Leg == "authorize" {
			out = append(out, r.Query)
		}
	}
	return out
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

func clientOf(p *provider) *http.Client { return &http.Client{Transport: p} }

// showTo is a Prompt that notes the address and ends the login.
func showTo(shown *string) mcpoauth.Prompt {
	return func(_ context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		*shown = lp.URL
		return nil, errors.New("shown")
	}
}

// person is a Prompt that plays a person who allows, and counts how often one was asked.
type person struct {
	srv *authtest.Server
	mu  sync.Mutex
	n   int
}

func (p *person) prompt(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	p.mu.Lock()
	p.n++
	p.mu.Unlock()
	_, err := p.srv.Browser(ctx, lp.URL)
	return nil, err
}

func (p *person) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// nobody returns a Prompt that fails the test if it is called.
func nobody(t *testing.T) mcpoauth.Prompt {
	return func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		t.Error("somebody was asked to log in")
		return nil, errors.New("nobody is here")
	}
}

func newClient(t *testing.T, url string, opts mcpoauth.Options) *mcpoauth.Client {
	t.Helper()
	if opts.Store == nil && opts.CacheDir == "" {
		opts.Store = memstore.New()
	}
	c, err := mcpoauth.New(url, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// ping sends a request to the MCP server and returns the status.
func ping(t *testing.T, c *mcpoauth.Client) int {
	t.Helper()
	status, err := tryPing(c)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func tryPing(c *mcpoauth.Client) (int, error) {
	return call(c, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
}

func call(c *mcpoauth.Client, body string) (int, error) {
	resp, err := c.HTTPClient().Post(c.ServerURL(), "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// stored returns the record of c's login.
func stored(t *testing.T, st store.Store, c *mcpoauth.Client) *record.Login {
	t.Helper()
	data, _, err := st.Load(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.DecodeLogin(data)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// overwrite puts another record in the place of a client's login.
func overwrite(t *testing.T, st store.Store, c *mcpoauth.Client, rec *record.Login) {
	t.Helper()
	data, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	key := store.Key{Kind: store.KindLogin, ID: c.ServerURL()}
	_, rev, err := st.Load(t.Context(), key)
	if err == nil {
		_, err = st.Save(t.Context(), key, data, rev)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func legs(srv *authtest.Server) []string {
	var out []string
	for _, r := range srv.Requests() {
		out = append(out, r.Leg)
	}
	return out
}

func page(status int, contentType, body string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// brokenStore fails to save logins while it is broken.
type brokenStore struct {
	*memstore.Store
	mu     sync.Mutex
	broken bool
}

func (b *brokenStore) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken && key.Kind == store.KindLogin {
		return 0, errors.New("no space left on device")
	}
	return b.Store.Save(ctx, key, data, rev)
}

func (b *brokenStore) set(broken bool) {
	b.mu.Lock()
	b.broken = broken
	b.mu.Unlock()
}

// stuckStore does not answer, or gives no lock, until the caller has had enough.
type stuckStore struct {
	*memstore.Store
	what  string
	stuck chan struct{}
}

func (s *stuckStore) hang(ctx context.Context, what string) error {
	if s.what != what {
		return nil
	}
	s.stuck <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func (s *stuckStore) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if err := s.hang(ctx, "load"); err != nil {
		return nil, 0, err
	}
	return s.Store.Load(ctx, key)
}

func (s *stuckStore) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if err := s.hang(ctx, "lock"); err != nil {
		return nil, nil, err
	}
	return s.Store.Lock(ctx, key, name)
}

// newRecorded returns a store that has this login to the server at mcp.
func newRecorded(t *testing.T, mcp string, rec record.Login) *memstore.Store {
	t.Helper()
	rec.ServerURL, rec.Resource = mcp, mcp
	data, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	st := memstore.New()
	if _, err := st.Save(t.Context(), store.Key{Kind: store.KindLogin, ID: mcp}, data, 0); err != nil {
		t.Fatal(err)
	}
	return st
}

// loginKey is where the login of c lies.
func loginKey(c *mcpoauth.Client, profile string) store.Key {
	return store.Key{Kind: store.KindLogin, ID: c.ServerURL(), Profile: profile}
}

// sends is an http.RoundTripper that is a function.
type sends func(*http.Request) (*http.Response, error)

func (f sends) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
