package mcpoauth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

// TestStatus says what the store knows, and asks no server.
func TestStatus(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*record.Login)
		wait   time.Duration
		state  mcpoauth.State
		reason string
	}{
		"a good token":                    {state: mcpoauth.StateValid},
		"a token that has ended":          {wait: 2 * time.Hour, state: mcpoauth.StateRefreshable},
		"and no refresh token":            {change: func(r *record.Login) { r.RefreshToken = "" }, wait: 2 * time.Hour, state: mcpoauth.StateLoginRequired, reason: "no refresh token"},
		"a good token, no refresh token":  {change: func(r *record.Login) { r.RefreshToken = "" }, state: mcpoauth.StateValid},
		"a login that has ended":          {change: func(r *record.Login) { r.LoginRequired = "it was revoked" }, state: mcpoauth.StateLoginRequired, reason: "it was revoked"},
		"and whose token has ended":       {change: func(r *record.Login) { r.LoginRequired = "it was revoked" }, wait: 2 * time.Hour, state: mcpoauth.StateLoginRequired, reason: "it was revoked"},
		"a token without an end":          {change: func(r *record.Login) { r.Expiry = time.Time{} }, wait: 1000 * time.Hour, state: mcpoauth.StateValid},
		"an end of another refresh token": {change: func(r *record.Login) { r.LoginRequired, r.LoginRequiredFor = "it was revoked", "x" }, state: mcpoauth.StateValid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, tok := w.loggedIn(mcpoauth.Options{Profile: "work"})
				rec := record.Login{}
				if tc.change != nil {
					rec = *w.rewrite(c, "work", tc.change)
				}
				time.Sleep(tc.wait)
				before := len(w.srv.Requests())
				var listed *mcpoauth.Status
				for s, err := range mcpoauth.List(t.Context(), w.st) {
					if err != nil || listed != nil {
						t.Fatal(s, err)
					}
					listed = s
				}
				other := w.open(mcpoauth.Options{Profile: "work"})
				status, err := other.Status(t.Context())
				if err != nil || listed == nil {
					t.Fatal(err)
				}
				for _, s := range []*mcpoauth.Status{status, listed} {
					if s.State != tc.state || !strings.Contains(s.Reason, tc.reason) || s.Reason != "" && tc.reason == "" {
						// Who lists has not the settings that an end may depend on.
						if s != listed || rec.LoginRequiredFor == "" {
							t.Errorf("%s, %q", s.State, s.Reason)
						}
					}
					if s.ServerURL != w.srv.MCPURL() || s.Profile != "work" || s.Resource != w.srv.MCPURL() || s.Issuer != w.srv.Issuer() || !strings.HasPrefix(s.ClientID, "client-") ||
						s.RegistrationSource != mcpoauth.SourceDynamic || !slices.Equal(s.Scopes, tok.Scopes()) || s.Bound || s.IdentityProvider || s.Err != nil {
						t.Errorf("%+v", s)
					}
				}
				if len(w.srv.Requests()) != before {
					t.Error("a server was asked")
				}
			})
		})
	}
}

// rewrite changes the stored login of a profile, and returns it.
func (w *world) rewrite(c *mcpoauth.Client, profile string, f func(*record.Login)) *record.Login {
	w.t.Helper()
	key := loginKey(c, profile)
	data, rev, err := w.st.Load(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	rec, err := record.DecodeLogin(data)
	if err != nil {
		w.t.Fatal(err)
	}
	f(rec)
	if data, err = rec.Encode(); err == nil {
		_, err = w.st.Save(w.t.Context(), key, data, rev)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// TestAListWithADamagedLogin has the others too, and says which cannot be read.
func TestAListWithADamagedLogin(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		damaged, _ := w.loggedIn(mcpoauth.Options{})
		w.loggedIn(mcpoauth.Options{Profile: "work"})
		w.damage(damaged)
		states := map[string]mcpoauth.State{}
		for s, err := range mcpoauth.List(t.Context(), w.st) {
			if err != nil {
				t.Fatal(err)
			}
			states[s.Profile] = s.State
			if (s.Err != nil) != (s.State == mcpoauth.StateUnreadable) || s.ServerURL == "" {
				t.Errorf("%+v", s)
			}
		}
		if states[""] != mcpoauth.StateUnreadable || states["work"] != mcpoauth.StateValid || len(states) != 2 {
			t.Errorf("%v", states)
		}
	})
}

// TestALoginThatIsNotThere is no failure of the store.
func TestALoginThatIsNotThere(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c := w.open(mcpoauth.Options{Profile: "work"})
		_, err := c.Status(t.Context())
		e, ok := errors.AsType[*mcpoauth.LoginRequiredError](err)
		if !ok || e.ServerURL != w.srv.MCPURL() || e.Profile != "work" || e.Reason != "not logged in" {
			t.Errorf("got %v", err)
		}
	})
}
