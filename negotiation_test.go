package mcpoauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// notebook keeps the notes of a Client.
type notebook struct {
	mu    sync.Mutex
	lines []string
}

func (b *notebook) trace() *mcpoauth.Trace {
	return &mcpoauth.Trace{Note: func(_ context.Context, n mcpoauth.Note) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lines = append(b.lines, string(n.Code)+": "+n.Text)
	}}
}

func (b *notebook) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(strings.Join(b.lines, "\n"), text)
}

// try logs in with new notes.
func (w *world) try(o mcpoauth.Options, lo mcpoauth.LoginOptions) (*notebook, error) {
	w.t.Helper()
	notes := &notebook{}
	o.Trace = notes.trace()
	if o.Prompt == nil {
		o.Prompt = w.net.person(w.t, &w.asked)
	}
	_, err := w.open(o).Login(w.t.Context(), &lo)
	return notes, err
}

// sent returns the metadata of the registrations, and of the changes, that the server got.
func (w *world) sent(leg string) []map[string]any {
	w.t.Helper()
	var out []map[string]any
	for _, r := range w.srv.Requests() {
		if r.Leg != leg {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal(r.Body, &m); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func scopeOf(m map[string]any) []string {
	all, _ := m["scope"].(string)
	return strings.Fields(all)
}

// Keycloak's policies say insufficient_scope of whatever they refuse, and it lists openid as a scope that no client may
// register.
//
// It has a row in docs/compatibility.md.
func TestTheFirstLoginAtAServerWithPolicies(t *testing.T) {
	t.Parallel()
	const rejected = "Policy '%s' rejected request to client-registration service. Details: %s"
	scopes := func(allowed ...string) func(map[string]any) (int, string, string) {
		return func(m map[string]any) (int, string, string) {
			for _, s := range scopeOf(m) {
				if !slices.Contains(allowed, s) {
					return 403, "insufficient_scope", fmt.Sprintf(rejected, "Allowed Client Scopes", "Not permitted to use specified clientScope")
				}
			}
			return 0, "", ""
		}
	}
	host := func(host string) func(map[string]any) (int, string, string) {
		return func(m map[string]any) (int, string, string) {
			all := fmt.Sprint(m["redirect_uris"], m["client_uri"])
			if strings.Count(all, "://") != strings.Count(all, "://"+host) {
				return 403, "insufficient_scope", fmt.Sprintf(rejected, "Trusted Hosts", "URI doesn't match any trusted host or trusted domain")
			}
			return 0, "", ""
		}
	}
	for name, tc := range map[string]struct {
		policy        func(map[string]any) (int, string, string)
		o             mcpoauth.Options
		registrations int
		note          string
	}{
		"openid is refused, and nobody asked for it": {policy: scopes("mcp:read", "mcp:write", "offline_access"), registrations: 1},
		"a scope that this login does not need":      {policy: scopes("mcp:read", "offline_access"), registrations: 3, note: "with the scopes of this login alone"},
		"one spelling":                               {policy: host("127.0.0.1"), registrations: 2, note: "with one spelling of the redirect URI"},
		"the other spelling":                         {policy: host("localhost"), o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost"}}, registrations: 2, note: "with one spelling of the redirect URI"},
		"a page elsewhere":                           {policy: host("127.0.0.1"), o: mcpoauth.Options{Client: mcpoauth.ClientOptions{Metadata: map[string]any{"client_uri": "https://me.example"}}}, registrations: 3, note: "without client_uri"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{Scopes: []string{"openid", "mcp:read", "mcp:write", "offline_access"}}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) {
					f.RegistrationPolicy, f.ClientScopes, f.ResourceScopes = tc.policy, true, []string{"mcp:read"}
				})
				notes, err := w.try(tc.o, mcpoauth.LoginOptions{})
				if err != nil || w.asked.Load() != 1 || w.srv.Count("registration") != tc.registrations || w.srv.Count("client-change") != 0 || !notes.has(tc.note) {
					t.Errorf("%v: %d prompts, %d registrations, %d changes, %q", err, w.asked.Load(), w.srv.Count("registration"), w.srv.Count("client-change"), notes.lines)
				}
				in, err := w.open(tc.o).Inspect(t.Context())
				if err != nil || slices.Contains(ids(in), "registration-changed") != (tc.registrations > 1) {
					t.Errorf("inspect: %q, %v", ids(in), err)
				}
			})
		})
	}
}

// TestOpenIDIsRegisteredOnlyOnRequest: the first registration has it if the login does; what is left of a refusal does
// not, unless a person asked.
func TestOpenIDIsRegisteredOnlyOnRequest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o         mcpoauth.Options
		lo        mcpoauth.LoginOptions
		resource  []string
		registers string // the scopes of the last registration, which is refused
	}{
		"the resource lists it":     {resource: []string{"mcp:read", "openid"}, registers: "mcp:read"},
		"by option":                 {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"openid", "mcp:read"}}}, registers: "openid mcp:read"},
		"by option, beside others":  {o: mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Add: []string{"openid"}}}, resource: []string{"mcp:read"}, registers: "mcp:read openid"},
		"for one login":             {lo: mcpoauth.LoginOptions{Scopes: []string{"openid"}}, resource: []string{"mcp:read"}, registers: "mcp:read openid"},
		"the server alone lists it": {resource: []string{"mcp:read"}, registers: "mcp:read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{Scopes: []string{"openid", "mcp:read", "mcp:write"}}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) {
					f.ResourceScopes = tc.resource
					f.RegistrationPolicy = func(m map[string]any) (int, string, string) {
						if m["scope"] == nil {
							return 0, "", ""
						}
						return 400, "invalid_client_metadata", "these scopes are not allowed"
					}
				})
				if _, err := w.try(tc.o, tc.lo); err != nil {
					t.Fatal(err)
				}
				tries := w.sent("registration")
				if last := strings.Join(scopeOf(tries[len(tries)-2]), " "); last != tc.registers {
					t.Errorf("registered %q, then nothing; want %q", last, tc.registers)
				}
			})
		})
	}
}

// TestARefusedRegistrationSaysWhatWasTried.
func TestARefusedRegistrationSaysWhatWasTried(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) {
			f.RegistrationPolicy = func(map[string]any) (int, string, string) { return 403, "access_denied", "no scope for you" }
		})
		notes, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{})
		var e *mcpoauth.Error
		if !errorAt(err, mcpoauth.OpRegistration, &e) || !strings.Contains(err.Error(), "also with one spelling of the redirect URI, with the scopes of this login alone, without scope") || w.asked.Load() != 0 {
			t.Errorf("%v, %d prompts", err, w.asked.Load())
		}
		if len(notes.lines) != 3 || !notes.has(`registration: the server refused the registration (status 403, access_denied, "no scope for you"); trying it without scope`) {
			t.Errorf("%q", notes.lines)
		}
	})
}

// What an answer to a registration lacks is added before the person is asked (RFC 7592).
//
// It has a row in docs/compatibility.md.
func TestWhatARegistrationLacksIsAdded(t *testing.T) {
	t.Parallel()
	added := func(m map[string]any) bool { return m["client_id"] != nil } // only a change says whose it is
	for name, tc := range map[string]struct {
		faults  func(*authtest.Faults)
		changes int
		note    string
	}{
		"nothing":                  {func(*authtest.Faults) {}, 0, ""},
		"scopes that are not said": {func(f *authtest.Faults) { f.RegistrationAnswer = func(m map[string]any) { delete(m, "scope") } }, 0, ""},
		"scopes": {func(f *authtest.Faults) {
			f.RegistrationPolicy = func(m map[string]any) (int, string, string) {
				if m["scope"] != nil && !added(m) {
					return 400, "invalid_client_metadata", "scope"
				}
				return 0, "", ""
			}
			f.RegistrationAnswer = func(m map[string]any) {
				if m["scope"] == "" {
					m["scope"] = "profile"
				}
			}
		}, 1, "without the scopes mcp:read offline_access; adding them"},
		"a grant type": {func(f *authtest.Faults) {
			n := 0
			f.RegistrationAnswer = func(m map[string]any) {
				if n++; n == 1 {
					m["grant_types"] = []string{"authorization_code"}
				}
			}
			f.ServerMetadata = func(m map[string]any) { m["grant_types_supported"] = []string{"authorization_code", "refresh_token"} }
		}, 1, "without the grant types refresh_token; adding them"},
		"a grant type that the server does not list": {func(f *authtest.Faults) {
			f.RegistrationAnswer = func(m map[string]any) { m["grant_types"] = []string{"authorization_code"} }
			f.ServerMetadata = func(m map[string]any) { m["grant_types_supported"] = []string{"authorization_code"} }
		}, 0, ""},
		"the redirect URI": {func(f *authtest.Faults) { f.ForeignRedirectURIs = []string{"https://proxy.example/callback"} }, 1, "without the redirect URI http://127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) { f.ClientScopes = true; tc.faults(f) })
				notes, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{})
				if err != nil || w.asked.Load() != 1 || w.srv.Count("client-change") != tc.changes || !notes.has(tc.note) {
					t.Errorf("%v: %d prompts, %d changes, %q", err, w.asked.Load(), w.srv.Count("client-change"), notes.lines)
				}
				// It is settled: the next login changes nothing.
				if _, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{Force: true}); err != nil || w.srv.Count("client-change") != tc.changes {
					t.Errorf("the next login: %v, %d changes", err, w.srv.Count("client-change"))
				}
			})
		})
	}
}

// A server that registers other redirect URIs and cannot be corrected leads into a dead end, which shows before a
// browser is opened.
//
// It has a row in docs/compatibility.md.
func TestARegistrationWithOtherRedirectURIs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		uris    any
		managed bool
		hint    string // "" logs in
	}{
		"foreign":               {[]string{"https://proxy.example/callback"}, false, "register a client by hand"},
		"foreign, and stubborn": {[]string{"https://proxy.example/callback"}, true, "register a client by hand"},
		"the other spelling":    {[]string{"http://localhost:1/callback"}, false, "--callback-host localhost"},
		"none":                  {[]string{}, false, ""},
		"null":                  {nil, false, ""},
		"any port":              {[]string{"http://127.0.0.1/callback"}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) {
					f.RegistrationAnswer = func(m map[string]any) {
						if m["redirect_uris"] = tc.uris; !tc.managed {
							delete(m, "registration_client_uri")
						}
					}
				})
				_, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{})
				if tc.hint == "" {
					if err != nil || w.asked.Load() != 1 {
						t.Errorf("%v", err)
					}
					return
				}
				var e *mcpoauth.Error
				if !errorAt(err, mcpoauth.OpRegistration, &e) || !strings.Contains(e.Message, "other redirect URIs") || !strings.Contains(e.Hint, tc.hint) || w.asked.Load() != 0 {
					t.Errorf("%v (%s), %d prompts", err, mcpoauth.Hint(err), w.asked.Load())
				}
				if n := w.registrations(); n != 0 || w.srv.Count("client-deletion") != map[bool]int{true: 1}[tc.managed] {
					t.Errorf("%d registrations are stored, %d deleted", n, w.srv.Count("client-deletion"))
				}
			})
		})
	}
}

// A client that the server no longer has is found by one request, not by a person who waits at a page.
//
// It has a row in docs/compatibility.md.
func TestAClientThatIsGone(t *testing.T) {
	t.Parallel()
	day := func(r *record.Registration) {
		r.ConfirmedAt, r.CreatedAt = time.Now().Add(-25*time.Hour), time.Now().Add(-25*time.Hour)
	}
	unanswered := func(r *record.Registration) { r.Unanswered = true }
	for name, tc := range map[string]struct {
		stored        func(*record.Registration)
		force, forget bool
		fail          int
		reads         int
		registrations int
	}{
		"gone, and forced":               {force: true, forget: true, reads: 2, registrations: 2},
		"gone, not heard of for a day":   {stored: day, forget: true, reads: 2, registrations: 2},
		"gone, after a login in vain":    {stored: unanswered, forget: true, reads: 2, registrations: 2},
		"there, and forced":              {force: true, reads: 1, registrations: 1},
		"there, not heard of for a day":  {stored: day, reads: 1, registrations: 1},
		"there, after a login in vain":   {stored: unanswered, reads: 1, registrations: 1},
		"there, and lately heard of":     {reads: 0, registrations: 1},
		"a server in trouble":            {force: true, fail: 503, reads: 1, registrations: 1},
		"a server that shows nothing":    {force: true, fail: 403, reads: 1, registrations: 1},
		"a server that denies all":       {force: true, fail: 404, reads: 2, registrations: 2},
		"trouble, after one in vain":     {stored: unanswered, fail: 503, reads: 1, registrations: 2},
		"without an address for that":    {stored: func(r *record.Registration) { r.ClientURI = ""; day(r) }, force: true, registrations: 1},
		"without a token for that":       {stored: func(r *record.Registration) { r.AccessToken = ""; day(r) }, force: true, registrations: 1},
		"with an address somewhere else": {stored: func(r *record.Registration) { r.ClientURI = "https://evil.example/c"; day(r) }, force: true, registrations: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				if _, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{}); err != nil {
					t.Fatal(err)
				}
				if tc.stored != nil {
					w.register(tc.stored)
				}
				if tc.forget {
					w.srv.ForgetClients()
				}
				if tc.fail != 0 {
					w.srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{"client-reading": tc.fail} })
				}
				if !tc.force {
					if err := w.open(mcpoauth.Options{}).Clear(t.Context(), nil); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{Force: tc.force}); err != nil || w.asked.Load() != 2 {
					t.Errorf("%v, %d prompts", err, w.asked.Load())
				}
				if w.srv.Count("client-reading") != tc.reads || w.srv.Count("registration") != tc.registrations {
					t.Errorf("%d reads, %d registrations", w.srv.Count("client-reading"), w.srv.Count("registration"))
				}
				if _, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{Force: true}); err != nil || w.srv.Count("registration") != tc.registrations {
					t.Errorf("once more: %v, %d registrations", err, w.srv.Count("registration"))
				}
			})
		})
	}
}

// TestScopesThatNoRegistrationHas: only the server's owner can help, or a login without them.
func TestScopesThatNoRegistrationHas(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) {
			f.ClientScopes = true
			f.RegistrationPolicy = func(m map[string]any) (int, string, string) {
				if slices.Contains(scopeOf(m), "mcp:read") {
					return 403, "insufficient_scope", "Not permitted to use specified clientScope"
				}
				return 0, "", ""
			}
			f.RegistrationAnswer = func(m map[string]any) { m["scope"] = "offline_access" }
		})
		_, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{})
		var e *mcpoauth.Error
		if !errorAt(err, mcpoauth.OpAuthorization, &e) || e.Code != "invalid_scope" || !strings.Contains(e.Hint, "registered this client without mcp:read") || w.srv.Count("registration") != 4 || w.srv.Count("client-change") != 1 {
			t.Errorf("%v (%s), %d registrations, %d changes", err, mcpoauth.Hint(err), w.srv.Count("registration"), w.srv.Count("client-change"))
		}
	})
}

// TestWhatAReadingBrings: a new token or secret replaces the old one at once (RFC 7592 section 2.1).
func TestWhatAReadingBrings(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = "client_secret_post" })
		if _, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{}); err != nil {
			t.Fatal(err)
		}
		w.srv.Set(func(f *authtest.Faults) {
			f.RegistrationAnswer = func(m map[string]any) { m["client_secret"], m["registration_access_token"] = "the next", "manage-next" }
		})
		if _, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{Force: true}); err == nil || w.srv.Count("client-reading") != 1 {
			t.Errorf("%v: the old secret was used", err) // the server does not mean it
		}
		if reg, _, _ := w.registration(); reg.ClientSecret != "the next" || reg.AccessToken != "manage-next" {
			t.Errorf("%q, %q", reg.ClientSecret, reg.AccessToken)
		}
	})
}

// registrations counts those that are stored.
func (w *world) registrations() int {
	n := 0
	for range w.st.List(w.t.Context(), store.Filter{Kind: store.KindRegistration}) {
		n++
	}
	return n
}

// Ctrl-C, a prompt that fails and a program that ends say nothing about the client.
//
// It has a row in docs/compatibility.md.
func TestAbortedLoginsLeaveOneClient(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) {
			f.RegistrationAnswer = func(m map[string]any) { delete(m, "registration_client_uri") }
		})
		failing := errors.New("no screen")
		for i := range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			c := w.open(mcpoauth.Options{Prompt: func(ctx context.Context, _ *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
				if i%2 == 0 {
					return nil, failing
				}
				cancel()
				<-ctx.Done()
				return nil, ctx.Err()
			}})
			if _, err := c.Login(ctx, nil); err == nil {
				t.Fatal("logged in")
			}
			cancel()
		}
		if n := w.srv.Count("registration"); n != 1 {
			t.Errorf("%d registrations", n)
		}
		if _, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{}); err != nil || w.srv.Count("registration") != 1 {
			t.Errorf("%v, %d registrations", err, w.srv.Count("registration"))
		}
	})
}

// TestASuspicionReplacesOneClientADay, where the server cannot be asked.
func TestASuspicionReplacesOneClientADay(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) {
			f.RegistrationAnswer = func(m map[string]any) { delete(m, "registration_client_uri") }
		})
		login := func(lo mcpoauth.LoginOptions, registrations int) *notebook {
			t.Helper()
			lo.Force = true
			notes, err := w.try(mcpoauth.Options{}, lo)
			if err != nil || w.srv.Count("registration") != registrations {
				t.Errorf("%v, %d registrations, want %d", err, w.srv.Count("registration"), registrations)
			}
			return notes
		}
		vain := func(ago time.Duration) {
			w.register(func(r *record.Registration) {
				r.Unanswered = true
				if !r.ReplacedAt.IsZero() {
					r.ReplacedAt = time.Now().Add(-ago)
				}
			})
		}
		login(mcpoauth.LoginOptions{}, 1)
		vain(0)
		login(mcpoauth.LoginOptions{}, 2)
		vain(23 * time.Hour)
		if notes := login(mcpoauth.LoginOptions{}, 2); !notes.has("--new-client") {
			t.Errorf("%q", notes.lines)
		}
		vain(25 * time.Hour)
		login(mcpoauth.LoginOptions{}, 3)
		// A person may always have another one.
		vain(time.Hour)
		login(mcpoauth.LoginOptions{NewClient: true}, 4)
		// That the server refuses what a login asks for is no reason for a client each time.
		w.srv.Set(func(f *authtest.Faults) { f.AuthorizeError = "invalid_scope" })
		for range 3 {
			if _, err := w.try(mcpoauth.Options{}, mcpoauth.LoginOptions{Force: true}); err == nil {
				t.Error("logged in")
			}
		}
		if n := w.srv.Count("registration"); n > 5 {
			t.Errorf("%d registrations", n)
		}
	})
}

// TestHowARegisteredClientAuthenticates is as a person says, or an error.
func TestHowARegisteredClientAuthenticates(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method mcpoauth.AuthMethod
		says   string // of the server, "" for what was asked for
		secret bool   // whether the token request has one
		basic  bool
		option bool // whether the option is refused
	}{
		"none":                             {method: "none"},
		"a secret in the body":             {method: "client_secret_post", secret: true},
		"a secret by Basic":                {method: "client_secret_basic", secret: true, basic: true},
		"a key":                            {method: "private_key_jwt", option: true},
		"a secret that is not given":       {method: "client_secret_post", says: "none", option: true},
		"another way, and the server errs": {method: "client_secret_post", says: "lies", secret: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) {
					switch tc.says {
					case "lies":
						f.RegistrationAnswer = func(m map[string]any) { m["token_endpoint_auth_method"] = "none" }
					default:
						f.RegistrationAuthMethod = tc.says
					}
				})
				o := mcpoauth.Options{Client: mcpoauth.ClientOptions{AuthMethod: tc.method}}
				for range 2 {
					_, err := w.try(o, mcpoauth.LoginOptions{Force: true})
					oe, isOption := errors.AsType[*mcpoauth.OptionError](err)
					if isOption != tc.option || (err != nil) != tc.option || tc.option && oe.Option != "Client.AuthMethod" {
						t.Fatalf("%v", err)
					}
				}
				if tc.option {
					if w.asked.Load() != 0 || w.registrations() != 0 {
						t.Errorf("%d prompts, %d registrations", w.asked.Load(), w.registrations())
					}
					return
				}
				if asked := w.sent("registration")[0]["token_endpoint_auth_method"]; asked != string(tc.method) || w.srv.Count("registration") != 1 {
					t.Errorf("%d registrations with %v", w.srv.Count("registration"), asked)
				}
				for _, r := range w.srv.Requests() {
					if r.Leg == "token" && (r.Form.Has("client_secret") != (tc.secret && !tc.basic) || (r.Header.Get("Authorization") != "") != tc.basic) {
						t.Errorf("%v, %v", r.Form, r.Header)
					}
				}
			})
		})
	}
	// A client of before that cannot do what is asked for now is replaced.
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		for i, method := range []mcpoauth.AuthMethod{"", "client_secret_post", "client_secret_post"} {
			if _, err := w.try(mcpoauth.Options{Client: mcpoauth.ClientOptions{AuthMethod: method}}, mcpoauth.LoginOptions{Force: true}); err != nil || w.srv.Count("registration") != min(i+1, 2) {
				t.Errorf("%q: %v, %d registrations", method, err, w.srv.Count("registration"))
			}
		}
	})
}

// TestHowToRegisterByHand: the hint of a refusal names what the next login will use, and nothing that it will not.
func TestHowToRegisterByHand(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o         mcpoauth.Options
		documents map[string][]string
		refuses   bool
		has, not  []string
	}{
		"refused":               {refuses: true, has: []string{"http://127.0.0.1:", "--callback-port", "any port of a loopback address", "http://127.0.0.1/callback and leave"}},
		"refused, on localhost": {o: mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost"}}, refuses: true, has: []string{"http://localhost:", "--callback-port"}, not: []string{"any port"}},
		"none":                  {has: []string{"http://127.0.0.1:", "--callback-port", "http://127.0.0.1/callback and leave"}, not: []string{"--client-metadata-url"}},
		"none, but documents":   {documents: map[string][]string{}, has: []string{"--client-metadata-url", "--client-id"}},
		"documents in vain":     {o: mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: "https://me.example/c", AuthMethod: "client_secret_post"}}, documents: map[string][]string{}, has: []string{"--client-id"}, not: []string{"--client-metadata-url"}},
		"device":                {o: mcpoauth.Options{Grant: mcpoauth.DeviceCode{}}, refuses: true, has: []string{"--client-id", "needs no redirect URI"}, not: []string{"http://127.0.0.1", "--callback-port"}},
		"device, none":          {o: mcpoauth.Options{Grant: mcpoauth.DeviceCode{}}, has: []string{"--client-id", "needs no redirect URI"}, not: []string{"http://127.0.0.1", "--callback-port"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{MetadataDocuments: tc.documents}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) {
					f.NoRegistration = !tc.refuses
					f.RegistrationPolicy = func(map[string]any) (int, string, string) { return 400, "invalid_client_metadata", "no grant" }
					f.ServerMetadata = func(m map[string]any) { m["device_authorization_endpoint"] = m["token_endpoint"] }
				})
				_, err := w.try(tc.o, mcpoauth.LoginOptions{})
				hint := mcpoauth.Hint(err)
				for _, s := range tc.has {
					if !strings.Contains(hint, s) {
						t.Errorf("%v: %q is not in %q", err, s, hint)
					}
				}
				for _, s := range tc.not {
					if strings.Contains(hint, s) {
						t.Errorf("%v: %q is in %q", err, s, hint)
					}
				}
			})
		})
	}
}
