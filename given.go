package mcpoauth

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Options that a caller sets now override the record of an earlier login. Either the login can go on with them
// (apply), or they are for another login and the error says so (mismatch).

// apply returns a copy of rec with the settings applied. It is stored once the server has accepted it.
func (s *settings) apply(rec *record.Login) *record.Login {
	r := *rec
	if s.server.NoResource {
		r.Resource = ""
	}
	r.TokenEndpoint = cmp.Or(s.server.Endpoints.Token, r.TokenEndpoint)
	r.RevocationEndpoint = cmp.Or(s.server.Endpoints.Revocation, r.RevocationEndpoint)
	if s.server.TokenMember != "" {
		r.TokenMember = s.server.TokenMember
	}
	if s.allow.TokenType != "" {
		r.BearerType = s.allow.TokenType
	}
	if s.client.ID == r.Registration.ClientID && s.client.Secret != "" && !s.nonInteractive() {
		r.Registration.ClientSecret = s.client.Secret
	}
	if method := s.methodFor(&r.Registration); method != "" {
		r.Registration.AuthMethod = string(method)
	}
	return &r
}

// methodFor returns the client authentication that the settings demand of a client, "" if they demand none.
func (s *settings) methodFor(reg *record.Registration) AuthMethod {
	switch {
	case s.client.AuthMethod != "":
		return s.client.AuthMethod
	case s.client.ID == "" || s.client.ID != reg.ClientID:
		return ""
	case s.client.Key != nil:
		return AuthMethodPrivateKeyJWT
	case s.client.Secret != "" && reg.AuthMethod == string(AuthMethodNone):
		return AuthMethodBasic
	}
	return ""
}

// mismatch returns why the stored login is not the one that the settings ask for, "" if it is.
func (s *settings) mismatch(rec *record.Login) string {
	reg := &rec.Registration
	switch {
	case s.client.ID != "" && reg.ClientID != s.client.ID:
		return fmt.Sprintf("the stored login was made by the client %s, and --client-id (Options.Client.ID) names %s", wire.Clean(reg.ClientID), wire.Clean(s.client.ID))
	case s.client.ID == "" && s.client.MetadataURL != "" && RegistrationSource(reg.Source) == SourceMetadataDocument && reg.ClientID != s.client.MetadataURL:
		return fmt.Sprintf("the stored login was made by the client %s, and --client-metadata-url (Options.Client.MetadataURL) names %s", wire.Clean(reg.ClientID), wire.Clean(s.client.MetadataURL))
	case s.server.Issuer != "" && !resource.SameIssuer(s.server.Issuer, rec.Issuer):
		return fmt.Sprintf("the stored login was made at %s, and --auth-server (Options.Server.Issuer) names %s", wire.Clean(rec.Issuer), wire.Clean(s.server.Issuer))
	case s.client.Issuer != "" && !resource.SameIssuer(s.client.Issuer, rec.Issuer):
		return fmt.Sprintf("the stored login was made at %s, and --client-issuer (Options.Client.Issuer) names %s", wire.Clean(rec.Issuer), wire.Clean(s.client.Issuer))
	case s.dpop == Always && rec.DPoPKey == "":
		return "the tokens of the stored login are not bound to a key, and --dpop always (Options.DPoP) demands it"
	}
	return s.mismatchedMethod(reg)
}

// mismatchedMethod returns why the client cannot authenticate as the settings demand.
func (s *settings) mismatchedMethod(reg *record.Registration) string {
	given := s.client.ID != "" && s.client.ID == reg.ClientID
	secret := reg.ClientSecret != "" || given && s.client.Secret != ""
	switch s.methodFor(reg) {
	case "", AuthMethodNone:
	case AuthMethodBasic, AuthMethodPost:
		if !secret {
			return fmt.Sprintf("the client of the stored login has no secret, and --client-auth-method (Options.Client.AuthMethod) demands %s", s.client.AuthMethod)
		}
	case AuthMethodPrivateKeyJWT:
		if s.client.Key == nil {
			return "--client-auth-method (Options.Client.AuthMethod) demands private_key_jwt, and there is no client key"
		}
	}
	return ""
}

// lacking returns the scopes that the settings request and that the stored login neither has nor has requested.
func (s *settings) lacking(rec *record.Login) []string {
	var wanted []string
	for _, scope := range slices.Concat(s.scopes.Request, s.scopes.Add) {
		if !slices.Contains(s.scopes.Drop, scope) {
			wanted = append(wanted, scope)
		}
	}
	return missing(slices.Concat(rec.Scopes, rec.RequestedScopes), wanted)
}

// authFor returns how the client of a registration authenticates. The secret of a non-interactive client and a
// key are not stored: they are those of the settings.
func (s *settings) authFor(reg *record.Registration) grant.ClientAuth {
	a := grant.ClientAuth{
		ID: reg.ClientID, Secret: secret.New(reg.ClientSecret), Method: reg.AuthMethod, IDInBody: reg.ClientIDInBody, Chosen: s.client.AuthMethod != "",
	}
	if s.client.AuthMethod != "" {
		a.Method = string(s.client.AuthMethod)
	}
	if a.ID != "" && a.ID == s.client.ID && s.client.Secret != "" {
		a.Secret = secret.New(s.client.Secret)
	}
	if k := s.client.Key; k != nil && a.Method == string(AuthMethodPrivateKeyJWT) {
		a.Signer = k.signer
		if !k.AudienceTokenEndpoint {
			a.Audience = reg.Issuer
		}
	}
	return a
}

// rememberMethod makes the client of a new login authenticate as the previous login with it found out.
func (s *settings) rememberMethod(reg *record.Registration, previous *record.Login) {
	if previous == nil || s.client.AuthMethod != "" || previous.Issuer != reg.Issuer || previous.Registration.ClientID != reg.ClientID {
		return
	}
	secrets := []string{string(AuthMethodBasic), string(AuthMethodPost)}
	if found := &previous.Registration; slices.Contains(secrets, found.AuthMethod) && slices.Contains(secrets, reg.AuthMethod) {
		reg.AuthMethod, reg.ClientIDInBody = found.AuthMethod, found.ClientIDInBody
	}
}

// refusalDigest identifies a refresh token together with the client authentication that it is presented with: a final
// refusal is not tried again, but the server may accept the same refresh token with another secret.
func (s *settings) refusalDigest(rec *record.Login) string {
	r := s.apply(rec)
	auth := s.authFor(&r.Registration)
	h := sha256.New()
	for _, part := range []string{r.RefreshToken, auth.ID, auth.Secret.Reveal(), auth.Method, r.TokenEndpoint, r.Resource} {
		_, _ = fmt.Fprintf(h, "%d %s ", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// endedBecause returns why the login of rec cannot go on, "" if it can.
func (s *settings) endedBecause(rec *record.Login) string {
	if why := s.mismatch(rec); why != "" {
		return why
	}
	if rec.LoginRequired != "" && (rec.LoginRequiredFor == "" || rec.LoginRequiredFor == s.refusalDigest(rec)) {
		return rec.LoginRequired
	}
	if lost := s.lacking(rec); len(lost) > 0 && !s.nonInteractive() {
		return fmt.Sprintf("the stored login lacks the scopes %q, which --scope (Options.Scopes.Request) requests", strings.Join(lost, " "))
	}
	return ""
}

// covers reports whether granted has every scope of wanted.
func covers(granted, wanted []string) bool { return len(missing(granted, wanted)) == 0 }

// missing returns the scopes of wanted that granted lacks.
func missing(granted, wanted []string) []string {
	var out []string
	for _, s := range wanted {
		if !slices.Contains(granted, s) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
