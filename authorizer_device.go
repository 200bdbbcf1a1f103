package mcpoauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/browser"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// deviceAuthorizer makes logins by a code on another device (RFC 8628).
type deviceAuthorizer struct{ personLogin }

// deviceRedirect stands for a redirect URI in the registration of a client that uses none: many servers register no
// client without one.
const deviceRedirect = "http://127.0.0.1/device"

// deviceLogin is one login by a code: the device authorization response, and the record for its tokens.
type deviceLogin struct {
	code *grant.Device
	auth grant.ClientAuth
	rec  *record.Login
	// stepUp and unpublished are those of the prompt.
	stepUp, unpublished []string
}

func (a *deviceAuthorizer) authorize(ctx context.Context, plan loginPlan) (*session, error) {
	return a.personLogin.authorize(ctx, plan, a.attempt)
}

// attempt asks the person once.
func (a *deviceAuthorizer) attempt(ctx context.Context, f *discovered, plan loginPlan) (*record.Login, *clientRegistration, error) {
	endpoint := f.Server.DeviceAuthorizationEndpoint
	if endpoint == "" {
		return nil, nil, &Error{Op: OpAuthorization, URL: f.Issuer, Message: "the authorization server has no device authorization endpoint", Hint: "if its owner tells you the address, give it with --device-authorization-endpoint (Options.Server.Endpoints); else log in with a browser: leave --grant out, --no-browser takes the redirect URL pasted back"}
	}
	need := a.need(f, plan, deviceRedirect)
	client := a.registry.fixed(f)
	if client == nil {
		client = a.registry.stored(ctx, f.Issuer, need)
		if err := a.registry.serve(ctx, f, client, need); err != nil {
			return nil, client, err
		}
	}
	a.set.rememberMethod(client.reg, plan.previous)
	d := deviceLogin{rec: a.tokens.newRecord(f, client.reg, need.scopes)}
	_, err := a.tokens.bindRecord(d.rec, f, plan.previous)
	if err == nil {
		d.auth, err = a.tokens.auth(d.rec)
	}
	if err != nil {
		return nil, client, err
	}
	d.code, d.auth, err = a.start(ctx, endpoint, d)
	if err != nil {
		return nil, client, authorizationRefusal{set: a.set, rec: d.rec}.explain(err)
	}
	d.stepUp, d.unpublished = a.stepUp(f, plan)
	tok, err := a.await(ctx, &d, plan.deadline)
	if err != nil {
		return nil, client, err
	}
	a.tokens.authenticated(ctx, d.rec, d.auth)
	rec, err := a.received(ctx, d.rec, tok, "")
	return rec, client, err
}

// start asks for the codes (RFC 8628 section 3.1). RFC 8628 knows no PKCE, and a few servers refuse parameters that they
// do not know, so a challenge is sent once the server has asked for one.
func (a *deviceAuthorizer) start(ctx context.Context, endpoint string, d deviceLogin) (*grant.Device, grant.ClientAuth, error) {
	r := grant.DeviceRequest{
		Endpoint: endpoint, Auth: d.auth, Scopes: d.rec.RequestedScopes, ScopeSeparator: string(a.set.scopes.Separator), Resource: d.rec.Resource, Extra: a.set.server.AuthorizeParams,
	}
	code, auth, err := grant.StartDevice(ctx, a.guard(), r)
	if f, ok := errors.AsType[*wire.Fault](err); ok && grant.WantsChallenge(f) {
		a.trace.note(ctx, NoteAuthorization, "the server wants PKCE with a device authorization; asking again with a challenge")
		r.PKCE, r.Auth = true, auth
		return grant.StartDevice(ctx, a.guard(), r)
	}
	return code, auth, err
}

// await shows the code and polls the server until the person has decided.
func (a *deviceAuthorizer) await(ctx context.Context, d *deviceLogin, deadline time.Time) (*wire.Token, error) {
	if d.code.Expiry.Before(deadline) {
		deadline = d.code.Expiry
	}
	lp, err := a.prompt(d, deadline)
	if err != nil {
		return nil, &Error{Op: OpAuthorization, URL: d.rec.Issuer, Message: "the address for the code cannot be opened safely: " + err.Error(), Err: err, Hint: "the server is at fault"}
	}
	stop := a.trace.waiting(ctx, WaitLogin, deadline)
	defer stop()
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errLoginTimeout)
	defer cancel()
	shown := a.show(ctx, lp)
	defer shown.end()
	return a.poll(ctx, d, shown)
}

// prompt returns what the person is shown.
func (a *deviceAuthorizer) prompt(d *deviceLogin, deadline time.Time) (*LoginPrompt, error) {
	target := d.code.Complete
	if target == "" {
		target = d.code.URI
	}
	address, err := browser.Sanitize(d.code.URI)
	if err == nil {
		target, err = browser.Sanitize(target)
	}
	if err != nil {
		return nil, err
	}
	return &LoginPrompt{
		URL: target, UserCode: d.code.UserCode, VerificationURL: address, ServerURL: a.trace.server, Profile: a.trace.profile, Issuer: d.rec.Issuer,
		TokenHost: resource.Host(d.rec.TokenEndpoint), Scopes: slices.Clone(d.rec.RequestedScopes), StepUp: d.stepUp, Unpublished: d.unpublished, Deadline: deadline,
		Check: func(*LoginReply) error { return errors.New("this login needs nothing pasted") },
	}, nil
}

func (a *deviceAuthorizer) poll(ctx context.Context, d *deviceLogin, shown *prompting) (*wire.Token, error) {
	for {
		t := time.NewTimer(d.code.Interval)
		select {
		case r := <-shown.result:
			t.Stop()
			shown.result = nil
			if r.err != nil {
				return nil, r.err
			}
			continue // the code was shown; go on waiting
		case <-ctx.Done():
			t.Stop()
			return nil, timedOut(ctx, &Error{
				Op: OpAuthorization, Message: "the code was not entered in time", Err: errors.Join(ErrTemporary, errLoginTimeout),
				Hint: "try again; --timeout (Options.LoginTimeout) waits longer, as far as the server allows",
			})
		case <-t.C:
		}
		tok, pending, err := a.pollOnce(ctx, d)
		switch {
		case err != nil && ctx.Err() != nil:
			continue
		case err != nil:
			f := faultOf(err)
			if f.Code == "access_denied" || f.Code == "authorization_declined" {
				f.Err = errors.Join(ErrAccessDenied, f.Err)
			}
			return nil, publicError(f)
		case !pending:
			return tok, nil
		}
	}
}

func (a *deviceAuthorizer) pollOnce(ctx context.Context, d *deviceLogin) (*wire.Token, bool, error) {
	r := grant.DevicePoll{
		Endpoint: d.rec.TokenEndpoint, Auth: d.auth, Device: d.code, Resource: d.rec.Resource, Extra: a.set.server.TokenParams, Format: a.tokens.format(d.rec),
	}
	tok, pending, err := grant.PollDevice(ctx, a.guard(), &r)
	d.auth = r.Auth
	return tok, pending, err
}
