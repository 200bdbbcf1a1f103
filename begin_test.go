package mcpoauth_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
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

// half is a login that has begun and whose person has agreed.
type half struct {
	id       string
	callback url.Values
}

func (w *world) begin(c *mcpoauth.Client, redirectURI string) half {
	w.t.Helper()
	begun, err := c.BeginLogin(w.t.Context(), redirectURI)
	if err != nil {
		w.t.Fatal(err)
	}
	reply, err := w.net.person(w.t, &w.asked)(w.t.Context(), &mcpoauth.LoginPrompt{URL: begun.URL})
	if err != nil {
		w.t.Fatal(err)
	}
	back, err := url.Parse(reply.RedirectURL)
	if err != nil || !strings.HasPrefix(reply.RedirectURL, redirectURI) {
		w.t.Fatal(reply.RedirectURL, err)
	}
	return half{begun.ID, back.Query()}
}

const webCallback = "https://app.example/back"

// TestAHalfLoginEndsAfterTenMinutes.
func TestAHalfLoginEndsAfterTenMinutes(t *testing.T) {
	t.Parallel()
	for wait, ok := range map[time.Duration]bool{10 * time.Minute: true, 10*time.Minute + time.Second: false} {
		t.Run(wait.String(), func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c := w.open(mcpoauth.Options{})
				login := w.begin(c, webCallback)
				time.Sleep(wait)
				tokens := w.srv.Count("token")
				_, err := c.FinishLogin(t.Context(), login.id, login.callback)
				// The server's code does not live that long.
				if tried := w.srv.Count("token") > tokens; tried != ok || err == nil || strings.Contains(err.Error(), "too long ago") == ok {
					t.Errorf("the code was sent: %t, %v", tried, err)
				}
			})
		})
	}
}

// TestWhatFinishesNoLogin: a callback that is not the login's own, or a login that is not this Client's.
func TestWhatFinishesNoLogin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(w *world, h *half)
		opts   mcpoauth.Options
		other  bool // another server's Client
		again  bool // the login is still pending
		text   string
	}{
		"another state":    {change: func(_ *world, h *half) { h.callback.Set("state", "x") }, again: true, text: "another login"},
		"no state":         {change: func(_ *world, h *half) { h.callback.Del("state") }, again: true, text: "another login"},
		"another issuer":   {change: func(_ *world, h *half) { h.callback.Set("iss", "https://evil.example") }, text: "another authorization server"},
		"no issuer":        {change: func(_ *world, h *half) { h.callback.Del("iss") }, text: "RFC 9207"},
		"a refusal":        {change: func(_ *world, h *half) { h.callback.Del("code"); h.callback.Set("error", "access_denied") }, text: "denied"},
		"no such login":    {change: func(_ *world, h *half) { h.id = "x" }, text: "no login was begun"},
		"another account":  {opts: mcpoauth.Options{Profile: "work"}, again: true, text: "no login was begun"},
		"another server's": {other: true, text: "another server"},
		"at the same time": {change: func(w *world, _ *half) {
			w.st.set(func(s *loose) { s.onDelete = func() error { return store.ErrConflict } })
		}, text: "being finished already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				login := w.begin(w.open(mcpoauth.Options{}), webCallback)
				good := half{login.id, url.Values(http.Header(login.callback).Clone())}
				if tc.change != nil {
					tc.change(w, &login)
				}
				c := w.open(tc.opts)
				if tc.other {
					c = newClient(t, "https://other.example/mcp", w.options(mcpoauth.Options{}))
				}
				if _, err := c.FinishLogin(t.Context(), login.id, login.callback); err == nil || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("got %v", err)
				}
				if n := w.srv.Count("token"); n != 0 {
					t.Errorf("%d codes were sent", n)
				}
				if tc.again {
					if _, err := w.open(mcpoauth.Options{}).FinishLogin(t.Context(), good.id, good.callback); err != nil {
						t.Errorf("the login's own callback: %v", err)
					}
				}
			})
		})
	}
}

// TestWhereAHalfLoginMayReturn: an absolute address without a fragment, for which a client is registered.
func TestWhereAHalfLoginMayReturn(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c := w.open(mcpoauth.Options{})
		for _, bad := range []string{"", "/back", "//app.example/back", "https:/back", "https://app.example/back#x", "mailto:x@example.com", "%"} {
			if _, err := c.BeginLogin(t.Context(), bad); err == nil {
				t.Errorf("%q was taken", bad)
			}
		}
		if n := len(w.srv.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
		for i, address := range []string{webCallback, webCallback, "https://app.example:8443/back", "https://app.example/other"} {
			login := w.begin(c, address)
			if _, err := c.FinishLogin(t.Context(), login.id, login.callback); err != nil {
				t.Errorf("%s: %v", address, err)
			}
			if want := []int{1, 1, 2, 3}[i]; w.srv.Count("registration") != want {
				t.Errorf("%s: %d registrations, want %d", address, w.srv.Count("registration"), want)
			}
		}
		if status := ping(t, c); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	})
}
