package mcpoauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// exampleServer is a protected MCP server with its authorization server, and a person who
// allows what is asked.
func exampleServer() (*authtest.Server, mcpoauth.Prompt) {
	srv, err := authtest.Start(nil)
	if err != nil {
		panic(err)
	}
	return srv, func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		_, err := srv.Browser(ctx, p.URL)
		return nil, err
	}
}

// FastMCP's OAuth(mcp_url, scopes, client_name, token_storage_cache_dir, additional_client_metadata).
func ExampleNew() {
	srv, person := exampleServer()
	defer srv.Close()
	dir, _ := os.MkdirTemp("", "logins")
	defer os.RemoveAll(dir)

	client, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Scopes:   mcpoauth.ScopeOptions{Request: []string{"mcp:read"}},
		Client:   mcpoauth.ClientOptions{Name: "An example", Metadata: map[string]any{"client_uri": "https://app.example"}},
		CacheDir: filepath.Join(dir, "mcpoauth"),
		Prompt:   person,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	resp, err := client.HTTPClient().Post(srv.MCPURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s %s\n", resp.Status, body)
	// Output: 200 OK {"id":1,"jsonrpc":"2.0","result":{}}
}

// The prompt of the command serves a program too. Here a test's person is the browser.
func ExampleTerminalPrompt() {
	srv, _ := exampleServer()
	defer srv.Close()
	client, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{
		Store: memstore.New(),
		Prompt: mcpoauth.TerminalPrompt(os.Stdin, io.Discard, &mcpoauth.TerminalOptions{
			OpenBrowser: func(ctx context.Context, url string) error {
				_, err := srv.Browser(ctx, url)
				return err
			},
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())
	token, err := client.Login(context.Background(), nil)
	fmt.Println(token.Type(), err)
	// Output: Bearer <nil>
}

// Any http.Client takes the Transport, with the base that it has.
func ExampleTransport() {
	srv, person := exampleServer()
	defer srv.Close()
	client, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: memstore.New(), Prompt: person})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close(context.Background())

	mine := &http.Client{Transport: &mcpoauth.Transport{Client: client, Base: http.DefaultTransport}}
	resp, err := mine.Post(srv.MCPURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// A program that may not ask anybody says what it needs instead.
func ExampleClient_Token() {
	srv, person := exampleServer()
	defer srv.Close()
	ctx, logins := context.Background(), memstore.New()

	service, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: logins})
	_, err := service.Token(ctx, nil)
	fmt.Println(errors.Is(err, mcpoauth.ErrLoginRequired))

	desk, _ := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: logins, Prompt: person})
	if _, err := desk.Login(ctx, nil); err != nil {
		fmt.Println(err)
	}
	token, err := service.Token(ctx, nil)
	fmt.Println(token.Type(), token.AccessToken() != "", err)
	// Output:
	// true
	// Bearer true <nil>
}

// A web application logs a user in by redirecting twice. The ID stays in the user's session.
func ExampleFinishLogin() {
	srv, _ := exampleServer()
	defer srv.Close()
	ctx := context.Background()
	opts := &mcpoauth.Options{Store: memstore.New(), Profile: "user-17"}

	app, _ := mcpoauth.New(srv.MCPURL(), opts)
	pending, err := app.BeginLogin(ctx, "http://127.0.0.1:8080/mcp/callback")
	if err != nil {
		fmt.Println(err)
		return
	}
	back, err := srv.Decide(ctx, pending.URL, true) // the user's browser goes there, and comes back with an answer
	if err != nil {
		fmt.Println(err)
		return
	}
	callback, _ := url.Parse(back)
	client, err := mcpoauth.FinishLogin(ctx, pending.ID, callback.Query(), opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := client.Token(ctx, nil)
	fmt.Println(token.Type(), err)
	// Output: Bearer <nil>
}

func ExampleDefaultCacheDir() {
	os.Setenv("MCPOAUTH_DIR", "/srv/mcpoauth")
	defer os.Unsetenv("MCPOAUTH_DIR")
	fmt.Println(mcpoauth.DefaultCacheDir())
	// Output: /srv/mcpoauth <nil>
}

// Methods that no list knows, null and a single string do not keep a server's metadata from being read.
func ExampleServerMetadata() {
	var m mcpoauth.ServerMetadata
	err := json.Unmarshal([]byte(`{
		"issuer": "https://pay.example",
		"token_endpoint": "https://pay.example/token",
		"token_endpoint_auth_methods_supported": ["client_secret_basic", "session_jwt"],
		"scopes_supported": null,
		"code_challenge_methods_supported": "S256"
	}`), &m)
	fmt.Println(m.TokenEndpointAuthMethodsSupported, m.CodeChallengeMethodsSupported, err)
	// Output: [client_secret_basic session_jwt] [S256] <nil>
}
