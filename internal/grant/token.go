package grant

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Ways of client authentication (RFC 7591 section 2).
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
)

// ClientAuth is a client and its way to authenticate. One way is used, never two (RFC 6749 section
// 2.3), and it is known before anything is sent.
type ClientAuth struct {
	ID     string
	Secret secret.String
	// Method is none, client_secret_basic, client_secret_post or private_key_jwt.
	Method string
	// Signer and Audience are for private_key_jwt. The audience is the issuer, or the token endpoint
	// where a server insists on that.
	Signer   *Signer
	Audience string
	// Prover proves the possession of the key that tokens are bound to (RFC 9449). Nil: they are not bound.
	Prover *dpop.Prover
}

func (a ClientAuth) apply(form url.Values, h http.Header) error {
	switch a.Method {
	case methodAssertion:
		if a.Signer == nil {
			return errNoAssertion
		}
		assertion, err := a.Signer.Assertion(a.ID, a.Audience, time.Now())
		if err != nil {
			return fmt.Errorf("the client assertion cannot be signed: %w", err)
		}
		form.Set("client_id", a.ID)
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	case methodBasic:
		// RFC 6749 section 2.3.1: both are form-encoded first.
		pair := url.QueryEscape(a.ID) + ":" + url.QueryEscape(a.Secret.Reveal())
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case methodPost:
		form.Set("client_id", a.ID)
		form.Set("client_secret", a.Secret.Reveal())
	default:
		form.Set("client_id", a.ID)
	}
	return nil
}

// other returns another way to authenticate the same client, if there is one.
func (a ClientAuth) other() (ClientAuth, bool) {
	switch a.Method {
	case methodBasic:
		a.Method = methodPost
	case methodPost:
		a.Method = methodBasic
	default:
		return a, false
	}
	return a, true
}

// reserved are the parameters that extra ones cannot set.
var reserved = []string{
	"grant_type", "code", "redirect_uri", "client_id", "client_secret", "code_verifier", "refresh_token", "scope", "resource", "state",
	"client_assertion", "client_assertion_type", "assertion", "response_type", "dpop_jkt", "code_challenge", "code_challenge_method", "request_uri", "request", "token", "token_type_hint",
}

func addExtra(form, extra url.Values) {
	for k, v := range extra {
		keep := false
		for _, r := range reserved {
			keep = keep || k == r
		}
		if !keep {
			form[k] = append([]string(nil), v...)
		}
	}
}

// Dialect is how a server's token responses differ from RFC 6749 section 5.1. The zero value is not at all.
type Dialect struct {
	// Member holds the response; BearerType is what it calls Bearer.
	Member, BearerType string
}

// CodeRequest exchanges an authorization code (RFC 6749 section 4.1.3, RFC 7636, RFC 8707).
type CodeRequest struct {
	Endpoint              string
	Auth                  ClientAuth
	Code, Verifier        secret.String
	RedirectURI, Resource string
	Extra                 url.Values
	Dialect               Dialect
}

// ExchangeCode exchanges a code and returns the token and the client authentication that worked. After
// invalid_client the other way to send the same secret is tried once; else the code is sent
// once. The error is a *wire.Fault.
func ExchangeCode(ctx context.Context, c *netguard.Client, r CodeRequest) (*wire.Token, ClientAuth, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {r.Code.Reveal()}, "code_verifier": {r.Verifier.Reveal()}, "redirect_uri": {r.RedirectURI}}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	addExtra(form, r.Extra)
	tok, err := post(ctx, c, "token", r.Endpoint, r.Auth, form, r.Dialect)
	var f *wire.Fault
	if err == nil || !errors.As(err, &f) || f.Code != "invalid_client" {
		return tok, r.Auth, err
	}
	auth, ok := r.Auth.other()
	if !ok {
		return nil, r.Auth, err
	}
	tok, second := post(ctx, c, "token", r.Endpoint, auth, form, r.Dialect)
	if second != nil {
		return nil, r.Auth, err
	}
	return tok, auth, nil
}

// RefreshRequest refreshes a token (RFC 6749 section 6, RFC 8707).
type RefreshRequest struct {
	Endpoint     string
	Auth         ClientAuth
	RefreshToken secret.String
	Resource     string
	Extra        url.Values
	Dialect      Dialect
}

// Refresh sends a refresh token, exactly once whatever happens. The error is a *wire.Fault.
func Refresh(ctx context.Context, c *netguard.Client, r RefreshRequest) (*wire.Token, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.RefreshToken.Reveal()}}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	addExtra(form, r.Extra)
	return post(ctx, c, "refresh", r.Endpoint, r.Auth, form, r.Dialect)
}

func post(ctx context.Context, c *netguard.Client, leg, endpoint string, auth ClientAuth, form url.Values, as Dialect) (*wire.Token, error) {
	tok, _, err := sendForToken(ctx, c, leg, endpoint, auth, form, as)
	if err != nil {
		return nil, explain(stage(err, "token", endpoint), form)
	}
	return tok, nil
}

// sendForToken makes a token request and reads the answer, which is nil if none came.
func sendForToken(ctx context.Context, c *netguard.Client, leg, endpoint string, auth ClientAuth, form url.Values, as Dialect) (*wire.Token, *netguard.Answer, error) {
	for try := 0; ; try++ {
		h := http.Header{}
		renewed, err := prove(auth.Prover, endpoint, h)
		if err != nil {
			return nil, nil, &wire.Fault{Message: "the DPoP proof cannot be signed: " + err.Error(), Err: err, Unsent: true}
		}
		a, err := sendWith(ctx, c, leg, endpoint, auth, form, h)
		if err != nil {
			return nil, nil, err
		}
		another := renewed(a.Header)
		read := func(body []byte) (*wire.Token, error) {
			return wire.ParseToken(a.Status, a.Header, wire.Unwrap(a.Header, body, as.Member, as.BearerType), a.Received)
		}
		tok, err := read(a.Body)
		if err != nil {
			tok, err = read(hide(a.Body, auth, form)) // an error in a success quotes what was sent, too
		}
		var f *wire.Fault
		switch {
		case err == nil:
			if f := bound(tok, auth.Prover); f != nil {
				f.Status = a.Status
				return nil, a, f
			}
			return tok, a, nil
		case !errors.As(err, &f) || auth.Prover == nil:
		case f.Code == dpop.WantNonce && another && try < maxNonces:
			continue // RFC 9449 section 8: nothing of the request was used up
		case f.Code == dpop.WantNonce:
			f.Message = "the server asks for one DPoP nonce after the other"
			f.Hint = "the server is at fault; --dpop never (Options.DPoP) does without, where it lets"
		case f.Code == "invalid_dpop_proof":
			f.Message = "the server does not accept the DPoP proof"
			if off := skew(a.Header, a.Received); off != 0 {
				f.Hint = clockHint(off)
			}
		}
		return nil, a, err
	}
}

// maxNonces is how often one request is repeated with the nonce that the server asks for.
const maxNonces = 3

// prove adds a proof to a token request. The returned function takes the nonce of the answer, and reports
// whether it is another one.
func prove(p *dpop.Prover, endpoint string, h http.Header) (func(http.Header) bool, error) {
	if p == nil {
		return func(http.Header) bool { return false }, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	proof, nonce, err := p.Prove(http.MethodPost, u, "")
	h[dpop.Header] = []string{proof}
	return func(answer http.Header) bool { return p.Nonces.Learn(u, answer, nonce) }, err
}

// ErrNotBound means that a token bound to a key was asked for, and one came that anybody can use.
var ErrNotBound = errors.New("the token is not bound to the key (DPoP)")

// bound reports a token that is not of the kind that was asked for.
func bound(tok *wire.Token, p *dpop.Prover) *wire.Fault {
	switch {
	case p != nil && tok.TokenType != dpop.TokenType:
		return &wire.Fault{Message: "the server gave out a token that is not bound to the key of this login (DPoP)", Err: ErrNotBound, Hint: "ask its owner why it does not bind tokens; --dpop never (Options.DPoP) asks for none that is bound"}
	case p == nil && tok.TokenType == dpop.TokenType:
		return &wire.Fault{Message: "the server gave out a token of the type DPoP, for which no key was shown", Hint: "the server is at fault; --dpop always (Options.DPoP) shows it a key"}
	}
	return nil
}

func send(ctx context.Context, c *netguard.Client, leg, endpoint string, auth ClientAuth, form url.Values) (*netguard.Answer, error) {
	return sendWith(ctx, c, leg, endpoint, auth, form, http.Header{})
}

func sendWith(ctx context.Context, c *netguard.Client, leg, endpoint string, auth ClientAuth, form url.Values, h http.Header) (*netguard.Answer, error) {
	body := make(url.Values, len(form)+2)
	for k, v := range form {
		body[k] = v
	}
	if auth.Audience == "" {
		auth.Audience = endpoint
	}
	if err := auth.apply(body, h); err != nil {
		return nil, &wire.Fault{Message: err.Error(), Err: err, Unsent: true, Hint: "check the client's key"}
	}
	a, err := c.PostForm(ctx, leg, endpoint, body, h)
	if err == nil && a.Status/100 != 2 {
		a.Body = hide(a.Body, auth, body)
	}
	return a, err
}

// hide takes what was sent out of an answer that is about to be quoted.
func hide(answer []byte, auth ClientAuth, form url.Values) []byte {
	sent := []string{auth.Secret.Reveal()}
	for _, k := range []string{"code", "code_verifier", "refresh_token", "client_secret", "client_assertion", "assertion", "subject_token", "actor_token", "device_code", "token"} {
		sent = append(sent, form.Get(k))
	}
	return []byte(secret.Hide(string(answer), sent...))
}

func stage(err error, name, endpoint string) *wire.Fault {
	var f *wire.Fault
	if !errors.As(err, &f) {
		f = &wire.Fault{Message: err.Error(), Err: err}
	}
	f.Stage = name
	if f.URL == "" {
		f.URL = wire.PlainURL(endpoint)
	}
	return f
}

// explain says in words what the common codes mean.
func explain(f *wire.Fault, form url.Values) *wire.Fault {
	what := "the authorization code"
	if form.Get("grant_type") == "refresh_token" {
		what = "the refresh token"
	}
	switch f.Code {
	case "invalid_grant":
		f.Message = "the server does not accept " + what
		if f.Hint == "" {
			f.Hint = "log in again; a code is good for a few minutes and for one use"
			if form.Get("grant_type") == "refresh_token" {
				f.Hint = "log in again"
			}
		}
	case "invalid_client", "unauthorized_client":
		f.Message = "the server does not accept this client"
		if f.Hint == "" {
			f.Hint = "check --client-id and its secret (Options.Client.ID, Options.Client.Secret, Options.Client.AuthMethod), or register anew with login --new-client"
		}
	case "":
	default:
		if f.Message == "the server refused" {
			f.Message = "the token endpoint refused"
		}
	}
	return f
}

// RevokeRequest revokes a token (RFC 7009 section 2.1).
type RevokeRequest struct {
	Endpoint string
	Auth     ClientAuth
	Token    secret.String
	// Hint is refresh_token or access_token.
	Hint string
}

// Revoke revokes a token. Servers that insist on a client_secret field from clients that have none
// get it, empty, in a second request. The error is a *wire.Fault.
func Revoke(ctx context.Context, c *netguard.Client, r RevokeRequest) error {
	form := url.Values{"token": {r.Token.Reveal()}, "token_type_hint": {r.Hint}}
	for try := 0; ; try++ {
		a, err := send(ctx, c, "revocation", r.Endpoint, r.Auth, form)
		if err != nil {
			return stage(err, "revocation", r.Endpoint)
		}
		if a.Status/100 == 2 {
			return nil
		}
		f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
		if f.Code == "invalid_grant" || f.Code == "invalid_token" {
			return nil // RFC 7009 section 2.2: a token that is unknown is as good as revoked
		}
		if try == 0 && r.Auth.Method != methodBasic && a.Status == http.StatusBadRequest && f.Code == "invalid_request" && strings.Contains(f.Description, "client_secret") && r.Auth.Secret.IsZero() {
			form.Set("client_secret", "")
			continue
		}
		if f.Code != "" {
			f.Message = "the server refused to revoke the token"
		}
		return stage(f, "revocation", r.Endpoint)
	}
}

// DeleteClient deletes a dynamic registration (RFC 7592 section 2.3). The error is a *wire.Fault.
func DeleteClient(ctx context.Context, c *netguard.Client, uri string, token secret.String) error {
	a, err := c.Delete(ctx, "client-deletion", uri, http.Header{"Authorization": {"Bearer " + token.Reveal()}})
	if err != nil {
		return stage(err, "registration", uri)
	}
	switch {
	case a.Status/100 == 2, a.Status == http.StatusUnauthorized, a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		return nil // gone already: RFC 7592 section 2.3 answers 401 for a client that is not there
	}
	f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
	f.Message = "the server refused to delete the registration"
	return stage(f, "registration", uri)
}

// Push pushes an authorization request (RFC 9126) and returns its request_uri and when that ends.
// The error is a *wire.Fault.
func Push(ctx context.Context, c *netguard.Client, endpoint string, auth ClientAuth, r AuthorizationRequest) (string, time.Time, error) {
	form := r.parameters()
	form.Del("client_id")
	if auth.Method == methodBasic {
		form.Set("client_id", auth.ID) // RFC 9126 section 2.1: the parameters of the request, client_id among them
	}
	a, err := send(ctx, c, "par", endpoint, auth, form)
	if err != nil {
		return "", time.Time{}, stage(err, "par", endpoint)
	}
	o, err := wire.ParseObject(a.Body)
	if uri := o.String("request_uri"); a.Status/100 == 2 && uri != "" {
		n, _ := o.Seconds("expires_in")
		return uri, a.Received.Add(time.Duration(max(0, min(n, 3600))) * time.Second), nil
	}
	// An error may hide in a 200, and a page may come from something in between.
	f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
	switch {
	case f.Code != "":
		f.Message = "the server refused the authorization request"
	case a.Status/100 == 2 && !f.Temporary:
		if err == nil {
			err = errors.New("it has no request_uri")
		}
		f.Message, f.Hint = fmt.Sprintf("the answer to the pushed authorization request cannot be used: %v", err), "the server is at fault"
	}
	return "", time.Time{}, stage(f, "par", endpoint)
}
