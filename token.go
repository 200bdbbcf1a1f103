package mcpoauth

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
)

// Token is an access token. It prints redacted; [Token.AccessToken] reveals it. A Token is immutable and safe
// for concurrent use.
type Token struct {
	access secret.String
	typ    string
	expiry time.Time
	scopes []string
}

// newToken returns the token of a record. access is its text, which may be shared with a longer string.
func newToken(r *record.Login, access string) Token {
	return Token{access: secret.New(access), typ: r.TokenType, expiry: r.Expiry, scopes: slices.Clone(r.Scopes)}
}

// AccessToken returns the token itself, a secret.
func (t *Token) AccessToken() string { return t.access.Reveal() }

// Type returns the token type: "Bearer" (RFC 6750), or "DPoP" for a token that can be used only with the
// proofs that [Client.HTTPClient] and [Transport] send with it (RFC 9449).
func (t *Token) Type() string { return t.typ }

// Expiry returns when the token expires, by the local clock. The zero time is unknown.
func (t *Token) Expiry() time.Time { return t.expiry }

// Scopes returns the granted scopes.
func (t *Token) Scopes() []string { return slices.Clone(t.scopes) }

// Authorization returns the value of the Authorization header, which has the secret in it.
func (t *Token) Authorization() string { return t.typ + " " + t.access.Reveal() }

// String returns a description without the secret.
func (t *Token) String() string {
	if t == nil {
		return "<nil>"
	}
	if t.expiry.IsZero() {
		return t.typ + " " + t.access.String()
	}
	return t.typ + " " + t.access.String() + " until " + t.expiry.UTC().Format(time.RFC3339)
}

// GoString returns the same as String.
func (t *Token) GoString() string { return t.String() }

// Format prints the same for every verb.
func (t *Token) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, t.String()) }

// LogValue returns the same as String, for log/slog.
func (t *Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText returns the same as String: a Token cannot be stored by accident.
func (t *Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
