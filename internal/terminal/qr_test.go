package terminal

import (
	"strings"
	"testing"

	"rsc.io/qr"
)

// modules reads a drawn code back: true is dark. What is not drawn is false.
func modules(t *testing.T, drawn string) [][]bool {
	t.Helper()
	var out [][]bool
	for line := range strings.Lines(drawn) {
		line = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "\x1b[38;5;16;48;5;231m"), "\x1b[0m"), "\r")
		var top, bottom []bool
		for _, r := range line {
			switch r {
			case '█':
				top, bottom = append(top, true), append(bottom, true)
			case '▀':
				top, bottom = append(top, true), append(bottom, false)
			case '▄':
				top, bottom = append(top, false), append(bottom, true)
			case ' ':
				top, bottom = append(top, false), append(bottom, false)
			default:
				t.Fatalf("%q is no module", r)
			}
		}
		out = append(out, top, bottom)
	}
	return out
}

func TestAQRCodeIsDrawnAsItIs(t *testing.T) {
	const address = "https://device.example.com/activate?user_code=WDJB-MJHT"
	code, err := qr.Encode(address, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	size := code.Size + 2*quiet
	for _, palette := range []Palette{Monochrome, BlackOnWhite} {
		drawn := QRCode(address, size, (size+1)/2, palette)
		if strings.Contains(drawn, "\x1b[") != (palette == BlackOnWhite) {
			t.Errorf("palette: %v", palette)
		}
		got := modules(t, drawn)
		if len(got) < size || len(got[0]) != size {
			t.Fatalf("%d lines of %d, want %d", len(got), len(got[0]), size)
		}
		for y := range got {
			for x := range got[y] {
				if want := code.Black(x-quiet, y-quiet); got[y][x] != want {
					t.Fatalf("the module %d, %d is %t", x, y, got[y][x])
				}
			}
		}
	}
	for name, drawn := range map[string]string{
		"a narrow terminal": QRCode(address, size-1, size, Monochrome), "a low one": QRCode(address, size, (size+1)/2-1, Monochrome),
		"too much for any code": QRCode(strings.Repeat("x", 8000), 1000, 1000, Monochrome),
	} {
		if drawn != "" {
			t.Errorf("%s: something was drawn", name)
		}
	}
}
