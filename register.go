package mcpoauth

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/registration"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// fixed returns the pre-registered client or the metadata document, nil if neither applies.
func (r *registrar) fixed(f *discovered) *clientRegistration {
	methods, c := f.Server.TokenEndpointAuthMethodsSupported, r.set.client
	switch {
	case c.ID != "":
		method := string(c.AuthMethod)
		if method == "" && c.Key != nil {
			method = string(AuthMethodPrivateKeyJWT)
		}
		if method == "" {
			method = chooseAuthMethod(methods, c.Secret)
		}
		return &clientRegistration{reg: &record.Registration{
			Issuer: f.Issuer, ClientID: c.ID, ClientSecret: c.Secret, AuthMethod: method, Source: string(SourcePreRegistered),
		}}
	case c.MetadataURL != "" && f.Server.ClientIDMetadataDocumentSupported:
		method := string(AuthMethodNone)
		if c.Key != nil {
			method = string(AuthMethodPrivateKeyJWT)
		}
		if chosen := c.AuthMethod; chosen != "" && string(chosen) != method {
			return nil // a client that a document describes has no secret
		}
		if methods == nil || slices.Contains(methods, method) {
			return &clientRegistration{reg: &record.Registration{Issuer: f.Issuer, ClientID: c.MetadataURL, AuthMethod: method, Source: string(SourceMetadataDocument)}}
		}
	}
	return nil
}

// chooseAuthMethod chooses how a client with this secret, if any, authenticates.
func chooseAuthMethod(supported []string, secret string) string {
	if secret == "" {
		return registration.AuthMethodWithoutSecret(supported)
	}
	return registration.AuthMethodWithSecret(supported)
}

// checkKey returns an error, before anything is sent, for a client key whose algorithm the server does not list. An
// algorithm that the caller has chosen is used all the same, since lists can be wrong.
func (r *registrar) checkKey(f *discovered) error {
	k, listed := r.set.client.Key, f.Server.TokenEndpointAuthSigningAlgValuesSupported
	if k == nil || k.chosen || len(listed) == 0 || slices.Contains(listed, k.signer.Algorithm()) {
		return nil
	}
	if c := r.fixed(f); c == nil || c.reg.AuthMethod != string(AuthMethodPrivateKeyJWT) {
		return nil
	}
	hint := "register a key of a type that it lists; if the list is wrong, --client-key-alg " + k.signer.Algorithm() + " (NewClientKey) uses this one all the same"
	if alg := k.signer.OneOf(listed); alg != "" {
		hint = "this key can sign with " + alg + " as well: give --client-key-alg " + alg + " (NewClientKey)"
	}
	return optionError("Client.Key", fmt.Errorf("it signs with %s, and %s accepts %s", k.signer.Algorithm(), f.Issuer, wire.Clean(strings.Join(listed, ", "))), hint)
}

// stored returns the stored dynamic registration if it can serve a login, and a clientRegistration without one
// otherwise.
func (r *registrar) stored(ctx context.Context, issuer string, need clientNeed) *clientRegistration {
	c := &clientRegistration{key: r.keyOf(issuer, need.redirectURI)}
	reg, rev, err := r.load(ctx, c.key)
	if errors.Is(err, store.ErrNotFound) {
		return c
	}
	c.rev = rev
	note := func(text string) { r.trace.note(ctx, NoteRegistration, text) }
	switch {
	case isCorrupt(err):
		note("the stored registration cannot be read, registering anew: " + err.Error())
		if derr := r.store.Delete(ctx, c.key, 0); derr == nil {
			c.rev = 0
		}
	case err != nil:
		// Another key sealed it, or a newer version wrote it: other programs can use it.
		note("the stored registration cannot be read; one is made for this login alone: " + err.Error())
		c.key = store.Key{}
	case need.fresh, reg.Issuer != issuer:
	case !reg.SecretExpiry.IsZero() && time.Now().After(reg.SecretExpiry):
		note("the stored client's secret has expired, registering anew")
	case r.unusable(reg) != "":
		note("the stored client is not used, registering anew: " + r.unusable(reg))
	default:
		c.reg, c.reused = reg, true
	}
	switch {
	case need.unasked:
		c.replacedAt = time.Now()
	case reg != nil:
		c.replacedAt = reg.ReplacedAt
	}
	return c
}

// storedAt returns the stored dynamic registration whose redirect URI is the issuer's own, or else the plain one, which
// is registered where the server refuses the other. It reports the path of its redirect URI.
func (r *registrar) storedAt(ctx context.Context, f *discovered, need func(base string) clientNeed) (client *clientRegistration, path string) {
	path, plain := r.set.redirectPath(f), r.set.callback.Path
	client = r.stored(ctx, f.Issuer, need(r.set.redirectBase(path)))
	if client.reg != nil || path == plain {
		return client, path
	}
	if other := r.stored(ctx, f.Issuer, need(r.set.redirectBase(plain))); other.reg != nil {
		return other, plain
	}
	return client, path
}

// unusable returns why a registered client cannot authenticate as the settings demand, "" if it can.
func (r *registrar) unusable(reg *record.Registration) string {
	switch method := r.set.client.AuthMethod; {
	case (method == AuthMethodBasic || method == AuthMethodPost) && reg.ClientSecret == "":
		return fmt.Sprintf("it has no secret, and --client-auth-method (Options.Client.AuthMethod) demands %s", method)
	case method == AuthMethodPrivateKeyJWT:
		return "it has no key, and --client-auth-method (Options.Client.AuthMethod) demands private_key_jwt"
	}
	return ""
}

// serve makes c a client that can be used for a login, by changing its registration or by a new one.
func (r *registrar) serve(ctx context.Context, f *discovered, c *clientRegistration, need clientNeed) error {
	if c.reg == nil {
		return r.register(ctx, f, c, need)
	}
	if RegistrationSource(c.reg.Source) != SourceDynamic {
		return nil
	}
	serves, gone := r.serves(ctx, c, need)
	if serves {
		return nil
	}
	c.reg, c.reused = nil, false
	err := r.register(ctx, f, c, need)
	if err == nil && gone {
		r.readNew(ctx, c)
	}
	return err
}

// replaceEvery is how often a registration is replaced that nobody asked to replace and that the server did not deny:
// where the fault is another one, each further login would leave a client at the server.
const replaceEvery = 24 * time.Hour

// serves reports whether a stored registration serves a login, after changes if need be, and whether the server said that
// it is gone.
func (r *registrar) serves(ctx context.Context, c *clientRegistration, need clientNeed) (serves, gone bool) {
	now, err := r.look(ctx, c, need)
	switch {
	case errors.Is(err, registration.ErrGone):
		r.trace.note(ctx, NoteRegistration, "the server no longer has the stored client, registering anew")
		return false, true
	case err != nil:
		r.trace.note(ctx, NoteRegistration, "the server did not say whether it still has the stored client, going on with it: "+publicError(err).Error())
	}
	if c.reg.Unanswered {
		if r.mayReplace(c) {
			r.trace.note(ctx, NoteRegistration, "the last login with the stored client got no response, registering anew")
			c.replacedAt = time.Now()
			return false, false
		}
		r.trace.note(ctx, NoteRegistration, "the last login with the stored client got no response, but the client was replaced less than a day ago and is used once more; --new-client (LoginOptions.NewClient) replaces it")
	}
	if suits(c.reg, need) {
		return true, false
	}
	return r.change(ctx, c, need, now)
}

// mayReplace reports whether a registration may be replaced on a suspicion.
func (r *registrar) mayReplace(c *clientRegistration) bool {
	return time.Since(c.replacedAt) >= replaceEvery
}

// grantTypes returns those to register, and the one of them without which there is no login.
func (r *registrar) grantTypes() (all []string, needed string) {
	all = []string{"authorization_code", "refresh_token"}
	if r.set.device() {
		return append(all, grant.TypeDeviceCode), grant.TypeDeviceCode
	}
	return all, all[0]
}

// register registers a client dynamically (RFC 7591) and stores it before any browser opens, so that the login after
// an aborted one can use it.
func (r *registrar) register(ctx context.Context, f *discovered, c *clientRegistration, need clientNeed) error {
	o, endpoint := r.set.client, f.Server.RegistrationEndpoint
	if endpoint == "" {
		return r.noEndpoint(f, need.redirectURI)
	}
	if o.AuthMethod == AuthMethodPrivateKeyJWT {
		return optionError("Client.AuthMethod", errors.New("a client that is registered dynamically cannot authenticate by private_key_jwt"), "register the client and its key by hand and give --client-id (Options.Client.ID), or leave --client-auth-method out")
	}
	method := string(o.AuthMethod)
	if method == "" {
		method = registration.AuthMethodWithoutSecret(f.Server.TokenEndpointAuthMethodsSupported)
	}
	grants, needed := r.grantTypes()
	got, err := registration.Register(ctx, r.guard(), registration.Request{
		Endpoint: endpoint, RedirectURIs: redirectSpellings(need.redirectURI), ClientName: o.Name, ApplicationType: applicationType(need.redirectURI),
		GrantTypes: grants, NeededGrants: []string{needed}, Scope: registeredScope(f, need.scopes), LoginScope: strings.Join(need.registered, " "),
		AuthMethod: method, AuthMethodChosen: o.AuthMethod != "",
		SoftwareID: "mcpoauth", SoftwareVersion: Version(), SoftwareStatement: o.SoftwareStatement,
		InitialAccessToken: secret.New(o.InitialAccessToken), Extra: o.Metadata, AllowForeignEndpoints: r.set.allow.ForeignEndpoints,
		ByHand: r.byHand("by hand", need.redirectURI), Note: func(text string) { r.trace.note(ctx, NoteRegistration, text) },
	})
	if err != nil {
		return publicError(err)
	}
	c.reg = &record.Registration{
		Issuer: f.Issuer, ClientID: got.ClientID, ClientSecret: got.ClientSecret.Reveal(), AuthMethod: got.AuthMethod, Source: string(SourceDynamic),
		RedirectURI: need.redirectURI, RedirectURIs: got.RedirectURIs, Endpoint: endpoint, Scope: got.Scope, SecretExpiry: got.SecretExpiry, CreatedAt: time.Now(),
		AccessToken: got.RegistrationAccessToken.Reveal(), ClientURI: got.RegistrationClientURI, LoginUntil: time.Now().Add(r.set.loginTimeout),
		Changed: got.Changed, ReplacedAt: c.replacedAt,
	}
	r.trace.notes(ctx, NoteRegistration, got.Notes)
	if why := r.unusable(c.reg); why != "" {
		return r.discard(ctx, c, optionError("Client.AuthMethod", errors.New("the server registered a client, but "+why), "leave it out: the server says how its clients authenticate"))
	}
	r.save(ctx, c)
	return r.complete(ctx, f, c, need, got.GrantTypes)
}

// discard gives up a client that was just registered and cannot be used, and returns the reason.
func (r *registrar) discard(ctx context.Context, c *clientRegistration, reason error) error {
	reg := c.reg
	c.reg = nil
	r.forget(ctx, reg)
	if manageable(reg) {
		if err := grant.DeleteClient(ctx, r.guard(), reg.ClientURI, secret.New(reg.AccessToken)); err != nil {
			r.trace.note(ctx, NoteRegistration, "the registration could not be deleted at the server: "+publicError(err).Error())
		}
	}
	return reason
}

// complete adds to a new registration what the server has left out of it and the login needs (RFC 7591 section 3.2.1;
// RFC 7592 section 2.2), so that the person does not find out at the browser.
func (r *registrar) complete(ctx context.Context, f *discovered, c *clientRegistration, need clientNeed, grants []string) error {
	back := func() bool { return r.set.device() || registration.Serves(c.reg.RedirectURIs, need.redirectURI) }
	need.grants = r.missingGrants(f, grants)
	scopes := missing(strings.Fields(c.reg.Scope), need.registered)
	if c.reg.Scope == "" {
		scopes = nil // the server did not say
	}
	var lacks []string
	if !back() {
		lacks = append(lacks, "the redirect URI "+need.redirectURI)
	}
	if len(need.grants) > 0 {
		lacks = append(lacks, "the grant types "+strings.Join(need.grants, " "))
	}
	if len(scopes) > 0 {
		lacks = append(lacks, "the scopes "+strings.Join(scopes, " "))
	}
	if lacks == nil {
		return nil
	}
	text := "the server registered the client without " + strings.Join(lacks, " and ")
	if manageable(c.reg) {
		r.trace.note(ctx, NoteRegistration, text+"; adding them (RFC 7592)")
		if _, gone := r.change(ctx, c, need, nil); gone {
			r.unreadable(ctx, c)
		}
	} else {
		r.trace.note(ctx, NoteRegistration, text+"; the login may be refused")
	}
	if back() {
		return nil
	}
	registered := wire.Clean(strings.Join(c.reg.RedirectURIs, " "))
	hint := "the server is at fault; " + r.byHand("by hand", need.redirectURI)
	if other := redirectSpellings(need.redirectURI); len(other) > 1 && registration.Serves(c.reg.RedirectURIs, other[1]) {
		hint = "try --callback-host " + resource.Hostname(other[1]) + " (Options.Callback.Host), or " + r.byHand("by hand", need.redirectURI)
	}
	return r.discard(ctx, c, &Error{
		Op: OpRegistration, URL: c.reg.Endpoint, Hint: hint,
		Message: "the server registered the client with other redirect URIs than " + need.redirectURI + ", so that no login could come back: " + registered,
	})
}

// missingGrants returns the grant types that a login uses and that are not among those registered. None registered
// means that the server did not say.
func (r *registrar) missingGrants(f *discovered, registered []string) []string {
	if len(registered) == 0 {
		return nil
	}
	_, needed := r.grantTypes()
	uses := []string{needed}
	if slices.Contains(f.Server.GrantTypesSupported, "refresh_token") {
		uses = append(uses, "refresh_token")
	}
	return missing(registered, uses)
}

// byHand says how to register a client instead, and where.
func (r *registrar) byHand(where, redirectURI string) string {
	if r.set.device() {
		return "register a client " + where + " that may use the device grant, which needs no redirect URI, then give --client-id and, if it has a secret, --client-secret-env (Options.Client.ID, Options.Client.Secret)"
	}
	// A client that is registered by hand has the plain redirect URI at every issuer.
	if u, err := url.Parse(redirectURI); err == nil && u.Hostname() == r.set.callback.Host && strings.HasPrefix(u.Path, r.set.callback.Path+"/") {
		u.Path = r.set.callback.Path
		redirectURI = u.String()
	}
	port, anyPort := "", ""
	if n := portOf(redirectURI); r.set.callback.Port == 0 && n != 0 && strings.HasPrefix(redirectURI, "http:") {
		// Most servers compare all of the redirect URI, the port included; others follow RFC 8252 section 7.3.
		port = fmt.Sprintf(", --callback-port %d", n)
		if resource.Hostname(redirectURI) != "localhost" {
			anyPort = "; where any port of a loopback address is accepted, register " + r.set.redirectBase(r.set.callback.Path) + " and leave --callback-port out"
		}
	}
	return "register a client " + where + " with the redirect URI " + redirectURI + ", then give --client-id" + port + " and, if it has a secret, --client-secret-env (Options.Client.ID, Options.Client.Secret)" + anyPort
}

// redirectBase returns the redirect URI with this path, without a port.
func (s *settings) redirectBase(path string) string {
	return "http://" + resource.HostPort(s.callback.Host, "") + path
}

// issuerSegment is how much of an issuer's digest is in its redirect URI, in bytes: nobody finds another issuer that has
// the same.
const issuerSegment = 10

// redirectPath returns the path of the redirect URI of a client that is registered dynamically: one for each issuer, so
// that the response of one authorization server is not taken for that of another (RFC 9700 section 4.4.2.2). A server
// that promises to name itself in the response needs none (RFC 9207), and a caller's choice counts more.
func (s *settings) redirectPath(f *discovered) string {
	if s.callbackPath || f.Server.AuthorizationResponseIssParameterSupported || f.Server.RegistrationEndpoint == "" {
		return s.callback.Path
	}
	sum := sha256.Sum256([]byte(f.Issuer))
	return s.callback.Path + "/" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:issuerSegment]))
}

// refusesRedirect reports whether a registration failed because of its redirect URI.
func refusesRedirect(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Op == OpRegistration && strings.Contains(strings.ToLower(e.Code+" "+e.Description+" "+e.Message), "redirect")
}

// applicationType is that of a client with this redirect URI (OpenID Connect Dynamic Client Registration 1.0 section 2):
// web for a page on another host, native for an address of this machine and for a scheme of the application's own.
func applicationType(redirectURI string) string {
	if u, err := url.Parse(redirectURI); err == nil && (u.Scheme == "https" || u.Scheme == "http") && !resource.IsLoopbackHost(u.Hostname()) {
		return "web"
	}
	return "native"
}

// noEndpoint is the error of a server that registers no clients.
func (r *registrar) noEndpoint(f *discovered, redirectURI string) error {
	where := "there"
	if f.Provider != nil {
		where = "at " + f.Provider.Register
	}
	hint := r.byHand(where, redirectURI)
	if f.Server.ClientIDMetadataDocumentSupported && r.set.client.MetadataURL == "" {
		hint = "it takes clients that are described by a document on the web: give its address with --client-metadata-url (Options.Client.MetadataURL); mcpoauth client-metadata writes it; or " + hint
	}
	return &Error{Op: OpRegistration, URL: f.Issuer, Message: "the authorization server " + f.Issuer + " does not register clients by itself", Hint: hint}
}

// replaceable reports whether err means that another registration of the stored client may help: the server does not
// know it, or does not allow it what is requested.
func (r *registrar) replaceable(c *clientRegistration, err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || c == nil || !c.reused || e.Op != OpToken && e.Op != OpAuthorization {
		return false
	}
	switch e.Code {
	case "invalid_client":
		return true
	case "unauthorized_client", "invalid_scope":
		return r.mayReplace(c)
	}
	return false
}

// redirectHint says what helps where a redirect URI was refused: what the server's words say, else what servers differ in,
// which is the spelling of this machine's name, the port and the path.
func redirectHint(said, redirectURI string) string {
	const exact = "the port and path registered there: --callback-port, --callback-path"
	if hint := registration.RedirectHint(said, redirectURI); hint != "" {
		return hint + "; or " + exact
	}
	return "the redirect URI was " + redirectURI + "; the server may accept another spelling: --callback-host " + registration.OtherHost(redirectURI) +
		" (Options.Callback.Host), or " + exact
}
