package keyringstore

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"
)

func TestTheKeyringIsAskedOnlyWhereTheLibraryFindsABus(t *testing.T) {
	for _, tc := range []struct {
		name, goos, address, runtimeDir string
		there                           []string
		reason                          string // "" if it may be asked
	}{
		{name: "macOS", goos: "darwin"},
		{name: "Windows", goos: "windows"},
		{name: "a desktop", goos: "linux", address: "unix:path=/run/user/1000/bus"},
		{name: "a shell without the variable", goos: "linux", there: []string{"/run/user/1000/bus"}},
		{name: "a container", goos: "linux", reason: "no D-Bus session"},
		{name: "a bus that would be started", goos: "linux", address: "autolaunch:", reason: "no D-Bus session"},
		{name: "another user's", goos: "linux", there: []string{"/run/user/1001/bus"}, reason: "no D-Bus session"},
		{name: "a runtime directory elsewhere", goos: "linux", runtimeDir: "/tmp/run", there: []string{"/tmp/run/bus"}, reason: "unix:path=/tmp/run/bus"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			getenv := func(name string) string {
				return map[string]string{"DBUS_SESSION_BUS_ADDRESS": tc.address, "XDG_RUNTIME_DIR": tc.runtimeDir}[name]
			}
			exists := func(path string) bool {
				for _, p := range tc.there {
					if p == path {
						return true
					}
				}
				return false
			}
			err := reachable(tc.goos, 1000, getenv, exists)
			var unavailable *UnavailableError
			if tc.reason == "" && err != nil || tc.reason != "" && (!errors.As(err, &unavailable) || !strings.Contains(unavailable.Reason, tc.reason)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhatTheSystemSaysIsExplained(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		reason string // "" if it stays as it is
	}{
		"a prompt that was dismissed": {errors.New("failed to unlock correct collection '/org/freedesktop/secrets/collection/login'"), "it is locked"},
		"no service":                  {errors.New("The name org.freedesktop.secrets was not provided by any .service files"), "no program"},
		"no bus":                      {errors.New("dial unix /tmp/gone: connect: no such file or directory"), "cannot be reached"},
		"an unknown system":           {keyring.ErrUnsupportedPlatform, "knows none"},
		"something else":              {errors.New("something else"), ""},
	} {
		t.Run(name, func(t *testing.T) { explains(t, tc.err, tc.reason) })
	}
	if runtime.GOOS == "windows" {
		return
	}
	for code, reason := range map[int]string{36: "locked", 50: "no keychain", 51: "not granted", 128: "not granted", 1: ""} {
		t.Run(fmt.Sprintf("macOS's security exits with %d", code), func(t *testing.T) {
			explains(t, exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf("exit %d", code)).Run(), reason)
		})
	}
}

func explains(t *testing.T, err error, reason string) {
	t.Helper()
	got := explained(err)
	var unavailable *UnavailableError
	switch {
	case !errors.Is(got, err):
		t.Errorf("%v lost its cause", got)
	case reason == "" && errors.As(got, &unavailable):
		t.Errorf("got %v", got)
	case reason != "" && (!errors.As(got, &unavailable) || !strings.Contains(unavailable.Reason, reason)):
		t.Errorf("got %v", got)
	}
}
