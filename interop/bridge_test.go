package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/client"
	mcpgotypes "github.com/mark3labs/mcp-go/mcp"
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

// throughBridge lists and calls tools with the official Go SDK's client and with mcp-go's.
func throughBridge(t *testing.T, logins, url, tool string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
		req.Params.ProtocolVersion = mcpgotypes.LATEST_PROTOCOL_VERSION
		req.Params.ClientInfo = mcpgotypes.Implementation{Name: "interop", Version: "1"}
		if _, err := c.Initialize(ctx, req); err != nil {
			t.Fatal(err)
		}
		tools, err := c.ListTools(ctx, mcpgotypes.ListToolsRequest{})
		if err != nil || len(tools.Tools) == 0 {
			t.Fatalf("tools: %v, %v", tools, err)
		}
	})
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
	throughBridge(t, login(t, url, mcpoauth.Options{Scopes: []string{"mcp:read"}, Prompt: chromium(t)}), url, "now")
}

func TestBridgeToFastMCPsOAuthProxy(t *testing.T) {
	_, issuer := startOIDCProvider(t)
	url := startFastMCP(t, "MODE=proxy", "OP="+issuer)
	throughBridge(t, login(t, url, mcpoauth.Options{Scopes: []string{"mcp:read"}, Prompt: chromium(t)}), url, "now")
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
