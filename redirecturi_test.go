package mcpoauth_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// withoutIss is a provider that does not name itself in its responses.
func withoutIss(t *testing.T, mcp, issuer string) *provider {
	p := inOrder(t, mcp, issuer)
	p.iss = ""
	m := metadataOf(issuer)
	delete(m, "authorization_response_iss_parameter_supported")
	p.documents[issuer+"/.well-known/oauth-authorization-server"] = m
	return p
}

// TestAResponseOfAnotherServer (mix-up, RFC 9700 section 4.4): a hostile authorization server sends the browser on to an
// honest one, with the client that the person has there. The honest one's response comes to its own redirect URI, and
// is not taken for the hostile one's.
func TestAResponseOfAnotherServer(t *testing.T) {
	t.Parallel()
	honest := withoutIss(t, "https://mcp.honest.example/mcp", "https://as.honest.example")
	hostile := withoutIss(t, "https://mcp.hostile.example/mcp", "https://as.hostile.example")
	var posted []string
	hc := &http.Client{Transport: sends(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Host, "honest") {
			return honest.RoundTrip(r)
		}
		if r.Body != nil && r.URL.Path == "/token" {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			posted = append(posted, string(body))
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		return hostile.RoundTrip(r)
	})}
	st := memstore.New()
	var atHonest *url.URL
	options := func(prompt mcpoauth.Prompt) mcpoauth.Options {
		return mcpoauth.Options{Store: st, Prompt: prompt, Network: mcpoauth.NetworkOptions{HTTPClient: hc}}
	}
	if _, err := newClient(t, honest.mcp, options(func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		var err error
		if atHonest, err = url.Parse(lp.RedirectURI); err != nil {
			return nil, err
		}
		return honest.person(ctx, lp)
	})).Login(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	mixUp := func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		shown, err := url.Parse(lp.URL)
		if err != nil {
			return nil, err
		}
		at, err := url.Parse(lp.RedirectURI)
		if err != nil {
			return nil, err
		}
		if at.Path == atHonest.Path || !strings.HasPrefix(at.Path, "/callback/") || !strings.HasPrefix(atHonest.Path, "/callback/") {
			t.Errorf("the redirect URIs are %s and %s", at, atHonest)
		}
		// The honest server accepts its own redirect URI, at any port (RFC 8252 section 7.3).
		stray := *at
		stray.Path = atHonest.Path
		stray.RawQuery = url.Values{"code": {"code-of-the-honest-server"}, "state": {shown.Query().Get("state")}}.Encode()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, stray.String(), http.NoBody)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusNotFound {
			t.Errorf("the response of the other server: status %d", resp.StatusCode)
		}
		return hostile.person(ctx, lp) // the login goes on
	}
	if _, err := newClient(t, hostile.mcp, options(mixUp)).Login(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if len(posted) != 1 || strings.Contains(posted[0], "code-of-the-honest-server") {
		t.Errorf("the hostile server got %d token requests", len(posted))
	}
}

// TestWhichRedirectURIsAreOneIssuersOwn: those of clients that are registered dynamically, unless the response names the
// issuer or a person has chosen the path.
func TestWhichRedirectURIsAreOneIssuersOwn(t *testing.T) {
	t.Parallel()
	const issuer = "https://as.example.com"
	for name, tc := range map[string]struct {
		o       mcpoauth.Options
		promise bool
		client  string
		own     bool
	}{
		"a registration":             {own: true},
		"a chosen host":              {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost"}}, own: true},
		"a server that names itself": {promise: true},
		"a chosen path":              {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Path: "/callback"}}},
		"a client that is known":     {o: mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "known"}}, client: "known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := withoutIss(t, "https://mcp.example.com/mcp", issuer)
			p.client = tc.client
			if tc.promise {
				p.iss = issuer
				p.documents[issuer+"/.well-known/oauth-authorization-server"] = metadataOf(issuer)
			}
			var at string
			tc.o.Store, tc.o.Network.HTTPClient = memstore.New(), clientOf(p)
			tc.o.Prompt = func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
				at = lp.RedirectURI
				return p.person(ctx, lp)
			}
			c := newClient(t, p.mcp, tc.o)
			if _, err := c.Login(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(at)
			if err != nil || (u.Path != "/callback") != tc.own || !strings.HasPrefix(u.Path, "/callback") {
				t.Errorf("the redirect URI is %s", at)
			}
			// The next login has the same one, and needs no other client.
			registered := len(p.requests)
			if err := login(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if again, err := url.Parse(at); err != nil || again.Path != u.Path || slices.Contains(p.requests[registered:], "register") {
				t.Errorf("then it is %s, requests %v", at, p.requests[registered:])
			}
		})
	}
}

// TestAServerThatRefusesAnotherPath is given the plain redirect URI, and not asked again for another one.
//
// It has a row in docs/compatibility.md.
func TestAServerThatRefusesAnotherPath(t *testing.T) {
	t.Parallel()
	plain := func(m map[string]any) bool {
		uris, _ := m["redirect_uris"].([]any)
		for _, raw := range uris {
			u, err := url.Parse(raw.(string))
			if err != nil || u.Path != "/callback" {
				return false
			}
		}
		return true
	}
	for name, fault := range map[string]func(*authtest.Faults){
		"by an error": func(f *authtest.Faults) {
			f.RegistrationPolicy = func(m map[string]any) (int, string, string) {
				if plain(m) {
					return 0, "", ""
				}
				return 400, "invalid_redirect_uri", "only /callback"
			}
		},
		"by registering another": func(f *authtest.Faults) {
			f.RegistrationAnswer = func(m map[string]any) {
				var uris []string
				all, _ := m["redirect_uris"].([]string)
				for _, raw := range all {
					base, _, _ := strings.Cut(raw, "/callback")
					uris = append(uris, base+"/callback")
				}
				m["redirect_uris"] = uris
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) {
					fault(f)
					f.NoIssuer = true
					f.ServerMetadata = func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }
				})
				notes, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{})
				if err != nil || !notes.has("could be taken for that of another server") {
					t.Fatalf("%v, %v", err, notes.lines)
				}
				before := w.srv.Count("registration")
				if notes, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{Force: true}); err != nil || w.srv.Count("registration") != before || notes.has("could be taken") {
					t.Errorf("the next login: %v, %d registrations, %v", err, w.srv.Count("registration")-before, notes.lines)
				}
				for _, q := range asked(w.srv) {
					if u, err := url.Parse(q.Get("redirect_uri")); err != nil || u.Path != "/callback" {
						t.Errorf("the browser came back to %s", q.Get("redirect_uri"))
					}
				}
				// A client that is made anew is tried with a redirect URI of the issuer's own.
				w.srv.Set(func(f *authtest.Faults) { f.RegistrationPolicy, f.RegistrationAnswer = nil, nil })
				if notes, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{NewClient: true}); err != nil {
					t.Errorf("a new client: %v, %v", err, notes.lines)
				}
				all := asked(w.srv)
				if u, err := url.Parse(all[len(all)-1].Get("redirect_uri")); err != nil || !strings.HasPrefix(u.Path, "/callback/") {
					t.Errorf("a new client: %s", u)
				}
			})
		})
	}
}
