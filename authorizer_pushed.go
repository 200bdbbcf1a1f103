package mcpoauth

import (
	"context"
	"errors"
	"slices"

	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

// pushTo returns where an authorization request is to be pushed to, "" if it goes to the browser as it is.
func (p *personLogin) pushTo(f *discovered, plan loginPlan) (string, error) {
	endpoint := f.Server.PushedAuthorizationRequestEndpoint
	insisted := plan.push || plan.previous != nil && plan.previous.PushInsisted && plan.previous.Issuer == f.Issuer
	switch {
	case p.set.par == Always && endpoint == "":
		return "", &Error{
			Op: OpAuthorization, URL: f.Issuer, Message: "the authorization server has no endpoint for pushed authorization requests (RFC 9126)", Hint: noPushEndpointHint(f) + "; without --par always (Options.PAR) nothing is pushed",
		}
	case p.set.par == Never, p.set.par == Auto && !insisted && !f.Server.RequirePushedAuthorizationRequests:
		return "", nil
	}
	return endpoint, nil
}

func noPushEndpointHint(f *discovered) string {
	const name = "pushed_authorization_request_endpoint"
	if slices.ContainsFunc(f.Withheld, func(e discovery.Endpoint) bool { return e.Name == name }) {
		return "its " + name + " is on another site than its token endpoint: if its owner confirms that, set --allow-foreign-endpoints (Options.Allow.ForeignEndpoints)"
	}
	return "if its owner tells you the address, give it with --pushed-authorization-request-endpoint (Options.Server.Endpoints)"
}

// push pushes the authorization request if it is to be pushed, and returns the request for the browser.
func (p *personLogin) push(ctx context.Context, f *discovered, pending *record.Pending, r grant.AuthorizationRequest, plan loginPlan) (grant.AuthorizationRequest, error) {
	endpoint, err := p.pushTo(f, plan)
	if endpoint == "" || err != nil {
		return r, err
	}
	pushed, err := grant.Push(ctx, p.guard(), endpoint, p.set.authFor(&pending.Login.Registration), r)
	if err != nil {
		return r, authorizationRefusal{set: p.set, rec: &pending.Login, redirectURI: pending.RedirectURI}.explain(err)
	}
	p.tokens.authenticated(ctx, &pending.Login, pushed.Auth)
	return grant.AuthorizationRequest{Endpoint: r.Endpoint, ClientID: r.ClientID, RequestURI: pushed.URI}, nil
}

// pushNext reports whether a login that was refused is to be tried once more with a pushed request. If that is what the
// server wants and it cannot be done, the error's hint says why.
func (p *personLogin) pushNext(f *discovered, plan loginPlan, err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(e.Err, errWantsPush) || p.set.par == Never {
		return false
	}
	if f.Server.PushedAuthorizationRequestEndpoint == "" {
		e.Hint = "the server wants the request to be pushed (RFC 9126), and its metadata does not say where: " + noPushEndpointHint(f)
		return false
	}
	pushed, _ := p.pushTo(f, plan)
	return pushed == ""
}
