//go:build !unix

package sealed

import (
	"io/fs"
	"os"
)

func openKeyFile(path string) (*os.File, error) { return os.Open(path) }

// syncDir does nothing: directories cannot be synchronized on this system.
func syncDir(string) error { return nil }

// private cannot tell from a file's mode on this system: the profile directory's access list does it.
func private(fs.FileInfo) error { return nil }
