#!/usr/bin/env bash
# Go SDK go-sdk v1.8.0: one plain 4xx ends the whole client session, one 5xx does not, and the JSON-RPC error
# inside shows for a 4xx and is hidden for a 5xx.
# Expected (Streamable HTTP): only 404 for a session that is over ends a session; any other status concerns the
# request that it answers, and a body that is a JSON-RPC error reaches the caller.
# Instead, without any session id, 400, 403, 404 and 409 with an empty body close the client for good: the next
# call sends nothing and says "client is closing". 429 and 5xx leave it open. With a JSON-RPC error in the body
# the 4xx leaves it open too and shows the message, while under 500 the message is dropped.
# A server or gateway in front of this client should put a JSON-RPC error into every 4xx, and use 200 for errors
# that a person must read. A client program must be ready to connect again after any failed call.
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
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
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

func calls(status int, body bool) (string, string) {
	s := start()
	s.open = true
	failed := false
	s.onMCP = func(w http.ResponseWriter, r *http.Request, b string) bool {
		if failed || !strings.Contains(b, "tools/call") {
			return false
		}
		failed = true
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if body {
			var q struct{ ID any }
			json.Unmarshal([]byte(b), &q)
			json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": q.ID, "error": map[string]any{"code": -32050, "message": "quota is used up"}})
		}
		return true
	}
	ctx := context.Background()
	client := mcp.NewClient(&mcp.Implementation{Name: "probe", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: s.URL + "/mcp", DisableStandaloneSSE: true}, nil)
	if err != nil {
		return err.Error(), ""
	}
	_, first := session.CallTool(ctx, &mcp.CallToolParams{Name: "t"})
	_, second := session.CallTool(ctx, &mcp.CallToolParams{Name: "t"})
	return fmt.Sprint(first), fmt.Sprint(second)
}

func main() {
	fmt.Println(module("github.com/modelcontextprotocol/go-sdk"))
	good := true
	for _, c := range []struct {
		status         int
		body           bool
		usable, quotes bool
	}{{400, false, false, false}, {403, false, false, false}, {409, false, false, false}, {429, false, true, false}, {503, false, true, false},
		{400, true, true, true}, {403, true, true, true}, {500, true, true, false}} {
		first, second := calls(c.status, c.body)
		fmt.Printf("%d, JSON-RPC error inside: %-5v | first call: %.90s | second call: %.40s\n", c.status, c.body, first, second)
		good = good && (second == "<nil>") == c.usable && strings.Contains(first, "quota is used up") == c.quotes
	}
	if !good {
		os.Exit(1)
	}
}
EOF
go mod tidy >"$T/log" 2>&1 || { cat "$T/log"; exit 1; }
go run .
