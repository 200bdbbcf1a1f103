//go:build unix

package cli

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestAPipeIsNoHostsFile: to read it would wait for a writer.
func TestAPipeIsNoHostsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Skip(err)
	}
	code := make(chan int, 1)
	go func() {
		got, _, _ := setupWrite(t, file)
		code <- got
	}()
	select {
	case got := <-code:
		if got != exitUsage {
			t.Errorf("exit code %d", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits")
	}
}
