#!/usr/bin/env bash
# mcp-go v1.2.1: a first login begins before any MCP request, so no challenge is ever seen, and the scopes that
# a server asks for, in its challenge or its metadata, do not reach the login.
# Expected (MCP authorization, scope selection): the client asks for the `scope` of the 401 challenge, else for
# `scopes_supported` of the protected resource metadata, else leaves the parameter out.
# Instead, with OAuth configured and no token stored, Initialize sends nothing and asks for the login; only
# OAuthConfig.Scopes is used. With none configured, the authorization request has no scope, and the registration
# carries `"scope": ""` (not a value of RFC 6749's grammar) and a member `resource` that RFC 7591 lacks.
# A program on mcp-go must ask the server itself. An authorization server must give useful default scopes, and
# should take an empty scope in a registration for a missing one.
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
	"net/url"
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

func main() {
	fmt.Println(module("github.com/mark3labs/mcp-go"))
	ctx := context.Background()
	s := start()
	s.prm = map[string]any{"scopes_supported": []string{"files:read"}}
	s.challenge[0] += `, scope="files:read"`
	cl, err := client.NewOAuthStreamableHttpClient(s.URL+"/mcp", transport.OAuthConfig{RedirectURI: "http://127.0.0.1:9/callback", PKCEEnabled: true})
	if err == nil {
		err = cl.Start(ctx)
	}
	var initialize mcp.InitializeRequest
	initialize.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
	_, err = cl.Initialize(ctx, initialize)
	handler := client.GetOAuthHandler(err)
	if handler == nil {
		fmt.Println("no login was asked for:", err)
		os.Exit(1)
	}
	if err := handler.RegisterClient(ctx, "probe"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	address, err := handler.GetAuthorizationURL(ctx, "state", "challenge")
	u, _ := url.Parse(address)
	registered := ""
	for _, r := range s.requests {
		if r.path == "/register" {
			registered = r.body
		}
	}
	fmt.Printf("challenge: %s\nregistration: %s\nscope in the authorization request: %q\n", s.challenge[0], registered, u.Query()["scope"])
	sent := s.count("POST", "/mcp", "")
	fmt.Println("MCP requests before the login:", sent)
	if err != nil || sent != 0 || u.Query().Has("scope") || !strings.Contains(registered, `"scope":""`) {
		os.Exit(1)
	}
}
EOF
go mod tidy >"$T/log" 2>&1 || { cat "$T/log"; exit 1; }
go run .
