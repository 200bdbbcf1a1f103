package mcpoauth_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// robots is an authorization server and an MCP server for machines: it has neither an authorization
// endpoint nor registration.
type robots struct {
	*httptest.Server
	mu       sync.Mutex
	tokens   int
	metadata int
	form     map[string]string
	life     int
	valid    map[string]bool
	// judge refuses a token request with a code.
	judge func(form map[string]string, r *http.Request) string
	clock time.Duration
	scope string
	// algs are those of client assertions that the metadata lists. status, if not 0, is the answer to every
	// token request. elsewhere is another origin of the token endpoint.
	algs      []string
	status    int
	elsewhere string
}

func startRobots(t *testing.T, judge func(map[string]string, *http.Request) string) *robots {
	return startRobotsOn(t, nil, judge)
}

func startRobotsOn(t *testing.T, n *memoryNetwork, judge func(map[string]string, *http.Request) string) *robots {
	r := &robots{life: 3600, valid: map[string]bool{}, judge: judge}
	r.Server = n.serve(t, http.HandlerFunc(r.serve))
	return r
}

func (s *robots) url() string { return s.URL + "/mcp" }

func (s *robots) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		if s.clock != 0 {
			w.Header().Set("Date", time.Now().Add(s.clock).UTC().Format(http.TimeFormat))
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/.well-known/oauth-protected-resource/mcp":
		s.metadata++
		answer(200, map[string]any{"resource": s.url(), "authorization_servers": []string{s.URL}, "scopes_supported": []string{"jobs"}})
	case "/.well-known/oauth-authorization-server":
		s.metadata++
		answer(200, map[string]any{
			"issuer": s.URL, "token_endpoint": cmp.Or(s.elsewhere, s.URL) + "/token", "scopes_supported": []string{"jobs", "offline_access"},
			"grant_types_supported": []string{"client_credentials"}, "token_endpoint_auth_signing_alg_values_supported": s.algs,
		})
	case "/token":
		_ = r.ParseForm()
		s.form = map[string]string{}
		for k := range r.PostForm {
			s.form[k] = r.PostForm.Get(k)
		}
		s.tokens++
		if s.status != 0 {
			w.WriteHeader(s.status)
			return
		}
		if code := s.judge(s.form, r); code != "" {
			answer(401, map[string]any{"error": code})
			return
		}
		tok := fmt.Sprintf("machine-%d", s.tokens)
		s.valid = map[string]bool{tok: true}
		answer(200, map[string]any{"access_token": tok, "token_type": "Bearer", "expires_in": s.life, "refresh_token": "never-used", "scope": s.form["scope"]})
	case "/mcp":
		tok := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case !s.valid[tok]:
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+s.URL+`/.well-known/oauth-protected-resource/mcp"`)
			w.WriteHeader(401)
		case s.scope != "" && !strings.Contains(s.form["scope"], s.scope):
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+s.scope+`"`)
			w.WriteHeader(403)
		default:
			answer(200, map[string]any{"jsonrpc": "2.0", "id": 1, "result": map[string]any{}})
		}
	default:
		w.WriteHeader(404)
	}
}

func (s *robots) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func basic(id, secret string) func(map[string]string, *http.Request) string {
	return func(form map[string]string, r *http.Request) string {
		if u, p, ok := r.BasicAuth(); !ok || u != id || p != secret {
			return "invalid_client"
		}
		if form["grant_type"] != "client_credentials" || form["resource"] == "" {
			return "invalid_request"
		}
		return ""
	}
}

func TestAMachineNeedsNoLogin(t *testing.T) {
	t.Parallel()
	srv := startRobots(t, basic("robot", "s3cret"))
	st := memstore.New()
	opts := mcpoauth.Options{Store: st, Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}, Grant: mcpoauth.ClientCredentials{}}
	c := newClient(t, srv.url(), opts)
	if s := ping(t, c); s != 200 {
		t.Fatalf("status %d", s)
	}
	if srv.form["scope"] != "jobs" || srv.form["resource"] != srv.url() {
		t.Errorf("asked for %v", srv.form)
	}
	// A restart uses what is stored, and a token that has ended costs one request and no metadata.
	asked := srv.metadata
	again := newClient(t, srv.url(), opts)
	if s := ping(t, again); s != 200 || srv.tokens != 1 {
		t.Errorf("after a restart: status %d, %d token requests", s, srv.tokens)
	}
	srv.do(func() { srv.valid = nil })
	if s := ping(t, again); s != 200 || srv.tokens != 2 || srv.metadata != asked {
		t.Errorf("after its end: status %d, %d token requests, %d more for metadata", s, srv.tokens, srv.metadata-asked)
	}
	rec := stored(t, st, c)
	if rec.RefreshToken != "" || rec.Registration.ClientSecret != "" || rec.Grant != "client_credentials" {
		t.Errorf("stored: grant %q, refresh token %t, secret %t", rec.Grant, rec.RefreshToken != "", rec.Registration.ClientSecret != "")
	}
	// Without its grant the login is of no use, and is said to be a machine's.
	plain := newClient(t, srv.url(), mcpoauth.Options{Store: st})
	srv.do(func() { srv.valid = nil })
	if _, err := tryPing(plain); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "without a person") {
		t.Errorf("without the grant: %v", err)
	}
}

func TestAMachinesTokenIsRenewedByOneOfMany(t *testing.T) {
	t.Parallel()
	srv := startRobots(t, basic("robot", "s3cret"))
	st := memstore.New()
	var wg sync.WaitGroup
	for range 10 {
		c := newClient(t, srv.url(), mcpoauth.Options{Store: st, Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}, Grant: mcpoauth.ClientCredentials{}})
		for range 10 {
			wg.Go(func() {
				if s, err := tryPing(c); s != 200 {
					t.Errorf("%d, %v", s, err)
				}
			})
		}
	}
	wg.Wait()
	if srv.tokens != 1 {
		t.Errorf("%d token requests", srv.tokens)
	}
}

func TestAMachineStepsUp(t *testing.T) {
	t.Parallel()
	srv := startRobots(t, basic("robot", "s3cret"))
	srv.scope = "admin"
	c := newClient(t, srv.url(), mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}, Grant: mcpoauth.ClientCredentials{}})
	if s := ping(t, c); s != 200 || srv.form["scope"] != "jobs admin" {
		t.Errorf("status %d, scope %q", s, srv.form["scope"])
	}
}

func TestWhatAServerRefusesAMachine(t *testing.T) {
	t.Parallel()
	for code, hint := range map[string]string{"invalid_client": "secret or key", "unauthorized_client": "allow", "invalid_scope": "--scope"} {
		srv := startRobots(t, func(map[string]string, *http.Request) string { return code })
		c := newClient(t, srv.url(), mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Secret: "wrong"}, Grant: mcpoauth.ClientCredentials{}})
		_, err := c.Token(t.Context(), nil)
		var te *mcpoauth.Error
		if !errorAt(err, mcpoauth.OpToken, &te) || te.Code != code || !errors.Is(err, mcpoauth.ErrAccessDenied) || errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(mcpoauth.Hint(err), hint) {
			t.Errorf("%s: %v (%s)", code, err, mcpoauth.Hint(err))
		}
		want := 2 // in both ways of sending the secret
		if code == "invalid_scope" {
			want = 1
		}
		if srv.tokens != want {
			t.Errorf("%s: %d token requests", code, srv.tokens)
		}
	}
}

// asserted judges a client assertion.
func asserted(t *testing.T, issuer func() string, key any, alg jose.SignatureAlgorithm) func(map[string]string, *http.Request) string {
	return func(form map[string]string, r *http.Request) string {
		if r.Header.Get("Authorization") != "" || form["client_secret"] != "" || form["client_id"] != "robot" || form["client_assertion_type"] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			return "invalid_request"
		}
		tok, err := jwt.ParseSigned(form["client_assertion"], []jose.SignatureAlgorithm{alg})
		if err != nil {
			t.Error(err)
			return "invalid_client"
		}
		var c jwt.Claims
		if err := tok.Claims(key, &c); err != nil {
			return "invalid_client"
		}
		if err := c.ValidateWithLeeway(jwt.Expected{Issuer: "robot", Subject: "robot", AnyAudience: jwt.Audience{issuer()}, Time: time.Now()}, time.Second); err != nil || len(c.Audience) != 1 || c.ID == "" {
			t.Error(err, c)
			return "invalid_client"
		}
		return ""
	}
}

func TestAClientThatSigns(t *testing.T) {
	t.Parallel()
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	pkcs8 := func(key any) []byte {
		b, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
	}
	sec1, _ := x509.MarshalECPrivateKey(ec)
	jwk, _ := (&jose.JSONWebKey{Key: ec, KeyID: "k1", Algorithm: "ES256"}).MarshalJSON()
	for name, tc := range map[string]struct {
		text     []byte
		alg      string
		public   any
		expected jose.SignatureAlgorithm
	}{
		"EC in PKCS #8":         {pkcs8(ec), "", ec.Public(), jose.ES256},
		"EC in SEC 1":           {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), "", ec.Public(), jose.ES256},
		"EC as JWK":             {jwk, "", ec.Public(), jose.ES256},
		"RSA in PKCS #1":        {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rs)}), "", rs.Public(), jose.RS256},
		"RSA with PSS":          {pkcs8(rs), "PS256", rs.Public(), jose.PS256},
		"Ed25519":               {pkcs8(ed), "", ed.Public(), jose.EdDSA},
		"after another section": {append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), pkcs8(ec)...), "", ec.Public(), jose.ES256},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := mcpoauth.ParseClientKey(tc.text, "", tc.alg)
			if err != nil {
				t.Fatal(err)
			}
			var srv *robots
			srv = startRobots(t, asserted(t, func() string { return srv.URL }, tc.public, tc.expected))
			c := newClient(t, srv.url(), mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Key: key}, Grant: mcpoauth.ClientCredentials{}})
			if s := ping(t, c); s != 200 {
				t.Errorf("status %d", s)
			}
		})
	}
	t.Run("the token endpoint as audience", func(t *testing.T) {
		key, err := mcpoauth.NewClientKey(ec, "", "")
		if err != nil {
			t.Fatal(err)
		}
		key.AudienceTokenEndpoint = true
		var srv *robots
		srv = startRobots(t, asserted(t, func() string { return srv.URL + "/token" }, ec.Public(), jose.ES256))
		if s := ping(t, newClient(t, srv.url(), mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Key: key}, Grant: mcpoauth.ClientCredentials{}})); s != 200 {
			t.Errorf("status %d", s)
		}
	})
	t.Run("a clock that is off", func(t *testing.T) {
		key, _ := mcpoauth.NewClientKey(ec, "", "")
		srv := startRobots(t, func(map[string]string, *http.Request) string { return "invalid_client" })
		srv.clock = -10 * time.Minute
		_, err := newClient(t, srv.url(), mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Key: key}, Grant: mcpoauth.ClientCredentials{}}).Token(t.Context(), nil)
		if h := mcpoauth.Hint(err); !strings.Contains(h, "clock is 10m") || !strings.Contains(h, "ahead of") {
			t.Errorf("%v (%s)", err, h)
		}
	})
	short, _ := rsa.GenerateKey(rand.Reader, 1024) // it must be refused
	for name, bad := range map[string]struct {
		text []byte
		alg  string
	}{
		"nothing":           {nil, ""},
		"a public key":      {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), ""},
		"an encrypted key":  {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), ""},
		"a damaged key":     {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), ""},
		"a JWK that is not": {[]byte(`{"kty":"oct","k":"AAAA"}`), ""},
		"a wrong algorithm": {pkcs8(ec), "RS256"},
		"none":              {pkcs8(ec), "none"},
		"a short key":       {pkcs8(short), ""},
	} {
		if _, err := mcpoauth.ParseClientKey(bad.text, "", bad.alg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	key, _ := mcpoauth.ParseClientKey(pkcs8(ec), "", "")
	if out := fmt.Sprintf("%v %+v %#v %s", key, key, key, key); strings.Contains(out, ec.D.String()) { //nolint:staticcheck // the secret itself
		t.Errorf("the key was printed: %s", out)
	}
}

func TestAGrantThatIsNotComplete(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]mcpoauth.Options{
		"no client":    {Grant: mcpoauth.ClientCredentials{}},
		"no secret":    {Client: mcpoauth.ClientOptions{ID: "x"}, Grant: mcpoauth.ClientCredentials{}},
		"no assertion": {Grant: mcpoauth.WorkloadIdentity{}},
	} {
		var oe *mcpoauth.OptionError
		if _, err := mcpoauth.New("https://mcp.example/mcp", &o); !errors.As(err, &oe) || oe.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAMachineAndAServerInTrouble: it is asked after one second, two, four.
func TestAMachineAndAServerInTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newMemoryNetwork()
		srv := startRobotsOn(t, n, basic("robot", "s3cret"))
		srv.status = http.StatusServiceUnavailable
		c := newClient(t, srv.url(), mcpoauth.Options{
			Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}, Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}, Grant: mcpoauth.ClientCredentials{},
		})
		var at []int
		for i := range 20 {
			before := srv.tokens
			if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrTemporary) {
				t.Errorf("got %v", err)
			}
			if srv.tokens != before {
				at = append(at, i)
			}
			time.Sleep(time.Second / 2)
		}
		if want := []int{0, 2, 6, 14}; !slices.Equal(at, want) {
			t.Errorf("asked in the half seconds %v, want %v", at, want)
		}
	})
}

// TestAMachineWithOtherCredentials obtains a token by them, and not by those of the stored login.
func TestAMachineWithOtherCredentials(t *testing.T) {
	t.Parallel()
	st := memstore.New()
	var ids []string
	srv := startRobots(t, func(_ map[string]string, r *http.Request) string {
		id, _, _ := r.BasicAuth()
		ids = append(ids, id)
		return ""
	})
	for _, id := range []string{"one", "one", "two"} {
		c := newClient(t, srv.url(), mcpoauth.Options{Store: st, Client: mcpoauth.ClientOptions{ID: id, Secret: "s"}, Grant: mcpoauth.ClientCredentials{}})
		if status := ping(t, c); status != http.StatusOK {
			t.Errorf("%s: status %d", id, status)
		}
	}
	if !slices.Equal(ids, []string{"one", "two"}) {
		t.Errorf("asked by %v", ids)
	}
}

// TestAMachineStepsUpAfterARenewalElsewhere: a token of another process that lacks the demanded scope does not do.
func TestAMachineStepsUpAfterARenewalElsewhere(t *testing.T) {
	t.Parallel()
	srv := startRobots(t, basic("robot", "s3cret"))
	o := mcpoauth.Options{Store: memstore.New(), Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}, Grant: mcpoauth.ClientCredentials{}}
	c, other := newClient(t, srv.url(), o), newClient(t, srv.url(), o)
	tok, err := c.Token(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.TokenRejected(t.Context(), tok); err != nil {
		t.Fatal(err)
	}
	srv.do(func() {
		srv.valid[tok.AccessToken()] = true
		srv.scope = "more"
	})
	if status := ping(t, c); status != http.StatusOK || srv.tokens != 3 || !strings.Contains(srv.form["scope"], "more") {
		t.Errorf("status %d, %d token requests, the last for %q", status, srv.tokens, srv.form["scope"])
	}
}
