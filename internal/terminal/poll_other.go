//go:build !linux

package terminal

import (
	"io"
	"time"
)

// readable cannot tell: a terminal of macOS cannot be polled, and a console of Windows reports more than lines.
func readable(io.Reader, time.Duration) (bool, error) { return false, errNoPoll }
