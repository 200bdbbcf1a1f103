package authtest

import (
	"net"
	"net/http"
	"time"
)

// TB is the part of testing.TB that [New] needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Options configure a [Server]. Nil is the zero value: strict and awkward.
type Options struct {
	// Lenient accepts what common clients do: no resource parameter, no application_type, any port of
	// a registered loopback redirect URI. Its endpoints have the usual names.
	Lenient bool
	// AccessTokenLifetime is an hour if zero.
	AccessTokenLifetime time.Duration
	// NoRotation keeps refresh tokens as they are.
	NoRotation bool
	// GraceForOldRefreshToken honours the last refresh token until the new one is used, instead of
	// revoking the login at its reuse.
	GraceForOldRefreshToken bool
	// RefreshNeedsOfflineAccess issues refresh tokens only with the scope offline_access.
	RefreshNeedsOfflineAccess bool
	// OfflineNeedsConsent ignores offline_access in requests without prompt=consent, as oidc-provider does (OpenID
	// Connect Core 1.0 section 11).
	OfflineNeedsConsent bool
	// AutoApprove answers the authorization request without a consent page.
	AutoApprove bool
	// IssuerPath makes an issuer with a path, "/tenant/one" for example.
	IssuerPath string
	// SameOrigin puts both servers on one origin.
	SameOrigin bool
	// Scopes are those it knows; nil is mcp:read, mcp:write and offline_access.
	Scopes []string
	// RequiredScopes are needed for any MCP request; nil is mcp:read.
	RequiredScopes []string
	// DPoP makes the MCP server ask for tokens that are bound to a key (RFC 9449), with ES256 and nothing
	// else, and the authorization server bind them where a client shows one.
	DPoP bool
	// SSE answers MCP requests as event streams.
	SSE bool
	// MetadataDocuments are the Client ID Metadata Documents it knows, by URL, with their redirect
	// URIs. A non-nil map announces the support.
	MetadataDocuments map[string][]string
	// Listen makes the listeners, on free ports; nil is net.Listen.
	Listen func(network, address string) (net.Listener, error)
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Client is a client registered beforehand.
type Client struct {
	// ID and Secret; a public client has none.
	ID, Secret string
	// AuthMethod is none, client_secret_basic or client_secret_post; "" chooses by Secret.
	AuthMethod string
	// RedirectURIs it may use.
	RedirectURIs []string
}

// Refusal is an OAuth error response (RFC 6749 section 5.2). A Code of "" has no body.
type Refusal struct {
	Status            int
	Code, Description string
}

// Faults are what a [Server] does wrong. The zero value is none. See [Server.Set].
type Faults struct {
	// Intercept answers requests of a leg instead of the server, if it returns true. The legs are those
	// of [Server.Count].
	Intercept map[string]func(w http.ResponseWriter, r *http.Request) bool
	// Delay waits before requests of a leg are looked at. Drop closes that many connections of a leg
	// without an answer. Fail answers a leg with this status and a page of HTML: a proxy's error page,
	// or with 200 a captive portal. All three come before any work is done; RetryAfter goes with Fail.
	Delay      map[string]time.Duration
	Drop       map[string]int
	Fail       map[string]int
	RetryAfter string

	// BareChallenge sends 401 without WWW-Authenticate; ChallengeWithoutMetadata without
	// resource_metadata; Challenge sends these header lines instead.
	BareChallenge, ChallengeWithoutMetadata bool
	Challenge                               []string
	// WantACR makes the MCP server ask for logins with this acr_values (RFC 9470), WantClaims with these
	// claims, as Microsoft does.
	WantACR, WantClaims string
	// AlwaysUnauthorized refuses every token, AlwaysNeedScope asks every request for this scope.
	AlwaysUnauthorized bool
	AlwaysNeedScope    string

	// NoResourceMetadata answers 404; ResourceMetadataAtRoot serves it at the root only.
	NoResourceMetadata, ResourceMetadataAtRoot bool
	// Resource and AuthorizationServers replace the document's members.
	Resource             string
	AuthorizationServers []string
	// ResourceScopes replaces scopes_supported there; an empty one is sent as such.
	ResourceScopes []string

	// NoServerMetadata answers 404; OnlyOpenID serves server metadata in OpenID's place only.
	NoServerMetadata, OnlyOpenID bool
	// Issuer replaces the document's issuer.
	Issuer string
	// NoPKCE does not announce PKCE, which is required all the same.
	NoPKCE bool
	// ServerMetadata changes the document before it is sent.
	ServerMetadata func(map[string]any)

	// ScopeLostOnRefresh is left out of what a refresh grants, unless the refresh names it and ScopeLostForGood is not set.
	ScopeLostOnRefresh string
	ScopeLostForGood   bool

	// NoRegistration announces no registration endpoint and has a page of HTML in its place.
	NoRegistration bool
	// RegistrationAuthMethod is forced on new clients. SecretLifetime ends their secrets.
	RegistrationAuthMethod string
	SecretLifetime         time.Duration
	// ForeignRedirectURIs are claimed to have been registered.
	ForeignRedirectURIs []string
	// RegistrationPolicy looks at the metadata of each registration and each change of one. A status that is not 0
	// refuses it with that status, error and error_description.
	RegistrationPolicy func(metadata map[string]any) (status int, code, description string)
	// RegistrationAnswer changes what is said of a client, at its registration and later, before it is sent.
	RegistrationAnswer func(map[string]any)
	// ClientScopes limits each client to the scopes that it has registered.
	ClientScopes bool

	// AuthorizeError is sent back instead of a code. WrongIssuer and NoIssuer spoil iss.
	AuthorizeError string
	WrongIssuer    string
	NoIssuer       bool

	// NonceRequired refuses authorization requests for the scope openid without a nonce.
	NonceRequired bool

	// RequirePAR accepts pushed authorization requests only. InsistOnPAR does, too, but says so in the callback alone, with
	// this description.
	RequirePAR  bool
	InsistOnPAR string
	// RequiredAuthorizeParams must come with the authorization request.
	RequiredAuthorizeParams map[string]string
	// RejectResource answers invalid_target to any resource parameter. AnyResource accepts every one,
	// and the MCP server refuses tokens that are for another.
	RejectResource, AnyResource bool

	// TokenAnswer changes a successful token response before it is sent.
	TokenAnswer func(map[string]any)
	// TokenForm sends it form-encoded, TokenStatus with another status.
	TokenForm   bool
	TokenStatus int
	// TokenDelay waits before the answer, after the work is done.
	TokenDelay time.Duration
	// DropTokenAnswers closes that many connections after the work is done, so that a client cannot know
	// that its refresh token is spent.
	DropTokenAnswers int
	// UnauthorizedInvalidGrant sends invalid_grant with 401.
	UnauthorizedInvalidGrant bool

	// NonceUses makes both servers ask for a DPoP nonce, each good for so many requests. NonceLoop takes
	// none of them. UnboundTokens ignores the key that a client shows to the authorization server.
	NonceUses     int
	NonceLoop     bool
	UnboundTokens bool

	// ClientRefusal answers a client that is not authenticated; nil is 401 invalid_client. BasicNeedsID makes client_id
	// in the body a part of client_secret_basic.
	ClientRefusal *Refusal
	BasicNeedsID  bool
	// CodeSurvivesRefusal leaves a code usable if its client was not authenticated.
	CodeSurvivesRefusal bool

	// RevocationNeedsSecretField insists on a client_secret field, which may be empty.
	RevocationNeedsSecretField bool
}
