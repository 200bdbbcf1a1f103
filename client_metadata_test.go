package mcpoauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// hosted serves what handle answers by TLS, and returns options for a client whose document is there.
func hosted(t *testing.T, handle http.HandlerFunc) *mcpoauth.Options {
	t.Helper()
	srv := httptest.NewTLSServer(handle)
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return &mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: srv.URL + "/oauth/client.json", Name: "Example"}, Network: mcpoauth.NetworkOptions{RootCAs: roots}}
}

// TestADocumentOfOurOwn is served, found good, and is a client for a login.
//
// It has a row in docs/compatibility.md.
func TestADocumentOfOurOwn(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signing, err := mcpoauth.NewClientKey(key, "k1", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*mcpoauth.Options){
		"public":           func(*mcpoauth.Options) {},
		"with a key":       func(o *mcpoauth.Options) { o.Client.Key = signing },
		"on a fixed port":  func(o *mcpoauth.Options) { o.Callback.Port, o.Callback.Path = 8910, "/oauth/callback" },
		"on the other one": func(o *mcpoauth.Options) { o.Callback.Host = "::1" },
	} {
		t.Run(name, func(t *testing.T) {
			var doc http.Handler
			o := hosted(t, func(w http.ResponseWriter, r *http.Request) { doc.ServeHTTP(w, r) })
			change(o)
			m, err := mcpoauth.NewClientMetadata(o)
			if err != nil {
				t.Fatal(err)
			}
			doc = m
			if faults, err := mcpoauth.CheckClientMetadata(t.Context(), o); err != nil || len(faults) != 0 {
				t.Errorf("%+v, %v", faults, err)
			}
			b, err := m.JSON()
			if err != nil || strings.Contains(string(b), `"d"`) {
				t.Errorf("%s, %v", b, err)
			}
		})
	}
	const url = "https://app.example.com/client.json"
	m, err := mcpoauth.NewClientMetadata(&mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: url}})
	if err != nil {
		t.Fatal(err)
	}
	srv := authtest.New(t, &authtest.Options{MetadataDocuments: map[string][]string{url: m.RedirectURIs}})
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: url}, Prompt: (&person{srv: srv}).prompt})
	if status := ping(t, c); status != http.StatusOK || srv.Count("registration") != 0 {
		t.Errorf("a login: %d, %d registrations", status, srv.Count("registration"))
	}
}

func TestDocumentsThatAreNotGoodEnough(t *testing.T) {
	t.Parallel()
	o := hosted(t, nil)
	m, err := mcpoauth.NewClientMetadata(o)
	if err != nil {
		t.Fatal(err)
	}
	good, err := m.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(map[string]any)
		member string
		grave  bool
	}{
		"another ID":           {func(d map[string]any) { d["client_id"] = m.ClientID + "/" }, "client_id", true},
		"no name":              {func(d map[string]any) { delete(d, "client_name") }, "client_name", false},
		"another callback":     {func(d map[string]any) { d["redirect_uris"] = []string{"http://127.0.0.1/other"} }, "redirect_uris", true},
		"a port of its own":    {func(d map[string]any) { d["redirect_uris"] = []string{"http://127.0.0.1:1/callback"} }, "redirect_uris", true},
		"a secret":             {func(d map[string]any) { d["client_secret"] = "x" }, "client_secret", true},
		"a secret's method":    {func(d map[string]any) { d["token_endpoint_auth_method"] = "client_secret_post" }, "token_endpoint_auth_method", true},
		"no grant":             {func(d map[string]any) { d["grant_types"] = []string{"implicit"} }, "grant_types", true},
		"no refresh":           {func(d map[string]any) { d["grant_types"] = []string{"authorization_code"} }, "grant_types", false},
		"another response":     {func(d map[string]any) { d["response_types"] = []string{"token"} }, "response_types", true},
		"a picture elsewhere":  {func(d map[string]any) { d["logo_uri"] = "https://evil.example/x.png" }, "logo_uri", false},
		"much that none needs": {func(d map[string]any) { d["x"] = strings.Repeat("x", 6<<10) }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var doc map[string]any
			if err := json.Unmarshal(good, &doc); err != nil {
				t.Fatal(err)
			}
			tc.change(doc)
			b, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			faults := m.Check(b)
			if len(faults) != 1 || faults[0].Member != tc.member || faults[0].Grave != tc.grave || faults[0].Fix == "" {
				t.Errorf("%+v", faults)
			}
		})
	}
	for name, b := range map[string]string{"a page": "<html>", "a list": "[]", "nothing": ""} {
		if faults := m.Check([]byte(b)); !slices.ContainsFunc(faults, func(f mcpoauth.ClientMetadataFault) bool { return f.Grave }) {
			t.Errorf("%s: %+v", name, faults)
		}
	}
	for name, tc := range map[string]struct {
		handle http.HandlerFunc
		says   string
	}{
		"moved":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere.json", http.StatusFound) }, "redirects"},
		"missing":    {http.NotFound, "404"},
		"for few":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "403"},
		"a web page": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "cannot be read"},
	} {
		faults, err := mcpoauth.CheckClientMetadata(t.Context(), hosted(t, tc.handle))
		if err != nil || len(faults) == 0 || !faults[0].Grave || !strings.Contains(faults[0].Message, tc.says) {
			t.Errorf("%s: %+v, %v", name, faults, err)
		}
	}
	busy := hosted(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	if _, err := mcpoauth.CheckClientMetadata(t.Context(), busy); !errors.Is(err, mcpoauth.ErrTemporary) {
		t.Errorf("a server in trouble: %v", err)
	}
	var oe *mcpoauth.OptionError
	if _, err := mcpoauth.NewClientMetadata(nil); !errors.As(err, &oe) {
		t.Errorf("no address: %v", err)
	}
}
