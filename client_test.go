package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestWhenLoginAsksAPerson: only where no stored login serves and none can be renewed.
func TestWhenLoginAsksAPerson(t *testing.T) {
	t.Parallel()
	expire := func(rec *record.Login) {
		rec.IssuedAt, rec.Expiry = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	}
	for name, tc := range map[string]struct {
		change    func(*record.Login)
		opts      *mcpoauth.LoginOptions
		faults    func(*authtest.Faults)
		nobody    bool
		logins    int32 // in all
		refreshes int
		renewal   bool // the failed renewal is noted
		err       error
	}{
		"a good token":                {logins: 1},
		"forced":                      {opts: &mcpoauth.LoginOptions{Force: true}, logins: 2},
		"a new client":                {opts: &mcpoauth.LoginOptions{NewClient: true}, logins: 2},
		"scopes that it has":          {opts: &mcpoauth.LoginOptions{Scopes: []string{"mcp:read"}}, logins: 1},
		"other scopes":                {opts: &mcpoauth.LoginOptions{Scopes: []string{"mcp:write"}}, logins: 2},
		"a demand for another":        {change: func(rec *record.Login) { rec.Required = &record.Authentication{} }, logins: 2},
		"expired":                     {change: expire, logins: 1, refreshes: 1},
		"expired, with other scopes":  {change: expire, opts: &mcpoauth.LoginOptions{Scopes: []string{"mcp:write"}}, logins: 2},
		"expired, no refresh token":   {change: func(rec *record.Login) { expire(rec); rec.RefreshToken = "" }, logins: 2},
		"expired, the end is noted":   {change: func(rec *record.Login) { expire(rec); rec.LoginRequired = "over" }, logins: 2},
		"expired, refused":            {change: func(rec *record.Login) { expire(rec); rec.RefreshToken = "unknown" }, logins: 2, refreshes: 1},
		"expired, in trouble":         {change: expire, faults: func(f *authtest.Faults) { f.Intercept = troubled("refresh") }, logins: 2, refreshes: 1, renewal: true},
		"expired, in trouble, nobody": {change: expire, faults: func(f *authtest.Faults) { f.Intercept = troubled("refresh") }, nobody: true, logins: 1, refreshes: 1, err: mcpoauth.ErrTemporary},
		"expired, refused, nobody":    {change: func(rec *record.Login) { expire(rec); rec.RefreshToken = "unknown" }, nobody: true, logins: 1, refreshes: 1, err: mcpoauth.ErrLoginRequired},
		"forced, nobody":              {opts: &mcpoauth.LoginOptions{Force: true}, nobody: true, logins: 1, err: mcpoauth.ErrLoginRequired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				first, tok := w.loggedIn(mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}})
				if tc.change != nil {
					w.change(first, tc.change)
				}
				if tc.faults != nil {
					w.srv.Set(tc.faults)
				}
				renewal := false
				o := mcpoauth.Options{Prompt: w.net.person(t, &w.asked), Trace: &mcpoauth.Trace{Note: func(_ context.Context, n mcpoauth.Note) {
					renewal = renewal || n.Code == mcpoauth.NoteRenewal
				}}}
				if tc.nobody {
					o.Prompt = nil
				}
				got, err := w.open(o).Login(t.Context(), tc.opts)
				if !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
					t.Errorf("got %v", err)
				}
				if w.asked.Load() != tc.logins || w.srv.Count("refresh") != tc.refreshes || renewal != tc.renewal {
					t.Errorf("%d logins, %d refreshes, a note %t", w.asked.Load(), w.srv.Count("refresh"), renewal)
				}
				if same := err == nil && got.AccessToken() == tok.AccessToken(); same != (err == nil && tc.logins == 1 && tc.refreshes == 0) {
					t.Errorf("the same token: %t", same)
				}
			})
		})
	}
}

// troubled answers the requests of a leg with 503.
func troubled(leg string) map[string]func(http.ResponseWriter, *http.Request) bool {
	return map[string]func(http.ResponseWriter, *http.Request) bool{leg: page(503, "text/plain", "")}
}

// TestALoginThatIsLeftWhileItRenews asks nobody.
func TestALoginThatIsLeftWhileItRenews(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		first, _ := w.loggedIn(mcpoauth.Options{})
		w.change(first, func(rec *record.Login) {
			rec.IssuedAt, rec.Expiry = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
		})
		w.srv.Set(func(f *authtest.Faults) { f.TokenDelay = time.Minute })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := first.Login(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || w.asked.Load() != 1 {
			t.Errorf("%v, %d logins", err, w.asked.Load())
		}
	})
}

// TestARejectedTokenIsNoted for the next login, unless it can be replaced or the fault may pass.
func TestARejectedTokenIsNoted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*record.Login)
		faults map[string]func(http.ResponseWriter, *http.Request) bool
		err    error
		noted  bool
	}{
		"renewed":          {},
		"no refresh token": {change: func(rec *record.Login) { rec.RefreshToken = "" }, err: mcpoauth.ErrLoginRequired, noted: true},
		"in trouble":       {faults: troubled("refresh"), err: mcpoauth.ErrTemporary},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, tok := w.loggedIn(mcpoauth.Options{})
				if tc.change != nil {
					w.change(c, tc.change)
				}
				w.srv.Set(func(f *authtest.Faults) { f.Intercept = tc.faults })
				if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
					t.Errorf("got %v", err)
				}
				if rec := stored(t, w.st, c); (rec.Required != nil) != tc.noted {
					t.Errorf("noted: %v", rec.Required)
				}
				if _, err := c.Login(t.Context(), nil); err != nil || (w.asked.Load() == 2) != tc.noted {
					t.Errorf("the next login: %v, %d prompts", err, w.asked.Load())
				}
			})
		})
	}
	c := newClient(t, "https://mcp.example.com/mcp", mcpoauth.Options{})
	if _, err := c.TokenRejected(t.Context(), nil); err == nil || errors.Is(err, mcpoauth.ErrLoginRequired) {
		t.Errorf("no token: %v", err)
	}
}

// TestAClosedClientSaysSo before it looks at anything else.
func TestAClosedClientSaysSo(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, tok := w.loggedIn(mcpoauth.Options{})
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		old := http.Header{"Authorization": {"Bearer an-older-one"}}
		for name, use := range map[string]func() error{
			"Token":         func() error { _, err := c.Token(t.Context(), nil); return err },
			"TokenRejected": func() error { _, err := c.TokenRejected(t.Context(), nil); return err },
			"Login":         func() error { _, err := c.Login(t.Context(), nil); return err },
			"Import":        func() error { _, err := c.Import(t.Context(), nil, nil); return err },
			"BeginLogin":    func() error { _, err := c.BeginLogin(t.Context(), "not absolute"); return err },
			"FinishLogin":   func() error { _, err := c.FinishLogin(t.Context(), "unknown", nil); return err },
			"Status":        func() error { _, err := c.Status(t.Context()); return err },
			"Logout":        func() error { _, err := c.Logout(t.Context()); return err },
			"Clear":         func() error { return c.Clear(t.Context(), nil) },
			"Discover":      func() error { _, err := c.Discover(t.Context()); return err },
			"Inspect":       func() error { _, err := c.Inspect(t.Context()); return err },
			"HTTPClient":    func() error { _, err := tryPing(c); return err },
			"OAuthHandler": func() error {
				req, resp, _ := refusedRequest(t, w, tok, 401, `Bearer error="invalid_token"`)
				req.Header = old
				return c.OAuthHandler().Authorize(t.Context(), req, resp)
			},
		} {
			if err := use(); !errors.Is(err, mcpoauth.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if rec := stored(t, w.st, c); rec.AccessToken != tok.AccessToken() {
			t.Error("the login has changed")
		}
	})
}

// TestAHandlerFindsARenewedToken: a 401 for an older token needs nothing, one for the token of now does.
func TestAHandlerFindsARenewedToken(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, tok := w.loggedIn(mcpoauth.Options{})
		for name, tc := range map[string]struct {
			sent      string
			status    int
			challenge string
			refreshes int
			err       bool
		}{
			"an older token":             {"Bearer older", 401, `Bearer error="invalid_token"`, 0, false},
			"an older token, forbidden":  {"Bearer older", 403, "", 0, true},
			"the token of now, rejected": {tok.Authorization(), 401, `Bearer error="invalid_token"`, 1, false},
		} {
			before := w.srv.Count("refresh")
			req, resp, body := refusedRequest(t, w, nil, tc.status, tc.challenge)
			req.Header.Set("Authorization", tc.sent)
			err := c.OAuthHandler().Authorize(t.Context(), req, resp)
			if (err != nil) != tc.err || w.srv.Count("refresh")-before != tc.refreshes || !body.closed {
				t.Errorf("%s: %v, %d refreshes, closed %t", name, err, w.srv.Count("refresh")-before, body.closed)
			}
		}
	})
}

// TestALoginThatIsFinishedLate, by a clock that was set back, or with nothing, is refused.
func TestALoginThatIsFinishedLate(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c := w.open(mcpoauth.Options{})
		pending, err := c.BeginLogin(t.Context(), "http://127.0.0.1:1/callback")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.FinishLogin(t.Context(), pending.ID, url.Values{}); err == nil {
			t.Error("finished without a state")
		}
		if _, err := mcpoauth.FinishLogin(t.Context(), "unknown", nil, &mcpoauth.Options{CacheDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "no login was begun") {
			t.Errorf("an unknown one: %v", err)
		}
	})
}

// TestStatesOfALogin, as Status and List say them.
func TestStatesOfALogin(t *testing.T) {
	t.Parallel()
	over := func(rec *record.Login) {
		rec.IssuedAt, rec.Expiry = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	}
	for name, tc := range map[string]struct {
		change     func(*record.Login)
		state      mcpoauth.State
		reason     string
		canRefresh bool
		bound      bool
	}{
		"good":                        {func(*record.Login) {}, mcpoauth.StateValid, "", true, false},
		"good, no refresh token":      {func(rec *record.Login) { rec.RefreshToken = "" }, mcpoauth.StateValid, "", false, false},
		"over":                        {over, mcpoauth.StateRefreshable, "", true, false},
		"over, no refresh token":      {func(rec *record.Login) { over(rec); rec.RefreshToken = "" }, mcpoauth.StateLoginRequired, "no refresh token", false, false},
		"over, a machine's":           {func(rec *record.Login) { over(rec); rec.RefreshToken, rec.Grant = "", "client_credentials" }, mcpoauth.StateRefreshable, "", true, false},
		"ended":                       {func(rec *record.Login) { rec.LoginRequired = "it ended" }, mcpoauth.StateLoginRequired, "it ended", true, false},
		"bound, with a damaged key":   {func(rec *record.Login) { rec.DPoPKey = "x" }, mcpoauth.StateLoginRequired, "", true, true},
		"ended, and over, no refresh": {func(rec *record.Login) { over(rec); rec.RefreshToken, rec.LoginRequired = "", "it ended" }, mcpoauth.StateLoginRequired, "it ended", false, false},
	} {
		st := newRecorded(t, "https://mcp.example.com/mcp", func() record.Login {
			rec := record.Login{
				Issuer: "https://as.example.com", TokenEndpoint: "https://as.example.com/token", AccessToken: "a", RefreshToken: "r", TokenType: "Bearer", IssuedAt: time.Now(), Expiry: time.Now().Add(time.Hour), Scopes: []string{"x"},
				Registration: record.Registration{ClientID: "c", Source: string(mcpoauth.SourceDynamic)},
			}
			tc.change(&rec)
			return rec
		}())
		got, err := newClient(t, "https://mcp.example.com/mcp", mcpoauth.Options{Store: st}).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for listed, err := range mcpoauth.List(t.Context(), st) {
			n++
			if err != nil || listed.State != got.State || listed.IdentityProvider || listed.CanRefresh != got.CanRefresh {
				t.Errorf("%s: listed as %+v, %v", name, listed, err)
			}
		}
		if n != 1 || got.State != tc.state || !strings.Contains(got.Reason, tc.reason) || got.CanRefresh != tc.canRefresh || got.Bound != tc.bound || got.Issuer != "https://as.example.com" ||
			got.ClientID != "c" || got.RegistrationSource != mcpoauth.SourceDynamic || len(got.Scopes) != 1 || got.LoggedInAt.IsZero() || got.Expiry.IsZero() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestAListThatEndsEarly, and one of a login that went meanwhile.
func TestAListThatEndsEarly(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		for range mcpoauth.List(t.Context(), w.st) {
			break
		}
		w.st.set(func(s *loose) { s.loadErr = errors.New("unreadable") })
		n := 0
		for st, err := range mcpoauth.List(t.Context(), w.st) {
			n++
			if err != nil || st.State != mcpoauth.StateUnreadable || st.Err == nil || st.ServerURL != c.ServerURL() {
				t.Errorf("unreadable: %+v, %v", st, err)
			}
		}
		if n != 1 {
			t.Errorf("%d are listed", n)
		}
		w.st.set(func(s *loose) { s.loadErr = nil })
		for range mcpoauth.List(t.Context(), gone{w.st.Store}) {
			t.Error("a login that has gone is listed")
		}
		if _, err := w.open(mcpoauth.Options{Store: memstore.New()}).Status(t.Context()); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("no login: %v", err)
		}
	})
}

// TestALogoutWhereNothingCanBeRevoked says so.
func TestALogoutWhereNothingCanBeRevoked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change      func(*record.Login)
		revocations int
		revoked     bool
		detail      string
	}{
		"no revocation endpoint": {func(rec *record.Login) { rec.RevocationEndpoint = "" }, 0, false, "offers no revocation"},
		"no refresh token":       {func(rec *record.Login) { rec.RefreshToken = "" }, 1, true, ""},
		"in order":               {func(*record.Login) {}, 2, true, ""},
	} {
		inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
			c, _ := w.loggedIn(mcpoauth.Options{})
			w.change(c, tc.change)
			res, err := c.Logout(t.Context())
			if err != nil || !res.WasLoggedIn || res.Revoked != tc.revoked || !strings.Contains(res.Detail, tc.detail) || w.srv.Count("revocation") != tc.revocations {
				t.Errorf("%s: %+v, %v, %d revocations", name, res, err, w.srv.Count("revocation"))
			}
		})
	}
}

// TestWhatIsImported, and what is not: nothing is sent for a login that cannot be used.
func TestWhatIsImported(t *testing.T) {
	t.Parallel()
	past, future := time.Unix(1, 0), time.Now().Add(100*365*24*time.Hour) // the world's clock is not ours
	for name, tc := range map[string]struct {
		l        *mcpoauth.ImportedLogin
		o        *mcpoauth.ImportOptions
		loggedIn bool
		err      error // nil for any
		ok       bool
		method   mcpoauth.AuthMethod
	}{
		"in order":                  {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c"}, ok: true, method: mcpoauth.AuthMethodNone},
		"with a secret":             {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", ClientSecret: "s"}, ok: true, method: mcpoauth.AuthMethodPost},
		"with a method":             {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", ClientSecret: "s", ClientAuthMethod: mcpoauth.AuthMethodBasic}, ok: true, method: mcpoauth.AuthMethodBasic},
		"a bearer token":            {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", TokenType: "bearer"}, ok: true, method: mcpoauth.AuthMethodNone},
		"another type":              {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", TokenType: "DPoP"}},
		"nothing":                   {},
		"no token":                  {l: &mcpoauth.ImportedLogin{ClientID: "c", RefreshToken: "r"}},
		"no client":                 {l: &mcpoauth.ImportedLogin{AccessToken: "a"}},
		"over":                      {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", Expiry: past}, err: mcpoauth.ErrLoginRequired},
		"over, with a refresh":      {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", RefreshToken: "r", Expiry: past}, ok: true, method: mcpoauth.AuthMethodNone},
		"good":                      {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", Expiry: future}, ok: true, method: mcpoauth.AuthMethodNone},
		"its secret is over":        {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", ClientSecret: "s", ClientSecretExpiry: past}, err: mcpoauth.ErrLoginRequired},
		"its secret is good":        {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", ClientSecret: "s", ClientSecretExpiry: future}, ok: true, method: mcpoauth.AuthMethodPost},
		"another issuer":            {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", Issuer: "https://other.example"}},
		"there is one":              {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c"}, loggedIn: true, err: mcpoauth.ErrLoginExists},
		"there is one, a try":       {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c"}, o: &mcpoauth.ImportOptions{DryRun: true}, loggedIn: true, err: mcpoauth.ErrLoginExists},
		"there is one, and forced":  {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c"}, o: &mcpoauth.ImportOptions{Force: true}, loggedIn: true, ok: true, method: mcpoauth.AuthMethodNone},
		"a try":                     {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c"}, o: &mcpoauth.ImportOptions{DryRun: true}, ok: true},
		"a try of another's issuer": {l: &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c", Issuer: "https://other.example"}, o: &mcpoauth.ImportOptions{DryRun: true}},
	} {
		inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
			w.srv.Set(func(f *authtest.Faults) {
				f.ServerMetadata = func(m map[string]any) {
					m["token_endpoint_auth_methods_supported"] = []string{"none", "client_secret_post"}
				}
			})
			if tc.loggedIn {
				w.loggedIn(mcpoauth.Options{})
			}
			c := w.open(mcpoauth.Options{})
			tok, err := c.Import(t.Context(), tc.l, tc.o)
			if (err == nil) != tc.ok || tc.err != nil && !errors.Is(err, tc.err) || tc.ok && (tok.AccessToken() != "a" || tok.Type() != "Bearer") {
				t.Errorf("%s: %v", name, err)
			}
			st, serr := c.Status(t.Context())
			if kept := serr == nil && st.ClientID == "c"; kept != (tc.ok && tc.method != "") {
				t.Errorf("%s: stored %t", name, kept)
			} else if kept {
				if rec := stored(t, w.st, c); rec.Registration.AuthMethod != string(tc.method) || rec.Registration.Source != string(mcpoauth.SourceImported) {
					t.Errorf("%s: %+v", name, rec.Registration)
				}
			}
		})
	}
}

// gone is a store whose records go between the listing and the look.
type gone struct{ *memstore.Store }

func (gone) Load(context.Context, store.Key) ([]byte, store.Revision, error) {
	return nil, 0, store.ErrNotFound
}
