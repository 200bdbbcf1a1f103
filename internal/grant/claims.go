package grant

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Claims are the registered claims of a JWT (RFC 7519 section 4.1). Its signature has not been verified.
type Claims struct {
	Issuer   string
	Audience []string
	Nonce    string
	// Expiry and IssuedAt are the zero time if the JWT does not say.
	Expiry, IssuedAt time.Time
}

// For reports whether the JWT is for that audience.
func (c *Claims) For(audience string) bool {
	return audience != "" && slices.Contains(c.Audience, audience)
}

// ReadClaims reads the claims of a signed JWT (RFC 7515 section 7.1).
func ReadClaims(jwt string) (*Claims, error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || strings.ContainsAny(jwt, " \t\r\n") {
		return nil, errors.New("it has not three parts")
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil, errors.New("its claims are not base64url")
	}
	o, err := wire.ParseObject(raw)
	if err != nil {
		return nil, errors.New("its claims are no JSON object")
	}
	c := &Claims{Issuer: o.String("iss"), Audience: o.Strings("aud"), Nonce: o.String("nonce")}
	if n, ok := o.Seconds("exp"); ok {
		c.Expiry = time.Unix(n, 0)
	}
	if n, ok := o.Seconds("iat"); ok {
		c.IssuedAt = time.Unix(n, 0)
	}
	return c, nil
}
