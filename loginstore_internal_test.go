package mcpoauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// scripted is a store whose calls for one kind of record fail as the test wants; nil succeeds.
type scripted struct {
	*memstore.Store
	kind             store.Kind
	load, save, lock func() error
}

func newScripted() *scripted { return &scripted{Store: memstore.New(), kind: store.KindLogin} }

func (s *scripted) fails(kind store.Kind, f func() error) error {
	if f == nil || kind != s.kind {
		return nil
	}
	return f()
}

func (s *scripted) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if err := s.fails(key.Kind, s.load); err != nil {
		return nil, 0, err
	}
	return s.Store.Load(ctx, key)
}

func (s *scripted) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	if err := s.fails(key.Kind, s.save); err != nil {
		return 0, err
	}
	return s.Store.Save(ctx, key, data, rev)
}

func (s *scripted) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if s.lock != nil {
		if err := s.lock(); err != nil {
			return nil, nil, err
		}
	}
	return s.Store.Lock(ctx, key, name)
}

func always(err error) func() error { return func() error { return err } }

// once returns a function that returns the errors one after the other, and nil afterwards.
func inTurn(errs ...error) func() error {
	return func() error {
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

// newLogin returns a Client whose store has this login, and its revision.
func newLogin(t *testing.T, st store.Store, change ...func(*record.Login)) (*Client, *stored) {
	t.Helper()
	c := plainClient(t, Options{Store: st})
	rec := givenLogin(func(r *record.Login) {
		r.ServerURL, r.TokenType, r.IssuedAt, r.Expiry = c.ServerURL(), "Bearer", time.Now(), time.Now().Add(time.Hour)
	})
	for _, f := range change {
		f(rec)
	}
	c.store.replace(t.Context(), rec, 0)
	s, err := c.store.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func expiredLogin(r *record.Login) {
	r.IssuedAt, r.Expiry = time.Now().Add(-time.Hour), time.Now().Add(-time.Second)
}

var errDisk = errors.New("no space left on device")

// TestAStoreThatFailsToRead costs nothing while the token in memory is good.
func TestAStoreThatFailsToRead(t *testing.T) {
	t.Parallel()
	st := newScripted()
	c, _ := newLogin(t, st)
	st.load = always(errDisk)
	if s, err := c.store.reload(t.Context()); err != nil || s.access() != "a" {
		t.Errorf("%v, %v", s, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.store.reload(gone); err == nil {
		t.Error("a caller that left gets a token")
	}
	over := newScripted()
	c, _ = newLogin(t, over, expiredLogin)
	over.load = always(errDisk)
	if _, err := c.store.reload(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("a token that is over: %v", err)
	}
	away := newScripted()
	c, _ = newLogin(t, away, expiredLogin)
	away.load = always(&store.UnreachableError{Err: errDisk})
	if _, err := c.store.reload(t.Context()); !errors.Is(err, ErrTemporary) {
		t.Errorf("a store that is away: %v", err)
	}
}

// TestWhatCanBeReloaded: a login that can be used or renewed.
func TestWhatCanBeReloaded(t *testing.T) {
	t.Parallel()
	none := func(r *record.Login) { r.RefreshToken = "" }
	for name, tc := range map[string]struct {
		change []func(*record.Login)
		says   string // why a login is required, "" if none is
	}{
		"good": {}, "expired": {[]func(*record.Login){expiredLogin}, ""}, "good, with nothing to renew it": {[]func(*record.Login){none}, ""},
		"expired, with nothing to renew it": {[]func(*record.Login){expiredLogin, none}, "no refresh token"},
		"ended":                             {[]func(*record.Login){func(r *record.Login) { r.LoginRequired = "it is over" }}, "it is over"},
	} {
		c, _ := newLogin(t, newScripted(), tc.change...)
		s, err := c.store.reload(t.Context())
		if (err == nil) != (tc.says == "") || (s != nil) != (tc.says == "") || err != nil && (!errors.Is(err, ErrLoginRequired) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAFailedSave is kept, used, and tried again; what has been written meanwhile counts.
func TestAFailedSave(t *testing.T) {
	t.Parallel()
	st := newScripted()
	c, before := newLogin(t, st)
	l := &c.store
	next := *before.rec
	next.AccessToken = "next"
	st.save = always(errDisk)
	s, err := l.adopt(t.Context(), &next, before.rev)
	if err != nil || s.access() != "next" || l.current.Load() != s {
		t.Fatalf("%v, %v", s, err)
	}
	if got, err := l.load(t.Context()); err != nil || got.rec.AccessToken != "next" {
		t.Errorf("not kept: %v", err)
	}
	if err := l.saveUnsaved(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("still failing: %v", err)
	}
	st.save = nil
	if err := l.saveUnsaved(t.Context()); err != nil || l.unsaved != nil {
		t.Errorf("saved: %v, %v", err, l.unsaved)
	}
	now := l.current.Load()
	if now.access() != "next" || now.rev == before.rev {
		t.Errorf("the session has revision %d, as before", now.rev)
	}
	if got, err := l.load(t.Context()); err != nil || got.rec.AccessToken != "next" || got.rev != now.rev {
		t.Errorf("stored: %v", err)
	}
	// Somebody else has written meanwhile.
	last := next
	last.AccessToken = "last"
	st.save = always(errDisk)
	l.keep(t.Context(), &last, before.rev, errDisk) // an old revision
	st.save = nil
	if err := l.saveUnsaved(t.Context()); err != nil || l.unsaved != nil {
		t.Errorf("after a conflict: %v, %v", err, l.unsaved)
	}
	if got, err := l.load(t.Context()); err != nil || got.rec.AccessToken != "next" {
		t.Errorf("theirs does not count: %v", err)
	}
}

// TestASaveThatIsOvertaken: a login that was made while a failed save is tried again stays unsaved itself if need be.
func TestASaveThatIsOvertaken(t *testing.T) {
	t.Parallel()
	st := newScripted()
	c, before := newLogin(t, st)
	l := &c.store
	l.keep(t.Context(), before.rec, before.rev, errDisk)
	newer := *before.rec
	newer.AccessToken = "newer"
	st.save = func() error {
		st.save = nil
		l.keep(t.Context(), &newer, before.rev, errDisk)
		return nil
	}
	if err := l.saveUnsaved(t.Context()); err != nil || l.unsaved == nil || l.unsaved.rec.AccessToken != "newer" || l.current.Load().access() != "newer" {
		t.Errorf("%v, unsaved %+v", err, l.unsaved)
	}
}

// TestALoginReplacesWhatIsThere: other writes give way, a damaged record is set aside, and a store that fails keeps the
// login in memory.
func TestALoginReplacesWhatIsThere(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		save, load func() error
		stored     string
		unsaved    bool
	}{
		"in order":               {stored: "new"},
		"one conflict":           {save: inTurn(store.ErrConflict), stored: "new"},
		"four conflicts":         {save: inTurn(store.ErrConflict, store.ErrConflict, store.ErrConflict, store.ErrConflict), stored: "new"},
		"conflicts without end":  {save: always(store.ErrConflict), stored: "a", unsaved: true},
		"no space":               {save: always(errDisk), stored: "a", unsaved: true},
		"a conflict, unreadable": {save: inTurn(store.ErrConflict, nil), load: inTurn(errDisk), stored: "a", unsaved: true},
		"a conflict, damaged":    {save: inTurn(store.ErrConflict), load: inTurn(&store.CorruptError{Err: errDisk}), stored: "new"},
		"a conflict, removed":    {save: inTurn(store.ErrConflict), load: inTurn(store.ErrNotFound), stored: "new"},
	} {
		st := newScripted()
		c, before := newLogin(t, st)
		rec := *before.rec
		rec.AccessToken = "new"
		st.save, st.load = tc.save, tc.load
		s := c.store.replace(t.Context(), &rec, before.rev)
		st.save, st.load = nil, nil
		if s.access() != "new" || c.store.current.Load().access() != "new" || (c.store.unsaved != nil) != tc.unsaved {
			t.Errorf("%s: %s, unsaved %v", name, s.access(), c.store.unsaved)
		}
		data, _, err := st.Store.Load(t.Context(), c.store.key)
		if err != nil {
			t.Fatal(err)
		}
		if now, err := record.DecodeLogin(data); err != nil || now.AccessToken != tc.stored {
			t.Errorf("%s: stored %q, %v", name, now.AccessToken, err)
		}
		c.store.dropUnsaved()
	}
}

// TestConflicts: the login that another process has saved is used, and one that was removed stays removed.
func TestConflicts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		theirs func(t *testing.T, c *Client)
		want   string
		err    error
	}{
		"a good one": {func(*testing.T, *Client) {}, "a", nil},
		"an expired one": {func(t *testing.T, c *Client) {
			c.store.replace(t.Context(), givenLogin(func(r *record.Login) { r.ServerURL = c.ServerURL(); expiredLogin(r) }), 0)
		}, "", ErrLoginRequired},
		"removed": {func(t *testing.T, c *Client) {
			if err := c.store.store.Delete(t.Context(), c.store.key, 0); err != nil {
				t.Fatal(err)
			}
		}, "", errForgotten},
	} {
		c, before := newLogin(t, newScripted())
		tc.theirs(t, c)
		rec := *before.rec
		rec.AccessToken = "mine"
		s, err := c.store.adopt(t.Context(), &rec, before.rev+100)
		if !errors.Is(err, tc.err) || s.access() != tc.want || c.store.unsaved != nil {
			t.Errorf("%s: %q, %v, unsaved %v", name, s.access(), err, c.store.unsaved)
		}
	}
	st := newScripted()
	c, before := newLogin(t, st)
	st.load = always(errDisk)
	if _, err := c.store.adopt(t.Context(), before.rec, before.rev+100); !errors.Is(err, errDisk) {
		t.Errorf("unreadable: %v", err)
	}
}

// TestTheEndOfALogin is noted in the record it is of, in no other, and in memory if the store fails.
func TestTheEndOfALogin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		save      func() error
		overtaken bool
		stored    string // what the record says
		ended     bool   // whether the session in memory has ended
	}{
		"in order":  {stored: "it is over", ended: true},
		"no space":  {save: always(errDisk), ended: true},
		"overtaken": {overtaken: true},
	} {
		st := newScripted()
		c, before := newLogin(t, st)
		if tc.overtaken {
			newer := *before.rec
			newer.AccessToken = "newer"
			c.store.replace(t.Context(), &newer, before.rev)
		}
		events := 0
		c.trace.hooks = &Trace{LoginRequired: func(_ context.Context, ev LoginEvent, reason string) {
			events++
			if reason != "it is over" || ev.Issuer != testIssuer {
				t.Errorf("%s: %+v, %q", name, ev, reason)
			}
		}}
		st.save = tc.save
		c.store.end(t.Context(), before, "it is over", "")
		st.save = nil
		if got := c.store.current.Load(); (got.ended != "") != tc.ended || events != 1 {
			t.Errorf("%s: %q, %d events", name, got.ended, events)
		}
		data, _, err := st.Store.Load(t.Context(), c.store.key)
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := record.DecodeLogin(data); err != nil || rec.LoginRequired != tc.stored || rec.RefreshToken == "" || rec.LoginRequiredAt.IsZero() != (tc.stored == "") {
			t.Errorf("%s: stored %q, %v", name, rec.LoginRequired, err)
		}
	}
}

// TestWhatTheNextLoginNeeds is noted once, and only for the token that was refused.
func TestWhatTheNextLoginNeeds(t *testing.T) {
	t.Parallel()
	st := newScripted()
	c, _ := newLogin(t, st)
	saves := 0
	st.save = func() error { saves++; return nil }
	required := func() *record.Authentication { return c.store.previous(t.Context()).Required }
	c.store.require(t.Context(), "another", noRequirement)
	if required() != nil || saves != 0 {
		t.Errorf("for another token: %v, %d saves", required(), saves)
	}
	c.store.require(t.Context(), "a", noRequirement)
	if r := required(); r == nil || *r != *noRequirement || saves != 1 || c.store.current.Load().required == nil {
		t.Errorf("noted: %v, %d saves", r, saves)
	}
	c.store.require(t.Context(), "a", &record.Authentication{})
	if saves != 1 {
		t.Errorf("the same again: %d saves", saves)
	}
	c.store.require(t.Context(), "a", &record.Authentication{ACRValues: "mfa"})
	if r := required(); r == nil || r.ACRValues != "mfa" || saves != 2 {
		t.Errorf("another: %v, %d saves", r, saves)
	}
	st.save = always(errDisk)
	c.store.require(t.Context(), "a", noRequirement)
	if r := c.store.current.Load().required; r == nil || r.ACRValues != "mfa" {
		t.Errorf("what was not saved is in memory: %v", r)
	}
}

// TestLocks: a wait has its own limit, and the caller's.
func TestLocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := newScripted()
		c, _ := newLogin(t, st)
		l := &c.store
		_, unlock, err := st.Store.Lock(t.Context(), l.key, "refresh")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		waits := map[WaitReason]int{}
		waited := func() int {
			mu.Lock()
			defer mu.Unlock()
			return waits[WaitRefreshElsewhere]
		}
		c.trace.hooks = &Trace{Waiting: func(_ context.Context, w Waiting) {
			mu.Lock()
			waits[w.For]++
			mu.Unlock()
			if left := time.Until(w.Deadline).Round(time.Second); left != lockLimit && left != time.Second {
				t.Errorf("it says that it waits %v", left)
			}
		}}
		never := func(context.Context) error { t.Error("called without the lock"); return nil }
		start := time.Now()
		if err := l.locked(t.Context(), refreshLock, never); !errors.Is(err, errLockTimeout) || time.Since(start) != lockLimit {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.locked(short, refreshLock, never); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errLockTimeout) {
			t.Errorf("the caller's limit: %v", err)
		}
		if n := waited(); n != 2 {
			t.Errorf("said to wait: %d", n)
		}
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
		called := false
		if err := l.locked(t.Context(), refreshLock, func(held context.Context) error { called = held.Err() == nil; return errDisk }); !errors.Is(err, errDisk) || !called {
			t.Errorf("%v, called %t", err, called)
		}
		// It is free again, and nobody was said to wait.
		if err := l.locked(t.Context(), refreshLock, func(context.Context) error { return nil }); err != nil || waited() != 2 {
			t.Errorf("%v, %v", err, waits)
		}
		st.lock = always(errDisk)
		if err := l.locked(t.Context(), refreshLock, never); !errors.Is(err, errDisk) || errors.Is(err, errLockTimeout) {
			t.Errorf("a store that fails: %v", err)
		}
	})
}

// TestWhatARemovalLeaves: nothing; a record that cannot be read only where the caller excuses that.
func TestWhatARemovalLeaves(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		load    error
		excuse  func(error) bool
		removed bool
	}{
		"in order":               {nil, keepUnreadable, true},
		"damaged":                {&store.CorruptError{Err: errDisk}, keepUnreadable, true},
		"unreadable":             {errDisk, keepUnreadable, false},
		"unreadable, excused":    {errDisk, removeUnreadable, true},
		"away":                   {&store.UnreachableError{Err: errDisk}, removeUnreadable, false},
		"away, and not excused":  {&store.UnreachableError{Err: errDisk}, keepUnreadable, false},
		"not there, not excused": {store.ErrNotFound, keepUnreadable, true},
	} {
		st := newScripted()
		c, _ := newLogin(t, st)
		if tc.load != nil {
			st.load = always(tc.load)
		}
		rec, err := c.store.forget(t.Context(), tc.excuse)
		if (err == nil) != tc.removed || (rec != nil) != (name == "in order") || (c.store.current.Load() == nil) != tc.removed {
			t.Errorf("%s: %v, %v, %v", name, rec != nil, err, c.store.current.Load())
		}
		if _, _, err := st.Store.Load(t.Context(), c.store.key); errors.Is(err, store.ErrNotFound) != tc.removed {
			t.Errorf("%s: stored: %v", name, err)
		}
	}
}

// TestTheJournal counts posts without a response, for one refresh token and a while.
func TestTheJournal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := newScripted()
		st.kind = store.KindPending
		c, _ := newLogin(t, st)
		j := c.login.journal
		begin := func(token string, posts int) *journalEntry {
			t.Helper()
			e, err := j.begin(t.Context(), token)
			if posts == 0 {
				if !errors.Is(err, ErrTemporary) {
					t.Errorf("it may be sent: %v", err)
				}
				return nil
			}
			if err != nil || e.Posts != posts {
				t.Fatalf("post %d: %+v, %v", posts, e, err)
			}
			return e
		}
		begin("r", 1)
		begin("r", 2)
		begin("r", 0)
		begin("another", 1)
		begin("r", 1) // the note of another token was written over its
		begin("r", 2)
		time.Sleep(journalMemory - time.Second)
		begin("r", 0)
		time.Sleep(time.Second)
		e := begin("r", 1)

		lost := &wire.Fault{}
		j.failed(t.Context(), e, lost, 0) // it may have been processed
		e = begin("r", 2)
		j.failed(t.Context(), e, &wire.Fault{Unsent: true}, 0)
		e = begin("r", 1)
		j.failed(t.Context(), e, &wire.Fault{Status: 503}, 0)
		e = begin("r", 1)
		j.failed(t.Context(), e, &wire.Fault{Status: 429, RetryAfter: 20 * time.Second}, 20*time.Second)
		_, err := j.begin(t.Context(), "r")
		if wait, ok := errors.AsType[*TemporaryError](err); !ok || wait.RetryAfter != 20*time.Second {
			t.Errorf("the server wants a pause: %v", err)
		}
		begin("another", 1)
		j.clear(t.Context())
		e = begin("r", 1)
		j.failed(t.Context(), e, &wire.Fault{Status: 429, RetryAfter: time.Hour}, time.Hour)
		_, err = j.begin(t.Context(), "r")
		if wait, ok := errors.AsType[*TemporaryError](err); !ok || wait.RetryAfter != time.Minute {
			t.Errorf("an hour's pause: %v", err)
		}
		time.Sleep(20 * time.Minute) // longer than it is remembered
		e = begin("r", 1)
		j.failed(t.Context(), e, &wire.Fault{Status: 429, RetryAfter: 5 * time.Second}, 5*time.Second)
		time.Sleep(5 * time.Second)
		begin("r", 1)

		if _, err := st.Store.Save(t.Context(), j.key(), []byte("damaged"), mustRevision(t, st, j.key())); err != nil {
			t.Fatal(err)
		}
		begin("r", 1)
		st.save = always(errDisk)
		begin("r", 2) // a note that cannot be written stops nothing
		st.load = always(errDisk)
		if _, err := j.begin(t.Context(), "r"); !errors.Is(err, errDisk) {
			t.Errorf("unreadable: %v", err)
		}
		st.load, st.save = nil, nil
	})
}

func mustRevision(t *testing.T, st store.Store, key store.Key) store.Revision {
	t.Helper()
	_, rev, err := st.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// TestHeadersOfTheSettings go to the server's origin alone, and replace none of the request's.
func TestHeadersOfTheSettings(t *testing.T) {
	t.Parallel()
	c := plainClient(t, Options{Network: NetworkOptions{Header: http.Header{"X-Key": {"secret"}, "X-Own": {"ours"}}}})
	request := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Own", "theirs")
		return r
	}
	r := request("https://mcp.example.com/other")
	if got := c.withHeader(r); got.Header.Get("X-Key") != "secret" || got.Header.Get("X-Own") != "theirs" || r.Header.Get("X-Key") != "" {
		t.Errorf("got %v, the request has %v", got.Header, r.Header)
	}
	for _, url := range []string{"https://evil.example/mcp", "http://mcp.example.com/mcp", "https://mcp.example.com:444/mcp"} {
		if got := c.withHeader(request(url)); got.Header.Get("X-Key") != "" {
			t.Errorf("%s got the header", url)
		}
	}
	if r := request("https://mcp.example.com/mcp"); plainClient(t, Options{}).withHeader(r) != r {
		t.Error("a request is copied for nothing")
	}
}
