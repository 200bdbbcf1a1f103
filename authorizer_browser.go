package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/loopback"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
)

// browserAuthorizer makes logins whose response comes back by a browser to a loopback listener (RFC 8252).
type browserAuthorizer struct{ personLogin }

func (a *browserAuthorizer) authorize(ctx context.Context, plan loginPlan) (*session, error) {
	return a.personLogin.authorize(ctx, plan, a.attempt)
}

// attempt asks the person once.
func (a *browserAuthorizer) attempt(ctx context.Context, f *discovered, plan loginPlan) (*record.Login, *clientRegistration, error) {
	client, l, err := a.listen(ctx, f, plan)
	if err != nil {
		return nil, client, err
	}
	defer func() { _ = l.Close() }()
	rec, err := a.once(ctx, f, l, client, plan)
	if err != nil && a.pushNext(f, plan, err) {
		a.trace.note(ctx, NoteAuthorization, "the server takes pushed authorization requests only (RFC 9126); asking again with one")
		plan.push = true
		rec, err = a.once(ctx, f, l, client, plan)
	}
	return rec, client, err
}

// once sends one authorization request, waits for its response and exchanges the code.
func (a *browserAuthorizer) once(ctx context.Context, f *discovered, l *loopback.Listener, client *clientRegistration, plan loginPlan) (*record.Login, error) {
	pending, target, err := a.begin(ctx, f, client.reg, a.need(f, plan, l.RedirectURI()), plan)
	if err != nil {
		return nil, err
	}
	if err := l.Arm(pending.State); err != nil {
		return nil, err
	}
	lp := a.prompt(pending, target, plan.deadline)
	lp.StepUp, lp.Unpublished = a.stepUp(f, plan)
	values, err := a.ask(ctx, l, pending, lp)
	if err != nil {
		if client.reused && errors.Is(err, errLoginTimeout) {
			a.registry.suspect(ctx, client)
			err = &Error{
				Op: OpAuthorization, Message: "no response came back from the browser in time", Err: errors.Join(ErrTemporary, err),
				Hint: "if the page showed an error about the client, run login with --new-client (LoginOptions.NewClient); --timeout (Options.LoginTimeout) waits longer",
			}
		}
		return nil, err
	}
	return a.finish(ctx, pending, values)
}

// listen opens the listener and returns it with the client to use. It listens before it registers, so that the port in
// the redirect URI is one that it holds. A server that refuses a redirect URI of its own is given the plain one.
func (a *browserAuthorizer) listen(ctx context.Context, f *discovered, plan loginPlan) (*clientRegistration, *loopback.Listener, error) {
	need := func(redirectURI string) clientNeed { return a.need(f, plan, redirectURI) }
	plain := a.set.callback.Path
	client, path := a.registry.fixed(f), plain
	if client == nil {
		client, path = a.registry.storedAt(ctx, f, need)
	}
	l, err := a.open(client, path)
	if err != nil {
		return client, nil, err
	}
	err = a.registry.serve(ctx, f, client, need(l.RedirectURI()))
	if path != plain && refusesRedirect(err) {
		a.trace.note(ctx, NoteRegistration, "the server refuses a redirect URI of its own, so that a response could be taken for that of another server that is hostile; registering the plain one")
		_ = l.Close()
		client = a.registry.stored(ctx, f.Issuer, need(a.set.redirectBase(plain)))
		if l, err = a.open(client, plain); err != nil {
			return client, nil, err
		}
		err = a.registry.serve(ctx, f, client, need(l.RedirectURI()))
	}
	if err != nil {
		_ = l.Close()
		return client, nil, err
	}
	if client.reused {
		a.registry.begin(ctx, client)
	}
	return client, l, nil
}

// open opens a listener for a path, on the port of the stored registration if there is one.
func (a *browserAuthorizer) open(client *clientRegistration, path string) (*loopback.Listener, error) {
	cfg := loopback.Config{Host: a.set.callback.Host, Port: a.set.callback.Port, Path: path, ServerName: resource.Host(a.trace.server)}
	if cfg.Port == 0 && client.reg != nil && RegistrationSource(client.reg.Source) == SourceDynamic {
		cfg.Port = portOf(client.reg.RedirectURI)
	}
	l, err := loopback.Listen(cfg)
	if _, busy := errors.AsType[*loopback.PortBusyError](err); busy && a.set.callback.Port == 0 {
		cfg.Port = 0 // the port of the registration is not to be had
		l, err = loopback.Listen(cfg)
	}
	if err != nil {
		return nil, &Error{
			Op: OpAuthorization, Message: "cannot listen for the browser's response: " + err.Error(), Err: err,
			Hint: portHint(err),
		}
	}
	return l, nil
}

// portHint says what to do about a port that cannot be had.
func portHint(err error) string {
	const another = "choose another port with --callback-port (Options.Callback.Port), or leave it out"
	if busy, ok := errors.AsType[*loopback.PortBusyError](err); ok && busy.Reserved() {
		if busy.Port < 1024 {
			return another + ": ports below 1024 need privileges"
		}
		return another + "; on Windows \"netsh interface ipv4 show excludedportrange tcp\" lists the ports that the system reserves"
	}
	return another
}

// prompt returns what the person is shown.
func (a *browserAuthorizer) prompt(p *record.Pending, target string, deadline time.Time) *LoginPrompt {
	return &LoginPrompt{
		URL: target, ServerURL: a.trace.server, Profile: a.trace.profile, Issuer: p.Login.Issuer, TokenHost: resource.Host(p.Login.TokenEndpoint),
		RedirectURI: p.RedirectURI, Scopes: slices.Clone(p.Login.RequestedScopes), Deadline: deadline,
		Check: func(r *LoginReply) error { _, err := readReply(r, p); return err },
	}
}

// ask shows the URL and waits for the callback or a pasted redirect URL, whichever is first.
func (a *browserAuthorizer) ask(ctx context.Context, l *loopback.Listener, p *record.Pending, lp *LoginPrompt) (url.Values, error) {
	stop := a.trace.waiting(ctx, WaitLogin, lp.Deadline)
	defer stop()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	type callback struct {
		values url.Values
		err    error
	}
	back := make(chan callback, 1)
	go func() {
		v, err := l.Wait(waiting)
		back <- callback{v, err}
	}()
	shown := a.show(ctx, lp)
	defer shown.end()
	for {
		select {
		case c := <-back:
			if c.err != nil && ctx.Err() != nil {
				c.err = timedOut(ctx, loginTimeoutError(a.set.loginTimeout))
			}
			return c.values, c.err
		case r := <-shown.result:
			shown.result = nil
			switch {
			case r.err != nil && ctx.Err() != nil:
				return nil, timedOut(ctx, loginTimeoutError(a.set.loginTimeout))
			case r.err != nil:
				return nil, r.err
			case r.reply != nil && r.reply.RedirectURL != "":
				return readReply(r.reply, p)
			}
			// The URL was shown; the callback may still come.
		}
	}
}

// readReply returns the callback that a person pasted, if it belongs to the login p.
func readReply(r *LoginReply, p *record.Pending) (url.Values, error) {
	v, err := loopback.ParsePasted(r.RedirectURL, p.RedirectURI)
	if err != nil {
		return nil, err
	}
	if !sameState(v.Get("state"), p.State) {
		return nil, &Error{Op: OpAuthorization, Message: "the pasted address belongs to another login", Hint: "paste the address that the browser shows at the end of this login"}
	}
	return v, nil
}

func loginTimeoutError(limit time.Duration) error {
	return &Error{
		Op: OpAuthorization, Message: fmt.Sprintf("no response came back from the browser within %v", limit), Err: errors.Join(ErrTemporary, errLoginTimeout),
		Hint: "try again; --timeout (Options.LoginTimeout) waits longer, --no-browser takes the redirect URL pasted back",
	}
}
