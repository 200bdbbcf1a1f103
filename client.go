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
	policy := netguard.Policy{Class: netguard.ClassOf(c.server), AllowPrivateNetwork: opts.AllowPrivateNetwork, AllowInsecureHTTP: opts.AllowInsecureHTTP}
	if err := policy.CheckURL(c.server); err != nil {
		return nil, optionError("server URL", err, "use https, or set --allow-insecure-http (Options.AllowInsecureHTTP) if you accept that anybody on the way can read the token")
	}
	if err := c.copyOptions(); err != nil {
		return nil, err
	}
	if c.store, err = storeOf(opts); err != nil {
		return nil, err
	}
	id := c.id
	if opts.Resource != "" {
		id += " resource=" + opts.Resource
	}
	c.key = store.Key{Kind: store.KindLogin, ID: id, Profile: opts.Profile}
	origins := append([]string{resource.Origin(c.server)}, c.opts.HeaderOrigins...)
	c.http, err = netguard.New(netguard.Config{
		Policy: policy, HTTPClient: opts.HTTPClient, RootCAs: opts.RootCAs, Certificates: c.opts.ClientCertificates,
		UserAgent: c.opts.UserAgent, Header: c.opts.Header, HeaderOrigins: origins, Trace: c.traceExchange,
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
	o.Scopes, o.AddScopes, o.DropScopes = slices.Clone(o.Scopes), slices.Clone(o.AddScopes), slices.Clone(o.DropScopes)
	o.HeaderOrigins, o.ClientCertificates = slices.Clone(o.HeaderOrigins), slices.Clone(o.ClientCertificates)
	o.ClientMetadata, o.Header = maps.Clone(o.ClientMetadata), o.Header.Clone()
	o.AuthorizeParams, o.TokenParams = cloneValues(o.AuthorizeParams), cloneValues(o.TokenParams)
	if o.Trace != nil {
		trace := *o.Trace
		o.Trace = &trace
	} else {
		o.Trace = &Trace{}
	}
	for _, s := range slices.Concat(o.Scopes, o.AddScopes, o.DropScopes) {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r == '"' || r == '\\' || r >= 0x7f }) {
			return optionError("Scopes", fmt.Errorf("%q is not a scope", s), "a scope has no spaces, quotes or backslashes (RFC 6749 section 3.3); give each scope by itself")
		}
	}
	if s := o.ScopeSeparator; s != "" && s != " " && s != "," {
		return optionError("ScopeSeparator", fmt.Errorf("%q separates no scopes", s), "use a space or a comma")
	}
	if o.ClientName == "" {
		o.ClientName = defaultClientName
	}
	if o.UserAgent == "" {
		o.UserAgent = "mcpoauth/" + Version
	}
	if o.LoginTimeout < 0 {
		return optionError("LoginTimeout", fmt.Errorf("%v is negative", o.LoginTimeout), "")
	}
	if o.LoginTimeout == 0 {
		o.LoginTimeout = defaultLoginTimeout
	}
	if o.CallbackHost == "" {
		o.CallbackHost = defaultCallbackHost
	}
	if !resource.IsLoopbackHost(o.CallbackHost) {
		return optionError("CallbackHost", fmt.Errorf("%q is not a loopback host", o.CallbackHost), "use 127.0.0.1, localhost or ::1; for a redirect URI elsewhere use BeginLogin and FinishLogin")
	}
	if o.CallbackPath == "" {
		o.CallbackPath = defaultCallbackPath
	}
	if !strings.HasPrefix(o.CallbackPath, "/") || path.Clean(o.CallbackPath) != o.CallbackPath || strings.ContainsAny(o.CallbackPath, "?#%\\ ") {
		return optionError("CallbackPath", fmt.Errorf("%q is not a plain absolute path", o.CallbackPath), "use something like /callback")
	}
	if o.CallbackPort < 0 || o.CallbackPort > 65535 {
		return optionError("CallbackPort", fmt.Errorf("%d is not a port", o.CallbackPort), "")
	}
	if o.ClientMetadataURL != "" {
		if err := registration.CheckMetadataURL(o.ClientMetadataURL); err != nil {
			return optionError("ClientMetadataURL", err, "")
		}
	}
	switch o.ClientAuthMethod {
	case "", "none", "client_secret_basic", "client_secret_post", "private_key_jwt":
	default:
		return optionError("ClientAuthMethod", fmt.Errorf("%q is not supported", o.ClientAuthMethod), "use none, client_secret_basic, client_secret_post or private_key_jwt")
	}
	if o.Grant != nil {
		if err := o.Grant.check(o); err != nil {
			return err
		}
	}
	if o.DPoP < DPoPAuto || o.DPoP > DPoPNever {
		return optionError("DPoP", fmt.Errorf("%d is no mode", o.DPoP), "use DPoPAuto, DPoPAlways or DPoPNever")
	}
	if e := o.Endpoints; e != (Endpoints{}) && (e.Token == "" || e.Authorization == "" && (o.Grant == nil || o.Grant.name() == grant.TypeDeviceCode && e.DeviceAuthorization == "")) {
		return optionError("Endpoints", errors.New("the authorization and the token endpoint are needed"), "give both, with --authorization-endpoint and --token-endpoint")
	}
	if o.ClientSecret != "" && o.ClientID == "" {
		return optionError("ClientSecret", errors.New("there is no ClientID"), "give both")
	}
	if o.Resource != "" && o.NoResource {
		return optionError("Resource", errors.New("NoResource is set too"), "choose one")
	}
	if o.Resource != "" {
		if u, err := url.Parse(o.Resource); err != nil || !u.IsAbs() || u.Fragment != "" {
			return optionError("Resource", fmt.Errorf("%q is not an absolute URI without a fragment", o.Resource), "")
		}
	}
	return nil
}

func cloneValues(v url.Values) url.Values { return url.Values(http.Header(v).Clone()) }

// OptionError means that an option, or the server URL, cannot be used.
type OptionError struct {
	// Option is the option's name.
	Option string
	// Hint is what to do. It may be empty.
	Hint string
	// Err says what is wrong.
	Err error
}

// Error implements error.
func (e *OptionError) Error() string { return "mcpoauth: " + e.Option + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *OptionError) Unwrap() error { return e.Err }

// HintText returns the hint.
func (e *OptionError) HintText() string { return e.Hint }

func optionError(option string, err error, hint string) error {
	return &OptionError{Option: option, Err: err, Hint: hint}
}

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

// event describes the login of rec for a trace.
func (c *Client) event(rec *store.Record) LoginEvent {
	ev := LoginEvent{ServerURL: c.id, Profile: c.opts.Profile}
	if rec != nil {
		ev.Issuer, ev.Expiry, ev.Scopes = rec.Issuer, rec.Expiry, slices.Clone(rec.Scopes)
	}
	return ev
}

func (c *Client) traceExchange(e netguard.Exchange) {
	c.log.Debug("exchange", "leg", e.Leg, "method", e.Method, "url", e.URL, "status", e.Status, "took", e.Duration, "note", e.Note, "err", e.Err)
	if f := c.opts.Trace.Exchange; f != nil {
		f(Exchange(e))
	}
}

func (c *Client) note(text string) {
	c.log.Info("note", "server", c.id, "text", text)
	if f := c.opts.Trace.Note; f != nil {
		f(text)
	}
}

// waiting arranges that the trace hears of a wait that lasts. The returned function ends it.
func (c *Client) waiting(what string, deadline time.Time) (stop func()) {
	f := c.opts.Trace.Waiting
	if f == nil {
		return func() {}
	}
	t := time.AfterFunc(200*time.Millisecond, func() { f(Waiting{For: what, Deadline: deadline}) })
	return func() { t.Stop() }
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
