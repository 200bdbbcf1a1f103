package mcpoauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestLifetimesThatCannotBe: a server says 0, or a clock is off. There is no refresh for each request.
//
// It has a row in docs/compatibility.md.
func TestLifetimesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, life := range map[string]any{"0": 0, "negative": -60, "one second": 1, "text": "soon"} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(func(f *authtest.Faults) {
				f.TokenAnswer = func(doc map[string]any) { doc["expires_in"] = life }
			})
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
			start := time.Now()
			for range 20 {
				if status := ping(t, c); status != http.StatusOK {
					t.Fatalf("status %d", status)
				}
			}
			if most := 1 + int(time.Since(start)/(900*time.Millisecond)); srv.Count("refresh") > most || srv.Count("authorize") != 1 {
				t.Errorf("%d refreshes in %v, %d logins", srv.Count("refresh"), time.Since(start), srv.Count("authorize"))
			}
		})
	}
}

// TestWhatAServerSaysOfRefreshTokens: when one ends unless it is used is kept with the login, and moves with each refresh.
//
// It has a row in docs/compatibility.md.
func TestWhatAServerSaysOfRefreshTokens(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		member := map[string]any{"refresh_expires_in": 1800}
		w.srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(doc map[string]any) { maps.Copy(doc, member) } })
		c, tok := w.loggedIn(mcpoauth.Options{})
		for i, tc := range []struct {
			next map[string]any // what the refresh after it says
			left time.Duration  // 0: no end
		}{
			{map[string]any{"refresh_expires_in": "600"}, 30 * time.Minute},
			{map[string]any{"refresh_expires_in": 0}, 10 * time.Minute}, // Keycloak: offline
			{map[string]any{"refresh_token_expires_in": 60.5}, 0},
			{map[string]any{}, time.Minute},
			{nil, 0}, // a new refresh token of which nothing is said
		} {
			st, err := w.open(mcpoauth.Options{}).Status(t.Context())
			if err != nil || tc.left == 0 && !st.RefreshExpiry.IsZero() || tc.left != 0 && time.Until(st.RefreshExpiry) != tc.left {
				t.Errorf("%d: ends at %v, %v", i, st.RefreshExpiry, err)
			}
			member = tc.next
			time.Sleep(time.Second)
			if tok, err = c.TokenRejected(t.Context(), tok); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestAJWTsOwnEnd: a lifetime in nanoseconds does not keep a token of eight seconds for a century.
//
// It has a row in docs/compatibility.md.
func TestAJWTsOwnEnd(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		n := 0
		w.srv.Set(func(f *authtest.Faults) {
			f.TokenAnswer = func(doc map[string]any) {
				n++
				now := time.Now().Add(time.Hour).Unix() // by the server's clock
				claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"n":%d}`, now, now+8, n)
				doc["access_token"] = "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
				doc["expires_in"] = 8_000_000_000
			}
		})
		c, tok := w.loggedIn(mcpoauth.Options{})
		if left := time.Until(tok.Expiry()); left != 8*time.Second {
			t.Errorf("it ends in %v", left)
		}
		time.Sleep(9 * time.Second)
		next, err := c.Token(t.Context(), nil)
		if err != nil || next.AccessToken() == tok.AccessToken() || w.srv.Count("refresh") != 1 {
			t.Errorf("%v, %d refreshes", err, w.srv.Count("refresh"))
		}
	})
}

// The token endpoint redirects: neither code nor refresh token goes there.
//
// It has a row in docs/compatibility.md.
func TestRedirectsOfTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	hits := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer other.Close()
	srv := authtest.New(t, nil)
	st := memstore.New()
	away := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", other.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	for _, leg := range []string{"registration", "token", "refresh", "revocation"} {
		srv.Set(func(f *authtest.Faults) {
			f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{leg: away}
		})
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
		var err error
		switch leg {
		case "refresh":
			srv.Expire()
			_, err = tryPing(c)
		case "revocation":
			srv.Set(func(*authtest.Faults) {})
			var res *mcpoauth.LogoutResult
			if res, err = c.Logout(t.Context()); err == nil && !res.Revoked {
				err = errors.New("the server could not be told")
			}
		default:
			_, err = c.Login(t.Context(), nil)
		}
		if err == nil {
			t.Errorf("%s: no error", leg)
		}
		srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
		if leg == "token" {
			ping(t, c)
		}
	}
	if hits != 0 {
		t.Errorf("another origin got %d requests", hits)
	}
}

// Token responses arrive as forms, under any content type, also where JSON was asked for.
//
// It has a row in docs/compatibility.md.
func TestTokensAsForms(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ contentType, body string }{
		"a form":                  {"application/x-www-form-urlencoded", "access_token=access-%d&refresh_token=refresh-%d&token_type=bearer&expires_in=3600"},
		"a form as plain text":    {"text/plain; charset=utf-8", "access_token=access-%d&refresh_token=refresh-%d&token_type=bearer&expires_in=3600"},
		"a form as a page":        {"text/html", "access_token=access-%d&refresh_token=refresh-%d&token_type=bearer&expires_in=3600"},
		"JSON as plain text":      {"text/plain", `{"access_token":"access-%d","refresh_token":"refresh-%d","token_type":"bearer","expires_in":3600}`},
		"JSON as a form":          {"application/x-www-form-urlencoded", `{"access_token":"access-%d","refresh_token":"refresh-%d","token_type":"bearer","expires_in":3600}`},
		"JSON without a type":     {"", `{"access_token":"access-%d","refresh_token":"refresh-%d","token_type":"bearer","expires_in":3600}`},
		"JSON behind a mark":      {"application/json", "\ufeff" + `{"access_token":"access-%d","refresh_token":"refresh-%d","token_type":"bearer","expires_in":3600}`},
		"a form after many types": {"application/octet-stream", "token_type=bearer&scope=a%%2Cb&access_token=access-%d&refresh_token=refresh-%d"},
	} {
		t.Run(name, func(t *testing.T) {
			p := inOrder(t, "https://tools.example.com/mcp", "https://login.example.com")
			p.answer = func(n int) (string, string) { return tc.contentType, fmt.Sprintf(tc.body, n, n) }
			p.wants(p.use(mcpoauth.Options{}), registeredOnce)
		})
	}
	t.Run("JSON is asked for", func(t *testing.T) {
		srv := authtest.New(t, nil)
		ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt}))
		for _, r := range srv.Requests() {
			if r.Leg == "token" && !strings.HasPrefix(r.Header.Get("Accept"), "application/json") {
				t.Errorf("Accept: %q", r.Header.Get("Accept"))
			}
		}
	})
}

// Errors come with the status 200, and answers without a token do.
//
// It has a row in docs/compatibility.md.
func TestErrorsWithTheStatusOfSuccess(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ contentType, body, code string }{
		"an error":               {"application/json", `{"error":"incorrect_client_credentials","error_description":"No."}`, "invalid_client"},
		"an error in a form":     {"application/x-www-form-urlencoded", "error=bad_verification_code&error_description=No.", "invalid_grant"},
		"not ok":                 {"application/json", `{"ok":false,"error":"invalid_code"}`, "invalid_grant"},
		"nothing":                {"application/json", `{}`, ""},
		"an empty token":         {"application/json", `{"access_token":"","token_type":"Bearer","refresh_token":"r"}`, ""},
		"no token":               {"application/json", `{"access_token":null,"token_type":"Bearer"}`, ""},
		"an error and a token":   {"application/json", `{"error":"invalid_grant","access_token":"access-1","token_type":"Bearer"}`, "invalid_grant"},
		"an error that is a map": {"application/json", `{"error":{"code":"invalid_grant","message":"No."}}`, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			st := memstore.New()
			bad := func(f *authtest.Faults) {
				answer := page(200, tc.contentType, tc.body)
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"token": answer}
			}
			srv.Set(bad)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
			_, err := c.Login(t.Context(), nil)
			var te *mcpoauth.Error
			if !errorAt(err, mcpoauth.OpToken, &te) || te.Code != tc.code || te.Status != 200 {
				t.Errorf("got %v", err)
			}
			for key := range st.List(t.Context(), store.Filter{Kind: store.KindLogin}) {
				t.Errorf("stored: %v", key)
			}
			srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
			if s := ping(t, c); s != 200 {
				t.Errorf("afterwards: status %d", s)
			}
		})
	}
}

// expires_in comes as anything. What says nothing is used until the server refuses it; what says that the token
// has ended is refreshed, but not per request.
//
// It has a row in docs/compatibility.md.
func TestExpiresIn(t *testing.T) {
	t.Parallel()
	jwt := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1}`)) + ".x"
	for name, tc := range map[string]struct {
		value   any
		seconds int  // 0: unknown
		ended   bool // after two seconds
	}{
		"a number":       {5250, 5250, false},
		"a string":       {"5250", 5250, false},
		"a fraction":     {3600.5, 3600, false},
		"a string of it": {"3600.5", 3600, false},
		"missing":        {nil, 0, false},
		"garbage":        {"soon", 0, false},
		"a list":         {[]any{3600}, 0, false},
		"zero":           {0, -1, true},
		"negative":       {-1, -1, true},
		"huge":           {json.Number("1e300"), 0, false},
		"milliseconds":   {3600000, 0, false},
		"a second":       {1, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := inOrder(t, "https://tools.example.com/mcp", "https://login.example.com")
				p.client = "by-hand"
				p.answer = func(n int) (string, string) {
					m := map[string]any{"access_token": fmt.Sprintf("access-%d", n), "token_type": "Bearer", "refresh_token": fmt.Sprintf("refresh-%d", n), "expires_in": tc.value, "id_token": jwt}
					if tc.value == nil {
						delete(m, "expires_in")
					}
					b, err := json.Marshal(m)
					if err != nil {
						t.Error(err)
					}
					return "application/json", string(b)
				}
				st := memstore.New()
				c, err := mcpoauth.New(p.mcp, &mcpoauth.Options{Store: st, Network: mcpoauth.NetworkOptions{HTTPClient: clientOf(p)}, Client: mcpoauth.ClientOptions{ID: "by-hand"}})
				if err != nil {
					t.Fatal(err)
				}
				login, err := c.BeginLogin(t.Context(), "https://app.example.com/back")
				if err != nil {
					t.Fatal(err)
				}
				u, err := url.Parse(login.URL)
				if err != nil {
					t.Fatal(err)
				}
				p.codes = map[string]url.Values{"code-1": u.Query()}
				c, err = mcpoauth.FinishLogin(t.Context(), login.ID, url.Values{"code": {"code-1"}, "state": {u.Query().Get("state")}, "iss": {p.iss}}, &mcpoauth.Options{Store: st, Network: mcpoauth.NetworkOptions{HTTPClient: clientOf(p)}, Client: mcpoauth.ClientOptions{ID: "by-hand"}})
				if err != nil {
					t.Fatal(err)
				}
				left := time.Until(stored(t, st, c).Expiry)
				switch {
				case tc.seconds == 0 && !stored(t, st, c).Expiry.IsZero():
					t.Errorf("it ends in %v", left)
				case tc.seconds > 0 && left != time.Duration(tc.seconds)*time.Second:
					t.Errorf("it ends in %v, want %ds", left, tc.seconds)
				case tc.seconds == -1 && left > 0:
					t.Errorf("it ends in %v", left)
				}
				for range 20 {
					p.call(c) // a token that has just come is used, whatever it says of itself
				}
				if p.issued != 1 {
					t.Errorf("%d tokens were issued for requests at once", p.issued)
				}
				time.Sleep(2 * time.Second)
				p.call(c)
				if refreshed := p.issued == 2; refreshed != tc.ended || p.issued > 2 {
					t.Errorf("after two seconds %d tokens were issued", p.issued)
				}
				if err := c.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
