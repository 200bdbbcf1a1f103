package mcpoauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/browser"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/store"
)

// pendingLife is how long a begun login can be finished.
const pendingLife = 10 * time.Minute

// PendingLogin is a login begun by [Client.BeginLogin].
type PendingLogin struct {
	// URL is where to send the person's browser.
	URL string
	// ID finishes the login. Keep it in the session of the person who began; never take it from
	// the callback.
	ID string
}

// BeginLogin begins a login whose second half is [FinishLogin], possibly in another process or
// on another machine that shares the store. redirectURI is where the authorization server sends the
// browser back to. What is needed to finish lies in the store for ten minutes. No lock is held.
func (c *Client) BeginLogin(ctx context.Context, redirectURI string) (*PendingLogin, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	if u, err := url.Parse(redirectURI); err != nil || !u.IsAbs() || u.Host == "" || u.Fragment != "" {
		return nil, optionError("redirect URI", errors.New("it must be absolute and without a fragment"), "")
	}
	if err := c.probeStore(ctx); err != nil {
		return nil, err
	}
	f, err := c.discover(ctx, nil)
	if err == nil {
		err = c.checkKey(f)
	}
	if err != nil {
		return nil, err
	}
	id := c.fixedIdentity(f)
	if id == nil {
		id = c.storedIdentity(ctx, f, redirectURI, want{})
		if id.reg == nil || id.reg.RedirectURI != redirectURI {
			id.reg = nil
			if err := c.register(ctx, f, id, redirectURI, want{}); err != nil {
				return nil, err
			}
		}
	}
	p, target, err := c.begin(ctx, f, id.reg, redirectURI, want{})
	if err != nil {
		return nil, err
	}
	data, err := p.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := c.store.Save(ctx, store.Key{Kind: store.KindPending, ID: p.ID, Profile: c.opts.Profile}, data, 0); err != nil {
		return nil, storeError("save", err)
	}
	return &PendingLogin{URL: target, ID: p.ID}, nil
}

// FinishLogin finishes the login that [Client.BeginLogin] began under id with the parameters of the
// callback, and returns a Client for it. opts must name the same store and profile. A callback whose
// state is not that login's is refused with an [AuthorizationError] and leaves the login pending.
func FinishLogin(ctx context.Context, id string, callback url.Values, opts *Options) (*Client, error) {
	if opts == nil {
		opts = &Options{}
	}
	// The server's URL is in the pending login: a Client for any URL gives the store.
	finder, err := New("https://localhost/", opts)
	if err != nil {
		return nil, err
	}
	key := store.Key{Kind: store.KindPending, ID: id, Profile: opts.Profile}
	data, rev, err := finder.store.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &AuthorizationError{Fact{Message: "no login was begun under this ID, or it has been finished", Hint: "begin the login again", Err: err}}
	}
	if err != nil {
		return nil, storeError("read", err)
	}
	p, err := store.DecodePending(data)
	if err != nil {
		return nil, storeError("read", err)
	}
	if !sameState(callback.Get("state"), p.State) {
		return nil, &AuthorizationError{Fact{Message: "the callback belongs to another login", Hint: "take the ID from the session of the person who began the login"}}
	}
	// Whoever deletes the pending login has it: a callback delivered twice is finished once.
	if err := finder.store.Delete(ctx, key, rev); err != nil {
		return nil, &AuthorizationError{Fact{Message: "this login is being finished already", Err: err}}
	}
	if age := time.Since(p.CreatedAt); age > pendingLife || age < -pendingLife {
		return nil, &AuthorizationError{Fact{Message: "the login was begun too long ago", Hint: "begin the login again"}}
	}
	c, err := New(p.ServerURL, opts)
	if err != nil {
		return nil, err
	}
	if _, err := c.finish(ctx, p, callback); err != nil {
		return nil, err
	}
	return c, nil
}

func sameState(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// begin makes the pending login and the authorization URL. From here on the login uses what
// discovery found before, whatever the server says later.
func (c *Client) begin(ctx context.Context, f *facts, reg *store.Registration, redirectURI string, w want) (*store.Pending, string, error) {
	key, err := c.bindingKey(ctx, f)
	if err != nil {
		return nil, "", err
	}
	verifier, codeChallenge := grant.NewVerifier()
	scopes := c.scopesFor(ctx, f, w)
	p := &store.Pending{
		ID: grant.NewState(), ServerURL: c.id, Profile: c.opts.Profile, State: grant.NewState(), Verifier: verifier.Reveal(), RedirectURI: redirectURI,
		CreatedAt: time.Now(), Scopes: scopes, Resource: f.Resource, Issuer: f.Issuer, AuthorizationEndpoint: f.Server.AuthorizationEndpoint,
		TokenEndpoint: f.Server.TokenEndpoint, RevocationEndpoint: f.Server.RevocationEndpoint, ServerMetadataURL: f.ServerMetadataURL,
		IssParameterPromised: f.Server.AuthorizationResponseIssParameterSupported, Registration: *reg,
	}
	var thumbprint string
	if key != nil {
		if p.DPoPKey, err = key.Text(); err != nil {
			return nil, "", fmt.Errorf("mcpoauth: %w", err)
		}
		thumbprint = key.Thumbprint()
	}
	extra := cloneValues(c.opts.AuthorizeParams)
	for k, v := range f.parameters() {
		if !extra.Has(k) {
			if extra == nil {
				extra = url.Values{}
			}
			extra.Set(k, v)
		}
	}
	if c.provider {
		extra = url.Values{"nonce": {nonceOf(p.Verifier)}}
	}
	r := grant.AuthorizationRequest{
		Endpoint: p.AuthorizationEndpoint, ClientID: reg.ClientID, RedirectURI: redirectURI, State: p.State, Challenge: codeChallenge,
		Resource: p.Resource, Scopes: scopes, ScopeSeparator: c.opts.ScopeSeparator, KeyThumbprint: thumbprint, Extra: extra,
	}
	if a := c.wanted(ctx, f); a != nil {
		r.ACRValues, r.MaxAge, r.Claims = a.ACRValues, a.MaxAge, a.Claims
	}
	if slices.Contains(scopes, offlineAccess) && extra.Get("prompt") == "" {
		// OpenID Connect Core 1.0 section 11: offline_access without consent may be ignored.
		r.Prompt = "consent"
	}
	if f.Server.RequirePushedAuthorizationRequests {
		uri, _, err := grant.Push(ctx, c.http, f.Server.PushedAuthorizationRequestEndpoint, c.clientAuth(reg), r)
		if err != nil {
			return nil, "", publicError(err)
		}
		r = grant.AuthorizationRequest{Endpoint: r.Endpoint, ClientID: r.ClientID, RequestURI: uri}
	}
	target, err := grant.AuthorizationURL(r)
	if err != nil {
		return nil, "", publicError(err)
	}
	if target, err = browser.Sanitize(target); err != nil {
		return nil, "", &AuthorizationError{Fact{URL: p.AuthorizationEndpoint, Message: "the authorization endpoint cannot be opened safely: " + err.Error(), Err: err}}
	}
	return p, target, nil
}

// finish checks the callback, exchanges the code and saves the login. The state was compared by
// whoever received the callback.
func (c *Client) finish(ctx context.Context, p *store.Pending, values url.Values) (*session, error) {
	cb, err := grant.ParseCallback(values)
	if err != nil {
		return nil, publicError(err)
	}
	if !sameState(cb.State, p.State) {
		return nil, &AuthorizationError{Fact{Message: "the callback belongs to another login"}}
	}
	// Errors too count only if they come from the right issuer (RFC 9207 section 2.4).
	if err := cb.CheckIssuer(grant.ExpectedIssuer{Issuer: p.Issuer, Promised: p.IssParameterPromised}); err != nil {
		return nil, publicError(err)
	}
	if cb.Error != "" {
		return nil, authorizationRefused(p, cb)
	}
	auth, err := c.boundAuth(&p.Registration, p.DPoPKey)
	if err != nil {
		return nil, err
	}
	tok, auth, err := grant.ExchangeCode(ctx, c.http, grant.CodeRequest{
		Endpoint: p.TokenEndpoint, Auth: auth, Code: cb.Code, Verifier: secret.New(p.Verifier),
		RedirectURI: p.RedirectURI, Resource: p.Resource, Extra: c.opts.TokenParams, Format: c.dialect(&store.Record{Issuer: p.Issuer}),
	})
	if err != nil {
		return nil, publicError(err)
	}
	c.notes(tok.Notes)
	rec := &store.Record{
		ServerURL: c.id, Profile: c.opts.Profile, ResourceOverride: c.opts.Resource, Resource: p.Resource, Issuer: p.Issuer,
		Scopes: p.Scopes, RequestedScopes: p.Scopes, AuthorizationEndpoint: p.AuthorizationEndpoint, TokenEndpoint: p.TokenEndpoint,
		RevocationEndpoint: p.RevocationEndpoint, ServerMetadataURL: p.ServerMetadataURL, IssParameterPromised: p.IssParameterPromised,
		Registration: p.Registration, DPoPKey: p.DPoPKey, TokenMember: c.opts.TokenMember, BearerType: c.opts.AllowTokenType,
	}
	rec.Registration.AuthMethod = auth.Method
	rec.Registration.Unanswered, rec.Registration.LoginUntil = false, time.Time{}
	applyToken(rec, tok)
	if c.provider {
		if err := c.takeIDToken(rec, tok, nonceOf(p.Verifier)); err != nil {
			return nil, err
		}
	}
	if lost := missing(rec.Scopes, rec.RequestedScopes); len(lost) > 0 {
		c.note("the server granted fewer scopes than asked for")
	}
	if rec.RefreshToken == "" {
		c.note("the server gave no refresh token: when the access token ends, a new login is needed")
	}
	return c.replace(ctx, rec)
}

// replace saves rec over whatever login is stored: a person has just decided.
func (c *Client) replace(ctx context.Context, rec *store.Record) (*session, error) {
	c.mu.Lock()
	c.unsaved = nil
	c.mu.Unlock()
	for range 5 {
		_, rev, err := c.store.Load(ctx, c.key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			rev = c.damagedRevision(ctx, err)
		}
		next, err := c.save(ctx, rec, rev)
		if errors.Is(err, store.ErrConflict) {
			continue // a refresh of the old login was quicker
		}
		if err == nil {
			s := newSession(rec, next)
			c.current.Store(s)
			return s, nil
		}
		break
	}
	return c.adopt(ctx, rec, 0)
}

// damagedRevision returns the revision to save over where the stored login cannot be read.
func (c *Client) damagedRevision(ctx context.Context, err error) store.Revision {
	var damaged *store.CorruptError
	if errors.As(err, &damaged) {
		c.note("the stored login is damaged and is replaced: " + err.Error())
		if derr := c.store.Delete(ctx, c.key, 0); derr != nil {
			c.log.Warn("the damaged login could not be set aside", "err", derr)
		}
	}
	return 0
}

// redirectHint is for servers that take one spelling of this machine's name, one port or one path.
func redirectHint(redirectURI string) string {
	other := "localhost"
	if u, err := url.Parse(redirectURI); err == nil && u.Hostname() == other {
		other = "127.0.0.1"
	}
	return "the redirect URI was " + redirectURI + "; the server may take another spelling: --callback-host " + other +
		" (Options.CallbackHost), or the port and path registered there: --callback-port, --callback-path"
}

// authorizationRefused makes an error of an error response (RFC 6749 section 4.1.2.1).
func authorizationRefused(p *store.Pending, cb grant.Callback) error {
	fact := Fact{URL: p.Issuer, Code: cb.Error, Description: cb.ErrorDescription, Message: "the authorization server refused"}
	switch cb.Error {
	case "access_denied":
		fact.Message, fact.Err = "access was denied at the authorization server", ErrAccessDenied
		fact.Hint = "run the login again and allow the access"
	case "temporarily_unavailable", "server_error":
		return &TemporaryError{Err: &AuthorizationError{fact}}
	case "invalid_scope":
		fact.Hint = "choose the scopes with --scope (Options.Scopes), or leave one out with --drop-scope (Options.DropScopes)"
	case "invalid_target":
		fact.Hint = "the server does not take the resource indicator: try --no-resource (Options.NoResource) or --resource (Options.Resource)"
	case "unauthorized_client", "invalid_client":
		fact.Hint = "the server does not know this client: run login with --new-client (LoginOptions.NewClient)"
	default:
		if strings.Contains(strings.ToLower(cb.Error+" "+cb.ErrorDescription), "redirect") {
			fact.Hint = redirectHint(p.RedirectURI)
		}
	}
	return &AuthorizationError{fact}
}
