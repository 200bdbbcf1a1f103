package interop

import (
	"context"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	mcpgotypes "github.com/mark3labs/mcp-go/mcp"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

var _ auth.OAuthHandler = (*mcpoauth.OAuthHandler)(nil)

func connect(ctx context.Context, tr *mcp.StreamableClientTransport) (*mcp.ClientSession, error) {
	tr.MaxRetries = -1
	return mcp.NewClient(&mcp.Implementation{Name: "interop", Version: "1"}, nil).Connect(ctx, tr, nil)
}

// listTools lists tools with the official Go SDK over HTTPClient.
func listTools(ctx context.Context, t *testing.T, c *mcpoauth.Client) int {
	t.Helper()
	s, err := connect(ctx, &mcp.StreamableClientTransport{Endpoint: c.ServerURL(), HTTPClient: c.HTTPClient()})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = s.Close() }()
	tools, err := s.ListTools(ctx, nil)
	if err != nil {
		t.Fatalf("list tools: %v", err)
	}
	return len(tools.Tools)
}

func callTool(ctx context.Context, c *mcpoauth.Client, name string, args map[string]any) error {
	s, err := connect(ctx, &mcp.StreamableClientTransport{Endpoint: c.ServerURL(), HTTPClient: c.HTTPClient()})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	_, err = s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: args})
	return err
}

func player(srv *authtest.Server) mcpoauth.Prompt {
	return func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		_, err := srv.Browser(ctx, p.URL)
		return nil, err
	}
}

func TestGoSDKOverHTTPClient(t *testing.T) {
	for _, sse := range []bool{false, true} {
		srv := authtest.New(t, &authtest.Options{SSE: sse})
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: player(srv)})
		if n := listTools(t.Context(), t, c); n != 3 {
			t.Errorf("%d tools", n)
		}
	}
}

func TestGoSDKOverHandler(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: player(srv)})
	s, err := connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: srv.MCPURL(), OAuthHandler: c.OAuthHandler()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for range 2 {
		tools, err := s.ListTools(t.Context(), nil)
		if err != nil || len(tools.Tools) != 3 {
			t.Fatalf("%v, %v", tools, err)
		}
		srv.Expire()
	}
	if srv.Count("authorize") != 1 || srv.Count("refresh") == 0 {
		t.Errorf("%d logins, %d refreshes", srv.Count("authorize"), srv.Count("refresh"))
	}
}

func TestMCPGoOverHTTPClient(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: player(srv)})
	mc, err := mcpgo.NewStreamableHttpClient(srv.MCPURL(), transport.WithHTTPBasicClient(c.HTTPClient()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mc.Close() }()
	if n := mcpGoTools(t, mc); n != 3 {
		t.Errorf("%d tools", n)
	}
}

func mcpGoTools(t *testing.T, mc *mcpgo.Client) int {
	t.Helper()
	if err := mc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	init := mcpgotypes.InitializeRequest{}
	init.Params.ProtocolVersion = mcpgotypes.LATEST_PROTOCOL_VERSION
	init.Params.ClientInfo = mcpgotypes.Implementation{Name: "interop", Version: "1"}
	if _, err := mc.Initialize(t.Context(), init); err != nil {
		t.Fatal(err)
	}
	tools, err := mc.ListTools(t.Context(), mcpgotypes.ListToolsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return len(tools.Tools)
}

// The clients of others judge authtest: they log in by themselves.

func TestGoSDKsOwnLoginAtAuthtest(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{Lenient: true})
	const redirect = "http://127.0.0.1:45997/callback"
	h, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		RedirectURL: redirect,
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "interop", RedirectURIs: []string{redirect}, TokenEndpointAuthMethod: "none", GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		}},
		AuthorizationCodeFetcher: func(ctx context.Context, a *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			back, err := srv.Decide(ctx, a.URL, true)
			if err != nil {
				return nil, err
			}
			u, err := url.Parse(back)
			if err != nil {
				return nil, err
			}
			q := u.Query()
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: srv.MCPURL(), OAuthHandler: h})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if tools, err := s.ListTools(t.Context(), nil); err != nil || len(tools.Tools) != 3 {
		t.Errorf("%v, %v", tools, err)
	}
}

func TestMCPGosOwnLoginAtAuthtest(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{Lenient: true})
	cfg := transport.OAuthConfig{RedirectURI: "http://127.0.0.1:45996/callback", Scopes: []string{"mcp:read"}, PKCEEnabled: true, TokenStore: transport.NewMemoryTokenStore()}
	tr, err := transport.NewStreamableHTTP(srv.MCPURL(), transport.WithHTTPOAuth(cfg))
	if err != nil {
		t.Fatal(err)
	}
	h := tr.GetOAuthHandler()
	resp, err := http.Post(srv.MCPURL(), "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = body(t, resp)
	if err := h.RegisterClient(t.Context(), "interop"); err != nil {
		t.Fatal(err)
	}
	verifier, err := transport.GenerateCodeVerifier()
	if err != nil {
		t.Fatal(err)
	}
	state, err := transport.GenerateState()
	if err != nil {
		t.Fatal(err)
	}
	target, err := h.GetAuthorizationURL(t.Context(), state, transport.GenerateCodeChallenge(verifier))
	if err != nil {
		t.Fatal(err)
	}
	back, err := srv.Decide(t.Context(), target, true)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.ProcessAuthorizationResponse(t.Context(), u.Query().Get("code"), state, verifier); err != nil {
		t.Fatal(err)
	}
	mc := mcpgo.NewClient(tr)
	defer func() { _ = mc.Close() }()
	if n := mcpGoTools(t, mc); n != 3 {
		t.Errorf("%d tools", n)
	}
}

func TestPythonSDKsOwnLoginAtAuthtest(t *testing.T) {
	py := python(t)
	srv := authtest.New(t, &authtest.Options{Lenient: true, AutoApprove: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, py, "python-sdk-login.py", srv.MCPURL())
	cmd.Dir = "peers"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "tools: 3") {
		t.Errorf("%v\n%s", err, out)
	}
}
