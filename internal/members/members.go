// Package members takes a JSON object of ours apart. encoding/json scans each byte several times before a value of a
// member is decoded, which a command that reads one record and ends can notice (docs/decisions/0011-a-fast-start.md).
package members

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

var errNoObject = errors.New("it is not a JSON object")

// Split returns the members of the one JSON object in data, the last of those with the same name. The values are parts
// of data and not copies, each of them valid JSON.
func Split(data []byte) (map[string]json.RawMessage, error) {
	data = bytes.Trim(data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' || !json.Valid(data) {
		return nil, errNoObject
	}
	out := make(map[string]json.RawMessage, 32)
	// Since data is valid, only strings, depth and the separators of this level matter from here on.
	var name string
	start, depth, atName := 1, 0, true
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '"':
			i += stringLen(data[i:]) - 1
		case '{', '[':
			depth++
			continue
		case ':':
			if depth == 0 && atName {
				if err := Decode(bytes.TrimSpace(data[start:i]), &name); err != nil {
					return nil, err
				}
				start, atName = i+1, false
			}
		case '}', ']', ',':
			if depth == 0 && !atName {
				out[name] = bytes.TrimSpace(data[start:i])
				start, atName = i+1, true
			}
			if data[i] != ',' {
				depth--
			}
		}
	}
	return out, nil
}

// stringLen is the length of the string that valid JSON begins with, its quotes included.
func stringLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// Decode is json.Unmarshal for the value of a member, without its work for a string that needs none.
func Decode(raw json.RawMessage, v any) error {
	if s, ok := v.(*string); ok && len(raw) >= 2 && raw[0] == '"' {
		inner := raw[1 : len(raw)-1]
		if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
			*s = string(inner)
			return nil
		}
	}
	return json.Unmarshal(raw, v)
}
