package mcpoauth_test

import (
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// inOrder is a provider with nothing odd about it, for a test to change one thing.
func inOrder(t *testing.T, mcp, issuer string) *provider {
	t.Helper()
	u, err := url.Parse(mcp)
	if err != nil {
		t.Fatal(err)
	}
	prm := u.Scheme + "://" + u.Host + path.Join("/.well-known/oauth-protected-resource", u.Path)
	base := strings.TrimSuffix(issuer, "/")
	return &provider{
		t: t, mcp: mcp, authorize: base + "/authorize", token: base + "/token", register: base + "/register", method: "none", rotating: true, iss: issuer,
		documents: map[string]any{prm: prmAt(mcp, issuer), base + "/.well-known/oauth-authorization-server": metadataOf(issuer)},
		answer:    usualAnswer,
	}
}

func metadataOf(issuer string) map[string]any {
	base := strings.TrimSuffix(issuer, "/")
	return map[string]any{
		"issuer": issuer, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "registration_endpoint": base + "/register",
		"code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"none"},
		"authorization_response_iss_parameter_supported": true,
	}
}

var registeredOnce = append([]string{"register"}, once...)

// The resource is sent in every leg as the metadata spells it, and as nobody else does: authorization servers
// compare it byte by byte.
func TestFieldTheSpellingOfTheResource(t *testing.T) {
	const origin, issuer = "https://mcp.example.com", "https://login.example.com"
	for name, tc := range map[string]struct{ typed, mcp, announced, sent string }{
		"no slash":                       {origin, origin, origin, origin},
		"a slash":                        {origin, origin, origin + "/", origin + "/"},
		"typed with a slash":             {origin + "/", origin, origin, origin},
		"a path":                         {origin + "/mcp", origin + "/mcp", origin + "/mcp", origin + "/mcp"},
		"a path, announced with a slash": {origin + "/mcp", origin + "/mcp", origin + "/mcp/", origin + "/mcp/"},
		"upper case and the port":        {"https://MCP.example.com:443/mcp", origin + "/mcp", "https://MCP.example.com:443/mcp", "https://MCP.example.com:443/mcp"},
		"a parent":                       {origin + "/v1/mcp", origin + "/v1/mcp", origin + "/v1", origin + "/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := inOrder(t, tc.mcp, issuer)
			p.typed = tc.typed
			for at, d := range p.documents {
				m := d.(map[string]any)
				if m["resource"] == nil {
					continue
				}
				m["resource"] = tc.announced
				if name == "a parent" {
					// Only the host's root document may be about one.
					delete(p.documents, at)
					p.documents[origin+"/.well-known/oauth-protected-resource"] = m
				}
			}
			p.refuses = func(leg string, form url.Values) string {
				if got := form["resource"]; !slices.Equal(got, []string{tc.sent}) {
					t.Errorf("%s: resource %q, want %q", leg, got, tc.sent)
					return "invalid_target"
				}
				return ""
			}
			p.wants(p.use(mcpoauth.Options{}), registeredOnce)
		})
	}
}

// A hostile MCP server names another's resource, so that the person consents to a token for that one.
func TestFieldMetadataOfAnotherResource(t *testing.T) {
	const mcp, issuer, root = "https://tools.example.com/mcp", "https://login.example.com", "https://tools.example.com/.well-known/oauth-protected-resource"
	for name, tc := range map[string]struct {
		announced string
		at        string
		good      bool
	}{
		"another host":             {"https://bank.example.com/mcp", root + "/mcp", false},
		"another port":             {"https://tools.example.com:8443/mcp", root + "/mcp", false},
		"another scheme":           {"http://tools.example.com/mcp", root + "/mcp", false},
		"a name that begins alike": {"https://tools.example.com/mcp2", root + "/mcp", false},
		"half a path segment":      {"https://tools.example.com/mc", root, false},
		"a path below":             {"https://tools.example.com/mcp/admin", root + "/mcp", false},
		"the same":                 {mcp, root + "/mcp", true},
		"the same with a slash":    {mcp + "/", root + "/mcp", true},
		"the whole host":           {"https://tools.example.com/", root, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := inOrder(t, mcp, issuer)
			delete(p.documents, root+"/mcp")
			p.documents[tc.at] = prmAt(tc.announced, issuer)
			if tc.good {
				p.wants(p.use(mcpoauth.Options{}), registeredOnce)
				return
			}
			err := p.refused(mcpoauth.Options{}, "")
			var de *mcpoauth.DiscoveryError
			if !errors.As(err, &de) || slices.Contains(p.requests, "register") || slices.Contains(p.requests, "authorize") {
				t.Errorf("%v after %v", err, p.requests)
			}
		})
	}
}

// Servers announce their authorization server in one spelling, and its document has another.
func TestFieldIssuerIsSpelledInTwoWays(t *testing.T) {
	const mcp, issuer = "https://tools.example.com/mcp", "https://login.example.com"
	for name, tc := range map[string]struct {
		announced, documented string
		good                  bool
	}{
		"a slash more":        {issuer, issuer + "/", true},
		"a slash less":        {issuer + "/", issuer, true},
		"the path is missing": {issuer + "/v2", issuer, false},
		"a path more":         {issuer, issuer + "/v2", false},
		"another host":        {issuer, "https://login.example.net", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := inOrder(t, mcp, tc.announced)
			m := metadataOf(tc.announced)
			m["issuer"], p.iss = tc.documented, tc.documented
			for _, place := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
				p.documents[strings.TrimSuffix(tc.announced, "/")+place] = m
			}
			if tc.good {
				p.wants(p.use(mcpoauth.Options{}), registeredOnce)
				return
			}
			err := p.refused(mcpoauth.Options{}, "--auth-server "+tc.documented)
			if err == nil || !strings.Contains(err.Error(), tc.documented) || !strings.Contains(err.Error(), tc.announced) || len(p.requests) != slices.Index(append(p.requests, "authorize"), "authorize") {
				t.Errorf("%v after %v", err, p.requests)
			}
			// A person who knows better may say so.
			p.requests = nil
			p.wants(p.use(mcpoauth.Options{AuthServer: tc.documented}), registeredOnce)
		})
	}
}

// An issuer with a path keeps its metadata at one of five places.
func TestFieldPlacesOfServerMetadata(t *testing.T) {
	const mcp, host, issuer = "https://tools.example.com/mcp", "https://login.example.com", "https://login.example.com/realms/tools"
	places := []string{
		host + "/.well-known/oauth-authorization-server/realms/tools", host + "/.well-known/openid-configuration/realms/tools",
		issuer + "/.well-known/openid-configuration", issuer + "/.well-known/oauth-authorization-server", host + "/.well-known/oauth-authorization-server",
	}
	for i, place := range places {
		t.Run(strings.TrimPrefix(place, host), func(t *testing.T) {
			p := inOrder(t, mcp, issuer)
			delete(p.documents, places[3])
			p.documents[place] = metadataOf(issuer)
			var asked []string
			o := mcpoauth.Options{Trace: &mcpoauth.Trace{Exchange: func(e mcpoauth.Exchange) {
				if e.Leg == "server-metadata" {
					asked = append(asked, e.URL)
				}
			}}}
			p.wants(p.use(o), registeredOnce)
			if !slices.Equal(asked, places[:i+1]) {
				t.Errorf("asked %q, want %q", asked, places[:i+1])
			}
		})
	}
	t.Run("at the host, but of another issuer", func(t *testing.T) {
		p := inOrder(t, mcp, issuer)
		delete(p.documents, places[3])
		p.documents[places[4]] = metadataOf(host)
		p.refused(mcpoauth.Options{}, "")
		if slices.Contains(p.requests, "authorize") {
			t.Error("a person was asked")
		}
	})
}

// Any 401 begins a login, whatever its challenge says or leaves out.
func TestFieldChallengesThatSayLittle(t *testing.T) {
	for name, set := range map[string]func(*authtest.Faults){
		"nothing":        func(f *authtest.Faults) { f.BareChallenge = true },
		"Basic":          func(f *authtest.Faults) { f.Challenge = []string{`Basic realm="mcp"`} },
		"a realm only":   func(f *authtest.Faults) { f.Challenge = []string{`Bearer realm="mcp"`} },
		"an error only":  func(f *authtest.Faults) { f.ChallengeWithoutMetadata = true },
		"where to look":  func(*authtest.Faults) {},
		"several others": func(f *authtest.Faults) { f.Challenge = []string{`Negotiate`, `Digest nonce="a, Bearer b"`} },
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(set)
			p := &person{srv: srv}
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
			if s := ping(t, c); s != 200 || p.asked() != 1 {
				t.Errorf("status %d, asked %d times", s, p.asked())
			}
		})
	}
}

// The same server in another spelling, through another port, with another header: the same login.
func TestFieldOneServerInManySpellings(t *testing.T) {
	const mcp = "https://tools.example.com/mcp"
	p := inOrder(t, mcp, "https://login.example.com")
	o := mcpoauth.Options{Store: memstore.New()}
	p.wants(p.use(o), registeredOnce)
	o.HTTPClient = clientOf(p)
	for _, typed := range []string{mcp, "https://TOOLS.example.com/mcp", "https://tools.example.com:443/mcp", "HTTPS://tools.example.com/mcp"} {
		o := o
		o.Prompt, o.CallbackPort, o.ClientName, o.Header = nobody(t), 1, "another name", map[string][]string{"X-Extra": {"1"}}
		p.call(newClient(t, typed, o))
	}
	for _, other := range []string{"https://tools.example.com/mcp2", "https://tools.example.com/", "https://tools.example.com:8443/mcp", "https://tools.example.com/mcp?team=2"} {
		if _, err := newClient(t, other, o).Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// With metadata nothing is guessed: in a whole life no request goes to a place that no document names.
func TestFieldNothingIsGuessed(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	if s, err := call(c, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note"}}`); s != 200 {
		t.Errorf("status %d, %v", s, err)
	}
	srv.Expire()
	ping(t, c)
	if _, err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	for _, r := range srv.Requests() {
		if r.Leg == "other" {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
}

// Where the person's browser is sent comes from a server that nobody knows.
func TestFieldAddressesThatWouldRunCommands(t *testing.T) {
	const mcp, issuer = "https://tools.example.com/mcp", "https://login.example.com"
	for endpoint, good := range map[string]bool{
		"javascript:alert(1)":                        false,
		"file:///usr/bin/calc":                       false,
		"file://localhost/usr/bin/calc":              false,
		"http://login.example.com/authorize":         false,
		"https://user:pass@login.example.com/auth":   false,
		"data:text/html,hello":                       false,
		"ms-calculator:":                             false,
		"//login.example.com/authorize":              false,
		"https://login.example.com/a\nb":             false,
		"https://login.example.com/$(calc)":          true,
		"https://login.example.com/?a=%26calc":       true,
		"https://login.example.com/`calc`;&|\"calc'": true,
	} {
		t.Run(endpoint, func(t *testing.T) {
			p := inOrder(t, mcp, issuer)
			m := metadataOf(issuer)
			m["authorization_endpoint"] = endpoint
			p.documents[issuer+"/.well-known/oauth-authorization-server"] = m
			shown := ""
			o := mcpoauth.Options{HTTPClient: clientOf(p), Prompt: showTo(&shown)}
			if _, err := newClient(t, mcp, o).Login(t.Context(), nil); err == nil {
				t.Fatal("logged in")
			}
			if (shown != "") != good {
				t.Fatalf("the person was sent to %q", shown)
			}
			if u, err := url.Parse(shown); good && (err != nil || u.Host != "login.example.com" || strings.ContainsAny(shown, " \t\r\n\"'`<>^|\\{}")) {
				t.Errorf("the person was sent to %q, %v", shown, err)
			}
		})
	}
}
