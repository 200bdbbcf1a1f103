// Command stdioclient is what MCP's conformance suite judges through the bridge: a plain stdio client without any
// OAuth, by hand and without an SDK, whose server is "mcpoauth proxy URL". It speaks the revision that the suite
// asks for. The suite appends its server's URL to the command; MCPOAUTH is the bridge. Called by another name it is
// the person's browser: it follows the address that it is given.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// newest is the revision without sessions.
const newest = "2026-07-28"

func main() {
	if filepath.Base(os.Args[0]) == "browser" {
		if resp, err := http.Get(os.Args[len(os.Args)-1]); err == nil { // the person's choice
			_ = resp.Body.Close()
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if err := run(ctx, os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "stdioclient:", err)
		os.Exit(1)
	}
}

// suite is what the suite says in MCP_CONFORMANCE_CONTEXT.
type suite struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	ToolCalls    []struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"toolCalls"`
}

func run(ctx context.Context, url string) error {
	scenario := os.Getenv("MCP_CONFORMANCE_SCENARIO")
	var s suite
	if raw := os.Getenv("MCP_CONFORMANCE_CONTEXT"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &s); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "stdioclient")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	browser := filepath.Join(dir, "browser")
	if err := os.Symlink(self, browser); err != nil {
		return err
	}
	args := []string{"proxy", url, "--client-metadata-url", "https://conformance-test.local/client-metadata.json"}
	if scenario == "auth/2025-03-26-oauth-endpoint-fallback" {
		args = append(args, "--allow-guessed-endpoints")
	}
	if s.ClientID != "" {
		args = append(args, "--client-id", s.ClientID)
	}
	cmd := exec.CommandContext(ctx, os.Getenv("MCPOAUTH"), args...) // the test's choice
	cmd.Env = append(os.Environ(), "BROWSER="+browser, "HOME="+dir, "MCPOAUTH_DIR="+filepath.Join(dir, "logins"), "MCPOAUTH_CLIENT_SECRET="+s.ClientSecret)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	version := os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION")
	if version == "" {
		version = "2025-11-25"
	}
	h := &host{in: in, out: bufio.NewReader(out), version: version}
	err = h.work(scenario, &s)
	_ = in.Close()
	return errors.Join(err, cmd.Wait())
}

// host is the near side of the bridge.
type host struct {
	in      io.Writer
	out     *bufio.Reader
	version string
	last    int
}

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    struct {
			Supported []string `json:"supported"`
		} `json:"data"`
	} `json:"error"`
}

func (h *host) send(m map[string]any) error {
	m["jsonrpc"] = "2.0"
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = h.in.Write(append(b, '\n'))
	return err
}

// meta is what each request of the revision without sessions carries.
func (h *host) meta() map[string]any {
	return map[string]any{
		"io.modelcontextprotocol/protocolVersion":    h.version,
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "stdioclient", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{"roots": map[string]any{}, "sampling": map[string]any{}, "elicitation": map[string]any{}},
	}
}

// ask sends a request and waits for its answer. A server that knows other revisions is asked again in one of those.
func (h *host) ask(method string, params map[string]any) (json.RawMessage, error) {
	for asked := false; ; {
		h.last++
		id := h.last
		p := map[string]any{}
		for k, v := range params {
			p[k] = v
		}
		if h.version >= newest {
			p["_meta"] = h.meta()
		}
		if err := h.send(map[string]any{"id": id, "method": method, "params": p}); err != nil {
			return nil, err
		}
		m, err := h.answer(id)
		if err != nil {
			return nil, err
		}
		if m.Error == nil {
			return m.Result, nil
		}
		if known := m.Error.Data.Supported; len(known) > 0 && !asked {
			asked = true
			h.version = known[0]
			continue
		}
		return nil, fmt.Errorf("%s: %d %s", method, m.Error.Code, m.Error.Message)
	}
}

// answer reads until the answer to a request comes. Requests of the server's are refused.
func (h *host) answer(id int) (*message, error) {
	for {
		line, err := h.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("the bridge's output ended: %w", err)
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, fmt.Errorf("the bridge wrote %q: %w", line, err)
		}
		switch {
		case m.Method != "" && m.ID != nil:
			if err := h.send(map[string]any{"id": m.ID, "error": map[string]any{"code": -32601, "message": "not here"}}); err != nil {
				return nil, err
			}
		case m.Method == "" && string(m.ID) == fmt.Sprint(id):
			return &m, nil
		}
	}
}

func (h *host) work(scenario string, s *suite) error {
	if h.version < newest {
		if _, err := h.ask("initialize", map[string]any{"protocolVersion": h.version, "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "stdioclient", "version": "1"}}); err != nil {
			return err
		}
		if err := h.send(map[string]any{"method": "notifications/initialized"}); err != nil {
			return err
		}
	}
	result, err := h.ask("tools/list", nil)
	if err != nil {
		return err
	}
	if scenario == "sse-retry" {
		// The suite takes every GET for the one that goes on after the cut, so the standing one has to be there before.
		time.Sleep(2 * time.Second)
	}
	var list struct {
		Tools []struct {
			Name        string `json:"name"`
			InputSchema struct {
				Properties map[string]struct {
					Type string `json:"type"`
				} `json:"properties"`
			} `json:"inputSchema"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(result, &list); err != nil {
		return err
	}
	for _, call := range s.ToolCalls {
		if _, err := h.ask("tools/call", map[string]any{"name": call.Name, "arguments": call.Arguments}); err != nil {
			return err
		}
	}
	if len(s.ToolCalls) > 0 {
		return nil
	}
	for _, tool := range list.Tools {
		arguments := map[string]any{}
		for name, p := range tool.InputSchema.Properties {
			switch p.Type {
			case "number", "integer":
				arguments[name] = 2
			case "boolean":
				arguments[name] = true
			default:
				arguments[name] = "text"
			}
		}
		if _, err := h.ask("tools/call", map[string]any{"name": tool.Name, "arguments": arguments}); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(scenario, "http-standard") {
		return nil
	}
	for _, step := range []struct{ list, get, field, of string }{{"resources/list", "resources/read", "uri", "resources"}, {"prompts/list", "prompts/get", "name", "prompts"}} {
		result, err := h.ask(step.list, nil)
		if err != nil {
			return err
		}
		var doc map[string]json.RawMessage
		var items []map[string]any
		if err := errors.Join(json.Unmarshal(result, &doc), json.Unmarshal(doc[step.of], &items)); err != nil {
			return err
		}
		for _, item := range items {
			if _, err := h.ask(step.get, map[string]any{step.field: item[step.field]}); err != nil {
				return err
			}
		}
	}
	return nil
}
