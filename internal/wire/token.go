package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/secret"
)

const (
	maxScopes     = 100
	maxScopeBytes = 4096
	maxSecret     = 64 << 10
)

// Token is a successful token response (RFC 6749 section 5.1).
type Token struct {
	AccessToken, RefreshToken, IDToken secret.String
	// TokenType is canonical: "Bearer".
	TokenType string
	// Expiry is absolute, by the local clock; the zero time is unknown. A lifetime of 0 or less is
	// the time of the answer.
	Expiry time.Time
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

// mediaType returns the media type of an answer in lower case.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		t, _, _ = strings.Cut(h.Get("Content-Type"), ";")
	}
	return strings.ToLower(strings.TrimSpace(t))
}

// message reads a token or error response as an object: JSON, or the form encoding that some
// servers still send. The content type is a hint; the first byte decides.
func message(h http.Header, body []byte) (Object, error) {
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '{' {
		return ParseObject(body)
	}
	s := string(trimmed)
	if mediaType(h) != "application/x-www-form-urlencoded" && !strings.Contains(s, "access_token=") && !strings.Contains(s, "error=") || strings.HasPrefix(s, "<") || strings.ContainsAny(s, " <>\n") {
		return nil, fmt.Errorf("neither JSON nor a form")
	}
	values, err := url.ParseQuery(s)
	if err != nil {
		return nil, fmt.Errorf("not a valid form")
	}
	o := make(Object, len(values))
	for k, v := range values {
		if len(v) != 1 {
			return nil, fmt.Errorf("the member %q occurs twice", Clean(k))
		}
		b, err := json.Marshal(v[0])
		if err != nil {
			return nil, err
		}
		o[k] = b
	}
	return o, nil
}

// ParseToken reads the answer of a token endpoint. Whatever is no token is a *Fault.
func ParseToken(status int, h http.Header, body []byte, received time.Time) (*Token, error) {
	if status/100 != 2 {
		return nil, ParseOAuthError(status, h, body)
	}
	o, err := message(h, body)
	if err != nil {
		f := &Fault{
			Stage: "token", Status: status, Message: "the token endpoint's answer cannot be read: " + err.Error(), Err: err,
			Hint: "a proxy, a firewall or a captive portal may have answered in the server's place",
		}
		// A page in place of an answer says nothing about the token that was sent.
		f.Temporary = looksLikePage(h, body)
		return nil, f
	}
	if o.Has("error") || string(o["ok"]) == "false" {
		return nil, errorFrom(status, h, o, received)
	}
	t := &Token{
		AccessToken: secret.New(o.String("access_token")), RefreshToken: secret.New(o.String("refresh_token")),
		IDToken: secret.New(o.String("id_token")), TokenType: "Bearer",
	}
	if t.AccessToken.IsZero() {
		return nil, &Fault{Stage: "token", Status: status, Message: "the token endpoint's answer has no access_token", Hint: "the server is at fault"}
	}
	for _, s := range []secret.String{t.AccessToken, t.RefreshToken} {
		if !headerSafe(s.Reveal()) {
			return nil, &Fault{Stage: "token", Status: status, Message: "the token endpoint's answer holds a token with characters that no token has", Hint: "the server is at fault"}
		}
	}
	switch typ := o.String("token_type"); {
	case strings.EqualFold(typ, "bearer") && len(typ) == len("bearer"):
	case typ == "" && !o.Has("token_type"):
		t.Notes = append(t.Notes, "the token response has no token_type (RFC 6749 section 5.1); it is taken for Bearer")
	default:
		return nil, &Fault{Stage: "token", Status: status, Message: fmt.Sprintf("the token has the type %q, which cannot be used", Clean(typ)), Hint: "ask the server's owner for Bearer tokens"}
	}
	t.Expiry = expiryOf(o, received)
	t.scope(o)
	return t, nil
}

func headerSafe(s string) bool {
	if len(s) > maxSecret {
		return false
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func expiryOf(o Object, received time.Time) time.Time {
	n, ok := o.Seconds("expires_in")
	if !ok {
		return time.Time{}
	}
	// Beyond the year 9999 no time can be written down: such a lifetime is as good as a century.
	n = max(0, min(n, 100*365*24*3600))
	return received.Round(0).Add(time.Duration(n) * time.Second)
}

func (t *Token) scope(o Object) {
	list := o.Strings("scope")
	if list == nil {
		return
	}
	var all []string
	for _, s := range list {
		some, err := ParseScope(s)
		if err != nil {
			t.Notes = append(t.Notes, "the token response's scope cannot be read: "+err.Error())
			return
		}
		all = append(all, some...)
	}
	if len(all) == 1 && strings.Contains(all[0], ",") {
		all = strings.Split(all[0], ",")
	}
	if len(all) > 0 {
		t.Scope, t.ScopePresent = all, true
	}
}

func looksLikePage(h http.Header, body []byte) bool {
	return strings.Contains(mediaType(h), "html") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}

// ParseOAuthError reads an answer that is no success. The error code decides, the status only where
// there is no readable code.
func ParseOAuthError(status int, h http.Header, body []byte) *Fault {
	o, err := message(h, body)
	if err != nil {
		var list []json.RawMessage
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			o, err = ParseObject(list[0])
		}
	}
	if err == nil {
		return errorFrom(status, h, o, time.Now())
	}
	f := &Fault{Stage: "token", Status: status, RetryAfter: RetryAfter(h, time.Now()), Message: "the server answered with an error that cannot be read"}
	f.Temporary = TemporaryStatus(status) || looksLikePage(h, body)
	if looksLikePage(h, body) {
		f.Message = "the server answered with a web page instead of an OAuth answer"
		f.Hint = "a firewall, a proxy or a captive portal may have answered in the server's place"
	}
	return f
}

// sameCode maps codes of single providers to those of RFC 6749.
var sameCode = map[string]string{
	"bad_refresh_token":            "invalid_grant", // GitHub
	"bad_verification_code":        "invalid_grant",
	"incorrect_client_credentials": "invalid_client",
	"invalid_refresh_token":        "invalid_grant", // Slack
	"invalid_code":                 "invalid_grant",
	"bad_client_secret":            "invalid_client",
	"invalid_client_id":            "invalid_client",
}

func errorFrom(status int, h http.Header, o Object, now time.Time) *Fault {
	f := &Fault{Stage: "token", Status: status, RetryAfter: RetryAfter(h, now), Message: "the server refused"}
	code, desc := o.String("error"), o.String("error_description")
	if code == "" && o.Has("error") {
		if inner, err := ParseObject(o["error"]); err == nil {
			code, desc = firstOf(inner.String("code"), inner.String("type")), inner.String("message")
		}
	}
	if desc == "" {
		desc = firstOf(o.String("message"), o.String("detail"), o.String("msg"))
	}
	if same, ok := sameCode[code]; ok {
		f.Description = Clean(code)
		code = same
	}
	if desc != "" {
		f.Description = Clean(desc)
	}
	f.Code = CleanN(code, 64)
	if uri := o.String("error_uri"); strings.HasPrefix(uri, "https://") {
		f.URI = Clean(uri)
	}
	switch f.Code {
	case "temporarily_unavailable", "server_error", "slow_down":
		f.Temporary = true
	case "":
		f.Temporary = TemporaryStatus(status)
	default:
		// Some servers say server_error in other words, but a 5xx is theirs whatever they call it,
		// unless the code is one that means the token itself.
		f.Temporary = TemporaryStatus(status) && f.Code != "invalid_grant" && f.Code != "invalid_client"
	}
	if strings.Contains(desc, "AADSTS901002") || strings.Contains(desc, "AADSTS9010010") || f.Code == "invalid_target" {
		f.Hint = "the server does not take the resource indicator: try --no-resource (Options.NoResource) or --resource (Options.Resource)"
	}
	return f
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
