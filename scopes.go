package mcpoauth

import (
	"slices"
	"strings"

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
// the challenge demands, else what the resource lists, else nothing. If further scopes are needed, those of the
// previous login at the same issuer are added, so that one step-up does not undo another; a login anew keeps those that
// were requested before and granted.
func (s *settings) scopesFor(f *discovered, further []string, previous *record.Login) []string {
	var scopes []string
	switch {
	case s.scopes.Request != nil:
		scopes = s.scopes.Request
	case f.challenge.scopeGiven:
		scopes = f.challenge.scopes
	case f.ResourceMetadata != nil:
		scopes = f.ResourceMetadata.ScopesSupported
	}
	scopes = slices.Clone(scopes)
	again := previous != nil && previous.Issuer == f.Issuer
	switch {
	case len(further) > 0 && again:
		scopes = append(scopes, previous.Scopes...)
		scopes = append(scopes, previous.RequestedScopes...)
	case again && s.scopes.Request == nil:
		scopes = append(scopes, regranted(previous)...)
	}
	scopes = append(scopes, further...)
	scopes = append(scopes, s.scopes.Add...)
	// Requesting only offline_access would suppress the scopes that the server grants by default.
	auto := s.scopes.Request == nil && len(scopes) > 0 && slices.Contains(f.Server.ScopesSupported, offlineAccess)
	if s.scopes.OfflineAccess == Always || s.scopes.OfflineAccess == Auto && auto {
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

// regranted returns the scopes of a login that were requested for it and granted: those that may be requested again. Some
// servers grant names that no request may have.
func regranted(rec *record.Login) []string {
	if len(rec.Scopes) == 0 {
		return rec.RequestedScopes // RFC 6749 section 5.1: what was requested was granted
	}
	return slices.DeleteFunc(slices.Clone(rec.RequestedScopes), func(scope string) bool { return !slices.Contains(rec.Scopes, scope) })
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
