//go:build unix

package testserver

import (
	"os"
	"os/exec"
	"time"
)

// How a desktop session begins: with an unlocked keyring, with a locked one, or with none.
const (
	UnlockedKeyring = `printf secret | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null 2>&1`
	LockedKeyring   = `gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1`
	NoKeyring       = `true`
)

// Desktop returns a command that runs a program within a D-Bus session of its own, whose home is home.
func Desktop(tb TB, home, begin, program string, args ...string) *exec.Cmd {
	tb.Helper()
	for name, pkg := range map[string]string{"dbus-run-session": "dbus", "gnome-keyring-daemon": "gnome-keyring"} {
		if find(name) == "" {
			Missing(tb, pkg)
		}
	}
	// the caller's own program; the caller waits for it
	cmd := exec.Command("dbus-run-session", append([]string{"--", "sh", "-c", begin + "\nexec \"$@\"", "sh", program}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_DATA_HOME="+home+"/data", "XDG_CACHE_HOME="+home+"/cache")
	cmd.WaitDelay = 10 * time.Second // a service that the bus has started ends after it
	return cmd
}
