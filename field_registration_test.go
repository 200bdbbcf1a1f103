package mcpoauth_test

import (
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
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// asked returns the authorization requests that a server got.
func asked(srv *authtest.Server) []url.Values {
	var out []url.Values
	for _, r := range srv.Requests() {
		if r.Leg == "authorize" {
			out = append(out, r.Query)
		}
	}
	return out
}

// The server forgot its clients. Its login page says so to the person and sends nobody back, so that the
// program learns nothing: the next login must not end at the same page.
func TestFieldAForgottenClientIsADeadEnd(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}))
	srv.ForgetClients()
	pages := 0
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, LoginTimeout: 2 * time.Second, Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
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

// A login that was interrupted has registered one port, and the next one uses it.
func TestFieldALoginAfterAnInterruptedOne(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	first := ""
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: showTo(&first)})
	if _, err := c.Login(t.Context(), nil); err == nil {
		t.Fatal("logged in")
	}
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}))
	u, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asked(srv)[0].Get("redirect_uri"), u.Query().Get("redirect_uri"); got != want || srv.Count("registration") != 1 {
		t.Errorf("redirect URI %s after %s, %d registrations", got, want, srv.Count("registration"))
	}
}

// Nobody can register there, and where the endpoint usually is lies a page.
func TestFieldNoDynamicRegistration(t *testing.T) {
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
func TestFieldOneSpellingOfTheRedirectURI(t *testing.T) {
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
func TestFieldARegistrationWithoutItsSecret(t *testing.T) {
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
func TestFieldHowASecretIsTaken(t *testing.T) {
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

// TestFieldAServerNamesAnotherIssuer: a client that was registered by hand stays, with its secret, at the issuer of
// its first login, until a person says otherwise.
func TestFieldAServerNamesAnotherIssuer(t *testing.T) {
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
