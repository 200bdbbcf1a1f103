// Package wire has the messages of the protocol as servers really send them: RFC 6749, 7591, 8414
// and 9728, decoded tolerantly where it is safe and within limits always.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// MaxBody is the largest document that is read, in bytes after decompression.
	MaxBody = 1 << 20
	// maxDepth is the deepest nesting that is decoded.
	maxDepth = 100
	// maxList is the longest list of strings that is taken.
	maxList = 1000
)

// Object is a JSON object whose members are looked up by their exact names.
type Object map[string]json.RawMessage

var errNoObject = errors.New("not a JSON object")

// ParseObject decodes one JSON object. A byte order mark is accepted; anything after the object, a
// member that occurs twice, deep nesting and other values than an object are not.
func ParseObject(b []byte) (Object, error) {
	o, _, err := parseObject(b, nil)
	return o, err
}

// parseObject is ParseObject, but members for which twice is true may occur twice with equal values. repeated has those;
// a nil twice is true for none.
func parseObject(b []byte, twice func(name string) bool) (o Object, repeated []string, err error) {
	if len(b) > MaxBody {
		return nil, nil, fmt.Errorf("longer than %d bytes", MaxBody)
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	if len(trimmed) == 0 {
		return nil, nil, errors.New("empty")
	}
	if trimmed[0] != '{' {
		return nil, nil, errNoObject
	}
	if !utf8.Valid(b) {
		return nil, nil, errors.New("not UTF-8")
	}
	if err := checkDepth(trimmed); err != nil {
		return nil, nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(trimmed))
	if _, err := dec.Token(); err != nil {
		return nil, nil, errors.New("not valid JSON")
	}
	o = make(Object)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, nil, errors.New("not valid JSON")
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, nil, errors.New("not valid JSON")
		}
		if first, there := o[name]; there {
			if twice == nil || !twice(name) || !bytes.Equal(compacted(first), compacted(v)) {
				return nil, nil, fmt.Errorf("the member %q occurs twice", Clean(name))
			}
			repeated = append(repeated, name)
		}
		o[name] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, errors.New("not valid JSON")
	}
	if rest := bytes.TrimLeft(trimmed[dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, nil, errors.New("followed by something that does not belong to it")
	}
	return o, repeated, nil
}

// compacted returns JSON without the spaces in it.
func compacted(v json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return v
	}
	return b.Bytes()
}

// checkDepth looks at the nesting before a decoder recurses into it.
func checkDepth(b []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// Has reports whether a member is there and not null.
func (o Object) Has(name string) bool {
	v, ok := o[name]
	return ok && string(v) != "null"
}

// String returns a string member, "" if it is absent, null or no string.
func (o Object) String(name string) string {
	var s string
	if v, ok := o[name]; !ok || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// Text returns a string member, or a whole number as its digits.
func (o Object) Text(name string) string {
	if s := o.String(name); s != "" {
		return s
	}
	v := string(o[name])
	if v == "" || len(v) > 64 || strings.Trim(v, "0123456789") != "" {
		return ""
	}
	return v
}

// Strings returns a list member: nil if it is absent, null or unusable, empty if it is empty. A
// single string is a list of one; elements that are not strings are left out.
func (o Object) Strings(name string) []string {
	v, ok := o[name]
	if !ok || string(v) == "null" {
		return nil
	}
	if s := o.String(name); s != "" {
		return []string{s}
	}
	var list []json.RawMessage
	if json.Unmarshal(v, &list) != nil || len(list) > maxList {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		var s string
		if json.Unmarshal(item, &s) == nil && s != "" {
			out = append(out, s)
		}
	}
	return out
}

// Scopes returns a list of scopes: like Strings, but a string is split at its spaces, and what cannot
// be a scope (RFC 6749 section 3.3) is left out.
func (o Object) Scopes(name string) []string {
	list := o.Strings(name)
	if list == nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		for _, s := range strings.Fields(item) {
			if len(out) < maxList && ValidScope(s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// Bool returns a boolean member; "true" and 1 count as true.
func (o Object) Bool(name string) bool {
	switch strings.ToLower(strings.Trim(string(o[name]), `"`)) {
	case "true", "1":
		return true
	}
	return false
}

// Seconds returns a number member in seconds. Numeric strings and fractions are accepted. ok is
// false if it is absent, null or garbage. The result is clamped to what a time can hold.
func (o Object) Seconds(name string) (n int64, ok bool) {
	v, there := o[name]
	if !there {
		return 0, false
	}
	return ParseSeconds(strings.TrimSpace(strings.Trim(string(v), `"`)))
}

// maxSeconds is more than any time, in milliseconds too. Callers bound the number before they make a time.Duration of it.
const maxSeconds = 1 << 52

// ParseSeconds reads a number of seconds from its text.
func ParseSeconds(s string) (n int64, ok bool) {
	if s == "" || len(s) > 400 {
		return 0, false
	}
	for i := range len(s) {
		if !strings.ContainsRune("0123456789+-.eE", rune(s[i])) {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(f) {
		return 0, false
	}
	return int64(max(-maxSeconds, min(f, maxSeconds))), true
}
