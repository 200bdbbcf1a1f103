package cli

import (
	"errors"
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
	// paths are where the file is, by operating system, "" for all others. Without one it is not written:
	// it is not strict JSON.
	paths map[string]string
}

// mcpHosts are the hosts that setup knows, each by its own documentation.
var mcpHosts = []mcpHost{
	{name: "claude-desktop", title: "Claude Desktop", file: "claude_desktop_config.json (Settings, Developer, Edit Config)", member: "mcpServers", paths: map[string]string{"darwin": "~/Library/Application Support/Claude/claude_desktop_config.json", "windows": "%AppData%/Claude/claude_desktop_config.json", "": "~/.config/Claude/claude_desktop_config.json"}},
	{name: "claude-code", title: "Claude Code", file: ".mcp.json in the project, or ~/.claude.json", member: "mcpServers", typed: true, paths: map[string]string{"": ".mcp.json"}},
	{name: "cursor", title: "Cursor", file: "~/.cursor/mcp.json, or .cursor/mcp.json in the project", member: "mcpServers", paths: map[string]string{"": "~/.cursor/mcp.json"}},
	{name: "vscode", title: "VS Code", file: ".vscode/mcp.json in the project, or the user's mcp.json (MCP: Open User Configuration)", member: "servers", typed: true, paths: map[string]string{"": ".vscode/mcp.json"}},
	{name: "windsurf", title: "Windsurf", file: "~/.codeium/windsurf/mcp_config.json", member: "mcpServers", paths: map[string]string{"": "~/.codeium/windsurf/mcp_config.json"}},
	{name: "zed", title: "Zed", file: "settings.json (zed: open settings)", member: "context_servers"},
	{name: "gemini-cli", title: "Gemini CLI", file: "~/.gemini/settings.json", member: "mcpServers", paths: map[string]string{"": "~/.gemini/settings.json"}},
	{name: "codex", title: "Codex", file: "~/.codex/config.toml", member: "mcp_servers", toml: true},
}

func newSetup(f *flags) *cobra.Command {
	var name, program, file string
	var write bool
	cmd := &cobra.Command{
		Use:   "setup HOST URL [-- FLAG…]",
		Short: "print or write the entry for a well-known MCP host",
		Long:  "Print the entry that makes an MCP host use a server through this program, and where it belongs. Arguments\nafter -- are passed to mcpoauth proxy. With --write the host's file is edited if it is strict JSON: everything\nelse in it is kept, and a copy of it is kept beside it. Hosts: " + strings.Join(hostNames(), ", ") + ".",
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
	cmd.Flags().BoolVar(&write, "write", false, "edit the host's file instead of printing")
	cmd.Flags().StringVar(&file, "file", "", "the `FILE` to edit, if not the host's usual one")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		i := slices.IndexFunc(mcpHosts, func(h mcpHost) bool { return h.name == args[0] })
		if i < 0 {
			return &usageError{"unknown host " + quote(args[0]), "hosts: " + strings.Join(hostNames(), ", ")}
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
		if write || file != "" {
			return f.u.writeSetup(mcpHosts[i], file, name, program, append([]string{"proxy", args[1]}, args[2:]...))
		}
		text, err := mcpHosts[i].entry(name, program, append([]string{"proxy", args[1]}, args[2:]...))
		if err != nil {
			return err
		}
		f.u.say("%s: add this to %s, and keep the rest of the file", mcpHosts[i].title, mcpHosts[i].file)
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
	b, err := encode(map[string]map[string]hostEntry{h.member: {name: h.server(program, args)}}, "", "  ")
	return string(b) + "\n", err
}

// hostEntry is how hosts write down a program that is an MCP server.
type hostEntry struct {
	Type    string   `json:"type,omitempty"`
	Command string   `json:"command"`
	Args    []string `json:"args"`
}

func (h mcpHost) server(program string, args []string) hostEntry {
	e := hostEntry{Command: program, Args: args}
	if h.typed {
		e.Type = "stdio"
	}
	return e
}

// writeSetup edits a host's file, or prints the entry where it cannot be edited.
func (u *ui) writeSetup(h mcpHost, path, name, program string, args []string) error {
	if path == "" {
		var err error
		if path, err = h.place(); err != nil {
			return &usageError{"the configuration file of " + h.title + " cannot be located: " + trimPrefix(err), "name it with --file"}
		}
	}
	instead := func(why, hint string) error {
		text, err := h.entry(name, program, args)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprint(u.out, text); err != nil {
			return err
		}
		return &usageError{"nothing was written: " + why, hint}
	}
	byHand := "add the printed entry to " + h.file + ", and keep the rest of the file"
	if path == "" || h.toml {
		return instead("the configuration of "+h.title+" is not strict JSON", byHand)
	}
	backup, replaced, err := writeEntry(path, h.member, name, h.server(program, args))
	if errors.Is(err, errTaken) {
		return instead(quote(path)+": the entry "+quote(name)+" there is for another program or another server", "choose another name with --name, or remove that entry")
	}
	if err != nil {
		return instead(quote(path)+": "+trimPrefix(err), byHand)
	}
	what := "added"
	if replaced {
		what = "replaced"
	}
	u.say("%s: %s the entry %s in %s", h.title, what, quote(name), quote(path))
	if backup != "" {
		u.say("a copy of the previous file: %s", quote(backup))
	}
	u.say("restart %s for it to take effect; to log in beforehand: mcpoauth login %s", h.title, shellWord(args[1]))
	return nil
}
