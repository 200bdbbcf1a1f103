package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// moduleFiles are the files of the module, tracked or new, as paths with slashes. The module of its own below
// interop is left out.
func moduleFiles(ctx context.Context, root string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var files []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name != "" && !strings.HasPrefix(name, "interop/") {
			files = append(files, name)
		}
	}
	return files, nil
}

// copyFiles copies files from one directory to another. A tracked file that was deleted is left out.
func copyFiles(from, to string, files []string) error {
	for _, name := range files {
		src, dst := filepath.Join(from, filepath.FromSlash(name)), filepath.Join(to, filepath.FromSlash(name))
		info, err := os.Stat(src)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(dst, b, info.Mode().Perm()|0o200); err != nil {
			return err
		}
	}
	return nil
}

// openDir makes a directory with permissions that the umask does not narrow: tests start servers as other users,
// which need a directory for temporary files like the system's.
func openDir(path string, mode fs.FileMode) error {
	return errors.Join(os.MkdirAll(path, mode), os.Chmod(path, mode))
}
