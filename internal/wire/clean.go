package wire

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxText is how much of a text from outside is shown, in characters.
	maxText = 200
	// maxURLText is how much of a URL from outside is shown, in characters.
	maxURLText = 512
)

// Clean makes a text from outside fit for a terminal, a log or a page: one line of at most 200
// characters, without control, bidirectional, invisible or invalid ones.
func Clean(s string) string { return CleanN(s, maxText) }

// CleanN is Clean with another limit in characters. A text that is cut ends in "…", which counts.
func CleanN(s string, limit int) string {
	if limit <= 0 {
		return ""
	}
	var out []rune
	space := false
	for i := 0; i < len(s) && len(out) <= limit; {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if r == utf8.RuneError && size <= 1 {
			continue
		}
		if unicode.IsSpace(r) || unicode.In(r, unicode.Zl, unicode.Zp) {
			space = len(out) > 0
			continue
		}
		if !unicode.IsGraphic(r) || unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			continue
		}
		if space {
			out = append(out, ' ')
			space = false
		}
		out = append(out, r)
	}
	if len(out) > limit {
		out = append(out[:limit-1], '…')
	}
	return string(out)
}

// PlainURL makes a URL fit to be shown: cleaned, and without user information, query and fragment,
// since those may hold secrets. A text that is not a URL with a host is not repeated.
func PlainURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "(not a URL)"
	}
	return CleanN((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String(), maxURLText)
}

// oneLine joins texts of which each may be empty, and cleans them.
func oneLine(texts ...string) string {
	var out []string
	for _, t := range texts {
		if t = Clean(t); t != "" {
			out = append(out, t)
		}
	}
	return Clean(strings.Join(out, ": "))
}
