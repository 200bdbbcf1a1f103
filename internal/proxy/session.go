package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// session is what later requests of a connection carry. It does not change.
type session struct {
	id      string
	version string
	sse     *sseConn // 2024-11-05's transport
	ctx     context.Context
	end     context.CancelFunc
}

func (b *bridge) newSession(id, version string, sse *sseConn) *session {
	s := &session{id: id, version: version, sse: sse}
	s.ctx, s.end = context.WithCancel(b.ctx)
	return s
}

// hostState is what the host told the server, kept to tell it again.
type hostState struct {
	initialize   *message
	version      string
	capabilities []byte
	initialized  *message
	level        *message
	subs         map[string]*message
}

// renewWait is how long a new session may take to begin.
const renewWait = 30 * time.Second

// maxSubscriptions is how many subscriptions are kept to be set again.
const maxSubscriptions = 4096

func retain(m *message) *message {
	m.refs.Add(1)
	return m
}

// forget frees what is kept of the host.
func (b *bridge) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := &b.host
	h.initialize.free()
	h.initialized.free()
	h.level.free()
	for _, m := range h.subs {
		m.free()
	}
	*h = hostState{}
}

// begin is called before an initialize of the host's is sent: a connection begins.
func (b *bridge) begin() {
	old := b.sess.Load()
	if old.id == "" && old.version == "" {
		return
	}
	b.sess.Store(b.newSession("", "", old.sse))
	old.end()
	if old.id != "" && old.sse == nil {
		b.run("ending a session", func() {
			ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
			defer cancel()
			b.deleteSession(ctx, old)
		}, nil)
	}
}

// begun takes what the answer to the host's initialize says.
func (b *bridge) begun(c *call, m *message) {
	p, err := m.bytes()
	if err != nil {
		return
	}
	version, caps, ok := negotiated(p)
	if !ok {
		return
	}
	b.mu.Lock()
	h := &b.host
	h.initialize.free()
	h.initialized.free()
	h.level.free()
	for _, s := range h.subs {
		s.free()
	}
	*h = hostState{initialize: retain(c.msg), version: version, capabilities: caps}
	b.mu.Unlock()
	old := b.sess.Load()
	b.sess.Store(b.newSession(c.sessionID, version, old.sse))
	old.end()
}

// negotiated returns what an answer to initialize settles.
func negotiated(p []byte) (version string, capabilities []byte, ok bool) {
	result := member(p, "result")
	if result == nil {
		return "", nil, false
	}
	caps := append([]byte(nil), member(result, "capabilities")...)
	return unquote(member(result, "protocolVersion")), caps, true
}

// remember keeps what was answered well and belongs to the session.
func (b *bridge) remember(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := &b.host
	switch e.method {
	case "logging/setLevel":
		h.level.free()
		h.level = retain(e.call.msg)
	case "resources/subscribe":
		if h.subs == nil {
			h.subs = make(map[string]*message)
		}
		if old := h.subs[e.uri]; old != nil || len(h.subs) < maxSubscriptions {
			old.free()
			h.subs[e.uri] = retain(e.call.msg)
		}
	case "resources/unsubscribe":
		h.subs[e.uri].free()
		delete(h.subs, e.uri)
	}
}

// initialized is called when the server took the host's notifications/initialized.
func (b *bridge) initialized(c *call) {
	b.mu.Lock()
	b.host.initialized.free()
	b.host.initialized = retain(c.msg)
	b.mu.Unlock()
	b.listenTo(b.sess.Load())
}

// header returns the header of a request.
func (b *bridge) header(s *session) http.Header {
	h := make(http.Header, 8+len(b.o.Header))
	maps.Copy(h, b.o.Header)
	if s.id != "" {
		h["Mcp-Session-Id"] = []string{s.id}
	}
	if s.version != "" && fitsSessionID(s.version) {
		h["Mcp-Protocol-Version"] = []string{s.version}
	}
	return h
}

func (b *bridge) request(ctx context.Context, method string, u *url.URL, h http.Header) *http.Request {
	r := &http.Request{Method: method, URL: u, Host: u.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return r.WithContext(ctx)
}

// fitsHeader reports whether a text may stand in a header as it is.
func fitsHeader(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return true
}

// fitsSessionID reports whether an id may stand in a header.
func fitsSessionID(id string) bool {
	for _, c := range []byte(id) {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	return len(id) <= maxField
}

// renewal is a session being replaced.
type renewal struct {
	done chan struct{}
	err  error
}

// renew replaces a lost session by a new one, once for all who noticed. Its errors are faults before
// which the server did not act on the caller's request.
func (b *bridge) renew(ctx context.Context, old *session) error {
	b.mu.Lock()
	if b.sess.Load() != old {
		b.mu.Unlock()
		return nil
	}
	r := b.renewal
	if r == nil {
		r = &renewal{done: make(chan struct{})}
		b.renewal = r
		finish := func(err error) {
			b.mu.Lock()
			b.renewal = nil
			b.mu.Unlock()
			r.err = err
			close(r.done)
		}
		b.run("renewing the session", func() { finish(b.initializeAgain(old)) }, finish)
	}
	b.mu.Unlock()
	select {
	case <-r.done:
		if r.err == nil {
			return nil
		}
		f := *faultOf(r.err)
		f.unsent = true
		return &f
	case <-ctx.Done():
		return ctx.Err()
	}
}

// initializeAgain says again what the host said at the beginning.
func (b *bridge) initializeAgain(old *session) error {
	ctx, cancel := context.WithTimeout(b.ctx, renewWait)
	defer cancel()
	b.mu.Lock()
	h := b.host
	if h.initialize == nil {
		b.mu.Unlock()
		return &fault{reason: reasonLost, err: errors.New("the session was lost before it was there")}
	}
	again := []*message{retain(h.initialize)}
	if h.initialized != nil {
		again = append(again, retain(h.initialized))
	}
	if h.level != nil {
		again = append(again, retain(h.level))
	}
	for _, m := range h.subs {
		again = append(again, retain(m))
	}
	b.mu.Unlock()
	defer func() {
		for _, m := range again {
			m.free()
		}
	}()
	b.log.Info("the server lost the session; beginning a new one")
	next := b.newSession("", "", nil)
	if old.sse != nil {
		conn, err := b.dialSSE(ctx)
		if err != nil {
			return err
		}
		next.sse = conn
	}
	answer, id, err := b.exchange(ctx, next, again[0], "")
	if err != nil {
		next.close()
		return err
	}
	p, err := answer.bytes()
	if err == nil {
		p = append([]byte(nil), p...)
	}
	answer.free()
	version, caps, ok := negotiated(p)
	if err != nil || !ok {
		next.close()
		return &fault{reason: reasonAnswer, err: errors.New("the server refuses a new session")}
	}
	if version != h.version || !sameJSON(caps, h.capabilities) {
		next.close()
		b.log.Error("the server's new session differs from the lost one", "version", wire.Clean(version), "before", wire.Clean(h.version))
		b.stop(ErrSessionChanged)
		return &fault{reason: reasonSession, err: ErrSessionChanged}
	}
	s := b.newSession(id, version, next.sse)
	for i, m := range again[1:] {
		if m.top.notification() {
			if err := b.tell(ctx, s, m); err != nil {
				s.close()
				return err
			}
			continue
		}
		answer, _, err := b.exchange(ctx, s, m, "")
		if err != nil || answer.top.isError {
			b.log.Warn("the new session lacks something of the old one", "method", wire.Clean(m.top.text(fieldMethod)), "number", i)
		}
		answer.free()
	}
	b.sess.Store(s)
	old.close()
	if h.initialized != nil {
		b.listenTo(s)
	}
	return nil
}

// close ends what belongs to a session that is not used any more.
func (s *session) close() {
	s.end()
	if s.sse != nil {
		s.sse.close()
	}
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(or1(a), &x) != nil || json.Unmarshal(or1(b), &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

func or1(p []byte) []byte {
	if len(p) == 0 {
		return []byte("null")
	}
	return p
}

// exchange sends a request of the bridge's own, or one of the host's again, and returns the answer
// with the session id that came with it.
func (b *bridge) exchange(ctx context.Context, s *session, m *message, version string) (*message, string, error) {
	if s.sse != nil {
		answer, err := b.exchangeSSE(ctx, s, m)
		return answer, "", err
	}
	key := idKey(m.top.raw(fieldID))
	resp, err := b.post(ctx, s, m, &m.top, version)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return nil, "", statusFault(resp)
	}
	id := resp.Header.Get("Mcp-Session-Id")
	if !fitsSessionID(id) {
		return nil, "", &fault{reason: reasonAnswer, err: errors.New("the session id cannot stand in a header")}
	}
	var ev *events
	if isEvents(resp.Header) {
		ev = newEvents(resp.Body, make([]byte, chunkSize))
	}
	for {
		answer := b.mem.message()
		if ev == nil {
			err = answer.fill(resp.Body)
		} else {
			_, err = ev.next(answer)
		}
		if err != nil {
			answer.free()
			return nil, "", &fault{reason: reasonLost, err: err}
		}
		if err := answer.end(); err != nil {
			answer.free()
			return nil, "", faultOf(err)
		}
		if e := &answer.top; e.response() && !answer.batch && idKey(e.raw(fieldID)) == key {
			return answer, id, nil
		}
		if ev == nil {
			answer.free()
			return nil, "", &fault{reason: reasonAnswer}
		}
		b.deliver(answer, nil)
	}
}

// tell sends a notification outside the queue.
func (b *bridge) tell(ctx context.Context, s *session, m *message) error {
	resp, err := b.post(ctx, s, m, &m.top, "")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return statusFault(resp)
	}
	return nil
}

// listenTo opens the stream on which the server speaks by itself.
func (b *bridge) listenTo(s *session) {
	if s.sse == nil {
		b.run("listening to the server", func() { b.listen(s) }, nil)
	}
}

// listen keeps the stream of a session open. It asks nobody for a login.
func (b *bridge) listen(s *session) {
	var (
		last   string
		fails  int
		idle   int // streams in a row that brought nothing
		opened bool
	)
	for {
		wait := backoff(fails)
		resp, err := b.get(s, last)
		switch {
		case s.ctx.Err() != nil:
			if err == nil {
				_ = resp.Body.Close()
			}
			return
		case err != nil:
			f := b.failure(err)
			b.log.Debug("no stream from the server", "why", wire.CleanN(f.Error(), 500))
			fails++
			if f.reason == reasonLogin {
				wait = 30 * time.Second
			}
		case resp.StatusCode/100 == 2 && isEvents(resp.Header):
			opened = true
			ev := newEvents(resp.Body, make([]byte, chunkSize))
			ev.id, ev.nextID = last, last
			err := b.pour(ev, nil)
			_ = resp.Body.Close()
			if last = ev.id; !fitsHeader(last) {
				last = ""
			}
			if errors.Is(err, errTooLarge) {
				b.log.Warn("a message of the server is larger than the limit and was dropped")
				last = "" // it would come again
			}
			if fails++; ev.count > 0 {
				fails = 0
			}
			if idle++; ev.full > 0 {
				idle = 0
			}
			if wait = max(backoff(fails), time.Duration(float64(time.Second)*(0.9+0.2*rand.Float64()))); ev.retry >= 0 { //nolint:gosec // jitter
				wait = max(ev.retry, backoff(fails)/2, atLeast(idle))
			}
		default:
			_ = resp.Body.Close()
			switch code := resp.StatusCode; {
			case code == http.StatusNotFound && opened:
				if sleep(s.ctx, backoff(b.flap())) != nil {
					return
				}
				if err := b.renew(s.ctx, s); err == nil || s.ctx.Err() != nil {
					return
				}
				fails++
			case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusRequestTimeout,
				code == http.StatusTooManyRequests, code >= 500 && code != http.StatusNotImplemented:
				fails++
				wait = max(wait, retryAfter(resp.Header))
			case last != "":
				last = "" // it resumes nothing
			default:
				return // it has no such stream
			}
		}
		if sleep(s.ctx, wait) != nil {
			return
		}
	}
}

// get opens a stream, or goes on with the one that last belongs to.
func (b *bridge) get(s *session, last string) (*http.Response, error) {
	return b.getWith(s.ctx, s, last)
}

func (b *bridge) getWith(ctx context.Context, s *session, last string) (*http.Response, error) {
	h := b.header(s)
	h["Accept"] = []string{"text/event-stream"}
	h["Cache-Control"] = []string{"no-cache"}
	if last != "" {
		h["Last-Event-Id"] = []string{last}
	}
	return b.o.HTTP.Do(b.request(ctx, http.MethodGet, b.url, h))
}

// backoff is how long to wait after so many failures in a row, with jitter.
func backoff(fails int) time.Duration {
	if fails == 0 {
		return 0
	}
	d := 100 * time.Millisecond << min(fails-1, 8)
	d = min(d, 20*time.Second)
	return time.Duration(float64(d) * (0.5 + rand.Float64())) //nolint:gosec // jitter
}

// atLeast is the pause before a stream is opened again even if the server wants none ("retry: 0"), after so many
// in a row that brought nothing. Servers that have their clients ask again and again mean seconds.
func atLeast(idle int) time.Duration { return min(backoff(max(idle, 1)), time.Second) }

// flap returns how many sessions were found lost within a minute of the one before.
func (b *bridge) flap() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.lostAt) > time.Minute {
		b.flaps = 0
	}
	b.lostAt = time.Now()
	b.flaps++
	return b.flaps - 1
}

func isEvents(h http.Header) bool {
	ct, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(ct), "text/event-stream")
}

func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(0, time.Until(t)), time.Minute)
	}
	d, err := time.ParseDuration(v + "s")
	if err != nil {
		return 0
	}
	return min(max(0, d), time.Minute)
}

func statusFault(resp *http.Response) *fault {
	f := &fault{reason: reasonStatus, status: resp.StatusCode, wait: retryAfter(resp.Header)}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.reason = reasonRefused
	case http.StatusTooManyRequests:
		f.unsent = true
	case http.StatusServiceUnavailable:
		f.unsent = f.wait > 0
	}
	f.err = fmt.Errorf("%s %s", resp.Request.Method, wire.Clean(resp.Status))
	return f
}
