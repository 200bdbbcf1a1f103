package mcpoauth_test

import (
	"context"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

func TestLogoutWinsOverARefreshUnderWay(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.TokenDelay = 300 * time.Millisecond })
	errs := make(chan error, 1)
	go func() {
		_, err := c.Token(context.Background(), &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour})
		errs <- err
	}()
	time.Sleep(100 * time.Millisecond)
	other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	if _, err := other.Logout(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-errs
	for key, err := range st.List(context.Background(), store.Filter{Kind: store.KindLogin}) {
		t.Errorf("written back: %v, %v", key, err)
	}
}
