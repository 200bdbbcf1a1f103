package grant

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// reserved are the parameters that extra ones cannot set.
var reserved = []string{
	"grant_type", "code", "redirect_uri", "client_id", "client_secret", "code_verifier", "refresh_token", "scope", "resource", "state",
	"client_assertion", "client_assertion_type", "assertion", "response_type", "dpop_jkt", "code_challenge", "code_challenge_method", "request_uri", "request", "token", "token_type_hint",
}

// Reserved reports whether a parameter is one of the protocol, which extra parameters cannot set.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

func addExtra(form, extra url.Values) {
	for k, v := range extra {
		if !slices.Contains(reserved, k) {
			form[k] = slices.Clone(v)
		}
	}
}

// TokenResponseFormat says how a server's token responses differ from RFC 6749 section 5.1. The zero
// value means that they do not.
type TokenResponseFormat struct {
	// Member is the member of the response that holds the token response; BearerType is the token_type
	// that stands for Bearer.
	Member, BearerType string
}

// CodeRequest exchanges an authorization code (RFC 6749 section 4.1.3, RFC 7636, RFC 8707).
type CodeRequest struct {
	Endpoint              string
	Auth                  ClientAuth
	Code, Verifier        secret.String
	RedirectURI, Resource string
	Extra                 url.Values
	Format                TokenResponseFormat
}

// ExchangeCode exchanges a code and returns the token and the client authentication that counts. Only a client that was
// not authenticated presents the code again, in another way. The error is a *wire.Fault.
func ExchangeCode(ctx context.Context, c *netguard.Client, r CodeRequest) (*wire.Token, ClientAuth, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {r.Code.Reveal()}, "code_verifier": {r.Verifier.Reveal()}, "redirect_uri": {r.RedirectURI}}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	addExtra(form, r.Extra)
	tok, auth, err := call{client: c, leg: "token", endpoint: r.Endpoint, auth: r.Auth, form: form, format: r.Format}.token(ctx)
	if f, ok := errors.AsType[*wire.Fault](err); ok && f.Code == "invalid_grant" && auth.Method != r.Auth.Method {
		f.Hint = "the server accepts the client's secret as " + auth.Method + " only, and the code was spent by the first request: log in with --client-auth-method " + auth.Method + " (Options.Client.AuthMethod)"
	}
	return tok, auth, err
}

// RefreshRequest refreshes a token (RFC 6749 section 6, RFC 8707).
type RefreshRequest struct {
	Endpoint     string
	Auth         ClientAuth
	RefreshToken secret.String
	Resource     string
	// Scopes are those to refresh for, none for all that were granted (RFC 6749 section 6).
	Scopes []string
	// ScopeSeparator is as in an AuthorizationRequest.
	ScopeSeparator string
	Extra          url.Values
	Format         TokenResponseFormat
}

// Refresh presents a refresh token and returns the token and the client authentication that counts. Only a client that
// was not authenticated presents the refresh token again, in another way: the server has not used it then. The error is
// a *wire.Fault.
func Refresh(ctx context.Context, c *netguard.Client, r RefreshRequest) (*wire.Token, ClientAuth, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.RefreshToken.Reveal()}}
	if len(r.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Scopes, cmp.Or(r.ScopeSeparator, " ")))
	}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	addExtra(form, r.Extra)
	return call{client: c, leg: "refresh", endpoint: r.Endpoint, auth: r.Auth, form: form, format: r.Format}.token(ctx)
}

// explain says in words what an error code means, and what to do about it.
func explain(f *wire.Fault, form url.Values) *wire.Fault {
	what, hint := "the authorization code", "log in again; a code is good for a few minutes and for one use"
	if form.Get("grant_type") == "refresh_token" {
		what, hint = "the refresh token", "log in again"
	}
	if notAuthenticated(f) {
		return f // negotiate explains it
	}
	switch f.Code {
	case "":
		return f
	case "invalid_grant":
		f.Message = "the server does not accept " + what
	case "unauthorized_client":
		f.Message = "the server does not allow this client the grant " + form.Get("grant_type")
		hint = "ask its owner to allow it, or register anew with login --new-client (LoginOptions.NewClient)"
	default:
		hint = codeHint(f.Code)
		if f.Message == "the server refused" {
			f.Message = "the token endpoint refused"
		}
	}
	f.Hint = cmp.Or(f.Hint, hint)
	return f
}

// codeHint says what to do about an error code that is not about the grant or the client.
func codeHint(code string) string {
	switch code {
	case "authorization_pending", "slow_down", "expired_token", "temporarily_unavailable", "server_error", "use_dpop_nonce":
		return "" // these are part of a flow, or pass
	case "invalid_request":
		return "the server's description says which parameter it does not accept or misses; --token-param (Options.Server.TokenParams) adds one"
	case "invalid_scope", "insufficient_scope":
		return "ask for other scopes with --scope (Options.Scopes.Request)"
	case "unsupported_grant_type":
		return "the server does not support this grant: ask its owner to allow it"
	case "access_denied":
		return "a person or a policy of the server denied the access: ask its owner"
	case "login_required", "interaction_required", "consent_required", "account_selection_required", "mfa_required":
		return "the server wants to ask the person: log in again"
	}
	return "this error code is the server's own: its documentation or its owner can say what it means"
}
