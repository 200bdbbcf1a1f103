package record

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// String names the login without its secrets.
func (r Login) String() string { return "login " + r.ServerURL + " " + redacted }

// GoString is String.
func (r Login) GoString() string { return r.String() }

// Format prints String for every verb but %p and %w.
func (r Login) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, r.String()) }

// LogValue is String, for log/slog.
func (r Login) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText is String: use Encode to store.
func (r Login) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String names the client without its secrets.
func (r Registration) String() string {
	return "client " + r.ClientID + " at " + r.Issuer + " " + redacted
}

// GoString is String.
func (r Registration) GoString() string { return r.String() }

// Format prints String for every verb but %p and %w.
func (r Registration) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, r.String()) }

// LogValue is String, for log/slog.
func (r Registration) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText is String: use Encode to store.
func (r Registration) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String names the pending login without its secrets.
func (p Pending) String() string { return "pending login " + p.Login.ServerURL + " " + redacted }

// GoString is String.
func (p Pending) GoString() string { return p.String() }

// Format prints String for every verb but %p and %w.
func (p Pending) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, p.String()) }

// LogValue is String, for log/slog.
func (p Pending) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText is String: use Encode to store.
func (p Pending) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
