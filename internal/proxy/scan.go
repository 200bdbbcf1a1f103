package proxy

import (
	"errors"
	"strconv"
)

const (
	// maxDepth is how deep a message may nest. Recursive JSON readers overflow their stack somewhere above it.
	maxDepth = 10000
	// maxField is the longest member that the bridge reads itself: an id, a method, a name.
	maxField = 8 << 10
	// maxElements is how many messages a batch may hold.
	maxElements = 10000
	// nearDepth is how deep a message may nest before the scanner allocates memory for its levels.
	nearDepth = 128
)

var (
	errSyntax   = errors.New("not a JSON message")
	errDepth    = errors.New("nested too deeply")
	errUTF8     = errors.New("not UTF-8")
	errElements = errors.New("too many messages in one batch")
)

// scanner reads JSON as it arrives, in pieces of any size. It checks the grammar, finds the few members that the
// bridge needs, under their exact names, and removes line breaks between tokens. It decodes nothing else.
type scanner struct {
	state scanState
	err   error
	// badUTF8 does not end the scan, because the answer to the message needs its id.
	badUTF8 bool
	utf8    utf8Checker

	depth int
	near  [nearDepth / 64]uint64 // a bit for each level: it is an object
	far   []uint64               // the same for the levels from nearDepth on

	isKey   bool // the current string is a member's name
	hex     int  // digits left of \u
	literal string

	key     []byte // the current name
	wantKey bool
	path    [3]field // the current member, by level
	capture field
	arena   []byte // the current value

	batch bool
	top   element
	elems []element // of a batch
	pos   int64     // bytes passed on before this piece
}

// piece is a part of a message while it is scanned.
type piece struct {
	p          []byte
	i          int // the next byte
	moved      int // p[:moved] is passed on
	unmoved    int // p[unmoved:i] has yet to move to moved
	tokenStart int
}

// scan takes the next piece of a message. It returns the piece without line breaks between tokens, in the same
// memory.
func (s *scanner) scan(p []byte) []byte {
	if s.err != nil {
		return p
	}
	if !s.badUTF8 && !s.utf8.valid(p) {
		s.badUTF8 = true
	}
	c := piece{p: p}
	for c.i < len(p) {
		var err error
		if s.state.inToken() {
			err = s.insideToken(&c)
		} else {
			err = s.betweenTokens(&c)
		}
		if err != nil {
			s.err = err
			return p
		}
	}
	s.keepPartial(p[c.tokenStart:])
	if c.moved == c.unmoved {
		c.moved = len(p)
	} else {
		c.moved += copy(p[c.moved:], p[c.unmoved:])
	}
	s.pos += int64(c.moved)
	return p[:c.moved]
}

// at returns where in the message the byte p[i] lies.
func (s *scanner) at(c *piece, i int) int64 { return s.pos + int64(c.moved+i-c.unmoved) }

// insideToken reads on in a string, a literal or a number.
func (s *scanner) insideToken(c *piece) error {
	switch s.state {
	case sString:
		return s.insideString(c)
	case sEscape:
		switch b := c.p[c.i]; {
		case escapable[b]:
			s.state = sString
		case b == 'u':
			s.state, s.hex = sHex, 4
		default:
			return errSyntax
		}
	case sHex:
		b := c.p[c.i]
		if !('0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'f') {
			return errSyntax
		}
		if s.hex--; s.hex == 0 {
			s.state = sString
		}
	case sLiteral:
		if c.p[c.i] != s.literal[0] {
			return errSyntax
		}
		if s.literal = s.literal[1:]; s.literal == "" {
			s.endScalar(c.p[c.tokenStart:c.i+1], s.at(c, c.i+1))
		}
	default:
		next, ok := number(s.state, c.p[c.i])
		switch {
		case ok:
			s.state = next
		case next == sNext:
			s.endScalar(c.p[c.tokenStart:c.i], s.at(c, c.i))
			return nil // the byte is not part of the number
		default:
			return errSyntax
		}
	}
	c.i++
	return nil
}

// insideString reads on to the end of a string, to an escape, or to the end of the piece.
func (s *scanner) insideString(c *piece) error {
	p, i := c.p, c.i
	for {
		for i < len(p) && plain[p[i]] {
			i++
		}
		if i+1 >= len(p) || p[i] != '\\' || !escapable[p[i+1]] {
			break
		}
		i += 2
	}
	c.i = i
	if i == len(p) {
		return nil
	}
	c.i++
	switch p[i] {
	case '"':
		if s.isKey {
			s.endKey(p[c.tokenStart : i+1])
		} else {
			s.endScalar(p[c.tokenStart:i+1], s.at(c, i+1))
		}
	case '\\':
		s.state = sEscape
	default:
		return errSyntax
	}
	return nil
}

// betweenTokens reads white space, punctuation, or the beginning of a token.
func (s *scanner) betweenTokens(c *piece) error {
	b := c.p[c.i]
	switch b {
	case ' ', '\t':
		c.i++
		return nil
	case '\n', '\r':
		c.moved += copy(c.p[c.moved:], c.p[c.unmoved:c.i])
		c.i++
		c.unmoved = c.i
		return nil
	}
	ok := false
	switch s.state {
	case sFirst, sValue:
		if b == ']' && s.state == sFirst {
			ok = s.close(b, s.at(c, c.i+1))
			break
		}
		if err := s.open(b, s.at(c, c.i)); err != nil {
			return err
		}
		c.tokenStart = c.i
		ok = true
	case sKeyFirst, sKey:
		switch {
		case b == '"':
			s.state, s.isKey = sString, true
			s.wantKey = s.reads()
			s.key = s.key[:0]
			c.tokenStart = c.i
			ok = true
		case b == '}' && s.state == sKeyFirst:
			ok = s.close(b, s.at(c, c.i+1))
		}
	case sColon:
		s.state, ok = sValue, b == ':'
	case sNext:
		switch b {
		case ',':
			if s.state = sValue; s.object() {
				s.state = sKey
			}
			ok = true
		case '}', ']':
			ok = s.close(b, s.at(c, c.i+1))
		}
	default: // sEnd: nothing may follow a message
	}
	if !ok {
		return errSyntax
	}
	c.i++
	return nil
}

// keepPartial keeps the beginning of a token that the end of a piece cut.
func (s *scanner) keepPartial(p []byte) {
	switch {
	case !s.state.inToken():
	case s.isKey && s.state <= sHex: // in a string
		if s.wantKey && len(s.key) <= maxField {
			s.key = append(s.key, p...)
		}
	default:
		s.keep(p)
	}
}

// finish is called after the last piece. It returns why the text is not a message.
func (s *scanner) finish() error {
	switch {
	case s.err != nil:
		return s.err
	case s.state != sEnd:
		return errSyntax
	case s.badUTF8 || s.utf8.length > 0:
		return errUTF8
	}
	return nil
}

// base is the level at which a message lies: one deeper in a batch.
func (s *scanner) base() int {
	if s.batch {
		return 1
	}
	return 0
}

// level returns the word that holds the bit of the current level, and the bit.
func (s *scanner) level() (word *uint64, bit uint64) {
	bit = 1 << (s.depth % 64)
	if s.depth < nearDepth {
		return &s.near[s.depth/64], bit
	}
	i := (s.depth - nearDepth) / 64
	if i == len(s.far) {
		s.far = append(s.far, 0)
	}
	return &s.far[i], bit
}

// object reports whether the innermost container is an object.
func (s *scanner) object() bool {
	if s.depth == 0 {
		return false
	}
	word, bit := s.level()
	return *word&bit != 0
}

// reads reports whether the bridge reads members at the current level.
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

// open begins a value whose first byte is c.
func (s *scanner) open(c byte, at int64) error {
	f := s.openField(c)
	s.capture = noField
	if c == '{' || c == '[' {
		return s.openContainer(c, f, at)
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
	var ok bool
	if s.state, s.literal, ok = scalar(c); !ok {
		return errSyntax
	}
	s.isKey = false
	return nil
}

// openField returns the member that the value beginning with c belongs to, noField if the bridge does not read
// it. Where a name occurs twice the last one counts, as in nearly every JSON reader.
func (s *scanner) openField(c byte) field {
	level := s.depth - s.base()
	if level < 1 || level > 3 || !s.reads() || !s.object() {
		return noField
	}
	f := s.path[level-1]
	switch f {
	case fieldResult:
		s.top.hasResult = true
	case fieldError:
		s.top.isError = true
	case fieldID:
		s.top.field[fieldID], s.top.badID = nil, c != '"' && c != '-' && c != 'n' && (c < '0' || c > '9')
	case noField, fieldParams, fieldMeta:
	default:
		s.top.field[f] = nil
	}
	return f
}

// openContainer begins an object or an array that is the value of f.
func (s *scanner) openContainer(c byte, f field, at int64) error {
	level := s.depth - s.base()
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
	word, bit := s.level()
	if c == '{' {
		*word |= bit
		s.state = sKeyFirst
	} else {
		*word &^= bit
		s.state = sFirst
	}
	if f == fieldParams || level == 0 {
		for p := fieldName; p < fieldParams; p++ {
			s.top.field[p] = nil
		}
	}
	return nil
}

// keep adds to the value that is captured, if any.
func (s *scanner) keep(p []byte) {
	if s.capture == noField {
		return
	}
	if len(s.arena)+len(p) > maxField {
		switch s.capture {
		case fieldID:
			s.top.badID = true
		case fieldMethod:
			s.top.field[fieldMethod] = []byte("0") // present, but not valid
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
		// Every other reader takes an escaped name for the same name.
		f = fieldOf(level, strconv.AppendQuote(nil, unquote(name)))
	}
	s.path[level-1] = f
}

// close ends a container with c. It reports false if the container began otherwise.
func (s *scanner) close(c byte, at int64) bool {
	if s.depth == 0 || s.object() != (c == '}') {
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
