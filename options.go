package mcpoauth

import (
	"context"
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

// Options configure a [Client]. The zero value, and a nil *Options, are usable: a public
// client that registers itself, keeps its login below [DefaultCacheDir] and never prompts.
// [New] copies what it is given; later changes have no effect.
type Options struct {
	// Profile keeps several accounts on one server apart. Empty is the default profile.
	// Stores shared between users refuse an empty profile.
	Profile string

	// Store keeps logins and registrations. Nil is a file store in CacheDir.
	Store store.Store
	// CacheDir is the directory of the file store. Empty is [DefaultCacheDir]. It has no
	// effect when Store is set.
	CacheDir string

	// Scopes replaces what the server asks for. Nil takes the challenge's scope, then the
	// protected resource's scopes_supported, then none; an empty, non-nil slice sends none.
	Scopes []string
	// AddScopes and DropScopes adjust the chosen scopes, after everything else.
	AddScopes  []string
	DropScopes []string
	// ScopeSeparator stands between the scopes of a request: " " or ",". Empty is the space of RFC 6749 section
	// 3.3. Answers are read with either.
	ScopeSeparator string
	// OfflineAccess says when offline_access is added to the scopes.
	OfflineAccess OfflineAccess

	// ClientName is shown on the consent page (RFC 7591 section 2, client_name).
	// Empty is "mcpoauth".
	ClientName string
	// ClientMetadata is merged into a dynamic registration (RFC 7591 section 2), for example
	// client_uri or contacts. Members the flow itself depends on (redirect_uris, grant_types,
	// response_types, token_endpoint_auth_method) cannot be set here.
	ClientMetadata map[string]any
	// ClientID and ClientSecret are a client registered with the authorization server
	// beforehand. They win over every other kind of registration.
	ClientID     string
	ClientSecret string
	// ClientAuthMethod is the pre-registered client's way to authenticate at the token
	// endpoint: none, client_secret_basic, client_secret_post or private_key_jwt. Empty chooses by the server's
	// metadata.
	ClientAuthMethod string
	// ClientKey authenticates ClientID instead of a secret (private_key_jwt, RFC 7523 section 2.2).
	ClientKey *ClientKey
	// Grant is another way to obtain tokens. Nil is the authorization code grant.
	Grant Grant
	// DPoP says when tokens are bound to a key of the login.
	DPoP DPoPMode
	// ClientIssuer is the issuer that ClientID belongs to: the client is shown to no other authorization
	// server. Empty, that is the issuer of the login that is stored, if there is one.
	ClientIssuer string
	// ClientMetadataURL is the https URL of a hosted Client ID Metadata Document, used where the
	// authorization server supports those and no ClientID is set.
	ClientMetadataURL string
	// InitialAccessToken authorizes a dynamic registration (RFC 7591 section 3).
	InitialAccessToken string
	// SoftwareStatement is the signed statement of a dynamic registration (RFC 7591 section 2.3).
	SoftwareStatement string

	// CallbackHost is the host name in the redirect URI: 127.0.0.1 (the default), localhost
	// or ::1. The listener binds loopback addresses only.
	CallbackHost string
	// CallbackPort is the port in the redirect URI. 0 takes the port of the stored
	// registration, or a free one.
	CallbackPort int
	// CallbackPath is the path in the redirect URI. Empty is "/callback".
	CallbackPath string
	// LoginTimeout bounds the wait for the person at the browser. 0 is five minutes.
	LoginTimeout time.Duration

	// Resource replaces the resource indicator (RFC 8707) that is sent, and identifies the
	// login together with the server URL. Empty sends what the server's metadata says.
	Resource string
	// NoResource sends no resource indicator, for authorization servers that refuse it
	// (Microsoft Entra ID does).
	NoResource bool
	// AuthServer pins the issuer of the authorization server. Only this one is used, even if
	// the server's metadata spells it differently or names others.
	AuthServer string

	// Endpoints are the authorization server's, for one whose metadata is missing or wrong; AuthServer is its
	// issuer then, or whatever the server names. The zero value asks for the metadata.
	Endpoints Endpoints
	// IgnoreProviders leaves out what is known of some authorization servers beyond their metadata:
	// docs/configuration.md lists it.
	IgnoreProviders bool

	// Header is sent with every request to the server's origin, OAuth requests included, and to
	// HeaderOrigins. It never reaches another origin.
	Header http.Header
	// HeaderOrigins are further origins ("https://as.example.com") that receive Header.
	HeaderOrigins []string
	// AuthorizeParams and TokenParams are extra parameters of the authorization and token
	// requests, as some providers need them (access_type for Google, audience for Auth0). They
	// cannot replace a parameter of the protocol.
	AuthorizeParams url.Values
	TokenParams     url.Values

	// TokenMember is the member of the token response that holds the token, for servers that do not answer
	// as RFC 6749 section 5.1 says. Slack's is "authed_user", since a login there may give a token of the
	// application besides the person's. The login remembers it. Empty is the response itself.
	TokenMember string

	// HTTPClient makes the OAuth requests: discovery, registration, token, revocation. Nil is a
	// client of our own that honours the proxy environment. An *http.Transport in it is cloned and
	// gets the address check; one that dials in a way of its own (not by a net.Dialer), and any other
	// RoundTripper, keeps its egress to its owner.
	HTTPClient *http.Client
	// RootCAs are the certificate authorities to trust. Nil is the system's.
	RootCAs *x509.CertPool
	// ClientCertificates are presented where a server asks for one.
	ClientCertificates []tls.Certificate
	// UserAgent is sent with the OAuth requests. Empty is "mcpoauth/<version>".
	UserAgent string

	// Prompt shows a person where to log in. Nil: never interactive, and what would need a
	// person fails with [ErrLoginRequired]. See [BrowserPrompt], [PastePrompt] and [AnyPrompt].
	Prompt Prompt

	// Logger receives what happens, without secrets. Nil is silent.
	Logger *slog.Logger
	// Trace receives events. Nil fields are skipped.
	Trace *Trace

	// AllowPrivateNetwork lets addresses that a server names be private or loopback even if the
	// server URL itself is public.
	AllowPrivateNetwork bool
	// AllowInsecureHTTP lets the server URL and the endpoints be plain http on any host.
	AllowInsecureHTTP bool
	// AllowGuessedEndpoints lets a server without any metadata be used through /authorize,
	// /token and /register at its origin (MCP 2025-03-26).
	AllowGuessedEndpoints bool
	// AllowCrossOriginMetadata follows a resource_metadata URL on another origin.
	AllowCrossOriginMetadata bool
	// AllowMissingPKCE uses an authorization server that does not advertise S256. The challenge is
	// sent all the same.
	AllowMissingPKCE bool
	// AllowForeignEndpoints lets authorization, token and registration endpoint live under
	// different registrable domains.
	AllowForeignEndpoints bool
	// AllowTokenType is a token_type of the server's own that is taken for Bearer: Slack's is "user". Any
	// other type that is not known is refused (RFC 6749 section 7.1). The login remembers it.
	AllowTokenType string
}

// Endpoints are those of an authorization server (RFC 8414 section 2). Authorization and Token are needed, for
// a machine Token alone.
type Endpoints struct {
	Authorization, Token, Registration, Revocation, DeviceAuthorization string
}

// metadata is what a server with these endpoints would say of itself, nil for the zero value.
func (e Endpoints) metadata() *wire.ServerMetadata {
	if e == (Endpoints{}) {
		return nil
	}
	return &wire.ServerMetadata{
		AuthorizationEndpoint: e.Authorization, TokenEndpoint: e.Token, RegistrationEndpoint: e.Registration,
		RevocationEndpoint: e.Revocation, DeviceAuthorizationEndpoint: e.DeviceAuthorization, CodeChallengeMethodsSupported: []string{"S256"},
		Raw: map[string]json.RawMessage{"code_challenge_methods_supported": json.RawMessage(`["S256"]`)},
	}
}

// OfflineAccess says when the scope offline_access is requested.
type OfflineAccess int

const (
	// OfflineAuto requests it where the authorization server's scopes_supported lists it.
	OfflineAuto OfflineAccess = iota
	// OfflineAlways requests it always.
	OfflineAlways
	// OfflineNever leaves it out unless Scopes names it.
	OfflineNever
)

// LoginOptions are the options of one [Client.Login]. Nil is the zero value.
type LoginOptions struct {
	// Force logs in even if a usable login is stored.
	Force bool
	// Scopes are requested in addition to those the login already has.
	Scopes []string
	// NewClient registers a new client instead of using the stored registration.
	NewClient bool
}

// TokenOptions are the options of one [Client.Token]. Nil is the zero value.
type TokenOptions struct {
	// MinValidity asks for a token that stays valid at least this long, refreshing if need be.
	// A token whose lifetime is shorter is returned fresh.
	MinValidity time.Duration
}

// A Prompt shows a person the authorization URL. It is called once per attempt.
//
// A nil reply means that the URL was shown; the login goes on waiting for the callback. A reply
// carries what the person pasted. An error ends the login. ctx ends when the login was settled
// by another road, and a Prompt must return then.
type Prompt func(ctx context.Context, p *LoginPrompt) (*LoginReply, error)

// LoginPrompt is what a [Prompt] shows.
type LoginPrompt struct {
	// URL is the authorization URL, checked and safe to open or print.
	URL string
	// UserCode is what the person enters at VerificationURL on another device, for logins with [DeviceCode];
	// URL may have it in it already. Empty for other logins.
	UserCode        string
	VerificationURL string
	// ServerURL is the MCP server that asks for the login.
	ServerURL string
	// Profile is the profile that is being logged in.
	Profile string
	// Issuer is the authorization server. TokenHost is the host that will receive the code.
	Issuer    string
	TokenHost string
	// RedirectURI is where the browser will be sent back to.
	RedirectURI string
	// Scopes are the scopes asked for.
	Scopes []string
	// Deadline is when the wait ends.
	Deadline time.Time
	// Check says what is wrong with a reply before the Prompt returns it, so that the person can
	// be asked again. Nil error: the reply belongs to this login.
	Check func(*LoginReply) error
}

// LoginReply is what a person gave back to a [Prompt].
type LoginReply struct {
	// RedirectURL is the URL the browser was sent to, or its query.
	RedirectURL string
}

// Trace holds hooks in the manner of net/http/httptrace. They are called synchronously, from any
// goroutine, and must not block or call back into the Client. No event carries a secret.
type Trace struct {
	// Exchange is called after every HTTP exchange, OAuth and MCP alike.
	Exchange func(Exchange)
	// Waiting is called when a call starts to wait for something that may take long.
	Waiting func(Waiting)
	// LoggedIn is called after a login was saved.
	LoggedIn func(LoginEvent)
	// Refreshed is called after a refresh, err being nil when it succeeded.
	Refreshed func(ev LoginEvent, err error)
	// LoginRequired is called when a stored login was found to have ended.
	LoginRequired func(ev LoginEvent, reason string)
	// SaveFailed is called when a token could not be saved. The token is used and the save is
	// tried again.
	SaveFailed func(ev LoginEvent, err error)
	// Note is called with remarks on what the server does differently from its specification.
	Note func(text string)
}

// Exchange is one HTTP exchange.
type Exchange struct {
	// Leg is what it was for: "challenge", "resource-metadata", "server-metadata",
	// "registration", "par", "token", "refresh", "revocation", "client-deletion" or "mcp".
	Leg string
	// Method and URL of the request. The URL has no query.
	Method, URL string
	// Status is the response's, 0 without one.
	Status int
	// Err is why there was no response.
	Err error
	// Start and Duration say when and how long.
	Start    time.Time
	Duration time.Duration
	// Note says more where there is more to say.
	Note string
}

// Waiting says what a call waits for.
type Waiting struct {
	// For is "login" (the person), "login-elsewhere" (another process logs in) or
	// "refresh-elsewhere" (another process refreshes).
	For string
	// Deadline is when the wait ends; the zero time if it has no limit of its own.
	Deadline time.Time
}

// LoginEvent identifies a login and, where there is one, its token's expiry.
type LoginEvent struct {
	// ServerURL and Profile identify the login.
	ServerURL, Profile string
	// Issuer is its authorization server.
	Issuer string
	// Expiry is when the access token ends; the zero time is unknown.
	Expiry time.Time
	// Scopes are those granted.
	Scopes []string
}
