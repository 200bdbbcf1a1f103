// Package secret has a string that never prints.
package secret

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
)

const redacted = "[redacted]"

// minHidden is the length from which on a text is looked for: hiding "s" would make any other text unreadable.
const minHidden = 8

// Hide removes secrets from a text of a server that they were sent to: servers repeat the request in their errors.
func Hide(text string, secrets ...string) string {
	for _, s := range secrets {
		if len(s) < minHidden {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return text
}

// String is a secret. Every way of printing it gives "[redacted]", or "" when it is empty; only
// [String.Reveal] gives the text. The zero value is the empty secret.
type String struct {
	// p is a pointer because fmt prints unexported fields of other structs without asking for
	// their methods, and then shows an address.
	p *string
}

// New returns s as a secret.
func New(s string) String {
	if s == "" {
		return String{}
	}
	return String{&s}
}

// Reveal returns the text.
func (s String) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// IsZero reports whether the secret is empty.
func (s String) IsZero() bool { return s.p == nil }

// String returns "[redacted]".
func (s String) String() string {
	if s.p == nil {
		return ""
	}
	return redacted
}

// GoString returns "[redacted]".
func (s String) GoString() string { return s.String() }

// Format prints "[redacted]" for every verb.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns "[redacted]".
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns "[redacted]".
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (s String) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }
