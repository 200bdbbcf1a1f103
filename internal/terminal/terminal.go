// Package terminal is the part of a user interface that knows about terminals: lines that people type, a line
// that says what is waited for, QR codes, and the ssh command that makes a callback reach this machine.
package terminal

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"
)

// IsFile reports whether stream is a file, a terminal, or a pipe of the system: something with a descriptor.
func IsFile(stream any) bool {
	_, ok := descriptor(stream)
	return ok
}

// IsTerminal reports whether stream is a terminal.
func IsTerminal(stream any) bool {
	fd, ok := descriptor(stream)
	return ok && term.IsTerminal(fd)
}

// Size returns the columns and lines of the terminal behind stream, 0 and 0 if there is none.
func Size(stream any) (columns, lines int) {
	fd, ok := descriptor(stream)
	if !ok {
		return 0, 0
	}
	columns, lines, err := term.GetSize(fd)
	if err != nil {
		return 0, 0
	}
	return columns, lines
}

// Colours reports whether stream is a terminal on which colours are welcome: neither NO_COLOR nor TERM=dumb is set.
func Colours(stream any) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(stream)
}

func descriptor(stream any) (int, bool) {
	if w, ok := stream.(*Writer); ok {
		stream = w.w
	}
	f, ok := stream.(interface{ Fd() uintptr })
	if !ok {
		return 0, false
	}
	return int(f.Fd()), true
}

// Short formats a duration as people say it: 45s, 4m 30s, 54m, 3h 20m, 12d. A negative one is 0s.
func Short(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return strconv.Itoa(max(0, int(d/time.Second))) + "s"
	case d < 10*time.Minute && d%time.Minute != 0:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour && d%time.Hour >= time.Minute:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
