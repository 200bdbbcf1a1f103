package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// TestARefreshTokenStaysWithItsIssuer: a token endpoint that is gone is looked for again, but the refresh token goes to
// no origin other than the recorded endpoint's and the issuer's, whatever the metadata names and the caller permits.
func TestARefreshTokenStaysWithItsIssuer(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{Lenient: true}, func(t *testing.T, w *world) {
		c, tok := w.loggedIn(mcpoauth.Options{})
		stolen := 0
		thief := w.net.serve(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			stolen++
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(`{"access_token":"x","token_type":"Bearer"}`))
		}))
		w.change(c, func(rec *record.Login) { rec.TokenEndpoint = w.srv.Issuer() + "/where/it/was" })
		w.srv.Set(func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { m["token_endpoint"] = thief.URL + "/token" }
		})
		other := w.open(mcpoauth.Options{Allow: mcpoauth.Allow{ForeignEndpoints: true}})
		if _, err := other.TokenRejected(t.Context(), tok); err == nil {
			t.Error("no error")
		}
		if stolen != 0 || w.srv.Count("server-metadata") < 2 {
			t.Errorf("another origin got %d requests, after %d looks at the metadata", stolen, w.srv.Count("server-metadata"))
		}
		if rec := stored(t, w.st, c); rec.RefreshToken == "" || strings.HasPrefix(rec.TokenEndpoint, thief.URL) {
			t.Errorf("stored: %s", rec.TokenEndpoint)
		}
	})
}

// TestARefreshTokenIsForOneIssuer: the MCP server names another issuer, on the same origin, when the token endpoint is
// looked for again.
func TestARefreshTokenIsForOneIssuer(t *testing.T) {
	t.Parallel()
	const mcp, mine, other = "https://tools.example.com/mcp", "https://login.example.com/mine", "https://login.example.com/other"
	p := inOrder(t, mcp, other)
	prm := "https://tools.example.com/.well-known/oauth-protected-resource/mcp"
	p.documents = map[string]any{prm: prmAt(mcp, other), "https://login.example.com/.well-known/oauth-authorization-server/other": metadataOf(other)}
	p.client = "c"
	w := &loose{Store: newRecorded(t, mcp, record.Login{
		Issuer: mine, TokenEndpoint: mine + "/gone", AccessToken: "a", RefreshToken: "refresh-0", TokenType: "Bearer", Expiry: time.Now().Add(-time.Hour),
		Registration: record.Registration{ClientID: "c", AuthMethod: "none", Source: "pre-registered"},
	})}
	c := newClient(t, mcp, mcpoauth.Options{Store: w, Network: mcpoauth.NetworkOptions{HTTPClient: clientOf(p)}})
	if _, err := c.Token(t.Context(), nil); err == nil {
		t.Error("no error")
	}
	for _, r := range p.requests {
		if r == "refresh_token" {
			t.Error("the refresh token went to another issuer")
		}
	}
	if len(p.requests) == 0 {
		t.Error("the metadata was not read")
	}
}

// TestWhatARefusedRefreshCosts: one post, and no look at the metadata unless the endpoint is gone. What was given by hand
// is neither replaced nor left out.
func TestWhatARefusedRefreshCosts(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	for name, tc := range map[string]struct {
		status         int
		kind, body     string
		given          func(*authtest.Server) mcpoauth.ServerOptions
		posts, lookups int
	}{
		"the endpoint is gone":                     {status: 404, posts: 1, lookups: 1},
		"it is gone, and was given by hand":        {status: 404, given: endpointsOf, posts: 1},
		"a server in trouble":                      {status: 500, posts: 1},
		"a refusal without a code":                 {status: 403, kind: json, body: `{}`, posts: 1},
		"no resource is accepted":                  {status: 400, kind: json, body: `{"error":"invalid_target"}`, posts: 2},
		"the request speaks of the resource":       {status: 400, kind: json, body: `{"error":"invalid_request","error_description":"what Resource?"}`, posts: 2},
		"a revoked token speaks of the resource":   {status: 400, kind: json, body: `{"error":"invalid_grant","error_description":"no such resource"}`, posts: 1},
		"no resource is accepted, and it is given": {status: 400, kind: json, body: `{"error":"invalid_target"}`, given: resourceOf, posts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{Lenient: true}, func(t *testing.T, w *world) {
				var o mcpoauth.Options
				if tc.given != nil {
					o.Server = tc.given(w.srv)
				}
				c, tok := w.loggedIn(o)
				before := w.srv.Count("server-metadata")
				w.answer("refresh", page(tc.status, tc.kind, tc.body))
				if _, err := c.TokenRejected(t.Context(), tok); err == nil {
					t.Error("no error")
				}
				if posts, lookups := w.srv.Count("refresh"), w.srv.Count("server-metadata")-before; posts != tc.posts || lookups != tc.lookups {
					t.Errorf("%d posts, %d looks at the metadata", posts, lookups)
				}
			})
		})
	}
}

func endpointsOf(srv *authtest.Server) mcpoauth.ServerOptions {
	return mcpoauth.ServerOptions{Endpoints: mcpoauth.Endpoints{
		Authorization: srv.Issuer() + "/authorize", Token: srv.TokenEndpoint(), Registration: srv.Issuer() + "/register",
	}}
}

func resourceOf(srv *authtest.Server) mcpoauth.ServerOptions {
	return mcpoauth.ServerOptions{Resource: srv.MCPURL()}
}

// TestAnExpiredSecretIsNeverPosted: neither by a Client with a person nor by one without.
func TestAnExpiredSecretIsNeverPosted(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.srv.Set(func(f *authtest.Faults) {
			f.RegistrationAuthMethod, f.SecretLifetime = "client_secret_basic", 30*time.Minute
		})
		c, tok := w.loggedIn(mcpoauth.Options{})
		time.Sleep(31 * time.Minute)
		alone := w.open(mcpoauth.Options{})
		if _, err := alone.TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "registration has expired") {
			t.Errorf("without a person: %v", err)
		}
		w.srv.Expire()
		if status := ping(t, c); status != http.StatusOK || w.asked.Load() != 2 || w.srv.Count("registration") != 2 {
			t.Errorf("status %d, %d logins, %d registrations", status, w.asked.Load(), w.srv.Count("registration"))
		}
		if n := w.srv.Count("refresh"); n != 0 {
			t.Errorf("%d refreshes", n)
		}
	})
}

// TestAnswersThatAreLost: the first post may have rotated the token, so that one more finds out, and no third is made for
// ten minutes, by any process.
func TestAnswersThatAreLost(t *testing.T) {
	t.Parallel()
	t.Run("and the token was rotated", func(t *testing.T) {
		t.Parallel()
		inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
			_, tok := w.loggedIn(mcpoauth.Options{})
			w.srv.Set(func(f *authtest.Faults) { f.DropTokenAnswers = 1 })
			if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) {
				t.Errorf("the lost answer: %v", err)
			}
			_, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok)
			if !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "an earlier refresh was lost") {
				t.Errorf("the next: %v", err)
			}
		})
	})
	t.Run("again and again", func(t *testing.T) {
		t.Parallel()
		inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
			c, tok := w.loggedIn(mcpoauth.Options{})
			w.srv.Set(func(f *authtest.Faults) { f.Drop = map[string]int{"refresh": 99} })
			for i, posts := range []int{1, 2, 2, 2} {
				if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) || w.srv.Count("refresh") != posts {
					t.Errorf("try %d: %v, %d posts", i+1, err, w.srv.Count("refresh"))
				}
			}
			w.srv.Set(func(f *authtest.Faults) { f.Drop = nil })
			time.Sleep(9 * time.Minute)
			if _, err := c.TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) || w.srv.Count("refresh") != 2 {
				t.Errorf("within ten minutes: %v, %d posts", err, w.srv.Count("refresh"))
			}
			time.Sleep(2 * time.Minute)
			tok, err := c.TokenRejected(t.Context(), tok)
			if err != nil || w.srv.Count("refresh") != 3 {
				t.Fatalf("after ten minutes: %v, %d posts", err, w.srv.Count("refresh"))
			}
			// The posts were those of the refresh token before.
			w.srv.Set(func(f *authtest.Faults) { f.Drop = map[string]int{"refresh": 1} })
			if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) {
				t.Errorf("got %v", err)
			}
			if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); err != nil || w.srv.Count("refresh") != 5 {
				t.Errorf("%v, %d posts", err, w.srv.Count("refresh"))
			}
		})
	})
	t.Run("but those that were answered are not counted", func(t *testing.T) {
		t.Parallel()
		inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
			_, tok := w.loggedIn(mcpoauth.Options{})
			w.answer("refresh", page(503, "text/plain", "later"))
			for range 4 {
				if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) {
					t.Errorf("got %v", err)
				}
			}
			w.srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
			if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); err != nil || w.srv.Count("refresh") != 5 {
				t.Errorf("%v, %d posts", err, w.srv.Count("refresh"))
			}
		})
	})
}

// TestPausesGrowAndEnd: a token endpoint in trouble is asked after one second, two, four and so on, at most thirty; a
// success ends the series.
func TestPausesGrowAndEnd(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"in trouble":                    page(503, "text/plain", "later"),
		"an answer that cannot be used": page(200, "application/json", `{"access_token":"x","token_type":"mac"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, tok := w.loggedIn(mcpoauth.Options{})
				begin := time.Now()
				posts := func(span time.Duration) (at []int) {
					start, n := time.Now(), w.srv.Count("refresh")
					for time.Since(start) < span {
						if _, err := c.TokenRejected(t.Context(), tok); err == nil {
							t.Fatalf("no error after %v", time.Since(begin))
						}
						if now := w.srv.Count("refresh"); now != n {
							at, n = append(at, int(time.Since(start)/time.Second)), now
						}
						time.Sleep(time.Second / 2)
					}
					return at
				}
				want := []int{0, 1, 3, 7, 15, 31, 61, 91}
				w.answer("refresh", fault)
				if got := posts(100 * time.Second); !slices.Equal(got, want) {
					t.Errorf("posts after %v seconds, want %v", got, want)
				}
				w.srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
				time.Sleep(time.Minute)
				var err error
				if tok, err = c.TokenRejected(t.Context(), tok); err != nil {
					t.Fatal(err)
				}
				w.answer("refresh", fault)
				if got := posts(10 * time.Second); !slices.Equal(got, want[:4]) {
					t.Errorf("after a success: posts after %v seconds, want %v", got, want[:4])
				}
			})
		})
	}
}

// TestAPauseThatTheServerAsksFor holds for every process, and the error says how long it is.
func TestAPauseThatTheServerAsksFor(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, tok := w.loggedIn(mcpoauth.Options{})
		w.srv.Set(func(f *authtest.Faults) { f.Fail, f.RetryAfter = map[string]int{"refresh": 429}, "40" })
		if _, err := c.TokenRejected(t.Context(), tok); retryAfter(err) != 40*time.Second {
			t.Errorf("got %v", err)
		}
		w.srv.Set(func(f *authtest.Faults) { f.Fail = nil })
		time.Sleep(39 * time.Second)
		for _, one := range []*mcpoauth.Client{c, w.open(mcpoauth.Options{})} {
			if _, err := one.TokenRejected(t.Context(), tok); retryAfter(err) != time.Second || w.srv.Count("refresh") != 1 {
				t.Errorf("too early: %v, %d posts", err, w.srv.Count("refresh"))
			}
		}
		time.Sleep(time.Second)
		if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); err != nil || w.srv.Count("refresh") != 2 {
			t.Errorf("after it: %v, %d posts", err, w.srv.Count("refresh"))
		}
	})
}

// retryAfter returns the pause that an error names, -1 if it is not temporary.
func retryAfter(err error) time.Duration {
	e, ok := errors.AsType[*mcpoauth.TemporaryError](err)
	if !ok {
		return -1
	}
	return e.RetryAfter
}

// TestLostAnswersOfAnotherRefreshToken do not count: a login that was finished elsewhere brought another.
func TestLostAnswersOfAnotherRefreshToken(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		_, tok := w.loggedIn(mcpoauth.Options{})
		w.srv.Set(func(f *authtest.Faults) { f.Drop = map[string]int{"refresh": 2} })
		for range 2 {
			if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) {
				t.Errorf("got %v", err)
			}
		}
		c := w.open(mcpoauth.Options{})
		login := w.begin(c, webCallback)
		tok, err := c.FinishLogin(t.Context(), login.id, login.callback)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); err != nil || w.srv.Count("refresh") != 3 {
			t.Errorf("%v, %d posts", err, w.srv.Count("refresh"))
		}
	})
}

// TestALoginEndsTheTroubleBefore it: neither a pause nor lost answers hold up the refresh of what it brought.
func TestALoginEndsTheTroubleBefore(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*authtest.Faults){
		"in trouble":     func(f *authtest.Faults) { f.Fail, f.RetryAfter = map[string]int{"refresh": 503}, "50" },
		"answers lost":   func(f *authtest.Faults) { f.Drop = map[string]int{"refresh": 1} },
		"a broken proxy": func(f *authtest.Faults) { f.Fail = map[string]int{"refresh": 502} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, tok := w.loggedIn(mcpoauth.Options{})
				w.srv.Set(fault)
				if _, err := c.TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) {
					t.Errorf("got %v", err)
				}
				w.srv.Set(func(f *authtest.Faults) { *f = authtest.Faults{} })
				tok, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true})
				if err != nil {
					t.Fatal(err)
				}
				for key := range w.st.List(t.Context(), store.Filter{Kind: store.KindPending}) {
					t.Errorf("%v is left", key)
				}
				if _, err := c.TokenRejected(t.Context(), tok); err != nil {
					t.Errorf("a refresh: %v", err)
				}
			})
		})
	}
}

// TestScopesThatARefreshLoses are noticed, and the next refresh names them: that is tried before a person is asked.
//
// It has a row in docs/compatibility.md.
func TestScopesThatARefreshLoses(t *testing.T) {
	t.Parallel()
	const write = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note"}}`
	for name, tc := range map[string]struct {
		forGood, refused bool
		logins           int32 // in all
	}{
		"the next refresh names them": {logins: 1},
		"they are lost for good":      {forGood: true, logins: 2},
		"the scopes are refused":      {forGood: true, refused: true, logins: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				var notes []string
				o := mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read", "mcp:write"}}}
				o.Trace = &mcpoauth.Trace{Note: func(_ context.Context, n mcpoauth.Note) {
					if n.Code == mcpoauth.NoteFewerScopes {
						notes = append(notes, n.Text)
					}
				}}
				c, tok := w.loggedIn(o)
				w.srv.Set(func(f *authtest.Faults) { f.ScopeLostOnRefresh, f.ScopeLostForGood = "mcp:write", tc.forGood })
				tok, err := c.TokenRejected(t.Context(), tok)
				if err != nil || slices.Contains(tok.Scopes(), "mcp:write") {
					t.Fatalf("%v, %v", tok, err)
				}
				st, err := c.Status(t.Context())
				if err != nil || !slices.Equal(st.LostScopes, []string{"mcp:write"}) || len(notes) != 1 || !strings.Contains(notes[0], "mcp:write") {
					t.Errorf("%+v, %v, notes %q", st, err, notes)
				}
				if tc.refused {
					w.answer("refresh", func(w http.ResponseWriter, r *http.Request) bool {
						if r.FormValue("scope") == "" {
							return false
						}
						return page(400, "application/json", `{"error":"invalid_scope"}`)(w, r)
					})
				}
				status, err := call(c, write)
				if err != nil || status != http.StatusOK || w.asked.Load() != tc.logins {
					t.Errorf("status %d, %v, %d logins", status, err, w.asked.Load())
				}
				if st, err = c.Status(t.Context()); err != nil || len(st.LostScopes) != 0 || !slices.Contains(st.Scopes, "mcp:write") {
					t.Errorf("afterwards: %+v, %v", st, err)
				}
			})
		})
	}
}
