package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is how much of a text from outside is shown.
const maxText = 200

// Clean makes a text from outside fit for a terminal, a log or a page: one line of at most 200
// characters, without control, bidirectional, invisible or invalid ones.
func Clean(s string) string { return CleanN(s, maxText) }

// CleanN is Clean with another limit.
func CleanN(s string, limit int) string {
	var b strings.Builder
	n := 0
	space := false
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if r == utf8.RuneError && size <= 1 {
			continue
		}
		if unicode.IsSpace(r) || unicode.In(r, unicode.Zl, unicode.Zp) {
			space = b.Len() > 0
			continue
		}
		if !unicode.IsGraphic(r) || unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			continue
		}
		if space {
			b.WriteByte(' ')
			n++
			space = false
		}
		if n >= limit {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
