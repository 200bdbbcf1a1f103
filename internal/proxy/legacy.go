package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// sseConn is a connection of 2024-11-05's HTTP+SSE: everything that the server says comes on one stream,
// and what is said to it goes to an address that the stream names first.
type sseConn struct {
	endpoint *url.URL
	done     chan struct{}
	cancel   context.CancelFunc
}

func (s *sseConn) close() { s.cancel() }

func (s *sseConn) dead() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// dialSSE opens the stream and waits for the address. ctx bounds that, not the stream.
func (b *bridge) dialSSE(ctx context.Context) (*sseConn, error) {
	own, cancel := context.WithCancel(b.ctx)
	stop := context.AfterFunc(ctx, cancel)
	s := b.newSession("", "", nil)
	defer s.end()
	resp, err := b.getWith(own, s, "")
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, b.failure(err)
	}
	fail := func(err error) (*sseConn, error) {
		cancel()
		_ = resp.Body.Close()
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return fail(statusFault(resp))
	}
	if !isEvents(resp.Header) {
		return fail(&fault{reason: reasonAnswer, err: errors.New("no stream of events")})
	}
	ev := newEvents(resp.Body, make([]byte, chunkSize))
	m := b.mem.message()
	m.raw = true
	kind, err := ev.next(m)
	var text []byte
	if err == nil {
		text, err = m.bytes()
	}
	endpoint := strings.TrimSpace(string(text))
	m.free()
	if err != nil {
		return fail(&fault{reason: reasonLost, err: err})
	}
	if kind != "endpoint" {
		return fail(&fault{reason: reasonAnswer, err: errors.New("the stream does not begin with an endpoint")})
	}
	u, err := b.url.Parse(endpoint)
	if err != nil || !sameOrigin(u, b.url) || u.User != nil {
		return fail(&fault{reason: reasonAnswer, final: true, err: fmt.Errorf("the stream names an endpoint of another origin: %s", wire.PlainURL(endpoint))})
	}
	if !stop() {
		return fail(ctx.Err())
	}
	u.Fragment = ""
	conn := &sseConn{endpoint: u, done: make(chan struct{}), cancel: cancel}
	var once sync.Once
	closed := func(error) {
		once.Do(func() {
			cancel()
			_ = resp.Body.Close()
			close(conn.done)
		})
	}
	b.run("reading the server's stream", func() { closed(b.pour(ev, nil)) }, closed)
	return conn, nil
}

// dialInTime opens the stream of HTTP+SSE. A stream that does not begin with its endpoint may be one of
// Streamable HTTP, on which nothing ever comes.
func (b *bridge) dialInTime(ctx context.Context) (*sseConn, error) {
	ctx, cancel := context.WithTimeout(ctx, b.o.Patience)
	defer cancel()
	return b.dialSSE(ctx)
}

func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// chooseTransport opens HTTP+SSE where it comes first, or where it has to be opened again for a
// connection that begins.
func (b *bridge) chooseTransport(c *call) error {
	s := b.sess.Load()
	switch {
	case s.sse != nil && (c.method != "initialize" || !s.sse.dead()):
		return nil
	case s.sse == nil && b.o.Mode != SSEFirst && b.o.Mode != SSEOnly:
		return nil
	}
	b.dialMu.Lock()
	defer b.dialMu.Unlock()
	if s = b.sess.Load(); s.sse != nil && !s.sse.dead() || b.noSSE {
		return nil
	}
	conn, err := b.dialInTime(c.ctx)
	if err == nil {
		b.sess.Store(b.newSession("", "", conn))
		s.end()
		return nil
	}
	f := faultOf(err)
	if b.o.Mode == SSEFirst && c.ctx.Err() == nil && (f.reason == reasonStatus && f.status/100 == 4 || f.reason == reasonAnswer) {
		b.noSSE = true
		return nil
	}
	return err
}

// detect looks for HTTP+SSE after a server refused the first message over Streamable HTTP. f is that
// refusal.
func (b *bridge) detect(c *call, f *fault) error {
	b.dialMu.Lock()
	defer b.dialMu.Unlock()
	conn, err := b.dialInTime(c.ctx)
	if err != nil {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		b.log.Debug("the server does not speak HTTP+SSE either", "why", wire.CleanN(err.Error(), 500))
		if d := faultOf(err); d.final {
			return d
		}
		return f
	}
	b.log.Info("the server speaks the HTTP+SSE of 2024-11-05")
	old := b.sess.Load()
	b.sess.Store(b.newSession("", "", conn))
	old.end()
	return nil
}

// attemptSSE sends a call once over HTTP+SSE.
func (b *bridge) attemptSSE(c *call, s *session) error {
	if s.sse.dead() {
		return &fault{reason: reasonSession, unsent: true, session: s, err: errors.New("the server's stream ended")}
	}
	resp, err := b.post(c.ctx, s, c.msg, c.what, "")
	if err != nil {
		if c.answered() {
			return nil
		}
		return err
	}
	if resp.StatusCode/100 != 2 {
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
			// It does not know the stream any more.
			_ = resp.Body.Close()
			return &fault{reason: reasonSession, status: resp.StatusCode, unsent: true, session: s}
		}
		return b.refused(c, s, resp)
	}
	drain(resp)
	if len(c.entries) == 0 {
		if c.method == "notifications/initialized" {
			b.initialized(c)
		}
		return nil
	}
	select {
	case <-c.done:
		return nil
	case <-s.sse.done:
		if c.answered() {
			return nil
		}
		return &fault{reason: reasonLost, session: s, err: errors.New("the server's stream ended")}
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// exchangeSSE is exchange over HTTP+SSE.
func (b *bridge) exchangeSSE(ctx context.Context, s *session, m *message) (*message, error) {
	answers := make(chan *message, 1)
	c := &call{msg: m, what: &m.top, done: make(chan struct{}), cancel: func() {}}
	e := &entry{call: c, raw: m.top.raw(fieldID), method: m.top.text(fieldMethod), sink: func(a *message) { answers <- a }}
	if !b.register(c, e) {
		return nil, &fault{reason: reasonInUse}
	}
	defer func() {
		for _, e := range b.takeAll(c) {
			b.settle(e)
		}
	}()
	resp, err := b.post(ctx, s, m, &m.top, "")
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		_ = resp.Body.Close()
		return nil, statusFault(resp)
	}
	drain(resp)
	select {
	case a := <-answers:
		if a == nil {
			return nil, &fault{reason: reasonAnswer}
		}
		return a, nil
	case <-s.sse.done:
		return nil, &fault{reason: reasonLost, err: errors.New("the server's stream ended")}
	case <-ctx.Done():
		return nil, &fault{reason: reasonLost, err: ctx.Err()}
	}
}
