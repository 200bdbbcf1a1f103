#!/usr/bin/env bash
# mcp-go v1.2.1: the same metadata document is accepted at the default address and refused when the challenge
# of a 401 names that very address.
# Expected (RFC 9728, 3.3): one rule, an exact match, however the address was found; or leniency both times, as
# in the TypeScript (2.4.0) and Python (2.3.0) SDKs, which take a document for the whole server (`resource` is
# the origin, as shared gateways publish it) for any path below it.
# Instead a parent resource passes when mcp-go built the address itself, and is an error ("does not match base
# URL") when the 401 gave it. A server that improves its 401 by adding resource_metadata breaks these logins.
# A server should publish one document per MCP path with exactly that resource. A client should use one rule.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
export GOMODCACHE="$T/mod" GOFLAGS="-modcacherw -mod=mod" GOWORK=off
mkdir "$T/probe"
cd "$T/probe"
cat >go.mod <<'EOF'
module probe

go 1.25

require github.com/mark3labs/mcp-go v1.2.1
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
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
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

func module(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Path + " " + m.Version
		}
	}
	return path
}

func discover(named bool) error {
	ctx := context.Background()
	s := start()
	s.prm = map[string]any{"resource": s.URL}
	if !named {
		s.challenge = []string{"Bearer"}
	}
	s.onMCP = func(w http.ResponseWriter, _ *http.Request, _ string) bool { // the stored token has been revoked
		w.Header()["Www-Authenticate"] = s.challenge
		w.WriteHeader(401)
		return true
	}
	store := transport.NewMemoryTokenStore()
	if err := store.SaveToken(ctx, &transport.Token{AccessToken: "old", TokenType: "Bearer"}); err != nil {
		return err
	}
	cl, err := client.NewOAuthStreamableHttpClient(s.URL+"/mcp",
		transport.OAuthConfig{RedirectURI: "http://127.0.0.1:9/callback", PKCEEnabled: true, TokenStore: store})
	if err != nil {
		return err
	}
	if err := cl.Start(ctx); err != nil {
		return err
	}
	var initialize mcp.InitializeRequest
	initialize.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
	_, err = cl.Initialize(ctx, initialize)
	handler := client.GetOAuthHandler(err)
	if handler == nil {
		return fmt.Errorf("no login was asked for: %w", err)
	}
	_, err = handler.GetServerMetadata(ctx)
	return err
}

func main() {
	fmt.Println(module("github.com/mark3labs/mcp-go"))
	plain, named := discover(false), discover(true)
	fmt.Println("challenge without the address:", plain)
	fmt.Println("challenge with the address:   ", named)
	if plain != nil || named == nil || !strings.Contains(named.Error(), "does not match base URL") {
		os.Exit(1)
	}
}
EOF
go mod tidy >"$T/log" 2>&1 || { cat "$T/log"; exit 1; }
go run .
