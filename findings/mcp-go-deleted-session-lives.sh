#!/usr/bin/env bash
# mcp-go v1.2.1, server side: a session that was ended with DELETE goes on, and so does one that never began.
# Expected (Streamable HTTP, session management): after the DELETE that it answered with 200, the server answers
# requests with that session id with 404, and the client then starts a new session.
# Instead NewStreamableHTTPServer with its defaults checks only the form of the id: a ping with the deleted id is
# answered with 200, and so is one with a well-formed id that the server never gave out, while an id of another
# form gets 404 and a missing one 404 as well (the specification says 400 there).
# A bridge cannot learn from such a server that a session is over, so it must forget the id itself after DELETE,
# and must not read a 200 as a proof that state (subscriptions, log level) has survived a restart.
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
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"

	"github.com/mark3labs/mcp-go/server"
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
	fmt.Println(module("github.com/mark3labs/mcp-go"))
	h := httptest.NewServer(server.NewStreamableHTTPServer(server.NewMCPServer("server", "1")))
	send := func(method, session, body string) (int, string) {
		r, _ := http.NewRequest(method, h.URL+"/mcp", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, ""
		}
		defer res.Body.Close()
		return res.StatusCode, res.Header.Get("Mcp-Session-Id")
	}
	_, id := send("POST", "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"probe","version":"1"}}}`)
	ping := `{"jsonrpc":"2.0","id":2,"method":"ping"}`
	deleted, _ := send("DELETE", id, "")
	after, _ := send("POST", id, ping)
	invented, _ := send("POST", "mcp-session-00000000-0000-4000-8000-000000000000", ping)
	other, _ := send("POST", "unknown", ping)
	missing, _ := send("POST", "", ping)
	fmt.Printf("DELETE %d, ping after it %d; ping with an invented id %d, of another form %d, without an id %d\n", deleted, after, invented, other, missing)
	if id == "" || deleted != 200 || after != 200 || invented != 200 || other != 404 || missing != 404 {
		os.Exit(1)
	}
}
EOF
go mod tidy >"$T/log" 2>&1 || { cat "$T/log"; exit 1; }
go run .
