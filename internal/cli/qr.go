package cli

import (
	"strings"

	"golang.org/x/term"
	"rsc.io/qr"
)

// quiet is the empty border around a code, in modules: fewer than the four of the standard, which phones do
// with, so that a code fits a terminal of 24 lines.
const quiet = 2

// qrCode draws text as a QR code of at most so many columns and lines, two modules above each other in a
// character; "" if it does not fit. Dark on light whatever the terminal's colours are, if it has colours.
func qrCode(text string, columns, lines int, colours bool) string {
	code, err := qr.Encode(text, qr.L)
	if err != nil || code.Size+2*quiet > columns || (code.Size+2*quiet+1)/2 > lines {
		return ""
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		if colours {
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
		if colours {
			b.WriteString("\x1b[0m")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// showQR prints an address as a QR code on stderr, where that is wanted: always, or if it is a terminal in which
// it fits.
func (u *ui) showQR(address, when string) {
	columns, lines := 1000, 1000
	f, ok := u.raw().(interface{ Fd() uintptr })
	switch {
	case when == "never":
		return
	case when == "always":
	case !ok:
		return
	default:
		var err error
		if columns, lines, err = term.GetSize(int(f.Fd())); err != nil {
			return
		}
	}
	colours := painter(u.raw())("0", "x") != "x"
	if code := qrCode(address, columns, lines-4, colours); code != "" {
		u.say("%s", code)
	}
}
