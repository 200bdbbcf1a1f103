package mcpoauth

import (
	"context"
	"errors"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// providerLogin is the login at an identity provider (OpenID Connect) that a Client needs: see [EnterpriseManaged].
type providerLogin struct {
	issuer string
	// owner is the login at the MCP server.
	owner    *loginStore
	logins   *loginStore
	refresh  *refresher
	login    *coordinator
	discover *discoverer
}

// providerSettings returns the options of a login at an identity provider. The options named here concern the person
// or this machine. All others describe the MCP server and its authorization server, and must not be sent to the
// provider.
func providerSettings(issuer string, o *Options) *Options {
	if o == nil {
		o = &Options{}
	}
	return &Options{
		Profile: o.Profile, Store: o.Store, CacheDir: o.CacheDir, Prompt: o.Prompt, LoginTimeout: o.LoginTimeout, Logger: o.Logger, Trace: o.Trace,
		Client:   ClientOptions{Name: o.Client.Name, ID: o.Client.ID, Secret: o.Client.Secret},
		Callback: o.Callback,
		Network: NetworkOptions{
			HTTPClient: o.Network.HTTPClient, RootCAs: o.Network.RootCAs, ClientCertificates: o.Network.ClientCertificates, UserAgent: o.Network.UserAgent,
		},
		Server: ServerOptions{IgnoreProviders: o.Server.IgnoreProviders, NoResource: true, Issuer: issuer},
		Scopes: ScopeOptions{Add: []string{"openid"}},
		DPoP:   Never,
		Allow: Allow{
			PrivateNetwork: o.Allow.PrivateNetwork, InsecureHTTP: o.Allow.InsecureHTTP,
			GuessedEndpoints: o.Allow.GuessedEndpoints, ForeignEndpoints: o.Allow.ForeignEndpoints,
			// Few identity providers announce PKCE. It is used all the same, and MCP's rule does not apply to them.
			MissingPKCE: true,
		},
	}
}

// providerAuthorizer logs in at the identity provider and obtains a token with that login.
type providerAuthorizer struct {
	provider *providerLogin
	refresh  *refresher
}

func (a *providerAuthorizer) authorize(ctx context.Context, plan loginPlan) (*session, error) {
	request := loginRequest{force: plan.request.force}
	if st, err := a.provider.logins.load(ctx); err == nil {
		request.known = st.rec.AccessToken
	} else if !errors.Is(err, store.ErrNotFound) && !isCorrupt(err) {
		return nil, err
	}
	if _, err := a.provider.login.login(ctx, request); err != nil {
		return nil, a.provider.absent(err)
	}
	return a.refresh.renew(ctx, tokenRequest{rejected: plan.rejected(), scopes: plan.request.scopes, challenge: plan.request.challenge})
}

// rejected is the token that must not be the result of a login.
func (p loginPlan) rejected() string {
	if p.request.force {
		return p.request.known
	}
	return p.request.rejected
}

// absent wraps the identity provider's ErrLoginRequired, so that the error names the MCP server.
func (p *providerLogin) absent(err error) error {
	if !errors.Is(err, ErrLoginRequired) {
		return err
	}
	return p.owner.loginRequired("there is no login at the identity provider "+wire.Clean(p.issuer), err)
}

// idTokenAssertions exchanges the person's ID token for a grant (ID-JAG, RFC 8693).
func idTokenAssertions(e EnterpriseManaged, provider *providerLogin, tokens *tokenClient) assertions {
	return func(ctx context.Context, r assertionRequest) (string, error) {
		request := grant.IDJAGRequest{Audience: r.issuer, Resource: r.resource, Scopes: r.scopes}
		err := provider.subject(ctx, e, &request)
		if err != nil {
			return "", err
		}
		jag, err := grant.ExchangeForIDJAG(ctx, tokens.guard(), request)
		return jag.Reveal(), err
	}
}

// subject fills in the person's ID token, the token endpoint of the identity provider, and the client there.
func (p *providerLogin) subject(ctx context.Context, e EnterpriseManaged, r *grant.IDJAGRequest) error {
	if e.IDToken == nil {
		return p.stored(ctx, r)
	}
	r.Auth = grant.ClientAuth{ID: e.ClientID, Secret: secret.New(e.ClientSecret), Method: string(AuthMethodNone)}
	if e.ClientSecret != "" {
		r.Auth.Method = string(AuthMethodPost)
	}
	token, err := workloadAssertions(WorkloadIdentity{Assertion: e.IDToken, Audience: e.ClientID})(ctx, assertionRequest{})
	if err != nil {
		return err
	}
	r.IDToken, r.Endpoint = secret.New(token), e.TokenEndpoint
	if r.Endpoint == "" {
		f, err := p.discover.discover(ctx, nil, nil)
		if err != nil {
			return err
		}
		r.Endpoint = f.Server.TokenEndpoint
	}
	return nil
}

// stored fills in the ID token of the stored login, renewed if need be.
func (p *providerLogin) stored(ctx context.Context, r *grant.IDJAGRequest) error {
	if _, err := p.refresh.ensure(ctx, 0); err != nil {
		return p.absent(err)
	}
	st, err := p.logins.load(ctx)
	if err != nil {
		return err
	}
	rec := p.logins.set.apply(st.rec)
	r.IDToken, r.Endpoint, r.Auth = secret.New(rec.IDToken), rec.TokenEndpoint, p.logins.set.authFor(&rec.Registration)
	return nil
}
