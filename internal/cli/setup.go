package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

// mcpHost is a program that starts MCP servers, and how its configuration names one.
type mcpHost struct {
	name, title string
	// file says where the entry belongs.
	file string
	// member holds the entries; with typed each says that it is a stdio server. toml is for hosts whose
	// configuration is that.
	member string
	typed  bool
	toml   bool
}

// mcpHosts are the hosts that setup knows, each by its own documentation.
var mcpHosts = []mcpHost{
	{name: "claude-desktop", title: "Claude Desktop", file: "claude_desktop_config.json (Settings, Developer, Edit Config)", member: "mcpServers"},
	{name: "claude-code", title: "Claude Code", file: ".mcp.json in the project, or ~/.claude.json", member: "mcpServers", typed: true},
	{name: "cursor", title: "Cursor", file: "~/.cursor/mcp.json, or .cursor/mcp.json in the project", member: "mcpServers"},
	{name: "vscode", title: "VS Code", file: ".vscode/mcp.json in the project, or the user's mcp.json (MCP: Open User Configuration)", member: "servers", typed: true},
	{name: "windsurf", title: "Windsurf", file: "~/.codeium/windsurf/mcp_config.json", member: "mcpServers"},
	{name: "zed", title: "Zed", file: "settings.json (zed: open settings)", member: "context_servers"},
	{name: "gemini-cli", title: "Gemini CLI", file: "~/.gemini/settings.json", member: "mcpServers"},
	{name: "codex", title: "Codex", file: "~/.codex/config.toml", member: "mcp_servers", toml: true},
}

func newSetup(f *flags) *cobra.Command {
	var name, program string
	cmd := &cobra.Command{
		Use:   "setup HOST URL [-- FLAG…]",
		Short: "print the entry for a well-known MCP host",
		Long:  "Print the entry that makes an MCP host use a server through this program, and where it belongs. What\nstands after -- goes to mcpoauth proxy. Hosts: " + strings.Join(hostNames(), ", ") + ".",
		Example: `  mcpoauth setup claude-desktop https://mcp.example.com/mcp
  mcpoauth setup vscode https://mcp.example.com/mcp --name example -- --profile work`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) >= 2 {
				return nil
			}
			return &usageError{"mcpoauth setup needs a host and the URL of an MCP server", "as in: mcpoauth setup cursor https://mcp.example.com/mcp; hosts: " + strings.Join(hostNames(), ", ")}
		},
		ValidArgs: hostNames(),
	}
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of the entry, if not the server's host")
	cmd.Flags().StringVar(&program, "program", "", "`PATH` of mcpoauth, if the host does not find it by name")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		i := slices.IndexFunc(mcpHosts, func(h mcpHost) bool { return h.name == args[0] })
		if i < 0 {
			return &usageError{"there is no host " + quote(args[0]) + " here", "hosts: " + strings.Join(hostNames(), ", ")}
		}
		c, err := mcpoauth.New(args[1], nil)
		if err != nil {
			return newFailed(err)
		}
		if name == "" {
			name = entryName(c.ServerURL())
		}
		if program == "" {
			program = ownProgram()
		}
		text, err := mcpHosts[i].entry(name, program, append([]string{"proxy", args[1]}, args[2:]...))
		if err != nil {
			return err
		}
		f.u.say("%s: put this into %s; keep what is there", mcpHosts[i].title, mcpHosts[i].file)
		_, err = fmt.Fprint(f.u.out, text)
		return err
	}
	return cmd
}

func hostNames() []string {
	var out []string
	for _, h := range mcpHosts {
		out = append(out, h.name)
	}
	return out
}

// entryName is a name for a server that every host takes.
func entryName(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "mcp"
	}
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.TrimPrefix(u.Hostname(), "mcp.")), "-")
}

// ownProgram is how a host may start this program: by its path, since many hosts have another PATH than a
// shell.
func ownProgram() string {
	path, err := os.Executable()
	if err != nil {
		return "mcpoauth"
	}
	return path
}

// entry is the configuration with one server in it.
func (h mcpHost) entry(name, program string, args []string) (string, error) {
	if h.toml {
		quoted := make([]string, len(args))
		for i, a := range args {
			quoted[i] = strconv.Quote(a)
		}
		return fmt.Sprintf("[%s.%s]\ncommand = %s\nargs = [%s]\n", h.member, name, strconv.Quote(program), strings.Join(quoted, ", ")), nil
	}
	type server struct {
		Type    string   `json:"type,omitempty"`
		Command string   `json:"command"`
		Args    []string `json:"args"`
	}
	s := server{Command: program, Args: args}
	if h.typed {
		s.Type = "stdio"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(map[string]map[string]server{h.member: {name: s}})
	return b.String(), err
}
