//go:build unix

package cli

import (
	"io"
	"os"
	"syscall"
)

// polled returns standard input in a form for which the runtime waits as it does for sockets: then the
// thread that reads a message is the one that sends it on, which saves a change of threads. done takes
// that back. What is no pipe and no socket stays as it is, and so does what is standard output too, which
// must block.
func polled(in io.Reader) (r io.Reader, done func()) {
	done = func() {}
	f, ok := in.(*os.File)
	if !ok || f != os.Stdin {
		return in, done
	}
	st, err := f.Stat()
	if err != nil || st.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return in, done
	}
	for _, o := range []*os.File{os.Stdout, os.Stderr} {
		if other, err := o.Stat(); err != nil || os.SameFile(st, other) {
			return in, done
		}
	}
	if syscall.SetNonblock(syscall.Stdin, true) != nil {
		return in, done
	}
	return os.NewFile(uintptr(syscall.Stdin), f.Name()), func() { _ = syscall.SetNonblock(syscall.Stdin, false) }
}
