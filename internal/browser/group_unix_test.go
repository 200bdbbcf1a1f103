//go:build unix

package browser

import (
	"syscall"
	"testing"
	"time"
)

// TestAnInterruptIsNotForTheBrowser: a Ctrl-C goes to the process group of the terminal.
func TestAnInterruptIsNotForTheBrowser(t *testing.T) {
	onLinux(t)
	_, launches := fakes(t, "xdg-open")
	t.Setenv(fakeDo, "hang")
	if err := Open(t.Context(), login, Options{settle: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	l := running(t, launches)
	if group, err := syscall.Getpgid(l.Pid); err != nil || group != l.Pid || group == syscall.Getpgrp() {
		t.Errorf("the browser %d is in the group %d, %v; ours is %d", l.Pid, group, err, syscall.Getpgrp())
	}
}
