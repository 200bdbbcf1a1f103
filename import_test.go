package mcpoauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// foreign makes a login as another program would have it.
func foreign(t *testing.T, srv *authtest.Server) *mcpoauth.ImportedLogin {
	t.Helper()
	st := memstore.New()
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	if _, err := c.Login(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	rec := stored(t, st, c)
	return &mcpoauth.ImportedLogin{
		AccessToken: rec.AccessToken, RefreshToken: rec.RefreshToken, Expiry: rec.Expiry, Scopes: rec.Scopes, Issuer: rec.Issuer,
		ClientID: rec.Registration.ClientID, ClientSecret: rec.Registration.ClientSecret, ClientAuthMethod: mcpoauth.AuthMethod(rec.Registration.AuthMethod),
	}
}

func TestALoginOfAnotherProgramIsTakenOver(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	l := foreign(t, srv)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: nobody(t)})
	before := srv.Count("token") + srv.Count("refresh")
	dry, err := c.Import(t.Context(), l, &mcpoauth.ImportOptions{DryRun: true})
	if err != nil || dry.AccessToken() != l.AccessToken {
		t.Fatalf("dry run: %v", err)
	}
	if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
		t.Errorf("after a dry run: %v", err)
	}
	if _, err := c.Import(t.Context(), l, nil); err != nil {
		t.Fatal(err)
	}
	if got := srv.Count("token") + srv.Count("refresh"); got != before {
		t.Errorf("the import sent %d token requests", got-before)
	}
	if s := ping(t, c); s != 200 {
		t.Errorf("status %d", s)
	}
	srv.Expire()
	if s := ping(t, c); s != 200 || srv.Count("refresh") != 1 {
		t.Errorf("status %d after %d refreshes", s, srv.Count("refresh"))
	}
	if _, err := c.Import(t.Context(), l, nil); !errors.Is(err, mcpoauth.ErrLoginExists) {
		t.Errorf("over a login: %v", err)
	}
}

func TestAnExpiredLoginIsTakenOverIfItCanBeRefreshed(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	l := foreign(t, srv)
	l.Expiry = time.Now().Add(-time.Hour)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: nobody(t)})
	if _, err := c.Import(t.Context(), l, nil); err != nil {
		t.Fatal(err)
	}
	if s := ping(t, c); s != 200 || srv.Count("refresh") != 1 {
		t.Errorf("status %d after %d refreshes", s, srv.Count("refresh"))
	}
}

func TestWhatIsNotTakenOver(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	good := foreign(t, srv)
	for name, tc := range map[string]struct {
		change func(*mcpoauth.ImportedLogin)
		want   func(error) bool
	}{
		"another issuer": {func(l *mcpoauth.ImportedLogin) { l.Issuer = "https://evil.example" }, func(err error) bool {
			var a *mcpoauth.Error
			return errorAt(err, mcpoauth.OpAuthorization, &a) && strings.Contains(err.Error(), "evil.example") && a.Hint != ""
		}},
		"an ended login without a refresh token": {func(l *mcpoauth.ImportedLogin) { l.RefreshToken, l.Expiry = "", time.Now().Add(-time.Minute) }, func(err error) bool {
			return errors.Is(err, mcpoauth.ErrLoginRequired)
		}},
		"an expired client": {func(l *mcpoauth.ImportedLogin) { l.ClientSecretExpiry = time.Now().Add(-time.Minute) }, func(err error) bool {
			return errors.Is(err, mcpoauth.ErrLoginRequired)
		}},
		"no client":          {func(l *mcpoauth.ImportedLogin) { l.ClientID = "" }, func(err error) bool { return err != nil }},
		"no access token":    {func(l *mcpoauth.ImportedLogin) { l.AccessToken = "" }, func(err error) bool { return err != nil }},
		"a token of its own": {func(l *mcpoauth.ImportedLogin) { l.TokenType = "mac" }, func(err error) bool { return err != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			l := *good
			tc.change(&l)
			st := memstore.New()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
			if _, err := c.Import(t.Context(), &l, nil); !tc.want(err) {
				t.Errorf("got %v", err)
			}
			if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
				t.Errorf("something was kept: %v", err)
			}
		})
	}
	out := fmt.Sprintf("%v %+v %#v %s %q", good, *good, *good, good, *good)
	if strings.Contains(out, good.AccessToken) || strings.Contains(out, good.RefreshToken) {
		t.Errorf("a secret was printed: %s", out)
	}
}

// TestAnImportAndALogin: one that was made while the server was asked is not replaced, unless that is wanted; one that
// could not be saved is no success.
func TestAnImportAndALogin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opts  mcpoauth.ImportOptions
		there bool // already before
		err   error
	}{
		"made meanwhile":                {err: mcpoauth.ErrLoginExists},
		"made meanwhile, by force":      {opts: mcpoauth.ImportOptions{Force: true}},
		"there already":                 {there: true, err: mcpoauth.ErrLoginExists},
		"there already, by force":       {opts: mcpoauth.ImportOptions{Force: true}, there: true},
		"there already, and a dry run":  {opts: mcpoauth.ImportOptions{DryRun: true}, there: true, err: mcpoauth.ErrLoginExists},
		"by force, and a dry run":       {opts: mcpoauth.ImportOptions{DryRun: true, Force: true}, there: true},
		"made meanwhile, and a dry run": {opts: mcpoauth.ImportOptions{DryRun: true}, err: mcpoauth.ErrLoginExists},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				l := &mcpoauth.ImportedLogin{AccessToken: "imported", ClientID: "theirs", RefreshToken: "r"}
				if tc.there {
					w.loggedIn(mcpoauth.Options{})
				} else {
					done := false
					w.answer("resource-metadata", func(http.ResponseWriter, *http.Request) bool {
						if !done {
							done = true
							w.loggedIn(mcpoauth.Options{})
						}
						return false
					})
				}
				c := w.open(mcpoauth.Options{})
				tok, err := c.Import(t.Context(), l, &tc.opts)
				if tc.err == nil && (err != nil || tok.AccessToken() != "imported") || tc.err != nil && !errors.Is(err, tc.err) {
					t.Errorf("got %v", err)
				}
				if replaced := stored(t, w.st, c).AccessToken == "imported"; replaced != (tc.err == nil && !tc.opts.DryRun) {
					t.Errorf("replaced: %t", replaced)
				}
			})
		})
	}
	t.Run("not saved", func(t *testing.T) {
		t.Parallel()
		inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
			full := errors.New("no space left")
			w.st.set(func(s *loose) { s.saveErr = full })
			c := w.open(mcpoauth.Options{})
			if _, err := c.Import(t.Context(), &mcpoauth.ImportedLogin{AccessToken: "imported", ClientID: "theirs"}, nil); !errors.Is(err, full) {
				t.Errorf("got %v", err)
			}
			w.st.set(func(s *loose) { s.saveErr = nil })
		})
	})
}
