package mcpoauth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// It has a row in docs/compatibility.md.
func TestATokenThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := &brokenStore{Store: memstore.New()}
	var failures int
	var mu sync.Mutex
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Trace: &mcpoauth.Trace{
		SaveFailed: func(context.Context, mcpoauth.LoginEvent, error) { mu.Lock(); failures++; mu.Unlock() },
	}})
	if err != nil {
		t.Fatal(err)
	}
	ping(t, c)
	st.set(true)
	srv.Expire()
	if s := ping(t, c); s != 200 {
		t.Errorf("status %d", s)
	}
	if failures != 1 {
		t.Errorf("%d failures were said", failures)
	}
	// Refreshing on top of what is not saved must use the new refresh token.
	srv.Expire()
	if s := ping(t, c); s != 200 || srv.Revoked() != 0 {
		t.Errorf("status %d, %d logins revoked", s, srv.Revoked())
	}
	if err := c.Close(context.Background()); err == nil {
		t.Error("Close did not report what is not saved")
	}
	st.set(false)
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	next := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: nobody(t)})
	if s := ping(t, next); s != 200 {
		t.Errorf("after a restart: status %d", s)
	}
}

// TestCloseWaitsForNoStore: a locked keyring, or another process with the lock, holds up nobody who wants to end.
func TestCloseWaitsForNoStore(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"load", "lock"} {
		synctest.Test(t, func(t *testing.T) {
			st := &stuckStore{Store: memstore.New(), stuck: make(chan struct{})}
			c, err := mcpoauth.New("https://mcp.example.com/mcp", &mcpoauth.Options{Store: st})
			if err != nil {
				t.Fatal(err)
			}
			rec := &record.Login{
				Issuer: "https://as.example.com", AccessToken: "a", RefreshToken: "r", Expiry: time.Now().Add(-time.Hour),
				TokenEndpoint: "https://as.example.com/token", Registration: record.Registration{ClientID: "c"},
			}
			data, err := rec.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Save(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()}, data, 0); err != nil {
				t.Fatal(err)
			}
			st.what = what
			failed := make(chan error, 1)
			go func() { _, err := c.Token(context.Background(), nil); failed <- err }()
			<-st.stuck
			start := time.Now()
			if err := c.Close(context.Background()); err != nil || time.Since(start) != 0 {
				t.Errorf("%s: it took %v, %v", what, time.Since(start), err)
			}
			if err := <-failed; !errors.Is(err, mcpoauth.ErrClosed) {
				t.Errorf("%s: the caller got %v", what, err)
			}
		})
	}
}
