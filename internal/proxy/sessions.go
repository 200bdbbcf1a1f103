package proxy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	// renewWait is how long a new session may take to begin.
	renewWait = 30 * time.Second
	// replacedWait is how long the server may take to end a session that the host replaced.
	replacedWait = 10 * time.Second
)

// ErrSessionChanged means that the server lost the session and that a new one would have another
// version or other capabilities than the host was told.
var ErrSessionChanged = errors.New("the server's new session differs from the one that the host knows")

// sessions keeps the session with the server: it ends one that the host replaces, and replaces one that the server
// lost.
type sessions struct {
	ctx      context.Context         // ends with the bridge
	stop     context.CancelCauseFunc // of ctx
	conn     *connection
	remote   *remote
	exchange *exchanger
	legacy   *legacy
	tasks    *tasks
	log      *slog.Logger

	// listen opens the stream on which the server speaks by itself.
	listen func(*session)

	mu      sync.Mutex
	renewal *renewal // that runs, nil if none does
}

// reset is called before an initialize of the host's is sent. It ends the session before.
func (s *sessions) reset() {
	old := s.conn.reset()
	if old == nil || old.id == "" || old.sse != nil {
		return
	}
	s.tasks.start("ending a session", func() {
		ctx, cancel := context.WithTimeout(s.ctx, replacedWait)
		defer cancel()
		s.remote.deleteSession(ctx, old)
	}, nil)
}

// initialized is called when the server took the host's notifications/initialized.
func (s *sessions) initialized(m *message) {
	s.conn.initialized(m)
	s.listen(s.conn.session.Load())
}

// end ends the session with the bridge. ctx has no end of its own.
func (s *sessions) end(ctx context.Context) {
	current := s.conn.session.Load()
	current.end()
	if current.id != "" && current.sse == nil {
		ctx, cancel := context.WithTimeout(ctx, deleteWait)
		defer cancel()
		s.remote.deleteSession(ctx, current)
	}
}

// renewal is the replacement of a lost session.
type renewal struct {
	done chan struct{}
	err  error // valid after done
}

// renew replaces a lost session by a new one, once for all callers that noticed. Its errors are faults before
// which the server did not act on the caller's request.
func (s *sessions) renew(ctx context.Context, old *session) error {
	r := s.renewalOf(old)
	if r == nil {
		return nil
	}
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

// renewalOf returns the replacement of old, which it begins if none runs, or nil if old was replaced already.
func (s *sessions) renewalOf(old *session) *renewal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.session.Load() != old {
		return nil
	}
	if s.renewal != nil {
		return s.renewal
	}
	r := &renewal{done: make(chan struct{})}
	s.renewal = r
	finish := func(err error) {
		s.mu.Lock()
		s.renewal = nil
		s.mu.Unlock()
		r.err = err
		close(r.done)
	}
	s.tasks.start("renewing the session", func() { finish(s.replace(old)) }, finish)
	return r
}

// replace begins a new session with the messages with which the host began the old one.
func (s *sessions) replace(old *session) error {
	ctx, cancel := context.WithTimeout(s.ctx, renewWait)
	defer cancel()
	t := s.conn.transcript()
	if t == nil {
		return &fault{reason: reasonLost, err: errors.New("the session was lost before it had begun")}
	}
	defer t.free()
	s.log.Info("the session is over; beginning a new one")
	next, err := s.initialize(ctx, old, t)
	if err != nil {
		return err
	}
	if err := s.replay(ctx, next, t); err != nil {
		next.close()
		return err
	}
	s.conn.session.Store(next)
	old.close()
	if t.initialized {
		s.listen(next)
	}
	return nil
}

// initialize sends the host's initialize again. It ends the bridge if the answer settles something else than before.
func (s *sessions) initialize(ctx context.Context, old *session, t *transcript) (*session, error) {
	next := s.conn.newSession("", "", nil)
	if old.sse != nil {
		conn, err := s.legacy.dial(ctx)
		if err != nil {
			return nil, err
		}
		next.sse = conn
	}
	answer, id, err := s.exchange.request(ctx, next, outgoing{msg: t.initialize, elem: &t.initialize.top})
	if err != nil {
		next.close()
		return nil, err
	}
	defer answer.free()
	p, err := answer.bytes()
	agreed, ok := agreementIn(p)
	if err != nil || !ok {
		next.close()
		return nil, &fault{reason: reasonAnswer, err: errors.New("the server refuses a new session")}
	}
	if !agreed.same(t.agreement) {
		next.close()
		s.log.Error("the server's new session differs from the lost one", "version", wire.Clean(agreed.version), "before", wire.Clean(t.version))
		s.stop(ErrSessionChanged)
		return nil, &fault{reason: reasonSession, err: ErrSessionChanged}
	}
	next.end()
	return s.conn.follow(next, id, agreed.version), nil
}

// replay sends the other messages of the host's that a new session needs.
func (s *sessions) replay(ctx context.Context, next *session, t *transcript) error {
	for i, m := range t.rest {
		out := outgoing{msg: m, elem: &m.top}
		if m.top.notification() {
			if err := s.exchange.notify(ctx, next, out); err != nil {
				return err
			}
			continue
		}
		answer, _, err := s.exchange.request(ctx, next, out)
		if err != nil || answer.top.isError {
			s.log.Warn("the new session lacks something of the old one", "method", wire.Clean(m.top.text(fieldMethod)), "number", i)
		}
		answer.free()
	}
	return nil
}
