package cli

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
	for _, colours := range []bool{false, true} {
		drawn := qrCode(address, size, (size+1)/2, colours)
		if strings.Contains(drawn, "\x1b[") != colours {
			t.Errorf("colours: %t", colours)
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
		"a narrow terminal": qrCode(address, size-1, size, false), "a low one": qrCode(address, size, (size+1)/2-1, false),
		"too much for any code": qrCode(strings.Repeat("x", 8000), 1000, 1000, false),
	} {
		if drawn != "" {
			t.Errorf("%s: something was drawn", name)
		}
	}
}
