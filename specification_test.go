package mcpoauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

// The tests of this file are of statements of the specifications that no other test covers: docs/conformance.md names
// the statement of each.

// TestWhatAClientRegisters: the kind of application that its redirect URI shows, the grants that it uses, and both
// spellings of a redirect URI on this machine.
func TestWhatAClientRegisters(t *testing.T) {
	t.Parallel()
	for redirect, want := range map[string]string{
		"":                                   "native", // the loopback listener's
		"http://localhost:8000/back":         "native",
		"https://localhost:8443/back":        "native",
		"com.example.app://oauth/back":       "native",
		"https://app.example/back":           "web",
		"https://localhost.app.example/back": "web",
	} {
		t.Run(redirect, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				if redirect == "" {
					w.loggedIn(mcpoauth.Options{})
				} else if _, err := w.open(mcpoauth.Options{}).BeginLogin(t.Context(), redirect); err != nil {
					t.Fatal(err)
				}
				var m struct {
					ApplicationType string   `json:"application_type"`
					GrantTypes      []string `json:"grant_types"`
					ResponseTypes   []string `json:"response_types"`
					RedirectURIs    []string `json:"redirect_uris"`
				}
				for _, r := range w.srv.Requests() {
					if r.Leg != "registration" {
						continue
					}
					if err := json.Unmarshal(r.Body, &m); err != nil {
						t.Fatal(err)
					}
				}
				if m.ApplicationType != want || !slices.Equal(m.GrantTypes, []string{"authorization_code", "refresh_token"}) || !slices.Equal(m.ResponseTypes, []string{"code"}) {
					t.Errorf("registered %+v", m)
				}
				if redirect != "" && m.RedirectURIs[0] != redirect || redirect == "" && (m.RedirectURIs[0] != asked(w.srv)[0].Get("redirect_uri") || len(m.RedirectURIs) != 2) {
					t.Errorf("registered %q", m.RedirectURIs)
				}
			})
		})
	}
}

// TestARedirectURIOverTheNetwork is https: over http anybody on the way would get the code.
func TestARedirectURIOverTheNetwork(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{Lenient: true}, func(t *testing.T, w *world) {
		for address, ok := range map[string]bool{
			"http://app.example/back": false, "http://192.168.0.7/back": false, "http://localhost.app.example/back": false, "HTTP://app.example/back": false,
			"https://app.example/back": true, "http://127.0.0.1:7000/back": true, "http://[::1]:7000/back": true,
		} {
			before := len(w.srv.Requests())
			_, err := w.open(mcpoauth.Options{}).BeginLogin(t.Context(), address)
			e, refused := errors.AsType[*mcpoauth.OptionError](err)
			if ok && err != nil || !ok && (!refused || e.Hint == "" || len(w.srv.Requests()) != before) {
				t.Errorf("%s: %v", address, err)
			}
		}
		w.srv.AddClient(authtest.Client{ID: "by-hand", RedirectURIs: []string{"http://app.example/back"}})
		o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand"}, Allow: mcpoauth.Allow{InsecureHTTP: true}}
		if _, err := w.open(o).BeginLogin(t.Context(), "http://app.example/back"); err != nil {
			t.Errorf("allowed: %v", err)
		}
	})
}

// TestEachIssuerHasItsOwnClient: an MCP server names another authorization server, which gets neither the client of the
// first one nor its tokens; the first one's client is used again when the server comes back to it.
func TestEachIssuerHasItsOwnClient(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = "client_secret_post" })
		next := w.net.authtest(t, authtest.Options{Lenient: true})
		next.Set(func(f *authtest.Faults) { f.AnyResource = true })
		c, _ := w.loggedIn(mcpoauth.Options{})
		first := stored(t, w.st, c).Registration.ClientID
		login := func(issuer string) {
			t.Helper()
			w.srv.Set(func(f *authtest.Faults) { f.AuthorizationServers = []string{issuer} })
			if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			if rec := stored(t, w.st, c); rec.Issuer != issuer || rec.Registration.Issuer != issuer || (rec.Registration.ClientID == first) != (issuer == w.srv.Issuer()) {
				t.Errorf("at %s the login has the client %s of %s", issuer, rec.Registration.ClientID, rec.Registration.Issuer)
			}
		}
		login(next.Issuer())
		for _, r := range next.Requests() {
			for _, secret := range append(w.srv.Secrets(), first) {
				if strings.Contains(r.Query.Encode()+r.Form.Encode()+string(r.Body)+r.Header.Get("Authorization"), url.QueryEscape(secret)) {
					t.Errorf("%s has %.12s… of the first authorization server", r.Leg, secret)
				}
			}
		}
		login(w.srv.Issuer())
		if w.srv.Count("registration") != 1 || next.Count("registration") != 1 {
			t.Errorf("%d registrations, and %d at the other", w.srv.Count("registration"), next.Count("registration"))
		}
	})
}

// TestNoAddressHoldsACredential: tokens, codes and secrets travel in headers and bodies, over a whole life with DPoP and
// without.
func TestNoAddressHoldsACredential(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]authtest.Options{"bearer": {}, "DPoP": {DPoP: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, o, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = "client_secret_post" })
				c, _ := w.loggedIn(mcpoauth.Options{})
				ping(t, c)
				w.srv.Expire()
				ping(t, c)
				time.Sleep(10 * time.Minute) // until then another login may be under way with the client
				if res, err := c.Logout(t.Context()); err != nil || !res.Revoked || !res.ClientDeleted {
					t.Fatalf("%+v, %v", res, err)
				}
				seen := map[string]bool{}
				for _, r := range w.srv.Requests() {
					seen[r.Leg] = true
					for _, secret := range w.srv.Secrets() {
						// The server's list has the states of logins as well, which belong into an address.
						issued := slices.ContainsFunc([]string{"access-", "refresh-", "code-", "secret-", "manage-"}, func(kind string) bool { return strings.HasPrefix(secret, kind) })
						if issued && strings.Contains(r.Path+"?"+r.Query.Encode()+r.Header.Get("Referer"), url.QueryEscape(secret)) {
							t.Errorf("the address of %s has %.12s…", r.Leg, secret)
						}
					}
				}
				for _, leg := range []string{"mcp", "authorize", "token", "refresh", "revocation", "client-deletion"} {
					if !seen[leg] {
						t.Errorf("there was no %s", leg)
					}
				}
			})
		})
	}
}

// TestALoginIsJudgedByTheMetadataOfItsBeginning: the expected issuer, and whether it was promised, are recorded before
// the browser is sent away. What the metadata says later changes neither.
func TestALoginIsJudgedByTheMetadataOfItsBeginning(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		later  func(m map[string]any)
		change func(callback url.Values)
		says   string // "" is a login
	}{
		"the promise is withdrawn": {func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }, func(v url.Values) { v.Del("iss") }, "RFC 9207"},
		"the issuer changes":       {func(m map[string]any) { m["issuer"] = "https://evil.example" }, func(v url.Values) { v.Set("iss", "https://evil.example") }, "another authorization server"},
		"it stays":                 {func(m map[string]any) { m["issuer"] = "https://evil.example" }, func(url.Values) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				login := w.begin(w.open(mcpoauth.Options{}), webCallback)
				w.srv.Set(func(f *authtest.Faults) { f.ServerMetadata = tc.later })
				tc.change(login.callback)
				_, err := w.open(mcpoauth.Options{}).FinishLogin(t.Context(), login.id, login.callback)
				if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) || w.srv.Count("token") != map[bool]int{true: 1}[tc.says == ""] {
					t.Errorf("%v after %d token requests", err, w.srv.Count("token"))
				}
			})
		})
	}
}

// TestALoginAnewKeepsTheScopes that were requested before and granted: what a step-up brought is not lost with the
// refresh token. What was never granted, and what the caller leaves out, is not requested.
func TestALoginAnewKeepsTheScopes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o      mcpoauth.Options
		before func(*record.Login)
		want   string
	}{
		"after a step-up":                  {want: "mcp:read offline_access mcp:write"},
		"granted, and never requested":     {before: func(r *record.Login) { r.RequestedScopes = []string{"mcp:read"} }, want: "mcp:read offline_access"},
		"requested, and never granted":     {before: func(r *record.Login) { r.Scopes = []string{"mcp:read"} }, want: "mcp:read offline_access"},
		"the server does not say which":    {before: func(r *record.Login) { r.Scopes = nil }, want: "mcp:read offline_access mcp:write"},
		"the caller chooses":               {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}}, want: "mcp:read offline_access"},
		"the caller drops":                 {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Drop: []string{"mcp:write"}}}, want: "mcp:read offline_access"},
		"at another authorization server":  {before: func(r *record.Login) { r.Issuer = "https://other.example" }, want: "mcp:read offline_access"},
		"the challenge names some of them": {before: func(r *record.Login) { r.RequestedScopes = []string{"mcp:read", "mcp:write"} }, want: "mcp:read mcp:write offline_access"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, _ := w.loggedIn(mcpoauth.Options{})
				if status, err := call(c, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note"}}`); status != http.StatusOK {
					t.Fatalf("status %d, %v", status, err)
				}
				if tc.before != nil {
					w.change(c, tc.before)
				}
				tc.o.Prompt = w.net.person(t, &w.asked)
				if _, err := w.open(tc.o).Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
					t.Fatal(err)
				}
				all := asked(w.srv)
				got := strings.Fields(all[len(all)-1].Get("scope"))
				want := strings.Fields(tc.want)
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("requested %q, want %q", got, want)
				}
			})
		})
	}
}

// TestADemandForScopesThatNamesNone is met by one login, as each other demand.
func TestADemandForScopesThatNamesNone(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		w.answer("mcp", func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
			rw.WriteHeader(http.StatusForbidden)
			return true
		})
		for range 3 {
			if _, err := tryPing(c); !isScopeError(err) {
				t.Errorf("got %v", err)
			}
		}
		if n := w.asked.Load() - 1; n != 1 {
			t.Errorf("%d logins", n)
		}
	})
}

// TestAPushedRequestIsBoundToTheKey: the thumbprint of the key is pushed with the rest, and no request of the browser has
// it (RFC 9449 section 10.1).
func TestAPushedRequestIsBoundToTheKey(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{DPoP: true}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) { f.RequirePAR = true })
		c, _ := w.loggedIn(mcpoauth.Options{})
		if status := ping(t, c); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		pushed := 0
		for _, r := range w.srv.Requests() {
			if r.Leg == "par" {
				pushed++
				if len(r.Form.Get("dpop_jkt")) != 43 || r.Form.Get("resource") != w.srv.MCPURL() {
					t.Errorf("pushed %v", r.Form)
				}
			}
			if r.Leg == "authorize" && r.Query.Has("dpop_jkt") {
				t.Errorf("the browser brought %v", r.Query)
			}
		}
		if pushed != 1 {
			t.Errorf("%d pushed requests", pushed)
		}
	})
}

// TestTheIssuerOfEndpointsByHand is the one that the resource announces, or that is pinned: without metadata a callback is
// compared to that (RFC 9207 section 2.4).
func TestTheIssuerOfEndpointsByHand(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://tools.example.com/mcp", "https://as.example.com"
	for name, tc := range map[string]struct {
		iss, pinned string
		good        bool
	}{
		"none": {good: true}, "the announced one": {iss: issuer, good: true}, "another one": {iss: "https://evil.example"},
		"the pinned one": {iss: "https://b.example.com", pinned: "https://b.example.com", good: true}, "the announced one, another is pinned": {iss: issuer, pinned: "https://b.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &provider{
				t: t, mcp: mcp, authorize: issuer + "/a", token: issuer + "/t", client: "by-hand", method: "none", answer: usualAnswer, rotating: true, iss: tc.iss,
				documents: map[string]any{"https://tools.example.com/.well-known/oauth-protected-resource/mcp": prmAt(mcp, issuer)},
			}
			o := mcpoauth.Options{
				Client: mcpoauth.ClientOptions{ID: p.client},
				Server: mcpoauth.ServerOptions{Issuer: tc.pinned, Endpoints: mcpoauth.Endpoints{Authorization: p.authorize, Token: p.token}},
			}
			if tc.good {
				p.wants(p.use(o), once)
				return
			}
			if err := p.refused(o, ""); err == nil || !strings.Contains(err.Error(), "another authorization server") || slices.Contains(p.requests, "authorization_code") {
				t.Errorf("%v after %v", err, p.requests)
			}
		})
	}
}

// TestAnotherNameInTheCallback is accepted if a person has confirmed it, or if it is how the metadata spells the issuer
// behind a proxy that ends TLS, and no other name is.
func TestAnotherNameInTheCallback(t *testing.T) {
	t.Parallel()
	const mcp, issuer = "https://tools.example.com/mcp", "https://login.example.com"
	for name, tc := range map[string]struct {
		confirmed, documented, iss string
		good                       bool
	}{
		"the confirmed one":                 {confirmed: "https://old.example.com", iss: "https://old.example.com", good: true},
		"the issuer, another is too":        {confirmed: "https://old.example.com", iss: issuer, good: true},
		"a third one":                       {confirmed: "https://old.example.com", iss: "https://evil.example"},
		"the confirmed one's parent":        {confirmed: "https://old.example.com/a", iss: "https://old.example.com"},
		"none, though promised":             {confirmed: "https://old.example.com"},
		"the metadata's spelling":           {documented: "http://login.example.com", iss: "http://login.example.com", good: true},
		"the right one":                     {documented: "http://login.example.com", iss: issuer, good: true},
		"a spelling of nobody's":            {documented: "http://login.example.com", iss: "http://login.example.com:80"},
		"http, and the metadata says https": {iss: "http://login.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			p := inOrder(t, mcp, issuer)
			p.iss = tc.iss
			if tc.documented != "" {
				m := metadataOf(issuer)
				m["issuer"] = tc.documented
				p.documents[issuer+"/.well-known/oauth-authorization-server"] = m
			}
			o := mcpoauth.Options{Server: mcpoauth.ServerOptions{CallbackIssuer: tc.confirmed}}
			if tc.good {
				p.wants(p.use(o), registeredOnce)
				return
			}
			if err := p.refused(o, ""); err == nil || !strings.Contains(err.Error(), "RFC 9207") || slices.Contains(p.requests, "authorization_code") {
				t.Errorf("%v after %v", err, p.requests)
			}
		})
	}
}

// TestAnErrorOfAnotherIssuerIsNotShown: neither its code nor its description is in the error, in a log or a trace.
func TestAnErrorOfAnotherIssuerIsNotShown(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) { f.WrongIssuer, f.AuthorizeError = "https://evil.example", "call_this_number" })
		var log screen // discovery writes from several goroutines
		_, err := w.open(mcpoauth.Options{
			Prompt: w.net.person(t, &w.asked), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Trace: &mcpoauth.Trace{Note: func(_ context.Context, n mcpoauth.Note) { _, _ = log.Write([]byte(n.Text)) }},
		}).Login(t.Context(), nil)
		var e *mcpoauth.Error
		if !errorAt(err, mcpoauth.OpAuthorization, &e) || e.Code != "" || e.Description != "" || !strings.Contains(err.Error(), "RFC 9207") {
			t.Fatalf("got %+v", err)
		}
		// The server describes each such error in the same words.
		if text := log.String() + err.Error() + mcpoauth.Hint(err); strings.Contains(text, "call_this_number") || strings.Contains(text, "as the test wants it") || log.String() == "" {
			t.Errorf("shown: %s", text)
		}
	})
}
