package mcpoauth

import (
	"context"
	"time"
)

// A Prompt shows a person the authorization URL. It is called once per attempt.
//
// A nil reply means that the URL was shown; the login goes on waiting for the callback. A reply carries
// what the person pasted. An error ends the login. ctx is cancelled once the login completes some other way
// (the callback, another process) or ends; a Prompt should return then. One that does not is left behind
// after a second.
type Prompt func(ctx context.Context, p *LoginPrompt) (*LoginReply, error)

// LoginPrompt is what a [Prompt] shows.
type LoginPrompt struct {
	// URL is the authorization URL, checked and safe to open or print.
	URL string
	// UserCode is what the person enters at VerificationURL on another device, for logins with
	// [DeviceCode]; URL may contain it already. Empty for other logins.
	UserCode        string
	VerificationURL string
	// ServerURL is the MCP server that requires the login.
	ServerURL string
	// Profile is the profile that is being logged in.
	Profile string
	// Issuer is the authorization server. TokenHost is the host that will receive the code.
	Issuer    string
	TokenHost string
	// RedirectURI is where the browser will be sent back to.
	RedirectURI string
	// Scopes are the scopes requested.
	Scopes []string
	// Deadline is when the wait ends.
	Deadline time.Time
	// Check says what is wrong with a reply before the Prompt returns it, so that the person can be asked
	// again. Nil error: the reply belongs to this login.
	Check func(*LoginReply) error
}

// LoginReply is what a person gave back to a [Prompt].
type LoginReply struct {
	// RedirectURL is the URL the browser was sent to, or its query.
	RedirectURL string
}
