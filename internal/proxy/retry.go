package proxy

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	// maxCallLogins is how many logins one call may cause, and maxCallRenewals how many new sessions.
	maxCallLogins   = 2
	maxCallRenewals = 3
	// maxPages is how many pages of tools are asked for after a header mismatch, and relistWait how long that may
	// take.
	maxPages   = 50
	relistWait = 20 * time.Second
)

// tries counts the attempts to deliver a call.
type tries struct {
	since    time.Time // the first failure
	fails    int
	logins   int
	renewals int
}

// afterFailure decides after a failed attempt whether there is another. It returns nil once the call is to be sent
// again, and an error if it is not.
func (s *sender) afterFailure(c *call, f *fault, t *tries) error {
	switch f.reason {
	case reasonLogin:
		if t.logins++; t.logins > maxCallLogins {
			return f
		}
		return s.login(c, f)
	case reasonSession:
		if f.session == nil {
			return f
		}
		if f.rejected && t.renewals > 0 {
			f.reason = reasonAuthorization // a new session has not helped
			return f
		}
		if t.renewals++; t.renewals > maxCallRenewals {
			return f
		}
		return s.renew(c, f.session, t)
	case reasonMismatch:
		c.relisted = true
		return s.relist(c)
	case reasonDetect:
		f.reason = reasonStatus
		return s.legacy.detect(c, f)
	case reasonNetwork, reasonLost, reasonTemporary, reasonStatus:
	default:
		return f
	}
	if t.since.IsZero() {
		t.since = time.Now()
	}
	t.fails++
	wait := max(backoff(t.fails), f.wait)
	if f.final || !mayRepeat(c, f) || time.Since(t.since)+wait > s.retryFor {
		return f
	}
	if err := s.pause(c, wait); err != nil {
		return err
	}
	if f.session != nil {
		return s.renew(c, f.session, t)
	}
	return nil
}

// mayRepeat reports whether a call may be sent again after a fault: the server did not act on it, or acting on it
// twice does no harm, and the fault may pass.
func mayRepeat(c *call, f *fault) bool {
	if f.reason == reasonStatus {
		switch f.status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		default:
			return false
		}
	}
	return f.unsent || c.repeatable()
}

// pause waits while nothing of the call is at the server.
func (s *sender) pause(c *call, d time.Duration) error {
	s.queue.suspend(c)
	defer s.queue.resume(c)
	return sleep(c.ctx, d)
}

// login has a person log in and waits for it.
func (s *sender) login(c *call, cause *fault) error {
	s.queue.suspend(c)
	defer s.queue.resume(c)
	return s.logins.await(c, cause)
}

// renew replaces the lost session that a call was sent in.
func (s *sender) renew(c *call, lost *session, t *tries) error {
	if t.renewals > 1 {
		if err := s.pause(c, backoff(t.renewals)); err != nil {
			return err
		}
	}
	s.queue.suspend(c)
	err := s.sessions.renew(c.ctx, lost)
	s.queue.resume(c)
	if err == nil {
		return nil
	}
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	return s.afterFailure(c, faultOf(err), t)
}

// relist lists the tools for a call that was refused because its headers do not fit.
func (s *sender) relist(c *call) error {
	ctx, cancel := context.WithTimeout(c.ctx, relistWait)
	defer cancel()
	p, err := c.msg.bytes()
	if err != nil {
		return &fault{reason: reasonStorage, err: err}
	}
	meta := member(p, "params", "_meta")
	if meta == nil {
		meta = []byte("{}")
	}
	var cursor []byte
	for page := range maxPages {
		text := append([]byte(`{"jsonrpc":"2.0","id":"mcpoauth-tools-`), strconv.Itoa(page)...)
		text = append(append(text, `","method":"tools/list","params":{"_meta":`...), meta...)
		if cursor != nil {
			text = append(append(text, `,"cursor":`...), cursor...)
		}
		m := s.mem.messageOf(append(text, "}}"...))
		if err := m.end(); err != nil {
			m.free()
			return faultOf(err)
		}
		answer, _, err := s.exchange.request(ctx, s.conn.session.Load(), outgoing{msg: m, elem: &m.top, version: c.version})
		m.free()
		if err != nil {
			s.log.Debug("the tools could not be listed again", "why", wire.CleanN(err.Error(), 500))
			return nil
		}
		list, err := answer.bytes()
		if err == nil {
			_ = s.tools.learn(list)
			cursor = append([]byte(nil), member(list, "result", "nextCursor")...)
		}
		answer.free()
		if err != nil || len(cursor) == 0 || cursor[0] != '"' {
			return nil
		}
	}
	return nil
}
