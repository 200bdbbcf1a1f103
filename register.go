package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/loopback"
	"github.com/mcpoauth/mcpoauth/internal/registration"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// Where a client's identity comes from.
const (
	sourcePreRegistered = "pre-registered"
	sourceDocument      = "metadata-document"
	sourceDynamic       = "dynamic"
	sourceImported      = "imported"
)

// identity is who we are at an authorization server.
type identity struct {
	reg    *store.Registration
	rev    store.Revision
	key    store.Key
	reused bool
}

// registrationKey identifies a dynamic registration: issuer and redirect URI without port.
func (c *Client) registrationKey(issuer, redirectURI string) store.Key {
	if u, err := url.Parse(redirectURI); err == nil {
		u.Host = u.Hostname()
		redirectURI = u.String()
	}
	return store.Key{Kind: store.KindRegistration, ID: issuer + " " + redirectURI, Profile: c.opts.Profile}
}

// listenAndRegister opens the listener, on the port of the stored registration if there is one,
// and returns it with the client to use. It listens first: a port is named only once it is held.
func (c *Client) listenAndRegister(ctx context.Context, f *facts, w want) (*identity, *loopback.Listener, error) {
	id := c.fixedIdentity(f)
	if id == nil {
		host := c.opts.CallbackHost
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		id = c.storedIdentity(ctx, f, "http://"+host+c.opts.CallbackPath, w)
	}
	port := c.opts.CallbackPort
	if port == 0 && id.reg != nil && id.reg.Source == sourceDynamic {
		port = portOf(id.reg.RedirectURI)
	}
	cfg := loopback.Config{Host: c.opts.CallbackHost, Port: port, Path: c.opts.CallbackPath, ServerName: hostOf(c.id)}
	l, err := loopback.Listen(cfg)
	var busy *loopback.PortBusyError
	if errors.As(err, &busy) && c.opts.CallbackPort == 0 {
		// Somebody has the port of the registration.
		cfg.Port = 0
		l, err = loopback.Listen(cfg)
	}
	if err != nil {
		return nil, nil, &AuthorizationError{Fact{
			Message: "cannot listen for the browser's answer: " + err.Error(), Err: err,
			Hint: "choose another port with --callback-port (Options.CallbackPort), or leave it out",
		}}
	}
	if old := id.reg; old != nil && old.Source == sourceDynamic && !c.suits(ctx, f, old, l, w) && !c.changeRegistration(ctx, f, id, l.RedirectURI(), w) {
		id.reg, id.reused = nil, false
	}
	if id.reg == nil {
		if err := c.register(ctx, f, id, l.RedirectURI(), w); err != nil {
			_ = l.Close()
			return nil, nil, err
		}
	}
	if id.reused {
		c.suspectRegistration(ctx, id)
	}
	return id, l, nil
}

// suits reports whether a registration has what a login needs. Scopes that it has not are the server's to judge
// if it cannot be changed.
func (c *Client) suits(ctx context.Context, f *facts, reg *store.Registration, l *loopback.Listener, w want) bool {
	if portOf(reg.RedirectURI) != l.Port() {
		return false
	}
	return reg.Scope == "" || reg.ClientURI == "" || covers(strings.Fields(reg.Scope), c.scopesFor(ctx, f, w))
}

// changeRegistration adds to a stored registration what a login needs (RFC 7592 section 2.2), and reports whether
// it serves now. The redirect URIs that it has stay: another process may be waiting at one.
func (c *Client) changeRegistration(ctx context.Context, f *facts, id *identity, redirectURI string, w want) bool {
	reg := *id.reg
	if reg.ClientURI == "" || reg.AccessToken == "" || !c.manageable(&reg) {
		return portOf(reg.RedirectURI) == portOf(redirectURI)
	}
	got, err := registration.Change(ctx, c.http, registration.Update{
		URI: reg.ClientURI, Token: secret.New(reg.AccessToken), ClientID: reg.ClientID,
		RedirectURIs: redirectSpellings(redirectURI), Scopes: c.scopesFor(ctx, f, w),
	})
	if err != nil || got.AuthMethod != reg.AuthMethod || len(got.RedirectURIs) > 0 && !slices.Contains(got.RedirectURIs, redirectURI) {
		c.note("the stored registration could not be changed")
		return portOf(reg.RedirectURI) == portOf(redirectURI)
	}
	reg.RedirectURI, reg.RedirectURIs, reg.Scope = redirectURI, got.RedirectURIs, got.Scope
	if !got.ClientSecret.IsZero() {
		reg.ClientSecret, reg.SecretExpiry = got.ClientSecret.Reveal(), got.SecretExpiry
	}
	if !got.RegistrationAccessToken.IsZero() {
		reg.AccessToken = got.RegistrationAccessToken.Reveal()
	}
	if got.RegistrationClientURI != "" {
		reg.ClientURI = got.RegistrationClientURI
	}
	id.reg = &reg
	c.saveRegistration(ctx, id)
	return true
}

// manageable reports whether the address that manages a registration is the server's own: the token that goes
// there is a secret.
func (c *Client) manageable(reg *store.Registration) bool {
	return sameOrigin(reg.ClientURI, reg.Endpoint) || sameOrigin(reg.ClientURI, reg.Issuer)
}

// chooseAuthMethod chooses how a client with this secret, if any, authenticates.
func chooseAuthMethod(supported []string, secret string) string {
	if secret == "" {
		return registration.AuthMethodWithoutSecret(supported)
	}
	return registration.AuthMethodWithSecret(supported)
}

// fixedIdentity returns the pre-registered client or the metadata document, if one applies.
func (c *Client) fixedIdentity(f *facts) *identity {
	methods := f.Server.TokenEndpointAuthMethodsSupported
	switch {
	case c.opts.ClientID != "":
		method := c.opts.ClientAuthMethod
		if method == "" && c.opts.ClientKey != nil {
			method = methodPrivateKey
		}
		if method == "" {
			method = chooseAuthMethod(methods, c.opts.ClientSecret)
		}
		return &identity{reg: &store.Registration{
			Issuer: f.Issuer, ClientID: c.opts.ClientID, ClientSecret: c.opts.ClientSecret, AuthMethod: method, Source: sourcePreRegistered,
		}}
	case c.opts.ClientMetadataURL != "" && f.Server.ClientIDMetadataDocumentSupported:
		method := "none"
		if c.opts.ClientKey != nil {
			method = methodPrivateKey
		}
		if methods == nil || slices.Contains(methods, method) {
			return &identity{reg: &store.Registration{Issuer: f.Issuer, ClientID: c.opts.ClientMetadataURL, AuthMethod: method, Source: sourceDocument}}
		}
	}
	return nil
}

// checkKey refuses, before anything is sent, a client key whose signatures the server does not list. Lists can
// be wrong: an algorithm that was asked for is used in any case.
func (c *Client) checkKey(f *facts) error {
	k, listed := c.opts.ClientKey, f.Server.TokenEndpointAuthSigningAlgValuesSupported
	if k == nil || k.chosen || len(listed) == 0 || slices.Contains(listed, k.signer.Algorithm()) {
		return nil
	}
	if id := c.fixedIdentity(f); id == nil || id.reg.AuthMethod != methodPrivateKey {
		return nil
	}
	hint := "register a key of a type that it lists; if the list is wrong, --client-key-alg " + k.signer.Algorithm() + " (NewClientKey) uses this one all the same"
	if alg := k.signer.OneOf(listed); alg != "" {
		hint = "this key can sign with " + alg + " as well: give --client-key-alg " + alg + " (NewClientKey)"
	}
	return optionError("ClientKey", fmt.Errorf("it signs with %s, and %s takes %s", k.signer.Algorithm(), f.Issuer, wire.Clean(strings.Join(listed, ", "))), hint)
}

// storedIdentity returns the stored dynamic registration if it can serve this login, and an
// identity without one otherwise.
func (c *Client) storedIdentity(ctx context.Context, f *facts, redirectURI string, w want) *identity {
	id := &identity{key: c.registrationKey(f.Issuer, redirectURI)}
	data, rev, err := c.store.Load(ctx, id.key)
	if errors.Is(err, store.ErrNotFound) {
		return id
	}
	id.rev = rev
	var reg *store.Registration
	if err == nil {
		reg, err = store.DecodeRegistration(data)
	}
	var damaged *store.CorruptError
	switch {
	case errors.As(err, &damaged):
		c.note("the stored registration cannot be read, registering anew: " + err.Error())
		if derr := c.store.Delete(ctx, id.key, 0); derr == nil {
			id.rev = 0
		}
	case err != nil:
		// Another key sealed it, or a newer version wrote it: it is of use to others.
		c.note("the stored registration cannot be read; one is made for this login alone: " + err.Error())
		id.key = store.Key{}
	case w.newClient:
	case reg.Issuer != f.Issuer:
	case !reg.SecretExpiry.IsZero() && time.Now().After(reg.SecretExpiry):
		c.note("the stored client's secret has expired, registering anew")
	case reg.Unanswered:
		c.note("the last login with the stored client did not come back, registering anew")
	default:
		id.reg, id.reused = reg, true
	}
	return id
}

// register registers a client dynamically (RFC 7591) and stores it before any browser opens, so
// that an aborted login reuses it.
func (c *Client) register(ctx context.Context, f *facts, id *identity, redirectURI string, w want) error {
	endpoint := f.Server.RegistrationEndpoint
	if endpoint == "" {
		where := "there"
		if f.Provider != nil {
			where = "at " + f.Provider.Register
		}
		return &RegistrationError{Fact{
			URL: f.Issuer, Message: "the authorization server " + f.Issuer + " does not register clients by itself",
			Hint: "register a client " + where + " with the redirect URI " + redirectURI + ", then give --client-id" + c.portToKeep(redirectURI) + " and, if it has a secret, --client-secret-env (Options.ClientID, Options.ClientSecret)",
		}}
	}
	applicationType := "native"
	if strings.HasPrefix(redirectURI, "https:") {
		applicationType = "web"
	}
	grants := []string{"authorization_code", "refresh_token"}
	if c.device() {
		grants = append(grants, grant.TypeDeviceCode)
	}
	r := registration.Request{
		Endpoint: endpoint, RedirectURIs: redirectSpellings(redirectURI), ClientName: c.opts.ClientName, ApplicationType: applicationType,
		GrantTypes: grants, Scope: c.registeredScope(ctx, f, w),
		AuthMethod: registration.AuthMethodWithoutSecret(f.Server.TokenEndpointAuthMethodsSupported),
		SoftwareID: "mcpoauth", SoftwareVersion: Version, SoftwareStatement: c.opts.SoftwareStatement,
		InitialAccessToken: secret.New(c.opts.InitialAccessToken), Extra: c.opts.ClientMetadata,
	}
	r.AllowForeignEndpoints = c.opts.AllowForeignEndpoints
	got, err := registration.Register(ctx, c.http, r)
	if err != nil {
		return publicError(err)
	}
	id.reg = &store.Registration{
		Issuer: f.Issuer, ClientID: got.ClientID, ClientSecret: got.ClientSecret.Reveal(), AuthMethod: got.AuthMethod, Source: sourceDynamic,
		RedirectURI: redirectURI, RedirectURIs: got.RedirectURIs, Endpoint: endpoint, Scope: got.Scope, SecretExpiry: got.SecretExpiry, CreatedAt: time.Now(),
		AccessToken: got.RegistrationAccessToken.Reveal(), ClientURI: got.RegistrationClientURI, LoginUntil: time.Now().Add(c.opts.LoginTimeout),
	}
	c.notes(got.Notes)
	c.saveRegistration(ctx, id)
	return nil
}

// portToKeep is the flag that makes the next login use the redirect URI of this one, port included: most
// servers compare all of it.
func (c *Client) portToKeep(redirectURI string) string {
	if c.opts.CallbackPort != 0 || portOf(redirectURI) == 0 || !strings.HasPrefix(redirectURI, "http:") {
		return ""
	}
	return fmt.Sprintf(", --callback-port %d", portOf(redirectURI))
}

// registeredScope is what the client may ask for one day: a server may hold it to what it registered
// with, so that a step-up to a scope left out here would need another client. What is asked for is
// chosen at each login.
func (c *Client) registeredScope(ctx context.Context, f *facts, w want) string {
	scopes := c.scopesFor(ctx, f, w)
	if all := f.Server.ScopesSupported; len(all) <= maxRegisteredScopes {
		for _, s := range all {
			if wire.ValidScope(s) && !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
	}
	return strings.Join(scopes, " ")
}

// maxRegisteredScopes: a server that lists more than this lists what nobody needs.
const maxRegisteredScopes = 50

// redirectSpellings returns the redirect URI and, for a loopback one, its other spelling, so
// that the registration serves whichever of the two the server accepts later.
func redirectSpellings(redirectURI string) []string {
	for _, pair := range [][2]string{{"http://127.0.0.1:", "http://localhost:"}, {"http://localhost:", "http://127.0.0.1:"}} {
		if rest, ok := strings.CutPrefix(redirectURI, pair[0]); ok {
			return []string{redirectURI, pair[1] + rest}
		}
	}
	return []string{redirectURI}
}

// saveRegistration stores a registration. That it cannot be stored is no reason to stop.
func (c *Client) saveRegistration(ctx context.Context, id *identity) {
	if id.key == (store.Key{}) {
		return
	}
	data, err := id.reg.Encode()
	if err == nil {
		id.rev, err = c.store.Save(ctx, id.key, data, id.rev)
	}
	if err != nil {
		c.log.Warn("the registration could not be saved", "issuer", id.reg.Issuer, "err", err)
	}
}

// suspectRegistration notes that a login with a stored registration has begun. An authorization
// server that has forgotten a client shows a page and never comes back, so a registration whose
// last login did not come back is replaced at the next.
func (c *Client) suspectRegistration(ctx context.Context, id *identity) {
	id.reg.Unanswered, id.reg.LoginUntil = true, time.Now().Add(c.opts.LoginTimeout)
	c.saveRegistration(ctx, id)
}

func (c *Client) confirmRegistration(ctx context.Context, id *identity) {
	id.reg.Unanswered, id.reg.LoginUntil = false, time.Time{}
	c.saveRegistration(ctx, id)
}

// forgetRegistration removes the stored form of reg.
func (c *Client) forgetRegistration(ctx context.Context, reg *store.Registration) {
	key := c.registrationKey(reg.Issuer, reg.RedirectURI)
	data, rev, err := c.store.Load(ctx, key)
	if err != nil {
		return
	}
	var damaged *store.CorruptError
	if stored, err := store.DecodeRegistration(data); err != nil && !errors.As(err, &damaged) || err == nil && stored.ClientID != reg.ClientID {
		return // somebody registered anew
	}
	if err := c.store.Delete(ctx, key, rev); err != nil {
		c.log.Warn("the registration could not be removed", "issuer", reg.Issuer, "err", err)
	}
}
