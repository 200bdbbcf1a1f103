package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	// maxErrorBody is how much of an error's body is read, and errorWait for how long.
	maxErrorBody = 1 << 20
	errorWait    = 5 * time.Second
	// codeHeaderMismatch is 2026-07-28's: a header does not say what the body says.
	codeHeaderMismatch = "-32020"
	// maxLogins is how many logins a server may cost a person within loginWindow: each may be for something new.
	maxLogins   = 5
	loginWindow = 10 * time.Minute
)

// tries is what was done so far to deliver a call.
type tries struct {
	since    time.Time // the first failure
	fails    int
	logins   int
	renewals int
}

// serve delivers a call and sees that each request in it is answered.
func (b *bridge) serve(c *call) {
	defer b.discard(c)
	defer b.release(c)
	defer b.recovered("serving a message", func(err error) { b.fail(c, &fault{reason: reasonInternal, err: err}) })
	if c.method == "initialize" && c.version == "" {
		b.begin()
	}
	var (
		t     tries
		final *fault
	)
	for final == nil {
		err := b.attempt(c)
		if err == nil || c.answered() || c.ctx.Err() != nil || b.gaveUp(c) {
			break
		}
		if err = b.again(c, faultOf(err), &t); err != nil && c.ctx.Err() == nil {
			final = faultOf(err)
		}
	}
	switch {
	case b.gaveUp(c):
		// Nobody waits for it.
		for _, e := range b.takeAll(c) {
			b.settle(e)
		}
	case b.ctx.Err() != nil:
		b.fail(c, b.end())
	case final != nil:
		b.fail(c, final)
	case len(c.entries) > 0:
		b.fail(c, &fault{reason: reasonLost})
	}
}

// answered reports whether nothing is left to answer of a call that had something.
func (c *call) answered() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// gaveUp reports whether the host cancelled a call.
func (b *bridge) gaveUp(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.cancelled
}

// attempt sends a call once. Nil means that it was answered, or taken where no answer is due.
func (b *bridge) attempt(c *call) error {
	if err := b.chooseTransport(c); err != nil {
		return err
	}
	s := b.sess.Load()
	if s.sse != nil {
		return b.attemptSSE(c, s)
	}
	resp, err := b.post(c.ctx, s, c.msg, c.what, c.version)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return b.refused(c, s, resp)
	}
	if c.method == "initialize" {
		if id := resp.Header.Get("Mcp-Session-Id"); fitsSessionID(id) {
			c.sessionID = id
		} else {
			b.log.Warn("the server's session id cannot stand in a header and is not used")
		}
	}
	if len(c.entries) == 0 {
		b.taken(c, resp)
		return nil
	}
	if isEvents(resp.Header) {
		return b.stream(c, s, resp)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.ContentLength > b.mem.maxMessage {
		return &fault{reason: reasonTooLarge}
	}
	m := b.mem.message()
	if err := m.fill(resp.Body); err != nil {
		m.free()
		return &fault{reason: reasonLost, err: err}
	}
	if err := m.end(); err != nil {
		empty := m.empty()
		m.free()
		f := faultOf(err)
		if empty {
			f.err = errors.New("the server sent no answer, HTTP status " + resp.Status)
		}
		return f
	}
	b.deliver(m, c)
	if !c.answered() {
		return &fault{reason: reasonAnswer, err: errors.New("the server answered another request than the one it was sent")}
	}
	return nil
}

// post sends a message. Its error is a fault, or ctx's.
func (b *bridge) post(ctx context.Context, s *session, m *message, e *element, version string) (*http.Response, error) {
	h := b.header(s)
	h["Content-Type"] = []string{"application/json"}
	h["Accept"] = []string{"application/json, text/event-stream"}
	if version != "" && e != nil {
		delete(h, "Mcp-Session-Id")
		if err := b.describe(h, m, e, version); err != nil {
			return nil, err
		}
	}
	u := b.url
	if s.sse != nil {
		u = s.sse.endpoint
	}
	limited := ctx
	if e != nil && e.notification() {
		// A server that lets a notification hang must not hold up what comes after it.
		var cancel context.CancelFunc
		limited, cancel = context.WithCancel(ctx)
		t := time.AfterFunc(b.o.Patience, cancel)
		defer t.Stop()
	}
	r := b.request(limited, http.MethodPost, u, h)
	r.Body, r.ContentLength = m.body(), m.size
	r.GetBody = func() (io.ReadCloser, error) { return m.body(), nil }
	resp, err := b.o.HTTP.Do(r)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && limited.Err() != nil:
		return nil, &fault{reason: reasonLost, final: true, err: errors.New("the server did not take it in time")}
	case err != nil:
		return nil, b.failure(err)
	case resp.Request != nil && resp.Request.Method != http.MethodPost:
		// RFC 9110 section 15.4: the message is lost, and what came is the answer to a GET.
		_ = resp.Body.Close()
		status := http.StatusSeeOther
		if r := resp.Request.Response; r != nil {
			status = r.StatusCode
		}
		return nil, &fault{reason: reasonStatus, status: status, final: true, err: errors.New("the server redirects messages with 301, 302 or 303 to " +
			wire.PlainURL(resp.Request.URL.String()) + ", and loses them so: give that URL, or have it use 308")}
	}
	return resp, nil
}

// taken deals with the response to what needs no answer.
func (b *bridge) taken(c *call, resp *http.Response) {
	switch {
	case isEvents(resp.Header) && b.extras.Add(1) > maxExtras:
		// There is no need for any: such a message is answered with 202.
		b.extras.Add(-1)
		_ = resp.Body.Close()
		b.seldom(&b.dropped, "the server answers what needs no answer with more streams than are read")
	case isEvents(resp.Header):
		cancel := c.cancel
		b.run("reading a stream", func() {
			defer b.extras.Add(-1)
			defer cancel()
			defer func() { _ = resp.Body.Close() }()
			stop := context.AfterFunc(b.ctx, func() { _ = resp.Body.Close() })
			defer stop()
			_ = b.pour(newEvents(resp.Body, make([]byte, chunkSize)), nil)
		}, nil)
		c.cancel = func() {} // the stream outlives the call
	default:
		drain(resp)
	}
	if c.method == "notifications/initialized" && c.version == "" {
		b.initialized(c)
	}
}

// drain reads what little is left of a response, so that its connection can be used again.
func drain(resp *http.Response) {
	if resp.ContentLength != 0 {
		t := time.AfterFunc(linger, func() { _ = resp.Body.Close() })
		defer t.Stop()
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	}
	_ = resp.Body.Close()
}

// stream reads the answer to a call from a stream, and goes on with the stream when it breaks.
func (b *bridge) stream(c *call, s *session, resp *http.Response) error {
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	var (
		id       string
		retry    time.Duration = -1
		fails    int
		idle     int // streams in a row that brought nothing
		progress = time.Now()
	)
	for {
		ev := newEvents(resp.Body, buf[:])
		ev.id, ev.nextID, ev.retry = id, id, retry
		err := b.pour(ev, c)
		_ = resp.Body.Close()
		switch {
		case c.answered():
			return nil
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case errors.Is(err, errTooLarge):
			return &fault{reason: reasonTooLarge, err: err}
		case b.gaveUp(c):
			return &fault{reason: reasonLost}
		case ev.id == "" || !fitsHeader(ev.id) || c.version != "":
			// There is nothing to go on from.
			return &fault{reason: reasonLost, err: err}
		}
		if fails++; ev.count > 0 {
			fails, progress = 0, time.Now()
		}
		if idle++; ev.full > 0 {
			idle = 0
		}
		id, retry = ev.id, ev.retry
		if resp, err = b.resume(c, s, id, retry, fails, idle, progress); err != nil {
			return err
		}
	}
}

// resume asks for the rest of a stream.
func (b *bridge) resume(c *call, s *session, id string, retry time.Duration, fails, idle int, progress time.Time) (*http.Response, error) {
	var t tries
	for lost := (&fault{reason: reasonLost}); ; fails++ {
		if fails > 4 && time.Since(progress) > b.o.RetryFor {
			return nil, lost
		}
		wait := retry
		if wait < 0 {
			wait = max(backoff(1), lost.wait)
		}
		wait = max(wait, atLeast(idle))
		if err := sleep(c.ctx, wait+backoff(fails)); err != nil {
			return nil, err
		}
		resp, err := b.getWith(c.ctx, s, id)
		if err != nil {
			if c.ctx.Err() != nil {
				return nil, c.ctx.Err()
			}
			lost.err = err
			if f := b.failure(err); f.reason == reasonLogin {
				if t.logins++; t.logins > 2 {
					return nil, f
				}
				if err := b.awaitLogin(c, f); err != nil {
					return nil, err
				}
			} else if f.reason == reasonDenied || f.reason == reasonAuthorization {
				return nil, f
			}
			continue
		}
		if resp.StatusCode/100 == 2 && isEvents(resp.Header) {
			return resp, nil
		}
		_ = resp.Body.Close()
		f := statusFault(resp)
		lost.err, lost.wait = f.err, f.wait
		switch code := resp.StatusCode; {
		case code == http.StatusNotFound && s.id != "":
			lost.session = s
			return nil, lost
		case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code > 501:
		default:
			return nil, lost // it resumes nothing
		}
	}
}

// pour delivers what a stream brings until it ends. When c has its answer the stream has a little time
// left.
func (b *bridge) pour(ev *events, c *call) error {
	lingers := false
	for {
		m := b.mem.message()
		kind, err := ev.next(m)
		if err == nil && kind != "" && kind != "message" {
			m.free()
			continue
		}
		if err == nil {
			err = m.end()
			if err == nil {
				b.deliver(m, c)
			} else {
				b.spoiled(m, c, faultOf(err))
			}
		} else {
			if errors.Is(err, errTooLarge) {
				b.spoiled(m, c, faultOf(err))
			} else {
				m.free()
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if c != nil && !lingers && c.answered() {
			if b.lingering.Add(1) > maxLinger {
				b.lingering.Add(-1)
				return nil
			}
			defer b.lingering.Add(-1)
			t := time.AfterFunc(linger, c.cancel)
			defer t.Stop()
			lingers = true
		}
	}
}

// spoiled deals with a message of the server's that cannot be passed on: if it was an answer, an
// error takes its place.
func (b *bridge) spoiled(m *message, c *call, f *fault) {
	defer m.free()
	var e *entry
	if m.top.raw(fieldMethod) == nil && !m.batch {
		if key := idKey(m.top.raw(fieldID)); key != "" {
			e = b.take(key)
		}
	}
	if e == nil {
		b.seldom(&b.dropped, "a message of the server was dropped", "why", wire.CleanN(f.Error(), 500))
		return
	}
	b.log.Warn("an answer of the server was replaced by an error", "method", wire.Clean(e.method), "why", wire.CleanN(f.Error(), 500))
	if e.sink != nil {
		e.sink(nil)
	} else {
		b.out.line(b.errorFor(e.raw, f))
	}
	b.settle(e)
	if e.call != c {
		e.call.cancel()
	}
}

// deliver passes a message of the server's to the host, and frees it. c is the call on whose response
// it came, nil for none.
func (b *bridge) deliver(m *message, c *call) {
	defer m.free()
	if m.batch {
		b.deliverBatch(m, c)
		return
	}
	e := &m.top
	switch {
	case !e.valid():
		b.seldom(&b.foreign, "the server sent what is no JSON-RPC message; it was dropped")
	case e.response():
		key := idKey(e.raw(fieldID))
		if key == "" && e.isError && c != nil && len(c.entries) == 1 {
			b.readdress(m, c)
			return
		}
		en := b.take(key)
		if en == nil {
			b.stray()
			return
		}
		b.answer(en, m, c)
	default:
		b.out.message(m)
	}
}

// stray notes an answer that nobody waits for.
func (b *bridge) stray() {
	b.seldom(&b.strays, "the server answered what nobody asked, or twice; it was dropped")
}

// seldom warns of what a server can do as often as it likes: a few times, then at each power of two.
func (b *bridge) seldom(times *atomic.Int64, text string, args ...any) {
	if n := times.Add(1); n <= 32 || n&(n-1) == 0 {
		b.log.Warn(text, append(args, "times", n)...)
	}
}

// answer passes the answer to e on.
func (b *bridge) answer(e *entry, m *message, c *call) {
	// Whatever happens the request is settled.
	defer func() {
		b.settle(e)
		if e.call != c {
			e.call.cancel()
		}
	}()
	if e.sink != nil {
		e.sink(retain(m))
		return
	}
	if m.top.hasResult {
		switch e.method {
		case "initialize":
			if e.call.version == "" {
				b.begun(e.call, m)
			}
		case "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
			if e.call.version == "" && e.call.what != nil {
				b.remember(e)
			}
		case "tools/list":
			if e.call.version != "" || len(b.o.IgnoreTools) > 0 {
				b.answerTools(e, m)
				return
			}
		}
	}
	b.out.message(m)
}

// readdress gives an error that names no request to the one it can only be meant for.
func (b *bridge) readdress(m *message, c *call) {
	e := b.take(c.entries[0].key)
	if e == nil {
		b.stray()
		return
	}
	defer b.settle(e)
	p, err := m.bytes()
	raw := member(p, "error")
	if err != nil || raw == nil {
		b.out.line(b.errorFor(e.raw, &fault{reason: reasonAnswer}))
		return
	}
	if e.sink != nil {
		e.sink(nil)
		return
	}
	out := append([]byte(`{"jsonrpc":"2.0","id":`), e.raw...)
	out = append(append(out, `,"error":`...), raw...)
	b.out.line(append(out, '}'))
}

// deliverBatch passes a batch on: as it is where the revision has batches and everything in it is in
// order, else one message at a time.
func (b *bridge) deliverBatch(m *message, c *call) {
	whole := b.sess.Load().version == "2025-03-26" && len(b.o.IgnoreTools) == 0 && len(m.elems) > 0
	keys := make(map[string]bool)
	b.mu.Lock()
	for i := range m.elems {
		e := &m.elems[i]
		if !e.valid() {
			whole = false
		} else if e.response() {
			key := idKey(e.raw(fieldID))
			en := b.pending[key]
			if en == nil || en.sink != nil || keys[key] || en.method == "initialize" {
				whole = false
			}
			keys[key] = true
		}
	}
	var taken []*entry
	if whole {
		for key := range keys {
			taken = append(taken, b.pending[key])
			delete(b.pending, key)
		}
	}
	b.mu.Unlock()
	if whole {
		b.out.message(m)
		for _, e := range taken {
			b.settle(e)
			if e.call != c {
				e.call.cancel()
			}
		}
		return
	}
	p, err := m.bytes()
	if err != nil {
		b.seldom(&b.dropped, "a batch of the server could not be read", "why", wire.Clean(err.Error()))
		return
	}
	for i := range m.elems {
		one := b.mem.messageOf(bytes.Clone(p[m.elems[i].start:m.elems[i].end]))
		if err := one.end(); err != nil {
			b.spoiled(one, c, faultOf(err))
			continue
		}
		if one.batch {
			one.free()
			b.seldom(&b.foreign, "the server sent what is no JSON-RPC message; it was dropped")
			continue
		}
		b.deliver(one, c)
	}
}

// refused deals with a response that is not 2xx.
func (b *bridge) refused(c *call, s *session, resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	f := statusFault(resp)
	if f.reason == reasonRefused {
		return f
	}
	inSession := s.id != "" && c.version == "" && c.method != "initialize"
	if inSession && f.status == http.StatusNotFound {
		return &fault{reason: reasonSession, status: f.status, unsent: true, session: s, err: f.err}
	}
	t := time.AfterFunc(errorWait, func() { _ = resp.Body.Close() })
	defer t.Stop()
	m := b.mem.message()
	defer func() { m.free() }()
	isMessage := m.fill(io.LimitReader(resp.Body, maxErrorBody)) == nil && m.end() == nil && (m.batch || m.top.valid() && m.top.response())
	if isMessage && !m.batch {
		p, _ := m.bytes()
		code := string(member(p, "error", "code"))
		switch {
		case inSession && f.status == http.StatusBadRequest && m.size < 4096 && m.top.isError && idKey(m.top.raw(fieldID)) == "" &&
			strings.Contains(strings.ToLower(string(p)), "session"):
			// Some servers say so instead of 404.
			return &fault{reason: reasonSession, status: f.status, unsent: true, session: s, err: f.err}
		case code == codeHeaderMismatch && c.version != "" && c.method == "tools/call" && !c.relearned:
			return &fault{reason: reasonMismatch}
		}
	}
	if isMessage && len(c.entries) > 0 {
		mine := m.batch
		if key := idKey(m.top.raw(fieldID)); !m.batch {
			// An error without an id is the server's own only where nothing in between speaks.
			mine = key == "" && f.status < 500 && f.status != http.StatusTooManyRequests
			for _, e := range c.entries {
				mine = mine || e.key == key
			}
		}
		if mine {
			b.deliver(retain(m), c)
			if c.answered() {
				return nil
			}
		}
	}
	if !isMessage && c.method == "initialize" && c.version == "" && b.o.Mode == HTTPFirst {
		switch f.status {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
			f.reason = reasonDetect
		}
	}
	return f
}

// again decides what follows a failed attempt. Nil means another one, at once; an error is the end.
func (b *bridge) again(c *call, f *fault, t *tries) error {
	switch f.reason {
	case reasonLogin:
		if t.logins++; t.logins > 2 {
			return f
		}
		return b.awaitLogin(c, f)
	case reasonSession:
		if f.session == nil {
			return f
		}
		if t.renewals++; t.renewals > 3 {
			return f
		}
		return b.renewFor(c, f.session, t)
	case reasonMismatch:
		c.relearned = true
		return b.relearn(c)
	case reasonDetect:
		f.reason = reasonStatus
		return b.detect(c, f)
	case reasonNetwork, reasonLost, reasonTemporary, reasonStatus:
	default:
		return f
	}
	may := f.unsent || c.repeatable()
	if f.reason == reasonStatus {
		switch f.status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		default:
			may = false
		}
	}
	if t.since.IsZero() {
		t.since = time.Now()
	}
	t.fails++
	wait := max(backoff(t.fails), f.wait)
	if !may || f.final || time.Since(t.since)+wait > b.o.RetryFor {
		return f
	}
	if err := b.pause(c, wait); err != nil {
		return err
	}
	if f.session != nil {
		return b.renewFor(c, f.session, t)
	}
	return nil
}

// pause waits while nothing of the call is at the server.
func (b *bridge) pause(c *call, d time.Duration) error {
	b.setWaiting(c, true)
	defer b.setWaiting(c, false)
	return sleep(c.ctx, d)
}

func (b *bridge) setWaiting(c *call, v bool) {
	b.mu.Lock()
	c.waiting = v
	b.mu.Unlock()
}

// renewFor replaces the session that c was refused with.
func (b *bridge) renewFor(c *call, s *session, t *tries) error {
	if t.renewals > 1 {
		if err := b.pause(c, backoff(t.renewals)); err != nil {
			return err
		}
	}
	b.setWaiting(c, true)
	err := b.renew(c.ctx, s)
	b.setWaiting(c, false)
	if err == nil {
		return nil
	}
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	return b.again(c, faultOf(err), t)
}

// loginState is the login under way, or the last that failed.
type loginState struct {
	made   []time.Time // those that succeeded, within loginWindow
	run    *loginRun
	failed *fault
	until  time.Time
}

type loginRun struct {
	done chan struct{}
	err  *fault
}

// awaitLogin has somebody log in and waits for it, for a limited time. Only what the host waits for may
// begin a login.
func (b *bridge) awaitLogin(c *call, f *fault) error {
	if b.o.Login == nil {
		return f
	}
	b.mu.Lock()
	l := &b.login
	r := l.run
	if r == nil {
		if len(c.entries) == 0 && c.method != "notifications/initialized" && c.method != "" {
			b.mu.Unlock()
			return f
		}
		if time.Now().Before(l.until) {
			failed := *l.failed
			b.mu.Unlock()
			return &failed
		}
		l.made = slices.DeleteFunc(l.made, func(at time.Time) bool { return time.Since(at) > loginWindow })
		if len(l.made) >= maxLogins {
			b.mu.Unlock()
			b.seldom(&b.tooMany, "the server asks for one login after the other; for a while nobody is asked any more")
			return &fault{reason: reasonLogin, err: f.err, final: true}
		}
		r = &loginRun{done: make(chan struct{})}
		l.run = r
		finish := func(err error) {
			b.mu.Lock()
			l.run = nil
			if err != nil {
				r.err = b.failure(err)
				if r.err.reason == reasonLost {
					r.err.reason = reasonAuthorization
				}
				r.err.unsent = false
				l.failed, l.until = r.err, time.Now().Add(b.o.LoginPause)
			} else {
				l.made = append(l.made, time.Now())
			}
			b.mu.Unlock()
			if err != nil {
				b.log.Warn("the login failed", "why", wire.CleanN(err.Error(), 500))
			}
			close(r.done)
		}
		b.run("logging in", func() { finish(b.o.Login(context.WithValue(b.ctx, askKey{}, b), f.err)) }, finish)
	}
	b.mu.Unlock()
	b.setWaiting(c, true)
	defer b.setWaiting(c, false)
	t := time.NewTimer(b.o.LoginWait)
	defer t.Stop()
	select {
	case <-r.done:
		if r.err != nil {
			failed := *r.err
			return &failed
		}
		return nil
	case <-t.C:
		return &fault{reason: reasonLoginPending}
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}
