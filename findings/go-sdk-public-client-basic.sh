#!/usr/bin/env bash
# Go SDK go-sdk v1.8.0: a public client authenticates with an empty password when the registration answer leaves
# out `token_endpoint_auth_method`.
# Expected (RFC 6749, 4.1.3 and 3.2.1): a client without a secret sends `client_id` in the body. The SDK asked for
# method "none", the server answered with a client_id and no secret, as servers do that only know public clients.
# Instead the missing member is read as client_secret_basic (the default of RFC 7591), so the token request has
# `Authorization: Basic` of "client-1:" and no client_id in the body. Servers that see Basic look for a secret
# and answer invalid_client. The Python and TypeScript SDKs send client_id in the body here.
# An authorization server should always name the method in its answer, and may take an empty password for a
# public client. A client without a secret should never choose Basic.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
export GOMODCACHE="$T/mod" GOFLAGS="-modcacherw -mod=mod" GOWORK=off
mkdir "$T/probe"
cd "$T/probe"
cat >go.mod <<'EOF'
module probe

go 1.25

require github.com/modelcontextprotocol/go-sdk v1.8.0
EOF
cat >main.go <<'EOF'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// server is an MCP server of revision 2025-11-25 with its authorization server on one port.
type server struct {
	*httptest.Server
	mu                          sync.Mutex
	requests                    []request
	challenge                   []string
	metadata, registration, prm map[string]any // members that replace the usual ones; nil removes one
	open                        bool           // no token is asked for
	onMCP                       func(http.ResponseWriter, *http.Request, string) bool
}

type request struct{ method, path, authorization, body string }

func start() *server {
	s := &server{}
	s.Server = httptest.NewServer(s)
	s.challenge = []string{`Bearer resource_metadata="` + s.URL + `/.well-known/oauth-protected-resource/mcp"`}
	return s
}

func (s *server) count(method, path, part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r.method == method && r.path == path && strings.Contains(r.body, part) {
			n++
		}
	}
	return n
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	body := string(raw)
	s.mu.Lock()
	s.requests = append(s.requests, request{r.Method, r.URL.Path, r.Header.Get("Authorization"), body})
	s.mu.Unlock()
	reply := func(status int, value, changes map[string]any) {
		for k, v := range changes {
			value[k] = v
			if v == nil {
				delete(value, k)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(value)
	}
	switch r.URL.Path {
	case "/.well-known/oauth-protected-resource/mcp":
		if s.prm != nil && len(s.prm) == 0 {
			w.WriteHeader(404)
			return
		}
		reply(200, map[string]any{"resource": s.URL + "/mcp", "authorization_servers": []string{s.URL}}, s.prm)
	case "/.well-known/oauth-authorization-server":
		reply(200, map[string]any{"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
			"registration_endpoint": s.URL + "/register", "response_types_supported": []string{"code"},
			"code_challenge_methods_supported": []string{"S256"}}, s.metadata)
	case "/register":
		asked := map[string]any{}
		json.Unmarshal(raw, &asked)
		asked["client_id"] = "client-1"
		reply(201, asked, s.registration)
	case "/token":
		reply(200, map[string]any{"access_token": "token-1", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "refresh-1"}, nil)
	case "/mcp":
		if !s.open && r.Header.Get("Authorization") == "" {
			w.Header()["Www-Authenticate"] = s.challenge
			w.WriteHeader(401)
			return
		}
		if s.onMCP != nil && s.onMCP(w, r, body) {
			return
		}
		var q struct {
			ID     any
			Method string
		}
		json.Unmarshal(raw, &q)
		answer := map[string]any{"jsonrpc": "2.0", "id": q.ID}
		switch {
		case r.Method != "POST":
			w.WriteHeader(405)
			return
		case q.ID == nil:
			w.WriteHeader(202)
			return
		case q.Method == "initialize":
			answer["result"] = map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{"tools": map[string]any{}},
				"serverInfo": map[string]any{"name": "server", "version": "1"}}
		case q.Method == "tools/call":
			answer["result"] = map[string]any{"content": []any{map[string]any{"type": "text", "text": "ok"}}}
		default:
			answer["error"] = map[string]any{"code": -32601, "message": "Method not found"}
		}
		reply(200, answer, nil)
	default:
		w.WriteHeader(404)
	}
}

var opened []url.Values // parameters of every authorization request

// connect opens a session with a login that needs no person; the callback carries iss.
func connect(s *server, iss string) (*mcp.ClientSession, error) {
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			RedirectURIs: []string{"http://127.0.0.1:9/callback"}, ClientName: "probe", TokenEndpointAuthMethod: "none"}},
		AuthorizationCodeFetcher: func(_ context.Context, a *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			u, err := url.Parse(a.URL)
			if err != nil {
				return nil, err
			}
			opened = append(opened, u.Query())
			return &auth.AuthorizationResult{Code: "code-1", State: u.Query().Get("state"), Iss: iss}, nil
		},
	})
	if err != nil {
		return nil, err
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "probe", Version: "1"}, nil)
	return client.Connect(context.Background(), &mcp.StreamableClientTransport{
		Endpoint: s.URL + "/mcp", OAuthHandler: handler, DisableStandaloneSSE: true}, nil)
}

func module(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Path + " " + m.Version
		}
	}
	return path
}

func main() {
	fmt.Println(module("github.com/modelcontextprotocol/go-sdk"))
	s := start()
	s.registration = map[string]any{"token_endpoint_auth_method": nil}
	if _, err := connect(s, ""); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, r := range s.requests {
		if r.path == "/token" {
			fmt.Printf("token request: Authorization %q, client_id in the body: %v\n", r.authorization, strings.Contains(r.body, "client_id="))
			if r.authorization != "Basic Y2xpZW50LTE6" || strings.Contains(r.body, "client_id=") {
				os.Exit(1)
			}
		}
	}
}
EOF
go mod tidy >"$T/log" 2>&1 || { cat "$T/log"; exit 1; }
go run .
