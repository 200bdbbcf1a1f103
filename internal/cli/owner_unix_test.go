//go:build unix

package cli

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// owned is a file of a user.
type owned struct {
	fs.FileInfo
	uid uint32
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: o.uid} }

// TestWhoseAFileIs: the person's own and the administrator's count, and nobody else's.
func TestWhoseAFileIs(t *testing.T) {
	me := uint32(os.Geteuid()) // a user ID
	for uid, want := range map[uint32]string{0: "", me: "", me + 1: "another user"} {
		if got := foreign(owned{uid: uid}); got != want && (want == "" || !strings.Contains(got, want)) {
			t.Errorf("user %d for %d: %q", uid, me, got)
		}
	}
}
