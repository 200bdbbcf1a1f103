package keyringstore

import (
	"errors"
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
	if err := reachable(runtime.GOOS, os.Getenv); err != nil {
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
	if err := reachable(runtime.GOOS, os.Getenv); err != nil {
		return err
	}
	return explained(keyring.Set(service, account, secret))
}

// reachable reports why the keyring cannot be asked. The D-Bus library would start a bus of its own,
// with an empty keyring behind it that ends with the process.
func reachable(goos string, getenv func(string) string) error {
	if goos == "darwin" || goos == "windows" || getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return nil
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "bus")); err == nil {
			return nil
		}
	}
	return &UnavailableError{Reason: "there is no D-Bus session (DBUS_SESSION_BUS_ADDRESS is not set), so no Secret Service can be asked"}
}

// explained makes an UnavailableError of what the Secret Service's absence looks like.
func explained(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "org.freedesktop.secrets"), strings.Contains(text, "ServiceUnknown"):
		return &UnavailableError{Reason: "no program on this D-Bus session is a Secret Service (GNOME Keyring, KWallet, KeePassXC)", Err: err}
	case strings.Contains(text, "connect:"), strings.Contains(text, "dial unix"):
		return &UnavailableError{Reason: "the D-Bus session cannot be reached", Err: err}
	case strings.Contains(text, "dismissed"), strings.Contains(text, "IsLocked"), strings.Contains(text, "locked"):
		return &UnavailableError{Reason: "it is locked", Err: err}
	}
	return err
}
