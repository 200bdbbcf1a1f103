package mcpoauth

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/registration"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	defaultLoginTimeout = 5 * time.Minute
	defaultCallbackPath = "/callback"
	defaultCallbackHost = "127.0.0.1"
	defaultClientName   = "mcpoauth"
)

// settings are checked options. A Client keeps a group of its own only where the caller set something in it:
// a program with a Client per user has the same few groups for all of them.
type settings struct {
	prompt       Prompt
	loginTimeout time.Duration
	grant        Grant
	dpop, par    Mode
	client       *ClientOptions
	callback     *CallbackOptions
	// callbackPath means that the caller has chosen the path of the redirect URI.
	callbackPath bool
	scopes       *ScopeOptions
	server       *ServerOptions
	network      *NetworkOptions
	allow        *Allow
}

// The groups of Clients that set nothing in them. They are never modified.
var (
	noClient   = &ClientOptions{Name: defaultClientName}
	noCallback = &CallbackOptions{Host: defaultCallbackHost, Path: defaultCallbackPath}
	noScopes   = &ScopeOptions{}
	noServer   = &ServerOptions{}
	noNetwork  = &NetworkOptions{}
	noAllow    = &Allow{}
)

// newSettings checks o and copies what the caller could still change.
func newSettings(o *Options) (*settings, error) {
	s := &settings{prompt: o.Prompt, loginTimeout: o.LoginTimeout, grant: o.Grant, dpop: o.DPoP, par: o.PAR}
	if s.loginTimeout < 0 {
		return nil, optionError("LoginTimeout", fmt.Errorf("%v is negative", s.loginTimeout), "")
	}
	if s.loginTimeout == 0 {
		s.loginTimeout = defaultLoginTimeout
	}
	if s.dpop < Auto || s.dpop > Never {
		return nil, optionError("DPoP", fmt.Errorf("%d is not a mode", s.dpop), "use Auto, Always or Never")
	}
	if s.par < Auto || s.par > Never {
		return nil, optionError("PAR", fmt.Errorf("%d is not a mode", s.par), "use Auto, Always or Never")
	}
	s.client, s.callback, s.scopes = own(o.Client, noClient), own(o.Callback, noCallback), own(o.Scopes, noScopes)
	s.server, s.network, s.allow = own(o.Server, noServer), own(o.Network, noNetwork), own(o.Allow, noAllow)
	for _, set := range []func() error{s.setClient, s.setCallback, s.setScopes, s.setServer, s.setNetwork, s.checkGrant} {
		if err := set(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// own returns a copy of a group of options, or the shared one if nothing is set in it.
func own[T any](group T, shared *T) *T {
	if reflect.ValueOf(&group).Elem().IsZero() {
		return shared
	}
	return &group
}

func (s *settings) setClient() error {
	if s.client == noClient {
		return nil
	}
	c := s.client
	c.Metadata = maps.Clone(c.Metadata)
	if c.Name == "" {
		c.Name = defaultClientName
	}
	if c.MetadataURL != "" {
		if err := registration.CheckMetadataURL(c.MetadataURL); err != nil {
			return optionError("Client.MetadataURL", err, "")
		}
	}
	if c.Metadata["jwks"] != nil && c.Metadata["jwks_uri"] != nil {
		return optionError("Client.Metadata", errors.New("it has jwks and jwks_uri"), "leave one out (RFC 7591 section 2)")
	}
	switch c.AuthMethod {
	case "", AuthMethodNone, AuthMethodBasic, AuthMethodPost, AuthMethodPrivateKeyJWT:
	default:
		return optionError("Client.AuthMethod", fmt.Errorf("%q is not supported", c.AuthMethod), "use none, client_secret_basic, client_secret_post or private_key_jwt")
	}
	if c.Secret != "" && c.ID == "" {
		return optionError("Client.Secret", errors.New("there is no client ID"), "set both")
	}
	return nil
}

func (s *settings) setCallback() error {
	if s.callback == noCallback {
		return nil
	}
	c := s.callback
	s.callbackPath = c.Path != ""
	if c.Host == "" {
		c.Host = defaultCallbackHost
	}
	if c.Path == "" {
		c.Path = defaultCallbackPath
	}
	if !resource.IsLoopbackHost(c.Host) {
		return optionError("Callback.Host", fmt.Errorf("%q is not a loopback host", c.Host), "use 127.0.0.1, localhost or ::1; for a redirect URI elsewhere use BeginLogin and FinishLogin")
	}
	if !strings.HasPrefix(c.Path, "/") || path.Clean(c.Path) != c.Path || strings.ContainsAny(c.Path, "?#%\\ ") {
		return optionError("Callback.Path", fmt.Errorf("%q is not a plain absolute path", c.Path), "use something like /callback")
	}
	if c.Port < 0 || c.Port > 65535 {
		return optionError("Callback.Port", fmt.Errorf("%d is not a port", c.Port), "")
	}
	return nil
}

func (s *settings) setScopes() error {
	if s.scopes == noScopes {
		return nil
	}
	o := s.scopes
	o.Request, o.Add, o.Drop = slices.Clone(o.Request), slices.Clone(o.Add), slices.Clone(o.Drop)
	for _, scope := range slices.Concat(o.Request, o.Add, o.Drop) {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= 0x20 || r == '"' || r == '\\' || r >= 0x7f }) {
			return optionError("Scopes", fmt.Errorf("%q is not a scope", scope), "a scope has no spaces, quotes or backslashes (RFC 6749 section 3.3); give each scope by itself")
		}
	}
	if o.Separator != "" && o.Separator != SeparatorSpace && o.Separator != SeparatorComma {
		return optionError("Scopes.Separator", fmt.Errorf("%q separates no scopes", o.Separator), "use a space or a comma")
	}
	return nil
}

// checkParams returns an error for extra parameters that are the protocol's: they would be dropped.
func checkParams(option string, params url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !grant.Reserved(name) {
			continue
		}
		hint := "leave it out: the protocol sets it"
		switch name {
		case "scope":
			hint = "choose scopes with --scope (Options.Scopes.Request)"
		case "resource":
			hint = "choose the resource with --resource, or none with --no-resource (Options.Server.Resource, Options.Server.NoResource)"
		case "client_id", "client_secret":
			hint = "name the client with --client-id and --client-secret-env (Options.Client)"
		}
		return optionError(option, fmt.Errorf("%s is a parameter of the protocol", name), hint)
	}
	return nil
}

func (s *settings) setServer() error {
	if s.server == noServer {
		return nil
	}
	o := s.server
	o.AuthorizeParams, o.TokenParams = cloneValues(o.AuthorizeParams), cloneValues(o.TokenParams)
	if err := cmp.Or(checkParams("Server.AuthorizeParams", o.AuthorizeParams), checkParams("Server.TokenParams", o.TokenParams)); err != nil {
		return err
	}
	if o.Resource != "" && o.NoResource {
		return optionError("Server.Resource", errors.New("NoResource is set too"), "choose one")
	}
	if o.Resource != "" {
		if u, err := url.Parse(o.Resource); err != nil || !u.IsAbs() || u.Fragment != "" {
			return optionError("Server.Resource", fmt.Errorf("%q is not an absolute URI without a fragment", o.Resource), "")
		}
	}
	return o.Endpoints.check()
}

// check insists on addresses. Which of them a login needs depends on the metadata.
func (e Endpoints) check() error {
	for flag, raw := range map[string]string{
		"authorization-endpoint": e.Authorization, "token-endpoint": e.Token, "registration-endpoint": e.Registration, "revocation-endpoint": e.Revocation,
		"device-authorization-endpoint": e.DeviceAuthorization, "pushed-authorization-request-endpoint": e.PushedAuthorizationRequest,
	} {
		u, err := url.Parse(raw)
		if raw != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.Contains(raw, "#")) {
			return optionError("Server.Endpoints", fmt.Errorf("%q is not the address of an endpoint", wire.PlainURL(raw)), "give --"+flag+" a whole URL, as in https://login.example.com/token")
		}
	}
	return nil
}

func (s *settings) setNetwork() error {
	if s.network == noNetwork {
		return nil
	}
	o := s.network
	o.Header, o.HeaderOrigins, o.ClientCertificates = o.Header.Clone(), slices.Clone(o.HeaderOrigins), slices.Clone(o.ClientCertificates)
	const repair = "remove what is no part of the value, a line break for example"
	if err := (netguard.Config{UserAgent: o.UserAgent}).Check(); err != nil {
		return optionError("Network.UserAgent", err, repair)
	}
	err := netguard.Config{Header: o.Header, HeaderOrigins: o.HeaderOrigins}.Check()
	if _, ok := errors.AsType[*netguard.HeaderError](err); ok {
		return optionError("Network.Header", err, repair)
	}
	if err != nil {
		return optionError("Network.HeaderOrigins", err, "use something like https://as.example.com")
	}
	return nil
}

// checkGrant checks what a grant needs beyond its own fields.
func (s *settings) checkGrant() error {
	switch g := s.grant.(type) {
	case ClientCredentials:
		if s.client.ID == "" || s.client.Secret == "" && s.client.Key == nil {
			return optionError("Grant", errors.New("client credentials need a client ID and its secret or key"), "set --client-id with --client-secret-env, --client-secret-file or --client-key-file (Options.Client)")
		}
	case WorkloadIdentity:
		if g.Assertion == nil {
			return optionError("Grant", errors.New("a workload identity needs a source of assertions"), "set --assertion-file, --assertion-env, --assertion-command or --assertion-url (WorkloadIdentity.Assertion)")
		}
	case EnterpriseManaged:
		if g.ClientID == "" || g.Issuer == "" && (g.IDToken == nil || g.TokenEndpoint == "") {
			return optionError("Grant", errors.New("enterprise-managed authorization needs the identity provider and a client there"), "set --idp with the identity provider's issuer, and --idp-client-id (EnterpriseManaged.Issuer, EnterpriseManaged.ClientID)")
		}
		if s.client.ID == "" {
			return optionError("Grant", errors.New("enterprise-managed authorization needs a client at the MCP server's authorization server"), "set --client-id (Options.Client.ID)")
		}
	}
	return nil
}

func cloneValues(v url.Values) url.Values { return url.Values(http.Header(v).Clone()) }

// nonInteractive reports whether tokens are obtained without a person at this authorization server.
func (s *settings) nonInteractive() bool { return s.grant != nil && !s.device() }

// device reports whether logins use a code on another device.
func (s *settings) device() bool {
	_, ok := s.grant.(DeviceCode)
	return ok
}
