package proxy

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// loginPoll is how long listening waits while a login is required. It never asks for one.
const loginPoll = 30 * time.Second

// listening keeps the stream open on which the server speaks by itself.
type listening struct {
	sessions *sessions
	remote   *remote
	delivery *delivery
	tasks    *tasks
	log      *slog.Logger

	mu     sync.Mutex
	lostAt time.Time // when the stream last found its session lost
	flaps  int       // how many times that happened within a minute of the time before
}

// start listens to a session, in a goroutine of its own.
func (l *listening) start(s *session) {
	if s.sse == nil {
		one := &listener{listening: l, session: s}
		l.tasks.start("listening to the server", one.run, nil)
	}
}

// flap returns how many times a session was lost within a minute of the time before.
func (l *listening) flap() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.lostAt) > time.Minute {
		l.flaps = 0
	}
	l.lostAt = time.Now()
	l.flaps++
	return l.flaps - 1
}

// listener keeps the stream of one session open. It is used by one goroutine.
type listener struct {
	*listening
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
		if f.reason == reasonSession {
			return wait, !l.lost()
		}
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
		if l.lost() {
			return 0, false
		}
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

// lost replaces the session that was lost, after a pause if that happens often. It reports whether this one is over.
func (l *listener) lost() bool {
	if sleep(l.session.ctx, backoff(l.flap())) != nil {
		return true
	}
	if err := l.sessions.renew(l.session.ctx, l.session); err == nil || l.session.ctx.Err() != nil {
		return true
	}
	l.fails++
	return false
}

// read delivers the messages of a stream, and returns how long to wait before the next stream.
func (l *listener) read(resp *http.Response) time.Duration {
	l.opened = true
	ev := newEvents(resp.Body, make([]byte, chunkSize))
	ev.id, ev.nextID = l.last, l.last
	err := l.delivery.stream(ev, nil)
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
	jitter := time.Duration(float64(time.Second) * (0.9 + 0.2*rand.Float64())) // jitter
	return max(backoff(l.fails), jitter)
}
