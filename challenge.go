package mcpoauth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	wwwauth "github.com/mcpoauth/mcpoauth/internal/challenge"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	// needsAuthentication is the error code of RFC 9470 section 3, needsClaims Microsoft's for the same.
	needsAuthentication = "insufficient_user_authentication"
	needsClaims         = "insufficient_claims"
	// maxRequirement limits what a challenge may demand of a login, bytes: it becomes part of a URL.
	maxRequirement = 2 << 10
)

// challenge is the content of an MCP server's refusal (RFC 9110 section 11.6.1, RFC 6750 section 3).
type challenge struct {
	metadataURL string
	scopes      []string
	scopeGiven  bool
	code        string
	description string
	// bearer means that there is a challenge for a token; dpop that it is for a token bound to a key and no
	// other, dpopAlgs which algorithms it lists.
	bearer, dpop bool
	dpopAlgs     []string
	// required is the demand on the person's authentication (RFC 9470), nil if there is none.
	required *record.Authentication
	// open means that the server answered a request without a token.
	open bool
	// broken means that a challenge was not read, because a parameter occurs twice or a quoted string does not end.
	broken bool
	// page means that the response was a web page.
	page bool
	// status and lines are the response to a probe: its WWW-Authenticate lines.
	status int
	lines  []string
}

// readChallenge reads the challenge of a 401 or 403 to a request with the token of sent, if it had one.
func readChallenge(h http.Header, sent *session) *challenge {
	b := wwwauth.FindBearer(h)
	b.ErrorDescription = secret.Hide(b.ErrorDescription, sent.access())
	c := &challenge{metadataURL: b.ResourceMetadata, code: b.Error, description: wire.Clean(b.ErrorDescription), bearer: b.Found || b.DPoP, broken: b.Broken}
	c.required = requirementOf(&b)
	c.dpop, c.dpopAlgs = b.DPoP && !b.Found, strings.Fields(b.Algorithms)
	if scopes, err := wire.ParseScope(b.Scope); err == nil && b.Scope != "" {
		c.scopes, c.scopeGiven = scopes, true
	}
	return c
}

// requirementOf returns a challenge's demand on the person's authentication, nil if there is none that can be
// requested.
func requirementOf(b *wwwauth.Bearer) *record.Authentication {
	if b.Error != needsAuthentication && b.Error != needsClaims {
		return nil
	}
	a := &record.Authentication{ACRValues: strings.Join(strings.Fields(b.ACRValues), " "), MaxAge: b.MaxAge, Claims: claimsJSON(b.Claims)}
	if len(a.ACRValues) > maxRequirement || strings.ContainsFunc(a.ACRValues, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		a.ACRValues = ""
	}
	if len(a.MaxAge) > 10 || strings.Trim(a.MaxAge, "0123456789") != "" {
		a.MaxAge = ""
	}
	if *a == (record.Authentication{}) {
		return nil
	}
	return a
}

// claimsJSON returns the claims of a challenge, which are JSON or base64 of it, as JSON. "" if they are neither.
func claimsJSON(s string) string {
	if len(s) > maxRequirement {
		return ""
	}
	raw := []byte(s)
	if !strings.HasPrefix(s, "{") {
		var err error
		s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
		if raw, err = base64.RawStdEncoding.DecodeString(s); err != nil {
			return ""
		}
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || len(object) == 0 {
		return ""
	}
	clean, err := json.Marshal(object)
	if err != nil {
		return ""
	}
	return string(clean)
}

// describe describes a demand to a person.
func describe(a *record.Authentication) string {
	var parts []string
	if a.ACRValues != "" {
		parts = append(parts, fmt.Sprintf("of the kind %q", a.ACRValues))
	}
	if a.MaxAge != "" {
		parts = append(parts, "not older than "+a.MaxAge+" seconds")
	}
	if a.Claims != "" {
		parts = append(parts, "that meets its conditions")
	}
	return strings.Join(parts, ", ")
}

// isPage reports whether a response is meant for people, which no MCP response is.
func isPage(h http.Header) bool {
	t, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return t == "text/html" || t == "application/xhtml+xml"
}
