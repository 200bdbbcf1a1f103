package grant

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// RevokeRequest revokes a token (RFC 7009 section 2.1).
type RevokeRequest struct {
	Endpoint string
	Auth     ClientAuth
	Token    secret.String
	// Hint is refresh_token or access_token.
	Hint string
}

// Revoke revokes a token. Servers that insist on a client_secret field from clients that have none
// get it, empty, in a second request. The error is a *wire.Fault.
func Revoke(ctx context.Context, c *netguard.Client, r RevokeRequest) error {
	form := url.Values{"token": {r.Token.Reveal()}, "token_type_hint": {r.Hint}}
	_, err := call{client: c, leg: "revocation", endpoint: r.Endpoint, auth: r.Auth, form: form}.negotiate(func(q call) error { return q.revoke(ctx) })
	return err
}

func (r call) revoke(ctx context.Context) error {
	for try := 0; ; try++ {
		a, err := r.send(ctx, nil)
		if err != nil {
			return wire.AsFault(err, wire.StageRevocation, r.endpoint)
		}
		if a.Status/100 == 2 {
			return nil
		}
		f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
		if f.Code == "invalid_grant" || f.Code == "invalid_token" {
			return nil // RFC 7009 section 2.2: a token that is unknown is as good as revoked
		}
		if try == 0 && r.auth.Method != methodBasic && a.Status == http.StatusBadRequest && f.Code == "invalid_request" && strings.Contains(f.Description, "client_secret") && r.auth.Secret.IsZero() {
			r.form.Set("client_secret", "")
			continue
		}
		if f.Code != "" {
			f.Message = "the server refused to revoke the token"
		}
		return wire.AsFault(f, wire.StageRevocation, r.endpoint)
	}
}

// DeleteClient deletes a dynamic registration (RFC 7592 section 2.3). The error is a *wire.Fault.
func DeleteClient(ctx context.Context, c *netguard.Client, uri string, token secret.String) error {
	a, err := c.Delete(ctx, netguard.Request{Leg: "client-deletion", URL: uri, Header: http.Header{"Authorization": {"Bearer " + token.Reveal()}}})
	if err != nil {
		return wire.AsFault(err, wire.StageRegistration, uri)
	}
	switch {
	case a.Status/100 == 2, a.Status == http.StatusUnauthorized, a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		return nil // gone already: RFC 7592 section 2.3 answers 401 for a client that is not there
	}
	f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
	f.Message = "the server refused to delete the registration"
	return wire.AsFault(f, wire.StageRegistration, uri)
}
