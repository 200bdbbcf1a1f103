package grant

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Token types of RFC 8693 section 3, and of identity assertion authorization grants (ID-JAG).
const (
	idToken = "urn:ietf:params:oauth:token-type:id_token"
	idJAG   = "urn:ietf:params:oauth:token-type:id-jag"
)

// IDJAGRequest exchanges an ID token at an identity provider for a grant at another authorization server
// (RFC 8693; MCP extension enterprise-managed-authorization).
type IDJAGRequest struct {
	Endpoint string
	Auth     ClientAuth
	IDToken  secret.String
	// Audience is that authorization server's issuer, Resource the MCP server.
	Audience, Resource string
	Scopes             []string
}

// ExchangeForIDJAG asks for the grant. The error is a *wire.Fault.
func ExchangeForIDJAG(ctx context.Context, c *netguard.Client, r IDJAGRequest) (secret.String, error) {
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "requested_token_type": {idJAG}, "subject_token": {r.IDToken.Reveal()},
		"subject_token_type": {idToken}, "audience": {r.Audience},
	}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	if len(r.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Scopes, " "))
	}
	var jag secret.String
	_, err := call{client: c, leg: "token", endpoint: r.Endpoint, auth: r.Auth, form: form}.negotiate(func(r call) (err error) {
		jag, err = r.exchangeForIDJAG(ctx)
		return err
	})
	return jag, err
}

func (r call) exchangeForIDJAG(ctx context.Context) (secret.String, error) {
	a, err := r.send(ctx, nil)
	if err != nil {
		return secret.String{}, wire.AsFault(err, wire.StageToken, r.endpoint)
	}
	o, err := wire.ParseObject(a.Body)
	grant := o.String("access_token")
	if a.Status/100 != 2 || err != nil || grant == "" {
		f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
		switch {
		case f.Code == "invalid_grant":
			f.Message, f.Hint = "the identity provider does not accept the ID token", "it may have ended: log in at the identity provider again"
		case notAuthenticated(f):
		case f.Code != "":
			f.Message, f.Hint = "the identity provider refused the exchange", "ask its administrator whether this client may use that MCP server"
		case a.Status/100 == 2 && !f.Temporary:
			f.Message, f.Hint = "the identity provider's answer cannot be used", "it is at fault"
		}
		return secret.String{}, wire.AsFault(f, wire.StageToken, r.endpoint)
	}
	if got := o.String("issued_token_type"); got != idJAG {
		return secret.String{}, &wire.Fault{
			Stage: wire.StageToken, URL: wire.PlainURL(r.endpoint), Message: fmt.Sprintf("the identity provider gave out a token of the type %q instead of a grant for another server", wire.CleanN(got, 80)),
			Hint: "it does not support enterprise-managed authorization, or not for this client",
		}
	}
	return secret.New(grant), nil
}
