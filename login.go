package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/loopback"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/store"
)

// loginLock names the lock of a person at the browser.
const loginLock = "login"

// want is what a login is for.
type want struct {
	force     bool
	scopes    []string // beyond those the login has
	newClient bool
	refused   string // the token that the server no longer takes
	challenge *demand
}

// Login logs in with the help of [Options.Prompt], unless a usable login is stored. Concurrent
// calls, in this process and others, share one login; whoever waited takes its result.
// Cancelling ctx ends the login and leaves nothing behind but the registration.
func (c *Client) Login(ctx context.Context, opts *LoginOptions) (*Token, error) {
	if opts == nil {
		opts = &LoginOptions{}
	}
	w := want{force: opts.Force || opts.NewClient, scopes: slices.Clone(opts.Scopes), newClient: opts.NewClient}
	if !w.force {
		s, err := c.look(ctx)
		if err == nil && covers(s.rec.Scopes, w.scopes) && s.rec.Wanted == nil {
			if s, err = c.obtain(ctx, 0); err == nil {
				return s.token, nil
			}
		}
		var damaged *store.CorruptError
		if err != nil && !errors.Is(err, ErrLoginRequired) && !errors.As(err, &damaged) {
			return nil, err
		}
	}
	if c.idp != nil {
		other := c.idp.stored(ctx)
		force := opts.Force || other != nil && other.rec.Registration.ClientID != c.idp.opts.Client.ID
		if _, err := c.idp.Login(ctx, &LoginOptions{Force: force}); err != nil {
			return nil, c.absentAtProvider(err)
		}
	}
	if c.machine() {
		var d *demand
		if len(w.scopes) > 0 {
			d = &demand{scopes: w.scopes, scopeGiven: true, bearer: true}
		}
		s, err := c.acquireFor(ctx, d)
		if err != nil {
			return nil, err
		}
		return s.token, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.joinLogin(ctx, w, ctx.Done())
	if err != nil {
		return nil, err
	}
	return s.token, nil
}

// joinLogin runs or joins the login of this process. Closing leave ends it for its starter; a
// request that merely waits passes nil, and the login goes on until its own limit.
func (c *Client) joinLogin(ctx context.Context, w want, leave <-chan struct{}) (*session, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	if c.opts.Prompt == nil {
		return nil, c.loginRequired("nobody may be asked: no prompt is configured", nil)
	}
	type result struct {
		s   *session
		err error
	}
	over := make(chan result, 1)
	go func() {
		s, err := c.logins.Do(context.WithoutCancel(ctx), "login "+strings.Join(w.scopes, " "), func(ctx context.Context) (*session, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(c.life, cancel)()
			go func() {
				select {
				case <-leave:
					cancel()
				case <-ctx.Done():
				}
			}()
			return c.loginOnce(ctx, w)
		})
		over <- result{s, err}
	}()
	select {
	case r := <-over:
		return r.s, r.err
	case <-ctx.Done():
		if leave == nil {
			return nil, ctx.Err()
		}
		// Whoever started the login waits until its listener and lock are gone.
		<-over
		return nil, ctx.Err()
	}
}

// loginOnce is one login, from the lock to the saved record.
func (c *Client) loginOnce(ctx context.Context, w want) (*session, error) {
	// An expensive detour through the browser must not end at a disk that takes nothing.
	if err := c.probeStore(ctx); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(c.opts.LoginTimeout)
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errLoginTimeout)
	defer cancel()
	before := c.current.Load()
	if before == nil || w.force && w.refused == "" {
		// What another process did before a person insisted on a login is not that login.
		before = c.stored(ctx)
	}
	stop := c.trace.waiting(ctx, WaitLoginElsewhere, deadline)
	_, unlock, err := c.store.Lock(ctx, c.key, loginLock)
	stop()
	if err != nil {
		if ctx.Err() != nil {
			return nil, timedOut(ctx, &TemporaryError{Err: &Error{
				Op:      OpAuthorization,
				Message: "another process is logging in to this server and has not finished",
				Hint:    "finish that login in its browser window, or end its process; --timeout (Options.LoginTimeout) waits longer",
			}})
		}
		return nil, storeError("lock", err)
	}
	defer func() {
		if err := unlock(); err != nil {
			c.log.Warn("the login lock could not be released", "server", c.id, "err", err)
		}
	}()
	// What the store cannot give back it must not be asked to replace, and a person not for that.
	var damaged *store.CorruptError
	if _, _, err := c.loadRecord(ctx); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.As(err, &damaged) {
		return nil, err
	}
	if now := c.stored(ctx); c.settledElsewhere(w, before, now) {
		c.current.Store(now)
		return now, nil
	}
	s, err := c.authorize(ctx, w, deadline)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.failures, c.notBefore = 0, time.Time{}
	c.mu.Unlock()
	c.clearMark(ctx)
	c.trace.loggedIn(ctx, s.rec)
	return s, nil
}

// stored returns the session in the store, nil if there is none that can be read.
func (c *Client) stored(ctx context.Context) *session {
	rec, rev, err := c.loadRecord(ctx)
	if err != nil {
		return nil
	}
	return newSession(rec, rev)
}

// settledElsewhere reports whether somebody logged in while this login waited for its turn.
func (c *Client) settledElsewhere(w want, before, now *session) bool {
	if !now.usable(time.Now()) || now.rec.AccessToken == w.refused || !covers(now.rec.Scopes, w.scopes) {
		return false
	}
	changed := before == nil || before.rec.AccessToken != now.rec.AccessToken
	return changed || now.rec.Wanted == nil && !w.force && w.refused == "" && len(w.scopes) == 0
}

var errLoginTimeout = errors.New("the login took too long")

// timedOut returns err if ctx ended by the login's own limit, ctx's error otherwise.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errLoginTimeout) {
		return err
	}
	return fmt.Errorf("mcpoauth: login: %w", ctx.Err())
}

// probeStore asks whether the store can be written.
func (c *Client) probeStore(ctx context.Context) error {
	p, ok := c.store.(store.Prober)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := p.Probe(ctx); err != nil {
		return fmt.Errorf("mcpoauth: the login could not be saved, so it is not begun: %w", err)
	}
	return nil
}

// authorize does a login with a loopback listener. A registration that the server turns out to
// have forgotten is replaced once.
func (c *Client) authorize(ctx context.Context, w want, deadline time.Time) (*session, error) {
	if c.idp != nil {
		return c.authorizeByProvider(ctx, w)
	}
	facts, err := c.discover(ctx, w.challenge)
	if err == nil {
		err = c.checkKey(facts)
	}
	if err != nil {
		return nil, err
	}
	with := c.authorizeWith
	if c.device() {
		with = c.authorizeDevice
	}
	s, reused, err := with(ctx, facts, w, deadline)
	if err != nil && reused && replaceable(err) {
		c.trace.note(ctx, NoteRegistration, "the server does not know the stored client, or not for these scopes; registering a new one")
		w.newClient = true
		s, _, err = with(ctx, facts, w, deadline)
	}
	return s, err
}

// replaceable reports whether err says that the authorization server does not know the client, or not
// for what is asked.
func replaceable(err error) bool {
	var code string
	if e, ok := errors.AsType[*Error](err); ok && (e.Op == OpToken || e.Op == OpAuthorization) {
		code = e.Code
	}
	return code == "invalid_client" || code == "unauthorized_client" || code == "invalid_scope"
}

// authorizeWith asks the person once. reused reports that a stored registration was used.
func (c *Client) authorizeWith(ctx context.Context, facts *facts, w want, deadline time.Time) (s *session, reused bool, err error) {
	id, l, err := c.listenAndRegister(ctx, facts, w)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = l.Close() }()
	reused = id.reused
	p, target, err := c.begin(ctx, facts, id.reg, l.RedirectURI(), w)
	if err != nil {
		return nil, reused, err
	}
	if err := l.Arm(p.State); err != nil {
		return nil, reused, err
	}
	values, err := c.ask(ctx, l, p, target, deadline)
	if err != nil {
		if reused && errors.Is(err, errLoginTimeout) {
			err = &Error{
				Op:      OpAuthorization,
				Message: "nobody came back from the browser in time", Err: errors.Join(ErrTemporary, err),
				Hint: "if the page showed an error about the client, run login with --new-client (LoginOptions.NewClient); --timeout (Options.LoginTimeout) waits longer",
			}
		}
		return nil, reused, err
	}
	s, err = c.finish(ctx, p, values)
	if err == nil {
		c.confirmRegistration(ctx, id)
	}
	return s, reused, err
}

// ask shows the URL and waits for the callback or a pasted redirect URL, whichever is first.
func (c *Client) ask(ctx context.Context, l *loopback.Listener, p *record.Pending, target string, deadline time.Time) (url.Values, error) {
	stop := c.trace.waiting(ctx, WaitLogin, deadline)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		values url.Values
		err    error
	}
	answers := make(chan answer, 2)
	go func() {
		v, err := l.Wait(ctx)
		answers <- answer{v, err}
	}()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		reply, err := c.opts.Prompt(ctx, &LoginPrompt{
			URL: target, ServerURL: c.id, Profile: c.opts.Profile, Issuer: p.Issuer, TokenHost: hostOf(p.TokenEndpoint),
			RedirectURI: p.RedirectURI, Scopes: slices.Clone(p.Scopes), Deadline: deadline,
			Check: func(r *LoginReply) error { _, err := readReply(r, p); return err },
		})
		if err != nil {
			answers <- answer{nil, err}
			return
		}
		if reply == nil || reply.RedirectURL == "" {
			return
		}
		v, err := readReply(reply, p)
		answers <- answer{v, err}
	}()
	a := <-answers
	if a.err != nil && ctx.Err() != nil {
		a.err = timedOut(ctx, errLoginTimeoutFact(c.opts.LoginTimeout))
	}
	cancel()
	<-shown
	return a.values, a.err
}

// readReply returns the callback that a person pasted, if it belongs to the login p.
func readReply(r *LoginReply, p *record.Pending) (url.Values, error) {
	v, err := loopback.ParsePasted(r.RedirectURL, p.RedirectURI)
	if err != nil {
		return nil, err
	}
	if !sameState(v.Get("state"), p.State) {
		return nil, &Error{Op: OpAuthorization, Message: "what was pasted belongs to another login", Hint: "paste the address that the browser shows at the end of this login"}
	}
	return v, nil
}

func errLoginTimeoutFact(limit time.Duration) error {
	return &Error{
		Op:      OpAuthorization,
		Message: fmt.Sprintf("nobody came back from the browser within %v", limit), Err: errors.Join(ErrTemporary, errLoginTimeout),
		Hint: "try again; --timeout (Options.LoginTimeout) waits longer, --no-browser takes the redirect URL pasted back",
	}
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// covers reports whether granted has every scope of wanted.
func covers(granted, wanted []string) bool {
	return len(missing(granted, wanted)) == 0
}

// missing returns the scopes of wanted that granted lacks.
func missing(granted, wanted []string) []string {
	var out []string
	for _, s := range wanted {
		if !slices.Contains(granted, s) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// sameOrigin reports whether two URLs share an origin.
func sameOrigin(a, b string) bool {
	ua, err := url.Parse(a)
	if err != nil {
		return false
	}
	ub, err := url.Parse(b)
	return err == nil && resource.SameOrigin(ua, ub)
}
