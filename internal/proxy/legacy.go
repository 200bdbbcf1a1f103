package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// legacy decides between Streamable HTTP and HTTP+SSE, and opens the latter.
type legacy struct {
	ctx      context.Context // ends with the bridge
	mode     Mode
	patience time.Duration
	conn     *connection
	remote   *remote
	delivery *delivery
	tasks    *tasks
	mem      *budget
	log      *slog.Logger

	mu     sync.Mutex // held while HTTP+SSE is opened
	absent bool       // the server does not have it
}

// dial opens the stream and waits for the address. ctx bounds that, not the stream.
func (l *legacy) dial(ctx context.Context) (*sseConn, error) {
	streamCtx, cancel := context.WithCancel(l.ctx)
	stop := context.AfterFunc(ctx, cancel)
	s := l.conn.newSession("", "", nil)
	defer s.end()
	resp, err := l.remote.get(streamCtx, s, "")
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, l.remote.failure(err)
	}
	ev := newEvents(resp.Body, make([]byte, chunkSize))
	endpoint, err := l.endpointIn(resp, ev)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		_ = resp.Body.Close()
		return nil, err
	}
	conn := &sseConn{endpoint: endpoint, done: make(chan struct{}), cancel: cancel, login: s.login}
	var once sync.Once
	closed := func(error) {
		once.Do(func() {
			cancel()
			_ = resp.Body.Close()
			close(conn.done)
		})
	}
	l.tasks.start("reading the server's stream", func() { closed(l.delivery.stream(ev, nil)) }, closed)
	return conn, nil
}

// endpointIn reads the stream's first event, which names the address. It must be of the server's origin, because
// the access token goes there.
func (l *legacy) endpointIn(resp *http.Response, ev *events) (*url.URL, error) {
	if !success(resp) {
		return nil, statusFault(resp)
	}
	if !isEvents(resp.Header) {
		return nil, &fault{reason: reasonAnswer, err: errors.New("no stream of events")}
	}
	m := l.mem.message()
	defer m.free()
	m.raw = true
	kind, err := ev.next(m)
	if err != nil {
		return nil, &fault{reason: reasonLost, err: err}
	}
	text, err := m.bytes()
	if err != nil {
		return nil, &fault{reason: reasonLost, err: err}
	}
	if kind != "endpoint" {
		return nil, &fault{reason: reasonAnswer, err: errors.New("the stream does not begin with an endpoint")}
	}
	endpoint := strings.TrimSpace(string(text))
	u, err := l.remote.url.Parse(endpoint)
	if err != nil || !sameOrigin(u, l.remote.url) || u.User != nil {
		return nil, &fault{reason: reasonAnswer, final: true, err: fmt.Errorf("the stream names an endpoint of another origin: %s", wire.PlainURL(endpoint))}
	}
	u.Fragment = ""
	return u, nil
}

// dialInTime is dial with a limit: a stream that does not begin with its endpoint may be one of Streamable HTTP, on
// which nothing ever comes.
func (l *legacy) dialInTime(ctx context.Context) (*sseConn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	return l.dial(ctx)
}

func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)])
	}
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// choose opens HTTP+SSE for a call where it comes first, or where a connection begins whose stream has ended.
func (l *legacy) choose(c *call) error {
	s := l.conn.session.Load()
	switch {
	case s.sse != nil && (c.method != "initialize" || !s.sse.dead()):
		return nil
	case s.sse == nil && l.mode != SSEFirst && l.mode != SSEOnly:
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s = l.conn.session.Load(); s.sse != nil && !s.sse.dead() || l.absent {
		return nil
	}
	conn, err := l.dialInTime(c.ctx)
	if err == nil {
		l.conn.session.Store(l.conn.newSession("", "", conn))
		s.end()
		return nil
	}
	f := faultOf(err)
	if l.mode == SSEFirst && c.ctx.Err() == nil && (f.reason == reasonStatus && f.status/100 == 4 || f.reason == reasonAnswer) {
		l.absent = true
		return nil
	}
	return err
}

// detect opens HTTP+SSE after a server refused the first message over Streamable HTTP with refusal. It returns
// refusal if the server does not have it.
func (l *legacy) detect(c *call, refusal *fault) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	conn, err := l.dialInTime(c.ctx)
	if err != nil {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		l.log.Debug("the server does not speak HTTP+SSE either", "why", wire.CleanN(err.Error(), 500))
		if f := faultOf(err); f.final {
			return f
		}
		return refusal
	}
	l.log.Info("the server speaks the HTTP+SSE of 2024-11-05")
	old := l.conn.session.Load()
	l.conn.session.Store(l.conn.newSession("", "", conn))
	old.end()
	return nil
}
