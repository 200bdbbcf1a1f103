package mcpoauth

import (
	"context"
	"encoding/json"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// ServerMetadata is an authorization server's metadata (RFC 8414 section 2), decoded tolerantly: unknown values,
// unknown members, null, and a string in place of a list are no errors, since servers send all of them. A nil list
// means that the member is absent, an empty one that it is present and empty.
type ServerMetadata struct {
	// Issuer and the endpoints, as the document has them.
	Issuer                             string
	AuthorizationEndpoint              string
	TokenEndpoint                      string
	RegistrationEndpoint               string
	RevocationEndpoint                 string
	IntrospectionEndpoint              string
	UserinfoEndpoint                   string
	JWKSURI                            string
	DeviceAuthorizationEndpoint        string
	PushedAuthorizationRequestEndpoint string
	// What the server supports.
	ScopesSupported                            []string
	ResponseTypesSupported                     []string
	ResponseModesSupported                     []string
	GrantTypesSupported                        []string
	TokenEndpointAuthMethodsSupported          []string
	TokenEndpointAuthSigningAlgValuesSupported []string
	RevocationEndpointAuthMethodsSupported     []string
	CodeChallengeMethodsSupported              []string
	DPoPSigningAlgValuesSupported              []string
	AuthorizationGrantProfilesSupported        []string
	// What it requires or promises.
	RequirePushedAuthorizationRequests         bool
	RequireSignedRequestObject                 bool
	AuthorizationResponseIssParameterSupported bool
	ClientIDMetadataDocumentSupported          bool
	// Raw holds every member of the document.
	Raw map[string]json.RawMessage
}

// Discovery is the result of [Client.Discover].
type Discovery struct {
	// Resource is the resource indicator (RFC 8707) that a login would send, "" for none.
	Resource string
	// Issuer is the authorization server's, as its metadata spells it.
	Issuer string
	// Server is the authorization server's metadata.
	Server *ServerMetadata
	// Tried are the metadata URLs that were requested, in order.
	Tried []Attempt
}

// Discover reads the metadata that a login would use (RFC 9728, RFC 8414), with the same checks, and changes nothing
// at the server. The error is an [Error] with [OpDiscovery], and [ErrNoOAuth] if the server offers no OAuth.
func (c *Client) Discover(ctx context.Context) (*Discovery, error) {
	return during(ctx, c, func(ctx context.Context) (*Discovery, error) {
		f, err := c.discoverer.discover(ctx, nil, c.store.previous(ctx))
		if err != nil {
			return nil, err
		}
		m := ServerMetadata(*f.Server)
		d := &Discovery{Resource: f.Resource, Issuer: f.Issuer, Server: &m}
		for _, a := range f.Tried {
			d.Tried = append(d.Tried, Attempt(a))
		}
		return d, nil
	})
}

// UnmarshalJSON decodes tolerantly. The error names the member that cannot be used.
func (m *ServerMetadata) UnmarshalJSON(b []byte) error {
	w, err := wire.ParseServerMetadata(b)
	if err != nil {
		return err
	}
	*m = ServerMetadata(*w)
	return nil
}
