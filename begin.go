package mcpoauth

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/store"
)

// pendingLife is how long a pending login can be finished.
const pendingLife = 10 * time.Minute

// PendingLogin is a login that was begun by [Client.BeginLogin] and is not finished. It prints without the ID.
type PendingLogin struct {
	// URL is where to send the person's browser.
	URL string
	// ID finishes the login. Keep it in the session of the person who began; never take it from the callback.
	ID string
}

// BeginLogin begins a login that [FinishLogin] finishes, in this process or in another one that shares the store.
// redirectURI is where the authorization server redirects the browser to. The pending login is kept in the store for
// ten minutes. No lock is held. The error is an [OptionError] for a redirect URI that cannot be used.
func (c *Client) BeginLogin(ctx context.Context, redirectURI string) (*PendingLogin, error) {
	if c.closed.Load() {
		return nil, errClosed
	}
	switch u, err := url.Parse(redirectURI); {
	case err != nil || !u.IsAbs() || u.Host == "" || u.Fragment != "":
		return nil, optionError("redirect URI", errors.New("it must be absolute and without a fragment"), "")
	case u.Scheme == "http" && !resource.IsLoopbackHost(u.Hostname()) && !c.browser.set.allow.InsecureHTTP:
		// MCP authorization, communication security: the code would cross a network in the clear.
		return nil, optionError("redirect URI", errors.New("http is for this machine's own addresses"), "use https")
	}
	if err := c.store.probe(ctx); err != nil {
		return nil, err
	}
	plan := loginPlan{previous: c.store.previous(ctx)}
	f, err := c.discoverer.discover(ctx, nil, plan.previous)
	if err == nil {
		err = c.registrar.checkKey(f)
	}
	if err != nil {
		return nil, err
	}
	need := c.browser.need(f, plan, redirectURI)
	client := c.registrar.fixed(f)
	if client == nil {
		client = c.registrar.stored(ctx, f.Issuer, need)
		if client.reg != nil && client.reg.RedirectURI != redirectURI {
			client.reg, client.reused = nil, false
		}
		if err := c.registrar.serve(ctx, f, client, need); err != nil {
			return nil, err
		}
	}
	pending, target, err := c.browser.begin(ctx, f, client.reg, need, plan)
	if err != nil {
		return nil, err
	}
	data, err := pending.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := c.store.store.Save(ctx, pendingKey(pending.ID, c.trace.profile), data, 0); err != nil {
		return nil, storeError("save", err)
	}
	return &PendingLogin{URL: target, ID: pending.ID}, nil
}

func pendingKey(id, profile string) store.Key {
	return store.Key{Kind: store.KindPending, ID: id, Profile: profile}
}

// FinishLogin finishes the login that [Client.BeginLogin] began under id with the parameters of the callback, and returns
// a Client for it. opts must name the same store and profile. A callback whose state is not that login's is refused with
// an [Error] and leaves the login pending.
func FinishLogin(ctx context.Context, id string, callback url.Values, opts *Options) (*Client, error) {
	if opts == nil {
		opts = &Options{}
	}
	st := opts.Store
	if st == nil {
		var err error
		if st, err = OpenDefaultStore(opts.CacheDir); err != nil {
			return nil, err
		}
	}
	pending, err := takePending(ctx, guard(st, newTracer(opts, "")), pendingKey(id, opts.Profile), callback)
	if err != nil {
		return nil, err
	}
	c, err := New(pending.Login.ServerURL, opts)
	if err != nil {
		return nil, err
	}
	if err := c.finish(ctx, pending, callback); err != nil {
		return nil, err
	}
	return c, nil
}

// FinishLogin finishes a login to this Client's server that [Client.BeginLogin] began under id. The function
// [FinishLogin] does so for programs that have no Client yet.
func (c *Client) FinishLogin(ctx context.Context, id string, callback url.Values) (*Token, error) {
	if c.closed.Load() {
		return nil, errClosed
	}
	pending, err := takePending(ctx, c.store.store, pendingKey(id, c.trace.profile), callback)
	if err != nil {
		return nil, err
	}
	if pending.Login.ServerURL != c.trace.server {
		return nil, &Error{Op: OpAuthorization, URL: c.trace.server, Message: "the login was begun for another server", Hint: "begin the login again"}
	}
	if err := c.finish(ctx, pending, callback); err != nil {
		return nil, err
	}
	return c.Token(ctx, nil)
}

// takePending takes a pending login out of the store, so that a callback that is delivered twice is finished once.
func takePending(ctx context.Context, st store.Store, key store.Key, callback url.Values) (*record.Pending, error) {
	refuse := func(message, hint string, err error) error {
		return &Error{Op: OpAuthorization, Message: message, Hint: hint, Err: err}
	}
	data, rev, err := st.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse("no login was begun under this ID, or it has been finished", "begin the login again", err)
	}
	if err != nil {
		return nil, storeError("read", err)
	}
	pending, err := record.DecodePending(data)
	if err != nil {
		return nil, storeError("read", err)
	}
	if !sameState(callback.Get("state"), pending.State) {
		return nil, refuse("the callback belongs to another login", "take the ID from the session of the person who began the login", nil)
	}
	if err := st.Delete(ctx, key, rev); err != nil {
		return nil, refuse("this login is being finished already", "", err)
	}
	if age := time.Since(pending.CreatedAt); age > pendingLife || age < -pendingLife {
		return nil, refuse("the login was begun too long ago", "begin the login again", nil)
	}
	return pending, nil
}

// finish exchanges the code of a login that has begun and saves it.
func (c *Client) finish(ctx context.Context, pending *record.Pending, callback url.Values) error {
	rec, err := c.browser.finish(ctx, pending, callback)
	if err != nil {
		return err
	}
	rev, err := c.store.revision(ctx)
	if err != nil {
		return storeError("read", err)
	}
	c.store.replace(ctx, rec, rev)
	return nil
}
