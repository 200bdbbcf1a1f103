package mcpoauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestOptionsThatCannotBe are refused, with the name of the option.
func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	assertion := func(context.Context, string) (string, error) { return "", nil }
	callback := func(c CallbackOptions) Options { return Options{Callback: c} }
	scopes := func(s ...string) Options { return Options{Scopes: ScopeOptions{Request: s}} }
	server := func(s ServerOptions) Options { return Options{Server: s} }
	enterprise := func(e EnterpriseManaged, id string) Options {
		return Options{Grant: e, Client: ClientOptions{ID: id}}
	}
	endpoints := func(g Grant, e Endpoints) Options {
		return Options{Grant: g, Client: ClientOptions{ID: "c", Secret: "s"}, Server: ServerOptions{Endpoints: e}}
	}
	for name, tc := range map[string]struct {
		o    Options
		want string // the option, "" if it can be
	}{
		"nothing":                   {Options{}, ""},
		"a negative limit":          {Options{LoginTimeout: -1}, "LoginTimeout"},
		"a mode below":              {Options{DPoP: Auto - 1}, "DPoP"},
		"a mode above":              {Options{DPoP: Never + 1}, "DPoP"},
		"the last mode":             {Options{DPoP: Never}, ""},
		"a document":                {Options{Client: ClientOptions{MetadataURL: "https://a.example/client.json"}}, ""},
		"a document over http":      {Options{Client: ClientOptions{MetadataURL: "http://a.example/client.json"}}, "Client.MetadataURL"},
		"a method":                  {Options{Client: ClientOptions{AuthMethod: "client_secret_jwt"}}, "Client.AuthMethod"},
		"a known method":            {Options{Client: ClientOptions{AuthMethod: AuthMethodPrivateKeyJWT}}, ""},
		"keys in two places":        {Options{Client: ClientOptions{Metadata: map[string]any{"jwks": map[string]any{}, "jwks_uri": "https://a/k"}}}, "Client.Metadata"},
		"keys in one place":         {Options{Client: ClientOptions{Metadata: map[string]any{"jwks_uri": "https://a/k"}}}, ""},
		"a secret alone":            {Options{Client: ClientOptions{Secret: "s"}}, "Client.Secret"},
		"a secret of a client":      {Options{Client: ClientOptions{ID: "c", Secret: "s"}}, ""},
		"a client without one":      {Options{Client: ClientOptions{ID: "c"}}, ""},
		"all addresses":             {callback(CallbackOptions{Host: "0.0.0.0"}), "Callback.Host"},
		"another host":              {callback(CallbackOptions{Host: "example.com"}), "Callback.Host"},
		"the other loopback":        {callback(CallbackOptions{Host: "::1"}), ""},
		"a relative path":           {callback(CallbackOptions{Path: "callback"}), "Callback.Path"},
		"a path with a query":       {callback(CallbackOptions{Path: "/callback?a"}), "Callback.Path"},
		"a path with an escape":     {callback(CallbackOptions{Path: "/call%2fback"}), "Callback.Path"},
		"a path with dots":          {callback(CallbackOptions{Path: "/a/../b"}), "Callback.Path"},
		"a path that ends in one":   {callback(CallbackOptions{Path: "/a/"}), "Callback.Path"},
		"a path":                    {callback(CallbackOptions{Path: "/a/b"}), ""},
		"a negative port":           {callback(CallbackOptions{Port: -1}), "Callback.Port"},
		"a port too high":           {callback(CallbackOptions{Port: 65536}), "Callback.Port"},
		"the highest port":          {callback(CallbackOptions{Port: 65535}), ""},
		"an empty scope":            {scopes(""), "Scopes"},
		"two scopes in one":         {scopes("a b"), "Scopes"},
		"a scope with a quote":      {scopes(`a"b`), "Scopes"},
		"a scope with a backslash":  {scopes(`a\b`), "Scopes"},
		"a scope with a control":    {scopes("a\x01"), "Scopes"},
		"a scope with a delete":     {scopes("a\x7f"), "Scopes"},
		"a scope with more":         {scopes("ä"), "Scopes"},
		"a scope":                   {scopes("a:!~"), ""},
		"an added scope":            {Options{Scopes: ScopeOptions{Add: []string{"a b"}}}, "Scopes"},
		"a dropped scope":           {Options{Scopes: ScopeOptions{Drop: []string{"a b"}}}, "Scopes"},
		"a separator":               {Options{Scopes: ScopeOptions{Separator: ";"}}, "Scopes.Separator"},
		"a comma":                   {Options{Scopes: ScopeOptions{Separator: SeparatorComma}}, ""},
		"a space":                   {Options{Scopes: ScopeOptions{Separator: SeparatorSpace}}, ""},
		"a resource and none":       {server(ServerOptions{Resource: "https://a", NoResource: true}), "Server.Resource"},
		"no resource":               {server(ServerOptions{NoResource: true}), ""},
		"a relative resource":       {server(ServerOptions{Resource: "/a"}), "Server.Resource"},
		"a resource's fragment":     {server(ServerOptions{Resource: "https://a#b"}), "Server.Resource"},
		"no URL":                    {server(ServerOptions{Resource: "https://a b"}), "Server.Resource"},
		"a resource":                {server(ServerOptions{Resource: "urn:a:b"}), ""},
		"one endpoint":              {endpoints(nil, Endpoints{Registration: "https://a/r"}), ""},
		"an endpoint's path":        {endpoints(nil, Endpoints{Registration: "/r"}), "Server.Endpoints"},
		"an endpoint's fragment":    {endpoints(nil, Endpoints{Token: "https://a/t#x"}), "Server.Endpoints"},
		"an endpoint's scheme":      {endpoints(nil, Endpoints{PushedAuthorizationRequest: "ftp://a/t"}), "Server.Endpoints"},
		"a mode of pushing":         {Options{PAR: Never + 1}, "PAR"},
		"pushing":                   {Options{PAR: Always}, ""},
		"both endpoints":            {endpoints(nil, Endpoints{Token: "https://a/t", Authorization: "https://a/a"}), ""},
		"a machine's endpoint":      {endpoints(ClientCredentials{}, Endpoints{Token: "https://a/t"}), ""},
		"a device's endpoints":      {endpoints(DeviceCode{}, Endpoints{Token: "https://a/t", DeviceAuthorization: "https://a/d"}), ""},
		"a device's, half":          {endpoints(DeviceCode{}, Endpoints{DeviceAuthorization: "https://a/d"}), ""},
		"a header":                  {Options{Network: NetworkOptions{Header: http.Header{"X-A": {"a\nb"}}}}, "Network.Header"},
		"a user agent":              {Options{Network: NetworkOptions{UserAgent: "a\r\nX: b"}}, "Network.UserAgent"},
		"a header's path":           {Options{Network: NetworkOptions{HeaderOrigins: []string{"https://a.example/b"}}}, "Network.HeaderOrigins"},
		"a header's origin":         {Options{Network: NetworkOptions{HeaderOrigins: []string{"a b"}}}, "Network.HeaderOrigins"},
		"credentials":               {Options{Grant: ClientCredentials{}, Client: ClientOptions{ID: "c", Secret: "s"}}, ""},
		"credentials by a key":      {Options{Grant: ClientCredentials{}, Client: ClientOptions{ID: "c", Key: newTestKey(t)}}, ""},
		"credentials, no secret":    {Options{Grant: ClientCredentials{}, Client: ClientOptions{ID: "c"}}, "Grant"},
		"credentials, no client":    {Options{Grant: ClientCredentials{}, Client: ClientOptions{Key: newTestKey(t)}}, "Grant"},
		"a workload":                {Options{Grant: WorkloadIdentity{Assertion: assertion}}, ""},
		"a workload with nothing":   {Options{Grant: WorkloadIdentity{}}, "Grant"},
		"a company":                 {enterprise(EnterpriseManaged{Issuer: "https://idp", ClientID: "i"}, "c"), ""},
		"a company, by tokens":      {enterprise(EnterpriseManaged{ClientID: "i", IDToken: assertion, TokenEndpoint: "https://idp/t"}, "c"), ""},
		"a company, no client":      {enterprise(EnterpriseManaged{Issuer: "https://idp"}, "c"), "Grant"},
		"a company, no issuer":      {enterprise(EnterpriseManaged{ClientID: "i"}, "c"), "Grant"},
		"a company, no endpoint":    {enterprise(EnterpriseManaged{ClientID: "i", IDToken: assertion}, "c"), "Grant"},
		"a company, no tokens":      {enterprise(EnterpriseManaged{ClientID: "i", TokenEndpoint: "https://idp/t"}, "c"), "Grant"},
		"a company, no client here": {enterprise(EnterpriseManaged{Issuer: "https://idp", ClientID: "i"}, ""), "Grant"},
	} {
		_, err := newSettings(&tc.o)
		e, ok := errors.AsType[*OptionError](err)
		if tc.want == "" && err != nil || tc.want != "" && (!ok || e.Option != tc.want || e.Err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServerURLs that a Client is for.
func TestServerURLs(t *testing.T) {
	t.Parallel()
	for address, o := range map[string]*Options{"": nil, "mcp.example.com": nil, "ftp://mcp.example.com": nil, "http://mcp.example.com/mcp": nil, "https://a:b@mcp.example.com": nil} {
		_, err := New(address, o)
		if e, ok := errors.AsType[*OptionError](err); !ok || e.Option != "server URL" {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"https://mcp.example.com/mcp", "http://127.0.0.1:1/mcp", "http://localhost/mcp"} {
		if _, err := New(address, &Options{CacheDir: t.TempDir()}); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := New("http://mcp.example.com/mcp", &Options{CacheDir: t.TempDir(), Allow: Allow{InsecureHTTP: true}}); err != nil {
		t.Errorf("allowed: %v", err)
	}
}

// TestSettingsAreTheirOwn: what a caller changes later has no effect, and what is not set is the usual.
func TestSettingsAreTheirOwn(t *testing.T) {
	t.Parallel()
	o := Options{
		Client: ClientOptions{ID: "c", Metadata: map[string]any{"a": "1"}}, Callback: CallbackOptions{Port: 1},
		Scopes:  ScopeOptions{Request: []string{"a"}, Add: []string{"b"}, Drop: []string{"c"}},
		Server:  ServerOptions{AuthorizeParams: url.Values{"a": {"1"}}, TokenParams: url.Values{"a": {"1"}}},
		Network: NetworkOptions{Header: http.Header{"X": {"1"}}, HeaderOrigins: []string{"https://a.example"}},
	}
	s := setOf(t, o)
	o.Client.Metadata["a"] = "2"
	o.Scopes.Request[0], o.Scopes.Add[0], o.Scopes.Drop[0] = "x", "x", "x"
	o.Server.AuthorizeParams["a"][0], o.Server.TokenParams["a"][0] = "2", "2"
	o.Network.Header["X"][0], o.Network.HeaderOrigins[0] = "2", "x"
	if s.client.Metadata["a"] != "1" || strings.Join([]string{s.scopes.Request[0], s.scopes.Add[0], s.scopes.Drop[0]}, "") != "abc" ||
		s.server.AuthorizeParams.Get("a") != "1" || s.server.TokenParams.Get("a") != "1" || s.network.Header.Get("X") != "1" || s.network.HeaderOrigins[0] != "https://a.example" {
		t.Errorf("the settings changed: %+v", s)
	}
	if s.client.Name != defaultClientName || s.callback.Host != defaultCallbackHost || s.callback.Path != defaultCallbackPath || s.loginTimeout != defaultLoginTimeout {
		t.Errorf("the usual: %q, %+v, %v", s.client.Name, s.callback, s.loginTimeout)
	}
	if plain := setOf(t, Options{LoginTimeout: time.Minute}); plain.loginTimeout != time.Minute || plain.client != noClient || plain.callback != noCallback || plain.scopes != noScopes || plain.server != noServer || plain.network != noNetwork || plain.allow != noAllow {
		t.Errorf("what is not set is not shared: %+v", plain)
	}
	if device := setOf(t, Options{Grant: DeviceCode{}}); device.nonInteractive() || !device.device() {
		t.Error("a device's login needs no person")
	}
}

// TestParametersOfTheProtocol cannot be given as extra ones, and are not dropped in silence.
func TestParametersOfTheProtocol(t *testing.T) {
	t.Parallel()
	for name, hint := range map[string]string{"scope": "--scope", "resource": "--resource", "client_id": "--client-id", "state": "leave it out", "prompt": "", "nonce": "", "audience": ""} {
		for option, o := range map[string]ServerOptions{
			"Server.TokenParams": {TokenParams: url.Values{name: {"x"}}}, "Server.AuthorizeParams": {AuthorizeParams: url.Values{name: {"x"}}},
		} {
			_, err := newSettings(&Options{Server: o})
			e, ok := errors.AsType[*OptionError](err)
			if ok != (hint != "") || ok && (e.Option != option || !strings.Contains(e.Hint, hint)) {
				t.Errorf("%s, %s: %v", option, name, err)
			}
		}
	}
}
