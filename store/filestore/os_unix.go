//go:build !windows

package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// openForReading opens without following a link and without waiting for a pipe's other end.
func openForReading(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// checkOwner refuses files of other users.
func checkOwner(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return &unsafeError{path, fmt.Sprintf("belongs to another user (uid %d)", st.Uid), "name a directory of your own with MCPOAUTH_DIR or --store file:DIR (Options.CacheDir)"}
}

// tighten removes the permissions of others, if possible.
func tighten(f *os.File, mode fs.FileMode) { _ = f.Chmod(mode) }

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
func isLoop(err error) bool     { return errors.Is(err, syscall.ELOOP) }
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// foreignHome reports whose the home directory is if it is not ours: under sudo a file there would
// lock its owner out.
func foreignHome(home string) error {
	info, err := os.Stat(home)
	if err != nil {
		return nil //nolint:nilerr // making the directory says it better
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() || st.Uid == 0 {
		return nil
	}
	return errors.New("HOME (" + home + ") belongs to another user (uid " + strconv.Itoa(int(st.Uid)) + "); set MCPOAUTH_DIR, or run as that user")
}
