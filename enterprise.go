package mcpoauth

import (
	"context"
	"errors"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/secret"
)

// EnterpriseManaged is enterprise-managed authorization (SEP-990): a company's identity provider says which
// MCP servers its people may use. The person's ID token is exchanged there for a grant (ID-JAG, RFC 8693),
// which the MCP server's authorization server takes for a token (RFC 7523). [Options.ClientID] and its secret
// or key are the client at the latter. Nobody is asked.
type EnterpriseManaged struct {
	// IDToken returns the person's ID token, whose audience is ClientID at the identity provider. It is
	// called for each token request. It must not be nil.
	IDToken AssertionSource
	// TokenEndpoint is the identity provider's. It must not be empty.
	TokenEndpoint string
	// ClientID and ClientSecret are the client there. Without a secret it is a public client.
	ClientID     string
	ClientSecret string
}

func (EnterpriseManaged) name() string { return grant.TypeJWTBearer }

func (e EnterpriseManaged) check(o *Options) error {
	switch {
	case e.IDToken == nil || e.TokenEndpoint == "" || e.ClientID == "":
		return optionError("Grant", errors.New("enterprise-managed authorization needs an ID token, and the identity provider's token endpoint and client"), "set --assertion-file, --assertion-env or --assertion-command, --idp-token-endpoint and --idp-client-id (EnterpriseManaged)")
	case o.ClientID == "":
		return optionError("Grant", errors.New("enterprise-managed authorization needs a client at the MCP server's authorization server"), "set --client-id (Options.ClientID)")
	}
	return nil
}

func (e EnterpriseManaged) assertion(ctx context.Context, c *Client, a asked) (string, error) {
	token, err := WorkloadIdentity{Assertion: e.IDToken}.assertion(ctx, c, asked{audience: e.ClientID})
	if err != nil {
		return "", err
	}
	auth := grant.ClientAuth{ID: e.ClientID, Secret: secret.New(e.ClientSecret), Method: "none"}
	if e.ClientSecret != "" {
		auth.Method = "client_secret_post"
	}
	jag, err := grant.ExchangeForIDJAG(ctx, c.http, grant.IDJAGRequest{
		Endpoint: e.TokenEndpoint, Auth: auth, IDToken: secret.New(token), Audience: a.audience, Resource: a.resource, Scopes: a.scopes,
	})
	return jag.Reveal(), err
}
