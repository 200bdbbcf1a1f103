package filestore

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// removesOpenFiles: files are opened without FILE_SHARE_DELETE.
const removesOpenFiles = false

func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_DELETE_PENDING) {
		return nil, os.ErrNotExist // it is just being removed
	}
	return f, err
}

// lockExclusive locks the first byte of the file and reports false if another holder has.
func lockExclusive(f *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
