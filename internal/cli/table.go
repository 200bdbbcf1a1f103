package cli

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// runeWidth is the number of terminal columns that r takes.
func runeWidth(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// displayWidth is the number of terminal columns that s takes. s has no escape sequences.
func displayWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// fit cuts s to limit columns, an ellipsis included.
func fit(s string, limit int) string {
	if displayWidth(s) <= limit {
		return s
	}
	n := 0
	for i, r := range s {
		if n+runeWidth(r) > limit-1 {
			return s[:i] + "…"
		}
		n += runeWidth(r)
	}
	return s
}

// cell is a piece of a table: its text, clean already, and its colour.
type cell struct{ text, sgr string }

// writeTable writes aligned rows, two spaces between columns. limit is the width of the terminal
// (0: none); the last column is cut to fit it.
func writeTable(w io.Writer, rows [][]cell, limit int, paint func(sgr, text string) string) error {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], displayWidth(c.text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		used, pending := 0, 0
		for i, c := range row {
			text := c.text
			if i == len(row)-1 && limit > 0 && limit-used > 8 {
				text = fit(text, limit-used)
			}
			if text != "" {
				b.WriteString(strings.Repeat(" ", pending))
				b.WriteString(paint(c.sgr, text))
				pending = 0
			}
			pending += widths[i] - displayWidth(text) + 2
			used += widths[i] + 2
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
