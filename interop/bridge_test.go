package interop

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/client"
	mcpgotypes "github.com/mark3labs/mcp-go/mcp"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

// command builds the command once.
var command = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mcpoauth")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "mcpoauth")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/mcpoauth")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return path, nil
})

// bridged is a bridge to a server whose login lies in a directory.
func bridged(t *testing.T, logins, url string) *exec.Cmd {
	t.Helper()
	path, err := command()
	if err != nil {
		t.Fatalf("%v: %s", err, path)
	}
	cmd := exec.CommandContext(t.Context(), path, "proxy", url, "--no-browser")
	cmd.Env = append(os.Environ(), "MCPOAUTH_DIR="+logins)
	cmd.Stderr = os.Stderr
	return cmd
}

// throughBridge lists and calls tools from each host.
func throughBridge(t *testing.T, logins, url, tool string) {
	t.Helper()
	throughBridgeIn(t, mcpgotypes.LATEST_PROTOCOL_VERSION, logins, url, tool)
}

// throughBridgeIn is throughBridge where mcp-go, which knows one revision at a time, speaks this one.
func throughBridgeIn(t *testing.T, revision, logins, url, tool string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	t.Run("go-sdk", func(t *testing.T) {
		s, err := mcp.NewClient(&mcp.Implementation{Name: "interop", Version: "1"}, nil).Connect(ctx, &mcp.CommandTransport{Command: bridged(t, logins, url)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		tools, err := s.ListTools(ctx, nil)
		if err != nil || len(tools.Tools) == 0 {
			t.Fatalf("tools: %v, %v", tools, err)
		}
		for range 20 {
			if res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool}); err != nil || res.IsError {
				t.Fatalf("call: %v, %v", res, err)
			}
		}
	})
	t.Run("mcp-go", func(t *testing.T) {
		cmd := bridged(t, logins, url)
		c, err := mcpgo.NewStdioMCPClient(cmd.Path, cmd.Env, cmd.Args[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		var req mcpgotypes.InitializeRequest
		req.Params.ProtocolVersion = revision
		req.Params.ClientInfo = mcpgotypes.Implementation{Name: "interop", Version: "1"}
		if _, err := c.Initialize(ctx, req); err != nil {
			t.Fatal(err)
		}
		tools, err := c.ListTools(ctx, mcpgotypes.ListToolsRequest{})
		if err != nil || len(tools.Tools) == 0 {
			t.Fatalf("tools: %v, %v", tools, err)
		}
		var call mcpgotypes.CallToolRequest
		call.Params.Name = tool
		for range 20 {
			if res, err := c.CallTool(ctx, call); err != nil || res.IsError {
				t.Fatalf("call: %v, %v", res, err)
			}
		}
	})
	t.Run("TypeScript SDK", func(t *testing.T) {
		hosted(ctx, t, logins, url, tool, node(t), "ts-host.mjs", tool)
	})
	t.Run("FastMCP", func(t *testing.T) {
		hosted(ctx, t, logins, url, tool, python(t), "fastmcp-host.py", tool)
	})
	t.Run("inspector", func(t *testing.T) {
		inspector := installed(t, "the npm package @modelcontextprotocol/inspector", "node_modules/.bin/mcp-inspector")
		hosted(ctx, t, logins, url, `"name": "`+tool+`"`, node(t), inspector, "--cli", "--method", "tools/list")
		hosted(ctx, t, logins, url, `"content"`, node(t), inspector, "--cli", "--method", "tools/call", "--tool-name", tool)
	})
}

// hosted runs a host that starts the bridge, and looks for a word in what it prints.
func hosted(ctx context.Context, t *testing.T, logins, url, word string, host ...string) {
	t.Helper()
	bridge := bridged(t, logins, url)
	cmd := exec.CommandContext(ctx, host[0], append(host[1:], bridge.Args...)...)
	if host[2] == "--cli" { // options of its own come last, after the command
		cmd.Args = append(append([]string{host[0], host[1], "--cli"}, bridge.Args...), host[3:]...)
	}
	cmd.Dir = "peers"
	// Programs that they start look for node too.
	cmd.Env = append(bridge.Env, "PATH="+filepath.Join(cmd.Dir, "node_modules", ".bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), word) {
		t.Errorf("%v\n%s", err, out)
	}
}

// login makes a login in a directory, for bridges to use.
func login(t *testing.T, url string, o mcpoauth.Options) (logins string) {
	t.Helper()
	logins = filepath.Join(t.TempDir(), "logins")
	st, err := filestore.New(logins)
	if err != nil {
		t.Fatal(err)
	}
	o.Store = st
	c := newClient(t, url, o)
	if _, err := c.Login(t.Context(), nil); err != nil {
		t.Fatalf("login: %v (%s)", err, mcpoauth.Hint(err))
	}
	return logins
}

func TestBridgeToAuthtest(t *testing.T) {
	for name, o := range map[string]*authtest.Options{"json": {}, "event streams": {SSE: true}} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, o)
			throughBridge(t, login(t, srv.MCPURL(), mcpoauth.Options{Prompt: player(srv)}), srv.MCPURL(), "whoami")
		})
	}
}

func TestBridgeToFastMCP(t *testing.T) {
	url := startFastMCP(t)
	throughBridge(t, login(t, url, mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}, Prompt: chromium(t)}), url, "now")
}

func TestBridgeToFastMCPsOAuthProxy(t *testing.T) {
	_, issuer := startOIDCProvider(t)
	url := startFastMCP(t, "MODE=proxy", "OP="+issuer)
	throughBridge(t, login(t, url, mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}, Prompt: chromium(t)}), url, "now")
}

func TestBridgeToTheTypeScriptSDKsServer(t *testing.T) {
	port := freePort(t)
	url, issuer := "http://localhost:"+strconv.Itoa(port)+"/mcp", "http://localhost:"+strconv.Itoa(port+1)
	start(t, issuer+"/.well-known/oauth-authorization-server", []string{"MCP_PORT=" + strconv.Itoa(port), "MCP_AUTH_PORT=" + strconv.Itoa(port+1)}, node(t),
		"--import", "./loopback.mjs", "node_modules/@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js", "--oauth", "--oauth-strict")
	throughBridge(t, login(t, url, mcpoauth.Options{Prompt: chromium(t)}), url, "list-files")
}

func TestBridgeToWorkersOAuthProvider(t *testing.T) {
	port := strconv.Itoa(freePort(t))
	url := "http://localhost:" + port + "/mcp"
	start(t, url, []string{"PORT=" + port}, node(t), "cloudflare.mjs")
	throughBridge(t, login(t, url, mcpoauth.Options{Prompt: chromium(t)}), url, "whoami")
}

// TestBridgeToTheGoSDKsServer, which takes oidc-provider's tokens.
func TestBridgeToTheGoSDKsServer(t *testing.T) {
	port := strconv.Itoa(freePort(t))
	issuer := "http://127.0.0.1:" + port
	var resource string
	resource = protect(t, issuer, "mcp:read", func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		return signed(ctx, issuer, resource, token)
	})
	start(t, issuer+"/jwks", []string{"PORT=" + port, "MCP=" + resource}, node(t), "oidc-provider.mjs")
	throughBridgeIn(t, "2025-11-25", login(t, resource, mcpoauth.Options{Prompt: chromium(t)}), resource, "whoami")
}

// TestTwentyBridges share one login whose token has ended: one refresh, twenty working sessions.
func TestTwentyBridges(t *testing.T) {
	srv := authtest.New(t, nil)
	logins := login(t, srv.MCPURL(), mcpoauth.Options{Prompt: player(srv)})
	srv.Expire()
	var wg sync.WaitGroup
	for range 20 {
		cmd := bridged(t, logins, srv.MCPURL())
		wg.Go(func() {
			s, err := mcp.NewClient(&mcp.Implementation{Name: "interop", Version: "1"}, nil).Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = s.Close() }()
			if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := srv.Count("refresh"); n != 1 || srv.Revoked() != 0 {
		t.Errorf("%d refreshes, %d logins revoked", n, srv.Revoked())
	}
}
