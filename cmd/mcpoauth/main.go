// Command mcpoauth is the OAuth client for MCP servers: it logs in, keeps the login fresh and
// hands out access tokens.
package main

import (
	"os"

	"github.com/mcpoauth/mcpoauth/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
