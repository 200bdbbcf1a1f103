package mcpoauth_test

import (
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// Which scopes are asked for: what a person says, else what the challenge says, else what the resource lists,
// else none. Nothing is made up.
//
// It has a row in docs/compatibility.md.
func TestWhichScopesAreAskedFor(t *testing.T) {
	t.Parallel()
	challenged := `Bearer scope="c", error="invalid_token"`
	for name, tc := range map[string]struct {
		listed    []string // of the resource; nil leaves the member out
		challenge string
		o         mcpoauth.Options
		want      string // "-": no parameter at all
	}{
		"the resource's list":          {[]string{"a", "b"}, "", mcpoauth.Options{}, "a b"},
		"an empty list":                {[]string{}, "", mcpoauth.Options{}, "-"},
		"nothing is announced":         {nil, "", mcpoauth.Options{}, "-"},
		"the challenge's":              {[]string{"a", "b"}, challenged, mcpoauth.Options{}, "c"},
		"a person's win":               {[]string{"a", "b"}, challenged, mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"x"}}}, "x"},
		"a person wants none":          {[]string{"a", "b"}, challenged, mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{}}}, "-"},
		"one more":                     {[]string{"a", "b"}, challenged, mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Add: []string{"y"}}}, "c y"},
		"one less":                     {[]string{"a", "b", "bad"}, "", mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Drop: []string{"bad"}}}, "a b"},
		"a list with one scope twice":  {[]string{"a", "a"}, "", mcpoauth.Options{}, "a"},
		"the server lists many others": {[]string{"a"}, "", mcpoauth.Options{}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			const mcp, issuer = "https://tools.example.com/mcp", "https://login.example.com"
			p := inOrder(t, mcp, issuer)
			p.challenge = tc.challenge
			prm := prmAt(mcp, issuer)
			if tc.listed != nil {
				prm["scopes_supported"] = tc.listed
			}
			p.documents["https://tools.example.com/.well-known/oauth-protected-resource/mcp"] = prm
			m := metadataOf(issuer)
			m["scopes_supported"] = []string{"openid", "profile", "email", "a", "b", "c", "x", "y"}
			p.documents[issuer+"/.well-known/oauth-authorization-server"] = m
			p.refuses = func(leg string, form url.Values) string {
				got := "-"
				if form.Has("scope") {
					got = form.Get("scope")
				}
				if leg == "authorize" && got != tc.want {
					t.Errorf("asked for %q, want %q", got, tc.want)
				}
				return ""
			}
			p.wants(p.use(tc.o), registeredOnce)
		})
	}
}

// One scope of those that the resource lists is unknown to the authorization server.
//
// It has a row in docs/compatibility.md.
func TestAScopeThatTheServerDoesNotKnow(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.ResourceScopes = []string{"mcp:read", "mcp:bad"} })
	o := mcpoauth.Options{Prompt: (&person{srv: srv}).prompt}
	_, err := newClient(t, srv.MCPURL(), o).Login(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "mcp:bad") || !strings.Contains(mcpoauth.Hint(err), "--drop-scope") {
		t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
	}
	o.Scopes.Drop = []string{"mcp:bad"}
	if s := ping(t, newClient(t, srv.MCPURL(), o)); s != 200 {
		t.Errorf("status %d", s)
	}
}

// Some servers give refresh tokens to those who ask for offline_access and to nobody else; some know no such
// scope and refuse it.
//
// It has a row in docs/compatibility.md.
func TestOfflineAccess(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		known, needed bool
		o             mcpoauth.Options
		asks          bool
		fails         bool
		refreshes     bool
	}{
		"needed and listed":       {known: true, needed: true, asks: true, refreshes: true},
		"not known":               {refreshes: true},
		"not known, but asked":    {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Always}}, asks: true, fails: true},
		"needed, but not wanted":  {known: true, needed: true, o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Never}}},
		"listed, and not needed":  {known: true, asks: true, refreshes: true},
		"needed, of one's choice": {known: true, needed: true, o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read", "offline_access"}}}, asks: true, refreshes: true},
	} {
		t.Run(name, func(t *testing.T) {
			scopes := []string{"mcp:read"}
			if tc.known {
				scopes = append(scopes, "offline_access")
			}
			srv := authtest.New(t, &authtest.Options{Scopes: scopes, RefreshNeedsOfflineAccess: tc.needed})
			var notes []string
			tc.o.Prompt, tc.o.Trace = (&person{srv: srv}).prompt, &mcpoauth.Trace{Note: func(_ context.Context, n mcpoauth.Note) { notes = append(notes, n.Text) }}
			c := newClient(t, srv.MCPURL(), tc.o)
			_, err := c.Login(t.Context(), nil)
			if (err != nil) != tc.fails {
				t.Fatal(err)
			}
			for _, q := range asked(srv) {
				offered := slices.Contains(strings.Fields(q.Get("scope")), "offline_access")
				if offered != tc.asks || q.Has("prompt") {
					t.Errorf("asked for %q, prompt %q", q.Get("scope"), q.Get("prompt"))
				}
			}
			if tc.fails {
				return
			}
			st, err := c.Status(t.Context())
			if err != nil || st.CanRefresh != tc.refreshes {
				t.Errorf("%+v, %v", st, err)
			}
			said := slices.ContainsFunc(notes, func(s string) bool { return strings.Contains(s, "no refresh token") })
			if said == tc.refreshes {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

// TestScopesOfARegistration: all that the server lists, so that a step-up needs no other client, unless it lists more than
// fifty.
func TestScopesOfARegistration(t *testing.T) {
	t.Parallel()
	for _, n := range []int{50, 51} {
		inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
			w.srv.Set(func(f *authtest.Faults) {
				f.ServerMetadata = func(m map[string]any) {
					scopes := []string{"mcp:read", "mcp:write", "offline_access"}
					m["scopes_supported"] = append(scopes, slices.Repeat([]string{"mcp:write"}, n-3)...)
				}
			})
			w.loggedIn(mcpoauth.Options{})
			for _, r := range w.srv.Requests() {
				if r.Leg == "registration" && strings.Contains(string(r.Body), "mcp:write") != (n == 50) {
					t.Errorf("of %d scopes it registered %s", n, r.Body)
				}
			}
		})
	}
}

// TestOfflineAccessIsSought where it is what brings a refresh token: in a login with scopes of a person's choice, and after
// a login that brought none; with consent only where the login before brought none without.
//
// It has a row in docs/compatibility.md.
func TestOfflineAccessIsSought(t *testing.T) {
	t.Parallel()
	type login struct{ scope, prompt string }
	for name, tc := range map[string]struct {
		srv       authtest.Options
		announced []string
		o         mcpoauth.Options
		// logins are made one after the other; the last one brings a refresh token.
		logins []login
		hint   string // before the last one
	}{
		"--scope":           {announced: []string{"mcp:read"}, o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}}, logins: []login{{"mcp:read offline_access", ""}}},
		"nothing announced": {announced: []string{}, logins: []login{{"", ""}, {"mcp:read offline_access", ""}, {"mcp:read offline_access", ""}}, hint: "--offline-access always"},
		"no scopes at all":  {srv: authtest.Options{Scopes: []string{"offline_access", "openid"}, RequiredScopes: []string{}}, announced: []string{}, logins: []login{{"offline_access", ""}}},
		"consent is needed": {srv: authtest.Options{OfflineNeedsConsent: true}, announced: []string{"mcp:read"}, logins: []login{{"mcp:read offline_access", ""}, {"mcp:read offline_access", "consent"}, {"mcp:read offline_access", "consent"}}, hint: "prompt=consent"},
		"a person's prompt": {srv: authtest.Options{OfflineNeedsConsent: true}, announced: []string{"mcp:read"}, o: mcpoauth.Options{Server: mcpoauth.ServerOptions{AuthorizeParams: url.Values{"prompt": {"consent"}}}}, logins: []login{{"mcp:read offline_access", "consent"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.srv.RefreshNeedsOfflineAccess = true
			inWorld(t, tc.srv, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) { f.ResourceScopes = tc.announced })
				tc.o.Prompt = w.net.person(t, &w.asked)
				for i, want := range tc.logins {
					c := w.open(tc.o)
					if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
						t.Fatal(err)
					}
					all := asked(w.srv)
					if q := all[len(all)-1]; q.Get("scope") != want.scope || q.Get("prompt") != want.prompt {
						t.Errorf("login %d requested %q, prompt %q", i+1, q.Get("scope"), q.Get("prompt"))
					}
					st, err := c.Status(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					first := len(tc.logins) > 1 && i == 0
					if st.CanRefresh == first || first && !strings.Contains(st.RefreshHint, tc.hint) || !first && st.RefreshHint != "" {
						t.Errorf("login %d: %+v", i+1, st)
					}
				}
			})
		})
	}
}

// TestConsentThatDoesNotHelp is not asked for again, and never at a provider that needs none.
func TestConsentThatDoesNotHelp(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(doc map[string]any) { delete(doc, "refresh_token") } })
		o := mcpoauth.Options{Prompt: w.net.person(t, &w.asked)}
		for i, want := range []string{"", "consent", ""} {
			if _, err := w.open(o).Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			if q := asked(w.srv)[i]; q.Get("prompt") != want {
				t.Errorf("login %d: prompt %q", i+1, q.Get("prompt"))
			}
		}
	})
	p := inOrder(t, "https://tools.example.com/mcp", "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000001/v2.0")
	m := metadataOf(p.iss)
	m["scopes_supported"] = []string{"openid", "offline_access"}
	p.documents[p.iss+"/.well-known/oauth-authorization-server"] = m
	p.documents["https://login.microsoftonline.com/.well-known/oauth-authorization-server/00000000-0000-0000-0000-000000000001/v2.0"] = m
	p.answer = func(n int) (string, string) {
		return "application/json", `{"access_token":"access-1","token_type":"Bearer","expires_in":3600}`
	}
	p.refuses = func(leg string, form url.Values) string {
		if leg == "authorize" && form.Has("prompt") {
			t.Errorf("prompt %q", form.Get("prompt"))
		}
		return ""
	}
	c := newClient(t, p.mcp, mcpoauth.Options{Network: mcpoauth.NetworkOptions{HTTPClient: clientOf(p)}, Prompt: p.person, Scopes: mcpoauth.ScopeOptions{Request: []string{"api"}}})
	for range 2 {
		if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestANonceGoesWithOpenID, and the ID token must have it: some providers insist on it, and it binds the ID token to the
// login.
//
// It has a row in docs/compatibility.md.
func TestANonceGoesWithOpenID(t *testing.T) {
	t.Parallel()
	openid := mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Add: []string{"openid"}}}
	own := openid
	own.Server.AuthorizeParams = url.Values{"nonce": {"mine"}}
	idToken := func(claims string) func(map[string]any) {
		return func(doc map[string]any) {
			doc["id_token"] = "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "."
		}
	}
	for name, tc := range map[string]struct {
		o      mcpoauth.Options
		answer func(map[string]any)
		nonce  bool
		fails  bool
	}{
		"openid":                     {o: openid, nonce: true},
		"another nonce":              {o: openid, nonce: true, answer: idToken(`{"nonce":"another"}`), fails: true},
		"no nonce in the ID token":   {o: openid, nonce: true, answer: idToken(`{}`)},
		"an ID token nobody reads":   {o: openid, nonce: true, answer: func(doc map[string]any) { doc["id_token"] = "a.b.c.d.e" }},
		"no ID token":                {o: openid, nonce: true, answer: func(doc map[string]any) { delete(doc, "id_token") }},
		"a nonce of one's own":       {o: own, nonce: true},
		"without openid, there none": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{Scopes: []string{"mcp:read", "openid"}}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) { f.NonceRequired, f.TokenAnswer = true, tc.answer })
				tc.o.Prompt = w.net.person(t, &w.asked)
				_, err := w.open(tc.o).Login(t.Context(), nil)
				if (err != nil) != tc.fails || tc.fails && !strings.Contains(err.Error(), "nonce") {
					t.Errorf("%v", err)
				}
				if q := asked(w.srv)[0]; q.Has("nonce") != tc.nonce || tc.nonce && len(q.Get("nonce")) < 40 && q.Get("nonce") != "mine" {
					t.Errorf("nonce %q", q.Get("nonce"))
				}
			})
		})
	}
}
