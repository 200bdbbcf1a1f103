package mcpoauth

import (
	"fmt"
	"io"
	"strconv"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Values that hold secrets print without them, whatever the verb, and encode as a text without them, also for log/slog:
// a debug line must not become a leak.

// Format prints the value without its secrets, for every verb.
func (o Options) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "options of the profile "+strconv.Quote(o.Profile))
}

// MarshalText returns what Format prints.
func (o Options) MarshalText() ([]byte, error) {
	return []byte("options of the profile " + strconv.Quote(o.Profile)), nil
}

// Format prints the value without its secrets, for every verb.
func (o ClientOptions) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "client "+wire.Clean(o.ID))
}

// MarshalText returns what Format prints.
func (o ClientOptions) MarshalText() ([]byte, error) {
	return []byte("client " + wire.Clean(o.ID)), nil
}

// Format prints the value without its parameters, which may be secret, for every verb.
func (o ServerOptions) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "server options") }

// MarshalText returns what Format prints.
func (o ServerOptions) MarshalText() ([]byte, error) { return []byte("server options"), nil }

// Format prints the value without its headers and keys, for every verb.
func (o NetworkOptions) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "network options") }

// MarshalText returns what Format prints.
func (o NetworkOptions) MarshalText() ([]byte, error) { return []byte("network options"), nil }

// Format prints the value without its secret, for every verb.
func (e EnterpriseManaged) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "enterprise-managed authorization by "+wire.Clean(e.Issuer))
}

// MarshalText returns what Format prints.
func (e EnterpriseManaged) MarshalText() ([]byte, error) {
	return []byte("enterprise-managed authorization by " + wire.Clean(e.Issuer)), nil
}

// Format prints the value without its secrets, for every verb.
func (l ImportedLogin) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "imported login of client "+wire.Clean(l.ClientID))
}

// MarshalText returns what Format prints.
func (l ImportedLogin) MarshalText() ([]byte, error) {
	return []byte("imported login of client " + wire.Clean(l.ClientID)), nil
}

// Format prints the value without its ID and the state in its URL, for every verb.
func (p PendingLogin) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "pending login") }

// MarshalText returns what Format prints.
func (p PendingLogin) MarshalText() ([]byte, error) { return []byte("pending login"), nil }

// Format prints the value without its code, for every verb.
func (r LoginReply) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "reply to a login") }

// MarshalText returns what Format prints.
func (r LoginReply) MarshalText() ([]byte, error) { return []byte("reply to a login"), nil }

// Format prints the value without its URL, which has the state in it, for every verb.
func (p LoginPrompt) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "login to "+wire.Clean(p.ServerURL))
}

// MarshalText returns what Format prints.
func (p LoginPrompt) MarshalText() ([]byte, error) {
	return []byte("login to " + wire.Clean(p.ServerURL)), nil
}

// Format prints the value without its secrets, for every verb.
func (c *Client) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "client of "+c.trace.server) }

// MarshalText returns what Format prints.
func (c *Client) MarshalText() ([]byte, error) { return []byte("client of " + c.trace.server), nil }

// Format prints the value without its secrets, for every verb.
func (p *IdentityProvider) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "identity provider login of "+p.c.trace.server)
}

// MarshalText returns what Format prints.
func (p *IdentityProvider) MarshalText() ([]byte, error) {
	return []byte("identity provider login of " + p.c.trace.server), nil
}

// Format prints the value without its client's secrets, for every verb.
func (t *Transport) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "transport") }

// MarshalText returns what Format prints.
func (t *Transport) MarshalText() ([]byte, error) { return []byte("transport"), nil }

// Format prints the value without its client's secrets, for every verb.
func (h *OAuthHandler) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "handler of "+h.c.trace.server)
}

// Format prints the value without its client's secrets, for every verb.
func (t *oauth2Source) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "token source of "+t.c.trace.server)
}

// Format prints the value without its client's secrets, for every verb.
func (s *sdkSource) Format(w fmt.State, _ rune) {
	_, _ = io.WriteString(w, "token source of "+s.c.trace.server)
}
