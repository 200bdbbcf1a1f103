package proxy

import "unicode/utf8"

// scanState is the state of the scanner between two bytes.
type scanState uint8

const (
	sValue    scanState = iota // a value must follow
	sFirst                     // after '[': a value or ']'
	sKeyFirst                  // after '{': a key or '}'
	sKey                       // after ',' in an object
	sColon
	sNext // after a value
	// The states from here to sExpInt are inside a token.
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
	sEnd // the message is complete
)

// inToken reports whether a string, a literal or a number has begun and not ended.
func (s scanState) inToken() bool { return s >= sString && s <= sExpInt }

// plain are the bytes of a string that mean nothing but themselves.
var plain = func() (t [256]bool) {
	for i := range t {
		t[i] = i >= 0x20 && i != '"' && i != '\\'
	}
	return
}()

// escapable are the bytes that make an escape of two bytes.
var escapable = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

// number returns the state after one more byte of a number, or sNext and false if the number ended before it.
// Any other state with false means that the byte is an error.
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

// scalar returns the state after the first byte of a value that is no container, and for a literal the rest of
// it. It reports false for a byte that begins no value.
func scalar(c byte) (state scanState, literal string, ok bool) {
	switch c {
	case '"':
		return sString, "", true
	case 't':
		return sLiteral, "true"[1:], true
	case 'f':
		return sLiteral, "false"[1:], true
	case 'n':
		return sLiteral, "null"[1:], true
	case '-':
		return sMinus, "", true
	case '0':
		return sZero, "", true
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return sInt, "", true
	}
	return 0, "", false
}

// utf8Checker checks text that arrives in pieces.
type utf8Checker struct {
	partial [utf8.UTFMax]byte // a character that the end of a piece cut
	length  int
}

// valid reports whether the next piece continues a valid text.
func (u *utf8Checker) valid(p []byte) bool {
	for u.length > 0 && len(p) > 0 {
		u.partial[u.length] = p[0]
		u.length++
		p = p[1:]
		if utf8.FullRune(u.partial[:u.length]) {
			r, n := utf8.DecodeRune(u.partial[:u.length])
			if r == utf8.RuneError && n <= 1 {
				return false
			}
			u.length = 0
		}
	}
	// At most three bytes at the end may belong to a character that is incomplete.
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax+1; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				u.length = copy(u.partial[:], p[i:])
				p = p[:i]
			}
			break
		}
	}
	return utf8.Valid(p)
}
