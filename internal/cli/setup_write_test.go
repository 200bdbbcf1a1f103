package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const newEntry = `{
      "command": "/opt/mcpoauth",
      "args": [
        "proxy",
        "https://mcp.example.com/mcp?a=1&b=2"
      ]
    }`

func setupWrite(t *testing.T, file string, more ...string) (int, string, string) {
	t.Helper()
	var out, errs strings.Builder
	args := append([]string{"setup", "cursor", "https://mcp.example.com/mcp?a=1&b=2", "--program", "/opt/mcpoauth", "--file", file}, more...)
	code := Main(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// TestSetupWritesIntoAHostsFile: the entry, and not a byte of anything else.
func TestSetupWritesIntoAHostsFile(t *testing.T) {
	for name, tc := range map[string]struct{ before, after string }{
		"empty":         {"", "{\n  \"mcpServers\": {\n    \"example-com\": " + newEntry + "\n  }\n}\n"},
		"an empty one":  {"{}", "{\n  \"mcpServers\": {\n    \"example-com\": " + newEntry + "\n  }\n}"},
		"other servers": {"{\n  \"mcpServers\": {\n    \"a\": {\"command\": \"x\",   \"args\":[] }\n  },\n  \"z\": 1.50\n}\n", "{\n  \"mcpServers\": {\n    \"a\": {\"command\": \"x\",   \"args\":[] },\n    \"example-com\": " + newEntry + "\n  },\n  \"z\": 1.50\n}\n"},
		"the same name": {"{\n  \"mcpServers\": {\n    \"example-com\": {\"command\": \"C:/mcpoauth.exe\", \"args\": [\"proxy\", \"https://MCP.example.com/mcp?a=1&b=2\", \"--profile\", \"x\"], \"env\": {}},\n    \"b\": {}\n  }\n}", "{\n  \"mcpServers\": {\n    \"example-com\": " + newEntry + ",\n    \"b\": {}\n  }\n}"},
		"no servers":    {"{\n  \"mcpServers\": {},\n  \"theme\": \"d\\u0061rk\"\n}", "{\n  \"mcpServers\": {\n    \"example-com\": " + newEntry + "\n  },\n  \"theme\": \"d\\u0061rk\"\n}"},
		"tabs":          {"{\n\t\"a\": {\n\t\t\"mcpServers\": 1\n\t}\n}", "{\n\t\"a\": {\n\t\t\"mcpServers\": 1\n\t},\n\t\"mcpServers\": {\n\t\t\"example-com\": " + strings.NewReplacer("      ", "\t\t\t", "        ", "\t\t\t\t", "    }", "\t\t}").Replace(strings.ReplaceAll(newEntry, "        ", "\t\t\t\t")) + "\n\t}\n}"},
		"a line":        {`{"mcpServers":{"a":{}},"b":[1,2]}`, "{\"mcpServers\":{\"a\":{},\n    \"example-com\": " + newEntry + "},\"b\":[1,2]}"},
		"Windows":       {"\ufeff{\r\n  \"x\": 1\r\n}\r\n", "\ufeff{\r\n  \"x\": 1,\r\n  \"mcpServers\": {\r\n    \"example-com\": " + strings.ReplaceAll(newEntry, "\n", "\r\n") + "\r\n  }\r\n}\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "mcp.json")
			if err := os.WriteFile(file, []byte(tc.before), 0o640); err != nil { // its mode must stay
				t.Fatal(err)
			}
			code, out, errs := setupWrite(t, file)
			b, err := os.ReadFile(file)
			if code != exitDone || err != nil || string(b) != tc.after || out != "" {
				t.Errorf("%d, %s%s, %v\n%q\n%q", code, out, errs, err, b, tc.after)
			}
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			if b, err := os.ReadFile(file + ".bak"); err != nil || string(b) != tc.before {
				t.Errorf("the copy: %q, %v", b, err)
			}
			// Once more changes nothing but the copies.
			if code, _, errs := setupWrite(t, file); code != exitDone || !strings.Contains(errs, "replaced") {
				t.Errorf("again: %d, %s", code, errs)
			}
			if again, err := os.ReadFile(file); err != nil || string(again) != tc.after && name != "a line" {
				t.Errorf("again: %q, %v", again, err)
			}
			if left, _ := filepath.Glob(file + "*"); len(left) != 3 {
				t.Errorf("there are %v", left)
			}
		})
	}
}

// TestAnEntryThatIsNotOursIsNotReplaced: another program's, and one of ours for another server.
func TestAnEntryThatIsNotOursIsNotReplaced(t *testing.T) {
	t.Parallel()
	for name, entry := range map[string]string{
		"another program":           `{"command":"npx","args":["mcp-remote","https://mcp.example.com/mcp?a=1&b=2"]}`,
		"another program's proxy":   `{"command":"proxify","args":["proxy","https://mcp.example.com/mcp?a=1&b=2"]}`,
		"ours for another server":   `{"command":"/opt/mcpoauth","args":["proxy","https://mcp.example.com/other"]}`,
		"ours for another query":    `{"command":"/opt/mcpoauth","args":["proxy","https://mcp.example.com/mcp?a=2"]}`,
		"another command of ours":   `{"command":"/opt/mcpoauth","args":["run","https://mcp.example.com/mcp?a=1&b=2","--","x"]}`,
		"a server by its address":   `{"url":"https://mcp.example.com/mcp?a=1&b=2","headers":{"X-Key":"k"}}`,
		"what is no server's entry": `"text"`,
		"arguments that are none":   `{"command":"/opt/mcpoauth","args":"proxy"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "mcp.json")
			before := `{"mcpServers":{"example-com":` + entry + `}}`
			if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errs := setupWrite(t, file)
			b, err := os.ReadFile(file)
			if code != exitUsage || err != nil || string(b) != before || !strings.Contains(out, "/opt/mcpoauth") || !strings.Contains(errs, "--name") {
				t.Errorf("%d, %s, %v, %s", code, errs, err, b)
			}
			if code, _, errs := setupWrite(t, file, "--name", "another"); code != exitDone {
				t.Errorf("by another name: %d, %s", code, errs)
			}
		})
	}
}

func TestSetupMakesAHostsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "not", "there", "mcp.json")
	code, _, errs := setupWrite(t, file)
	info, err := os.Stat(file)
	if code != exitDone || err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(errs, "restart Cursor") || strings.Contains(errs, "as it was") {
		t.Errorf("%d, %s, %v", code, errs, err)
	}
}

// TestFilesThatAreNotEdited stay as they are; the entry is printed.
func TestFilesThatAreNotEdited(t *testing.T) {
	for name, before := range map[string]string{
		"comments": "{\n  // mine\n  \"mcpServers\": {}\n}", "a comma": `{"mcpServers":{},}`, "a list": "[]", "no object": `{"mcpServers": []}`, "null": "null",
		"twice": `{"mcpServers":{"example-com":1,"example-com":2}}`, "the servers twice": `{"mcpServers":{"a":1},"mcpServers":{"b":2}}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "mcp.json")
			if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errs := setupWrite(t, file)
			b, err := os.ReadFile(file)
			if code != exitUsage || err != nil || string(b) != before || !strings.Contains(out, "/opt/mcpoauth") || !strings.Contains(errs, "nothing was written") {
				t.Errorf("%d, %s, %v, %q", code, errs, err, b)
			}
			if comments := name == "comments" || name == "a comma"; comments != strings.Contains(errs, "not strict JSON") {
				t.Errorf("the reason: %s", errs)
			}
			if left, _ := filepath.Glob(file + "*"); len(left) != 1 {
				t.Errorf("there are %v", left)
			}
		})
	}
	var out, errs strings.Builder
	if code := Main([]string{"setup", "codex", "https://mcp.example.com/mcp", "--write"}, strings.NewReader(""), &out, &errs); code != exitUsage || !strings.Contains(out.String(), "[mcp_servers.") || !strings.Contains(errs.String(), "not strict JSON") {
		t.Errorf("a host with TOML: %d, %s, %s", code, out.String(), errs.String())
	}
	file := filepath.Join(t.TempDir(), "mcp.json")
	if err := os.WriteFile(file, []byte("{}"), 0o400); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := setupWrite(t, file); code != exitUsage || !strings.Contains(errs, "read-only") {
		t.Errorf("a read-only file: %d, %s", code, errs)
	}
}

// TestWhatIsNoHostsFile is neither read nor replaced.
func TestWhatIsNoHostsFile(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.json")
	text := append([]byte("{}"), bytes.Repeat([]byte(" "), maxHostFile)...)
	if err := os.WriteFile(large, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a directory": dir, "a large file": large} {
		if code, out, errs := setupWrite(t, path); code != exitUsage || !strings.Contains(errs, "not a file that can be edited") || !strings.Contains(out, "/opt/mcpoauth") {
			t.Errorf("%s: %d, %s", name, code, errs)
		}
	}
	if b, err := os.ReadFile(large); err != nil || !bytes.Equal(b, text) {
		t.Errorf("the large file is %d bytes long, %v", len(b), err)
	}
	// A host whose configuration is TOML gets no JSON document, and no new file.
	toml := filepath.Join(dir, "config.toml")
	var out, errs strings.Builder
	code := Main([]string{"setup", "codex", "https://mcp.example.com/mcp", "--file", toml}, strings.NewReader(""), &out, &errs)
	if _, err := os.Stat(toml); code != exitUsage || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(out.String(), "[mcp_servers.") {
		t.Errorf("TOML: %d, %v, %s", code, err, errs.String())
	}
}

// TestACopyIsAsSecretAsTheFile: a host's file may hold tokens of other servers.
func TestACopyIsAsSecretAsTheFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such permissions")
	}
	dir := filepath.Join(t.TempDir(), "made")
	file := filepath.Join(dir, "mcp.json")
	for range 3 {
		if code, _, errs := setupWrite(t, file); code != exitDone {
			t.Fatalf("%d, %s", code, errs)
		}
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, file: 0o600, file + ".bak": 0o600, file + ".bak.1": 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// TestAnEditThatWasCutShort is in nobody's way a minute later.
func TestAnEditThatWasCutShort(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcp.json")
	left := file + ".mcpoauth-new"
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-2 * time.Minute)
	if err := os.Chtimes(left, then, then); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := setupWrite(t, file); code != exitDone {
		t.Errorf("%d, %s", code, errs)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestSetupFollowsALink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "real.json"), filepath.Join(dir, "link.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	code, _, errs := setupWrite(t, link)
	info, err := os.Lstat(link)
	b, rerr := os.ReadFile(file)
	if code != exitDone || err != nil || rerr != nil || info.Mode()&os.ModeSymlink == 0 || !strings.Contains(string(b), "example-com") {
		t.Errorf("%d, %s, %v, %v, %s", code, errs, err, rerr, b)
	}
}

// TestManyWriteAtOnce, and every entry is there afterwards.
func TestManyWriteAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcp.json")
	if err := os.WriteFile(file, []byte(`{"mcpServers":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var errs strings.Builder
			args := []string{"setup", "cursor", "https://mcp.example.com/mcp", "--name", fmt.Sprintf("s%d", i), "--file", file}
			if code := Main(args, strings.NewReader(""), io.Discard, &errs); code != exitDone {
				t.Errorf("%d, %s", code, errs.String())
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]map[string]any
	if err := json.Unmarshal(b, &doc); err != nil || len(doc["mcpServers"]) != 8 {
		t.Errorf("%d entries, %v", len(doc["mcpServers"]), err)
	}
}

func FuzzPutMember(f *testing.F) {
	f.Add(`{"mcpServers":{"a":{}},"b":[1,2.50,"\u0061"]}`, "n")
	f.Add("{\n\t\"x\": {}\n}", "a.b")
	f.Add(`{"mcpServers":{"n":{"command":"mcpoauth","args":["proxy","https://a.example/mcp"]}}}`, "n")
	f.Fuzz(func(t *testing.T, doc, name string) {
		out, _, err := putMember([]byte(doc), "mcpServers", name, hostEntry{Command: "mcpoauth", Args: []string{"proxy", "https://a.example/mcp"}})
		if err != nil {
			return
		}
		// Whatever is taken away again leaves what was there; putMember itself compares the rest.
		var after struct {
			Servers map[string]any `json:"mcpServers"`
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(string(out), "\ufeff")), &after); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		want, _ := json.Marshal(name)
		var valid string
		_ = json.Unmarshal(want, &valid)
		if _, ok := after.Servers[valid]; !ok {
			t.Fatalf("%q is not in %q", name, out)
		}
	})
}
