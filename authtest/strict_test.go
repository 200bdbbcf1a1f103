package authtest_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// RFC 7636.
func TestPKCE(t *testing.T) {
	for name, tc := range map[string]struct {
		challenge func(url.Values)
		want      string
	}{
		"S256":                       {nil, "code"},
		"none":                       {func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") }, "invalid_request"},
		"no method, which is plain":  {drop("code_challenge_method"), "invalid_request"},
		"plain":                      {set("code_challenge_method", "plain"), "invalid_request"},
		"the method in small":        {set("code_challenge_method", "s256"), "invalid_request"},
		"a challenge that is short":  {set("code_challenge", strings.Repeat("A", 42)), "invalid_request"},
		"a challenge that is long":   {set("code_challenge", strings.Repeat("A", 44)), "invalid_request"},
		"a challenge in base64":      {set("code_challenge", strings.Repeat("A", 42)+"+"), "invalid_request"},
		"a challenge with a padding": {set("code_challenge", strings.Repeat("A", 43)+"="), "invalid_request"},
	} {
		c := newClient(t, authtest.New(t, nil))
		c.change = tc.challenge
		if got := c.callback(); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	for name, tc := range map[string]struct {
		verifier string
		want     int
	}{
		"43 characters":  {strings.Repeat("v", 43), 200},
		"128 characters": {strings.Repeat("v", 128), 200},
		// Right, but too easy to guess, or longer than a server must store.
		"42 characters":  {strings.Repeat("v", 42), 400},
		"129 characters": {strings.Repeat("v", 129), 400},
	} {
		c := newClient(t, authtest.New(t, nil))
		c.verify = tc.verifier
		if status, doc := c.exchange(c.newCode()); status != tc.want {
			t.Errorf("%s: %d, %v", name, status, doc)
		}
	}
}

// RFC 6749 section 4.1.2: a code works once, and its second use means that somebody else has it.
func TestACodeThatComesBack(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	code := c.newCode()
	_, doc := c.exchange(code)
	access, refresh := doc["access_token"].(string), doc["refresh_token"].(string)
	bystander, _ := c.login()
	if c.status(access) != http.StatusOK {
		t.Fatal("the first use failed")
	}
	if _, doc := c.exchange(code); doc["error"] != "invalid_grant" {
		t.Errorf("the second use: %v", doc)
	}
	if _, doc := c.renew(refresh); doc["error"] != "invalid_grant" || c.status(access) != http.StatusUnauthorized || srv.Revoked() != 1 {
		t.Errorf("what came from the code lives on: %v, %d revoked", doc, srv.Revoked())
	}
	if _, doc := c.exchange(code); doc["error"] != "invalid_grant" || srv.Revoked() != 1 {
		t.Errorf("the third use: %v, %d revoked", doc, srv.Revoked())
	}
	if c.status(bystander) != http.StatusOK {
		t.Error("another login was lost with it")
	}
	// One that never worked has nothing to revoke.
	srv2 := authtest.New(t, nil)
	c = newClient(t, srv2)
	code = c.newCode()
	c.code = set("code_verifier", strings.Repeat("x", 43))
	_, _ = c.exchange(code)
	if _, doc := c.exchange(code); doc["error"] != "invalid_grant" || srv2.Revoked() != 0 {
		t.Errorf("%v, %d revoked", doc, srv2.Revoked())
	}
}

func TestACodeIsBoundAndShort(t *testing.T) {
	srv := authtest.New(t, nil)
	c, thief := newClient(t, srv), newClient(t, srv)
	if status, doc := thief.exchange(c.newCode()); status != http.StatusBadRequest || doc["error"] != "invalid_grant" {
		t.Errorf("another client's code: %d, %v", status, doc)
	}
	code := c.newCode()
	srv.AdvanceClock(59 * time.Second)
	if status, _ := c.exchange(code); status != http.StatusOK {
		t.Error("a code was too old after 59 seconds")
	}
	code = c.newCode()
	srv.AdvanceClock(61 * time.Second)
	if _, doc := c.exchange(code); doc["error"] != "invalid_grant" {
		t.Errorf("a code was good after 61 seconds: %v", doc)
	}
	for name, change := range map[string]func(url.Values){
		"without redirect_uri":       drop("redirect_uri"),
		"with another redirect_uri":  set("redirect_uri", redirect+"/"),
		"with a resource that is ''": set("resource", ""),
		"with a resource and slash":  set("resource", srv.MCPURL()+"/"),
	} {
		c.code = change
		if status, doc := c.exchange(c.newCode()); status != http.StatusBadRequest || doc["access_token"] != nil {
			t.Errorf("%s: %d, %v", name, status, doc)
		}
	}
	// The parameters belong into the body.
	c.code = nil
	v := url.Values{"grant_type": {"authorization_code"}, "code": {c.newCode()}, "redirect_uri": {redirect}, "client_id": {c.id}, "code_verifier": {c.verify}, "resource": {srv.MCPURL()}}
	if a := postForm(t, srv.TokenEndpoint()+"?"+v.Encode(), nil); a.status != http.StatusUnauthorized {
		t.Errorf("a token request in the address: %d", a.status)
	}
	if a := do(t, http.MethodPost, srv.TokenEndpoint(), v.Encode(), "Content-Type", "application/json"); a.status != http.StatusUnauthorized {
		t.Errorf("a token request that is no form: %d", a.status)
	}
	a := postForm(t, srv.TokenEndpoint(), v)
	if a.status != http.StatusOK || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the sound one (RFC 6749 section 5.1): %d, %v", a.status, a.header)
	}
	if a.json["token_type"] != "bEARER" || a.json["scope"] != "mcp:read" || a.json["expires_in"] != 3600.0 {
		t.Errorf("its answer: %v", a.json)
	}
}

// RFC 6749 section 2.3: the registered way, and that one only.
func TestClientAuthentication(t *testing.T) {
	const invalidClient, invalidRequest, through = "401|invalid_client", "400|invalid_request", "400|invalid_grant"
	srv := authtest.New(t, nil)
	const secret = "s3cret +/=:%&é" // what a Basic header must escape
	for id, method := range map[string]string{"id:of basic": "client_secret_basic", "id of post": "client_secret_post"} {
		srv.AddClient(authtest.Client{ID: id, Secret: secret, AuthMethod: method})
	}
	srv.AddClient(authtest.Client{ID: "id of none"})
	srv.AddClient(authtest.Client{ID: "id of default", Secret: secret})
	none := func(id string) []string { return []string{"client_id", id} }
	post := func(id, s string) []string { return []string{"client_id", id, "client_secret", s} }
	for name, tc := range map[string]struct {
		form   []string
		header []string
		want   string
	}{
		"basic":                             {nil, basic("id:of basic", secret), through},
		"basic, the default":                {nil, basic("id of default", secret), through},
		"basic, client_id repeated":         {none("id:of basic"), basic("id:of basic", secret), through},
		"post":                              {post("id of post", secret), nil, through},
		"none":                              {none("id of none"), nil, through},
		"none, an empty secret":             {post("id of none", ""), nil, through},
		"basic, a wrong secret":             {nil, basic("id:of basic", "wrong"), invalidClient},
		"basic, not escaped":                {nil, []string{"Authorization", "Basic aWQ6b2YgYmFzaWM6czNjcmV0ICsvPTolJsOp"}, invalidRequest},
		"basic, no base64":                  {nil, []string{"Authorization", "Basic !"}, invalidClient},
		"basic, another client_id":          {none("id of none"), basic("id:of basic", secret), invalidRequest},
		"both ways":                         {post("id:of basic", secret), basic("id:of basic", secret), invalidRequest},
		"both ways, an empty field":         {post("id:of basic", ""), basic("id:of basic", secret), invalidRequest},
		"post for a client of basic":        {post("id:of basic", secret), nil, invalidClient},
		"basic for a client of post":        {nil, basic("id of post", secret), invalidClient},
		"none for a client of basic":        {none("id:of basic"), nil, invalidClient},
		"none for a client of post":         {none("id of post"), nil, invalidClient},
		"a secret for a client of none":     {post("id of none", "x"), nil, invalidClient},
		"an empty secret for one of post":   {post("id of post", ""), nil, invalidClient},
		"post, a wrong secret":              {post("id of post", secret+"x"), nil, invalidClient},
		"nobody":                            {none("nobody"), nil, invalidClient},
		"no client at all":                  {nil, nil, invalidClient},
		"a name of another case":            {none("ID OF NONE"), nil, invalidClient},
		"basic, an empty secret, of a none": {nil, basic("id of none", ""), invalidClient},
	} {
		v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"none"}}
		for i := 0; i < len(tc.form); i += 2 {
			v.Set(tc.form[i], tc.form[i+1])
		}
		a := postForm(t, srv.TokenEndpoint(), v, tc.header...)
		if got := sprint(a.status, a.err()); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
		// RFC 6749 section 5.2.
		if (a.status == http.StatusUnauthorized) != (a.header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %d with WWW-Authenticate %q", name, a.status, a.header.Get("WWW-Authenticate"))
		}
	}
}

// The redirect URI is compared as a string; only what RFC 8252 section 7.3 says of ports is forgiven.
func TestRedirectURIs(t *testing.T) {
	for name, tc := range map[string]struct {
		registered, used string
		ok               bool
	}{
		"the same":                           {redirect, redirect, true},
		"another path":                       {redirect, "http://127.0.0.1:9/other", false},
		"a slash more":                       {redirect, redirect + "/", false},
		"a query more":                       {redirect, redirect + "?x=1", false},
		"a path below":                       {redirect, redirect + "/../x", false},
		"another port":                       {redirect, "http://127.0.0.1:10/callback", false},
		"another spelling of this machine":   {redirect, "http://localhost:9/callback", false},
		"another scheme":                     {redirect, "https://127.0.0.1:9/callback", false},
		"a name in capitals":                 {"https://app.example/cb", "https://APP.example/cb", false},
		"no port registered":                 {"http://127.0.0.1/callback", "http://127.0.0.1:5/callback", true},
		"no port registered, IPv6":           {"http://[::1]/callback", "http://[::1]:5/callback", true},
		"no port registered, another path":   {"http://127.0.0.1/callback", "http://127.0.0.1:5/other", false},
		"no port registered, another name":   {"http://127.0.0.1/callback", "http://localhost:5/callback", false},
		"no port registered, not loopback":   {"https://app.example/cb", "https://app.example:5/cb", false},
		"no port registered, another scheme": {"http://127.0.0.1/callback", "https://127.0.0.1:5/callback", false},
		"no address":                         {redirect, "http://[", false},
		"none":                               {redirect, "", false},
	} {
		srv := authtest.New(t, nil)
		c := newClient(t, srv)
		c.id = "mine"
		srv.AddClient(authtest.Client{ID: "mine", RedirectURIs: []string{tc.registered}})
		c.change = set("redirect_uri", tc.used)
		want := "page"
		if tc.ok {
			want = "code"
		}
		if got := c.callback(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// RFC 7591.
func TestRegistration(t *testing.T) {
	for name, tc := range map[string]struct {
		members map[string]any
		want    string
	}{
		"a native program":                 {nil, "201|"},
		"https":                            {map[string]any{"redirect_uris": []string{"https://app.example/cb"}, "application_type": nil}, "201|"},
		"a scheme of its own":              {map[string]any{"redirect_uris": []string{"com.example.app:/cb"}}, "201|"},
		"localhost by name":                {map[string]any{"redirect_uris": []string{"http://localhost:1/cb"}}, "201|"},
		"scopes":                           {map[string]any{"scope": "mcp:read offline_access"}, "201|"},
		"members that nobody knows":        {map[string]any{"x": []any{nil}}, "201|"},
		"no redirect URI":                  {map[string]any{"redirect_uris": nil}, "400|invalid_redirect_uri"},
		"an empty list":                    {map[string]any{"redirect_uris": []string{}}, "400|invalid_redirect_uri"},
		"loopback without a type":          {map[string]any{"application_type": nil}, "400|invalid_redirect_uri"},
		"loopback of a web application":    {map[string]any{"application_type": "web"}, "400|invalid_redirect_uri"},
		"http of somewhere else":           {map[string]any{"redirect_uris": []string{"http://app.example/cb"}}, "400|invalid_redirect_uri"},
		"one good, one bad":                {map[string]any{"redirect_uris": []string{redirect, "http://app.example/cb"}}, "400|invalid_redirect_uri"},
		"a fragment":                       {map[string]any{"redirect_uris": []string{redirect + "#x"}}, "400|invalid_redirect_uri"},
		"no address":                       {map[string]any{"redirect_uris": []string{"http://["}}, "400|invalid_redirect_uri"},
		"a string for the list":            {map[string]any{"redirect_uris": redirect}, "400|invalid_client_metadata"},
		"an unknown scope":                 {map[string]any{"scope": "root"}, "400|invalid_client_metadata"},
		"an authentication it cannot do":   {map[string]any{"token_endpoint_auth_method": "private_key_jwt"}, "400|invalid_client_metadata"},
		"the authentication nobody can do": {map[string]any{"token_endpoint_auth_method": "telepathy"}, "400|invalid_client_metadata"},
	} {
		c := newClient(t, authtest.New(t, nil))
		a := c.register(tc.members)
		if got := sprint(a.status, a.err()); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	c := newClient(t, authtest.New(t, nil))
	for _, body := range []string{"", "[]", "redirect_uris=x"} {
		if a := do(t, http.MethodPost, c.str("registration_endpoint"), body, "Content-Type", "application/json"); a.err() != "invalid_client_metadata" {
			t.Errorf("%q: %d, %s", body, a.status, a.body)
		}
	}
	if a := do(t, http.MethodPost, c.str("registration_endpoint"), `{"redirect_uris":["https://app.example/cb"]}`, "Content-Type", "text/plain"); a.err() != "invalid_client_metadata" {
		t.Errorf("not announced as JSON: %d, %s", a.status, a.body)
	}
}

func TestWhatARegistrationSays(t *testing.T) {
	srv := authtest.New(t, nil)
	c := newClient(t, srv)
	reg := c.register(map[string]any{"client_name": "mine", "scope": "mcp:read"}).json
	secret, _ := reg["client_secret"].(string)
	for member, want := range map[string]any{
		"token_endpoint_auth_method": "client_secret_basic", // the default of RFC 7591
		"client_name":                "mine", "client_secret_expires_at": 0.0,
		"scope": "mcp:read mcp:write offline_access", // more than was asked for
	} {
		if reg[member] != want {
			t.Errorf("%s: %v, want %v", member, reg[member], want)
		}
	}
	// A secret that nobody need escape would hide the mistake of not escaping it.
	if url.QueryEscape(secret) == secret || len(secret) < 20 {
		t.Errorf("secret %q", secret)
	}
	if a := postForm(t, srv.TokenEndpoint(), url.Values{"grant_type": {"refresh_token"}}, basic(reg["client_id"].(string), secret)...); a.err() != "invalid_grant" {
		t.Errorf("it does not work: %s", a.body)
	}
	public := c.register(map[string]any{"token_endpoint_auth_method": "none"}).json
	if _, ok := public["client_secret"]; ok || public["client_id"] == reg["client_id"] {
		t.Errorf("a public client: %v", public)
	}
}

// A client that did not register the grant gets no refresh token.
func TestRefreshTokensAreForThoseWhoAsked(t *testing.T) {
	for name, tc := range map[string]struct {
		grants any
		want   bool
	}{
		"both":         {[]string{"authorization_code", "refresh_token"}, true},
		"the code":     {[]string{"authorization_code"}, false},
		"nothing said": {nil, false},
	} {
		c := newClient(t, authtest.New(t, nil))
		reg := c.register(map[string]any{"grant_types": tc.grants, "token_endpoint_auth_method": "none"}).json
		c.id = reg["client_id"].(string)
		doc := c.tokens()
		if (doc["refresh_token"] != nil) != tc.want || strings.Contains(sprint(reg["grant_types"]), "refresh_token") != tc.want {
			t.Errorf("%s: registered %v, refresh token %v", name, reg["grant_types"], doc["refresh_token"])
		}
	}
}

// RFC 7592 section 2.3.
func TestAClientIsDeleted(t *testing.T) {
	srv := authtest.New(t, nil)
	c, other := newClient(t, srv), newClient(t, srv)
	reg := c.register(map[string]any{"token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"}}).json
	c.id = reg["client_id"].(string)
	access, refresh := c.login()
	bystander, _ := other.login()
	target, token := reg["registration_client_uri"].(string), reg["registration_access_token"].(string)
	for name, header := range map[string]string{"no token": "", "another token": "Bearer x", "an access token": "Bearer " + access} {
		if a := do(t, http.MethodDelete, target, "", "Authorization", header); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	if a := do(t, http.MethodDelete, target, "", "Authorization", "Bearer "+token); a.status != http.StatusNoContent || srv.Count("client-deletion") != 4 {
		t.Errorf("%d, recorded %v", a.status, legs(srv))
	}
	if a := do(t, http.MethodDelete, target, "", "Authorization", "Bearer "+token); a.status != http.StatusUnauthorized {
		t.Errorf("twice: %d", a.status)
	}
	if _, doc := c.renew(refresh); doc["error"] != "invalid_client" || c.status(access) != http.StatusUnauthorized {
		t.Errorf("its login lives on: %v, %d", doc, c.status(access))
	}
	srv.AddClient(authtest.Client{ID: c.id, RedirectURIs: []string{redirect}})
	if _, doc := c.renew(refresh); doc["error"] != "invalid_grant" {
		t.Errorf("its login came back with its name: %v", doc)
	}
	if other.status(bystander) != http.StatusOK {
		t.Error("another client's login was lost")
	}
}

// RFC 6749 section 6.
func TestRefreshing(t *testing.T) {
	srv := authtest.New(t, nil)
	c, thief := newClient(t, srv), newClient(t, srv)
	c.change = set("scope", "mcp:read mcp:write")
	_, refresh := c.login()
	if _, doc := thief.renew(refresh); doc["error"] != "invalid_grant" {
		t.Errorf("another client's token: %v", doc)
	}
	for name, tc := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"no resource":      {drop("resource"), "invalid_target"},
		"another resource": {set("resource", srv.MCPURL()+"/"), "invalid_target"},
		"more scopes":      {set("scope", "mcp:read offline_access"), "invalid_scope"},
		"no token":         {drop("refresh_token"), "invalid_grant"},
	} {
		c.refresh = tc.change
		if status, doc := c.renew(refresh); status != http.StatusBadRequest || doc["error"] != tc.want {
			t.Errorf("%s: %d, %v", name, status, doc)
		}
	}
	// None of these spent it, nor does a smaller scope make the login smaller.
	c.refresh = set("scope", "mcp:read")
	_, doc := c.renew(refresh)
	if doc["scope"] != "mcp:read" {
		t.Fatalf("a smaller scope: %v", doc)
	}
	if status := c.mcp(http.MethodPost, doc["access_token"].(string), callTool("write_note")).status; status != http.StatusForbidden {
		t.Errorf("the token has more than it says: %d", status)
	}
	c.refresh = nil
	_, doc = c.renew(doc["refresh_token"].(string))
	if doc["scope"] != "mcp:read mcp:write" || c.mcp(http.MethodPost, doc["access_token"].(string), callTool("write_note")).status != http.StatusOK {
		t.Errorf("the login has shrunk: %v", doc)
	}
	if srv.Revoked() != 0 {
		t.Errorf("%d logins revoked", srv.Revoked())
	}
}

// RFC 7009.
func TestRevocation(t *testing.T) {
	srv := authtest.New(t, nil)
	c, other := newClient(t, srv), newClient(t, srv)
	endpoint := c.str("revocation_endpoint")
	access, refresh := c.login()
	foreign, foreignRefresh := other.login()
	for name, tc := range map[string]struct {
		form url.Values
		want string
	}{
		"an unknown token":              {url.Values{"token": {"unknown"}, "client_id": {c.id}}, "200|"}, // section 2.2
		"no token":                      {url.Values{"client_id": {c.id}}, "400|invalid_request"},
		"two tokens":                    {url.Values{"token": {access, refresh}, "client_id": {c.id}}, "400|invalid_request"},
		"no client":                     {url.Values{"token": {access}}, "401|invalid_client"},
		"another client's access token": {url.Values{"token": {foreign}, "client_id": {c.id}}, "400|invalid_grant"},
		"another's refresh token":       {url.Values{"token": {foreignRefresh}, "client_id": {c.id}}, "400|invalid_grant"},
	} {
		a := postForm(t, endpoint, tc.form)
		if got := sprint(a.status, a.err()); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if c.status(access) != http.StatusOK || other.status(foreign) != http.StatusOK {
		t.Fatal("a request that was refused, or knew no token, has revoked one")
	}
	// The access token alone, whatever the hint says.
	if a := postForm(t, endpoint, url.Values{"token": {access}, "token_type_hint": {"refresh_token"}, "client_id": {c.id}}); a.status != http.StatusOK || c.status(access) != http.StatusUnauthorized {
		t.Errorf("an access token: %d", a.status)
	}
	_, doc := c.renew(refresh)
	access2, refresh2 := sprint(doc["access_token"]), sprint(doc["refresh_token"])
	if c.status(access2) != http.StatusOK {
		t.Errorf("the login was lost with an access token: %v", doc)
	}
	// The refresh token, and with it all that came from the login.
	if a := postForm(t, endpoint, url.Values{"token": {refresh2}, "client_id": {c.id}}); a.status != http.StatusOK || c.status(access2) != http.StatusUnauthorized {
		t.Errorf("a refresh token: %d, and the access token lives on", a.status)
	}
	if _, doc := c.renew(refresh2); doc["error"] != "invalid_grant" || srv.Revoked() != 0 {
		t.Errorf("a refresh token lives on: %v, %d revoked", doc, srv.Revoked())
	}
	if other.status(foreign) != http.StatusOK {
		t.Error("another login was revoked")
	}
	secret := c.register(nil).json
	if a := postForm(t, endpoint, url.Values{"token": {"x"}}, basic(secret["client_id"].(string), "wrong")...); a.err() != "invalid_client" {
		t.Errorf("a wrong secret: %d", a.status)
	}
	if a := postForm(t, endpoint, url.Values{"token": {"x"}}, basic(secret["client_id"].(string), secret["client_secret"].(string))...); a.status != http.StatusOK {
		t.Errorf("the right secret: %d", a.status)
	}
}

// pushedCallback pushes the request, then sends the reference.
func pushedCallback(c *client) string {
	c.t.Helper()
	a := postForm(c.t, c.str("pushed_authorization_request_endpoint"), c.request())
	if a.status != http.StatusCreated {
		return sprint(a.status, a.err())
	}
	change := c.change
	defer func() { c.change = change }()
	c.change = func(v url.Values) {
		clear(v)
		v.Set("client_id", c.id)
		v.Set("request_uri", a.json["request_uri"].(string))
	}
	return c.callback()
}

// RFC 9126.
func TestPushedRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"a sound one":              {nil, "code"},
		"another redirect URI":     {set("redirect_uri", "https://evil.example/cb"), "400|invalid_request"},
		"no PKCE":                  {drop("code_challenge"), "400|invalid_request"},
		"another resource":         {set("resource", "https://other.example"), "400|invalid_target"},
		"an unknown scope":         {set("scope", "root"), "400|invalid_scope"},
		"a reference in a request": {set("request_uri", "urn:x"), "400|invalid_request"},
		"a parameter twice":        {func(v url.Values) { v.Add("scope", "mcp:read") }, "400|invalid_request"},
		"an unknown client":        {set("client_id", "nobody"), "401|invalid_client"},
	} {
		c := newClient(t, authtest.New(t, nil))
		c.change = tc.change
		if got := pushedCallback(c); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}

	srv := authtest.New(t, nil)
	c, thief := newClient(t, srv), newClient(t, srv)
	push := func() string {
		a := postForm(t, c.str("pushed_authorization_request_endpoint"), c.request())
		uri, _ := a.json["request_uri"].(string)
		if !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || a.json["expires_in"] != 60.0 {
			t.Errorf("pushed: %d, %v", a.status, a.json)
		}
		return uri
	}
	open := func(c *client, uri string) int {
		return do(t, http.MethodGet, c.str("authorization_endpoint")+"?"+url.Values{"client_id": {c.id}, "request_uri": {uri}}.Encode(), "").status
	}
	uri := push()
	if first, second := open(c, uri), open(c, uri); first != http.StatusOK || second < 400 {
		t.Errorf("a reference works once: %d, %d", first, second)
	}
	if status := open(thief, push()); status < 400 {
		t.Errorf("another client's reference: %d", status)
	}
	uri = push()
	srv.AdvanceClock(61 * time.Second)
	if status := open(c, uri); status < 400 {
		t.Errorf("an old reference: %d", status)
	}
	// What was pushed counts, not what the browser carries beside it; and the secret stays outside.
	srv.AddClient(authtest.Client{ID: "post", Secret: "the secret of post", AuthMethod: "client_secret_post", RedirectURIs: []string{redirect}})
	c.id, c.change = "post", set("client_secret", "the secret of post")
	uri = push()
	a := do(t, http.MethodGet, c.str("authorization_endpoint")+"?"+url.Values{"client_id": {c.id}, "request_uri": {uri}, "scope": {"mcp:write"}}.Encode(), "")
	if a.status != http.StatusOK || !strings.Contains(a.body, "mcp:read") || strings.Contains(a.body, "mcp:write") || strings.Contains(a.body, "the secret") {
		t.Errorf("%d, %s", a.status, a.body)
	}
	if n := srv.Count("par"); n != 4 || !slices.Contains(legs(srv), "par") {
		t.Errorf("%d recorded", n)
	}
}
