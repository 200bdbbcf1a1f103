package mcpoauth

import (
	"encoding/json"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// ServerMetadata is an authorization server's metadata (RFC 8414 section 2), decoded tolerantly:
// unknown values, null, a string where a list belongs and members nobody knows are no errors, since
// real servers have all of them. A nil list means that the member is absent, an empty one that
// it is there and empty.
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

// UnmarshalJSON decodes tolerantly. Its error says which member cannot be used.
func (m *ServerMetadata) UnmarshalJSON(b []byte) error {
	w, err := wire.ParseServerMetadata(b)
	if err != nil {
		return err
	}
	*m = ServerMetadata(*w)
	return nil
}
