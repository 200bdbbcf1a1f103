package proxy

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// maxTools is how many tools with annotations are remembered.
const maxTools = 10000

// paramHeader is a header that repeats an argument (2026-07-28).
type paramHeader struct {
	name string   // of the header
	path []string // to the argument
}

// toolTable knows which tools are hidden from the host, and which headers a tool asks for.
type toolTable struct {
	hidden  []string // patterns in lower case
	log     *slog.Logger
	leftOut repeated

	mu      sync.Mutex
	headers map[string][]paramHeader // by the tool's name
}

func newToolTable(hidden []string, log *slog.Logger) *toolTable {
	t := &toolTable{log: log}
	for _, p := range hidden {
		t.hidden = append(t.hidden, strings.ToLower(p))
	}
	return t
}

func (t *toolTable) get(name string) []paramHeader {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.headers[name]
}

func (t *toolTable) set(name string, h []paramHeader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(h) == 0 {
		delete(t.headers, name)
		return
	}
	if t.headers == nil {
		t.headers = make(map[string][]paramHeader)
	}
	if _, known := t.headers[name]; known || len(t.headers) < maxTools {
		t.headers[name] = h
	}
}

// describe adds the headers that repeat members of the body.
func (t *toolTable) describe(h http.Header, out outgoing) error {
	h["Mcp-Protocol-Version"] = []string{headerValue(out.version)}
	method := out.elem.text(fieldMethod)
	if method == "" {
		return nil
	}
	h["Mcp-Method"] = []string{headerValue(method)}
	var name []byte
	switch method {
	case "tools/call", "prompts/get":
		name = out.elem.raw(fieldName)
	case "resources/read":
		name = out.elem.raw(fieldURI)
	case "tasks/get", "tasks/update", "tasks/cancel":
		name = out.elem.raw(fieldTask)
	}
	if len(name) > 0 && name[0] == '"' {
		h["Mcp-Name"] = []string{headerValue(unquote(name))}
	}
	if method != "tools/call" {
		return nil
	}
	params := t.get(out.elem.text(fieldName))
	if len(params) == 0 {
		return nil
	}
	p, err := out.msg.bytes()
	if err != nil {
		return &fault{reason: reasonStorage, err: err}
	}
	args := member(p, "params", "arguments")
	for _, ph := range params {
		if v, ok := argument(member(args, ph.path...)); ok {
			h.Set("Mcp-Param-"+ph.name, headerValue(v))
		}
	}
	return nil
}

// withoutHidden returns a list of tools without those that are hidden from the host, nil if none is.
func (t *toolTable) withoutHidden(p []byte) []byte {
	return t.filter(p, func(string, []byte) bool { return true })
}

// learn takes a list of tools of a revision that has annotations. It returns the list without those that are hidden
// from the host and those with wrong annotations, nil if there are none.
func (t *toolTable) learn(p []byte) []byte {
	w := schemas{work: maxSchemaWork}
	return t.filter(p, func(name string, tool []byte) bool {
		h, err := w.annotations(member(tool, "inputSchema"))
		if err != nil {
			t.leftOut.warn(t.log, "a tool was left out: its definition is wrong", "tool", wire.Clean(name), "why", err.Error())
		}
		t.set(name, h)
		return err == nil
	})
}

// filter returns a list of tools without those that are hidden and those that keep reports false for, nil if there
// are none.
func (t *toolTable) filter(p []byte, keep func(name string, tool []byte) bool) []byte {
	tools := member(p, "result", "tools")
	if len(tools) == 0 || tools[0] != '[' {
		return nil
	}
	var kept [][]byte
	removed := false
	items(tools, func(it item) bool {
		if name := unquote(member(it.value, "name")); t.ignores(name) || !keep(name, it.value) {
			removed = true
		} else {
			kept = append(kept, it.value)
		}
		return true
	})
	if !removed {
		return nil
	}
	start := cap(p) - cap(tools)
	out := append(make([]byte, 0, len(p)), p[:start]...)
	out = append(out, '[')
	out = append(out, bytes.Join(kept, []byte{','})...)
	out = append(out, ']')
	return append(out, p[start+len(tools):]...)
}

// hidesAny reports whether any tool is hidden.
func (t *toolTable) hidesAny() bool { return len(t.hidden) > 0 }

// hides reports whether a message of the host's calls a tool that is hidden from it.
func (t *toolTable) hides(e *element) bool {
	return t.hidesAny() && e.text(fieldMethod) == "tools/call" && t.ignores(e.text(fieldName))
}

// ignores reports whether a tool is hidden from the host.
func (t *toolTable) ignores(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(t.hidden, func(p string) bool { return matches(p, name) })
}

// matches reports whether a name fits a pattern in which * stands for any text.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}

// argument writes a value as a header does; false if it has no such form.
func argument(raw []byte) (string, bool) {
	if len(raw) == 0 {
		return "", false
	}
	switch c := raw[0]; {
	case c == '"':
		return unquote(raw), true
	case c == 't' || c == 'f':
		return string(raw), true
	case c == '-' || '0' <= c && c <= '9':
		if v, err := strconv.ParseFloat(string(raw), 64); err == nil && v == float64(int64(v)) && v < 1<<53 && v > -(1<<53) {
			return strconv.FormatInt(int64(v), 10), true
		}
		return string(raw), true
	}
	return "", false
}

// headerValue writes a text so that it survives as the value of a header.
func headerValue(s string) string {
	safe := !strings.HasPrefix(s, " ") && !strings.HasSuffix(s, " ") && (!strings.HasPrefix(s, "=?base64?") || !strings.HasSuffix(s, "?="))
	for i := 0; i < len(s) && safe; i++ {
		safe = s[i] >= 0x20 && s[i] <= 0x7e
	}
	if safe {
		return s
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}
