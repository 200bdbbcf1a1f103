package mcpoauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/browser"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// DeviceCode is the device authorization grant (RFC 8628), for programs on machines without any browser:
// the person opens an address on another device and enters a code there. [Options.Prompt] shows both
// ([LoginPrompt.UserCode]). The login is refreshed like any other.
type DeviceCode struct{}

func (DeviceCode) name() string { return grant.TypeDeviceCode }

func (DeviceCode) assertion(context.Context, *Client, asked) (string, error) { return "", nil }

func (DeviceCode) check(*Options) error { return nil }

// deviceRedirect stands for a redirect URI in the registration of a client that uses none: many servers
// register no client without one.
const deviceRedirect = "http://127.0.0.1/device"

// device reports whether logins go by a code on another device.
func (c *Client) device() bool {
	_, ok := c.opts.Grant.(DeviceCode)
	return ok
}

// authorizeDevice does a login by a code on another device. reused reports that a stored registration
// was used.
func (c *Client) authorizeDevice(ctx context.Context, f *facts, w want, deadline time.Time) (s *session, reused bool, err error) {
	endpoint := f.Server.DeviceAuthorizationEndpoint
	if endpoint == "" {
		return nil, false, &AuthorizationError{Fact{URL: f.Issuer, Message: "the authorization server has no device authorization endpoint", Hint: "log in with a browser: leave --grant out; --no-browser takes the redirect URL pasted back"}}
	}
	id := c.fixedIdentity(f)
	if id == nil {
		if id = c.storedIdentity(ctx, f, deviceRedirect, w); id.reg == nil {
			if err := c.register(ctx, f, id, deviceRedirect, w); err != nil {
				return nil, false, err
			}
		}
	}
	scopes := c.scopesFor(ctx, f, w)
	rec := c.newRecord(f, id.reg, scopes)
	if rec.DPoPKey, err = c.newDPoPKey(ctx, f); err != nil {
		return nil, id.reused, err
	}
	auth, err := c.boundAuth(id.reg, rec.DPoPKey)
	if err != nil {
		return nil, id.reused, err
	}
	d, err := grant.StartDevice(ctx, c.http, grant.DeviceRequest{Endpoint: endpoint, Auth: auth, Scopes: scopes, ScopeSeparator: c.opts.ScopeSeparator, Resource: f.Resource, Extra: c.opts.AuthorizeParams})
	if err != nil {
		return nil, id.reused, publicError(err)
	}
	tok, err := c.awaitDevice(ctx, f, auth, d, scopes, deadline)
	if err != nil {
		return nil, id.reused, err
	}
	applyToken(rec, tok)
	c.notes(tok.Notes)
	s, err = c.replace(ctx, rec)
	return s, id.reused, err
}

// newRecord is the record of a login that is being made.
func (c *Client) newRecord(f *facts, reg *store.Registration, scopes []string) *store.Record {
	return &store.Record{
		ServerURL: c.id, Profile: c.opts.Profile, ResourceOverride: c.opts.Resource, Resource: f.Resource, Issuer: f.Issuer,
		Scopes: scopes, RequestedScopes: scopes, AuthorizationEndpoint: f.Server.AuthorizationEndpoint, TokenEndpoint: f.Server.TokenEndpoint,
		RevocationEndpoint: f.Server.RevocationEndpoint, ServerMetadataURL: f.ServerMetadataURL,
		IssParameterPromised: f.Server.AuthorizationResponseIssParameterSupported, Registration: *reg,
		TokenMember: c.opts.TokenMember, BearerType: c.opts.AllowTokenType,
	}
}

// awaitDevice shows the code and asks the server until the person has decided.
func (c *Client) awaitDevice(ctx context.Context, f *facts, auth grant.ClientAuth, d *grant.Device, scopes []string, deadline time.Time) (*wire.Token, error) {
	target := d.Complete
	if target == "" {
		target = d.URI
	}
	plain, err := browser.Sanitize(d.URI)
	if err == nil {
		target, err = browser.Sanitize(target)
	}
	if err != nil {
		return nil, &AuthorizationError{Fact{URL: f.Issuer, Message: "the address for the code cannot be opened safely: " + err.Error(), Err: err, Hint: "the server is at fault"}}
	}
	if d.Expiry.Before(deadline) {
		deadline = d.Expiry
	}
	stop := c.waiting("login", deadline)
	defer stop()
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errLoginTimeout)
	defer cancel()
	shown := make(chan error, 1)
	go func() {
		_, err := c.opts.Prompt(ctx, &LoginPrompt{
			URL: target, UserCode: d.UserCode, VerificationURL: plain, ServerURL: c.id, Profile: c.opts.Profile, Issuer: f.Issuer,
			TokenHost: hostOf(f.Server.TokenEndpoint), Scopes: slices.Clone(scopes), Deadline: deadline,
			Check: func(*LoginReply) error { return errors.New("nothing need be pasted for this login") },
		})
		shown <- err
	}()
	tok, err := c.pollDevice(ctx, f, auth, d, shown)
	cancel()
	return tok, err
}

func (c *Client) pollDevice(ctx context.Context, f *facts, auth grant.ClientAuth, d *grant.Device, shown <-chan error) (*wire.Token, error) {
	for {
		t := time.NewTimer(d.Interval)
		select {
		case err := <-shown:
			t.Stop()
			if err != nil {
				return nil, err
			}
			shown = nil // it is shown; go on waiting
			continue
		case <-ctx.Done():
			t.Stop()
			return nil, timedOut(ctx, &AuthorizationError{Fact{
				Message: "nobody entered the code in time", Err: errors.Join(ErrTemporary, errLoginTimeout), Hint: "try again; --timeout (Options.LoginTimeout) waits longer, as far as the server lets",
			}})
		case <-t.C:
		}
		tok, pending, err := grant.PollDevice(ctx, c.http, grant.DevicePoll{
			Endpoint: f.Server.TokenEndpoint, Auth: auth, Device: d, Resource: f.Resource, Extra: c.opts.TokenParams, Format: c.dialect(&store.Record{Issuer: f.Issuer}),
		})
		switch {
		case err != nil && ctx.Err() != nil:
			continue
		case err != nil:
			fault := faultOf(err)
			if fault.Code == "access_denied" {
				fault.Err = errors.Join(ErrAccessDenied, fault.Err)
			}
			return nil, publicError(fault)
		case !pending:
			return tok, nil
		}
	}
}
