package discovery

import (
	"path"
	"strings"
)

// quirk is what is known of an issuer although its metadata does not say so.
type quirk int

const (
	// silentPKCE: PKCE with S256 works but is not advertised.
	silentPKCE quirk = 1 << iota
	// spreadEndpoints: the endpoints lie under several registrable domains of one owner.
	spreadEndpoints
)

// known are the issuers with quirks; "*" stands for one path segment or one host label. Each entry
// names where the fact is documented.
var known = []struct {
	issuer string
	quirks quirk
}{
	// Microsoft identity platform, "OAuth 2.0 authorization code flow": code_challenge_method S256.
	{"https://login.microsoftonline.com/*/v2.0", silentPKCE},
	{"https://login.microsoftonline.com/*", silentPKCE},
	{"https://sts.windows.net/*", silentPKCE},
	// Amazon Cognito developer guide, "Using PKCE in authorization code grants": S256.
	{"https://cognito-idp.*.amazonaws.com/*", silentPKCE | spreadEndpoints},
	// Google Identity, "OpenID Connect": the discovery document names accounts.google.com,
	// oauth2.googleapis.com and openidconnect.googleapis.com.
	{"https://accounts.google.com", spreadEndpoints},
	// GitHub docs, "Authorizing OAuth apps": code_challenge_method S256.
	{"https://github.com/login/oauth", silentPKCE},
}

// knownFor reports whether the whole issuer is one with quirk q.
func knownFor(issuer string, q quirk) bool {
	issuer = strings.TrimSuffix(issuer, "/")
	for _, k := range known {
		if k.quirks&q == 0 || strings.Count(k.issuer, "/") != strings.Count(issuer, "/") {
			continue
		}
		ok := true
		is, want := strings.Split(issuer, "/"), strings.Split(k.issuer, "/")
		for i := range is {
			match := is[i] == want[i]
			if i == 2 && !match && strings.Count(is[i], ".") == strings.Count(want[i], ".") {
				match, _ = path.Match(want[i], is[i])
			} else if i > 2 && want[i] == "*" {
				match = is[i] != ""
			}
			ok = ok && match
		}
		if ok {
			return true
		}
	}
	return false
}
