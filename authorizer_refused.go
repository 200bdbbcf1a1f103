package mcpoauth

import (
	"errors"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// errWantsPush means that the authorization server refused a request because it was not pushed (RFC 9126). Its
// metadata need not say so: some servers demand it of single clients.
var errWantsPush = errors.New("the authorization server takes pushed requests only")

// wantsPush reports whether an error response says that the request had to be pushed. There is no error code for it.
func wantsPush(cb grant.Callback) bool {
	text := strings.ToLower(cb.Error + " " + cb.ErrorDescription)
	if strings.Contains(text, "pushed authorization") || strings.Contains(text, "pushed request") {
		return true
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' })
	return cb.Error != "invalid_request_uri" && (slices.Contains(words, "request_uri") || slices.Contains(words, "par"))
}

// authorizationRefusal is an error response of the authorization endpoint (RFC 6749 section 4.1.2.1), or of one of the
// endpoints where a request begins that a person decides on (RFC 9126, RFC 8628).
type authorizationRefusal struct {
	set *settings
	rec *record.Login
	// redirectURI is that of the request, "" if it had none.
	redirectURI       string
	code, description string
}

// err returns the error for a refusal that came in a callback.
func (r authorizationRefusal) err() error {
	e := &Error{Op: OpAuthorization, URL: r.rec.Issuer, Code: r.code, Description: r.description, Message: "the authorization server refused", Hint: r.hint()}
	switch r.code {
	case "access_denied", "authorization_declined":
		e.Message, e.Err = "access was denied at the authorization server", ErrAccessDenied
	case "temporarily_unavailable", "server_error":
		return &TemporaryError{Err: e}
	}
	if wantsPush(grant.Callback{Error: r.code, ErrorDescription: r.description}) {
		e.Err = errWantsPush
	}
	return e
}

// explain adds the hint to a fault of an endpoint that has none of its own.
func (r authorizationRefusal) explain(err error) error {
	f := faultOf(err)
	if r.code, r.description = f.Code, f.Description; f.Code != "" && f.Hint == "" {
		f.Hint = r.hint()
	}
	return publicError(f)
}

// hint returns what to do about the refusal: which setting helps, or who has to change something.
func (r authorizationRefusal) hint() string {
	switch r.code {
	case "access_denied", "authorization_declined":
		return r.deniedHint()
	case "temporarily_unavailable", "server_error":
		return "the authorization server is in trouble: try again later, or show its owner this message"
	case "invalid_scope":
		registered := strings.Fields(r.rec.Registration.Scope)
		if lost := missing(append(registered, offlineAccess), r.rec.RequestedScopes); len(registered) > 0 && len(lost) > 0 && RegistrationSource(r.rec.Registration.Source) == SourceDynamic {
			return "the server registered this client without " + wire.Clean(strings.Join(lost, " ")) + ": its owner has to allow that to clients that register themselves, or it is left out with --drop-scope (Options.Scopes.Drop)"
		}
		hint := "choose the scopes with --scope (Options.Scopes.Request), or leave one out with --drop-scope (Options.Scopes.Drop)"
		if slices.Contains(r.rec.RequestedScopes, offlineAccess) && !slices.Contains(r.set.scopes.Request, offlineAccess) {
			hint += "; --offline-access never (Options.Scopes.OfflineAccess) leaves offline_access out, which the server lists"
		}
		return hint
	case "invalid_target":
		return "the server does not accept the resource indicator: try --no-resource (Options.Server.NoResource) or --resource (Options.Server.Resource)"
	case "unauthorized_client", "invalid_client", "invalid_client_id", "unknown_client":
		if RegistrationSource(r.rec.Registration.Source) == SourcePreRegistered {
			return "check --client-id (Options.Client.ID); if it is right, the server's owner has to allow this client to log in by " + r.way()
		}
		return "the server does not know this client, or does not allow it this: run login with --new-client (LoginOptions.NewClient)"
	case "consent_required", "interaction_required", "admin_consent_required":
		return "the account cannot consent by itself: ask an administrator of the server's organization to approve this client; if that was done, --auth-param prompt= (Options.Server.AuthorizeParams) asks for no further consent"
	case "login_required", "account_selection_required", "unmet_authentication_requirements":
		return "the server does not accept the account that the browser is logged in with: use another one, for example in a private window with --no-browser; --auth-param prompt=select_account (Options.Server.AuthorizeParams) asks which"
	case "unsupported_response_type", "unsupported_response_mode":
		return "the server's owner has to allow this client the response type code (RFC 6749 section 4.1)"
	case "expired_token":
		return "run the login again and enter the code in time"
	}
	return r.hintByText()
}

// deniedHint returns what to do where access was denied. Servers send this code for refusals of their own, too.
func (r authorizationRefusal) deniedHint() string {
	text := strings.ToLower(r.description)
	byPerson := func(word string) bool { return strings.Contains(text, word) }
	if text == "" || slices.ContainsFunc([]string{"denied", "deny", "declin", "cancel", "reject", "said no", "user", "owner", "consent"}, byPerson) {
		return "run the login again and allow the access"
	}
	hint := "if nobody denied it, the server refuses by itself: its owner has to allow the access to this account and client"
	if len(r.rec.RequestedScopes) == 0 {
		hint = "if nobody denied it, there may be nothing to allow: name the scopes with --scope (Options.Scopes.Request), or ask the server's owner to allow the access to this account and client"
	}
	return hint
}

// way is how the login is made, for a hint.
func (r authorizationRefusal) way() string {
	if r.set.device() {
		return "a device code (RFC 8628)"
	}
	return "an authorization code"
}

// hintByText returns what to do where the error code alone does not say it.
func (r authorizationRefusal) hintByText() string {
	text := strings.ToLower(r.code + " " + r.description)
	switch {
	case wantsPush(grant.Callback{Error: r.code, ErrorDescription: r.description}):
		if r.set.par == Never {
			return "the server takes pushed authorization requests only (RFC 9126): leave --par never out (Options.PAR)"
		}
		return "the server takes pushed authorization requests only (RFC 9126): --par always (Options.PAR) pushes them"
	case strings.Contains(text, "redirect") && r.redirectURI != "":
		return redirectHint(r.description, r.redirectURI)
	case strings.Contains(text, "dpop"):
		return "the server wants tokens that are bound to a key: --dpop always (Options.DPoP)"
	case strings.Contains(text, "scope"):
		return "choose the scopes with --scope (Options.Scopes.Request), or leave one out with --drop-scope (Options.Scopes.Drop)"
	case strings.Contains(text, "resource") || strings.Contains(text, "audience"):
		return "the server does not accept the resource indicator, or wants another parameter for it: --no-resource (Options.Server.NoResource), --resource (Options.Server.Resource), or --auth-param audience=… (Options.Server.AuthorizeParams)"
	case r.code == "invalid_request":
		return "the server's description says which parameter it does not accept or misses; --auth-param NAME=VALUE (Options.Server.AuthorizeParams) adds one"
	}
	return "the error code " + wire.CleanN(r.code, 64) + " is the server's own: its owner knows what it asks of this client or account; --auth-param NAME=VALUE (Options.Server.AuthorizeParams) adds a parameter if one is missing"
}
