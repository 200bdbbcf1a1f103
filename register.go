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
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/registration"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// registrar provides the client that a login uses at an authorization server: one that was registered by hand, a
// metadata document, or a dynamic registration, which it makes, stores, changes and deletes.
type registrar struct {
	*network
	store store.Store
}

// clientRegistration is a client and where its registration is stored.
type clientRegistration struct {
	// reg is nil until there is one.
	reg *record.Registration
	rev store.Revision
	// key is the zero value if it is not to be stored.
	key store.Key
	// reused means that reg was stored before this login.
	reused bool
}

// clientNeed is what a login needs of its client.
type clientNeed struct {
	redirectURI string
	scopes      []string
	// fresh demands a new registration.
	fresh bool
}

// keyOf identifies a dynamic registration: issuer and redirect URI without port.
func (r *registrar) keyOf(issuer, redirectURI string) store.Key {
	if u, err := url.Parse(redirectURI); err == nil {
		u.Host = u.Hostname()
		redirectURI = u.String()
	}
	return store.Key{Kind: store.KindRegistration, ID: issuer + " " + redirectURI, Profile: r.trace.profile}
}

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
	case reg.Unanswered:
		note("the last login with the stored client did not come back, registering anew")
	default:
		c.reg, c.reused = reg, true
	}
	return c
}

func (r *registrar) load(ctx context.Context, key store.Key) (*record.Registration, store.Revision, error) {
	data, rev, err := r.store.Load(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	reg, err := record.DecodeRegistration(data)
	return reg, rev, err
}

// serve makes c a client that can be used for a login, by changing its registration or by a new one.
func (r *registrar) serve(ctx context.Context, f *discovered, c *clientRegistration, need clientNeed) error {
	if old := c.reg; old != nil && RegistrationSource(old.Source) == SourceDynamic && !suits(old, need) && !r.change(ctx, c, need) {
		c.reg, c.reused = nil, false
	}
	if c.reg == nil {
		return r.register(ctx, f, c, need)
	}
	return nil
}

// suits reports whether a registration has what a login needs. If it lacks scopes and cannot be changed, the server
// decides.
func suits(reg *record.Registration, need clientNeed) bool {
	if portOf(reg.RedirectURI) != portOf(need.redirectURI) {
		return false
	}
	return reg.Scope == "" || reg.ClientURI == "" || covers(strings.Fields(reg.Scope), need.scopes)
}

// change adds to a stored registration what a login needs (RFC 7592 section 2.2), and reports whether it suffices.
// Its redirect URIs are kept: another process may be waiting at one.
func (r *registrar) change(ctx context.Context, c *clientRegistration, need clientNeed) bool {
	reg := *c.reg
	serves := portOf(reg.RedirectURI) == portOf(need.redirectURI)
	if !manageable(&reg) {
		return serves
	}
	got, err := registration.Change(ctx, r.guard(), registration.Update{
		URI: reg.ClientURI, Token: secret.New(reg.AccessToken), ClientID: reg.ClientID,
		RedirectURIs: redirectSpellings(need.redirectURI), Scopes: need.scopes,
	})
	if err != nil || got.AuthMethod != reg.AuthMethod || len(got.RedirectURIs) > 0 && !slices.Contains(got.RedirectURIs, need.redirectURI) {
		r.trace.note(ctx, NoteRegistration, "the stored registration could not be changed")
		return serves
	}
	reg.RedirectURI, reg.RedirectURIs, reg.Scope = need.redirectURI, got.RedirectURIs, got.Scope
	if !got.ClientSecret.IsZero() {
		reg.ClientSecret, reg.SecretExpiry = got.ClientSecret.Reveal(), got.SecretExpiry
	}
	if !got.RegistrationAccessToken.IsZero() {
		reg.AccessToken = got.RegistrationAccessToken.Reveal()
	}
	if got.RegistrationClientURI != "" {
		reg.ClientURI = got.RegistrationClientURI
	}
	c.reg = &reg
	r.save(ctx, c)
	return true
}

// manageable reports whether a registration can be managed (RFC 7592) at a URL of the server's own origin: the token
// that is sent there is a secret.
func manageable(reg *record.Registration) bool {
	return reg.ClientURI != "" && reg.AccessToken != "" && (resource.SameOriginOf(reg.ClientURI, reg.Endpoint) || resource.SameOriginOf(reg.ClientURI, reg.Issuer))
}

// register registers a client dynamically (RFC 7591) and stores it before any browser opens, so that the login after
// an aborted one can use it.
func (r *registrar) register(ctx context.Context, f *discovered, c *clientRegistration, need clientNeed) error {
	endpoint := f.Server.RegistrationEndpoint
	if endpoint == "" {
		return r.noEndpoint(f, need.redirectURI)
	}
	grants := []string{"authorization_code", "refresh_token"}
	if r.set.device() {
		grants = append(grants, grant.TypeDeviceCode)
	}
	o := r.set.client
	method := string(o.AuthMethod)
	if method == "" {
		method = registration.AuthMethodWithoutSecret(f.Server.TokenEndpointAuthMethodsSupported)
	}
	got, err := registration.Register(ctx, r.guard(), registration.Request{
		Endpoint: endpoint, RedirectURIs: redirectSpellings(need.redirectURI), ClientName: o.Name, ApplicationType: applicationType(need.redirectURI),
		GrantTypes: grants, Scope: registeredScope(f, need.scopes), AuthMethod: method,
		SoftwareID: "mcpoauth", SoftwareVersion: Version(), SoftwareStatement: o.SoftwareStatement,
		InitialAccessToken: secret.New(o.InitialAccessToken), Extra: o.Metadata, AllowForeignEndpoints: r.set.allow.ForeignEndpoints,
	})
	if err != nil {
		return publicError(err)
	}
	c.reg = &record.Registration{
		Issuer: f.Issuer, ClientID: got.ClientID, ClientSecret: got.ClientSecret.Reveal(), AuthMethod: got.AuthMethod, Source: string(SourceDynamic),
		RedirectURI: need.redirectURI, RedirectURIs: got.RedirectURIs, Endpoint: endpoint, Scope: got.Scope, SecretExpiry: got.SecretExpiry, CreatedAt: time.Now(),
		AccessToken: got.RegistrationAccessToken.Reveal(), ClientURI: got.RegistrationClientURI, LoginUntil: time.Now().Add(r.set.loginTimeout),
	}
	r.trace.notes(ctx, NoteRegistration, got.Notes)
	r.save(ctx, c)
	return nil
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
	where, port := "there", ""
	if f.Provider != nil {
		where = "at " + f.Provider.Register
	}
	if n := portOf(redirectURI); r.set.callback.Port == 0 && n != 0 && strings.HasPrefix(redirectURI, "http:") {
		// Most servers compare all of the redirect URI, the port included.
		port = fmt.Sprintf(", --callback-port %d", n)
	}
	return &Error{
		Op: OpRegistration, URL: f.Issuer, Message: "the authorization server " + f.Issuer + " does not register clients by itself",
		Hint: "register a client " + where + " with the redirect URI " + redirectURI + ", then give --client-id" + port + " and, if it has a secret, --client-secret-env (Options.Client.ID, Options.Client.Secret)",
	}
}

// redirectSpellings returns the redirect URI and, for a loopback one, its other spelling, so that the registration
// serves whichever of the two the server accepts later.
func redirectSpellings(redirectURI string) []string {
	for _, pair := range [][2]string{{"http://127.0.0.1:", "http://localhost:"}, {"http://localhost:", "http://127.0.0.1:"}} {
		if rest, ok := strings.CutPrefix(redirectURI, pair[0]); ok {
			return []string{redirectURI, pair[1] + rest}
		}
	}
	return []string{redirectURI}
}

// save stores a registration. A failure is no reason to stop: the login itself holds a copy.
func (r *registrar) save(ctx context.Context, c *clientRegistration) {
	if c.key == (store.Key{}) {
		return
	}
	data, err := c.reg.Encode()
	if err == nil {
		c.rev, err = r.store.Save(ctx, c.key, data, c.rev)
	}
	if err != nil {
		r.trace.log.WarnContext(ctx, "the registration could not be saved", "issuer", c.reg.Issuer, "err", err)
	}
}

// suspect notes that a login with a stored registration has begun. An authorization server that has forgotten a
// client shows a page and never redirects back, so a registration is replaced if its last login got no response.
func (r *registrar) suspect(ctx context.Context, c *clientRegistration) {
	c.reg.Unanswered, c.reg.LoginUntil = true, time.Now().Add(r.set.loginTimeout)
	r.save(ctx, c)
}

// confirm notes that the login got a response.
func (r *registrar) confirm(ctx context.Context, c *clientRegistration) {
	c.reg.Unanswered, c.reg.LoginUntil = false, time.Time{}
	r.save(ctx, c)
}

// forget removes reg from the store, unless another registration is stored by now.
func (r *registrar) forget(ctx context.Context, reg *record.Registration) {
	key := r.keyOf(reg.Issuer, reg.RedirectURI)
	stored, rev, err := r.load(ctx, key)
	if err != nil && !isCorrupt(err) || err == nil && stored.ClientID != reg.ClientID {
		return
	}
	if err := r.store.Delete(ctx, key, rev); err != nil {
		r.trace.log.WarnContext(ctx, "the registration could not be removed", "issuer", reg.Issuer, "err", err)
	}
}

// deleteUnused deletes a dynamic registration that no stored login uses any more, and reports whether the server
// confirmed that. In doubt it is kept for the next login.
func (r *registrar) deleteUnused(ctx context.Context, reg *record.Registration) bool {
	if RegistrationSource(reg.Source) != SourceDynamic || !manageable(reg) {
		return false
	}
	key := r.keyOf(reg.Issuer, reg.RedirectURI)
	stored, rev, err := r.load(ctx, key)
	if err != nil || stored.ClientID != reg.ClientID || time.Now().Before(stored.LoginUntil) || r.used(ctx, reg) {
		return false
	}
	// A login that begins now writes the registration first: then this fails.
	if r.store.Delete(ctx, key, rev) != nil {
		return false
	}
	if err := grant.DeleteClient(ctx, r.guard(), stored.ClientURI, secret.New(stored.AccessToken)); err != nil {
		r.trace.note(ctx, NoteRegistration, "the registration could not be deleted at the server: "+publicError(err).Error())
		return false
	}
	return true
}

// used reports whether a stored login uses a registration, true if that is unknown.
func (r *registrar) used(ctx context.Context, reg *record.Registration) bool {
	for login, err := range r.store.List(ctx, store.Filter{Kind: store.KindLogin, Profiles: []string{r.trace.profile}}) {
		if err != nil {
			return true
		}
		data, _, err := r.store.Load(ctx, login)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return true
		}
		rec, err := record.DecodeLogin(data)
		if err != nil || rec.Issuer == reg.Issuer && rec.Registration.ClientID == reg.ClientID {
			return true
		}
	}
	return false
}

// clear removes a dynamic registration from the store, and at the server if it supports that.
func (r *registrar) clear(ctx context.Context, reg *record.Registration) error {
	if RegistrationSource(reg.Source) != SourceDynamic {
		return nil
	}
	// The token that manages it may have changed since the login.
	if now, _, err := r.load(ctx, r.keyOf(reg.Issuer, reg.RedirectURI)); err == nil && now.ClientID == reg.ClientID {
		reg = now
	}
	r.forget(ctx, reg)
	if reg.ClientURI == "" || reg.AccessToken == "" {
		return nil
	}
	if !manageable(reg) {
		return &Error{Op: OpRegistration, URL: reg.ClientURI, Message: "the registration is forgotten here, but not deleted at the server: its management address is on another origin"}
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	if err := grant.DeleteClient(ctx, r.guard(), reg.ClientURI, secret.New(reg.AccessToken)); err != nil {
		return fmt.Errorf("mcpoauth: the registration is forgotten here, but the server could not be told: %w", publicError(err))
	}
	return nil
}

// replaceable reports whether err means that the authorization server does not know the client, or does not allow it
// what is requested.
func replaceable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Op != OpToken && e.Op != OpAuthorization {
		return false
	}
	return e.Code == "invalid_client" || e.Code == "unauthorized_client" || e.Code == "invalid_scope"
}

// redirectHint is for servers that accept one spelling of this machine's name, one port or one path.
func redirectHint(redirectURI string) string {
	other := "localhost"
	if u, err := url.Parse(redirectURI); err == nil && u.Hostname() == other {
		other = "127.0.0.1"
	}
	return "the redirect URI was " + redirectURI + "; the server may accept another spelling: --callback-host " + other +
		" (Options.Callback.Host), or the port and path registered there: --callback-port, --callback-path"
}
