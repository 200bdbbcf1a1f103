package terminal

import (
	"errors"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// readable waits until a read of r would return, for at most the given time. The end of the stream counts.
func readable(r io.Reader, wait time.Duration) (ready bool, err error) {
	f, ok := r.(syscall.Conn)
	if !ok {
		return false, errNoPoll
	}
	c, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var n int
	var failed error
	err = c.Control(func(fd uintptr) {
		n, failed = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait/time.Millisecond))
	})
	switch {
	case err != nil:
		return false, err
	case failed != nil && !errors.Is(failed, unix.EINTR):
		return false, failed
	}
	return n > 0, nil
}
