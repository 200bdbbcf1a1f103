package terminal

import (
	"strings"

	"rsc.io/qr"
)

// quiet is the empty border around a code, in modules: fewer than the four of the standard, which phones accept, so
// that a code fits a terminal of 24 lines.
const quiet = 2

// Palette says how a code is drawn.
type Palette int

const (
	// Monochrome draws with characters alone, in the colours of the terminal.
	Monochrome Palette = iota
	// BlackOnWhite sets the colours by escape sequences, so that the code is dark on light whatever the terminal's are.
	BlackOnWhite
)

// QRCode draws text as a QR code of at most so many columns and lines, two modules above each other in a character.
// It is empty if the code does not fit.
func QRCode(text string, columns, lines int, p Palette) string {
	code, err := qr.Encode(text, qr.L)
	if err != nil || code.Size+2*quiet > columns || (code.Size+2*quiet+1)/2 > lines {
		return ""
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		if p == BlackOnWhite {
			b.WriteString("\x1b[38;5;16;48;5;231m")
		}
		for x := -quiet; x < code.Size+quiet; x++ {
			switch {
			case code.Black(x, y) && code.Black(x, y+1):
				b.WriteString("█")
			case code.Black(x, y):
				b.WriteString("▀")
			case code.Black(x, y+1):
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		if p == BlackOnWhite {
			b.WriteString("\x1b[0m")
		}
		b.WriteString("\n")
	}
	return b.String()
}
