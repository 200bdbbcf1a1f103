#!/usr/bin/env bash
# Product: github.com/modelcontextprotocol/go-sdk v1.8.0, oauthex.ParseWWWAuthenticate.
# Expected: it is a real parser of RFC 9110 challenges, so blanks around "=" (BWS,
# section 11.2) and empty list elements (section 5.6.1: a recipient MUST parse and
# ignore them) are read.
# Instead: blanks around "=" are an error for the whole field; an empty element ends
# the Bearer challenge and makes a scheme named "," that owns resource_metadata; and a
# token68 (Negotiate abc==) is read as a parameter "abc" in lower case.
# A client that looks for resource_metadata should not give up on such a field; a
# server or proxy should write challenges in the plainest form.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; export GOPATH="$tmp/gopath" GOFLAGS="-modcacherw -mod=mod"
go mod init probe 2>/dev/null
go get github.com/modelcontextprotocol/go-sdk@v1.8.0 2>/dev/null
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

func main() {
	parse := func(v string) string {
		c, err := oauthex.ParseWWWAuthenticate([]string{v})
		if err != nil {
			return "error: " + err.Error()
		}
		return fmt.Sprint(c)
	}
	plain := parse(`Bearer scope="a b", resource_metadata="https://r.example/m"`)
	empty := parse(`Bearer scope="a b", , resource_metadata="https://r.example/m"`)
	blank := parse(`Bearer scope = "a b", resource_metadata = "https://r.example/m"`)
	token := parse(`Negotiate TlRMTVNT==`)
	fmt.Println("plain        ", plain)
	fmt.Println("empty element", empty)
	fmt.Println("blanks       ", blank)
	fmt.Println("token68      ", token)
	if plain != `[{bearer map[resource_metadata:https://r.example/m scope:a b]}]` || empty == plain || blank == plain || blank[:5] != "error" {
		os.Exit(1)
	}
}
GO
go list -m github.com/modelcontextprotocol/go-sdk
go run .
