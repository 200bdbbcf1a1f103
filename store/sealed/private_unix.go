//go:build unix

package sealed

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

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
