// Package browser opens a URL in the user's browser. It starts no other program, and passes it no more than
// the URL.
package browser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/secret"
)

const (
	maxURL = 8 << 10
	// settle is how long a launcher may take to fail. One that still runs then counts as started.
	settle = 2 * time.Second
)

// Sanitize returns raw in a form that a launcher on any system can only interpret as a URL: https,
// or http on a loopback host; an ASCII host; no user information; a path and query in which all but a
// few characters are percent-encoded. It fails if raw cannot be brought into this form.
func Sanitize(raw string) (string, error) {
	if len(raw) > maxURL {
		return "", fmt.Errorf("it is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return "", errors.New("it is not an absolute URL")
	}
	if u.User != nil {
		return "", errors.New("it holds a user name or password")
	}
	// ASCII letters only: the lower case of "İ" is "i", but the host is another one.
	host := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, u.Hostname())
	if err := checkHost(u.Scheme, host); err != nil {
		return "", err
	}
	port := u.Port()
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "", errors.New("its port is not valid")
		}
		port = strconv.FormatUint(n, 10)
	}
	s := u.Scheme + "://" + resource.HostPort(host, port) + escape(u.EscapedPath())
	if u.RawQuery != "" {
		s += "?" + escape(u.RawQuery)
	}
	if len(s) > maxURL {
		return "", fmt.Errorf("it is longer than %d bytes", maxURL)
	}
	return s, nil
}

func checkHost(scheme, host string) error {
	addr, err := netip.ParseAddr(host)
	literal := err == nil && addr.Zone() == ""
	loopback := host == "localhost" || literal && addr.IsLoopback()
	switch {
	case scheme != "https" && scheme != "http":
		return errors.New("its scheme is neither https nor http")
	case scheme == "http" && !loopback:
		return errors.New("it is plain http on a host other than loopback")
	case literal:
		return nil
	}
	if host == "" || strings.HasPrefix(host, "-") || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return errors.New("its host has characters that no host name has")
	}
	return nil
}

const plainCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/?&=:@+,"

// escape percent-encodes every character that a shell, a launcher or a terminal could interpret.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case strings.IndexByte(plainCharacters, c) >= 0:
			b.WriteByte(c)
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// Options configure [Open].
type Options struct {
	// Stderr receives what the launcher prints. Nil discards it.
	Stderr io.Writer
	// WithoutEnv names environment variables that the launcher does not inherit, because they hold secrets.
	// Those whose names begin with MCPOAUTH_ are left out in any case.
	WithoutEnv []string
	// settle replaces the time after which a launcher that still runs counts as started, for tests.
	settle time.Duration
}

// Open opens a URL that it sanitizes first. It starts $BROWSER, split at white space, or without one the
// system's launcher, never through a shell, with no standard input or output of ours, and without our own
// settings in its environment. It returns when the launcher has ended or two seconds have passed. Once ctx
// is done it starts nothing.
func Open(ctx context.Context, raw string, opt Options) error {
	target, err := Sanitize(raw)
	if err != nil {
		return err
	}
	var failures []error
	for _, argv := range candidates(runtime.GOOS, os.Getenv("BROWSER"), isWSL()) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		path, err := exec.LookPath(argv[0])
		if err != nil {
			continue
		}
		err = start(ctx, path, append(argv[1:], target), opt)
		if err == nil {
			return nil
		}
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		return errors.New("there is no program that opens a browser")
	}
	return errors.Join(failures...)
}

// candidates returns the launchers to try, in order, without the URL, which is the last argument.
func candidates(goos, browserEnv string, wsl bool) [][]string {
	var list [][]string
	for _, one := range strings.Split(browserEnv, string(os.PathListSeparator)) {
		// By an old convention "%s" at the end stands for the URL, which is appended anyway.
		one = strings.TrimSuffix(strings.TrimSpace(one), " %s")
		if f := strings.Fields(one); len(f) > 0 && !strings.Contains(one, "%") {
			list = append(list, f)
		}
	}
	if len(list) > 0 {
		// A person who names a browser does not want another one.
		return list
	}
	switch {
	case goos == "darwin":
		list = append(list, []string{"/usr/bin/open"})
	case goos == "windows":
		list = append(list, []string{"rundll32.exe", "url.dll,FileProtocolHandler"})
	case wsl:
		// Not wslview: it puts the URL into a PowerShell command line.
		list = append(list, []string{"rundll32.exe", "url.dll,FileProtocolHandler"}, []string{"xdg-open"})
	default:
		list = append(list, []string{"xdg-open"}, []string{"x-www-browser"}, []string{"www-browser"})
	}
	return list
}

func isWSL() bool {
	if runtime.GOOS != "linux" {
		return false
	}
	b, err := os.ReadFile("/proc/version")
	return err == nil && strings.Contains(strings.ToLower(string(b)), "microsoft")
}

func start(ctx context.Context, path string, args []string, opt Options) error {
	// The browser outlives the login: ctx ends only the wait.
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // an argument vector with a sanitized URL
	cmd.Stderr = opt.Stderr
	cmd.Env = secret.Environ(os.Environ(), opt.WithoutEnv)
	cmd.SysProcAttr = apart()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t := time.NewTimer(cmp.Or(opt.settle, settle))
	defer t.Stop()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	case <-t.C:
		return nil
	case <-ctx.Done():
		return nil // the login was completed in another way
	}
}

// Available reports whether a browser is likely to open where the person sits, and if not, why.
func Available() (ok bool, why string) {
	return available(runtime.GOOS, os.Getenv, isWSL(), func(name string) bool { _, err := exec.LookPath(name); return err == nil })
}

func available(goos string, getenv func(string) string, wsl bool, have func(string) bool) (bool, string) {
	if getenv("BROWSER") != "" {
		return true, ""
	}
	display := getenv("DISPLAY") != "" || getenv("WAYLAND_DISPLAY") != ""
	if getenv("SSH_CONNECTION") != "" && !display {
		return false, "this is an SSH session, and a browser here would not be yours"
	}
	if goos == "windows" || goos == "darwin" || wsl && have("rundll32.exe") {
		return true, ""
	}
	if !display {
		if wsl {
			// Or a container on such a machine, which has its kernel.
			return false, "Windows programs cannot be started from here, and there is no display"
		}
		return false, "there is no display"
	}
	if !have("xdg-open") && !have("x-www-browser") && !have("www-browser") {
		return false, "there is no program that opens a browser"
	}
	return true, ""
}
