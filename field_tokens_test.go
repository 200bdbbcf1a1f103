package mcpoauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// A record that does not say when the access token ends is used until the server refuses it, and then refreshed.
func TestFieldARestartWithoutAnExpiry(t *testing.T) {
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	rec := stored(t, st, c)
	rec.Expiry = time.Time{}
	overwrite(t, st, c, rec)
	for range 2 {
		ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st}))
	}
	if srv.Count("refresh") != 0 {
		t.Errorf("%d refreshes of a good token", srv.Count("refresh"))
	}
	srv.Expire()
	before := len(srv.Requests())
	if s := ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})); s != 200 {
		t.Errorf("status %d", s)
	}
	if got := legs(srv)[before:]; !slices.Equal(got, []string{"mcp", "refresh", "mcp"}) {
		t.Errorf("requests %v", got)
	}
}

// Token responses arrive as forms, under any content type, also where JSON was asked for.
func TestFieldTokensAsForms(t *testing.T) {
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
func TestFieldErrorsWithTheStatusOfSuccess(t *testing.T) {
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
			var te *mcpoauth.TokenError
			if !errors.As(err, &te) || te.Code != tc.code || te.Status != 200 {
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
func TestFieldExpiresIn(t *testing.T) {
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
				c, err := mcpoauth.New(p.mcp, &mcpoauth.Options{Store: st, HTTPClient: clientOf(p), ClientID: "by-hand"})
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
				c, err = mcpoauth.FinishLogin(t.Context(), login.ID, url.Values{"code": {"code-1"}, "state": {u.Query().Get("state")}, "iss": {p.iss}}, &mcpoauth.Options{Store: st, HTTPClient: clientOf(p), ClientID: "by-hand"})
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

// A token that is still good is used on while the authorization server is in trouble.
func TestFieldTroubleWhileTheTokenIsGood(t *testing.T) {
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(m map[string]any) { m["expires_in"] = 30 } })
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.Fail, f.RetryAfter = map[string]int{"refresh": 503}, "30" })
	for range 5 {
		if _, err := c.Token(t.Context(), &mcpoauth.TokenOptions{MinValidity: time.Hour}); err != nil {
			t.Error(err)
		}
		ping(t, c)
	}
	if n := srv.Count("refresh"); n != 1 {
		t.Errorf("%d refreshes, though the server asked for a pause", n)
	}
	srv.Expire()
	_, err := tryPing(c)
	var temporary *mcpoauth.TemporaryError
	if !errors.As(err, &temporary) || temporary.RetryAfter < 20*time.Second {
		t.Errorf("got %v", err)
	}
}

// A refresh that does not repeat the refresh token and the scopes has not taken them away.
func TestFieldARefreshThatRepeatsNothing(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{NoRotation: true})
	st := memstore.New()
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}))
	srv.Set(func(f *authtest.Faults) {
		f.TokenAnswer = func(m map[string]any) { delete(m, "scope"); delete(m, "token_type"); delete(m, "refresh_token") }
	})
	for range 3 {
		srv.Expire()
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)}) // each time after a restart
		ping(t, c)
		if rec := stored(t, st, c); rec.RefreshToken == "" || !slices.Contains(rec.Scopes, "mcp:read") || rec.Resource != srv.MCPURL() {
			t.Errorf("%+v", rec)
		}
	}
	if srv.Count("refresh") != 3 || srv.Count("authorize") != 1 {
		t.Errorf("%d refreshes, %d logins", srv.Count("refresh"), srv.Count("authorize"))
	}
}

// The authorization server takes no resource parameter. The error names the setting, and with it no request has one.
func TestFieldTheResourceIsRefused(t *testing.T) {
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.RejectResource = true })
	o := mcpoauth.Options{Store: memstore.New(), Prompt: (&person{srv: srv}).prompt}
	if _, err := newClient(t, srv.MCPURL(), o).Login(t.Context(), nil); err == nil || !strings.Contains(mcpoauth.Hint(err), "--no-resource (Options.NoResource)") {
		t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
	}
	before := len(srv.Requests())
	o.NoResource = true
	ping(t, newClient(t, srv.MCPURL(), o))
	srv.Expire()
	// The login remembers it.
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: o.Store}))
	for _, r := range srv.Requests()[before:] {
		if r.Query.Has("resource") || r.Form.Has("resource") {
			t.Errorf("%s has a resource", r.Leg)
		}
	}
	if srv.Count("refresh") != 1 {
		t.Errorf("%d refreshes", srv.Count("refresh"))
	}
}
