package mcpoauth_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

func TestALoginInTwoHalves(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{Lenient: true})
	st := memstore.New()
	ctx := context.Background()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
	const redirect = "https://app.example/oauth/back"
	a, err := c.BeginLogin(ctx, redirect)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.BeginLogin(ctx, redirect)
	if err != nil {
		t.Fatal(err)
	}
	if n := srv.Count("registration"); n != 1 {
		t.Errorf("%d registrations", n)
	}
	callback := func(target string) map[string][]string {
		back, err := srv.Decide(ctx, target, true)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodGet, back, nil)
		if err != nil || !strings.HasPrefix(back, redirect) {
			t.Fatal(back, err)
		}
		return req.URL.Query()
	}
	answer := callback(b.URL)
	// Somebody else's answer is refused and costs nothing.
	if _, err := mcpoauth.FinishLogin(ctx, a.ID, answer, &mcpoauth.Options{Store: st}); err == nil {
		t.Fatal("the answer to another login was taken")
	}
	done, err := mcpoauth.FinishLogin(ctx, b.ID, answer, &mcpoauth.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if s := ping(t, done); s != 200 {
		t.Errorf("status %d", s)
	}
	if _, err := mcpoauth.FinishLogin(ctx, b.ID, answer, &mcpoauth.Options{Store: st}); err == nil {
		t.Error("a login was finished twice")
	}
	if _, err := mcpoauth.FinishLogin(ctx, a.ID, callback(a.URL), &mcpoauth.Options{Store: st}); err != nil {
		t.Error(err)
	}
}
