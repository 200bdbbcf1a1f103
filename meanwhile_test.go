package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestWhatHappensToTheLoginWhileItIsRefreshed: another process, which may not even have taken the lock, has renewed or
// removed the login when the response arrives.
func TestWhatHappensToTheLoginWhileItIsRefreshed(t *testing.T) {
	t.Parallel()
	const theirs = "the-token-of-the-other-process"
	renewed := func(t *testing.T, st store.Store, c *mcpoauth.Client) {
		rec := stored(t, st, c)
		rec.AccessToken, rec.RefreshToken, rec.IssuedAt, rec.Expiry = theirs, "their-refresh-token", time.Now(), time.Now().Add(time.Hour)
		overwrite(t, st, c, rec)
	}
	ended := func(t *testing.T, st store.Store, c *mcpoauth.Client) {
		rec := stored(t, st, c)
		rec.LoginRequired = "the other process has found its end"
		overwrite(t, st, c, rec)
	}
	removed := func(t *testing.T, st store.Store, c *mcpoauth.Client) {
		if err := st.Delete(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()}, 0); err != nil {
			t.Error(err)
		}
	}
	nothing := func(*testing.T, store.Store, *mcpoauth.Client) {}
	for name, tc := range map[string]struct {
		meanwhile func(*testing.T, store.Store, *mcpoauth.Client)
		refused   bool // by the server, with invalid_grant
		token     string
		required  string // why a login is required
		revoked   int
		kept      func(*record.Login) bool
	}{
		"renewed, and ours is refused":  {meanwhile: renewed, refused: true, token: theirs, kept: func(r *record.Login) bool { return r.AccessToken == theirs && r.LoginRequired == "" }},
		"renewed, and ours is accepted": {meanwhile: renewed, token: theirs, kept: func(r *record.Login) bool { return r.AccessToken == theirs }},
		"ended, and ours is accepted":   {meanwhile: ended, required: "the other process has found its end"},
		"removed, and ours is accepted": {meanwhile: removed, required: "logged out in the meantime", revoked: 1},
		"removed, and ours is refused":  {meanwhile: removed, refused: true, required: "the server no longer accepts the refresh token"},
		"nothing, and ours is refused":  {meanwhile: nothing, refused: true, required: "the server no longer accepts the refresh token", kept: func(r *record.Login) bool { return r.LoginRequired != "" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, nil)
			st := memstore.New()
			saveFailed := 0
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{
				Store: st, Prompt: (&person{srv: srv}).prompt,
				Trace: &mcpoauth.Trace{SaveFailed: func(context.Context, mcpoauth.LoginEvent, error) { saveFailed++ }},
			})
			tok, err := c.Login(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": func(w http.ResponseWriter, r *http.Request) bool {
					tc.meanwhile(t, st, c)
					return tc.refused && page(http.StatusBadRequest, "application/json", `{"error":"invalid_grant"}`)(w, r)
				}}
			})
			got, err := c.TokenRejected(t.Context(), tok)
			if tc.token != "" {
				if err != nil || got.AccessToken() != tc.token {
					t.Errorf("got %v, %v", got, err)
				}
			} else if required, ok := errors.AsType[*mcpoauth.LoginRequiredError](err); !ok || required.Reason != tc.required {
				t.Errorf("got %v", err)
			}
			if n := srv.Count("revocation"); n != tc.revoked {
				t.Errorf("%d revocations", n)
			}
			if saveFailed != 0 {
				t.Errorf("%d saves are said to have failed", saveFailed)
			}
			if tc.kept != nil && !tc.kept(stored(t, st, c)) {
				t.Error("the record is not theirs")
			}
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if tc.kept != nil && !tc.kept(stored(t, st, c)) {
				t.Error("after Close the record is not theirs")
			}
		})
	}
}

// TestAnExpiredClientSecretIsNotPosted: the server could only refuse it, and count that.
func TestAnExpiredClientSecretIsNotPosted(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	tok, err := c.Login(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := stored(t, st, c)
	rec.Registration.SecretExpiry = time.Now().Add(-time.Minute)
	overwrite(t, st, c, rec)
	for range 2 {
		_, err := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st}).TokenRejected(t.Context(), tok)
		if required, ok := errors.AsType[*mcpoauth.LoginRequiredError](err); !ok || required.Reason != "the client's registration has expired" {
			t.Errorf("got %v", err)
		}
	}
	if n := srv.Count("refresh"); n != 0 || stored(t, st, c).LoginRequired == "" {
		t.Errorf("%d refreshes; the record says %q", n, stored(t, st, c).LoginRequired)
	}
	rec.Registration.SecretExpiry = time.Now().Add(time.Minute)
	overwrite(t, st, c, rec)
	if _, err := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st}).TokenRejected(t.Context(), tok); err != nil || srv.Count("refresh") != 1 {
		t.Errorf("before its end: %v, %d refreshes", err, srv.Count("refresh"))
	}
}

// readOnlyStore is a store that cannot be written.
type readOnlyStore struct{ store.Store }

func (readOnlyStore) Probe(context.Context) error { return errors.New("read-only file system") }

// TestNobodyLogsInForAStoreThatCannotBeWritten.
func TestNobodyLogsInForAStoreThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: readOnlyStore{memstore.New()}, Prompt: nobody(t)})
	if _, err := c.Login(t.Context(), nil); err == nil || srv.Count("registration") != 0 {
		t.Errorf("Login: %v, %d registrations", err, srv.Count("registration"))
	}
	if _, err := c.BeginLogin(t.Context(), "https://app.example/callback"); err == nil {
		t.Error("BeginLogin began")
	}
	if _, err := c.Import(t.Context(), &mcpoauth.ImportedLogin{AccessToken: "a", RefreshToken: "r", ClientID: "c"}, nil); err == nil {
		t.Error("Import imported")
	}
}

// TestALoginClearsTheNoteOfALostRefresh: what the server did with the old refresh token is nothing to the new one.
func TestALoginClearsTheNoteOfALostRefresh(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{AccessTokenLifetime: time.Hour})
	st := memstore.New()
	notes := func() (n int) {
		for _, err := range st.List(t.Context(), store.Filter{Kind: store.KindPending}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	tok, err := c.Login(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	srv.Set(func(f *authtest.Faults) { f.DropTokenAnswers = 1 })
	if _, err := c.TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrTemporary) || notes() != 1 {
		t.Fatalf("%v, %d notes", err, notes())
	}
	if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil || notes() != 0 {
		t.Errorf("after the login: %v, %d notes", err, notes())
	}
	// The pause of the failure is over too.
	fresh, err := c.Token(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.TokenRejected(t.Context(), fresh); err != nil {
		t.Errorf("the next refresh: %v", err)
	}
}
