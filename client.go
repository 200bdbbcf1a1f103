package mcpoauth

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

// The pauses after failures of each kind. They are never modified.
var (
	refreshPauses     = pauses{time.Second, 30 * time.Second}
	rejectionPauses   = pauses{5 * time.Second, time.Minute}
	unprotectedPauses = pauses{time.Minute, time.Minute}
)

// loginLinger is how long a cancelled Login waits until its listener and its lock are released.
const loginLinger = time.Second

// Client keeps requests to one MCP server authorized for one profile. It is safe for concurrent use; an idle Client has
// no goroutine. Clients in any number of processes share a login through their store. A Client prints without its
// secrets.
type Client struct {
	gate
	login      coordinator
	refresher  refresher
	browser    browserAuthorizer
	store      loginStore
	tokens     tokenClient
	net        network
	discoverer discoverer
	registrar  registrar
	nonce      dpop.Nonces
	idp        *Client
}

// New returns a Client for the MCP server at serverURL, an absolute https URL, or an http URL of a loopback host. It
// checks and copies opts and does no I/O. Nil options are the zero value. The error is an [OptionError].
func New(serverURL string, opts *Options) (*Client, error) {
	if opts == nil {
		opts = &Options{}
	}
	c, err := newClient(serverURL, opts, store.KindLogin)
	if err != nil {
		return nil, err
	}
	c.wire(loginKind{})
	e, ok := opts.Grant.(EnterpriseManaged)
	if !ok {
		return c, nil
	}
	if err := c.openProvider(e, opts); err != nil {
		return nil, err
	}
	return c, nil
}

// newClient makes the parts that all Clients have: settings, store and network.
func newClient(serverURL string, opts *Options, kind store.Kind) (*Client, error) {
	u, err := resource.ParseServer(serverURL)
	if err != nil {
		return nil, optionError("server URL", err, "give the URL of the MCP server, as in https://mcp.example.com/mcp")
	}
	id := resource.Canonical(u)
	server, err := url.Parse(id)
	if err != nil {
		return nil, optionError("server URL", err, "give the URL of the MCP server, as in https://mcp.example.com/mcp")
	}
	set, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	c := &Client{net: network{set: set, server: server}}
	if err := c.net.policy().CheckURL(server); err != nil {
		return nil, optionError("server URL", err, "use https, or set --allow-insecure-http (Options.Allow.InsecureHTTP) if you accept that anyone on the network path can read the token")
	}
	st := opts.Store
	if st == nil {
		if st, err = OpenDefaultStore(opts.CacheDir); err != nil {
			return nil, err
		}
	}
	c.net.trace = newTracer(opts, id)
	c.network = &c.net
	c.store = loginStore{store: guard(st, c.trace), set: set, trace: c.trace, key: store.Key{Kind: kind, ID: id, Profile: opts.Profile}}
	switch {
	case kind == store.KindIdentityProvider:
		c.store.key.ID = opts.Server.Issuer
	case opts.Server.Resource != "":
		c.store.key.ID += " resource=" + opts.Server.Resource
	}
	return c, nil
}

func newTracer(opts *Options, server string) *tracer {
	t := &tracer{hooks: noTrace, log: opts.Logger, server: server, profile: opts.Profile}
	if t.log == nil {
		t.log = discardLog
	}
	if opts.Trace != nil {
		hooks := *opts.Trace
		t.hooks = &hooks
	}
	return t
}

// The logger and the hooks of Clients that have none. They are never modified.
var (
	discardLog = slog.New(slog.DiscardHandler)
	noTrace    = &Trace{}
)

// loginKind distinguishes logins at an MCP server from those at an identity provider.
type loginKind struct {
	// provider means that the login is at an identity provider.
	provider bool
	// accept checks token responses beyond what all have in common.
	accept acceptance
}

// wire connects the parts of a Client whose login is made by a person, or by a grant that needs no identity provider.
func (c *Client) wire(kind loginKind) {
	set := c.set
	c.logins, c.refresh, c.gate.login, c.discover, c.nonces = &c.store, &c.refresher, &c.login, &c.discoverer, &c.nonce
	c.rejections.pauses, c.unprotected.pauses, c.refresher.pause.pauses = &rejectionPauses, &unprotectedPauses, &refreshPauses
	c.tokens = tokenClient{&c.net, &c.nonce}
	c.discoverer = discoverer{network: &c.net, probe: prober{&c.net, c.checkRedirect}, provider: kind.provider}
	c.registrar = registrar{&c.net, c.store.store}
	journal := refreshJournal{&c.store}
	c.refresher.logins, c.refresher.tokens = &c.store, &c.tokens
	person := personLogin{network: &c.net, discover: &c.discoverer, registry: &c.registrar, tokens: &c.tokens, logins: &c.store, accept: kind.accept}
	c.browser = browserAuthorizer{person}
	c.login.logins, c.login.refresh, c.login.journal = &c.store, &c.refresher, journal
	c.login.flights.Linger = loginLinger
	panicked := c.trace.panicked // once: each of these values takes memory
	c.login.flights.Panicked, c.refresher.flights.Panicked = panicked, panicked
	c.login.authorizer = &c.browser
	if set.device() {
		c.login.authorizer = &deviceAuthorizer{person}
	}
	switch g := set.grant.(type) {
	case ClientCredentials:
		c.refresher.source = c.machine(noAssertion)
	case WorkloadIdentity:
		c.refresher.source = c.machine(workloadAssertions(g))
	default:
		c.refresher.source = &refreshSource{
			tokens: &c.tokens, journal: journal, pause: &c.refresher.pause, discover: &c.discoverer, registry: &c.registrar, accept: kind.accept,
		}
	}
}

func (c *Client) machine(a assertions) *machineSource {
	return &machineSource{tokens: &c.tokens, pause: &c.refresher.pause, discover: &c.discoverer, registry: &c.registrar, assertion: a}
}

// openProvider makes the Client of the login at the identity provider that enterprise-managed authorization needs.
func (c *Client) openProvider(e EnterpriseManaged, opts *Options) error {
	p := &providerLogin{issuer: e.Issuer, owner: &c.store}
	if e.Issuer != "" {
		o := *opts
		o.Store, o.Client.ID, o.Client.Secret = c.store.store, e.ClientID, e.ClientSecret
		idp, err := newProviderClient(e.Issuer, &o)
		if err != nil {
			return optionError("Grant", err, "--idp must be the identity provider's issuer, an https URL (EnterpriseManaged.Issuer)")
		}
		c.idp, c.provider = idp, true
		p.logins, p.refresh, p.login, p.discover = &idp.store, &idp.refresher, &idp.login, &idp.discoverer
		c.login.authorizer = &providerAuthorizer{provider: p, refresh: &c.refresher}
	}
	source := c.machine(idTokenAssertions(e, p, &c.tokens))
	if idp := c.idp; idp != nil {
		source.person = func() string { return idp.store.current.Load().name() }
	}
	c.refresher.source = source
	return nil
}

// newProviderClient returns the Client of a login at an identity provider.
func newProviderClient(issuer string, opts *Options) (*Client, error) {
	c, err := newClient(issuer, providerSettings(issuer, opts), store.KindIdentityProvider)
	if err != nil {
		return nil, err
	}
	c.wire(loginKind{provider: true, accept: acceptIDToken})
	return c, nil
}

// ServerURL returns the canonical form of the server's URL.
func (c *Client) ServerURL() string { return c.trace.server }

// DefaultCacheDir returns the directory of the default store: $MCPOAUTH_DIR, or mcpoauth in the user's state directory.
// It does not create it. The error says what is missing, HOME for example.
func DefaultCacheDir() (string, error) { return filestore.DefaultDir() }

// OpenDefaultStore returns the store that a [Client] uses when [Options.Store] is nil: files in dir, or in
// [DefaultCacheDir] if dir is empty. The error is an [OptionError].
func OpenDefaultStore(dir string) (store.Store, error) {
	s, err := filestore.New(dir)
	if err != nil {
		return nil, optionError("CacheDir", err, "name the directory for logins with --store file:DIR or MCPOAUTH_DIR (Options.CacheDir)")
	}
	return s, nil
}

// Token returns a valid access token, refreshing it if need be. It never asks a person: without a usable login the
// error is [ErrLoginRequired]. A fault that may pass is [ErrTemporary]. Any number of callers, in any number of
// processes, cause one refresh. Nil opts are the zero value.
func (c *Client) Token(ctx context.Context, opts *TokenOptions) (*Token, error) {
	if opts == nil {
		opts = &TokenOptions{}
	}
	if c.closed.Load() {
		return nil, errClosed
	}
	s, err := c.refresher.ensure(ctx, opts.MinValidity)
	if err != nil {
		return nil, err
	}
	return &s.token, nil
}

// TokenRejected reports that the MCP server rejected a token with 401, for programs that send requests themselves,
// and returns another one: from the store if another process has renewed it, else by a refresh. It never asks a
// person. If there is no other token the error is [ErrLoginRequired], and the next [Client.Login] asks a person even
// if the token has not expired.
func (c *Client) TokenRejected(ctx context.Context, t *Token) (*Token, error) {
	if c.closed.Load() {
		return nil, errClosed
	}
	if t == nil {
		return nil, errors.New("mcpoauth: TokenRejected needs the token that was rejected")
	}
	s, err := c.refresher.renew(ctx, tokenRequest{rejected: t.AccessToken()})
	if errors.Is(err, ErrLoginRequired) && !c.set.nonInteractive() {
		c.store.require(ctx, t.AccessToken(), noRequirement)
	}
	if err != nil {
		return nil, err
	}
	return &s.token, nil
}

// Login asks a person to log in, by [Options.Prompt], unless a usable login is stored. Concurrent calls with the same
// options, in this process and others, share one login. If the stored login can no longer be refreshed the person is
// asked. Each call ends with its own ctx; with the last one the login is cancelled, and only the client's
// registration remains. The error is [ErrAccessDenied] if the person or the server refuses, [ErrTemporary] if the
// person does not answer within [Options.LoginTimeout], and [ErrLoginRequired] without a Prompt. Nil opts are the
// zero value.
func (c *Client) Login(ctx context.Context, opts *LoginOptions) (*Token, error) {
	if opts == nil {
		opts = &LoginOptions{}
	}
	if c.closed.Load() {
		return nil, errClosed
	}
	request := loginRequest{force: opts.Force || opts.NewClient, newClient: opts.NewClient, scopes: slices.Clone(opts.Scopes)}
	s, err := c.resume(ctx, &request)
	if s == nil && err == nil {
		s, err = c.obtain(ctx, request)
	}
	if err != nil {
		return nil, err
	}
	return &s.token, nil
}

// resume returns the stored login if it satisfies the request, nil otherwise. It fills in the token that the caller
// knew.
func (c *Client) resume(ctx context.Context, request *loginRequest) (*session, error) {
	st, err := c.store.load(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound), isCorrupt(err):
		return nil, nil // there is none
	case err != nil:
		return nil, err
	}
	s := st.session
	request.known = s.access()
	if request.force || s.required != nil || !covers(s.token.scopes, request.scopes) || !s.usable(time.Now()) && !s.renewable() {
		return nil, nil // there is none that serves
	}
	s, err = c.refresher.ensure(ctx, 0)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil, errors.Is(err, ErrClosed), c.set.nonInteractive() && !errors.Is(err, ErrLoginRequired):
		return nil, err
	case errors.Is(err, ErrTemporary) && c.set.prompt == nil:
		return nil, err
	case !errors.Is(err, ErrLoginRequired):
		c.trace.note(ctx, NoteRenewal, "the stored login could not be renewed, so a new one is made: "+err.Error())
	}
	return nil, nil // it is over
}

// obtain makes a login, or obtains a token by a grant that needs none.
func (c *Client) obtain(ctx context.Context, request loginRequest) (*session, error) {
	if c.set.nonInteractive() && c.idp == nil {
		r := tokenRequest{scopes: request.scopes}
		if request.force {
			r.rejected = request.known
		}
		return c.refresher.renew(ctx, r)
	}
	return c.login.login(ctx, request)
}

// during runs an operation for one caller. The operation ends with ctx or with the Client.
func during[T any](ctx context.Context, c *Client, fn func(context.Context) (T, error)) (T, error) {
	out := make(chan T, 1)
	_, err := c.login.flights.Do(ctx, "", func(ctx context.Context) (*session, error) {
		v, err := fn(ctx)
		out <- v
		return nil, err
	})
	var v T
	select {
	case v = <-out:
	default: // the caller has left
	}
	return v, err
}

// Close ends the Client: calls that wait fail with [ErrClosed], and nothing more is sent. A token request that was
// sent is finished and saved; a failed save is tried once more, and its error is returned. ctx limits the wait.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	c.login.flights.Close(errClosed)
	c.refresher.flights.Close(errClosed)
	err := c.login.flights.Wait(ctx)
	if err == nil {
		err = c.refresher.flights.Wait(ctx)
	}
	err = errors.Join(err, c.store.saveUnsaved(ctx))
	if c.idp != nil {
		err = errors.Join(err, c.idp.Close(ctx))
	}
	c.net.closeIdle()
	return err
}
