package mcpoauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// discovered is what discovery found, fixed for one login.
type discovered struct {
	*discovery.Result
	challenge *challenge
}

// parameters returns those that the provider's authorization requests need.
func (f *discovered) parameters() map[string]string {
	if f.Provider == nil {
		return nil
	}
	return f.Provider.Authorize
}

// withheld returns the URL of an endpoint that the metadata has and a login does not use, "" if there is none.
func withheld(endpoints []discovery.Endpoint, name string) string {
	for _, e := range endpoints {
		if e.Name == name {
			return e.URL
		}
	}
	return ""
}

// discoverer finds out how a server does OAuth.
type discoverer struct {
	*network
	probe prober
	// provider means that the server is an identity provider, not an MCP server.
	provider bool
}

// discover reads the metadata that a challenge leads to. Without a challenge it provokes one. previous is the stored
// login, nil if there is none: its authorization server is preferred, and its client stays there.
func (d *discoverer) discover(ctx context.Context, c *challenge, previous *record.Login) (*discovered, error) {
	var preferred string
	if previous != nil {
		preferred = previous.Issuer
	}
	request := d.request(preferred)
	switch {
	case d.provider:
		c = &challenge{}
	case c == nil:
		request.Ahead = discovery.Begin(ctx, d.guard(), request)
		defer request.Ahead.End()
		var err error
		if c, err = d.probe.challenge(ctx); err != nil {
			return nil, err
		}
	}
	request.MetadataURL = c.metadataURL
	r, err := discovery.Discover(ctx, d.guard(), request)
	if err != nil {
		f := faultOf(err)
		if f.NotOffered && c.open {
			f.Message, f.Hint = "the server answers without a login and offers none", "no login is needed: use the server as it is"
			if c.page {
				f.Message, f.Hint = "a web page is at this URL, not an MCP server", "check the URL; many MCP servers are at a path such as /mcp"
			}
		}
		if f.Resource == nil {
			return nil, publicError(f)
		}
		// For inspect: what was read before the error is worth seeing.
		return &discovered{Result: &discovery.Result{Resource: f.Resource.Resource, ResourceMetadata: f.Resource}, challenge: c}, publicError(f)
	}
	d.trace.notes(ctx, NoteMetadata, r.Notes)
	if err := d.checkClient(r.Issuer, previous); err != nil {
		return nil, err
	}
	return &discovered{Result: r, challenge: c}, nil
}

// checkClient keeps a client that was registered by hand, and its secret, at its own issuer: the one that the
// settings name, else the one of the first login (SEP-2352), since a server that names another one later may be under
// another's control.
func (d *discoverer) checkClient(issuer string, previous *record.Login) error {
	o := d.set
	if own := o.client.Issuer; own != "" {
		if resource.SameIssuer(own, issuer) {
			return nil
		}
		return &Error{
			Op: OpDiscovery, URL: d.trace.server, Message: fmt.Sprintf("the client is for %s, but the server names %s", own, wire.Clean(issuer)),
			Hint: "nothing was sent there; check --client-issuer (Options.Client.Issuer)",
		}
	}
	if o.client.ID == "" || o.server.Issuer != "" || o.server.Endpoints.Token != "" || previous == nil {
		return nil
	}
	reg := previous.Registration
	if reg.Source != string(SourcePreRegistered) || reg.ClientID != o.client.ID || reg.Issuer == "" || resource.SameIssuer(reg.Issuer, issuer) {
		return nil
	}
	return &Error{
		Op: OpDiscovery, URL: d.trace.server,
		Message: fmt.Sprintf("the login with this client was at %s, and the server names %s now", wire.Clean(reg.Issuer), wire.Clean(issuer)),
		Hint:    "nothing was sent there; if the server has moved and the client is registered there too, say so with --client-issuer (Options.Client.Issuer)",
	}
}

// again reads the metadata of an issuer that is known.
func (d *discoverer) again(ctx context.Context, issuer string) (*discovery.Result, error) {
	return discovery.Discover(ctx, d.guard(), d.request(issuer))
}

// offered reports whether a server that sent a 401 without a challenge offers OAuth.
func (d *discoverer) offered(ctx context.Context, c *challenge) bool {
	_, err := d.discover(ctx, c, nil)
	return !errors.Is(err, ErrNoOAuth)
}

func (d *discoverer) request(preferredIssuer string) discovery.Request {
	o := d.set
	r := discovery.Request{
		ServerURL: d.trace.server, IssuerOnly: d.provider, ProtocolVersion: protocolVersion,
		ResourceOverride: o.server.Resource, NoResource: o.server.NoResource, PinnedIssuer: o.server.Issuer,
		NoProviders: o.server.IgnoreProviders, Endpoints: o.server.Endpoints.metadata(), NoPush: o.par == Never,
		AllowGuessedEndpoints: o.allow.GuessedEndpoints, AllowCrossOriginMetadata: o.allow.CrossOriginMetadata,
		AllowMissingPKCE: o.allow.MissingPKCE, AllowForeignEndpoints: o.allow.ForeignEndpoints,
		Machine: o.grant != nil, Device: o.device(),
		NeedsRegistration: o.client.ID == "" && o.server.Issuer == "" && !o.nonInteractive(), HasDocument: o.client.MetadataURL != "",
	}
	for _, issuer := range []string{o.client.Issuer, preferredIssuer} {
		if issuer != "" {
			r.PreferIssuers = append(r.PreferIssuers, issuer)
		}
	}
	return r
}
