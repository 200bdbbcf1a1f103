package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/secret"
)

const (
	maxScopes     = 100
	maxScopeBytes = 4 << 10
	// maxSecret bounds a token or secret, in bytes.
	maxSecret = 64 << 10
	// MaxLifetime is the longest lifetime that is believed: five years. A larger number is a time since 1970, or counts
	// smaller units than seconds.
	MaxLifetime = 5 * 365 * day * time.Second
	day         = 24 * 3600 // in seconds
	minute      = 60 * 1000 // in milliseconds
)

// Token is a successful token response (RFC 6749 section 5.1).
type Token struct {
	// AccessToken is never empty; RefreshToken and IDToken are if the server sent none.
	AccessToken, RefreshToken, IDToken secret.String
	// TokenType is canonical: "Bearer", or "DPoP" for one that is bound to a key (RFC 9449 section 5).
	TokenType string
	// Expiry is absolute, by the local clock, without monotonic reading; the zero time is unknown, which a lifetime
	// that cannot be is as well. A lifetime of 0 or less is the time of the answer.
	Expiry time.Time
	// RefreshExpiry is when the refresh token expires unless it is used before; the zero time is never or unknown.
	// RefreshExpiryPresent means that the server said so, or that it never expires.
	RefreshExpiry        time.Time
	RefreshExpiryPresent bool
	// Scope is the granted scope if ScopePresent.
	Scope        []string
	ScopePresent bool
	// Notes are remarks on what is unusual.
	Notes []string
}

// ParseScope splits a scope string (RFC 6749 section 3.3). It fails on characters that no scope has
// and on more than 100 scopes or 4 KiB.
func ParseScope(s string) ([]string, error) {
	if len(s) > maxScopeBytes {
		return nil, fmt.Errorf("the scope is longer than %d bytes", maxScopeBytes)
	}
	list := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
	if len(list) > maxScopes {
		return nil, fmt.Errorf("there are more than %d scopes", maxScopes)
	}
	for _, v := range list {
		if !ValidScope(v) {
			return nil, fmt.Errorf("%q is not a scope", Clean(v))
		}
	}
	return list, nil
}

// ValidScope reports whether s is one scope-token of RFC 6749 section 3.3.
func ValidScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}

// MediaType returns the media type of an answer in lower case, without its parameters, "" if it has none.
func MediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		t, _, _ = strings.Cut(h.Get("Content-Type"), ";")
	}
	return strings.ToLower(strings.TrimSpace(t))
}

// message reads a token or error response as an object: JSON, or the form encoding that some
// servers still send. The content type is a hint; the first byte decides.
func message(h http.Header, body []byte) (Object, error) {
	s := strings.TrimSpace(strings.TrimPrefix(string(body), "\xef\xbb\xbf"))
	switch {
	case len(body) > MaxBody:
		return nil, fmt.Errorf("longer than %d bytes", MaxBody)
	case s == "":
		return nil, errors.New("empty")
	case s[0] == '{':
		return ParseObject(body)
	}
	form := MediaType(h) == "application/x-www-form-urlencoded" || strings.Contains(s, "access_token=") || strings.Contains(s, "error=")
	if !form || strings.ContainsAny(s, "<> \t\r\n") {
		return nil, errors.New("neither JSON nor a form")
	}
	values, err := url.ParseQuery(s)
	if err != nil {
		return nil, errors.New("not a valid form")
	}
	o := make(Object, len(values))
	for k, v := range values {
		if len(v) != 1 {
			return nil, fmt.Errorf("the member %q occurs twice", Clean(k))
		}
		if o[k], err = json.Marshal(v[0]); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// Unwrap returns the token response that lies in a member of another, as a server was said to send it, and
// with bearerType, a token_type of the server's own, called Bearer. Any other response is
// returned unchanged, for ParseToken to judge.
func Unwrap(h http.Header, body []byte, member, bearerType string) []byte {
	if member == "" && bearerType == "" {
		return body
	}
	o, err := message(h, body)
	if err != nil || o.isError() {
		return body
	}
	if inner, err := ParseObject(o[member]); err == nil && inner.String("access_token") != "" && !o.Has("access_token") {
		o = inner
	}
	if bearerType != "" && o.String("token_type") == bearerType {
		o["token_type"] = json.RawMessage(`"Bearer"`)
	}
	plain, err := json.Marshal(o)
	if err != nil {
		return body
	}
	return plain
}

// ParseToken reads the answer of a token endpoint, received at the given time. If it has no token,
// the error is a *Fault. Only the members of a token response are read: other members cannot become part of the
// stored record.
func ParseToken(status int, h http.Header, body []byte, received time.Time) (*Token, error) {
	if status/100 != 2 {
		return nil, ParseOAuthError(status, h, body)
	}
	bad := func(message string, err error) (*Token, error) {
		return nil, &Fault{Stage: StageToken, Status: status, Message: message, Hint: "the server is at fault", Err: err}
	}
	o, err := message(h, body)
	switch {
	case err != nil && looksLikePage(h, body):
		// A page in place of an answer says nothing about the token that was sent.
		return nil, pageFault(status, h)
	case err != nil:
		return bad("the token endpoint's answer cannot be read: "+err.Error(), err)
	case o.isError():
		return nil, errorFrom(status, h, o, received)
	}
	t := &Token{AccessToken: secret.New(o.String("access_token")), TokenType: "Bearer"}
	if t.AccessToken.IsZero() {
		if o.Has("authed_user") {
			return nil, &Fault{
				Stage: StageToken, Status: status, Message: "the token endpoint's answer has its token in the nonstandard member authed_user",
				Hint: "if the server's owner confirms it, set --token-member authed_user (Options.Server.TokenMember)",
			}
		}
		return bad("the token endpoint's answer has no access_token", nil)
	}
	if !headerSafe(t.AccessToken.Reveal()) {
		return bad("the token endpoint's answer holds a token with characters that a token cannot have", nil)
	}
	switch typ := o.String("token_type"); {
	case len(typ) == len("bearer") && strings.EqualFold(typ, "bearer"):
	case len(typ) == len("DPoP") && strings.EqualFold(typ, "DPoP"):
		t.TokenType = "DPoP"
	case !o.Has("token_type"):
		t.note("the token response has no token_type (RFC 6749 section 5.1); it is treated as Bearer")
	default:
		return nil, &Fault{
			Stage: StageToken, Status: status, Message: fmt.Sprintf("the token is of the type %q, which cannot be used", CleanN(typ, 40)),
			Hint: "ask the server's owner for Bearer tokens; if that is what they are, set --allow-token-type " + CleanN(typ, 40) + " (Options.Allow.TokenType)",
		}
	}
	t.RefreshToken, t.IDToken = t.optional(o, "refresh_token"), t.optional(o, "id_token")
	t.lifetime(o, received)
	t.refreshLifetime(o, received)
	t.scope(o)
	return t, nil
}

// lifetime reads when the access token expires.
func (t *Token) lifetime(o Object, received time.Time) {
	switch n, ok := o.Seconds("expires_in"); {
	case ok && !plausible(n):
		t.note(fmt.Sprintf("the token response's expires_in, %d, cannot be a number of seconds; the token is used until the server refuses it", n))
	case ok:
		if n <= 0 {
			t.note(fmt.Sprintf("the token response's expires_in is %d: the token is used once it has come, and then renewed", n))
		}
		t.Expiry = received.Round(0).Add(time.Duration(max(0, n)) * time.Second)
	case o.Has("expires_in"):
		t.note("the token response's expires_in cannot be read; the token is used until the server refuses it")
	}
}

// refreshMembers are the names under which servers say how long a refresh token lives: Keycloak's, GitHub's and others',
// Intuit's. No specification has one.
var refreshMembers = []string{"refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"}

// refreshLifetime reads when the refresh token expires. 0 is never (Keycloak).
func (t *Token) refreshLifetime(o Object, received time.Time) {
	for _, name := range refreshMembers {
		n, ok := o.Seconds(name)
		switch {
		case !o.Has(name):
			continue
		case !ok || n < 0 || !plausible(n):
			t.note("the token response's " + name + " cannot be a number of seconds; when the refresh token expires is unknown")
			continue
		case n > 0:
			t.RefreshExpiry = received.Round(0).Add(time.Duration(n) * time.Second)
		}
		t.RefreshExpiryPresent = true
		return
	}
}

// plausible reports whether a token may live for so many seconds. A server that answers in milliseconds or nanoseconds, or
// with a time, is not believed: the token would not be renewed before it expires. Of more than three days, whole minutes
// in milliseconds are taken for that unless they are whole days, and of more than ten days, in any case.
func plausible(seconds int64) bool {
	minutes := seconds%minute == 0
	return seconds <= int64(MaxLifetime/time.Second) && !(minutes && seconds > 3*day && seconds%day != 0) && !(minutes && seconds > 10*day)
}

// CheckLifetime compares the expiry with the claims of an access token that turned out to be a JWT, which lives from
// issued to expiry; issued is the zero time if it does not say. The claims are a check and no authority: they shorten a
// lifetime that is unknown or clearly longer, and lengthen none.
func (t *Token) CheckLifetime(issued, expiry, received time.Time) {
	if issued.IsZero() || issued.After(expiry) {
		issued = received
	}
	life := expiry.Sub(issued)
	if expiry.IsZero() || life <= 0 || life > MaxLifetime {
		return
	}
	end := received.Round(0).Add(life) // by our clock
	if !t.Expiry.IsZero() && t.Expiry.Sub(end) <= min(time.Minute, life/10) {
		return
	}
	if !t.Expiry.IsZero() {
		t.note(fmt.Sprintf("the token response's expires_in says %v, and the token itself %v: it is renewed by the latter", t.Expiry.Sub(received.Round(0)), life))
	}
	t.Expiry = end
}

func (t *Token) note(text string) { t.Notes = append(t.Notes, text) }

// optional returns a token that the response may have. One that cannot be stored or sent is left
// out: to refuse the whole answer for it would lose an access token that is good.
func (t *Token) optional(o Object, name string) secret.String {
	s := o.String(name)
	if len(s) > maxSecret || !visible(s) {
		t.note("the token response's " + name + " cannot be used")
		return secret.String{}
	}
	return secret.New(s)
}

// headerSafe reports whether s can be sent in a header as a token (RFC 6750 section 2.1, more widely).
func headerSafe(s string) bool {
	return len(s) <= maxSecret && visible(s) && !strings.Contains(s, " ")
}

// scope reads the granted scope: a string, a list, or one string with commas (Slack, GitHub).
func (t *Token) scope(o Object) {
	var all []string
	for _, s := range o.Strings("scope") {
		some, err := ParseScope(s)
		if err != nil || len(all)+len(some) > maxScopes {
			t.note("the token response's scope cannot be read")
			return
		}
		all = append(all, some...)
	}
	if len(all) == 1 {
		all = slices.DeleteFunc(strings.Split(all[0], ","), func(s string) bool { return s == "" })
	}
	if len(all) > 0 {
		t.Scope, t.ScopePresent = all, true
	}
}
