package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxErrorBody is how much of an error's body is read, and errorWait for how long.
	maxErrorBody = 1 << 20
	errorWait    = 5 * time.Second
	// maxExtras is how many streams are read at once that answer a message to which no answer is due.
	maxExtras = 8
	// codeHeaderMismatch is the error code of 2026-07-28 for a header that does not repeat the body.
	codeHeaderMismatch = "-32020"
)

// sender delivers one call at a time to the server, as often as it takes, and sees that each request in it is
// answered. Many goroutines use it at once.
type sender struct {
	ctx      context.Context // ends with the bridge
	mode     Mode
	retryFor time.Duration
	queue    *queue
	conn     *connection
	remote   *remote
	delivery *delivery
	sessions *sessions
	legacy   *legacy
	exchange *exchanger
	logins   *logins
	tools    *toolTable
	tasks    *tasks
	mem      *budget
	log      *slog.Logger

	extras  atomic.Int32 // streams that answer a message to which no answer is due
	ignored repeated
}

// serve delivers a call and sees that each request in it is answered.
func (s *sender) serve(c *call) {
	defer c.discard()
	defer s.queue.release(c)
	defer s.tasks.recovered("serving a message", func(err error) { s.delivery.fail(c, &fault{reason: reasonInternal, err: err}) })
	if c.initializes() {
		s.sessions.reset()
	}
	var (
		t     tries
		final *fault
	)
	for final == nil {
		err := s.attempt(c)
		if err == nil || c.answered() || c.ctx.Err() != nil || s.queue.wasCancelled(c) {
			break
		}
		if err = s.afterFailure(c, faultOf(err), &t); err != nil && c.ctx.Err() == nil {
			final = faultOf(err)
		}
	}
	switch {
	case s.queue.wasCancelled(c):
		s.delivery.dropAll(c)
	case s.ctx.Err() != nil:
		s.delivery.fail(c, endingFault(s.ctx))
	case final != nil:
		s.delivery.fail(c, final)
	case len(c.entries) > 0:
		s.delivery.fail(c, &fault{reason: reasonLost})
	}
}

// endingFault is the answer to the requests that are in flight when the bridge, whose context is given, ends.
func endingFault(ctx context.Context) *fault {
	if errors.Is(context.Cause(ctx), ErrSessionChanged) {
		return &fault{reason: reasonSession}
	}
	return &fault{reason: reasonEnding}
}

// attempt sends a call once. It returns nil if it was answered, or accepted where no answer is due.
func (s *sender) attempt(c *call) error {
	if err := s.legacy.choose(c); err != nil {
		return err
	}
	current := s.conn.session.Load()
	if current.sse != nil {
		return s.attemptSSE(c, current)
	}
	resp, err := s.remote.post(c.ctx, current, c.outgoing)
	if err != nil {
		return err
	}
	if !success(resp) {
		return s.refused(c, current, resp)
	}
	if c.method == "initialize" {
		if id := resp.Header.Get("Mcp-Session-Id"); fitsSessionID(id) {
			c.sessionID = id
		} else {
			s.log.Warn("the server's session id cannot stand in a header and is not used")
		}
	}
	if len(c.entries) == 0 {
		s.accepted(c, resp)
		return nil
	}
	if isEvents(resp.Header) {
		return s.readStream(c, current, resp)
	}
	defer func() { _ = resp.Body.Close() }()
	return s.readAnswer(c, resp)
}

// readAnswer delivers an answer that is the whole body of a response.
func (s *sender) readAnswer(c *call, resp *http.Response) error {
	if resp.ContentLength > s.mem.maxMessage {
		return &fault{reason: reasonTooLarge}
	}
	m := s.mem.message()
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
	s.delivery.message(m, c)
	if !c.answered() {
		return &fault{reason: reasonAnswer, err: errors.New("the server answered another request than the one it was sent")}
	}
	return nil
}

// accepted handles the response to a message to which no answer is due.
func (s *sender) accepted(c *call, resp *http.Response) {
	switch {
	case isEvents(resp.Header) && s.extras.Add(1) > maxExtras:
		// Nothing is lost by that: the response to such a message is 202 without a body.
		s.extras.Add(-1)
		_ = resp.Body.Close()
		s.ignored.warn(s.log, "the server opens more streams than are read for messages that need no answer")
	case isEvents(resp.Header):
		cancel := c.cancel
		s.tasks.start("reading a stream", func() {
			defer s.extras.Add(-1)
			defer cancel()
			defer func() { _ = resp.Body.Close() }()
			stop := context.AfterFunc(s.ctx, func() { _ = resp.Body.Close() })
			defer stop()
			_ = s.delivery.stream(newEvents(resp.Body, make([]byte, chunkSize)), nil)
		}, nil)
		c.cancel = func() {} // the stream outlives the call
	default:
		drain(resp)
	}
	if c.method == "notifications/initialized" && c.version == "" {
		s.sessions.initialized(c.msg)
	}
}

// attemptSSE sends a call once over HTTP+SSE.
func (s *sender) attemptSSE(c *call, current *session) error {
	if current.sse.dead() {
		return &fault{reason: reasonSession, unsent: true, session: current, err: errors.New("the server's stream ended")}
	}
	resp, err := s.remote.post(c.ctx, current, outgoing{msg: c.msg, elem: c.elem})
	if err != nil {
		if c.answered() {
			return nil
		}
		return err
	}
	if !success(resp) {
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
			// The server does not know the stream any more.
			_ = resp.Body.Close()
			return &fault{reason: reasonSession, status: resp.StatusCode, unsent: true, session: current}
		}
		return s.refused(c, current, resp)
	}
	drain(resp)
	if len(c.entries) == 0 {
		if c.method == "notifications/initialized" {
			s.sessions.initialized(c.msg)
		}
		return nil
	}
	select {
	case <-c.done:
		return nil
	case <-current.sse.done:
		if c.answered() {
			return nil
		}
		return &fault{reason: reasonLost, session: current, err: errors.New("the server's stream ended")}
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// refused handles a response that is not 2xx.
func (s *sender) refused(c *call, current *session, resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	f := statusFault(resp)
	if f.reason == reasonRefused {
		return f
	}
	inSession := current.id != "" && c.version == "" && c.method != "initialize"
	if inSession && f.status == http.StatusNotFound {
		return &fault{reason: reasonSession, status: f.status, unsent: true, session: current, err: f.err}
	}
	t := time.AfterFunc(errorWait, func() { _ = resp.Body.Close() })
	defer t.Stop()
	m := s.mem.message()
	defer m.free()
	isMessage := m.fill(io.LimitReader(resp.Body, maxErrorBody)) == nil && m.end() == nil && (m.batch || m.top.valid() && m.top.response())
	if isMessage {
		switch {
		case inSession && f.status == http.StatusBadRequest && saysSessionLost(m):
			return &fault{reason: reasonSession, status: f.status, unsent: true, session: current, err: f.err}
		case c.version != "" && c.method == "tools/call" && !c.relisted && errorCode(m) == codeHeaderMismatch:
			return &fault{reason: reasonMismatch}
		case len(c.entries) > 0 && answers(m, c, f.status):
			s.delivery.message(retain(m), c)
			if c.answered() {
				return nil
			}
		}
	}
	if !isMessage && c.initializes() && s.mode == HTTPFirst {
		switch f.status {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
			f.reason = reasonDetect
		}
	}
	return f
}

// errorCode returns the code of an error, as it was written.
func errorCode(m *message) string {
	if m.batch {
		return ""
	}
	p, _ := m.bytes()
	return string(member(p, "error", "code"))
}

// saysSessionLost reports whether an error speaks of the session: some servers send it with status 400 instead of
// 404.
func saysSessionLost(m *message) bool {
	if m.batch || m.size >= 4096 || !m.top.isError || idKey(m.top.raw(fieldID)) != "" {
		return false
	}
	p, _ := m.bytes()
	return strings.Contains(strings.ToLower(string(p)), "session")
}

// answers reports whether a message in a response that is not 2xx answers a call.
func answers(m *message, c *call, status int) bool {
	if m.batch {
		return true
	}
	key := idKey(m.top.raw(fieldID))
	for _, e := range c.entries {
		if e.key == key {
			return true
		}
	}
	// An error without an id is the server's own, unless it may come from something in between.
	return key == "" && status < http.StatusInternalServerError && status != http.StatusTooManyRequests
}
