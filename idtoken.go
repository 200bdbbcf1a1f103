package mcpoauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// nonceOf derives the nonce of an authentication request from what only this login knows (OpenID Connect Core 1.0
// section 15.5.2).
func nonceOf(verifier string) string {
	sum := sha256.Sum256([]byte("nonce " + verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// checkNonce checks that the ID token of a login at an authorization server belongs to it, if one came (OpenID Connect
// Core 1.0 section 3.1.3.7). Nothing else of it is used.
func (n *network) checkNonce(ctx context.Context, rec *record.Login, tok *wire.Token, nonce string) error {
	if tok.IDToken.IsZero() {
		return nil
	}
	claims, err := grant.ReadClaims(tok.IDToken.Reveal())
	switch {
	case err != nil:
		n.trace.note(ctx, NoteTokenResponse, "the ID token cannot be read: "+err.Error())
	case claims.Nonce == "":
		n.trace.note(ctx, NoteTokenResponse, "the ID token has no nonce, although the request had one")
	case claims.Nonce != nonce:
		return &Error{
			Op: OpToken, URL: rec.TokenEndpoint, Message: "the ID token belongs to another login: its nonce is not that of the request",
			Hint: "this may be an attack with another person's code: do not repeat the login before you know the reason; --drop-scope openid (Options.Scopes.Drop) does without an ID token",
		}
	}
	return nil
}

// acceptIDToken checks the ID token of an identity provider's response (OpenID Connect Core 1.0 sections 3.1.3.7 and
// 12.2) and sets the login's expiry to the ID token's. The token came from the token endpoint over TLS, so its
// signature need not be checked. nonce is "" after a refresh.
func acceptIDToken(rec *record.Login, tok *wire.Token, nonce string) error {
	bad := func(message string) error {
		return &Error{Op: OpToken, URL: rec.TokenEndpoint, Message: "the identity provider's ID token cannot be used: " + message, Hint: "ask its administrator; the client there needs the scope openid"}
	}
	if tok.IDToken.IsZero() {
		return bad("there is none")
	}
	claims, err := grant.ReadClaims(tok.IDToken.Reveal())
	if err != nil {
		return bad(err.Error())
	}
	switch {
	case claims.Issuer != rec.Issuer:
		return bad("it is of another issuer")
	case !claims.For(rec.Registration.ClientID):
		return bad("it is for another client")
	case nonce != "" && claims.Nonce != nonce:
		return bad("it belongs to another login")
	case claims.Expiry.IsZero():
		return bad("it does not say when it ends")
	}
	rec.Expiry = claims.Expiry
	if life := claims.Expiry.Sub(claims.IssuedAt); !claims.IssuedAt.IsZero() && life > 0 {
		rec.Expiry = time.Now().Add(life) // by our clock
	}
	return nil
}
