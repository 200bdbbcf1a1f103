package mcpoauth

import (
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	offlineAccess = "offline_access"
	openID        = "openid"
)

// maxRegisteredScopes is how long a scopes_supported may be to be registered: a longer one is a catalogue of more
// than a client needs.
const maxRegisteredScopes = 50

// scopesFor chooses what to request (MCP authorization, scope selection strategy): what the settings say, else what
// the challenge demands, else what the resource lists, else nothing. If further scopes are needed, the login asks for
// them and for those that the previous login at the same issuer has, so that one step-up does not undo another and asks
// for nothing else; a login anew keeps those that were requested before and granted.
func (s *settings) scopesFor(f *discovered, further []string, previous *record.Login) []string {
	again := previous != nil && previous.Issuer == f.Issuer
	var scopes, had []string
	if len(further) > 0 && again {
		had = granted(previous)
	}
	switch {
	case s.scopes.Request != nil:
		scopes = s.scopes.Request
	case len(had) > 0:
	case f.challenge.scopeGiven:
		scopes = f.challenge.scopes
	case f.ResourceMetadata != nil:
		scopes = f.ResourceMetadata.ScopesSupported
	}
	scopes = slices.Clone(scopes)
	switch {
	case len(further) > 0:
		scopes = append(scopes, had...)
	case again && s.scopes.Request == nil:
		scopes = append(scopes, regranted(previous)...)
	}
	scopes = append(scopes, further...)
	scopes = append(scopes, s.scopes.Add...)
	if a := requirementFor(f, previous); a != nil && *a != *noRequirement && slices.Contains(f.Server.ScopesSupported, openID) {
		// acr_values, max_age and claims are OpenID Connect's: its providers may refuse them without this scope.
		scopes = append(scopes, openID)
	}
	if len(scopes) == 0 && s.scopes.Request == nil && s.scopes.OfflineAccess == Auto && again && previous.RefreshToken == "" {
		// What the server granted by default is requested by name, as far as it may be, so that offline_access alone
		// does not suppress it.
		scopes = append(scopes, common(previous.Scopes, f.Server.ScopesSupported)...)
	}
	if s.offline(f, scopes, previous) {
		scopes = append(scopes, offlineAccess)
	}
	drop := s.scopes.Drop
	if s.scopes.OfflineAccess == Never && !slices.Contains(s.scopes.Request, offlineAccess) {
		drop = append(slices.Clone(drop), offlineAccess)
	}
	var out []string
	for _, scope := range scopes {
		if !slices.Contains(out, scope) && !slices.Contains(drop, scope) {
			out = append(out, scope)
		}
	}
	return out
}

// offline reports whether a login requests offline_access beside scopes.
func (s *settings) offline(f *discovered, scopes []string, previous *record.Login) bool {
	switch {
	case s.scopes.OfflineAccess == Always:
		return true
	case s.scopes.OfflineAccess == Never || !slices.Contains(f.Server.ScopesSupported, offlineAccess):
		return false
	case len(scopes) > 0:
		return true
	case s.scopes.Request != nil:
		return false // a person wants none
	case previous != nil && previous.Issuer == f.Issuer && previous.RefreshToken == "" && previous.Grant == "":
		return true // the login before brought no refresh token
	}
	// Nothing is announced. Requesting offline_access alone would suppress the scopes that the server grants by default, if
	// it has any to grant. GitHub has some and lists none: a provider that is known is not guessed at.
	return f.Provider == nil && covers(identityScopes, f.Server.ScopesSupported)
}

// identityScopes are those of OpenID Connect, and Ory's name for offline_access: none of them is a resource's.
var identityScopes = []string{openID, "profile", "email", "address", "phone", offlineAccess, "offline"}

// consent reports whether a login that requests offline_access has to ask for the person's consent (OpenID Connect Core
// 1.0 section 11): where the login before brought no refresh token without it, and where it did with it. Some servers
// ignore the scope otherwise; at others consent is asked for once more in vain, or only an administrator can give it.
func (s *settings) consent(f *discovered, previous *record.Login) bool {
	if previous == nil || previous.Issuer != f.Issuer || f.Provider != nil && f.Provider.NoConsent {
		return false
	}
	if previous.RefreshToken != "" {
		return previous.ConsentPrompt
	}
	return !previous.ConsentPrompt && previous.Grant == "" && slices.Contains(previous.RequestedScopes, offlineAccess)
}

// refreshHint says what may bring a refresh token to a login that has none, or one that lasts longer; "" if nothing is
// known.
func refreshHint(rec *record.Login) string {
	asked := slices.Contains(rec.RequestedScopes, offlineAccess)
	switch {
	case rec.Grant != "" || !rec.OfflineAccessOffered:
		return ""
	case rec.RefreshToken != "" && !asked && !rec.RefreshExpiry.IsZero():
		return "a login with the scope offline_access may last longer: login --force --offline-access always (Options.Scopes.OfflineAccess)"
	case rec.RefreshToken != "":
		return ""
	case !asked:
		return "the server lists the scope offline_access, which may bring a refresh token: login --force --offline-access always (Options.Scopes.OfflineAccess)"
	}
	if p := discovery.ProviderOf(rec.Issuer); rec.ConsentPrompt || p != nil && p.NoConsent {
		return ""
	}
	return "login --force asks for the person's consent as well (prompt=consent), without which some servers give no refresh token"
}

// requirementFor returns the demand on the person's authentication: the challenge's, or the one that was recorded
// before.
func requirementFor(f *discovered, previous *record.Login) *record.Authentication {
	if f.challenge.required != nil {
		return f.challenge.required
	}
	if previous != nil && previous.Issuer == f.Issuer {
		return previous.Required
	}
	return nil
}

// common returns the scopes that are in both lists.
func common(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(scope string) bool { return !slices.Contains(b, scope) })
}

// regranted returns the scopes of a login that were requested for it and granted: those that may be requested again. Some
// servers grant names that no request may have.
func regranted(rec *record.Login) []string {
	if len(rec.Scopes) == 0 {
		return rec.RequestedScopes // RFC 6749 section 5.1: what was requested was granted
	}
	return common(rec.RequestedScopes, slices.Concat(rec.Scopes, rec.LostScopes))
}

// granted returns the scopes that a login has, with those that a refresh lost. Servers leave scopes of OpenID Connect
// out of their answers, whatever they grant.
func granted(rec *record.Login) []string {
	if len(rec.Scopes) == 0 {
		return rec.RequestedScopes // RFC 6749 section 5.1: what was requested was granted
	}
	return slices.Concat(rec.Scopes, rec.LostScopes, common(rec.RequestedScopes, identityScopes))
}

// ungranted returns the scopes that a login requested and was not granted. A server may answer with a longer name, which
// ends in the requested one, or with a shorter one.
func ungranted(rec *record.Login) []string {
	has := granted(rec)
	return slices.DeleteFunc(missing(has, rec.RequestedScopes), func(scope string) bool {
		return slices.ContainsFunc(has, func(h string) bool { return strings.HasSuffix(h, "/"+scope) || strings.HasSuffix(scope, "/"+h) })
	})
}

// stepUp returns the scopes that a login asks for beyond those of the login before, and which of them nobody has
// published: a server may demand any scope that its authorization server knows, an administrator's too.
func (s *settings) stepUp(f *discovered, further []string, previous *record.Login) (all, unpublished []string) {
	var had, published []string
	if previous != nil && previous.Issuer == f.Issuer {
		if had = previous.Scopes; len(had) == 0 {
			had = regranted(previous)
		}
	}
	published = slices.Clone(f.Server.ScopesSupported)
	if f.ResourceMetadata != nil {
		published = append(published, f.ResourceMetadata.ScopesSupported...)
	}
	all = missing(slices.Concat(had, s.scopes.Drop), further)
	if len(published) == 0 {
		return all, nil
	}
	return all, missing(slices.Concat(published, s.scopes.Request, s.scopes.Add), all)
}

// registeredScope returns the scopes to register a client with. A server may limit the client to these, so that a
// step-up to a scope that is left out here would need another client. Each login chooses what it requests.
func registeredScope(f *discovered, scopes []string) string {
	scopes = slices.Clone(scopes)
	if all := f.Server.ScopesSupported; len(all) <= maxRegisteredScopes {
		for _, s := range all {
			// openid is for a login's own request: Keycloak refuses a registration with it.
			if wire.ValidScope(s) && s != openID && !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
	}
	return strings.Join(scopes, " ")
}

// registrable returns the scopes of a login that its client is to be registered for. A server that lists openid as a
// scope may still refuse a registration with it, so it is left out unless a person asked for it. further are scopes that
// the login was asked for beyond those of the settings.
func (s *settings) registrable(scopes, further []string) []string {
	if slices.Contains(slices.Concat(s.scopes.Request, s.scopes.Add, further), openID) {
		return scopes
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return scope == openID })
}

// scopesNeeded returns an error for a login without scopes at a provider that refuses those.
func scopesNeeded(f *discovered, scopes []string) error {
	if f.Provider == nil || !f.Provider.NeedsScopes || len(scopes) > 0 {
		return nil
	}
	return &Error{
		Op: OpAuthorization, URL: f.Issuer, Message: f.Provider.Name + " refuses a login without scopes, and the MCP server names none",
		Hint: "name them with --scope (Options.Scopes.Request)",
	}
}
