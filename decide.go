package mcpoauth

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

// refusal is a 401 or 403, and what is known when it arrives.
type refusal struct {
	status    int
	challenge *challenge
	// sent is the token that was refused, nil if none was sent.
	sent *session
	// stored is the login that the store has now, nil if none can be used or renewed; reason says why not.
	stored *session
	reason string
	// obtained means that sent was obtained in answer to an earlier refusal of the same request.
	obtained bool
	// redirect means that the response was a redirect to where the token must not go, a login page perhaps.
	redirect bool
	// inSession means that the request was part of an MCP session.
	inSession bool
	now       time.Time
}

// abilities are what the Client may do about a refusal.
type abilities struct {
	server, profile string
	// person means that a person can be asked to log in.
	person bool
	// nonInteractive means that tokens are obtained without a person at the authorization server; provider, that they
	// need a person's login at an identity provider.
	nonInteractive, provider bool
	// bind means that tokens may be bound to a key.
	bind bool
	// fixedClient means that the client was registered by hand, so that no login replaces it.
	fixedClient bool
	// cooling is how long to wait because the server rejects every token.
	cooling time.Duration
}

type actionKind int

const (
	// passThrough hands the response to the caller.
	passThrough actionKind = iota
	// fail ends the request with an error.
	fail
	// useStored sends the stored token.
	useStored
	// renewToken obtains a token without a person, and asks a person if that fails.
	renewToken
	// logIn asks a person.
	logIn
	// suspectServer finds out why a token that was just issued is refused.
	suspectServer
)

// action is what follows a refusal.
type action struct {
	kind  actionKind
	err   error
	token tokenRequest
	login loginRequest
	// once names what may be tried once only; exhausted is the error if it was tried already.
	once      string
	exhausted error
	// require is recorded as a demand on the next login, nil if there is none.
	require *record.Authentication
	// ifOffered means that the response is the caller's if the server turns out to offer no OAuth.
	ifOffered bool
}

// justIssued is how old a token is at most that a server must know.
const justIssued = 10 * time.Second

// decide is the policy for refusals (MCP authorization, error handling; RFC 6750 section 3.1, RFC 9470). It does no I/O.
func decide(r refusal, can abilities) action {
	switch {
	case r.final(), r.redirect && (r.obtained || can.cooling > 0):
		return action{kind: passThrough}
	case r.challenge.required != nil && r.sent != nil:
		return r.authenticateAgain(can)
	case r.scopes() && r.sent != nil:
		return r.stepUp(can)
	case r.sent == nil:
		return r.loginFor(can, r.reason)
	case r.elsewhere():
		return action{kind: useStored}
	case r.inSession && !r.redirect && !r.obtained && r.now.Sub(r.sent.issuedAt) < justIssued:
		// The token is good: what the server does not know is the session.
		return action{kind: fail, err: rejectedNew(can.server, r.status, r.challenge)}
	case r.obtained:
		return action{kind: suspectServer}
	case can.cooling > 0:
		return action{kind: fail, err: coolingError(can)}
	case r.challenge.dpop && r.sent.binding == nil && can.bind:
		if can.nonInteractive {
			return action{kind: renewToken, token: tokenRequest{rejected: r.sent.access(), challenge: r.challenge}}
		}
		return r.loginFor(can, "the server demands tokens that are bound to a key (DPoP)")
	}
	return action{kind: renewToken, token: tokenRequest{rejected: r.sent.access()}}
}

// final reports whether a refusal is not about the token: a 403 that demands neither scopes nor another login, while the
// token is valid.
func (r refusal) final() bool {
	if r.status != http.StatusForbidden || r.scopes() || r.challenge.required != nil && r.sent != nil {
		return false
	}
	return r.sent == nil || r.sent.token.expiry.IsZero() || r.now.Before(r.sent.token.expiry)
}

// scopes reports whether the server demands further scopes.
func (r refusal) scopes() bool {
	return r.status == http.StatusForbidden && r.challenge.code == "insufficient_scope"
}

// elsewhere reports whether another caller or process has obtained a token since.
func (r refusal) elsewhere() bool {
	return r.stored.usable(r.now) && r.stored.access() != r.sent.access()
}

// loginFor asks a person, or fails because a login is required.
func (r refusal) loginFor(can abilities, reason string) action {
	rejected := r.sent.access()
	a := action{kind: logIn, ifOffered: !r.challenge.bearer && rejected == "", login: loginRequest{rejected: rejected, known: rejected, challenge: r.challenge}}
	required := &LoginRequiredError{ServerURL: can.server, Profile: can.profile, Reason: reason}
	switch {
	case !can.person:
		a.kind, a.err = fail, required
		if rejected != "" && !can.nonInteractive && (r.stored == nil || r.stored.required == nil) {
			// The token may not expire for a long time: the next login must not reuse it.
			a.require = noRequirement
		}
	case can.cooling > 0:
		a.kind, a.err = fail, coolingError(can)
	}
	return a
}

// authenticateAgain logs in as the server demands of the person (RFC 9470 section 4): a refresh cannot satisfy that.
// Without a person the demand is recorded for the next login.
func (r refusal) authenticateAgain(can abilities) action {
	required, e := r.challenge.required, Error{Op: OpAuthorization, URL: can.server, Code: r.challenge.code, Description: r.challenge.description}
	switch {
	case can.nonInteractive && !can.provider:
		e.Message, e.Err, e.Hint = "the server demands a person's login, and this login has none", ErrAccessDenied, "ask its owner to allow this client without"
		return action{kind: fail, err: &e}
	case r.elsewhere():
		return action{kind: useStored}
	case !can.person:
		reason := "the server demands a login " + describe(required)
		return action{kind: fail, require: required, err: &LoginRequiredError{ServerURL: can.server, Profile: can.profile, Reason: reason}}
	}
	e.Message = "the server still demands a login " + describe(required) + ", after one"
	e.Hint = "the authorization server may not be able to give it: ask the server's owner which account or second factor it expects"
	return action{
		kind: logIn, login: loginRequest{rejected: r.sent.access(), known: r.sent.access(), challenge: r.challenge},
		once: "login " + describe(required) + required.Claims, exhausted: &e,
	}
}

// stepUp obtains the scopes that a 403 demands (MCP authorization, step-up authorization flow). A refresh returns the
// same scopes, unless one before has lost some that the login had.
func (r refusal) stepUp(can abilities) action {
	demanded, rejected := r.challenge.scopes, r.sent.access()
	switch {
	case r.elsewhere() && covers(r.stored.token.scopes, demanded):
		return action{kind: useStored}
	case len(common(demanded, r.sent.lost)) > 0 && covers(slices.Concat(r.sent.token.scopes, r.sent.lost), demanded) && r.sent.renewable():
		return action{
			kind: renewToken, token: tokenRequest{rejected: rejected, scopes: demanded},
			once: "refresh for " + strings.Join(slices.Sorted(slices.Values(demanded)), " "), exhausted: &ScopeError{ServerURL: can.server, Missing: demanded},
		}
	case !can.person && !can.nonInteractive:
		return action{kind: fail, err: &ScopeError{ServerURL: can.server, Missing: missing(r.sent.token.scopes, demanded)}}
	}
	a := action{
		kind: logIn, login: loginRequest{scopes: demanded, rejected: rejected, known: rejected, challenge: r.challenge},
		once: cmp.Or(strings.Join(slices.Sorted(slices.Values(demanded)), " "), unnamedScopes), exhausted: &ScopeError{ServerURL: can.server, Missing: demanded, Asked: true},
	}
	if can.nonInteractive {
		a.kind, a.token = renewToken, tokenRequest{rejected: rejected, scopes: demanded, challenge: r.challenge}
	}
	return a
}

// unnamedScopes counts the logins for a demand that names no scopes. No scope has a space.
const unnamedScopes = "unnamed scopes"

// afterRenewal decides what follows a renewal that found that a login is required.
func (r refusal) afterRenewal(can abilities, required *LoginRequiredError) action {
	reason := required.Reason
	if s := r.sent; s.ended == "" && !s.refreshToken && s.grant == "" {
		reason = "the server no longer accepts the access token, and there is no refresh token"
	}
	if e, ok := errors.AsType[*Error](required.Err); ok && can.fixedClient && (e.Code == "invalid_client" || e.Code == "unauthorized_client") {
		return action{kind: fail, err: required} // a person could not change that either
	}
	a := r.loginFor(can, reason)
	if a.kind == fail && a.require == nil {
		a.err = required
	}
	return a
}

// noRequirement demands a login of any kind. It is never modified.
var noRequirement = &record.Authentication{}

func coolingError(can abilities) error {
	return &TemporaryError{RetryAfter: can.cooling, Err: &Error{
		Op: OpToken, URL: can.server, Err: ErrTokenRejected, Message: "the MCP server rejects every access token, new ones too",
		Hint: "the server is at fault: ask its owner which audience and scopes it expects",
	}}
}

// rejectedNew is the error of a server that refuses a token that was just issued for it.
func rejectedNew(server string, status int, c *challenge) error {
	return &Error{
		Op: OpToken, URL: server, Status: status, Code: c.code, Description: c.description, Err: ErrTokenRejected,
		Message: "the MCP server refuses an access token that was just issued for it",
		Hint:    "the server is at fault, or the token is for another resource: compare --resource / --no-resource (Options.Server.Resource, Options.Server.NoResource) and the scopes with what its owner expects",
	}
}
