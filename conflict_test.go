package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// duringRefresh calls fn while the next refresh is at the server, and lets the server answer afterwards, unless fn has
// answered.
func (w *world) duringRefresh(fn func(rw http.ResponseWriter, r *http.Request) bool) {
	var once atomic.Bool
	w.answer("refresh", func(rw http.ResponseWriter, r *http.Request) bool {
		return once.CompareAndSwap(false, true) && fn(rw, r)
	})
}

// TestTheWinnersTokenIsUsed: where locks exclude nobody two processes present one refresh token. The one that is refused
// finds the other's token in the store; the login goes on.
func TestTheWinnersTokenIsUsed(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		_, tok := w.loggedIn(mcpoauth.Options{})
		w.st.set(func(s *loose) { s.unlocked = true })
		winner := w.open(mcpoauth.Options{})
		ended := 0
		loser := w.open(mcpoauth.Options{Trace: &mcpoauth.Trace{LoginRequired: func(context.Context, mcpoauth.LoginEvent, string) { ended++ }}})
		w.duringRefresh(func(rw http.ResponseWriter, r *http.Request) bool {
			if _, err := winner.TokenRejected(t.Context(), tok); err != nil {
				t.Error(err)
			}
			return page(400, "application/json", `{"error":"invalid_grant"}`)(rw, r)
		})
		got, err := loser.TokenRejected(t.Context(), tok)
		if err != nil || w.srv.Count("refresh") != 2 {
			t.Fatalf("%v, %d posts", err, w.srv.Count("refresh"))
		}
		rec := stored(t, w.st, winner)
		if got.AccessToken() != rec.AccessToken || got.AccessToken() == tok.AccessToken() || rec.LoginRequired != "" || ended != 0 {
			t.Errorf("the winner's: %t, the old one: %t, ended: %q, %d", got.AccessToken() == rec.AccessToken, got.AccessToken() == tok.AccessToken(), rec.LoginRequired, ended)
		}
		// A refusal that no other process explains is one.
		w.answer("refresh", page(400, "application/json", `{"error":"invalid_grant"}`))
		if _, err := loser.TokenRejected(t.Context(), got); !errors.Is(err, mcpoauth.ErrLoginRequired) || ended != 1 {
			t.Errorf("got %v, %d ends", err, ended)
		}
	})
}

// TestAConflictIsNoFailedSave: both processes got a token, and the one that was saved first counts for both. Nothing is
// left to be saved later.
func TestAConflictIsNoFailedSave(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{NoRotation: true}, func(t *testing.T, w *world) {
		_, tok := w.loggedIn(mcpoauth.Options{})
		w.st.set(func(s *loose) { s.unlocked = true })
		first := w.open(mcpoauth.Options{})
		failed := 0
		second := w.open(mcpoauth.Options{Trace: &mcpoauth.Trace{SaveFailed: func(context.Context, mcpoauth.LoginEvent, error) { failed++ }}})
		var theirs *mcpoauth.Token
		w.duringRefresh(func(http.ResponseWriter, *http.Request) bool {
			var err error
			if theirs, err = first.TokenRejected(t.Context(), tok); err != nil {
				t.Error(err)
			}
			return false
		})
		got, err := second.TokenRejected(t.Context(), tok)
		if err != nil || theirs == nil {
			t.Fatal(err)
		}
		if got.AccessToken() != theirs.AccessToken() || stored(t, w.st, first).AccessToken != theirs.AccessToken() || failed != 0 {
			t.Errorf("the stored one: %t, %d failed saves", got.AccessToken() == theirs.AccessToken(), failed)
		}
		if err := second.Close(t.Context()); err != nil || stored(t, w.st, first).AccessToken != theirs.AccessToken() {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestAnEndThatAnotherProcessNoted meanwhile is an end for the one whose token came late.
func TestAnEndThatAnotherProcessNoted(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{NoRotation: true}, func(t *testing.T, w *world) {
		c, tok := w.loggedIn(mcpoauth.Options{})
		w.duringRefresh(func(http.ResponseWriter, *http.Request) bool {
			w.change(c, func(rec *record.Login) { rec.LoginRequired = "a test ended it" })
			return false
		})
		if _, err := w.open(mcpoauth.Options{}).TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("got %v", err)
		}
	})
}

// TestASlowReadBringsNoOldToken: a record that was read before a refresh, and arrives after it, replaces nothing.
func TestASlowReadBringsNoOldToken(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, tok := w.loggedIn(mcpoauth.Options{})
		var fresh *mcpoauth.Token
		w.st.set(func(s *loose) {
			s.onLoad = func() {
				w.st.set(func(s *loose) { s.onLoad = nil })
				var err error
				if fresh, err = c.TokenRejected(t.Context(), tok); err != nil {
					t.Error(err)
				}
			}
		})
		if _, err := c.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Token(t.Context(), nil); err != nil || fresh == nil || got.AccessToken() != fresh.AccessToken() {
			t.Errorf("the old token is back: %v", err)
		}
	})
}

// TestALoginAfterAFailedSave by another process counts, and what could not be saved is forgotten.
func TestALoginAfterAFailedSave(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		person, tok := w.loggedIn(mcpoauth.Options{})
		c := w.open(mcpoauth.Options{})
		w.st.set(func(s *loose) { s.saveErr = errors.New("no space left") })
		unsaved, err := c.TokenRejected(t.Context(), tok)
		if err != nil {
			t.Fatal(err)
		}
		w.st.set(func(s *loose) { s.saveErr = nil })
		theirs, err := person.Login(t.Context(), &mcpoauth.LoginOptions{Force: true})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.TokenRejected(t.Context(), unsaved); err != nil || got.AccessToken() != theirs.AccessToken() {
			t.Errorf("the login was not taken: %v", err)
		}
		if err := c.Close(t.Context()); err != nil || stored(t, w.st, person).AccessToken != theirs.AccessToken() {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestAStoreThatCannotBeRead stops no request whose token is good, and is temporary where it is merely away.
func TestAStoreThatCannotBeRead(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, _ := w.loggedIn(mcpoauth.Options{})
		away := &store.UnreachableError{Server: "redis", Err: errors.New("refused")}
		for _, err := range []error{errors.New("locked"), away} {
			w.st.set(func(s *loose) { s.loadErr = err })
			if status := ping(t, c); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
			if _, err := c.Token(t.Context(), &mcpoauth.TokenOptions{MinValidity: 2 * time.Hour}); err != nil {
				t.Errorf("a good token: %v", err)
			}
			_, got := w.open(mcpoauth.Options{}).Token(t.Context(), nil)
			if !errors.Is(got, err) || errors.Is(got, mcpoauth.ErrTemporary) != errors.Is(err, away) || errors.Is(got, mcpoauth.ErrLoginRequired) {
				t.Errorf("another process: %v", got)
			}
			if _, err := w.open(mcpoauth.Options{Prompt: nobody(t)}).Login(t.Context(), nil); err == nil {
				t.Error("a login over a record that cannot be read")
			}
		}
		if w.srv.Count("refresh") != 0 {
			t.Errorf("%d refreshes", w.srv.Count("refresh"))
		}
	})
}

// TestAStoreThatTakesNothing: no person logs in for nothing.
func TestAStoreThatTakesNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		full := errors.New("read-only file system")
		w.st.set(func(s *loose) { s.probeErr = full })
		c := w.open(mcpoauth.Options{Prompt: nobody(t)})
		for name, use := range map[string]func() error{
			"Login":      func() error { _, err := c.Login(t.Context(), nil); return err },
			"a request":  func() error { _, err := tryPing(c); return err },
			"BeginLogin": func() error { _, err := c.BeginLogin(t.Context(), "https://app.example/back"); return err },
			"Import": func() error {
				_, err := c.Import(t.Context(), &mcpoauth.ImportedLogin{AccessToken: "a", ClientID: "c"}, nil)
				return err
			},
		} {
			if err := use(); !errors.Is(err, full) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := w.srv.Count("registration"); n != 0 {
			t.Errorf("%d registrations", n)
		}
	})
}

// TestALockThatIsNotFree within three quarters of a minute is a fault that may pass.
func TestALockThatIsNotFree(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, tok := w.loggedIn(mcpoauth.Options{})
		held := make(chan func() error, 1)
		go func() {
			_, unlock, err := w.st.Lock(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()}, "refresh")
			if err != nil {
				t.Error(err)
			}
			held <- unlock
		}()
		unlock := <-held
		waits := make(chan mcpoauth.Waiting, 10)
		other := w.open(mcpoauth.Options{Trace: &mcpoauth.Trace{Waiting: func(_ context.Context, e mcpoauth.Waiting) { waits <- e }}})
		start := time.Now()
		_, err := other.TokenRejected(t.Context(), tok)
		if took := time.Since(start); !errors.Is(err, mcpoauth.ErrTemporary) || took != 45*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		if e := <-waits; len(waits) != 0 || e.For != mcpoauth.WaitRefreshElsewhere || !e.Deadline.Equal(start.Add(45*time.Second)) {
			t.Errorf("it waits: %+v, and %d more", e, len(waits))
		}
		// A caller that leaves earlier is told so.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := other.TokenRejected(ctx, tok); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, mcpoauth.ErrTemporary) {
			t.Errorf("got %v", err)
		}
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
		if _, err := other.TokenRejected(t.Context(), tok); err != nil {
			t.Error(err)
		}
	})
}

// TestARefreshDuringALogin by another process gives way to what the person has decided.
func TestARefreshDuringALogin(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		_, tok := w.loggedIn(mcpoauth.Options{})
		other := w.open(mcpoauth.Options{})
		person := w.net.person(t, &w.asked)
		var failed atomic.Int32
		c := w.open(mcpoauth.Options{
			Trace: &mcpoauth.Trace{SaveFailed: func(context.Context, mcpoauth.LoginEvent, error) { failed.Add(1) }},
			Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
				if _, err := other.TokenRejected(ctx, tok); err != nil {
					t.Error(err)
				}
				return person(ctx, lp)
			},
		})
		got, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true})
		if err != nil || stored(t, w.st, c).AccessToken != got.AccessToken() || failed.Load() != 0 {
			t.Errorf("%v, %d failed saves", err, failed.Load())
		}
	})
}

// damage replaces the stored login of c by what cannot be decoded.
func (w *world) damage(c *mcpoauth.Client) {
	w.t.Helper()
	key := store.Key{Kind: store.KindLogin, ID: c.ServerURL()}
	_, rev, err := w.st.Load(w.t.Context(), key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.t.Fatal(err)
	}
	if _, err := w.st.Save(w.t.Context(), key, []byte(`{`), rev); err != nil {
		w.t.Fatal(err)
	}
}

// TestADamagedRecord is said, is replaced by a login, and can be removed.
func TestADamagedRecord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		use  func(ctx context.Context, c *mcpoauth.Client) error
		gone bool
	}{
		"Login":  {func(ctx context.Context, c *mcpoauth.Client) error { _, err := c.Login(ctx, nil); return err }, false},
		"Logout": {func(ctx context.Context, c *mcpoauth.Client) error { _, err := c.Logout(ctx); return err }, true},
		"Clear":  {func(ctx context.Context, c *mcpoauth.Client) error { return c.Clear(ctx, nil) }, true},
		"and a lot": {func(ctx context.Context, c *mcpoauth.Client) error {
			return c.Clear(ctx, &mcpoauth.ClearOptions{Registration: true})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				first, _ := w.loggedIn(mcpoauth.Options{})
				w.damage(first)
				_, err := w.open(mcpoauth.Options{}).Token(t.Context(), nil)
				if _, ok := errors.AsType[*store.CorruptError](err); !ok || errors.Is(err, mcpoauth.ErrLoginRequired) {
					t.Errorf("got %v", err)
				}
				c := w.open(mcpoauth.Options{Prompt: w.net.person(t, &w.asked)})
				if err := tc.use(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				_, err = w.open(mcpoauth.Options{}).Token(t.Context(), nil)
				if (err == nil) == tc.gone || tc.gone && !errors.Is(err, mcpoauth.ErrLoginRequired) {
					t.Errorf("afterwards: %v", err)
				}
				if err := c.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestWhatTheNextLoginNeedsIsOfOneToken: a demand that arrives after another process has logged in is not that login's.
func TestWhatTheNextLoginNeedsIsOfOneToken(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{RefreshNeedsOfflineAccess: true}, func(t *testing.T, w *world) {
		person, tok := w.loggedIn(mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Never}})
		quiet := w.open(mcpoauth.Options{})
		if _, err := quiet.Token(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := person.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := quiet.TokenRejected(t.Context(), tok); err != nil {
			t.Errorf("the new login's token: %v", err)
		}
		w.change(person, func(rec *record.Login) { rec.LoginRequired = "a test ended it" })
		if _, err := quiet.TokenRejected(t.Context(), tok); !errors.Is(err, mcpoauth.ErrLoginRequired) {
			t.Errorf("got %v", err)
		}
		if rec := stored(t, w.st, person); rec.Required != nil {
			t.Errorf("noted for the next login: %+v", rec.Required)
		}
	})
}

// TestManyReadersAndOneWriter: whoever asks while tokens are renewed gets one that is not older than the last.
func TestManyReadersAndOneWriter(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		c, tok := w.loggedIn(mcpoauth.Options{})
		order := map[string]int{tok.AccessToken(): 0}
		var mu sync.Mutex
		var wg sync.WaitGroup
		done := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				last := 0
				for {
					select {
					case <-done:
						return
					default:
					}
					if _, err := c.Status(t.Context()); err != nil {
						t.Error(err)
					}
					got, err := c.Token(t.Context(), nil)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					n, known := order[got.AccessToken()]
					mu.Unlock()
					if known && n < last {
						t.Errorf("token %d after %d", n, last)
					}
					last = max(last, n)
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 20 {
			var err error
			if tok, err = c.TokenRejected(t.Context(), tok); err != nil {
				t.Error(err)
				break
			}
			mu.Lock()
			order[tok.AccessToken()] = i + 1
			mu.Unlock()
			time.Sleep(time.Millisecond)
		}
		close(done)
		wg.Wait()
	})
}

// TestARecordThatItsStoreFindsDamaged is set aside for the login that replaces it.
func TestARecordThatItsStoreFindsDamaged(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.loggedIn(mcpoauth.Options{})
		w.st.set(func(s *loose) {
			s.loadErr = &store.CorruptError{Err: errors.New("it ends too early")}
			s.onDelete = func() error { w.st.set(func(s *loose) { s.loadErr = nil }); return nil }
		})
		c := w.open(mcpoauth.Options{Prompt: w.net.person(t, &w.asked)})
		tok, err := c.Login(t.Context(), nil)
		if err != nil || stored(t, w.st, c).AccessToken != tok.AccessToken() {
			t.Errorf("the login was not saved: %v", err)
		}
	})
}
