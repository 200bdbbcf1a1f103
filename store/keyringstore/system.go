package keyringstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/zalando/go-keyring"
)

// system is the keyring of the operating system.
type system struct{}

// Get implements Keyring.
func (system) Get(service, account string) (string, error) {
	if err := reachable(runtime.GOOS, os.Getuid(), os.Getenv, exists); err != nil {
		return "", err
	}
	secret, err := keyring.Get(service, account)
	if errors.Is(err, keyring.ErrNotFound) {
		return "", ErrNoSecret
	}
	return secret, explained(err)
}

// Set implements Keyring.
func (system) Set(service, account, secret string) error {
	if err := reachable(runtime.GOOS, os.Getuid(), os.Getenv, exists); err != nil {
		return err
	}
	return explained(keyring.Set(service, account, secret))
}

// reachable reports why the keyring cannot be asked. Without a bus at the address that the D-Bus library
// looks at it would run dbus-launch, which starts a bus of its own with an empty keyring behind it. So
// this looks where the library does, which is not in XDG_RUNTIME_DIR.
func reachable(goos string, uid int, getenv func(string) string, exists func(string) bool) error {
	if goos == "darwin" || goos == "windows" {
		return nil
	}
	address := getenv("DBUS_SESSION_BUS_ADDRESS")
	if address != "" && address != "autolaunch:" {
		return nil
	}
	usual := fmt.Sprintf("/run/user/%d/bus", uid)
	if exists(usual) {
		return nil
	}
	reason := "there is no D-Bus session (DBUS_SESSION_BUS_ADDRESS is not set), so no Secret Service can be asked"
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" && exists(filepath.Join(dir, "bus")) {
		reason = "DBUS_SESSION_BUS_ADDRESS is not set; there is a D-Bus session at unix:path=" + filepath.Join(dir, "bus")
	}
	return &UnavailableError{Reason: reason}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// What macOS's security command exits with: the low byte of the system's error number.
const (
	exitNotAllowed = 36  // errSecInteractionNotAllowed
	exitAuthFailed = 51  // errSecAuthFailed
	exitNoKeychain = 50  // errSecNoSuchKeychain
	exitCancelled  = 128 // errSecUserCanceled
)

// explained returns an UnavailableError for the errors that mean that there is no usable keyring.
func explained(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	var exit interface{ ExitCode() int }
	switch {
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return &UnavailableError{Reason: "this program knows none on " + runtime.GOOS, Err: err}
	case errors.As(err, &exit):
		switch exit.ExitCode() {
		case exitNotAllowed:
			return &UnavailableError{Reason: "the keychain is locked, and nobody can be asked for its password here (a remote or background session?)", Err: err}
		case exitAuthFailed, exitCancelled:
			return &UnavailableError{Reason: "access to the keychain was not granted", Err: err}
		case exitNoKeychain:
			return &UnavailableError{Reason: "this user has no keychain", Err: err}
		}
	case strings.Contains(text, "failed to unlock"):
		return &UnavailableError{Reason: "it is locked and was not unlocked, or it was never set up", Err: err}
	case strings.Contains(text, "org.freedesktop.secrets"), strings.Contains(text, "ServiceUnknown"):
		return &UnavailableError{Reason: "no program on this D-Bus session is a Secret Service (GNOME Keyring, KWallet, KeePassXC)", Err: err}
	case strings.Contains(text, "connect:"), strings.Contains(text, "dial unix"):
		return &UnavailableError{Reason: "the D-Bus session cannot be reached", Err: err}
	case strings.Contains(text, "dismissed"), strings.Contains(text, "IsLocked"), strings.Contains(text, "locked"):
		return &UnavailableError{Reason: "it is locked", Err: err}
	}
	return err
}
