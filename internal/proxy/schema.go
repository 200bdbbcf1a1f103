package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// annotation is the member of a parameter's schema that names the header for it.
const annotation = "x-mcp-header"

// schemas reads the input schemas of one list of tools. Limits bound the work, because the server chooses their size
// and depth.
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
	if err := w.walk(schema, position{}); err != nil {
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

// position is where in a tool's input schema a schema lies.
type position struct {
	path    []string // of properties, from the root
	aside   bool     // something other than properties leads there
	nesting int
}

// property is the position of a property's schema.
func (p position) property(name string) position {
	return position{append(p.path[:len(p.path):len(p.path)], name), p.aside, p.nesting + 1}
}

// other is the position of a schema that is no property's.
func (p position) other() position { return position{p.path, true, p.nesting + 1} }

// walk looks for annotations in a schema and those inside it.
func (w *schemas) walk(schema []byte, at position) error {
	if len(schema) == 0 || schema[0] != '{' {
		return nil
	}
	if w.work -= len(schema); w.work < 0 || at.nesting > maxSchemaDepth {
		return errSchema
	}
	var err error
	items(schema, func(it item) bool {
		switch unquote(it.name) {
		case annotation:
			err = w.add(schema, it.value, at)
		case "properties":
			items(it.value, func(p item) bool {
				if p.name != nil {
					err = w.walk(p.value, at.property(unquote(p.name)))
				}
				return err == nil
			})
		case "patternProperties", "$defs", "definitions", "dependentSchemas":
			err = w.walkAll(it.value, at.other())
		case "allOf", "anyOf", "oneOf", "prefixItems", "items", "additionalItems", "contains", "additionalProperties",
			"not", "if", "then", "else", "propertyNames", "unevaluatedItems", "unevaluatedProperties":
			if it.value[0] == '[' {
				err = w.walkAll(it.value, at.other())
			} else {
				err = w.walk(it.value, at.other())
			}
		}
		return err == nil
	})
	return err
}

// walkAll looks for annotations in the schemas that a container holds.
func (w *schemas) walkAll(container []byte, at position) (err error) {
	items(container, func(p item) bool {
		err = w.walk(p.value, at)
		return err == nil
	})
	return err
}

// add takes an annotation with a value in a schema.
func (w *schemas) add(schema, value []byte, at position) error {
	if w.work -= len(schema); w.work < 0 || len(w.found) >= maxAnnotations || len(value) > maxHeaderName {
		return errSchema
	}
	name := unquote(value)
	switch {
	case at.aside || len(at.path) == 0:
		return errors.New("an annotation does not stand at a parameter that can be reached by properties alone")
	case name == "":
		return errors.New("an annotation names no header")
	case !primitive(member(schema, "type")):
		return errors.New("an annotation stands at a parameter that is no string, integer or boolean")
	}
	for _, c := range []byte(name) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return errors.New("an annotation has a name that cannot be a header's")
		}
	}
	w.found = append(w.found, paramHeader{name: name, path: at.path})
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
