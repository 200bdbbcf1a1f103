//go:build !windows

package filestore

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// removesOpenFiles means that a file can be removed while it is open.
const removesOpenFiles = true

// openLock opens a lock file, and makes it if need be. It is open for writing because NFS requires that for an
// exclusive lock.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, fileMode)
}

// lockExclusive locks the whole file (flock(2)) and reports false if another holder has.
func lockExclusive(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // a descriptor is an int
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}
