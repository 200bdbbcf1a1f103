package mcpoauth_test

import (
	"errors"
	"fmt"
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
