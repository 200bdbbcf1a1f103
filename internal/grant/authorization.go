// Package grant has the requests of the authorization code grant: the authorization URL and its
// callback, the token, revocation and pushed authorization requests.
package grant

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// maxAuthorizationURL is the longest URL that browsers and launchers accept reliably, in bytes.
const maxAuthorizationURL = 8 << 10

// AuthorizationRequest is an authorization request (RFC 6749 section 4.1.1, RFC 7636, RFC 8707). With
// a RequestURI (RFC 9126) only that and ClientID are sent.
type AuthorizationRequest struct {
	Endpoint, ClientID, RedirectURI, State string
	// Challenge is the S256 code challenge.
	Challenge string
	// Resource and Scopes are left out when empty.
	Resource string
	Scopes   []string
	// ScopeSeparator stands between scopes, "" for the space of RFC 6749 section 3.3.
	ScopeSeparator string
	// KeyThumbprint is of the key that the code will be bound to (RFC 9449 section 10), "" for none.
	KeyThumbprint string
	// Prompt is OpenID Connect's, "" for none.
	Prompt string
	// ACRValues, MaxAge and Claims are the resource's requirements for the login (RFC 9470 section 4), "" for none.
	ACRValues, MaxAge, Claims string
	// Extra parameters; those of the protocol cannot be replaced.
	Extra      url.Values
	RequestURI string
}

func (r *AuthorizationRequest) parameters() url.Values {
	if r.RequestURI != "" {
		return url.Values{"client_id": {r.ClientID}, "request_uri": {r.RequestURI}}
	}
	q := url.Values{
		"response_type": {"code"}, "client_id": {r.ClientID}, "redirect_uri": {r.RedirectURI}, "state": {r.State},
		"code_challenge": {r.Challenge}, "code_challenge_method": {"S256"},
	}
	for k, v := range map[string]string{"resource": r.Resource, "scope": strings.Join(r.Scopes, cmp.Or(r.ScopeSeparator, " ")), "prompt": r.Prompt, "dpop_jkt": r.KeyThumbprint} {
		if v != "" {
			q.Set(k, v)
		}
	}
	addExtra(q, r.Extra)
	for k, v := range map[string]string{"acr_values": r.ACRValues, "max_age": r.MaxAge, "claims": r.Claims} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q
}

// AuthorizationURL returns the URL for the browser. The endpoint's own query is kept, unless it holds
// parameters of the protocol. The error is a *wire.Fault.
func AuthorizationURL(r AuthorizationRequest) (string, error) {
	refuse := func(message string) error {
		return &wire.Fault{Stage: wire.StageAuthorization, URL: wire.PlainURL(r.Endpoint), Message: message, Hint: "the server is at fault"}
	}
	u, err := url.Parse(r.Endpoint)
	if err != nil || u.Host == "" || u.Fragment != "" || u.User != nil {
		return "", refuse("the authorization endpoint is not a usable URL")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", refuse("the authorization endpoint's query cannot be read")
	}
	for k := range q {
		if slices.Contains(reserved, strings.ToLower(k)) {
			return "", refuse("the authorization endpoint's query already has the parameter " + wire.CleanN(k, 40))
		}
	}
	p := r.parameters()
	// The endpoint's own parameters stay as they are: a server may read them by another rule than that of forms.
	own := slices.DeleteFunc(strings.Split(u.RawQuery, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		return pair == "" || err != nil || p.Has(plain)
	})
	u.RawQuery = strings.Join(append(own, p.Encode()), "&")
	s := u.String()
	if len(s) > maxAuthorizationURL {
		return "", &wire.Fault{Stage: wire.StageAuthorization, URL: wire.PlainURL(r.Endpoint), Message: "the authorization URL is too long for a browser", Hint: "ask for fewer scopes with --scope (Options.Scopes.Request)"}
	}
	return s, nil
}

// Callback is an authorization response (RFC 6749 section 4.1.2, RFC 9207).
type Callback struct {
	Code  secret.String
	State string
	// Issuer is the parameter iss; HasIssuer reports whether there is one, which may be empty.
	Issuer    string
	HasIssuer bool
	// Error and ErrorDescription are cleaned.
	Error, ErrorDescription string
}

const maxCallback = 8 << 10

// ParseCallback reads the parameters of an authorization response. Duplicate parameters, and a
// response with neither a code nor an error, are refused with a *wire.Fault.
func ParseCallback(v url.Values) (Callback, error) {
	refuse := func(message string) (Callback, error) {
		return Callback{}, &wire.Fault{Stage: wire.StageAuthorization, Message: message, Hint: "try the login again"}
	}
	for _, k := range []string{"code", "state", "iss", "error", "error_description", "error_uri"} {
		if len(v[k]) > 1 {
			return refuse("the callback has the parameter " + k + " twice")
		}
		if len(v.Get(k)) > maxCallback {
			return refuse("the callback's parameter " + k + " is too long")
		}
	}
	code := v.Get("code")
	cb := Callback{Code: secret.New(code), State: v.Get("state"), Issuer: v.Get("iss"), HasIssuer: v.Has("iss"), Error: wire.CleanN(v.Get("error"), 64), ErrorDescription: wire.Clean(v.Get("error_description"))}
	if v.Has("error") {
		if cb.Error == "" {
			cb.Error = "unknown_error"
		}
		cb.Code = secret.String{}
		return cb, nil
	}
	if code == "" {
		return refuse("the callback has neither a code nor an error")
	}
	for i := range len(code) {
		if code[i] < 0x20 || code[i] > 0x7e {
			return refuse("the callback's code has characters that a code cannot have")
		}
	}
	return cb, nil
}

// ExpectedIssuer is the authorization server that a callback must come from.
type ExpectedIssuer struct {
	// Issuer is the one whose authorization endpoint was opened.
	Issuer string
	// Also is another value of iss that is accepted, "" for none.
	Also string
	// Promised means that its metadata promises an iss parameter in every callback
	// (authorization_response_iss_parameter_supported), so that its absence is an error.
	Promised bool
}

// CheckIssuer compares the callback's iss with the issuer that it must come from, byte by byte (RFC 9207
// section 2.4). The error is a *wire.Fault.
func (c Callback) CheckIssuer(expected ExpectedIssuer) error {
	switch {
	case c.HasIssuer && c.Issuer != expected.Issuer && (expected.Also == "" || c.Issuer != expected.Also):
		return &wire.Fault{
			Stage: wire.StageAuthorization, URL: wire.PlainURL(expected.Issuer),
			Message: fmt.Sprintf("the callback comes from another authorization server than the one asked (RFC 9207): it says %q, not %q", wire.Clean(c.Issuer), wire.Clean(expected.Issuer)),
			Hint:    "this may be a mix-up attack: do not repeat the login before you know the reason. If the owner of " + wire.Clean(expected.Issuer) + " confirms that its callbacks name the other, give that one with --callback-issuer (Options.Server.CallbackIssuer)",
		}
	case !c.HasIssuer && expected.Promised:
		return &wire.Fault{
			Stage: wire.StageAuthorization, URL: wire.PlainURL(expected.Issuer), Message: "the callback does not say which authorization server it comes from, although that one promises to (RFC 9207)",
			Hint: "the server, or a proxy before it, is at fault",
		}
	}
	return nil
}

// NewVerifier returns a code verifier and its S256 challenge (RFC 7636 section 4).
func NewVerifier() (verifier secret.String, challenge string) {
	v := random()
	sum := sha256.Sum256([]byte(v))
	return secret.New(v), base64.RawURLEncoding.EncodeToString(sum[:])
}

// NewState returns an unguessable value for state, 256 bits.
func NewState() string { return random() }

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
