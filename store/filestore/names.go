package filestore

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxReadable is how much of a file name is for people.
const maxReadable = 60

// BaseURL returns scheme and authority of a server URL, as FastMCP's FileTokenStorage.get_base_url
// does: "https://mcp.example.com:8443".
func BaseURL(serverURL string) (string, error) {
	u, err := url.Parse(serverURL)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", fmt.Errorf("%q is not an absolute URL", serverURL)
	}
	return u.Scheme + "://" + u.Host, nil
}

// CacheKey returns the readable beginning of the file names for a server URL, as FastMCP's
// FileTokenStorage.get_cache_key makes its names: the base URL with all but letters, digits, "-", "_"
// and "." replaced, at most 60 characters. It does not identify a login; the digest after it does.
func CacheKey(serverURL string) string {
	base, err := BaseURL(serverURL)
	if err != nil {
		base = serverURL
	}
	return clean(strings.Replace(base, "://", "_", 1), maxReadable)
}

// clean keeps [A-Za-z0-9_.-], replaces runs of anything else by one "_", and leaves no name that a
// system treats in a special way.
func clean(s string, limit int) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < limit; i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
			b.WriteByte(c)
		default:
			if n := b.Len(); n == 0 || b.String()[n-1] != '_' {
				b.WriteByte('_')
			}
		}
	}
	return strings.TrimLeft(b.String(), ".-")
}

// DefaultDir returns where logins are kept: $MCPOAUTH_DIR, else mcpoauth in the user's state directory
// ($XDG_STATE_HOME or ~/.local/state; ~/Library/Application Support on macOS; %LocalAppData% on
// Windows). The error says which variable is missing or wrong.
func DefaultDir() (string, error) {
	if dir := os.Getenv("MCPOAUTH_DIR"); dir != "" {
		return absolute("MCPOAUTH_DIR", dir)
	}
	if runtime.GOOS == "windows" {
		dir := os.Getenv("LocalAppData")
		if dir == "" {
			return "", errors.New("LocalAppData is not set; set it, or MCPOAUTH_DIR")
		}
		return filepath.Join(dir, "mcpoauth"), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" && runtime.GOOS != "darwin" {
		dir, err := absolute("XDG_STATE_HOME", dir)
		return filepath.Join(dir, "mcpoauth"), err
	}
	home := os.Getenv("HOME")
	if home == "" {
		return "", errors.New("HOME is not set; set it, or MCPOAUTH_DIR")
	}
	home, err := absolute("HOME", home)
	if err != nil {
		return "", err
	}
	if err := foreignHome(home); err != nil {
		return "", err
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "mcpoauth"), nil
	}
	return filepath.Join(home, ".local", "state", "mcpoauth"), nil
}

func absolute(name, dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s is %q, which is not an absolute path", name, dir)
	}
	return filepath.Clean(dir), nil
}
