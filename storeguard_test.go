package mcpoauth_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
)

// panicky is a store one of whose calls panics.
type panicky struct {
	store.Store
	at atomic.Value // of string
}

const panicked = "a value with a SECRET"

func (p *panicky) when(call string) {
	if p.at.Load() == call {
		panic(panicked)
	}
}

func (p *panicky) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	p.when("load")
	return p.Store.Load(ctx, key)
}

func (p *panicky) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	p.when("save")
	return p.Store.Save(ctx, key, data, rev)
}

func (p *panicky) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	p.when("delete")
	return p.Store.Delete(ctx, key, rev)
}

func (p *panicky) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return func(yield func(store.Key, error) bool) {
		p.when("list")
		p.Store.List(ctx, f)(yield)
	}
}

func (p *panicky) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	p.when("lock")
	held, unlock, err := p.Store.Lock(ctx, key, name)
	return held, func() error { err := unlock(); p.when("unlock"); return err }, err
}

func (p *panicky) Probe(context.Context) error { p.when("probe"); return nil }

// TestAStoreThatPanics fails the call, and not the program. What it panics with is in the log at level debug only.
func TestAStoreThatPanics(t *testing.T) {
	t.Parallel()
	errorOf := func(_ any, err error) error { return err }
	for name, tc := range map[string]struct {
		at   string
		call func(ctx context.Context, c *mcpoauth.Client) error
		ok   bool
	}{
		"a token":             {"load", func(ctx context.Context, c *mcpoauth.Client) error { return errorOf(c.Token(ctx, nil)) }, false},
		"a status":            {"load", func(ctx context.Context, c *mcpoauth.Client) error { return errorOf(c.Status(ctx)) }, false},
		"a request":           {"load", func(_ context.Context, c *mcpoauth.Client) error { return errorOf(tryPing(c)) }, false},
		"a login":             {"probe", func(ctx context.Context, c *mcpoauth.Client) error { return login(ctx, c) }, false},
		"a login's lock":      {"lock", func(ctx context.Context, c *mcpoauth.Client) error { return login(ctx, c) }, false},
		"a login's unlocking": {"unlock", func(ctx context.Context, c *mcpoauth.Client) error { return login(ctx, c) }, true},
		"a logout":            {"delete", func(ctx context.Context, c *mcpoauth.Client) error { return errorOf(c.Logout(ctx)) }, false},
		"a listing":           {"list", func(ctx context.Context, c *mcpoauth.Client) error { return errorOf(c.Logout(ctx)) }, true},
		"half a login's probe": {"probe", func(ctx context.Context, c *mcpoauth.Client) error {
			return errorOf(c.BeginLogin(ctx, "https://app.example/cb"))
		}, false},
		"half a login": {"save", func(ctx context.Context, c *mcpoauth.Client) error {
			return errorOf(c.BeginLogin(ctx, "https://app.example/cb"))
		}, false},
		"the other half": {"load", func(ctx context.Context, c *mcpoauth.Client) error {
			return errorOf(c.FinishLogin(ctx, "id", url.Values{}))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				w.loggedIn(mcpoauth.Options{})
				st := &panicky{Store: w.st.Store}
				var everything, usual bytes.Buffer
				logger := slog.New(slog.NewTextHandler(&everything, &slog.HandlerOptions{Level: slog.LevelDebug}))
				c := w.open(mcpoauth.Options{Store: st, Logger: logger, Prompt: w.net.person(t, &w.asked)})
				st.at.Store(tc.at)
				err := tc.call(t.Context(), c)
				st.at.Store("")
				if (err == nil) != tc.ok || err != nil && (!strings.Contains(err.Error(), "internal error") || !strings.Contains(mcpoauth.Hint(err), "debug")) {
					t.Errorf("%v (%s)", err, mcpoauth.Hint(err))
				}
				for line := range strings.Lines(everything.String()) {
					if !strings.Contains(line, "level=DEBUG") {
						usual.WriteString(line)
					}
				}
				if err != nil && strings.Contains(err.Error(), "SECRET") || strings.Contains(usual.String(), "SECRET") || strings.Contains(usual.String(), "goroutine") {
					t.Errorf("%v\n%s", err, &usual)
				}
				if !strings.Contains(everything.String(), panicked) || !strings.Contains(everything.String(), "storeguard_test.go") {
					t.Errorf("the log at level debug lacks it: %s", &everything)
				}
			})
		})
	}
}

func login(ctx context.Context, c *mcpoauth.Client) error {
	_, err := c.Login(ctx, &mcpoauth.LoginOptions{Force: true})
	return err
}

// TestAPromptThatPanics fails the login, and not the program.
func TestAPromptThatPanics(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c := w.open(mcpoauth.Options{Prompt: func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) { panic(panicked) }})
		if err := login(t.Context(), c); err == nil || errors.Is(err, mcpoauth.ErrTemporary) || !strings.Contains(err.Error(), "internal error") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("got %v", err)
		}
	})
}
