package discovery

import "strings"

// trait is what is known of an issuer although its metadata does not say so.
type trait int

const (
	// silentPKCE: PKCE with S256 works but is not advertised.
	silentPKCE trait = 1 << iota
	// spreadEndpoints: the endpoints lie under several registrable domains of one owner.
	spreadEndpoints
)

// known are the issuers with such traits. A "*" stands for one whole path segment or host label, so
// that an entry names the issuers of one provider and nobody else's. Each entry says where the
// provider documents the fact.
var known = []struct {
	issuer string
	traits trait
}{
	// Microsoft identity platform, "OAuth 2.0 authorization code flow": code_challenge_method is S256.
	// "OpenID Connect on the Microsoft identity platform" has the issuers, {tenantid} included.
	{"https://login.microsoftonline.com/*/v2.0", silentPKCE},
	{"https://sts.windows.net/*", silentPKCE},
	// The same platform's national clouds: Microsoft, "National clouds", app registration and token
	// endpoints.
	{"https://login.microsoftonline.us/*/v2.0", silentPKCE},
	{"https://login.partner.microsoftonline.cn/*/v2.0", silentPKCE},
	// Microsoft Entra External ID, "Supported features: OpenID Connect and OAuth2", and Azure AD B2C,
	// "OAuth 2.0 authorization code flow in Azure Active Directory B2C": S256.
	{"https://*.ciamlogin.com/*/v2.0", silentPKCE},
	{"https://*.b2clogin.com/*/v2.0", silentPKCE},
	// Amazon Cognito developer guide, "Using PKCE in authorization code grants": S256 only.
	{"https://cognito-idp.*.amazonaws.com/*", silentPKCE},
	// GitHub docs, "Authorizing OAuth apps": code_challenge_method must be S256. Of its two documents
	// only one says so.
	{"https://github.com/login/oauth", silentPKCE},
	// Google Identity, "OpenID Connect", discovery document: accounts.google.com,
	// oauth2.googleapis.com and openidconnect.googleapis.com.
	{"https://accounts.google.com", spreadEndpoints},
}

// isKnown reports whether the whole issuer is one with trait t. One trailing slash is ignored.
func isKnown(issuer string, t trait) bool {
	got := strings.Split(strings.TrimSuffix(issuer, "/"), "/")
	for _, k := range known {
		want := strings.Split(k.issuer, "/")
		if k.traits&t == 0 || len(got) != len(want) {
			continue
		}
		ok := true
		for i := range got {
			if i == hostPart {
				ok = ok && same(strings.Split(got[i], "."), strings.Split(want[i], "."), hostLabel)
			} else {
				ok = ok && same(got[i:i+1], want[i:i+1], pathSegment)
			}
		}
		if ok {
			return true
		}
	}
	return false
}

// hostPart is where the host is in a URL split at its slashes.
const hostPart = 2

func same(got, want []string, wild func(string) bool) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] && !(want[i] == "*" && wild(got[i])) {
			return false
		}
	}
	return true
}

func hostLabel(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func pathSegment(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "%\\?#")
}
