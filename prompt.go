package mcpoauth

import (
	"context"
	"time"
)

// A Prompt shows a person the authorization URL. It is called once per attempt.
//
// A nil reply means that the URL was shown; the login goes on waiting for the callback. A reply carries what the
// person pasted. An error ends the login. ctx is cancelled once the login completes some other way (the callback,
// another process) or ends; a Prompt should return then. The login does not wait for one that does not for more than
// a second.
type Prompt func(ctx context.Context, p *LoginPrompt) (*LoginReply, error)

// LoginPrompt is what a [Prompt] shows.
type LoginPrompt struct {
	// URL is the authorization URL, checked and safe to open or print.
	URL string
	// UserCode is what the person enters at VerificationURL on another device, for logins with [DeviceCode]; URL may
	// contain the code already. Both are empty for other logins.
	UserCode        string
	VerificationURL string
	// ServerURL is the server that the login is for.
	ServerURL string
	// Profile is the profile that is being logged in.
	Profile string
	// Issuer is the authorization server. TokenHost is the host that will receive the code.
	Issuer    string
	TokenHost string
	// RedirectURI is where the authorization server redirects the browser to, empty with [DeviceCode].
	RedirectURI string
	// Scopes are those requested.
	Scopes []string
	// StepUp are those of Scopes that are asked for beyond what the login had: a request needs them, or
	// [LoginOptions.Scopes] names them. Unpublished are those of StepUp that neither the metadata of the server and its
	// authorization server, nor the options, nor the login before name. A Prompt that opens a browser without being
	// asked to can refuse them with [ErrAccessDenied]. Unpublished is empty where no metadata lists scopes.
	StepUp      []string
	Unpublished []string
	// Deadline is when the wait ends.
	Deadline time.Time
	// Check returns why a reply cannot be used, nil if it belongs to this login. A Prompt can ask the person again
	// before it returns.
	Check func(*LoginReply) error
}

// LoginReply is what a person entered at a [Prompt].
type LoginReply struct {
	// RedirectURL is the URL that the browser was redirected to, or its query.
	RedirectURL string
}
