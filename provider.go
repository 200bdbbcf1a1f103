package mcpoauth

import "context"

// IdentityProvider is the login at an identity provider that [EnterpriseManaged] keeps: its methods log in there,
// report its status and log out. A logout there ends no login at an MCP server. It is safe for concurrent use.
type IdentityProvider struct{ c *Client }

// NewIdentityProvider returns the login at the identity provider with this issuer. opts set the store, the profile
// and the client there; options that only concern MCP servers have no effect. It does no I/O. The error is an
// [OptionError].
func NewIdentityProvider(issuer string, opts *Options) (*IdentityProvider, error) {
	c, err := newProviderClient(issuer, opts)
	if err != nil {
		return nil, err
	}
	return &IdentityProvider{c: c}, nil
}

// Login logs in at the identity provider as [Client.Login] does. Nil opts are the zero value.
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

// Logout removes the login from the store and revokes its tokens: see [Client.Logout].
func (p *IdentityProvider) Logout(ctx context.Context) (*LogoutResult, error) { return p.c.Logout(ctx) }

// Clear removes the login from the store and sends nothing to the provider: see [Client.Clear].
func (p *IdentityProvider) Clear(ctx context.Context, opts *ClearOptions) error {
	return p.c.Clear(ctx, opts)
}

// Close ends the login's Client: see [Client.Close]. ctx bounds the wait.
func (p *IdentityProvider) Close(ctx context.Context) error { return p.c.Close(ctx) }
