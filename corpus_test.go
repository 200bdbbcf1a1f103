package mcpoauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
)

// expectation is an entry of testdata/expected.json: a server made of observed documents, and what a
// login does there.
type expectation struct {
	// Server is the URL that a person types.
	Server string `json:"server"`
	// Documents are those that lie at an address of their own. What a login needs besides is made up
	// and in order.
	Documents map[string]string `json:"documents,omitempty"`
	// Challenge names an entry of testdata/challenges.json.
	Challenge string `json:"challenge,omitempty"`
	// Announces is the issuer that made-up resource metadata names; without it, and without a document
	// in its place, there is none.
	Announces string `json:"announces,omitempty"`
	// Registration and Token are the documents that those endpoints answer with.
	Registration string `json:"registration,omitempty"`
	Token        string `json:"token,omitempty"`
	// Options of the login that are not the default.
	Options *struct {
		ClientID       string `json:"client_id,omitempty"`
		AuthServer     string `json:"auth_server,omitempty"`
		Resource       string `json:"resource,omitempty"`
		MissingPKCE    bool   `json:"allow_missing_pkce,omitempty"`
		TokenMember    string `json:"token_member,omitempty"`
		AllowTokenType string `json:"allow_token_type,omitempty"`
	} `json:"options,omitempty"`

	// Client is how the login is known there; Findings are what inspect says, all of them.
	Client   string   `json:"client,omitempty"`
	Findings []string `json:"findings"`
	// Scopes are those asked for, counted, since some lists are long.
	Scopes int `json:"scopes"`
	// Error is the type of the error that ends the login, "" if it succeeds, and Says a part of it or of
	// its hint.
	Error string `json:"error,omitempty"`
	Says  string `json:"says,omitempty"`
}

// web is the part of the internet that an expectation describes. Nothing of it reaches a network, so that
// the names are the real ones and the policies for public hosts apply.
type web struct {
	expectation
	challenge string
	pages     map[string]document
	// posts are the answers of registration and token endpoints.
	posts map[string]document
	// promisesIss are the issuers to put into callbacks, by authorization endpoint.
	promisesIss map[string]string
	registered  int
}

type document struct {
	status      int
	contentType string
	body        []byte
}

func (d document) response(r *http.Request) *http.Response {
	return &http.Response{
		StatusCode: d.status, Header: http.Header{"Content-Type": {d.contentType}}, Body: io.NopCloser(bytes.NewReader(d.body)),
		Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

func corpusFile(t *testing.T, name string) document {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata/corpus", name))
	if err != nil {
		t.Fatal(err)
	}
	d := document{status: http.StatusOK, contentType: "application/json", body: body}
	switch filepath.Ext(name) {
	case ".html":
		d.contentType = "text/html"
	case ".form":
		d.contentType = "application/x-www-form-urlencoded"
	}
	switch {
	case strings.Contains(name, "-dcr-response"):
		d.status = http.StatusCreated
	case strings.Contains(name, "-token-error") && !strings.HasPrefix(name, "github"):
		d.status = http.StatusBadRequest
	}
	return d
}

func made(t *testing.T, status int, v any) document {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return document{status, "application/json", body}
}

// newWeb makes the servers of e. What e does not say is as most servers have it.
func newWeb(t *testing.T, e expectation) *web {
	t.Helper()
	w := &web{expectation: e, pages: map[string]document{}, posts: map[string]document{}, promisesIss: map[string]string{}}
	server, err := url.Parse(e.Server)
	if err != nil {
		t.Fatal(err)
	}
	origin := server.Scheme + "://" + server.Host
	prm := origin + "/.well-known/oauth-protected-resource" + strings.TrimSuffix(server.Path, "/")
	w.challenge = `Bearer resource_metadata="` + prm + `"`
	if e.Challenge != "" {
		w.challenge = challengeLine(t, e.Challenge)
		if i := strings.Index(w.challenge, "resource_metadata"); i >= 0 {
			// The address that it names, whatever quotes are around it.
			named := w.challenge[i+len("resource_metadata"):]
			named = strings.TrimLeft(named, ` ='"`)
			prm = named[:len(named)-len(strings.TrimLeft(named, "abcdefghijklmnopqrstuvwxyz0123456789:/.-_"))]
		}
	}
	if e.Announces != "" {
		w.pages[prm] = made(t, 200, map[string]any{"resource": e.Server, "authorization_servers": []string{e.Announces}})
	} else if !slices.ContainsFunc(slices.Collect(maps.Keys(e.Documents)), func(at string) bool { return strings.Contains(at, "oauth-protected-resource") }) {
		w.challenge = "Bearer"
	}
	for at, name := range e.Documents {
		if w.pages[at] = corpusFile(t, name); w.pages[at].contentType == "text/html" && e.Challenge == "" {
			w.challenge = "Bearer"
		}
	}
	// Each announced issuer without a document gets one.
	for _, d := range slices.Collect(maps.Values(w.pages)) {
		var m struct {
			AuthorizationServers []string `json:"authorization_servers"`
		}
		if json.Unmarshal(d.body, &m) != nil || len(m.AuthorizationServers) == 0 {
			continue
		}
		issuer := m.AuthorizationServers[0]
		u, err := url.Parse(issuer)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(w.pages)), func(at string) bool {
			return strings.HasPrefix(at, "https://"+u.Host+"/") && !strings.Contains(at, "oauth-protected-resource")
		}) {
			at := "https://" + u.Host + "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.Path, "/")
			w.pages[at] = made(t, 200, map[string]any{
				"issuer": issuer, "authorization_endpoint": "https://" + u.Host + "/authorize", "token_endpoint": "https://" + u.Host + "/token",
				"registration_endpoint": "https://" + u.Host + "/register", "revocation_endpoint": "https://" + u.Host + "/revoke",
				"response_types_supported": []string{"code"}, "grant_types_supported": []string{"authorization_code", "refresh_token"},
				"code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
			})
		}
	}
	for _, d := range w.pages {
		var m struct {
			Issuer   string `json:"issuer"`
			Auth     string `json:"authorization_endpoint"`
			Token    string `json:"token_endpoint"`
			Register string `json:"registration_endpoint"`
			Iss      bool   `json:"authorization_response_iss_parameter_supported"`
		}
		if json.Unmarshal(d.body, &m) != nil || m.Issuer == "" {
			continue
		}
		if m.Iss {
			w.promisesIss[m.Auth] = m.Issuer
		}
		w.posts[m.Register] = made(t, 201, map[string]any{"client_id": "made-up", "token_endpoint_auth_method": "none"})
		if e.Registration != "" {
			w.posts[m.Register] = corpusFile(t, e.Registration)
		}
		w.posts[m.Token] = made(t, 200, map[string]any{"access_token": "made-up", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "made-up"})
		if e.Token != "" {
			w.posts[m.Token] = corpusFile(t, e.Token)
		}
	}
	delete(w.posts, "")
	return w
}

func challengeLine(t *testing.T, name string) string {
	t.Helper()
	for _, c := range challenges(t) {
		if c.Name == name {
			return c.Header
		}
	}
	t.Fatalf("there is no challenge %s", name)
	return ""
}

func challenges(t *testing.T) (list []struct{ Name, Header string }) {
	t.Helper()
	b, err := os.ReadFile("testdata/challenges.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	at := *r.URL
	at.RawQuery = ""
	address := at.String()
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	if r.Method == http.MethodPost {
		if d, ok := w.posts[address]; ok {
			if strings.Contains(address, "regist") || strings.HasSuffix(address, "/clients") {
				w.registered++
			}
			return d.response(r), nil
		}
		if strings.TrimSuffix(address, "/") == strings.TrimSuffix(w.Server, "/") {
			if r.Header.Get("Authorization") != "" {
				return document{200, "application/json", []byte(`{"jsonrpc":"2.0","id":1,"result":{}}`)}.response(r), nil
			}
			resp := document{401, "application/json", []byte(`{"error":"invalid_token"}`)}.response(r)
			resp.Header.Set("WWW-Authenticate", w.challenge)
			return resp, nil
		}
	}
	if d, ok := w.pages[address]; ok && r.Method == http.MethodGet {
		return d.response(r), nil
	}
	return document{404, "text/plain", []byte("not found")}.response(r), nil
}

// person allows whatever is asked.
func (w *web) person(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	u, err := url.Parse(lp.URL)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	back := url.Values{"code": {"made-up"}, "state": {q.Get("state")}}
	u.RawQuery = ""
	if iss := w.promisesIss[u.String()]; iss != "" {
		back.Set("iss", iss)
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

func (w *web) options() mcpoauth.Options {
	o := mcpoauth.Options{Network: mcpoauth.NetworkOptions{HTTPClient: &http.Client{Transport: w}}, Prompt: w.person}
	if x := w.Options; x != nil {
		o.Client.ID, o.Server.Issuer, o.Server.Resource, o.Allow.MissingPKCE = x.ClientID, x.AuthServer, x.Resource, x.MissingPKCE
		o.Server.TokenMember, o.Allow.TokenType = x.TokenMember, x.AllowTokenType
	}
	return o
}

// errorName names the decision or the step by which a caller would know err.
func errorName(err error) string {
	var (
		d *mcpoauth.Error
		r *mcpoauth.Error
		a *mcpoauth.Error
		k *mcpoauth.Error
	)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, mcpoauth.ErrTemporary):
		return "ErrTemporary"
	case errors.Is(err, mcpoauth.ErrNoOAuth):
		return "ErrNoOAuth"
	case errorAt(err, mcpoauth.OpDiscovery, &d):
		return "DiscoveryError"
	case errorAt(err, mcpoauth.OpRegistration, &r):
		return "RegistrationError"
	case errorAt(err, mcpoauth.OpAuthorization, &a):
		return "AuthorizationError"
	case errorAt(err, mcpoauth.OpToken, &k):
		return "TokenError"
	}
	return fmt.Sprintf("%T", err)
}

func expected(t *testing.T) map[string]expectation {
	t.Helper()
	b, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var all map[string]expectation
	if err := dec.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// findingsOfDocuments returns the findings that are about a server's documents, sorted.
func findingsOfDocuments(t *testing.T, in *mcpoauth.Inspection) []string {
	t.Helper()
	found := ids(in)
	unseen := slices.Index(found, "registration-unseen")
	if (unseen >= 0) != (in.Login.Registration == "dynamic") {
		t.Errorf("findings %q for a client that is %s", found, in.Login.Registration)
	}
	if unseen >= 0 {
		found = slices.Delete(found, unseen, unseen+1)
	}
	slices.Sort(found)
	return found
}

// TestWhatALoginDoesWithRealDocuments holds the library to testdata/expected.json: for each server, what inspect
// finds, and whether a login succeeds or which error ends it. The two must agree.
func TestWhatALoginDoesWithRealDocuments(t *testing.T) {
	t.Parallel()
	for name, e := range expected(t) {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, e)
			in, err := newClient(t, e.Server, w.options()).Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if w.registered > 0 {
				t.Error("inspect registered a client")
			}
			found := findingsOfDocuments(t, in)
			_, err = newClient(t, e.Server, w.options()).Login(t.Context(), nil)
			got := expectation{Client: in.Login.Registration, Findings: found, Scopes: len(in.Login.Scopes), Error: errorName(err)}
			if got.Client != e.Client || !slices.Equal(got.Findings, e.Findings) || got.Scopes != e.Scopes || got.Error != e.Error {
				b, _ := json.Marshal(got)
				t.Errorf("got %s\n%v (%s)", b, err, mcpoauth.Hint(err))
			}
			if err != nil && (e.Says == "" || !strings.Contains(err.Error()+" "+mcpoauth.Hint(err), e.Says)) {
				t.Errorf("%q is not in %q (%q)", e.Says, err, mcpoauth.Hint(err))
			}
			// Before a token was asked for there is nothing that inspect does not see.
			if before := e.Registration == "" && e.Token == ""; before && in.Login.Possible != (err == nil) {
				t.Errorf("inspect says %t, the login %v", in.Login.Possible, err)
			}
		})
	}
}

// TestEveryRealDocumentHasAnExpectation: a document without a verdict tests nothing.
func TestEveryRealDocumentHasAnExpectation(t *testing.T) {
	t.Parallel()
	used := map[string]bool{"README.md": true}
	for _, e := range expected(t) {
		used[e.Registration], used[e.Token], used[e.Challenge] = true, true, true
		for _, name := range e.Documents {
			used[name] = true
		}
	}
	files, err := os.ReadDir("testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !used[f.Name()] {
			t.Errorf("%s is in no expectation", f.Name())
		}
	}
	for _, c := range challenges(t) {
		if !used[c.Name] {
			t.Errorf("the challenge %s is in no expectation", c.Name)
		}
	}
}
