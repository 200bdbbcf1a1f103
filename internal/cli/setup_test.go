package cli

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
)

func TestSetup(t *testing.T) {
	for _, h := range mcpHosts {
		var out, errs strings.Builder
		code := Main([]string{"setup", h.name, "https://mcp.example.com/mcp?a=1&b=2", "--program", "/opt/mcpoauth", "--", "--profile", "work"}, strings.NewReader(""), &out, &errs)
		if code != exitDone || !strings.Contains(errs.String(), h.title) {
			t.Errorf("%s: %d, %s", h.name, code, errs.String())
		}
		if h.toml {
			if want := "[mcp_servers.example-com]\ncommand = \"/opt/mcpoauth\"\nargs = [\"proxy\", \"https://mcp.example.com/mcp?a=1&b=2\", \"--profile\", \"work\"]\n"; out.String() != want {
				t.Errorf("%s: %s", h.name, out.String())
			}
			continue
		}
		var doc map[string]map[string]struct {
			Type, Command string
			Args          []string
		}
		if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
			t.Fatalf("%s: %v", h.name, err)
		}
		e, ok := doc[h.member]["example-com"]
		if !ok || e.Command != "/opt/mcpoauth" || strings.Join(e.Args, " ") != "proxy https://mcp.example.com/mcp?a=1&b=2 --profile work" || (e.Type == "stdio") != h.typed {
			t.Errorf("%s: %s", h.name, out.String())
		}
		if strings.Contains(out.String(), `\u0026`) {
			t.Errorf("%s: the URL is escaped beyond recognition: %s", h.name, out.String())
		}
	}
	for _, args := range [][]string{{"setup"}, {"setup", "cursor"}, {"setup", "notepad", "https://x.example"}, {"setup", "cursor", "x.example"}} {
		var errs strings.Builder
		if code := Main(args, strings.NewReader(""), io.Discard, &errs); code != exitUsage || !strings.Contains(errs.String(), "hint: ") {
			t.Errorf("%v: %d, %s", args, code, errs.String())
		}
	}
}
