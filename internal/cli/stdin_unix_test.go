//go:build unix

package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestStandardInputIsPolled: what a host gives as standard input may be shared with a shell, and must
// block again when the bridge has ended; one that is standard output too must never cease to.
func TestStandardInputIsPolled(t *testing.T) {
	t.Parallel()
	file := func(fd int, name string) *os.File {
		syscall.CloseOnExec(fd) // else the child holds the other end too
		return os.NewFile(uintptr(fd), name)
	}
	pair := func(t *testing.T) (ours, its *os.File) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		return file(fds[0], "ours"), file(fds[1], "its")
	}
	pipe := func(t *testing.T) (ours, its *os.File) {
		var fds [2]int
		if err := syscall.Pipe(fds[:]); err != nil {
			t.Fatal(err)
		}
		return file(fds[1], "ours"), file(fds[0], "its")
	}
	for name, c := range map[string]struct {
		open   func(*testing.T) (ours, its *os.File)
		shared bool // it is standard output too
		polled bool
	}{
		"a pipe":                  {open: pipe, polled: true},
		"a socket, as Node's are": {open: pair, polled: true},
		"one socket for both":     {open: pair, shared: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, &authtest.Options{})
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			ours, its := c.open(t)
			defer func() { _, _ = its.Close(), ours.Close() }()
			out, itsOut := ours, its
			if !c.shared {
				if out, itsOut, err = os.Pipe(); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), exe, "proxy", srv.MCPURL(), "--no-browser", "--login-wait", "1ms")
			cmd.Args[0] = "mcpoauth"
			cmd.Env = []string{"GORACE=" + noRaceSleep, "HOME=" + t.TempDir()}
			cmd.Stdin, cmd.Stdout = its, itsOut
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if !c.shared {
				_ = itsOut.Close()
			}
			limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer limit.Stop()
			r := bufio.NewReader(out)
			for i := range 3 { // each is answered, with or without a login
				_, _ = fmt.Fprintf(ours, `{"jsonrpc":"2.0","id":%d,"method":"ping"}`+"\n", i)
				if _, err := r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			if got := nonblocking(t, its); got != c.polled {
				t.Errorf("non-blocking: %t", got)
			}
			if c.shared {
				_ = syscall.Shutdown(int(ours.Fd()), syscall.SHUT_WR)
			} else {
				_ = ours.Close()
			}
			go func() { _, _ = io.Copy(io.Discard, r) }()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if nonblocking(t, its) {
				t.Error("it stays non-blocking")
			}
		})
	}
}

// nonblocking looks at a description past os, which would change it.
func nonblocking(t *testing.T, f *os.File) bool {
	t.Helper()
	c, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags int
	if err2 := c.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, syscall.F_GETFL, 0) }); err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return flags&syscall.O_NONBLOCK != 0
}
