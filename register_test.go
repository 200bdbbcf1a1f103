package mcpoauth_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// It has a row in docs/compatibility.md.
func TestOneRegistrationForManyLogins(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	for range 3 {
		if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if srv.Count("registration") != 1 || srv.Count("token") != 3 {
		t.Errorf("%d registrations for %d logins", srv.Count("registration"), srv.Count("token"))
	}
}

// TestTheDocumentsPort: a server that compares redirect URIs whole gets the port that its document has.
//
// It has a row in docs/compatibility.md.
func TestTheDocumentsPort(t *testing.T) {
	t.Parallel()
	const url = "https://app.example.com/client.json"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port // a TCP listener's
	_ = l.Close()
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: url}, Callback: mcpoauth.CallbackOptions{Port: port}}
	m, err := mcpoauth.NewClientMetadata(&o)
	if err != nil {
		t.Fatal(err)
	}
	srv := authtest.New(t, &authtest.Options{MetadataDocuments: map[string][]string{url: m.RedirectURIs}})
	o.Prompt = (&person{srv: srv}).prompt
	if status := ping(t, newClient(t, srv.MCPURL(), o)); status != http.StatusOK || srv.Count("registration") != 0 {
		t.Errorf("status %d, %d registrations", status, srv.Count("registration"))
	}
}

// TestNativeOrWeb: a server takes http redirect URIs from native applications only.
//
// It has a row in docs/compatibility.md.
func TestNativeOrWeb(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	if _, err := c.BeginLogin(t.Context(), "https://app.example.com/callback"); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range srv.Requests() {
		if r.Leg == "registration" {
			kinds = append(kinds, map[bool]string{true: "native", false: "web"}[bytes.Contains(r.Body, []byte(`"application_type":"native"`))])
		}
	}
	if strings.Join(kinds, " ") != "native web" {
		t.Errorf("registered as %v", kinds)
	}
}

// TestWhichClientIsUsed: the one that a person registered, then the document, then a registration.
//
// It has a row in docs/compatibility.md.
func TestWhichClientIsUsed(t *testing.T) {
	t.Parallel()
	const document = "https://app.example.com/client.json"
	srv := authtest.New(t, &authtest.Options{MetadataDocuments: map[string][]string{document: {"http://127.0.0.1/callback"}}, Lenient: true})
	srv.AddClient(authtest.Client{ID: "by-hand", RedirectURIs: []string{"http://127.0.0.1/callback"}})
	for _, tc := range []struct {
		o    mcpoauth.Options
		want string
	}{
		{mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand", MetadataURL: document}}, "by-hand"},
		{mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: document}}, document},
		{mcpoauth.Options{}, "client-"},
	} {
		tc.o.Prompt = (&person{srv: srv}).prompt
		ping(t, newClient(t, srv.MCPURL(), tc.o))
		got := ""
		for _, r := range srv.Requests() {
			if r.Leg == "authorize" {
				got = r.Query.Get("client_id")
			}
		}
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("the client is %q, want %q", got, tc.want)
		}
	}
}

// TestARegistrationWithMoreScopes: they may be asked for, and are not.
//
// It has a row in docs/compatibility.md.
func TestARegistrationWithMoreScopes(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt, Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Never}}))
	for _, r := range srv.Requests() {
		if r.Leg == "authorize" && r.Query.Get("scope") != "mcp:read" {
			t.Errorf("asked for %q", r.Query.Get("scope"))
		}
	}
}

// The server forgot its clients. Its login page says so to the person and sends nobody back, so that the
// program learns nothing: the next login must not end at the same page.
//
// It has a row in docs/compatibility.md.
func TestAForgottenClientIsADeadEnd(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { // it cannot be asked what it still knows
		f.RegistrationAnswer = func(m map[string]any) { delete(m, "registration_client_uri") }
	})
	st := memstore.New()
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}))
	srv.ForgetClients()
	pages := 0
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, LoginTimeout: 300 * time.Millisecond, Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		if _, err := srv.Browser(ctx, lp.URL); err != nil {
			pages++ // the person reads it and comes back to nobody
		}
		return nil, nil
	}})
	if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); !errors.Is(err, mcpoauth.ErrTemporary) || !strings.Contains(mcpoauth.Hint(err), "--new-client") || pages != 1 {
		t.Fatalf("after %d pages: %v (%s)", pages, err, mcpoauth.Hint(err))
	}
	again := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	if _, err := again.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if n := srv.Count("registration"); n != 2 {
		t.Errorf("%d registrations", n)
	}
}

// Nobody can register there, and where the endpoint usually is lies a page.
//
// It has a row in docs/compatibility.md.
func TestNoDynamicRegistration(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{Lenient: true})
	srv.Set(func(f *authtest.Faults) { f.NoRegistration = true })
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: nobody(t), Callback: mcpoauth.CallbackOptions{Path: "/oauth/back"}})
	_, err := c.Login(t.Context(), nil)
	var re *mcpoauth.Error
	if !errorAt(err, mcpoauth.OpRegistration, &re) || !strings.Contains(err.Error(), srv.Issuer()) {
		t.Fatalf("got %v", err)
	}
	hint := mcpoauth.Hint(err)
	_, rest, _ := strings.Cut(hint, "with the redirect URI ")
	redirect, _, _ := strings.Cut(rest, ",")
	u, perr := url.Parse(redirect)
	if perr != nil || u.Path != "/oauth/back" || !strings.Contains(hint, "--client-id") || !strings.Contains(hint, "--callback-port "+u.Port()) || !strings.Contains(hint, "--client-secret-env") {
		t.Fatalf("hint %q", hint)
	}
	// What the hint says works.
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	srv.AddClient(authtest.Client{ID: "by-hand", Secret: "s", RedirectURIs: []string{redirect}})
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand", Secret: "s"}, Callback: mcpoauth.CallbackOptions{Port: port, Path: u.Path}, Prompt: (&person{srv: srv}).prompt}
	if s := ping(t, newClient(t, srv.MCPURL(), o)); s != 200 || srv.Count("registration") != 0 {
		t.Errorf("status %d, %d registrations", s, srv.Count("registration"))
	}
}

// localhost, 127.0.0.1 or one exact redirect URI: each is the only one that is taken somewhere.
//
// It has a row in docs/compatibility.md.
func TestOneSpellingOfTheRedirectURI(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	exact := "http://localhost:" + strconv.Itoa(port) + "/oauth/callback"
	for name, tc := range map[string]struct {
		takes     func(string) bool
		bad, good mcpoauth.Options
		hint      string
	}{
		"localhost only": {
			func(u string) bool { return strings.HasPrefix(u, "http://localhost:") },
			mcpoauth.Options{},
			mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost"}},
			"--callback-host localhost",
		},
		"127.0.0.1 only": {
			func(u string) bool { return strings.HasPrefix(u, "http://127.0.0.1:") },
			mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost"}},
			mcpoauth.Options{},
			"--callback-host 127.0.0.1",
		},
		"one port and path": {
			func(u string) bool { return u == exact },
			mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost"}},
			mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost", Port: port, Path: "/oauth/callback"}},
			"--callback-port",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := inOrder(t, "https://tools.example.com/mcp", "https://login.example.com")
			p.client, tc.bad.Client.ID, tc.good.Client.ID = "by-hand", "by-hand", "by-hand"
			p.refuses = func(leg string, form url.Values) string {
				if leg == "authorize" && !tc.takes(form.Get("redirect_uri")) {
					return "redirect_uri_mismatch"
				}
				return ""
			}
			p.refused(tc.bad, tc.hint)
			p.requests = nil
			p.wants(p.use(tc.good), once)
		})
	}
	// A client that registers itself registers both, and only one of them where the server insists.
	for name, only := range map[string]string{"both": "", "the server refuses localhost": "localhost", "the server refuses 127.0.0.1": "127.0.0.1"} {
		t.Run("registration: "+name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"registration": func(w http.ResponseWriter, r *http.Request) bool {
					last := srv.Requests()[len(srv.Requests())-1]
					if only == "" || !strings.Contains(string(last.Body), "//"+only+":") {
						return false
					}
					return page(400, "application/json", `{"error":"invalid_redirect_uri","error_description":"not this one"}`)(w, r)
				}}
			})
			o := mcpoauth.Options{Prompt: (&person{srv: srv}).prompt}
			if only == "127.0.0.1" {
				o.Callback.Host = "localhost"
			}
			if s := ping(t, newClient(t, srv.MCPURL(), o)); s != 200 {
				t.Errorf("status %d", s)
			}
			var sent []string
			for _, r := range srv.Requests() {
				if r.Leg == "registration" {
					sent = append(sent, string(r.Body))
				}
			}
			if !strings.Contains(sent[0], "//localhost:") || !strings.Contains(sent[0], "//127.0.0.1:") || len(sent) != 1+min(len(only), 1) {
				t.Errorf("registered with %q", sent)
			}
		})
	}
}

// A registration that names a way to authenticate and brings no secret for it is no client.
//
// It has a row in docs/compatibility.md.
func TestARegistrationWithoutItsSecret(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{
			"registration": page(201, "application/json", `{"client_id":"c","token_endpoint_auth_method":"client_secret_basic"}`),
		}
	})
	_, err := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: nobody(t)}).Login(t.Context(), nil)
	var re *mcpoauth.Error
	if !errorAt(err, mcpoauth.OpRegistration, &re) || !strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// Servers take a client's secret in one way, not always in the one that they advertise.
//
// It has a row in docs/compatibility.md.
func TestHowASecretIsTaken(t *testing.T) {
	t.Parallel()
	const id, secret = "a+b c", "a+b/c%:=ä"
	type request struct {
		basic            bool
		formID, formPass string
	}
	for name, tc := range map[string]struct {
		lists []string
		takes func(request) bool
		most  int
	}{
		"Basic, and nothing in the body":     {[]string{"client_secret_basic"}, func(r request) bool { return r.basic && r.formID == "" && r.formPass == "" }, 1},
		"post only":                          {[]string{"client_secret_post"}, func(r request) bool { return !r.basic && r.formPass == secret }, 1},
		"post only, but Basic is advertised": {[]string{"client_secret_basic"}, func(r request) bool { return !r.basic && r.formPass == secret }, 2},
		"Basic only, but post is advertised": {[]string{"client_secret_post"}, func(r request) bool { return r.basic && r.formPass == "" }, 2},
		"the ID must be in the body":         {[]string{"client_secret_basic", "client_secret_post"}, func(r request) bool { return r.formID == id && r.formPass == secret }, 2},
		"nothing is advertised":              {nil, func(r request) bool { return r.basic != (r.formPass != "") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := inOrder(t, "https://tools.example.com/mcp", "https://login.example.com")
			m := metadataOf("https://login.example.com")
			m["token_endpoint_auth_methods_supported"] = tc.lists
			if tc.lists == nil {
				delete(m, "token_endpoint_auth_methods_supported")
			}
			p.documents["https://login.example.com/.well-known/oauth-authorization-server"] = m
			p.client, p.secret = id, secret
			p.authenticates = func(gotID, gotSecret string, basic bool, form url.Values) bool {
				return gotID == id && gotSecret == secret && tc.takes(request{basic, form.Get("client_id"), form.Get("client_secret")})
			}
			got := p.use(mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: id, Secret: secret}})
			codes := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != "authorization_code" }))
			if codes > tc.most || len(got) != codes+3 {
				t.Errorf("requests %v", got)
			}
		})
	}
}

// It has a row in docs/compatibility.md.
func TestAForgottenClientIsReplacedOnce(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	ping(t, c)
	srv.ForgetClients()
	srv.Expire()
	if s, err := tryPing(c); s != 200 || err != nil {
		t.Fatalf("status %d, %v", s, err)
	}
	if n := srv.Count("registration"); n != 2 {
		t.Errorf("%d registrations", n)
	}
}

// It has a row in docs/compatibility.md.
func TestAPreRegisteredClientIsNeverReplaced(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	srv.AddClient(authtest.Client{ID: "app", Secret: "a+b/c%:=", AuthMethod: "client_secret_post", RedirectURIs: []string{"http://127.0.0.1/callback"}})
	st := memstore.New()
	o := mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Client: mcpoauth.ClientOptions{ID: "app", Secret: "a+b/c%:=", AuthMethod: "client_secret_post"}}
	c := newClient(t, srv.MCPURL(), o)
	ping(t, c)
	srv.ForgetClients()
	srv.Expire()
	var te *mcpoauth.Error
	if _, err := tryPing(c); !errorAt(err, mcpoauth.OpToken, &te) || te.Code != "invalid_client" {
		t.Errorf("got %v", err)
	}
	if n := srv.Count("registration"); n != 0 {
		t.Errorf("%d registrations", n)
	}
}

// It has a row in docs/compatibility.md.
func TestTheRegistrationSaysHowToAuthenticate(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = method })
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
			ping(t, c)
			srv.Expire()
			if s := ping(t, c); s != 200 {
				t.Errorf("status %d", s)
			}
			if n := srv.Count("token"); n != 1 {
				t.Errorf("the code was sent %d times", n)
			}
			res, err := c.Logout(context.Background())
			if err != nil || !res.Revoked {
				t.Errorf("logout: %+v, %v", res, err)
			}
		})
	}
}

// TestTheLastLoginTakesItsClientAlong, and no other does: they share it.
func TestTheLastLoginTakesItsClientAlong(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p, st := &person{srv: srv}, memstore.New()
	one := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	// A resource of its own makes another login of it, at the same authorization server.
	two := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt, Server: mcpoauth.ServerOptions{Resource: srv.MCPURL()}})
	ping(t, one)
	ping(t, two)
	if srv.Count("registration") != 1 {
		t.Fatalf("%d registrations", srv.Count("registration"))
	}
	if res, err := one.Logout(t.Context()); err != nil || res.ClientDeleted || srv.Count("client-deletion") != 0 {
		t.Errorf("the first: %+v, %v", res, err)
	}
	if status := ping(t, two); status != http.StatusOK {
		t.Errorf("the other login ended with it: %d", status)
	}
	if res, err := two.Logout(t.Context()); err != nil || !res.Revoked || !res.ClientDeleted || srv.Count("client-deletion") != 1 {
		t.Errorf("the last: %+v, %v", res, err)
	}
	if status := ping(t, one); status != http.StatusOK || srv.Count("registration") != 2 {
		t.Errorf("the next login: %d, %d registrations", status, srv.Count("registration"))
	}
}

// TestAClientThatIsInUseStays: a person may be at the browser while another process logs out.
func TestAClientThatIsInUseStays(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p, st := &person{srv: srv}, memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	ping(t, c)
	var during *mcpoauth.LogoutResult
	other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Server: mcpoauth.ServerOptions{Resource: srv.MCPURL()}, Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		var err error
		if during, err = c.Logout(ctx); err != nil {
			return nil, err
		}
		return p.prompt(ctx, lp)
	}})
	if status := ping(t, other); status != http.StatusOK || during == nil || during.ClientDeleted || srv.Count("client-deletion") != 0 {
		t.Errorf("status %d, %+v", status, during)
	}
	// A login that nobody finished does not keep it for ever, but for as long as it could last.
	if res, err := other.Logout(t.Context()); err != nil || !res.ClientDeleted {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestAServerThatKeepsItsClients(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		time.Sleep(10 * time.Minute) // until then another login may be under way with the client
		w.srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{"client-deletion": 403} })
		if res, err := c.Logout(t.Context()); err != nil || !res.Revoked || res.ClientDeleted || w.srv.Count("client-deletion") != 1 {
			t.Errorf("%+v, %v, %d tries", res, err, w.srv.Count("client-deletion"))
		}
	})
}

// TestThePortOfTheRegistrationIsTaken is changed where the server lets, instead of registered again (RFC 7592).
//
// It has a row in docs/compatibility.md.
func TestThePortOfTheRegistrationIsTaken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		faults             func(*authtest.Faults)
		registrations, put int
	}{
		"changed":                       {func(*authtest.Faults) {}, 1, 1},
		"a server that changes nothing": {func(f *authtest.Faults) { f.Fail = map[string]int{"client-change": 405} }, 2, 1},
		"a server that reads nothing":   {func(f *authtest.Faults) { f.Fail = map[string]int{"client-reading": 404} }, 2, 0},
		"a client with a secret":        {func(f *authtest.Faults) { f.RegistrationAuthMethod = "client_secret_basic" }, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(tc.faults)
			p, st := &person{srv: srv}, memstore.New()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
			ping(t, c)
			u, err := url.Parse(stored(t, st, c).Registration.RedirectURI)
			if err != nil {
				t.Fatal(err)
			}
			busy, err := net.Listen("tcp", u.Host)
			if err != nil {
				t.Skip(err)
			}
			defer busy.Close()
			for range 2 {
				if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
					t.Fatal(err)
				}
			}
			if srv.Count("registration") != tc.registrations || srv.Count("client-change") != tc.put {
				t.Errorf("%d registrations, %d changes", srv.Count("registration"), srv.Count("client-change"))
			}
			srv.Expire()
			if status := ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})); status != http.StatusOK {
				t.Errorf("after a restart: %d", status)
			}
			// The token that manages the client is the new one.
			if res, err := c.Logout(t.Context()); err != nil || !res.ClientDeleted {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

// TestARegistrationOfOthers: one that this process cannot read is replaced only if nobody can.
func TestARegistrationOfOthers(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]struct {
		data string
		kept bool
	}{
		"sealed":                   {`{"sealed":1,"key":"000000000000","box":"AAAA"}`, true},
		"of a newer version":       {`{"format":99,"kind":"registration"}`, true},
		"damaged":                  {`{`, false},
		"of no format that exists": {`{"kind":"registration"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv, st := authtest.New(t, nil), memstore.New()
			o := mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}
			login := func() {
				t.Helper()
				if _, err := newClient(t, srv.MCPURL(), o).Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
					t.Fatal(err)
				}
			}
			login()
			var key store.Key
			for k, err := range st.List(t.Context(), store.Filter{Kind: store.KindRegistration}) {
				if err != nil {
					t.Fatal(err)
				}
				key = k
			}
			_, rev, err := st.Load(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = st.Save(t.Context(), key, []byte(k.data), rev); err != nil {
				t.Fatal(err)
			}
			login()
			data, _, err := st.Load(t.Context(), key)
			if err != nil || (string(data) == k.data) != k.kept {
				t.Errorf("%s, %v", data, err)
			}
			login()
			if n := srv.Count("registration"); n != map[bool]int{true: 3, false: 2}[k.kept] {
				t.Errorf("%d registrations", n)
			}
			// The last login that goes does not take it along.
			if _, err := newClient(t, srv.MCPURL(), o).Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			if data, _, err := st.Load(t.Context(), key); k.kept && (err != nil || string(data) != k.data) {
				t.Errorf("after the logout: %s, %v", data, err)
			}
		})
	}
}
