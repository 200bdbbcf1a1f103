//go:build unix

package testserver

import (
	"os"
	"os/exec"
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
	// A session has a directory for sockets of its own: the keyring of the session before, which may still be ending, would
	// be taken for its keyring. The name is short, since the path of a socket must be.
	sockets, err := os.MkdirTemp("", "run")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(sockets) })
	// the caller's own program; the caller waits for it
	cmd := exec.Command("dbus-run-session", append([]string{"--", "sh", "-c", begin + "\nexec \"$@\"", "sh", program}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_RUNTIME_DIR="+sockets, "XDG_DATA_HOME="+home+"/data", "XDG_CACHE_HOME="+home+"/cache")
	return cmd
}

// Output runs a command of [Desktop] and returns what it printed. A file takes that and not a pipe, whose end would be
// waited for: services that the session started may live on and hold it.
func Output(tb TB, cmd *exec.Cmd) ([]byte, error) {
	tb.Helper()
	f, err := os.CreateTemp(tb.TempDir(), "output")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	out, readErr := os.ReadFile(f.Name())
	if readErr != nil {
		tb.Fatal(readErr)
	}
	return out, err
}
