package proxy

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// field is a member that the bridge reads.
type field int8

const (
	noField field = iota
	fieldJSONRPC
	fieldID
	fieldMethod
	fieldName        // params.name
	fieldURI         // params.uri
	fieldTask        // params.taskId
	fieldRequestID   // params.requestId
	fieldMetaVersion // params._meta["io.modelcontextprotocol/protocolVersion"]
	fieldParams
	fieldMeta
	fieldResult
	fieldError
	fields
)

// element is one message, of a batch or alone: the raw text of the members that the bridge reads.
type element struct {
	field              [fieldParams][]byte
	hasResult, isError bool
	badID              bool  // it has an id that is neither a string nor a number, or it is no object
	start, end         int64 // its place in the text that it came in
}

// raw returns a member as it was written, nil if it was not there.
func (e *element) raw(f field) []byte { return e.field[f] }

// text returns the value of a member that is a string, else "".
func (e *element) text(f field) string { return unquote(e.field[f]) }

func (e *element) request() bool {
	return e.field[fieldMethod] != nil && e.field[fieldID] != nil
}

func (e *element) notification() bool {
	return e.field[fieldMethod] != nil && e.field[fieldID] == nil && !e.badID
}

func (e *element) response() bool {
	return e.field[fieldMethod] == nil && (e.hasResult || e.isError)
}

// valid reports whether it is a JSON-RPC message.
func (e *element) valid() bool {
	if e.badID || string(e.field[fieldJSONRPC]) != `"2.0"` {
		return false
	}
	if m := e.field[fieldMethod]; m != nil {
		return m[0] == '"' && string(e.field[fieldID]) != "null"
	}
	return e.response()
}

func fieldOf(level int, quoted []byte) field {
	switch level {
	case 1:
		switch string(quoted) {
		case `"jsonrpc"`:
			return fieldJSONRPC
		case `"id"`:
			return fieldID
		case `"method"`:
			return fieldMethod
		case `"params"`:
			return fieldParams
		case `"result"`:
			return fieldResult
		case `"error"`:
			return fieldError
		}
	case 2:
		switch string(quoted) {
		case `"name"`:
			return fieldName
		case `"uri"`:
			return fieldURI
		case `"taskId"`:
			return fieldTask
		case `"requestId"`:
			return fieldRequestID
		case `"_meta"`:
			return fieldMeta
		}
	case 3:
		if string(quoted) == `"`+metaVersion+`"` {
			return fieldMetaVersion
		}
	}
	return noField
}

func hasEscape(p []byte) bool { return bytes.IndexByte(p, '\\') >= 0 }

// unquote decodes a JSON string. It returns "" for anything else.
func unquote(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	if !hasEscape(raw) {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// idKey returns the same text for ids that are equal, however they are written: an answer may have "é" where the
// request had "\u00e9", or 1 where it had 1.0. It returns "" for anything that cannot be an id.
func idKey(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	switch c := raw[0]; {
	case c == '"':
		if !utf8.Valid(raw) {
			return "" // it cannot be written again
		}
		return "s" + unquote(raw)
	case c == '-' || '0' <= c && c <= '9':
		if bytes.ContainsAny(raw, ".eE") {
			if v, err := strconv.ParseFloat(string(raw), 64); err == nil {
				if v == float64(int64(v)) && v < 1<<53 && v > -(1<<53) {
					return "n" + strconv.FormatInt(int64(v), 10)
				}
				return "n" + strconv.FormatFloat(v, 'g', -1, 64)
			}
		}
		return "n" + string(raw)
	}
	return ""
}
