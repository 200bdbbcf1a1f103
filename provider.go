package mcpoauth

import "context"

// IdentityProvider is the login at an identity provider that [EnterpriseManaged] keeps: to log in there, look at it, renew
// it or log out, which ends nothing at the MCP servers. It is safe for concurrent use.
type IdentityProvider struct{ c *Client }

// NewIdentityProvider returns the login at the identity provider with this issuer. opts say which store, profile and
// client; what only concerns MCP servers has no effect. It does no I/O.
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

// Close ends the login's Client: see [Client.Close]. ctx bounds the wait.
func (p *IdentityProvider) Close(ctx context.Context) error { return p.c.Close(ctx) }
