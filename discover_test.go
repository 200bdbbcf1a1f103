package mcpoauth_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// The resource is sent in every leg as the metadata spells it, and as nobody else does: authorization servers
// compare it byte by byte.
//
// It has a row in docs/compatibility.md.
func TestTheSpellingOfTheResource(t *testing.T) {
	t.Parallel()
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
//
// It has a row in docs/compatibility.md.
func TestMetadataOfAnotherResource(t *testing.T) {
	t.Parallel()
	const mcp, issuer, root = "https://tools.example.com/mcp", "https://login.example.com", "https://tools.example.com/.well-known/oauth-protected-resource"
	for name, tc := range map[string]struct {
		announced string
		at        string
		good      bool
	}{
		"another host":             {"https://bank.example.com/mcp", root + "/mcp", false},
		"another port":             {"https://tools.example.com:8443/mcp", root + "/mcp", false},
		"another scheme and port":  {"http://tools.example.com:8080/mcp", root + "/mcp", false},
		"http behind a proxy":      {"http://tools.example.com/mcp", root + "/mcp", true},
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
			var de *mcpoauth.Error
			if !errorAt(err, mcpoauth.OpDiscovery, &de) || slices.Contains(p.requests, "register") || slices.Contains(p.requests, "authorize") {
				t.Errorf("%v after %v", err, p.requests)
			}
		})
	}
}

// Servers announce their authorization server in one spelling, and its document has another.
//
// It has a row in docs/compatibility.md.
func TestIssuerIsSpelledInTwoWays(t *testing.T) {
	t.Parallel()
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
			p.wants(p.use(mcpoauth.Options{Server: mcpoauth.ServerOptions{Issuer: tc.documented}}), registeredOnce)
		})
	}
}

// An issuer with a path keeps its metadata at one of five places.
//
// It has a row in docs/compatibility.md.
func TestPlacesOfServerMetadata(t *testing.T) {
	t.Parallel()
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
			var mu sync.Mutex // the addresses behind the first one are asked in parallel
			var asked []string
			o := mcpoauth.Options{Trace: &mcpoauth.Trace{Exchange: func(_ context.Context, e mcpoauth.Exchange) {
				if e.Leg == "server-metadata" {
					mu.Lock()
					defer mu.Unlock()
					asked = append(asked, e.URL)
				}
			}}}
			p.wants(p.use(o), registeredOnce)
			for j, at := range places {
				if j <= i && !slices.Contains(asked, at) || j > 2 && i <= 2 && slices.Contains(asked, at) || i == 0 && len(asked) > 1 {
					t.Errorf("asked %q for the document at %s", asked, place)
				}
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
//
// It has a row in docs/compatibility.md.
func TestChallengesThatSayLittle(t *testing.T) {
	t.Parallel()
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
//
// It has a row in docs/compatibility.md.
func TestOneServerInManySpellings(t *testing.T) {
	t.Parallel()
	const mcp = "https://tools.example.com/mcp"
	p := inOrder(t, mcp, "https://login.example.com")
	o := mcpoauth.Options{Store: memstore.New()}
	p.wants(p.use(o), registeredOnce)
	o.Network.HTTPClient = clientOf(p)
	for _, typed := range []string{mcp, "https://TOOLS.example.com/mcp", "https://tools.example.com:443/mcp", "HTTPS://tools.example.com/mcp"} {
		o := o
		o.Prompt, o.Callback.Port, o.Client.Name, o.Network.Header = nobody(t), 1, "another name", map[string][]string{"X-Extra": {"1"}}
		p.call(newClient(t, typed, o))
	}
	for _, other := range []string{"https://tools.example.com/mcp2", "https://tools.example.com/", "https://tools.example.com:8443/mcp", "https://tools.example.com/mcp?team=2"} {
		if _, err := newClient(t, other, o).Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// With metadata nothing is guessed: in a whole life no request goes to a place that no document names.
//
// It has a row in docs/compatibility.md.
func TestNothingIsGuessed(t *testing.T) {
	t.Parallel()
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
//
// It has a row in docs/compatibility.md.
func TestAddressesThatWouldRunCommands(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://tools.example.com/mcp", "https://login.example.com"
	for endpoint, good := range map[string]bool{
		"javascript:alert(1)":                        false,
		"file:///usr/bin/calc":                       false,
		"file://localhost/usr/bin/calc":              false,
		"http://login.example.com:8080/authorize":    false,
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
			o := mcpoauth.Options{Network: mcpoauth.NetworkOptions{HTTPClient: clientOf(p)}, Prompt: showTo(&shown)}
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

// TestAClientForAnotherServer is shown to nobody else.
//
// It has a row in docs/compatibility.md.
func TestAClientForAnotherServer(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: nobody(t), Client: mcpoauth.ClientOptions{ID: "mine", Secret: "CANARY", Issuer: "https://as.example.com"}})
	_, err := tryPing(c)
	if err == nil || !strings.Contains(err.Error(), "as.example.com") {
		t.Errorf("got %v", err)
	}
	for _, r := range srv.Requests() {
		if strings.Contains(string(r.Body), "CANARY") || r.Leg == "token" || r.Leg == "authorize" {
			t.Errorf("%s %s", r.Leg, r.Path)
		}
	}
}

// TestDiscoveryAfterABlip: what failed once is asked again by the same program.
//
// It has a row in docs/compatibility.md.
func TestDiscoveryAfterABlip(t *testing.T) {
	t.Parallel()
	for _, leg := range []string{"resource-metadata", "server-metadata", "registration"} {
		srv := authtest.New(t, nil)
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
		srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{leg: 503} })
		if _, err := c.Login(t.Context(), nil); !errors.Is(err, mcpoauth.ErrTemporary) {
			t.Errorf("%s: %v", leg, err)
		}
		srv.Set(func(f *authtest.Faults) { f.Fail = nil })
		if _, err := c.Login(t.Context(), nil); err != nil {
			t.Errorf("%s: afterwards: %v", leg, err)
		}
	}
}

// TestTheAuthorizationServerIsElsewhere: nothing of it is asked for at the MCP server.
//
// It has a row in docs/compatibility.md.
func TestTheAuthorizationServerIsElsewhere(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt}))
	if strings.HasPrefix(srv.MCPURL(), srv.Issuer()) || srv.Count("other") != 0 {
		t.Errorf("%d requests to addresses that are none, at %s", srv.Count("other"), srv.MCPURL())
	}
}

// TestPathAndQueryOfAServer belong to it.
//
// It has a row in docs/compatibility.md.
func TestPathAndQueryOfAServer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, url := range []string{"https://a.example", "https://a.example/mcp", "https://a.example/x/mcp", "https://a.example/mcp?tenant=1", "https://a.example/mcp?tenant=2"} {
		c, err := mcpoauth.New(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[c.ServerURL()]; twice {
			t.Errorf("%s and %s are one server", url, other)
		}
		seen[c.ServerURL()] = url
	}
	// The two forms of one URL are one.
	for _, pair := range [][2]string{{"https://a.example", "https://A.example:443/"}} {
		one, err1 := mcpoauth.New(pair[0], nil)
		two, err2 := mcpoauth.New(pair[1], nil)
		if err1 != nil || err2 != nil || one.ServerURL() != two.ServerURL() {
			t.Errorf("%v, %v: %s and %s", err1, err2, one.ServerURL(), two.ServerURL())
		}
	}
}

// TestAServerNamesAnotherIssuer: a client that was registered by hand stays, with its secret, at the issuer of
// its first login, until a person says otherwise.
//
// It has a row in docs/compatibility.md.
func TestAServerNamesAnotherIssuer(t *testing.T) {
	t.Parallel()
	client := authtest.Client{ID: "by-hand", Secret: "canary-secret", RedirectURIs: []string{"http://127.0.0.1/callback"}}
	srv, next := authtest.New(t, nil), authtest.New(t, &authtest.Options{Lenient: true})
	srv.AddClient(client)
	next.AddClient(client)
	st := memstore.New()
	p := &person{srv: srv}
	o := mcpoauth.Options{Store: st, Client: mcpoauth.ClientOptions{ID: client.ID, Secret: client.Secret}, Prompt: p.prompt}
	if _, err := newClient(t, srv.MCPURL(), o).Login(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	srv.Set(func(f *authtest.Faults) { f.AuthorizationServers = []string{next.Issuer()} })
	srv.RevokeAll()
	p.srv = next
	for name, use := range map[string]func(c *mcpoauth.Client) error{
		"a request": func(c *mcpoauth.Client) error { _, err := tryPing(c); return err },
		"a login": func(c *mcpoauth.Client) error {
			_, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true})
			return err
		},
	} {
		err := use(newClient(t, srv.MCPURL(), o))
		if err == nil || !strings.Contains(err.Error(), next.Issuer()) || !strings.Contains(mcpoauth.Hint(err), "--client-issuer") {
			t.Errorf("%s: %v (%s)", name, err, mcpoauth.Hint(err))
		}
	}
	for _, r := range next.Requests() {
		if r.Leg != "server-metadata" {
			t.Errorf("the other issuer got %s %s", r.Leg, r.Path)
		}
	}
	// With a person's word it is asked. (It is for another resource, so that is all.)
	o.Client.Issuer = next.Issuer()
	_, _ = newClient(t, srv.MCPURL(), o).Login(t.Context(), &mcpoauth.LoginOptions{Force: true})
	if next.Count("authorize") == 0 {
		t.Error("a person's word changes nothing")
	}
}

// PKCE is not advertised in one document, in the other, in none.
//
// It has a row in docs/compatibility.md.
func TestPKCEIsNotAdvertised(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://tools.example.com/mcp", "https://login.example.com"
	silent := metadataOf(issuer)
	delete(silent, "code_challenge_methods_supported")
	plain := metadataOf(issuer)
	plain["code_challenge_methods_supported"] = []string{"plain"}
	for name, tc := range map[string]struct {
		oauth, openID map[string]any
		good, lifted  bool
	}{
		"in the OpenID document": {silent, metadataOf(issuer), true, true},
		"in the OAuth document":  {metadataOf(issuer), silent, true, true},
		"in none":                {silent, silent, false, true},
		"S256 is not among them": {plain, plain, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := inOrder(t, mcp, issuer)
			p.documents[issuer+"/.well-known/oauth-authorization-server"] = tc.oauth
			p.documents[issuer+"/.well-known/openid-configuration"] = tc.openID
			if tc.good {
				p.wants(p.use(mcpoauth.Options{}), registeredOnce)
				return
			}
			hint := "--allow-missing-pkce"
			if !tc.lifted {
				hint = ""
			}
			p.refused(mcpoauth.Options{}, hint)
			if slices.Contains(p.requests, "authorize") {
				t.Error("a person was asked")
			}
			p.requests = nil
			if tc.lifted {
				p.wants(p.use(mcpoauth.Options{Allow: mcpoauth.Allow{MissingPKCE: true}}), registeredOnce) // the challenge is sent, p checks it
			} else {
				p.refused(mcpoauth.Options{Allow: mcpoauth.Allow{MissingPKCE: true}}, "")
			}
		})
	}
}

func TestManyWaysOfAServer(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		opt   authtest.Options
		fault func(*authtest.Faults)
		o     mcpoauth.Options
	}{
		"issuer with a path":               {opt: authtest.Options{IssuerPath: "/realms/one"}},
		"issuer with a path, OpenID":       {opt: authtest.Options{IssuerPath: "/realms/one"}, fault: func(f *authtest.Faults) { f.OnlyOpenID = true }},
		"metadata at the root":             {fault: func(f *authtest.Faults) { f.ResourceMetadataAtRoot = true }},
		"challenge without metadata":       {fault: func(f *authtest.Faults) { f.ChallengeWithoutMetadata = true }},
		"pushed requests only":             {fault: func(f *authtest.Faults) { f.RequirePAR = true }},
		"form-encoded tokens":              {fault: func(f *authtest.Faults) { f.TokenForm = true }},
		"201 for a token":                  {fault: func(f *authtest.Faults) { f.TokenStatus = 201 }},
		"foreign redirect URIs":            {fault: func(f *authtest.Faults) { f.ForeignRedirectURIs = []string{"https://mcp.example/cb"} }},
		"one origin, no resource metadata": {opt: authtest.Options{SameOrigin: true, Lenient: true}, fault: func(f *authtest.Faults) { f.NoResourceMetadata, f.ChallengeWithoutMetadata = true, true }},
		"PKCE not advertised": {fault: func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { delete(m, "code_challenge_methods_supported") }
		}, o: mcpoauth.Options{Allow: mcpoauth.Allow{MissingPKCE: true}}},
		"resource refused":            {fault: func(f *authtest.Faults) { f.RejectResource = true }, o: mcpoauth.Options{Server: mcpoauth.ServerOptions{NoResource: true}}},
		"metadata document":           {opt: authtest.Options{MetadataDocuments: map[string][]string{"https://me.example/client.json": {"http://127.0.0.1/callback"}}}, o: mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: "https://me.example/client.json"}}},
		"access_type wanted":          {fault: func(f *authtest.Faults) { f.RequiredAuthorizeParams = map[string]string{"access_type": "offline"} }, o: mcpoauth.Options{Server: mcpoauth.ServerOptions{AuthorizeParams: map[string][]string{"access_type": {"offline"}}}}},
		"localhost":                   {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost", Path: "/oauth/callback"}}},
		"event streams":               {opt: authtest.Options{SSE: true}},
		"refresh token by scope only": {opt: authtest.Options{RefreshNeedsOfflineAccess: true}},
		"strings for lists": {fault: func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) {
				m["token_endpoint_auth_methods_supported"], m["ui_locales_supported"], m["op_tos_uri"] = "none", 7, []any{nil}
			}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, &tc.opt)
			if tc.fault != nil {
				srv.Set(tc.fault)
			}
			tc.o.Prompt = (&person{srv: srv}).prompt
			c := newClient(t, srv.MCPURL(), tc.o)
			if s, err := tryPing(c); s != 200 || err != nil {
				t.Fatalf("status %d, %v\n%v", s, err, legs(srv))
			}
			srv.Expire()
			if s, err := tryPing(c); s != 200 || err != nil {
				t.Fatalf("after a refresh: status %d, %v", s, err)
			}
		})
	}
}
