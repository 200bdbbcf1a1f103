package terminaltest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal of 100 columns and 30 lines.
type Terminal struct {
	// TTY is the program's side.
	TTY *os.File
	// Keyboard is what a person types on.
	Keyboard io.Writer

	t     testing.TB
	ptmx  *os.File
	mu    sync.Mutex
	seen  bytes.Buffer
	ended chan struct{}
}

// Open opens a pseudo-terminal. The test is skipped where there is none.
func Open(t testing.TB) *Terminal {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}); err != nil {
		t.Fatal(err)
	}
	p := &Terminal{TTY: tty, Keyboard: ptmx, t: t, ptmx: ptmx, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(screen{p}, ptmx)
	}()
	return p
}

// screen is where what the program writes arrives.
type screen struct{ p *Terminal }

func (s screen) Write(b []byte) (int, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.seen.Write(b)
}

// Seen is what has arrived so far, what was typed and echoed included.
func (p *Terminal) Seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

// Await waits until text was seen n times.
func (p *Terminal) Await(text string, n int) {
	p.t.Helper()
	for limit := time.Now().Add(10 * time.Second); strings.Count(p.Seen(), text) < n; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			p.t.Fatalf("%q was not seen %d times:\n%q", text, n, p.Seen())
		}
	}
}

// Type types a line.
func (p *Terminal) Type(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.Keyboard, line); err != nil {
		p.t.Fatal(err)
	}
}

// Close closes both sides and returns what has arrived.
func (p *Terminal) Close() string {
	p.TTY.Close()
	<-p.ended
	p.ptmx.Close()
	return p.Seen()
}
