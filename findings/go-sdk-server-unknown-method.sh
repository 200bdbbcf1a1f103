#!/usr/bin/env bash
# Go SDK go-sdk v1.8.0, server side: an unknown method is answered with HTTP 400 and a line of plain text, and an
# unknown notification too.
# Expected (JSON-RPC 2.0): an unknown request gets the error -32601 with the id of the request; a notification
# gets no answer, so Streamable HTTP says 202. The TypeScript (1.32.2) and Python (2.3.0) servers and mcp-go do so.
# Instead the body is "JSON RPC not handled: ... unsupported" as text/plain, with no id to match. Together with
# the client of the same SDK, which closes on a plain 400, asking such a server one vendor method ends a session.
# A bridge must build -32601 for the waiting id out of a plain 400 to a request, and must not treat a 400 to a
# notification as a failure of the connection.
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
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

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
	s := mcp.NewServer(&mcp.Implementation{Name: "server", Version: "1"}, nil)
	h := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	session := ""
	post := func(body string) (int, string, string) {
		r, _ := http.NewRequest("POST", h.URL, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
			r.Header.Set("MCP-Protocol-Version", "2025-11-25")
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, "", err.Error()
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		if id := res.Header.Get("Mcp-Session-Id"); id != "" {
			session = id
		}
		return res.StatusCode, res.Header.Get("Content-Type"), strings.TrimSpace(string(text))
	}
	post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"probe","version":"1"}}}`)
	post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	good := true
	for _, body := range []string{`{"jsonrpc":"2.0","id":2,"method":"vendor/ask"}`, `{"jsonrpc":"2.0","method":"notifications/vendor"}`} {
		status, kind, text := post(body)
		fmt.Printf("%s\n  -> %d %s: %s\n", body, status, kind, text)
		good = good && status == 400 && strings.HasPrefix(kind, "text/plain") && strings.Contains(text, "not handled")
	}
	if !good {
		os.Exit(1)
	}
}
EOF
go mod tidy >"$T/log" 2>&1 || { cat "$T/log"; exit 1; }
go run .
