//go:build unix

package sealed

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openKeyFile opens without waiting for a pipe's other end.
func openKeyFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // the caller's choice
}

// syncDir makes the names in a directory survive the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir) // the caller's choice
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// private reports why a file is not its owner's alone.
func private(info fs.FileInfo) error {
	if info.Mode().Perm()&0o077 != 0 {
		return errors.New("can be read or written by others: chmod 600 it")
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return errors.New("belongs to another user")
	}
	return nil
}
