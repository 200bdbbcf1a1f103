package wire

import (
	"encoding/json"
	"errors"
	"strings"
)

// ServerMetadata is an authorization server's metadata (RFC 8414 section 2, OpenID Connect Discovery
// section 3). A nil list means absent, an empty one present and empty. Texts are as the server sent
// them: Clean them before they are shown.
type ServerMetadata struct {
	// Issuer and the endpoints, unchecked.
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

	// The lists of supported values; unknown values are kept.
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

	// The server's requirements and promises.
	RequirePushedAuthorizationRequests         bool
	RequireSignedRequestObject                 bool
	AuthorizationResponseIssParameterSupported bool
	ClientIDMetadataDocumentSupported          bool

	// Raw holds every member of the document.
	Raw map[string]json.RawMessage
}

// decisive reports whether security rests on a member of an authorization server's metadata: whose it is, where secrets
// go, what the server promises.
func decisive(name string) bool {
	switch name {
	case "issuer", "jwks_uri", "code_challenge_methods_supported", "authorization_response_iss_parameter_supported":
		return true
	}
	return strings.HasSuffix(name, "_endpoint") || strings.HasPrefix(name, "require_")
}

// ParseServerMetadata decodes an authorization server's metadata. It fails only if the document is not a JSON
// object or has no issuer.
func ParseServerMetadata(b []byte) (*ServerMetadata, error) {
	m, _, err := ReadServerMetadata(b)
	return m, err
}

// ReadServerMetadata is ParseServerMetadata, and returns the members that occur twice: one that no security rests on may
// do so with equal values.
func ReadServerMetadata(b []byte) (m *ServerMetadata, repeated []string, err error) {
	o, repeated, err := parseObject(b, func(name string) bool { return !decisive(name) })
	if err != nil {
		return nil, nil, err
	}
	m = &ServerMetadata{
		Issuer: o.String("issuer"), AuthorizationEndpoint: o.String("authorization_endpoint"), TokenEndpoint: o.String("token_endpoint"),
		RegistrationEndpoint: o.String("registration_endpoint"), RevocationEndpoint: o.String("revocation_endpoint"),
		IntrospectionEndpoint: o.String("introspection_endpoint"), UserinfoEndpoint: o.String("userinfo_endpoint"), JWKSURI: o.String("jwks_uri"),
		DeviceAuthorizationEndpoint: o.String("device_authorization_endpoint"), PushedAuthorizationRequestEndpoint: o.String("pushed_authorization_request_endpoint"),
		ScopesSupported: o.Scopes("scopes_supported"), ResponseTypesSupported: o.Strings("response_types_supported"),
		ResponseModesSupported: o.Strings("response_modes_supported"), GrantTypesSupported: o.Strings("grant_types_supported"),
		TokenEndpointAuthMethodsSupported:          o.Strings("token_endpoint_auth_methods_supported"),
		TokenEndpointAuthSigningAlgValuesSupported: o.Strings("token_endpoint_auth_signing_alg_values_supported"),
		RevocationEndpointAuthMethodsSupported:     o.Strings("revocation_endpoint_auth_methods_supported"),
		CodeChallengeMethodsSupported:              o.Strings("code_challenge_methods_supported"),
		DPoPSigningAlgValuesSupported:              o.Strings("dpop_signing_alg_values_supported"),
		AuthorizationGrantProfilesSupported:        o.Strings("authorization_grant_profiles_supported"),
		RequirePushedAuthorizationRequests:         o.Bool("require_pushed_authorization_requests"),
		RequireSignedRequestObject:                 o.Bool("require_signed_request_object"),
		AuthorizationResponseIssParameterSupported: o.Bool("authorization_response_iss_parameter_supported"),
		ClientIDMetadataDocumentSupported:          o.Bool("client_id_metadata_document_supported"),
		Raw:                                        o,
	}
	if m.Issuer == "" {
		return nil, nil, errors.New("it has no issuer")
	}
	return m, repeated, nil
}

// ResourceMetadata is a protected resource's metadata (RFC 9728 section 2). A nil list means absent,
// an empty one present and empty. Texts are as the server sent them.
type ResourceMetadata struct {
	// Resource identifies the resource, unchecked; AuthorizationServers are its issuers.
	Resource             string
	AuthorizationServers []string
	// ScopesSupported: an empty list means that no scope should be asked for.
	ScopesSupported        []string
	BearerMethodsSupported []string
	ResourceName           string
	ResourceDocumentation  string
	// DPoPBoundAccessTokensRequired and DPoPSigningAlgValuesSupported are RFC 9449's.
	DPoPBoundAccessTokensRequired bool
	DPoPSigningAlgValuesSupported []string
	// Raw holds every member of the document.
	Raw map[string]json.RawMessage
}

// ParseResourceMetadata decodes a protected resource's metadata. It fails only if the document is
// not a JSON object: the caller checks its members.
func ParseResourceMetadata(b []byte) (*ResourceMetadata, error) {
	o, err := ParseObject(b)
	if err != nil {
		return nil, err
	}
	return &ResourceMetadata{
		Resource: o.String("resource"), AuthorizationServers: o.Strings("authorization_servers"), ScopesSupported: o.Scopes("scopes_supported"),
		BearerMethodsSupported: o.Strings("bearer_methods_supported"), ResourceName: o.String("resource_name"),
		ResourceDocumentation: o.String("resource_documentation"), DPoPBoundAccessTokensRequired: o.Bool("dpop_bound_access_tokens_required"),
		DPoPSigningAlgValuesSupported: o.Strings("dpop_signing_alg_values_supported"), Raw: o,
	}, nil
}
