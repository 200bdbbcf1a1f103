package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	annotation = "x-mcp-header"
	// maxTools is how many tools with annotations are remembered, and maxPages how many pages are asked
	// for to learn them.
	maxTools = 10000
	maxPages = 50
	// relearnWait is how long that may take.
	relearnWait = 20 * time.Second
)

// paramHeader is a header that repeats an argument (2026-07-28).
type paramHeader struct {
	name string   // of the header
	path []string // to the argument
}

// toolTable is what tools/list said of headers.
type toolTable struct {
	mu    sync.Mutex
	tools map[string][]paramHeader
}

func (t *toolTable) get(name string) []paramHeader {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tools[name]
}

func (t *toolTable) set(name string, h []paramHeader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(h) == 0 {
		delete(t.tools, name)
		return
	}
	if t.tools == nil {
		t.tools = make(map[string][]paramHeader)
	}
	if _, known := t.tools[name]; known || len(t.tools) < maxTools {
		t.tools[name] = h
	}
}

// describe adds the headers that say what the body says.
func (b *bridge) describe(h http.Header, m *message, e *element, version string) error {
	h["Mcp-Protocol-Version"] = []string{headerValue(version)}
	method := e.text(fieldMethod)
	if method == "" {
		return nil
	}
	h["Mcp-Method"] = []string{headerValue(method)}
	var name []byte
	switch method {
	case "tools/call", "prompts/get":
		name = e.raw(fieldName)
	case "resources/read":
		name = e.raw(fieldURI)
	case "tasks/get", "tasks/update", "tasks/cancel":
		name = e.raw(fieldTask)
	}
	if len(name) > 0 && name[0] == '"' {
		h["Mcp-Name"] = []string{headerValue(unquote(name))}
	}
	if method != "tools/call" {
		return nil
	}
	params := b.tools.get(e.text(fieldName))
	if len(params) == 0 {
		return nil
	}
	p, err := m.bytes()
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

// schemas reads the input schemas of one list of tools. A server chooses their size and depth, and the bridge's
// memory and time are not the server's.
type schemas struct {
	work  int // how many bytes may still be read, each time counted
	found []paramHeader
}

const (
	maxSchemaWork  = 64 << 20
	maxSchemaDepth = 100
	// maxAnnotations is how many headers a tool may ask for, and maxHeaderName how long the name of one may be.
	maxAnnotations = 64
	maxHeaderName  = 200
)

var errSchema = errors.New("its schema is too large to look for annotations")

// annotations returns the headers that a tool's input schema asks for.
func (w *schemas) annotations(schema []byte) ([]paramHeader, error) {
	if !bytes.Contains(schema, []byte(annotation)) {
		return nil, nil
	}
	w.found = nil
	if err := w.walk(schema, nil, true, 0); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, h := range w.found {
		if key := strings.ToLower(h.name); seen[key] {
			return nil, fmt.Errorf("two parameters name the header %q", h.name)
		} else {
			seen[key] = true
		}
	}
	return w.found, nil
}

// walk looks for annotations. reachable means that nothing but properties led here from the root.
func (w *schemas) walk(schema []byte, path []string, reachable bool, depth int) error {
	if len(schema) == 0 || schema[0] != '{' {
		return nil
	}
	if w.work -= len(schema); w.work < 0 || depth > maxSchemaDepth {
		return errSchema
	}
	var err error
	items(schema, func(it item) bool {
		switch key := unquote(it.name); key {
		case annotation:
			err = w.add(schema, it.value, path, reachable)
		case "properties":
			items(it.value, func(p item) bool {
				if p.name != nil {
					err = w.walk(p.value, append(path[:len(path):len(path)], unquote(p.name)), reachable, depth+1)
				}
				return err == nil
			})
		case "patternProperties", "$defs", "definitions", "dependentSchemas":
			items(it.value, func(p item) bool {
				err = w.walk(p.value, path, false, depth+1)
				return err == nil
			})
		case "allOf", "anyOf", "oneOf", "prefixItems", "items", "additionalItems", "contains", "additionalProperties",
			"not", "if", "then", "else", "propertyNames", "unevaluatedItems", "unevaluatedProperties":
			if it.value[0] == '[' {
				items(it.value, func(p item) bool {
					err = w.walk(p.value, path, false, depth+1)
					return err == nil
				})
			} else {
				err = w.walk(it.value, path, false, depth+1)
			}
		}
		return err == nil
	})
	return err
}

func (w *schemas) add(schema, value []byte, path []string, reachable bool) error {
	if w.work -= len(schema); w.work < 0 || len(w.found) >= maxAnnotations || len(value) > maxHeaderName {
		return errSchema
	}
	name := unquote(value)
	switch {
	case !reachable || len(path) == 0:
		return errors.New("an annotation does not stand at a parameter that can be reached by properties alone")
	case name == "":
		return errors.New("an annotation names no header")
	case !primitive(member(schema, "type")):
		return errors.New("an annotation stands at a parameter that is no string, integer or boolean")
	}
	for _, c := range []byte(name) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return errors.New("an annotation names what cannot be a header")
		}
	}
	w.found = append(w.found, paramHeader{name: name, path: path})
	return nil
}

// primitive reports whether a type may be repeated in a header. null beside it is an argument left out.
func primitive(raw []byte) bool {
	if len(raw) > 0 && raw[0] == '[' {
		ok, some := true, false
		items(raw, func(it item) bool {
			if t := unquote(it.value); t != "null" {
				ok = it.value[0] == '"' && primitive(it.value)
				some = true
			}
			return ok
		})
		return ok && some
	}
	switch unquote(raw) {
	case "string", "integer", "boolean":
		return true
	}
	return false
}

// answerTools passes a list of tools on, without those that are hidden and, in the revision that has
// them, those with wrong annotations.
func (b *bridge) answerTools(e *entry, m *message) {
	p, err := m.bytes()
	if err != nil {
		b.out.line(b.errorFor(e.raw, &fault{reason: reasonStorage}))
		return
	}
	cut := b.learn(p, e.call.version != "")
	if cut == nil {
		b.out.message(m)
		return
	}
	b.out.line(cut)
}

// learn reads a list of tools. It returns the message without those that the host must not see, nil if
// it may see all.
func (b *bridge) learn(p []byte, headers bool) []byte {
	tools := member(p, "result", "tools")
	if len(tools) == 0 || tools[0] != '[' {
		return nil
	}
	var keep [][]byte
	w := schemas{work: maxSchemaWork}
	removed := false
	items(tools, func(it item) bool {
		name := unquote(member(it.value, "name"))
		if b.ignores(name) {
			removed = true
			return true
		}
		if headers {
			h, err := w.annotations(member(it.value, "inputSchema"))
			if err != nil {
				b.seldom(&b.leftOut, "a tool was left out: its definition is wrong", "tool", wire.Clean(name), "why", err.Error())
				b.tools.set(name, nil)
				removed = true
				return true
			}
			b.tools.set(name, h)
		}
		keep = append(keep, it.value)
		return true
	})
	if !removed {
		return nil
	}
	start := cap(p) - cap(tools)
	out := append(make([]byte, 0, len(p)), p[:start]...)
	out = append(out, '[')
	out = append(out, bytes.Join(keep, []byte{','})...)
	out = append(out, ']')
	return append(out, p[start+len(tools):]...)
}

// relearn lists the tools for a call that was refused because its headers do not fit.
func (b *bridge) relearn(c *call) error {
	ctx, cancel := context.WithTimeout(c.ctx, relearnWait)
	defer cancel()
	p, err := c.msg.bytes()
	if err != nil {
		return &fault{reason: reasonStorage, err: err}
	}
	meta := member(p, "params", "_meta")
	if meta == nil {
		meta = []byte("{}")
	}
	var cursor []byte
	for page := range maxPages {
		text := append([]byte(`{"jsonrpc":"2.0","id":"mcpoauth-tools-`), strconv.Itoa(page)...)
		text = append(append(text, `","method":"tools/list","params":{"_meta":`...), meta...)
		if cursor != nil {
			text = append(append(text, `,"cursor":`...), cursor...)
		}
		m := b.mem.messageOf(append(text, "}}"...))
		if err := m.end(); err != nil {
			m.free()
			return faultOf(err)
		}
		answer, _, err := b.exchange(ctx, b.sess.Load(), m, c.version)
		m.free()
		if err != nil {
			b.log.Debug("the tools could not be listed again", "why", wire.CleanN(err.Error(), 500))
			return nil
		}
		list, err := answer.bytes()
		if err == nil {
			b.learn(list, true)
			cursor = append([]byte(nil), member(list, "result", "nextCursor")...)
		}
		answer.free()
		if err != nil || len(cursor) == 0 || cursor[0] != '"' {
			return nil
		}
	}
	return nil
}

// hides reports whether a message of the host's calls a tool that is hidden from it.
func (b *bridge) hides(e *element) bool {
	return len(b.o.IgnoreTools) > 0 && e.text(fieldMethod) == "tools/call" && b.ignores(e.text(fieldName))
}

// ignores reports whether a tool is hidden from the host.
func (b *bridge) ignores(name string) bool {
	for _, p := range b.o.IgnoreTools {
		if matches(strings.ToLower(p), strings.ToLower(name)) {
			return true
		}
	}
	return false
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
