package mcpoauth

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// Options configure a [Client]. The zero value, and a nil *Options, are usable: a public client that
// registers itself, keeps its login below [DefaultCacheDir] and never prompts. [New] copies what it is
// given; later changes have no effect. Options print without their secrets.
type Options struct {
	// Profile keeps several accounts on one server apart. Empty is the default profile. Stores that
	// several users share refuse an empty profile.
	Profile string

	// Store keeps logins and registrations. Nil is a file store in CacheDir.
	Store store.Store
	// CacheDir is the directory of the file store. Empty is [DefaultCacheDir]. It has no effect when
	// Store is set.
	CacheDir string

	// Prompt shows a person where to log in; [TerminalPrompt] is a ready-made one. If it is nil no person is asked,
	// and calls that need one fail with [ErrLoginRequired].
	Prompt Prompt
	// LoginTimeout limits a login, the wait for the person included. 0 is five minutes.
	LoginTimeout time.Duration

	// Grant is how tokens are obtained. Nil is the authorization code grant (RFC 6749 section 4.1).
	Grant Grant
	// DPoP is when tokens are bound to a key of the login (RFC 9449).
	DPoP Mode
	// PAR is when authorization requests are pushed (RFC 9126): Auto does it where the metadata requires it, or once a
	// server refuses a request that was not pushed, which the login remembers. Always needs the endpoint. Never sends
	// them by the browser, even if the metadata requires otherwise.
	PAR Mode

	// Client identifies the program at the authorization server.
	Client ClientOptions
	// Callback is where the browser is redirected to after a login.
	Callback CallbackOptions
	// Scopes adjust the scopes that are requested.
	Scopes ScopeOptions
	// Server corrects and completes the server's metadata.
	Server ServerOptions
	// Network sets how requests are sent.
	Network NetworkOptions
	// Allow permits what is refused by default because it weakens security.
	Allow Allow

	// Logger receives log records, which have no secrets. Nil logs nothing.
	Logger *slog.Logger
	// Trace receives events. Nil, and nil hooks in it, are skipped.
	Trace *Trace
}

// ClientOptions identify the program at the authorization server. A client that was registered by hand (ID) takes
// precedence over a metadata document (MetadataURL), and that over a dynamic registration, which is the zero value.
type ClientOptions struct {
	// ID and Secret are a client registered with the authorization server beforehand.
	ID     string
	Secret string
	// AuthMethod is how the client authenticates at the token endpoint. Empty chooses by the server's
	// metadata. For a dynamic registration it is the method that is registered.
	AuthMethod AuthMethod
	// Key authenticates ID instead of a secret (private_key_jwt, RFC 7523 section 2.2).
	Key *ClientKey
	// Issuer is the issuer that ID belongs to: the client is shown to no other authorization server.
	// Empty, it is the issuer of the stored login, if there is one.
	Issuer string
	// MetadataURL is the https URL of a hosted Client ID Metadata Document, used where the authorization
	// server supports those and ID is empty.
	MetadataURL string
	// Name is shown on the consent page (RFC 7591 section 2, client_name). Empty is "mcpoauth".
	Name string
	// Metadata is merged into a dynamic registration (RFC 7591 section 2), for example client_uri or
	// contacts. Members that the flow itself depends on (redirect_uris, grant_types, response_types,
	// token_endpoint_auth_method) cannot be set here.
	Metadata map[string]any
	// InitialAccessToken authorizes a dynamic registration (RFC 7591 section 3).
	InitialAccessToken string
	// SoftwareStatement is the signed statement of a dynamic registration (RFC 7591 section 2.3).
	SoftwareStatement string
}

// CallbackOptions are the parts of the loopback redirect URI (RFC 8252 section 7.3).
type CallbackOptions struct {
	// Host is the host name in the redirect URI: 127.0.0.1 (the default), localhost or ::1. The listener
	// binds loopback addresses only.
	Host string
	// Port is the port in the redirect URI. 0 uses the port of the stored registration, or a free one.
	Port int
	// Path is the path in the redirect URI. Empty is "/callback", and below it a segment of the issuer's own for a client
	// that is registered dynamically at a server that does not promise to name itself in the response (RFC 9207): so the
	// response of one server is not taken for that of another (RFC 9700 section 4.4). A server that refuses that path is
	// given "/callback".
	Path string
}

// ScopeOptions adjust the scopes of a login (RFC 6749 section 3.3).
type ScopeOptions struct {
	// Request replaces what the server asks for. Nil requests the challenge's scope, else the protected resource's
	// scopes_supported, else none; an empty, non-nil slice requests none.
	Request []string
	// Add and Drop adjust the chosen scopes, after everything else.
	Add, Drop []string
	// OfflineAccess is when offline_access is added. Auto adds it where the authorization server lists it, unless no other
	// scope is requested that the server might grant by default; a login that brought no refresh token makes the next one
	// request it in any case. Never removes it unless Request names it.
	OfflineAccess Mode
	// Separator stands between the scopes of a request. Empty is [SeparatorSpace]. Responses are read
	// with either.
	Separator ScopeSeparator
}

// ServerOptions correct and complete the server's metadata.
type ServerOptions struct {
	// Issuer pins the issuer of the authorization server. Only this one is used, even if the server's
	// metadata spells it differently or names others.
	Issuer string
	// CallbackIssuer is another value of the callback's iss parameter (RFC 9207) that is accepted beside the issuer, for a
	// server that names itself otherwise there. Empty accepts none.
	CallbackIssuer string
	// Resource replaces the resource indicator (RFC 8707) that is sent, and identifies the login together with the
	// server URL. Empty sends the one of the server's metadata.
	Resource string
	// NoResource sends no resource indicator, for authorization servers that refuse it (Microsoft Entra
	// ID does).
	NoResource bool
	// Endpoints replace those of the authorization server's metadata where they are missing or wrong. Without metadata
	// its issuer is Issuer, or the one that the server names.
	Endpoints Endpoints
	// AuthorizeParams and TokenParams are extra parameters of the authorization and token requests, as
	// some providers need them (access_type for Google, audience for Auth0). They cannot replace a
	// parameter of the protocol.
	AuthorizeParams url.Values
	TokenParams     url.Values
	// TokenMember is the member of the token response that holds the token, for servers that do not answer as RFC
	// 6749 section 5.1 says. Slack's is "authed_user", since a login there may return a token of the application
	// beside the person's. The login remembers it. Empty is the response itself.
	TokenMember string
	// IgnoreProviders ignores the built-in knowledge of some authorization servers, which docs/configuration.md
	// lists.
	IgnoreProviders bool
}

// NetworkOptions set how requests are sent.
type NetworkOptions struct {
	// HTTPClient makes the OAuth requests: discovery, registration, token, revocation. Nil is a client of
	// our own that honours the proxy environment. An *http.Transport in it is cloned and gets the address
	// check. For one that dials in a way of its own (not by a net.Dialer), and for any other RoundTripper, names and
	// addresses are checked before a request where they can be seen, as with a wrapper of an *http.Transport; its owner
	// is responsible for where it connects.
	HTTPClient *http.Client
	// RootCAs are the certificate authorities to trust. Nil is the system's.
	RootCAs *x509.CertPool
	// ClientCertificates are presented to a server that asks for one.
	ClientCertificates []tls.Certificate
	// UserAgent is sent with the OAuth requests. Empty is "mcpoauth/<version>".
	UserAgent string
	// Header is sent with every request to the server's origin, OAuth requests included, and to
	// HeaderOrigins. It never reaches another origin.
	Header http.Header
	// HeaderOrigins are further origins ("https://as.example.com") that receive Header.
	HeaderOrigins []string
}

// Allow permits what is refused by default because it weakens security: one place to audit.
type Allow struct {
	// PrivateNetwork permits addresses named by a server to be private or loopback even if the server URL
	// itself is public.
	PrivateNetwork bool
	// InsecureHTTP permits plain http for the server URL and the endpoints on any host.
	InsecureHTTP bool
	// GuessedEndpoints permits a server without any metadata to be used through /authorize, /token and
	// /register at its origin (MCP 2025-03-26).
	GuessedEndpoints bool
	// CrossOriginMetadata permits a resource_metadata URL on another origin.
	CrossOriginMetadata bool
	// MissingPKCE permits an authorization server that does not advertise S256. The challenge is sent all
	// the same.
	MissingPKCE bool
	// ForeignEndpoints permits authorization, token and registration endpoints under different
	// registrable domains.
	ForeignEndpoints bool
	// TokenType is a token_type of the server's own that is accepted as Bearer: Slack's is "user". Any
	// other unknown type is refused (RFC 6749 section 7.1). The login remembers it.
	TokenType string
}

// Endpoints are those of an authorization server (RFC 8414 section 2). Each that is set replaces the one of the metadata.
// The metadata is not requested if they are all that is needed: Authorization and Token; with [DeviceCode]
// DeviceAuthorization and Token; with a grant without a person Token alone.
type Endpoints struct {
	Authorization, Token, Registration, Revocation, DeviceAuthorization, PushedAuthorizationRequest string
}

// metadata is the metadata of a server with these endpoints, nil for the zero value.
func (e Endpoints) metadata() *wire.ServerMetadata {
	if e == (Endpoints{}) {
		return nil
	}
	return &wire.ServerMetadata{
		AuthorizationEndpoint: e.Authorization, TokenEndpoint: e.Token, RegistrationEndpoint: e.Registration,
		RevocationEndpoint: e.Revocation, DeviceAuthorizationEndpoint: e.DeviceAuthorization,
		PushedAuthorizationRequestEndpoint: e.PushedAuthorizationRequest, CodeChallengeMethodsSupported: []string{"S256"},
		Raw: map[string]json.RawMessage{"code_challenge_methods_supported": json.RawMessage(`["S256"]`)},
	}
}

// Mode is when something is done.
type Mode int

const (
	// Auto does it if the server asks for it or supports it.
	Auto Mode = iota
	// Always does it, and fails if the server does not support it.
	Always
	// Never avoids it.
	Never
)

// AuthMethod is how a client authenticates at the token endpoint (RFC 7591 section 2,
// token_endpoint_auth_method).
type AuthMethod string

// The supported methods of client authentication.
const (
	// AuthMethodNone is a public client.
	AuthMethodNone AuthMethod = "none"
	// AuthMethodBasic sends the secret by HTTP Basic authentication.
	AuthMethodBasic AuthMethod = "client_secret_basic"
	// AuthMethodPost sends the secret in the request body.
	AuthMethodPost AuthMethod = "client_secret_post"
	// AuthMethodPrivateKeyJWT sends an assertion signed with [ClientOptions.Key] (RFC 7523 section 2.2).
	AuthMethodPrivateKeyJWT AuthMethod = "private_key_jwt"
)

// ScopeSeparator stands between the scopes of a request.
type ScopeSeparator string

const (
	// SeparatorSpace is RFC 6749's, section 3.3.
	SeparatorSpace ScopeSeparator = " "
	// SeparatorComma is for servers that expect it instead.
	SeparatorComma ScopeSeparator = ","
)

// RegistrationSource is where a client comes from.
type RegistrationSource string

const (
	// SourcePreRegistered is a client registered by hand: [ClientOptions.ID].
	SourcePreRegistered RegistrationSource = "pre-registered"
	// SourceMetadataDocument is a Client ID Metadata Document: [ClientOptions.MetadataURL].
	SourceMetadataDocument RegistrationSource = "metadata-document"
	// SourceDynamic is a dynamic registration (RFC 7591).
	SourceDynamic RegistrationSource = "dynamic"
	// SourceImported is the client of an imported login: [Client.Import].
	SourceImported RegistrationSource = "imported"
)

// LoginOptions are the options of one [Client.Login]. Nil is the zero value.
type LoginOptions struct {
	// Force asks the person even if a usable login is stored.
	Force bool
	// Scopes are requested in addition to those the login already has.
	Scopes []string
	// NewClient registers a new client instead of using the stored registration. It implies Force.
	NewClient bool
}

// TokenOptions are the options of one [Client.Token]. Nil is the zero value.
type TokenOptions struct {
	// MinValidity is how long the token must stay valid at least; it is refreshed if need be. 0 is a token that is
	// valid now. If the server's lifetimes are shorter, a fresh token is returned.
	MinValidity time.Duration
}
