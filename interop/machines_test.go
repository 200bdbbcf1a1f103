package interop

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// peerDir is where the peers in Go are built, once for all tests.
var peerDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "mcpoauth-peers") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := peerDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

var (
	zitadel = peerInGo("zitadel")
	fosite  = peerInGo("fosite")
)

// peerInGo returns what builds a peer: a Go module of its own, so that its requirements are its own.
func peerInGo(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := peerDir()
		if err != nil {
			return "", err
		}
		// With an empty cache, on a slow machine, this takes minutes.
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
		defer cancel()
		exe := filepath.Join(dir, name)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", exe, ".")
		cmd.Dir = filepath.Join("peers", name)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		return exe, nil
	})
}

// startPeerInGo builds and starts a peer, and returns the issuer that it prints.
func startPeerInGo(t *testing.T, name string, build func() (string, error), env ...string) string {
	t.Helper()
	exe, err := build()
	if err != nil {
		t.Log(err)
		missing(t, "the Go module interop/peers/"+name)
	}
	out := launch(t, env, exe)
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if line, _, ok := strings.Cut(out.String(), "\n"); ok && strings.HasPrefix(line, "http://") {
			return line
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not start", name)
		}
	}
}

// protect starts an MCP server that takes the tokens of an issuer, and names the scope that they need unless it is empty.
// Its one tool says who the caller is.
func protect(t *testing.T, issuer, scope string, verify auth.TokenVerifier) (mcpURL string) {
	t.Helper()
	server := mcp.NewServer(&mcp.Implementation{Name: "protected", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: r.Extra.TokenInfo.UserID}}}, nil, nil
	})
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	var scopes []string
	if scope != "" {
		scopes = []string{scope}
	}
	const wellKnown = "/.well-known/oauth-protected-resource/mcp"
	mux.Handle(wellKnown, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: srv.URL + "/mcp", AuthorizationServers: []string{issuer}, ScopesSupported: scopes,
	}))
	guard := auth.RequireBearerToken(verify, &auth.RequireBearerTokenOptions{ResourceMetadataURL: srv.URL + wellKnown, Scopes: scopes})
	mux.Handle("/mcp", guard(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)))
	return srv.URL + "/mcp"
}

// ask makes a request to an authorization server and decodes its answer.
func ask(r *http.Request, err error, answer any) error {
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: status %d", auth.ErrInvalidToken, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// introspect asks an authorization server about a token (RFC 7662), as the MCP server.
func introspect(ctx context.Context, endpoint, token string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("mcp", "secret")
	}
	return ask(r, err, answer)
}

// introspected asks about each token.
func introspected(endpoint string) auth.TokenVerifier {
	return func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		var a struct {
			Active               bool
			Sub, Username, Scope string
			Exp                  int64
		}
		if err := introspect(ctx, endpoint, token, &a); err != nil {
			return nil, err
		}
		if !a.Active {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{UserID: cmp.Or(a.Sub, a.Username), Scopes: strings.Fields(a.Scope), Expiration: time.Unix(a.Exp, 0)}, nil
	}
}

// signed reads a token that is a JWT (RFC 9068), with the key that its issuer publishes.
func signed(ctx context.Context, issuer, audience, token string) (*auth.TokenInfo, error) {
	return readJWT(ctx, issuer+"/jwks", jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}}, token)
}

// signedBy takes the JWTs of an issuer for any audience.
func signedBy(issuer, keys string) auth.TokenVerifier {
	return func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		return readJWT(ctx, keys, jwt.Expected{Issuer: issuer}, token)
	}
}

func readJWT(ctx context.Context, keysURL string, expected jwt.Expected, token string) (*auth.TokenInfo, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, keysURL, http.NoBody)
	var keys jose.JSONWebKeySet
	if err := ask(r, err, &keys); err != nil {
		return nil, err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
	}
	var c jwt.Claims
	var scope struct {
		Scope any `json:"scope"` // a text (RFC 9068), or a list
		SCP   any `json:"scp"`
	}
	err = parsed.Claims(keys, &c, &scope)
	if err == nil {
		err = c.Validate(expected)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
	}
	scopes := strings.Fields(strings.Join(append(words(scope.Scope), words(scope.SCP)...), " "))
	return &auth.TokenInfo{UserID: c.Subject, Scopes: scopes, Expiration: c.Expiry.Time()}, nil
}

// userinfo asks an OpenID provider whose a token is. It says so for the scope openid only.
func userinfo(issuer string) auth.TokenVerifier {
	return func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/userinfo", http.NoBody)
		if err == nil {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		var a struct{ Sub string }
		if err := ask(r, err, &a); err != nil {
			return nil, err
		}
		return &auth.TokenInfo{UserID: a.Sub, Scopes: []string{"openid"}, Expiration: time.Now().Add(time.Minute)}, nil
	}
}

// whoami lists the tools of the protected server and calls its tool.
func whoami(ctx context.Context, t *testing.T, c *mcpoauth.Client) string {
	t.Helper()
	s, err := connect(ctx, &mcp.StreamableClientTransport{Endpoint: c.ServerURL(), HTTPClient: c.HTTPClient()})
	if err != nil {
		t.Fatalf("connect: %v (%s)", err, mcpoauth.Hint(err))
	}
	defer func() { _ = s.Close() }()
	if tools, err := s.ListTools(ctx, nil); err != nil || len(tools.Tools) != 1 {
		t.Fatalf("tools: %+v, %v", tools, err)
	}
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "whoami"})
	if err != nil || len(res.Content) != 1 {
		t.Fatalf("whoami: %+v, %v", res, err)
	}
	return res.Content[0].(*mcp.TextContent).Text
}

// refused checks that a token is refused for good, with advice, and is asked for once; with a secret that is not
// accepted once more, the secret sent in the other way.
func refused(t *testing.T, mcpURL string, o mcpoauth.Options, code string) {
	t.Helper()
	j := &journal{}
	o.Store, o.Trace = memstore.New(), j.trace()
	_, err := newClient(t, mcpURL, o).Token(t.Context(), nil)
	requests := 1
	if code == "invalid_client" && o.Client.Secret != "" {
		requests = 2
	}
	var te *mcpoauth.Error
	if !errors.As(err, &te) || te.Op != mcpoauth.OpToken || te.Code != code || !errors.Is(err, mcpoauth.ErrAccessDenied) || mcpoauth.Hint(err) == "" || j.count("token") != requests {
		t.Errorf("%v (%s), %d token requests", err, mcpoauth.Hint(err), j.count("token"))
	}
}

// platform signs what a platform says about its workloads, and what a service says about itself.
type platform struct {
	key crypto.Signer
	alg jose.SignatureAlgorithm
}

// env hands the public key to a peer.
func (p platform) env(t *testing.T) string {
	t.Helper()
	b, err := jose.JSONWebKey{Key: p.key.Public(), KeyID: "k1", Algorithm: string(p.alg), Use: "sig"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return "JWK=" + string(b)
}

// jwks is the public key as a set.
func (p platform) jwks(t *testing.T) string {
	t.Helper()
	return `{"keys":[` + strings.TrimPrefix(p.env(t), "JWK=") + `]}`
}

func (p platform) sign(t *testing.T, c jwt.Claims) string {
	t.Helper()
	return p.signAs(t, "JWT", c, nil)
}

// signAs signs claims with a typ, and more claims.
func (p platform) signAs(t *testing.T, typ string, c jwt.Claims, more map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: p.alg, Key: p.key}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader("kid", "k1"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(c).Claims(more).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func elliptical(t *testing.T) platform {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return platform{key, jose.ES256}
}

func fresh(issuer, subject, audience string) jwt.Claims {
	now := time.Now()
	return jwt.Claims{Issuer: issuer, Subject: subject, Audience: jwt.Audience{audience}, ID: rand.Text(), IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(5 * time.Minute))}
}

func startZitadel(t *testing.T, p platform) (mcpURL string) {
	t.Helper()
	issuer := startPeerInGo(t, "zitadel", zitadel, p.env(t))
	return protect(t, issuer, "openid", userinfo(issuer))
}

func rsaPlatform(t *testing.T) platform {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return platform{key, jose.RS256}
}

func TestClientCredentialsAtZitadel(t *testing.T) {
	mcpURL := startZitadel(t, rsaPlatform(t))
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "sid1", Secret: "verysecret"}, Grant: mcpoauth.ClientCredentials{}}
	if who := whoami(t.Context(), t, newClient(t, mcpURL, o)); who != "sid1" {
		t.Errorf("it is %q", who)
	}
	o.Client.Secret = "wrong"
	refused(t, mcpURL, o, "invalid_client")
}

// TestServiceUserAtZitadel: a service signs its own assertions, and gets its tokens by the JWT bearer grant.
func TestServiceUserAtZitadel(t *testing.T) {
	p := rsaPlatform(t)
	mcpURL := startZitadel(t, p)
	by := func(p platform, audience string, change func(*jwt.Claims)) mcpoauth.Options {
		return mcpoauth.Options{Grant: mcpoauth.WorkloadIdentity{Audience: audience, Assertion: func(_ context.Context, audience string) (string, error) {
			c := fresh("service", "service", audience)
			change(&c)
			return p.sign(t, c), nil
		}}}
	}
	if who := whoami(t.Context(), t, newClient(t, mcpURL, by(p, "", func(*jwt.Claims) {}))); who != "service" {
		t.Errorf("it is %q", who)
	}
	for name, o := range map[string]mcpoauth.Options{
		"expired":          by(p, "", func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }),
		"another audience": by(p, "https://other.example", func(*jwt.Claims) {}),
		"another service":  by(p, "", func(c *jwt.Claims) { c.Issuer, c.Subject = "other", "other" }),
		"another key":      by(rsaPlatform(t), "", func(*jwt.Claims) {}),
	} {
		t.Run(name, func(t *testing.T) { refused(t, mcpURL, o, "invalid_grant") })
	}
}

// TestDeviceCodeAtZitadel: the person enters a name and a password in Chromium and allows the device.
func TestDeviceCodeAtZitadel(t *testing.T) {
	mcpURL := startZitadel(t, rsaPlatform(t))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	j := &journal{}
	c := newClient(t, mcpURL, mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "device", Secret: "secret"}, Grant: mcpoauth.DeviceCode{}, Prompt: chromium(t), Trace: j.trace()})
	if _, err := c.Login(ctx, nil); err != nil {
		t.Fatalf("login: %v (%s)\n%v", err, mcpoauth.Hint(err), j)
	}
	if who := whoami(ctx, t, c); who != "test-user@localhost" {
		t.Errorf("it is %q", who)
	}
	// It knows such a token as no client's, and revokes it for none. That is said, and the login is forgotten.
	if res, err := c.Logout(ctx); err == nil || res.Revoked {
		t.Errorf("logout: %+v, %v", res, err)
	}
	if _, err := c.Token(ctx, nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
		t.Errorf("after the logout: %v", err)
	}
}

func startFosite(t *testing.T, p platform) (mcpURL, issuer string) {
	t.Helper()
	issuer = startPeerInGo(t, "fosite", fosite, p.env(t), "AT_TTL=3s")
	return protect(t, issuer, "mcp:read", introspected(issuer+"/introspect")), issuer
}

func TestClientCredentialsAtFosite(t *testing.T) {
	p := elliptical(t)
	mcpURL, _ := startFosite(t, p)
	key, err := mcpoauth.NewClientKey(p.key, "k1", "")
	if err != nil {
		t.Fatal(err)
	}
	key.AudienceTokenEndpoint = true
	for id, o := range map[string]mcpoauth.Options{
		"robot":  {Client: mcpoauth.ClientOptions{ID: "robot", Secret: "secret"}},
		"signer": {Client: mcpoauth.ClientOptions{ID: "signer", Key: key}},
	} {
		t.Run(id, func(t *testing.T) {
			j := &journal{}
			o.Grant, o.Trace = mcpoauth.ClientCredentials{}, j.trace()
			c := newClient(t, mcpURL, o)
			if who := whoami(t.Context(), t, c); who != id {
				t.Errorf("it is %q", who)
			}
			time.Sleep(3500 * time.Millisecond)
			if who := whoami(t.Context(), t, c); who != id || j.count("token") != 2 {
				t.Errorf("after the token's end: %q, %d token requests", who, j.count("token"))
			}
		})
	}
	stranger, err := mcpoauth.NewClientKey(elliptical(t).key, "k1", "")
	if err != nil {
		t.Fatal(err)
	}
	stranger.AudienceTokenEndpoint = true
	issuerOnly, err := mcpoauth.NewClientKey(p.key, "k1", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		o    mcpoauth.Options
		code string
	}{
		"a wrong secret":             {mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Secret: "wrong"}}, "invalid_client"},
		"a wrong key":                {mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "signer", Key: stranger}}, "invalid_client"},
		"the issuer as its audience": {mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "signer", Key: issuerOnly}}, "invalid_client"},
		"another grant's client":     {mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "idle", Secret: "secret"}}, "unauthorized_client"},
		"a scope that is not its":    {mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Secret: "secret"}, Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:admin"}}}, "invalid_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.o.Grant = mcpoauth.ClientCredentials{}
			refused(t, mcpURL, tc.o, tc.code)
		})
	}
}

func TestWorkloadIdentityAtFosite(t *testing.T) {
	p := elliptical(t)
	mcpURL, issuer := startFosite(t, p)
	const trusted = "https://platform.example"
	by := func(text func() string) mcpoauth.Options {
		return mcpoauth.Options{Grant: mcpoauth.WorkloadIdentity{Assertion: func(context.Context, string) (string, error) { return text(), nil }}}
	}
	// It wants its token endpoint as the audience.
	good := func() string { return p.sign(t, fresh(trusted, "job-1", issuer+"/token")) }
	j := &journal{}
	o := by(good)
	o.Trace = j.trace()
	c := newClient(t, mcpURL, o)
	if who := whoami(t.Context(), t, c); who != "job-1" {
		t.Errorf("it is %q", who)
	}
	time.Sleep(3500 * time.Millisecond)
	if who := whoami(t.Context(), t, c); who != "job-1" || j.count("token") != 2 {
		t.Errorf("after the token's end: %q, %d token requests", who, j.count("token"))
	}

	once := good()
	replayed := by(func() string { return once })
	if who := whoami(t.Context(), t, newClient(t, mcpURL, replayed)); who != "job-1" {
		t.Errorf("it is %q", who)
	}
	expired := fresh(trusted, "job-1", issuer+"/token")
	expired.Expiry = jwt.NewNumericDate(time.Now().Add(-10 * time.Second))
	for name, tc := range map[string]struct {
		o    mcpoauth.Options
		code string
	}{
		"replayed":                   {replayed, "jti_known"},
		"the issuer as its audience": {by(func() string { return p.sign(t, fresh(trusted, "job-1", issuer)) }), "invalid_grant"},
		"expired":                    {by(func() string { return p.sign(t, expired) }), "invalid_grant"},
		"a platform nobody trusts":   {by(func() string { return p.sign(t, fresh("https://other.example", "job-1", issuer+"/token")) }), "invalid_grant"},
		"another workload":           {by(func() string { return p.sign(t, fresh(trusted, "job-2", issuer+"/token")) }), "invalid_grant"},
		"another key":                {by(func() string { return elliptical(t).sign(t, fresh(trusted, "job-1", issuer+"/token")) }), "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, mcpURL, tc.o, tc.code) })
	}
}
