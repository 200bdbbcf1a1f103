// Package record holds what a client keeps in its store, and the encoding of it: logins, registrations, and
// logins that have begun.
package record

import (
	"encoding/json"
	"time"
)

// Login is a login: all that a restart needs to refresh without asking anybody. It holds secrets as
// plain strings and prints redacted. Package fmt asks no methods for the verbs %p and %w, nor of a
// value in an unexported field: there it prints the secrets.
type Login struct {
	// LoginID is a random name of this login. A refresh keeps it and another login has another, also one by the same
	// person. It is "" for logins of older versions.
	LoginID          string `json:"login_id,omitempty"`
	ServerURL        string `json:"server_url"`
	Profile          string `json:"profile,omitempty"`
	ResourceOverride string `json:"resource_override,omitempty"`
	// Resource is the resource indicator of every request of this login, "" for none.
	Resource string `json:"resource,omitempty"`
	Issuer   string `json:"issuer"`
	// IssuerSpelling is what the server calls itself, if that is not Issuer: with http where it is reached by https.
	IssuerSpelling string `json:"issuer_spelling,omitempty"`

	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	TokenType    string `json:"token_type"`
	// Expiry of the access token, the zero time if unknown; IssuedAt is when it was received. Both by
	// the local clock.
	Expiry   time.Time `json:"expiry,omitzero"`
	IssuedAt time.Time `json:"issued_at,omitzero"`
	// RefreshExpiry is when the refresh token expires unless it is used before, the zero time if never or unknown.
	RefreshExpiry time.Time `json:"refresh_expiry,omitzero"`
	// Scopes are those granted.
	Scopes          []string `json:"scopes,omitempty"`
	RequestedScopes []string `json:"requested_scopes,omitempty"`

	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string `json:"token_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint,omitempty"`
	// WithheldRevocation is the revocation endpoint of the metadata that this login does not use, because it lies on
	// another site than the token endpoint; "" if there is none. It has no query.
	WithheldRevocation   string `json:"withheld_revocation_endpoint,omitempty"`
	ServerMetadataURL    string `json:"server_metadata_url,omitempty"`
	IssParameterPromised bool   `json:"iss_parameter_promised,omitempty"`
	// PushInsisted: the server refused an authorization request that was not pushed (RFC 9126).
	PushInsisted bool `json:"push_insisted,omitempty"`

	// TokenMember and BearerType are how the server's token responses differ: the member that holds them,
	// and what they call Bearer. A refresh whose answer cannot be read costs the login.
	TokenMember string `json:"token_member,omitempty"`
	BearerType  string `json:"bearer_type,omitempty"`

	// Registration is a copy of the client that the tokens were issued to.
	Registration Registration `json:"registration"`

	// OfflineAccessOffered: the server lists the scope offline_access. ConsentPrompt: the login asked for the person's
	// consent because of it.
	OfflineAccessOffered bool `json:"offline_access_offered,omitempty"`
	ConsentPrompt        bool `json:"consent_prompt,omitempty"`

	// Grant is how the tokens were obtained, "" by the authorization code (and then the refresh token),
	// else the grant type of a machine.
	Grant string `json:"grant,omitempty"`

	// DPoPKey is the private key that the tokens are bound to, a JWK; "" if they are not (RFC 9449).
	DPoPKey string `json:"dpop_key,omitempty"`

	// Required is what the MCP server demands of the next login, nil if nothing. The zero value is a login of any
	// kind, demanded because the server rejects the access token.
	Required *Authentication `json:"wanted,omitempty"`

	// LoginRequired is why the login has ended, "" while it has not. LoginRequiredFor is a digest of the refresh
	// token and the client authentication that were refused: the login has ended only for those. "" is for all.
	LoginRequired    string    `json:"login_required,omitempty"`
	LoginRequiredFor string    `json:"login_required_for,omitempty"`
	LoginRequiredAt  time.Time `json:"login_required_at,omitzero"`
	// NoRefreshResource means that a refresh succeeded only without the resource indicator.
	NoRefreshResource bool `json:"no_refresh_resource,omitempty"`
	// LostScopes were granted by the login, and not by a refresh since. NoRefreshScope means that a refresh that named
	// them brought them back no more than one that named none.
	LostScopes     []string  `json:"lost_scopes,omitempty"`
	NoRefreshScope bool      `json:"no_refresh_scope,omitempty"`
	SavedAt        time.Time `json:"saved_at,omitzero"`

	extra map[string]json.RawMessage
}

// Authentication is how a person is to be authenticated: RFC 9470 section 4, and OpenID Connect Core 1.0
// section 5.5 for the claims, as JSON. "" is unasked.
type Authentication struct {
	ACRValues string `json:"acr_values,omitempty"`
	MaxAge    string `json:"max_age,omitempty"`
	Claims    string `json:"claims,omitempty"`
}

// Registration is a client at an authorization server. It holds secrets and prints redacted, as a
// [Login] does.
type Registration struct {
	Issuer       string `json:"issuer"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"`
	// AuthMethod is none, client_secret_basic or client_secret_post.
	AuthMethod string `json:"auth_method"`
	// ClientIDInBody: the server wants client_id in the body beside client_secret_basic.
	ClientIDInBody bool `json:"client_id_in_body,omitempty"`
	// Source is pre-registered, metadata-document, dynamic or imported.
	Source string `json:"source"`
	// RedirectURI is the one used, RedirectURIs those the server registered.
	RedirectURI  string   `json:"redirect_uri,omitempty"`
	RedirectURIs []string `json:"redirect_uris,omitempty"`
	Endpoint     string   `json:"endpoint,omitempty"`
	Scope        string   `json:"scope,omitempty"`
	// SecretExpiry is the zero time for never.
	SecretExpiry time.Time `json:"secret_expiry,omitzero"`
	CreatedAt    time.Time `json:"created_at,omitzero"`
	// AccessToken and ClientURI manage the registration (RFC 7592).
	AccessToken string `json:"registration_access_token,omitempty"`
	ClientURI   string `json:"registration_client_uri,omitempty"`
	// ConfirmedAt is when the server last showed that it knows the client, ReplacedAt when the registration replaced
	// one without being asked to. The zero time is unknown and never.
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	ReplacedAt  time.Time `json:"replaced_at,omitzero"`
	// Unreadable: the server said of the new client that there is no such registration, so it is not asked again.
	Unreadable bool `json:"unreadable,omitempty"`
	// Changed is what the server refused to register at first, and what was registered instead.
	Changed []string `json:"changed,omitempty"`
	// Unanswered: the last login with this registration waited as long as it could, and nothing came back.
	Unanswered bool `json:"unanswered,omitempty"`
	// LoginUntil is how long a login with it may be under way, the zero time if none is.
	LoginUntil time.Time `json:"login_until,omitzero"`

	extra map[string]json.RawMessage
}

// Pending is a login that has begun: the login as it will be, still without tokens, and what finishes it. It holds
// secrets and prints redacted, as a [Login] does.
type Pending struct {
	ID          string    `json:"id"`
	State       string    `json:"state"`
	Verifier    string    `json:"verifier"`
	RedirectURI string    `json:"redirect_uri"`
	CreatedAt   time.Time `json:"created_at"`
	// Nonce is that of the authorization request, "" if it was none of ours.
	Nonce string `json:"nonce,omitempty"`

	// Login is stored as members beside the others.
	Login Login `json:"-"`
}
