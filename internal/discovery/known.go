package discovery

import "strings"

// trait is a fact about an issuer that its metadata does not state.
type trait int

const (
	// silentPKCE: PKCE with S256 works but is not advertised.
	silentPKCE trait = 1 << iota
	// spreadEndpoints: the endpoints lie under several registrable domains of one owner.
	spreadEndpoints
)

// Provider has facts about an authorization server that its metadata does not state.
type Provider struct {
	// Name of the provider; Source is where it documents the facts.
	Name, Source string
	// Issuers: a "*" stands for one whole path segment or host label, so that an entry matches the issuers of one
	// provider only.
	Issuers []string
	traits  trait
	// Aliases are announced issuers whose document names another one.
	Aliases map[string]string
	// Register is where clients are registered by hand.
	Register string
	// Authorize are parameters that its authorization requests need.
	Authorize map[string]string
	// NeedsScopes: it refuses an authorization request without scopes.
	NeedsScopes bool
	// NoConsent: it gives refresh tokens without asking for consent anew, and asking (prompt=consent) may need an
	// administrator.
	NoConsent bool
	// NoResource: it refuses the resource indicator (RFC 8707).
	NoResource bool
	// TokenMember and TokenType are where its token responses have the token, and how they call a bearer token.
	TokenMember, TokenType string
}

// known lists the providers with such facts. An entry may make a login work; it must not weaken a check for other
// issuers.
var known = []*Provider{
	{
		Name: "Microsoft Entra ID", Source: `Microsoft identity platform, "OAuth 2.0 authorization code flow" (code_challenge_method is S256), "OpenID Connect" (the issuers, {tenantid} included), "Scopes and permissions" (resources are named by scopes) and "National clouds"`,
		Issuers: []string{
			"https://login.microsoftonline.com/*/v2.0", "https://sts.windows.net/*", "https://login.microsoftonline.us/*/v2.0", "https://login.partner.microsoftonline.cn/*/v2.0",
		},
		Aliases: map[string]string{
			"https://login.microsoftonline.com/common/v2.0":        "https://login.microsoftonline.com/{tenantid}/v2.0",
			"https://login.microsoftonline.com/organizations/v2.0": "https://login.microsoftonline.com/{tenantid}/v2.0",
		},
		traits: silentPKCE, NoResource: true, NoConsent: true, Register: "https://entra.microsoft.com (App registrations, platform Mobile and desktop applications)",
	},
	{
		Name: "Microsoft Entra External ID", Source: `Microsoft Entra External ID, "Supported features: OpenID Connect and OAuth2", and Azure AD B2C, "OAuth 2.0 authorization code flow in Azure Active Directory B2C": S256`,
		Issuers: []string{"https://*.ciamlogin.com/*/v2.0", "https://*.b2clogin.com/*/v2.0"}, traits: silentPKCE, NoConsent: true, Register: "https://entra.microsoft.com (App registrations)",
	},
	{
		Name: "Amazon Cognito", Source: `Amazon Cognito developer guide, "Using PKCE in authorization code grants": S256 only`,
		Issuers: []string{"https://cognito-idp.*.amazonaws.com/*"}, traits: silentPKCE, Register: "the user pool's App clients in the Amazon Cognito console",
	},
	{
		Name: "GitHub", Source: `GitHub docs, "Authorizing OAuth apps": code_challenge_method must be S256. Of its two documents only one says so`,
		Issuers: []string{"https://github.com/login/oauth"}, traits: silentPKCE, Register: "https://github.com/settings/developers",
	},
	{
		Name: "Google", Source: `Google Identity, "OpenID Connect" (the discovery document: accounts.google.com, oauth2.googleapis.com and openidconnect.googleapis.com) and "Using OAuth 2.0 for Web Server Applications" (access_type, prompt)`,
		Issuers: []string{"https://accounts.google.com"}, traits: spreadEndpoints, Register: "https://console.cloud.google.com/auth/clients",
		// Without them there is no refresh token.
		Authorize: map[string]string{"access_type": "offline", "prompt": "consent"}, NeedsScopes: true,
	},
	{
		Name: "Dropbox", Source: `Dropbox, "OAuth Guide" (PKCE with S256, token_access_type=offline) and the API's /oauth2/authorize at www.dropbox.com and /oauth2/token at api.dropboxapi.com`,
		Issuers: []string{"https://www.dropbox.com", "https://dropbox.com"}, traits: spreadEndpoints | silentPKCE, Register: "https://www.dropbox.com/developers/apps",
		// Without it there is no refresh token.
		Authorize: map[string]string{"token_access_type": "offline"},
	},
	{
		Name: "Slack", Source: `Slack, "Installing with OAuth" and the method oauth.v2.user.access: user tokens, token_type user`,
		Issuers: []string{"https://mcp.slack.com", "https://slack.com"}, Register: "https://api.slack.com/apps", TokenMember: "authed_user", TokenType: "user",
	},
	{Name: "Okta", Source: `Okta developer, "Create OpenID Connect app integrations"`, Issuers: []string{"https://*.okta.com", "https://*.okta.com/oauth2/*"}, NoConsent: true, Register: "the Okta Admin Console (Applications, Native Application)"},
	{Name: "Auth0", Source: `Auth0 docs, "Register Native Applications"`, Issuers: []string{"https://*.auth0.com", "https://*.*.auth0.com"}, Register: "https://manage.auth0.com (Applications, Native)"},
	{Name: "Atlassian", Source: `Atlassian developer, "OAuth 2.0 (3LO) apps"`, Issuers: []string{"https://auth.atlassian.com"}, Register: "https://developer.atlassian.com/console/myapps"},
	{Name: "Salesforce", Source: `Salesforce Help, "External Client Apps"`, Issuers: []string{"https://login.salesforce.com", "https://test.salesforce.com", "https://*.my.salesforce.com"}, Register: "Setup, External Client App Manager, in the Salesforce org"},
}

// ProviderOf returns the provider of an issuer, nil if it is not known. One trailing slash is ignored.
func ProviderOf(issuer string) *Provider {
	for _, p := range known {
		for _, pattern := range p.Issuers {
			if matches(issuer, pattern) {
				return p
			}
		}
	}
	return nil
}

// aliased reports whether an issuer is known to announce itself by another name. A pinned issuer has no aliases.
func (d *run) aliased(announced, documented string) bool {
	if d.r.NoProviders || d.r.PinnedIssuer != "" {
		return false
	}
	p := ProviderOf(announced)
	return p != nil && documented != "" && p.Aliases[strings.TrimSuffix(announced, "/")] == documented
}

// isKnown reports whether the whole issuer is one with trait t.
func isKnown(issuer string, t trait) bool {
	p := ProviderOf(issuer)
	return p != nil && p.traits&t != 0
}

// matches compares a whole issuer with a pattern. One trailing slash is ignored.
func matches(issuer, pattern string) bool {
	got, want := strings.Split(strings.TrimSuffix(issuer, "/"), "/"), strings.Split(pattern, "/")
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if i == hostPart && !same(strings.Split(got[i], "."), strings.Split(want[i], "."), hostLabel) || i != hostPart && !same(got[i:i+1], want[i:i+1], pathSegment) {
			return false
		}
	}
	return true
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
