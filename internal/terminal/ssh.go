package terminal

import (
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// SSHForward is the command that makes a loopback redirect URI of this machine reachable from the machine it is run
// on, where the browser is. It is empty if the redirect URI has no port.
func SSHForward(redirectURI string) string {
	r, err := url.Parse(redirectURI)
	if err != nil || r.Port() == "" {
		return ""
	}
	return "ssh -L " + r.Port() + ":" + net.JoinHostPort(r.Hostname(), r.Port()) + " " + sshTarget(os.Getenv)
}

// sshTarget is how this machine is reached: the way it was reached for this session, if it was.
func sshTarget(env func(string) string) string {
	target, port := "", ""
	if c := strings.Fields(env("SSH_CONNECTION")); len(c) == 4 {
		target = c[2]
		if c[3] != "22" {
			port = " -p " + wire.ShellWord(c[3])
		}
	} else if name, err := os.Hostname(); err == nil {
		target = name
	}
	if target == "" {
		target = "HOST"
	}
	if user := env("USER"); user != "" {
		target = user + "@" + target
	}
	return wire.ShellWord(target) + port
}
