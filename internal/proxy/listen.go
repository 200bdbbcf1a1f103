package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// loginPoll is how long listening waits while a login is required. It never asks for one.
const loginPoll = 30 * time.Second

// listenTo opens the stream on which the server speaks by itself.
func (s *sessions) listenTo(to *session) {
	if to.sse == nil {
		l := &listener{sessions: s, session: to}
		s.tasks.start("listening to the server", l.run, nil)
	}
}

// listener keeps the stream of a session open. It is used by one goroutine.
type listener struct {
	*sessions
	session *session

	last   string // the last event, "" if there is none to go on after
	fails  int    // in a row
	idle   int    // streams in a row that brought nothing
	opened bool   // there was a stream
}

// run opens the stream again and again until the session ends or has no such stream.
func (l *listener) run() {
	for {
		resp, err := l.remote.get(l.session.ctx, l.session, l.last)
		if l.session.ctx.Err() != nil {
			if err == nil {
				_ = resp.Body.Close()
			}
			return
		}
		wait, more := l.attempt(resp, err)
		if !more || sleep(l.session.ctx, wait) != nil {
			return
		}
	}
}

// attempt handles the answer to the request for a stream. It returns how long to wait before the next, and false if
// there is to be none.
func (l *listener) attempt(resp *http.Response, err error) (wait time.Duration, more bool) {
	wait = backoff(l.fails)
	if err != nil {
		f := l.remote.failure(err)
		l.log.Debug("no stream from the server", "why", wire.CleanN(f.Error(), 500))
		l.fails++
		if f.reason == reasonLogin {
			wait = loginPoll
		}
		return wait, true
	}
	defer func() { _ = resp.Body.Close() }()
	if success(resp) && isEvents(resp.Header) {
		return l.read(resp), true
	}
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound && l.opened:
		_ = resp.Body.Close()
		if sleep(l.session.ctx, backoff(l.flap())) != nil {
			return 0, false
		}
		if err := l.renew(l.session.ctx, l.session); err == nil || l.session.ctx.Err() != nil {
			return 0, false
		}
		l.fails++
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusRequestTimeout,
		code == http.StatusTooManyRequests, code >= 500 && code != http.StatusNotImplemented:
		l.fails++
		wait = max(wait, retryAfter(resp.Header))
	case l.last != "":
		l.last = "" // it cannot be resumed
	default:
		return 0, false // the server has no such stream
	}
	return wait, true
}

// read delivers what a stream brings, and returns how long to wait before the next.
func (l *listener) read(resp *http.Response) time.Duration {
	l.opened = true
	ev := newEvents(resp.Body, make([]byte, chunkSize))
	ev.id, ev.nextID = l.last, l.last
	err := l.delivery.pour(ev, nil)
	if l.last = ev.id; !fitsHeader(l.last) {
		l.last = ""
	}
	if errors.Is(err, errTooLarge) {
		l.log.Warn("a message of the server is larger than the limit and was dropped")
		l.last = "" // it would come again
	}
	if l.fails++; ev.count > 0 {
		l.fails = 0
	}
	if l.idle++; ev.full > 0 {
		l.idle = 0
	}
	if ev.retry >= 0 {
		return max(ev.retry, backoff(l.fails)/2, atLeast(l.idle))
	}
	jitter := time.Duration(float64(time.Second) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // jitter
	return max(backoff(l.fails), jitter)
}

// flap returns how many times a session was lost within a minute of the time before.
func (s *sessions) flap() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.lostAt) > time.Minute {
		s.flaps = 0
	}
	s.lostAt = time.Now()
	s.flaps++
	return s.flaps - 1
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

// atLeast is the pause before a stream is opened again after so many in a row that brought nothing, even if the
// server wants none ("retry: 0"): servers that make their clients poll mean seconds.
func atLeast(idle int) time.Duration { return min(backoff(max(idle, 1)), time.Second) }

// sleep waits, or returns why it did not.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
