package mcpoauth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// fakeSource is a tokenSource that answers as the test wants.
type fakeSource struct {
	answer func(previous *stored) (*record.Login, error)
	calls  int
}

func (s *fakeSource) next(_ context.Context, previous *stored, _ tokenRequest) (*record.Login, error) {
	s.calls++
	return s.answer(previous)
}

func (s *fakeSource) saved(context.Context) {}

func (s *fakeSource) standsAlone() bool { return false }

// newFakeRefresher returns a refresher with a stored login whose token is good for an hour.
func newFakeRefresher(t *testing.T) (*refresher, *fakeSource) {
	t.Helper()
	c, err := New("https://mcp.example.com/mcp", &Options{Store: memstore.New()})
	if err != nil {
		t.Fatal(err)
	}
	rec := &record.Login{
		ServerURL: c.ServerURL(), Issuer: "https://as.example.com", AccessToken: "first", RefreshToken: "r", TokenType: "Bearer",
		IssuedAt: time.Now(), Expiry: time.Now().Add(time.Hour), TokenEndpoint: "https://as.example.com/token", Registration: record.Registration{ClientID: "c"},
	}
	c.store.replace(t.Context(), rec, 0)
	source := &fakeSource{answer: func(p *stored) (*record.Login, error) {
		next := *p.rec
		next.AccessToken, next.IssuedAt, next.Expiry = p.rec.AccessToken+"+", time.Now(), time.Now().Add(time.Hour)
		return &next, nil
	}}
	c.refresher.source = source
	return &c.refresher, source
}

// TestPausesOfARefresher: nothing is requested during a pause, and a success ends the series.
func TestPausesOfARefresher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, source := newFakeRefresher(t)
		for range 4 {
			r.pause.Fail(0)
		}
		if _, err := r.renew(t.Context(), tokenRequest{rejected: "first"}); !errors.Is(err, ErrTemporary) || source.calls != 0 {
			t.Errorf("during a pause: %v, %d requests", err, source.calls)
		}
		time.Sleep(time.Minute)
		s, err := r.renew(t.Context(), tokenRequest{rejected: "first"})
		if err != nil || s.access() != "first+" || source.calls != 1 {
			t.Fatalf("after it: %v, %d requests", err, source.calls)
		}
		if pause := r.pause.Fail(0); pause != refreshPauses.base {
			t.Errorf("the first failure after a success pauses for %v", pause)
		}
	})
}

// TestARefresherLooksAgain: what another caller has obtained meanwhile is enough.
func TestARefresherLooksAgain(t *testing.T) {
	r, source := newFakeRefresher(t)
	s, err := r.renew(t.Context(), tokenRequest{rejected: "an older one"})
	if err != nil || s.access() != "first" || source.calls != 0 {
		t.Errorf("%v, %v, %d requests", s.access(), err, source.calls)
	}
}

// TestEarlyRenewal: a token with less validity than requested is renewed, and good enough if that fails.
func TestEarlyRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, source := newFakeRefresher(t)
		if s, err := r.ensure(t.Context(), 30*time.Minute); err != nil || s.access() != "first" || source.calls != 0 {
			t.Errorf("long enough: %v, %d requests", err, source.calls)
		}
		if s, err := r.ensure(t.Context(), 2*time.Hour); err != nil || s.access() != "first+" || source.calls != 1 {
			t.Errorf("too short: %v, %d requests", err, source.calls)
		}
		source.answer = func(*stored) (*record.Login, error) { return nil, &TemporaryError{Err: errors.New("down")} }
		if s, err := r.ensure(t.Context(), 2*time.Hour); err != nil || s.access() != "first+" || source.calls != 2 {
			t.Errorf("a failure: %v, %d requests", err, source.calls)
		}
		time.Sleep(2 * time.Hour)
		if _, err := r.ensure(t.Context(), 0); !errors.Is(err, ErrTemporary) {
			t.Errorf("after its end: %v", err)
		}
	})
}

// TestAnOlderRecordReplacesNoSession: a slow read must not undo a save.
func TestAnOlderRecordReplacesNoSession(t *testing.T) {
	r, _ := newFakeRefresher(t)
	l := r.logins
	st, err := l.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newer := *st.rec
	newer.AccessToken = "newer"
	if _, err := l.adopt(t.Context(), &newer, st.rev); err != nil {
		t.Fatal(err)
	}
	if s := l.publish(st.rec, st.rev); s.access() != "first" || l.current.Load().access() != "newer" {
		t.Errorf("the read gives %q, the session has %q", s.access(), l.current.Load().access())
	}
	// A login that was removed elsewhere ends in memory too.
	if err := l.store.Delete(t.Context(), l.key, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.load(t.Context()); !errors.Is(err, store.ErrNotFound) || l.current.Load() != nil {
		t.Errorf("%v, %v", err, l.current.Load())
	}
}
