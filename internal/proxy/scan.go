package proxy

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

const (
	// maxDepth is how deep a message may nest. Readers of JSON that recurse end in a stack overflow
	// somewhere above it.
	maxDepth = 10000
	// maxField is how long a member may be that the bridge reads itself: an id, a method, a name.
	maxField = 8 << 10
	// maxElements is how many messages a batch may hold.
	maxElements = 10000
)

var (
	errSyntax   = errors.New("not a JSON message")
	errDepth    = errors.New("nested too deeply")
	errUTF8     = errors.New("not UTF-8")
	errElements = errors.New("too many messages in one batch")
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

// element is what the bridge knows of one message: the raw text of the members that it reads.
type element struct {
	field              [fieldParams][]byte
	hasResult, isError bool
	badID              bool
	// start and end are where it lies in its message.
	start, end int64
}

// raw returns a member as it was written, nil if it was not there.
func (e *element) raw(f field) []byte { return e.field[f] }

// text returns a member that is a string, "" if it is none.
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

// valid reports whether it is a message at all.
func (e *element) valid() bool {
	if e.badID || string(e.field[fieldJSONRPC]) != `"2.0"` {
		return false
	}
	if m := e.field[fieldMethod]; m != nil {
		return m[0] == '"' && string(e.field[fieldID]) != "null"
	}
	return e.response()
}

type scanState uint8

const (
	sValue    scanState = iota // a value must follow
	sFirst                     // after '[': a value or ']'
	sKeyFirst                  // after '{': a key or '}'
	sKey                       // after ',' in an object
	sColon
	sNext // after a value
	sString
	sEscape
	sHex
	sLiteral
	sMinus
	sZero
	sInt
	sDot
	sFrac
	sExp
	sExpSign
	sExpInt
	sEnd // the message is whole
)

// plain are the bytes of a string that mean nothing but themselves.
var plain = func() (t [256]bool) {
	for i := range t {
		t[i] = i >= 0x20 && i != '"' && i != '\\'
	}
	return
}()

// scanner reads JSON as it arrives, in pieces of any size. It checks the grammar, finds the few
// members that the bridge needs, under their exact names, and removes line breaks between tokens. It
// decodes nothing else.
type scanner struct {
	state scanState
	err   error
	// badUTF8 does not end the scan: the id is wanted for the answer.
	badUTF8 bool

	depth   int
	objects [maxDepth/64 + 1]uint64 // a bit for each level: it is an object

	isKey   bool // the string under way is a member's name
	hex     int  // digits left of \u
	literal string
	partial [utf8.UTFMax]byte // a character cut by the end of a piece
	npart   int

	key     []byte // the name under way; nil when nobody needs it
	wantKey bool
	path    [3]field // what the current member is, by level
	capture field
	arena   []byte // the value under way

	batch bool
	top   element
	elems []element // of a batch
	pos   int64     // bytes let through before this piece
}

// scan takes the next piece of a message. It returns the piece without line breaks between tokens,
// in the same memory.
func (s *scanner) scan(p []byte) []byte {
	if s.err != nil {
		return p
	}
	if !s.badUTF8 && !s.checkUTF8(p) {
		s.badUTF8 = true
	}
	var (
		w, from int // p[from:i] has yet to move to w
		mark    int // the value or name under way began here
	)
	at := func(i int) int64 { return s.pos + int64(w+i-from) }
	for i := 0; i < len(p); {
		c := p[i]
		switch s.state {
		case sString:
			for i < len(p) && plain[p[i]] {
				i++
			}
			if i == len(p) {
				continue
			}
			switch c = p[i]; c {
			case '"':
				i++
				if s.isKey {
					s.endKey(p[mark:i])
				} else {
					s.endScalar(p[mark:i], at(i))
				}
			case '\\':
				s.state = sEscape
				i++
			default:
				return s.fail(errSyntax, p)
			}
			continue
		case sEscape:
			switch c {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				s.state = sString
			case 'u':
				s.state, s.hex = sHex, 4
			default:
				return s.fail(errSyntax, p)
			}
			i++
			continue
		case sHex:
			if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
				return s.fail(errSyntax, p)
			}
			if s.hex--; s.hex == 0 {
				s.state = sString
			}
			i++
			continue
		case sLiteral:
			if c != s.literal[0] {
				return s.fail(errSyntax, p)
			}
			i++
			if s.literal = s.literal[1:]; s.literal == "" {
				s.endScalar(p[mark:i], at(i))
			}
			continue
		case sMinus, sZero, sInt, sDot, sFrac, sExp, sExpSign, sExpInt:
			next, ok := number(s.state, c)
			if ok {
				s.state = next
				i++
				continue
			}
			if next != sNext {
				return s.fail(errSyntax, p)
			}
			s.endScalar(p[mark:i], at(i))
			continue // the byte is looked at again
		default:
		}
		if c == ' ' || c == '\t' {
			i++
			continue
		}
		if c == '\n' || c == '\r' {
			w += copy(p[w:], p[from:i])
			i++
			from = i
			continue
		}
		switch s.state {
		case sFirst, sValue:
			if c == ']' && s.state == sFirst {
				if !s.close(false, at(i+1)) {
					return s.fail(errSyntax, p)
				}
				i++
				continue
			}
			if err := s.open(c, at(i)); err != nil {
				return s.fail(err, p)
			}
			mark = i
			i++
		case sKeyFirst, sKey:
			switch {
			case c == '"':
				s.state, s.isKey = sString, true
				s.wantKey = s.reads()
				s.key = s.key[:0]
				mark = i
			case c == '}' && s.state == sKeyFirst:
				if !s.close(true, at(i+1)) {
					return s.fail(errSyntax, p)
				}
			default:
				return s.fail(errSyntax, p)
			}
			i++
		case sColon:
			if c != ':' {
				return s.fail(errSyntax, p)
			}
			s.state = sValue
			i++
		case sNext:
			switch {
			case c == ',' && s.object():
				s.state = sKey
			case c == ',':
				s.state = sValue
			case c == '}' && s.object(), c == ']' && !s.object():
				if !s.close(c == '}', at(i+1)) {
					return s.fail(errSyntax, p)
				}
			default:
				return s.fail(errSyntax, p)
			}
			i++
		default: // sEnd
			return s.fail(errSyntax, p)
		}
	}
	switch s.state {
	case sString, sEscape, sHex:
		if !s.isKey {
			s.keep(p[mark:])
		} else if s.wantKey && len(s.key) <= maxField {
			s.key = append(s.key, p[mark:]...)
		}
	case sLiteral, sMinus, sZero, sInt, sDot, sFrac, sExp, sExpSign, sExpInt:
		s.keep(p[mark:])
	default:
	}
	if w == from {
		w = len(p)
	} else {
		w += copy(p[w:], p[from:])
	}
	s.pos += int64(w)
	return p[:w]
}

// finish is called after the last piece and says what is wrong with the message.
func (s *scanner) finish() error {
	switch {
	case s.err != nil:
		return s.err
	case s.state != sEnd:
		return errSyntax
	case s.badUTF8 || s.npart > 0:
		return errUTF8
	}
	return nil
}

func (s *scanner) fail(err error, p []byte) []byte {
	s.err = err
	return p
}

// number returns what follows a byte of a number; sNext and false when the number is over.
func number(state scanState, c byte) (scanState, bool) {
	digit := '0' <= c && c <= '9'
	switch state {
	case sMinus:
		if c == '0' {
			return sZero, true
		}
		return sInt, digit
	case sZero, sInt:
		switch {
		case digit && state == sInt:
			return sInt, true
		case c == '.':
			return sDot, true
		case c == 'e' || c == 'E':
			return sExp, true
		}
	case sDot:
		return sFrac, digit
	case sFrac:
		switch {
		case digit:
			return sFrac, true
		case c == 'e' || c == 'E':
			return sExp, true
		}
	case sExp:
		if c == '+' || c == '-' {
			return sExpSign, true
		}
		return sExpInt, digit
	case sExpSign:
		return sExpInt, digit
	default:
		if digit {
			return sExpInt, true
		}
	}
	return sNext, false
}

// base is the level at which a message lies: one deeper in a batch.
func (s *scanner) base() int {
	if s.batch {
		return 1
	}
	return 0
}

func (s *scanner) object() bool {
	return s.depth > 0 && s.objects[s.depth/64]&(1<<(s.depth%64)) != 0
}

// reads reports whether the name about to begin matters.
func (s *scanner) reads() bool {
	switch s.depth - s.base() {
	case 1:
		return true
	case 2:
		return s.path[0] == fieldParams
	case 3:
		return s.path[0] == fieldParams && s.path[1] == fieldMeta
	}
	return false
}

// open begins a value.
func (s *scanner) open(c byte, at int64) error {
	level := s.depth - s.base()
	var f field
	if level >= 1 && level <= 3 && s.reads() && s.object() {
		f = s.path[level-1]
	}
	s.capture = noField
	switch f {
	case fieldResult:
		s.top.hasResult = true
	case fieldError:
		s.top.isError = true
	case fieldID:
		// The last one counts, as for nearly every reader.
		s.top.field[fieldID], s.top.badID = nil, c != '"' && c != '-' && c != 'n' && (c < '0' || c > '9')
	case noField, fieldParams, fieldMeta:
	default:
		s.top.field[f] = nil
	}
	switch c {
	case '{', '[':
		if s.depth == 0 {
			s.batch = c == '['
		} else if s.batch && s.depth == 1 {
			if len(s.elems) == maxElements {
				return errElements
			}
			s.top.start = at
			if c == '[' {
				s.top.badID = true
			}
		}
		if level >= 0 && level < len(s.path) {
			s.path[level] = noField
		}
		if s.depth++; s.depth >= maxDepth {
			return errDepth
		}
		bit := uint64(1) << (s.depth % 64)
		if c == '{' {
			s.objects[s.depth/64] |= bit
			s.state = sKeyFirst
		} else {
			s.objects[s.depth/64] &^= bit
			s.state = sFirst
		}
		if f == fieldParams || level == 0 {
			for p := fieldName; p < fieldParams; p++ {
				s.top.field[p] = nil
			}
		}
		return nil
	}
	if s.depth == 0 {
		return errSyntax // a message is an object or an array
	}
	if s.batch && s.depth == 1 {
		s.top.start, s.top.badID = at, true
	}
	if f > noField && f < fieldParams {
		s.capture = f
		s.arena = s.arena[:0]
	}
	switch c {
	case '"':
		s.state, s.isKey = sString, false
	case 't':
		s.state, s.literal = sLiteral, "true"[1:]
	case 'f':
		s.state, s.literal = sLiteral, "false"[1:]
	case 'n':
		s.state, s.literal = sLiteral, "null"[1:]
	case '-':
		s.state = sMinus
	case '0':
		s.state = sZero
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		s.state = sInt
	default:
		return errSyntax
	}
	return nil
}

// keep adds to the value under way, if somebody needs it.
func (s *scanner) keep(p []byte) {
	if s.capture == noField {
		return
	}
	if len(s.arena)+len(p) > maxField {
		switch s.capture {
		case fieldID:
			s.top.badID = true
		case fieldMethod:
			s.top.field[fieldMethod] = []byte("0") // there is one, but not a valid one
		default:
		}
		s.capture = noField
		return
	}
	s.arena = append(s.arena, p...)
}

// endScalar ends a value that is no container.
func (s *scanner) endScalar(p []byte, at int64) {
	s.keep(p)
	if s.capture != noField {
		s.top.field[s.capture] = append([]byte(nil), s.arena...)
		s.capture = noField
	}
	s.state = sNext
	if s.batch && s.depth == 1 {
		s.endElement(at)
	}
}

// endKey ends the name of a member.
func (s *scanner) endKey(p []byte) {
	s.state = sColon
	if !s.wantKey {
		return
	}
	name := p
	if len(s.key) > 0 {
		s.key = append(s.key, p...)
		name = s.key
	}
	level := s.depth - s.base()
	f := fieldOf(level, name)
	if f == noField && len(name) <= 512 && hasEscape(name) {
		// An escaped name is the same name to everybody else.
		f = fieldOf(level, strconv.AppendQuote(nil, unquote(name)))
	}
	s.path[level-1] = f
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

// close ends a container.
func (s *scanner) close(object bool, at int64) bool {
	if s.depth == 0 || s.object() != object {
		return false
	}
	s.depth--
	switch {
	case s.depth == 0:
		s.state = sEnd
		s.top.end = at
	default:
		s.state = sNext
		if s.batch && s.depth == 1 {
			s.endElement(at)
		}
	}
	return true
}

func (s *scanner) endElement(at int64) {
	s.top.end = at
	s.elems = append(s.elems, s.top)
	s.top = element{}
	s.path = [3]field{}
}

// checkUTF8 looks at the next piece of a text.
func (s *scanner) checkUTF8(p []byte) bool {
	for s.npart > 0 && len(p) > 0 {
		s.partial[s.npart] = p[0]
		s.npart++
		p = p[1:]
		if utf8.FullRune(s.partial[:s.npart]) {
			r, n := utf8.DecodeRune(s.partial[:s.npart])
			if r == utf8.RuneError && n <= 1 {
				return false
			}
			s.npart = 0
		}
	}
	// At most three bytes at the end may belong to a character that is not whole.
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax+1; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				s.npart = copy(s.partial[:], p[i:])
				p = p[:i]
			}
			break
		}
	}
	return utf8.Valid(p)
}

func hasEscape(p []byte) bool {
	for _, c := range p {
		if c == '\\' {
			return true
		}
	}
	return false
}

// unquote decodes a JSON string, "" if raw is none.
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

// idKey returns a text that is equal for ids which are equal, however they are written: an answer may
// say "é" where the request said "\u00e9", or 1 where it said 1.0. It is "" for what is no id.
func idKey(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	switch c := raw[0]; {
	case c == '"':
		if !utf8.Valid(raw) {
			return "" // it cannot be said again
		}
		return "s" + unquote(raw)
	case c == '-' || '0' <= c && c <= '9':
		for _, c := range raw {
			if c == '.' || c == 'e' || c == 'E' {
				if v, err := strconv.ParseFloat(string(raw), 64); err == nil {
					if v == float64(int64(v)) && v < 1<<53 && v > -(1<<53) {
						return "n" + strconv.FormatInt(int64(v), 10)
					}
					return "n" + strconv.FormatFloat(v, 'g', -1, 64)
				}
			}
		}
		return "n" + string(raw)
	}
	return ""
}
