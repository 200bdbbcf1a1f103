package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/flight"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/registration"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

// Version is the version of this module.
const Version = "0.1.0-dev"

const (
	defaultLoginTimeout = 5 * time.Minute
	defaultCallbackPath = "/callback"
	defaultCallbackHost = "127.0.0.1"
	defaultClientName   = "mcpoauth"
	// exchangeTimeout < lockWait: whoever waits for the lock outlasts a holder whose exchange
	// runs into its limit.
	exchangeTimeout = 30 * time.Second
	storeTimeout    = 10 * time.Second
	lockWait        = 45 * time.Second
)

// Client keeps requests to one MCP server authorized for one profile. It is safe for concurrent
// use; an idle Client has no goroutine. Clients in any number of processes share a login through
// their store.
type Client struct {
	opts   Options
	server *url.URL
	id     string
	key    store.Key
	store  store.Store
	http   *netguard.Client
	log    *slog.Logger
	trace  *tracer

	current atomic.Pointer[session]
	tokens  flight.Group[*session]
	logins  flight.Group[*session]
	nonces  dpop.Nonces
	// idp is the Client of the login at the identity provider that the grant needs, nil if it needs none. Its
	// provider is true: such a login is for an issuer, and lasts as long as its ID token.
	idp      *Client
	provider bool

	// life ends with Close, and with it a login under way.
	life context.Context //nolint:containedctx // bounds detached work, see Close
	end  context.CancelFunc

	mu      sync.Mutex
	unsaved *unsaved
	// refusals counts 401 answers to tokens that were fresh, and calm is until when no further
	// refresh or login is tried because of one.
	refusals int
	calm     time.Time
	// noOAuth is until when a 401 without a challenge is known to offer nothing.
	noOAuth time.Time
	// stepUps counts the logins tried for a set of scopes.
	stepUps map[string]int
	// backoff spaces refreshes that fail for the moment.
	failures  int
	notBefore time.Time
}

// New returns a Client for the MCP server at serverURL, an absolute https URL, or an http URL of
// a loopback host. It validates and copies opts and does no I/O. Nil options are the zero value.
func New(serverURL string, opts *Options) (*Client, error) {
	if opts == nil {
		opts = &Options{}
	}
	c := &Client{opts: *opts, log: opts.Logger}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	u, err := resource.ParseServer(serverURL)
	if err != nil {
		return nil, fmt.Errorf("mcpoauth: server URL: %w", err)
	}
	c.id = resource.Canonical(u)
	if c.server, err = url.Parse(c.id); err != nil {
		return nil, fmt.Errorf("mcpoauth: server URL: %w", err)
	}
	c.trace = &tracer{log: c.log, server: c.id, profile: opts.Profile}
	if opts.Trace != nil {
		c.trace.hooks = *opts.Trace
	}
	policy := netguard.Policy{Class: netguard.ClassOf(c.server), AllowPrivateNetwork: opts.Allow.PrivateNetwork, AllowInsecureHTTP: opts.Allow.InsecureHTTP}
	if err := policy.CheckURL(c.server); err != nil {
		return nil, optionError("server URL", err, "use https, or set --allow-insecure-http (Options.Allow.InsecureHTTP) if you accept that anybody on the way can read the token")
	}
	if err := c.copyOptions(); err != nil {
		return nil, err
	}
	if c.store = opts.Store; c.store == nil {
		if c.store, err = OpenDefaultStore(opts.CacheDir); err != nil {
			return nil, err
		}
	}
	id := c.id
	if opts.Server.Resource != "" {
		id += " resource=" + opts.Server.Resource
	}
	c.key = store.Key{Kind: store.KindLogin, ID: id, Profile: opts.Profile}
	origins := append([]string{resource.Origin(c.server)}, c.opts.Network.HeaderOrigins...)
	c.http, err = netguard.New(netguard.Config{
		Policy: policy, HTTPClient: opts.Network.HTTPClient, RootCAs: opts.Network.RootCAs, Certificates: c.opts.Network.ClientCertificates,
		UserAgent: c.opts.Network.UserAgent, Header: c.opts.Network.Header, HeaderOrigins: origins, Trace: c.trace.exchange,
	})
	if err != nil {
		return nil, fmt.Errorf("mcpoauth: %w", err)
	}
	c.life, c.end = context.WithCancel(context.Background())
	if err := c.openIdentityProvider(); err != nil {
		return nil, err
	}
	return c, nil
}

// copyOptions checks the options and takes copies of what the caller could still change.
func (c *Client) copyOptions() error {
	o := &c.opts
	o.Scopes.Request, o.Scopes.Add, o.Scopes.Drop = slices.Clone(o.Scopes.Request), slices.Clone(o.Scopes.Add), slices.Clone(o.Scopes.Drop)
	o.Network.HeaderOrigins, o.Network.ClientCertificates = slices.Clone(o.Network.HeaderOrigins), slices.Clone(o.Network.ClientCertificates)
	o.Client.Metadata, o.Network.Header = maps.Clone(o.Client.Metadata), o.Network.Header.Clone()
	o.Server.AuthorizeParams, o.Server.TokenParams = cloneValues(o.Server.AuthorizeParams), cloneValues(o.Server.TokenParams)
	for _, s := range slices.Concat(o.Scopes.Request, o.Scopes.Add, o.Scopes.Drop) {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r == '"' || r == '\\' || r >= 0x7f }) {
			return optionError("Scopes", fmt.Errorf("%q is not a scope", s), "a scope has no spaces, quotes or backslashes (RFC 6749 section 3.3); give each scope by itself")
		}
	}
	if s := o.Scopes.Separator; s != "" && s != " " && s != "," {
		return optionError("Scopes.Separator", fmt.Errorf("%q separates no scopes", s), "use a space or a comma")
	}
	if o.Client.Name == "" {
		o.Client.Name = defaultClientName
	}
	if o.Network.UserAgent == "" {
		o.Network.UserAgent = "mcpoauth/" + Version
	}
	if o.LoginTimeout < 0 {
		return optionError("LoginTimeout", fmt.Errorf("%v is negative", o.LoginTimeout), "")
	}
	if o.LoginTimeout == 0 {
		o.LoginTimeout = defaultLoginTimeout
	}
	if o.Callback.Host == "" {
		o.Callback.Host = defaultCallbackHost
	}
	if !resource.IsLoopbackHost(o.Callback.Host) {
		return optionError("Callback.Host", fmt.Errorf("%q is not a loopback host", o.Callback.Host), "use 127.0.0.1, localhost or ::1; for a redirect URI elsewhere use BeginLogin and FinishLogin")
	}
	if o.Callback.Path == "" {
		o.Callback.Path = defaultCallbackPath
	}
	if !strings.HasPrefix(o.Callback.Path, "/") || path.Clean(o.Callback.Path) != o.Callback.Path || strings.ContainsAny(o.Callback.Path, "?#%\\ ") {
		return optionError("Callback.Path", fmt.Errorf("%q is not a plain absolute path", o.Callback.Path), "use something like /callback")
	}
	if o.Callback.Port < 0 || o.Callback.Port > 65535 {
		return optionError("Callback.Port", fmt.Errorf("%d is not a port", o.Callback.Port), "")
	}
	if o.Client.MetadataURL != "" {
		if err := registration.CheckMetadataURL(o.Client.MetadataURL); err != nil {
			return optionError("Client.MetadataURL", err, "")
		}
	}
	switch o.Client.AuthMethod {
	case "", "none", "client_secret_basic", "client_secret_post", "private_key_jwt":
	default:
		return optionError("Client.AuthMethod", fmt.Errorf("%q is not supported", o.Client.AuthMethod), "use none, client_secret_basic, client_secret_post or private_key_jwt")
	}
	if o.Grant != nil {
		if err := o.Grant.check(o); err != nil {
			return err
		}
	}
	if o.DPoP < Auto || o.DPoP > Never {
		return optionError("DPoP", fmt.Errorf("%d is no mode", o.DPoP), "use Auto, Always or Never")
	}
	if e := o.Server.Endpoints; e != (Endpoints{}) && (e.Token == "" || e.Authorization == "" && (o.Grant == nil || o.Grant.name() == grant.TypeDeviceCode && e.DeviceAuthorization == "")) {
		return optionError("Server.Endpoints", errors.New("the authorization and the token endpoint are needed"), "give both, with --authorization-endpoint and --token-endpoint")
	}
	if o.Client.Secret != "" && o.Client.ID == "" {
		return optionError("Client.Secret", errors.New("there is no ClientID"), "give both")
	}
	if o.Server.Resource != "" && o.Server.NoResource {
		return optionError("Server.Resource", errors.New("NoResource is set too"), "choose one")
	}
	if o.Server.Resource != "" {
		if u, err := url.Parse(o.Server.Resource); err != nil || !u.IsAbs() || u.Fragment != "" {
			return optionError("Server.Resource", fmt.Errorf("%q is not an absolute URI without a fragment", o.Server.Resource), "")
		}
	}
	return nil
}

func cloneValues(v url.Values) url.Values { return url.Values(http.Header(v).Clone()) }

// ServerURL returns the canonical form of the server's URL.
func (c *Client) ServerURL() string { return c.id }

// DefaultCacheDir returns the directory of the default store: $MCPOAUTH_DIR, or mcpoauth in the
// user's state directory. It does not create it. The error says what is missing, HOME for example.
func DefaultCacheDir() (string, error) { return filestore.DefaultDir() }

// Close waits for a refresh, a save or a login under way, ending the login and what only waits for the
// store; it tries a failed save once more and reports it, and closes the connections that are not in use.
// ctx bounds the wait. A closed Client only fails.
func (c *Client) Close(ctx context.Context) error {
	c.end()
	err := c.logins.Wait(ctx)
	if err == nil {
		err = c.tokens.Wait(ctx)
	}
	if serr := c.saveUnsaved(ctx); serr != nil {
		err = errors.Join(err, serr)
	}
	if c.idp != nil {
		err = errors.Join(err, c.idp.Close(ctx))
	}
	if t, ok := c.http.Transport().(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return err
}

func (c *Client) closed() error {
	if c.life.Err() != nil {
		return fmt.Errorf("mcpoauth: %w", ErrClosed)
	}
	return nil
}

// portOf returns the port of a redirect URI, 0 if it has none.
func portOf(redirectURI string) int {
	u, err := url.Parse(redirectURI)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(u.Port())
	return n
}
