package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

const (
	storeTimeout = 10 * time.Second
	// exchangeTimeout < lockLimit: a process that waits for the lock outlasts a holder whose exchange runs
	// into its limit.
	exchangeTimeout = 30 * time.Second
	lockLimit       = 45 * time.Second
)

// loginStore keeps one login in the store and in memory. It is the only writer of the current session, which is
// never replaced by an older revision of the record, and every save compares the revision first.
type loginStore struct {
	store store.Store
	key   store.Key
	set   *settings
	trace *tracer

	current atomic.Pointer[session]

	mu      sync.Mutex
	unsaved *stored
}

// stored is a login as the store has it, or one that it could not save yet.
type stored struct {
	rec     *record.Login
	rev     store.Revision
	session *session
}

// errForgotten means that the login was removed while its next token was being requested.
var errForgotten = errors.New("logged out in the meantime")

func (l *loginStore) loginRequired(reason string, err error) error {
	return &LoginRequiredError{ServerURL: l.trace.server, Profile: l.trace.profile, Reason: reason, Err: err}
}

// load reads the login and makes it the current session. Without one the error is store.ErrNotFound.
func (l *loginStore) load(ctx context.Context) (*stored, error) {
	if err := l.saveUnsaved(ctx); err != nil {
		l.trace.log.WarnContext(ctx, "a token is still not saved", "server", l.trace.server, "err", err)
	}
	l.mu.Lock()
	unsaved := l.unsaved
	l.mu.Unlock()
	if unsaved != nil {
		return unsaved, nil
	}
	before := l.current.Load()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	data, rev, err := l.store.Load(ctx, l.key)
	if errors.Is(err, store.ErrNotFound) {
		l.current.CompareAndSwap(before, nil)
	}
	if err != nil {
		return nil, storeError("read", err)
	}
	rec, err := record.DecodeLogin(data)
	if err != nil {
		return nil, storeError("read", err)
	}
	return &stored{rec, rev, l.publish(rec, rev)}, nil
}

// previous returns the stored login, nil if there is no readable one.
func (l *loginStore) previous(ctx context.Context) *record.Login {
	st, err := l.load(ctx)
	if err != nil {
		return nil
	}
	return st.rec
}

// publish makes a record that was read or saved the current session, unless the current one is newer.
func (l *loginStore) publish(rec *record.Login, rev store.Revision) *session {
	var s *session
	for {
		now := l.current.Load()
		if now != nil && now.rev == rev {
			return now
		}
		if s == nil {
			s = newSession(rec, rev, l.set)
		}
		if now != nil && now.rev > rev || l.current.CompareAndSwap(now, s) {
			return s
		}
	}
}

// reload returns the stored login if it can be used or renewed. An error of the store matters only if there is no
// usable token in memory.
func (l *loginStore) reload(ctx context.Context) (*session, error) {
	st, err := l.load(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, l.loginRequired("not logged in", nil)
	case err != nil:
		if s := l.current.Load(); s.usable(time.Now()) && ctx.Err() == nil {
			l.trace.note(ctx, NoteStore, "the store cannot be read, going on with the token in memory: "+err.Error())
			return s, nil
		}
		return nil, err
	case !st.session.usable(time.Now()) && !st.session.renewable():
		return nil, l.loginRequired(st.session.why(), nil)
	}
	return st.session, nil
}

// save writes rec over the revision rev. It goes on if the caller's context ends.
func (l *loginStore) save(ctx context.Context, rec *record.Login, rev store.Revision) (store.Revision, error) {
	rec.SavedAt = time.Now()
	data, err := rec.Encode()
	if err != nil {
		return 0, fmt.Errorf("mcpoauth: encode the login: %w", err)
	}
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	next, err := l.store.Save(ctx, l.key, data, rev)
	if err != nil {
		return 0, fmt.Errorf("mcpoauth: save the login: %w", err)
	}
	return next, nil
}

// adopt saves a record that was just received over rev. If another process changed the stored one meanwhile, that one
// is returned; if it was removed, the error is errForgotten. If the store fails, the record is kept in memory and the
// save is tried again.
func (l *loginStore) adopt(ctx context.Context, rec *record.Login, rev store.Revision) (*session, error) {
	next, err := l.save(ctx, rec, rev)
	switch {
	case errors.Is(err, store.ErrConflict):
		return l.resolveConflict(ctx)
	case err != nil:
		return l.keep(ctx, rec, rev, err), nil
	}
	l.dropUnsaved()
	return l.publish(rec, next), nil
}

// resolveConflict returns the login that another process has saved.
func (l *loginStore) resolveConflict(ctx context.Context) (*session, error) {
	l.dropUnsaved()
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	theirs, err := l.load(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errForgotten
	}
	if err != nil {
		return nil, err
	}
	if !theirs.session.usable(time.Now()) {
		return nil, l.loginRequired(theirs.session.why(), nil)
	}
	return theirs.session, nil
}

// keep holds a record in memory that could not be saved over rev.
func (l *loginStore) keep(ctx context.Context, rec *record.Login, rev store.Revision, err error) *session {
	s := newSession(rec, rev, l.set)
	l.mu.Lock()
	l.unsaved = &stored{rec, rev, s}
	l.mu.Unlock()
	l.current.Store(s)
	l.trace.saveFailed(ctx, rec, err)
	return s
}

func (l *loginStore) dropUnsaved() {
	l.mu.Lock()
	l.unsaved = nil
	l.mu.Unlock()
}

// saveUnsaved tries a failed save once more. It returns nil when nothing is left to save.
func (l *loginStore) saveUnsaved(ctx context.Context) error {
	l.mu.Lock()
	u := l.unsaved
	l.mu.Unlock()
	if u == nil {
		return nil
	}
	next, err := l.save(ctx, u.rec, u.rev)
	conflict := errors.Is(err, store.ErrConflict) // another process logged in or out meanwhile: its record is kept
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsaved != u {
		return nil
	}
	if err != nil && !conflict {
		return err
	}
	l.unsaved = nil
	if !conflict {
		l.current.CompareAndSwap(u.session, newSession(u.rec, next, l.set))
	}
	return nil
}

// replace saves the record of a login that was just made. previous is the revision that was stored when it began; a
// record that another process has written since is replaced too, because a person has just logged in.
func (l *loginStore) replace(ctx context.Context, rec *record.Login, previous store.Revision) *session {
	l.dropUnsaved()
	rev := previous
	for range 5 {
		next, err := l.save(ctx, rec, rev)
		if err == nil {
			return l.publish(rec, next)
		}
		if !errors.Is(err, store.ErrConflict) {
			return l.keep(ctx, rec, rev, err)
		}
		if rev, err = l.revision(ctx); err != nil {
			return l.keep(ctx, rec, rev, err)
		}
	}
	return l.keep(ctx, rec, rev, store.ErrConflict)
}

// revision returns the revision to save over. A record that cannot be decoded is set aside.
func (l *loginStore) revision(ctx context.Context) (store.Revision, error) {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	_, rev, err := l.store.Load(ctx, l.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, nil
	case isCorrupt(err):
		return 0, l.setAside(ctx, err)
	}
	return rev, err
}

// setAside makes room for a new login where the stored one is damaged.
func (l *loginStore) setAside(ctx context.Context, damage error) error {
	l.trace.note(ctx, NoteStore, "the stored login is damaged and is replaced: "+damage.Error())
	if err := l.store.Delete(ctx, l.key, 0); err != nil {
		return storeError("set aside", err)
	}
	return nil
}

// end records in the stored login, if that is still st, that a person must log in. Nothing is deleted: the next login
// uses the registration, and the record has the reason. digest limits the end to what was refused, "" is for all.
func (l *loginStore) end(ctx context.Context, st *stored, reason, digest string) {
	rec := *st.rec
	rec.LoginRequired, rec.LoginRequiredFor, rec.LoginRequiredAt = reason, digest, time.Now()
	if next, err := l.save(ctx, &rec, st.rev); err == nil {
		l.dropUnsaved()
		l.publish(&rec, next)
	} else if !errors.Is(err, store.ErrConflict) {
		l.trace.log.WarnContext(ctx, "the end of the login could not be noted", "server", l.trace.server, "err", err)
		l.current.CompareAndSwap(st.session, newSession(&rec, st.rev, l.set))
	}
	l.trace.loginRequired(ctx, st.rec, reason)
}

// require records the server's demand on the next login, in any process, if rejected is still the stored token.
func (l *loginStore) require(ctx context.Context, rejected string, a *record.Authentication) {
	st, err := l.load(ctx)
	if err != nil || st.rec.AccessToken != rejected || st.rec.Required != nil && *st.rec.Required == *a {
		return
	}
	rec := *st.rec
	rec.Required = a
	next, err := l.save(ctx, &rec, st.rev)
	if err != nil {
		l.trace.log.WarnContext(ctx, "what the server demands of the next login could not be noted", "server", l.trace.server, "err", err)
		return
	}
	l.publish(&rec, next)
}

// forget removes the login and returns it, nil if there was none or a damaged one. A refresh under way finds it
// removed. If the record cannot be read and excuse returns false, nothing is removed.
func (l *loginStore) forget(ctx context.Context, excuse func(error) bool) (*record.Login, error) {
	l.dropUnsaved()
	data, _, err := l.store.Load(ctx, l.key)
	var rec *record.Login
	if err == nil {
		rec, err = record.DecodeLogin(data)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) && !isCorrupt(err) && !excuse(err) {
		return nil, storeError("read", err)
	}
	if err := l.store.Delete(ctx, l.key, 0); err != nil {
		return nil, storeError("remove", err)
	}
	l.current.Store(nil)
	return rec, nil
}

// lockRequest is how a lock beside the login is taken.
type lockRequest struct {
	name string
	// waiting is the reason that is reported for a wait.
	waiting WaitReason
	// limit ends the wait, 0 for none but the context's.
	limit time.Duration
}

var (
	// refreshLock is held for one token request and its save. It is not the login's lock, so that a person at the
	// browser stops no refresh.
	refreshLock = lockRequest{name: "refresh", waiting: WaitRefreshElsewhere, limit: lockLimit}
	// loginLock is held while a person logs in.
	loginLock = lockRequest{name: "login", waiting: WaitLoginElsewhere}
)

// errLockTimeout means that a lock was not free within its limit.
var errLockTimeout = errors.New("another process holds the lock of this login for too long")

// locked calls fn while it holds a lock that all processes share. The context held ends when the lock is lost.
func (l *loginStore) locked(ctx context.Context, r lockRequest, fn func(held context.Context) error) error {
	deadline, _ := ctx.Deadline()
	wait := ctx
	if r.limit > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, r.limit)
		defer cancel()
		deadline, _ = wait.Deadline()
	}
	stop := l.trace.waiting(ctx, r.waiting, deadline)
	held, unlock, err := l.store.Lock(wait, l.key, r.name)
	stop()
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil && wait.Err() != nil:
		return errLockTimeout
	case err != nil:
		return storeError("lock", err)
	}
	defer func() {
		if err := unlock(); err != nil {
			l.trace.log.WarnContext(ctx, "a lock could not be released", "lock", r.name, "server", l.trace.server, "err", err)
		}
	}()
	return fn(held)
}

// probe returns why the store cannot be written, before a person is sent to a browser.
func (l *loginStore) probe(ctx context.Context) error {
	p, ok := l.store.(store.Prober)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := p.Probe(ctx); err != nil {
		return fmt.Errorf("mcpoauth: the store cannot be written, so the login is not begun: %w", err)
	}
	return nil
}

func isCorrupt(err error) bool {
	_, ok := errors.AsType[*store.CorruptError](err)
	return ok
}

// storeError wraps an error of the store. That a server cannot be reached is temporary.
func storeError(what string, err error) error {
	if _, ok := errors.AsType[*store.UnreachableError](err); ok {
		return &TemporaryError{Err: fmt.Errorf("cannot %s the login: %w", what, err)}
	}
	return fmt.Errorf("mcpoauth: cannot %s the login: %w", what, err)
}

// detached returns a context for work that is finished even if its caller leaves: it has the values of ctx and a
// limit of its own.
func detached(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
