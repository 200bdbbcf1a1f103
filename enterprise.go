package mcpoauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// EnterpriseManaged is enterprise-managed authorization (SEP-990): a company's identity provider says which
// MCP servers its people may use. The person's ID token is exchanged there for a grant (ID-JAG, RFC 8693),
// which the MCP server's authorization server takes for a token (RFC 7523). [ClientOptions.ID] and its secret
// or key are the client at the latter.
//
// The person logs in at the identity provider once, by [Options.Prompt]: that login is kept in the store,
// renewed, and shared by all MCP servers whose logins name the same Issuer. Nobody is asked for any of these.
type EnterpriseManaged struct {
	// Issuer is the identity provider's (OpenID Connect). It may be empty if IDToken and TokenEndpoint are
	// given.
	Issuer string
	// ClientID and ClientSecret are the client there. Without a secret it is a public client.
	ClientID     string
	ClientSecret string
	// IDToken returns the person's ID token, whose audience is ClientID, where something else logs in at the
	// identity provider. It is called for each token request. Nil: this Client logs in there.
	IDToken AssertionSource
	// TokenEndpoint is the identity provider's, for IDToken. Empty: its metadata says where it is.
	TokenEndpoint string
}

func (EnterpriseManaged) name() string { return grant.TypeJWTBearer }

func (e EnterpriseManaged) check(o *Options) error {
	switch {
	case e.ClientID == "" || e.Issuer == "" && (e.IDToken == nil || e.TokenEndpoint == ""):
		return optionError("Grant", errors.New("enterprise-managed authorization needs the identity provider and a client there"), "set --idp with the identity provider's issuer, and --idp-client-id (EnterpriseManaged.Issuer, EnterpriseManaged.ClientID)")
	case o.Client.ID == "":
		return optionError("Grant", errors.New("enterprise-managed authorization needs a client at the MCP server's authorization server"), "set --client-id (Options.Client.ID)")
	}
	return nil
}

func (e EnterpriseManaged) assertion(ctx context.Context, c *Client, a asked) (string, error) {
	auth := grant.ClientAuth{ID: e.ClientID, Secret: secret.New(e.ClientSecret), Method: "none"}
	if e.ClientSecret != "" {
		auth.Method = "client_secret_post"
	}
	var token string
	endpoint := e.TokenEndpoint
	if e.IDToken != nil {
		var err error
		if token, err = (WorkloadIdentity{Assertion: e.IDToken, Audience: e.ClientID}).assertion(ctx, c, asked{}); err != nil {
			return "", err
		}
		if endpoint == "" {
			f, err := c.idp.discover(ctx, nil)
			if err != nil {
				return "", err
			}
			endpoint = f.Server.TokenEndpoint
		}
	} else {
		s, err := c.idp.obtain(ctx, 0)
		if err == nil && s.rec.Registration.ClientID != e.ClientID {
			err = c.idp.loginRequired("the login is another client's", nil)
		}
		if err != nil {
			return "", c.absentAtProvider(err)
		}
		token, endpoint, auth = s.rec.IDToken, s.rec.TokenEndpoint, c.idp.clientAuth(&s.rec.Registration)
	}
	jag, err := grant.ExchangeForIDJAG(ctx, c.http, grant.IDJAGRequest{
		Endpoint: endpoint, Auth: auth, IDToken: secret.New(token), Audience: a.issuer, Resource: a.resource, Scopes: a.scopes,
	})
	return jag.Reveal(), err
}

// absentAtProvider makes a login that is required at the identity provider one that is required here.
func (c *Client) absentAtProvider(err error) error {
	if !errors.Is(err, ErrLoginRequired) {
		return err
	}
	return c.loginRequired("nobody is logged in at the identity provider "+wire.Clean(c.idp.opts.Server.Issuer), err)
}

// openIdentityProvider makes the Client for the login at the identity provider, if the grant has one.
func (c *Client) openIdentityProvider() error {
	e, ok := c.opts.Grant.(EnterpriseManaged)
	if !ok || e.Issuer == "" {
		return nil
	}
	o := c.opts
	o.Store, o.Client.ID, o.Client.Secret = c.store, e.ClientID, e.ClientSecret
	idp, err := newProviderClient(e.Issuer, &o)
	if err != nil {
		return optionError("Grant", err, "--idp must be the identity provider's issuer, an https URL (EnterpriseManaged.Issuer)")
	}
	c.idp = idp
	return nil
}

// IdentityProvider is the login at an identity provider that [EnterpriseManaged] keeps: to log in there, look at
// it, renew it or log out, which ends nothing at the MCP servers. It is safe for concurrent use.
type IdentityProvider struct{ c *Client }

// NewIdentityProvider returns the login at the identity provider whose issuer is given. opts say which store,
// profile and client; what only concerns MCP servers has no effect. It does no I/O.
func NewIdentityProvider(issuer string, opts *Options) (*IdentityProvider, error) {
	c, err := newProviderClient(issuer, opts)
	if err != nil {
		return nil, err
	}
	return &IdentityProvider{c: c}, nil
}

// Login logs in as [Client.Login] does. nil opts are the zero value.
func (p *IdentityProvider) Login(ctx context.Context, opts *LoginOptions) error {
	_, err := p.c.Login(ctx, opts)
	return err
}

// Status returns what the store knows of the login: see [Client.Status].
func (p *IdentityProvider) Status(ctx context.Context) (*Status, error) {
	st, err := p.c.Status(ctx)
	if st != nil {
		st.IdentityProvider = true
	}
	return st, err
}

// Logout forgets the login and revokes its tokens: see [Client.Logout].
func (p *IdentityProvider) Logout(ctx context.Context) (*LogoutResult, error) { return p.c.Logout(ctx) }

// Clear forgets the login locally and says nothing of it to the provider: see [Client.Clear].
func (p *IdentityProvider) Clear(ctx context.Context, opts *ClearOptions) error {
	return p.c.Clear(ctx, opts)
}

// Close waits for what is under way, as [Client.Close] does. ctx bounds the wait.
func (p *IdentityProvider) Close(ctx context.Context) error { return p.c.Close(ctx) }

// newProviderClient returns the Client of a login at an identity provider.
func newProviderClient(issuer string, opts *Options) (*Client, error) {
	p := Options{}
	if opts != nil {
		p = *opts
	}
	// What is named here is the person's or the machine's. All else is said of an MCP server and its authorization
	// server, and must not lead there.
	o := Options{
		Profile:      p.Profile,
		Store:        p.Store,
		CacheDir:     p.CacheDir,
		Client:       ClientOptions{Name: p.Client.Name, ID: p.Client.ID, Secret: p.Client.Secret},
		Callback:     CallbackOptions{Host: p.Callback.Host, Port: p.Callback.Port, Path: p.Callback.Path},
		LoginTimeout: p.LoginTimeout,
		Network:      NetworkOptions{HTTPClient: p.Network.HTTPClient, RootCAs: p.Network.RootCAs, ClientCertificates: p.Network.ClientCertificates, UserAgent: p.Network.UserAgent},
		Prompt:       p.Prompt,
		Logger:       p.Logger,
		Trace:        p.Trace,
		Server:       ServerOptions{IgnoreProviders: p.Server.IgnoreProviders, NoResource: true, Issuer: issuer},
		Allow:        Allow{PrivateNetwork: p.Allow.PrivateNetwork, InsecureHTTP: p.Allow.InsecureHTTP, GuessedEndpoints: p.Allow.GuessedEndpoints, ForeignEndpoints: p.Allow.ForeignEndpoints, MissingPKCE: true},
		Scopes:       ScopeOptions{Add: []string{"openid"}},
		DPoP:         Never,
	}
	c, err := New(issuer, &o)
	if err != nil {
		return nil, err
	}
	c.provider = true
	c.key = store.Key{Kind: store.KindIdentityProvider, ID: issuer, Profile: o.Profile}
	return c, nil
}

// authorizeByProvider logs in at the identity provider, and obtains a token with that.
func (c *Client) authorizeByProvider(ctx context.Context, w want) (*session, error) {
	if _, err := c.idp.joinLogin(ctx, want{}, ctx.Done()); err != nil {
		return nil, c.absentAtProvider(err)
	}
	return c.acquireFor(ctx, w.challenge)
}

// nonceOf derives the nonce of an authentication request from what only this login knows (OpenID Connect Core
// 1.0 section 15.5.2).
func nonceOf(verifier string) string {
	sum := sha256.Sum256([]byte("nonce " + verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// takeIDToken checks the ID token of an identity provider's answer (OpenID Connect Core 1.0 sections 3.1.3.7
// and 12.2) and lets the login last as long as that. It came from the token endpoint over TLS, which stands
// for its signature. nonce is "" after a refresh.
func (c *Client) takeIDToken(rec *record.Login, tok *wire.Token, nonce string) error {
	bad := func(message string) error {
		return &Error{Op: OpToken, URL: rec.TokenEndpoint, Message: "the identity provider's ID token cannot be used: " + message, Hint: "ask its administrator; the client there needs the scope openid"}
	}
	if tok.IDToken.IsZero() {
		return bad("there is none")
	}
	claims, err := grant.ReadClaims(tok.IDToken.Reveal())
	if err != nil {
		return bad(err.Error())
	}
	switch {
	case claims.Issuer != rec.Issuer:
		return bad("it is of another issuer")
	case !claims.For(rec.Registration.ClientID):
		return bad("it is for another client")
	case nonce != "" && claims.Nonce != nonce:
		return bad("it belongs to another login")
	case claims.Expiry.IsZero():
		return bad("it does not say when it ends")
	}
	rec.Expiry = claims.Expiry
	if life := claims.Expiry.Sub(claims.IssuedAt); !claims.IssuedAt.IsZero() && life > 0 {
		rec.Expiry = time.Now().Add(life) // by our clock
	}
	return nil
}
