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
	// replacedAt is when a stored registration was replaced unasked, for the one that takes its place.
	replacedAt time.Time
}

// clientNeed is what a login needs of its client.
type clientNeed struct {
	redirectURI string
	scopes      []string
	// registered are the scopes to register for it, grants the grant types that a registration turned out to lack.
	registered, grants []string
	// fresh demands a new registration, unasked means that no person did.
	fresh, unasked bool
	// doubtful means that a person logs in although there is a usable login.
	doubtful bool
}

// keyOf identifies a dynamic registration: issuer and redirect URI without port.
func (r *registrar) keyOf(issuer, redirectURI string) store.Key {
	if u, err := url.Parse(redirectURI); err == nil {
		u.Host = u.Hostname()
		redirectURI = u.String()
	}
	return store.Key{Kind: store.KindRegistration, ID: issuer + " " + redirectURI, Profile: r.trace.profile}
}

func (r *registrar) load(ctx context.Context, key store.Key) (*record.Registration, store.Revision, error) {
	data, rev, err := r.store.Load(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	reg, err := record.DecodeRegistration(data)
	return reg, rev, err
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

// begin notes that a login with a stored registration begins, so that no other process deletes the client meanwhile.
func (r *registrar) begin(ctx context.Context, c *clientRegistration) {
	c.reg.LoginUntil = time.Now().Add(r.set.loginTimeout)
	r.save(ctx, c)
}

// suspect notes that a login with a stored registration waited as long as it could and got no response. An
// authorization server that has forgotten a client shows a page and never redirects back. A login that a person or a
// program ended sooner says nothing about the client.
func (r *registrar) suspect(ctx context.Context, c *clientRegistration) {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	c.reg.Unanswered, c.reg.LoginUntil = true, time.Time{}
	r.save(ctx, c)
}

// confirm notes that the login got a response.
func (r *registrar) confirm(ctx context.Context, c *clientRegistration) {
	c.reg.Unanswered, c.reg.LoginUntil, c.reg.ConfirmedAt = false, time.Time{}, time.Now()
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

// suits reports whether a registration has what a login needs. If it lacks scopes and cannot be changed, the server
// decides.
func suits(reg *record.Registration, need clientNeed) bool {
	if portOf(reg.RedirectURI) != portOf(need.redirectURI) {
		return false
	}
	return reg.Scope == "" || reg.ClientURI == "" || covers(strings.Fields(reg.Scope), need.registered)
}

const (
	// confirmedFor is how long a registration that the server has confirmed is used without asking again.
	confirmedFor = 24 * time.Hour
	// readLimit is how long a login waits for a server to say whether it still has the client.
	readLimit = 5 * time.Second
)

// look asks the server whether it still has the client of a stored registration, where that can be asked (RFC 7592
// section 2.1) and there is a reason: the last login got no response, a person logs in although there is a usable
// login, or the server has not shown for a day that it knows the client. Other logins are spared the request. A server
// in trouble says nothing: the login goes on.
func (r *registrar) look(ctx context.Context, c *clientRegistration, need clientNeed) (*registration.Current, error) {
	reg := c.reg
	known := reg.CreatedAt
	if reg.ConfirmedAt.After(known) {
		known = reg.ConfirmedAt
	}
	if !manageable(reg) || reg.Unreadable || !need.doubtful && !reg.Unanswered && time.Since(known) < confirmedFor {
		return nil, nil // it was not asked
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	now, err := r.read(ctx, c)
	if err == nil {
		reg.Unanswered, reg.ConfirmedAt = false, time.Now()
		r.save(ctx, c)
	}
	return now, err
}

// readNew reads a registration that takes the place of one that the server said is gone.
func (r *registrar) readNew(ctx context.Context, c *clientRegistration) {
	if !manageable(c.reg) || c.reg.Unreadable {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if _, err := r.read(ctx, c); errors.Is(err, registration.ErrGone) {
		r.unreadable(ctx, c)
	}
}

// unreadable notes that the server denies a client that it has just registered. It is not asked again: each answer would
// lead to another registration.
func (r *registrar) unreadable(ctx context.Context, c *clientRegistration) {
	r.trace.note(ctx, NoteRegistration, "the server says of a client that it has just registered that there is none; it is not asked again")
	c.reg.Unreadable = true
	r.save(ctx, c)
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

// spellingsLike returns a redirect URI and, if the registration has redirect URIs of the other spelling, that one, too: a
// server may take only one of them.
func spellingsLike(reg *record.Registration, redirectURI string) []string {
	uris := redirectSpellings(redirectURI)
	return slices.DeleteFunc(uris, func(uri string) bool {
		return uri != redirectURI && !slices.ContainsFunc(reg.RedirectURIs, func(known string) bool { return resource.Hostname(known) == resource.Hostname(uri) })
	})
}

// registeredFor reports whether a change has registered a redirect URI: with its port, or without one. None means that the
// server did not say.
func registeredFor(registered []string, redirectURI string) bool {
	return len(registered) == 0 || slices.ContainsFunc(registered, func(uri string) bool {
		return uri == redirectURI || portOf(uri) == 0 && registration.Serves([]string{uri}, redirectURI)
	})
}

// read reads a registration at the server, and keeps the token that manages it and the secret from now on.
func (r *registrar) read(ctx context.Context, c *clientRegistration) (*registration.Current, error) {
	reg := c.reg
	now, err := registration.Read(ctx, r.guard(), registration.Management{URI: reg.ClientURI, Token: secret.New(reg.AccessToken), ClientID: reg.ClientID})
	if err != nil {
		return nil, err
	}
	// RFC 7592 section 2.1: a new token or secret replaces the old one at once.
	token, secret := now.Management.Token.Reveal(), now.ClientSecret.Reveal()
	if token != reg.AccessToken || secret != "" && (secret != reg.ClientSecret || !now.SecretExpiry.Equal(reg.SecretExpiry)) {
		if reg.AccessToken = token; secret != "" {
			reg.ClientSecret, reg.SecretExpiry = secret, now.SecretExpiry
		}
		r.save(ctx, c)
	}
	return now, nil
}

// change adds to a registration what a login needs (RFC 7592 section 2.2), and reports whether it suffices, and
// whether the server says that it is gone. Its redirect URIs are kept: another process may be waiting at one. now is the
// registration at the server if it was read already.
func (r *registrar) change(ctx context.Context, c *clientRegistration, need clientNeed, now *registration.Current) (serves, gone bool) {
	serves = portOf(c.reg.RedirectURI) == portOf(need.redirectURI)
	if !manageable(c.reg) || c.reg.Unreadable {
		return serves, false
	}
	refused := func(why string) (bool, bool) {
		r.trace.note(ctx, NoteRegistration, "the registration could not be changed: "+why)
		return serves && !gone, gone
	}
	if now == nil {
		var err error
		if now, err = r.read(ctx, c); err != nil {
			gone = errors.Is(err, registration.ErrGone)
			return refused(publicError(err).Error())
		}
	}
	reg := *c.reg
	got, err := now.Change(ctx, r.guard(), registration.Additions{RedirectURIs: spellingsLike(&reg, need.redirectURI), Scopes: need.registered, GrantTypes: need.grants})
	switch {
	case err != nil:
		return refused(publicError(err).Error())
	case !registeredFor(got.RedirectURIs, need.redirectURI):
		return refused("the redirect URI is not among those of the answer")
	}
	reg.RedirectURI, reg.RedirectURIs = need.redirectURI, got.RedirectURIs
	// Keycloak's answer lists a client's optional scopes only: what it has accepted counts, too.
	reg.Scope = strings.Join(slices.Concat(strings.Fields(got.Scope), missing(strings.Fields(got.Scope), need.registered)), " ")
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
	return true, false
}

// manageable reports whether a registration can be managed (RFC 7592) at a URL of the server's own origin: the token
// that is sent there is a secret.
func manageable(reg *record.Registration) bool {
	return reg.ClientURI != "" && reg.AccessToken != "" && (resource.SameOriginOf(reg.ClientURI, reg.Endpoint) || resource.SameOriginOf(reg.ClientURI, reg.Issuer))
}
