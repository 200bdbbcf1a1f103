package proxy

import (
	"context"
	"errors"
	"net/http"
)

// exchanger sends messages that are not the host's turn: requests of the bridge's own, and the host's again in a new
// session.
type exchanger struct {
	remote   *remote
	queue    *queue
	delivery *delivery
	mem      *budget
}

// request sends a request and returns the answer, with the session id that came with it.
func (x *exchanger) request(ctx context.Context, s *session, out outgoing) (*message, string, error) {
	if s.sse != nil {
		answer, err := x.requestSSE(ctx, s, out)
		return answer, "", err
	}
	resp, err := x.send(ctx, s, out)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	id := resp.Header.Get("Mcp-Session-Id")
	if !fitsSessionID(id) {
		return nil, "", &fault{reason: reasonAnswer, err: errors.New("the session id cannot stand in a header")}
	}
	key := idKey(out.elem.raw(fieldID))
	answer, err := x.answerIn(resp, key)
	if err != nil {
		return nil, "", err
	}
	return answer, id, nil
}

// answerIn returns the answer to the request with a key. Other messages of the server's go to the host.
func (x *exchanger) answerIn(resp *http.Response, key string) (*message, error) {
	next := func(m *message) error { return m.fill(resp.Body) }
	stream := isEvents(resp.Header)
	if stream {
		ev := newEvents(resp.Body, make([]byte, chunkSize))
		next = func(m *message) error {
			_, err := ev.next(m)
			return err
		}
	}
	for {
		m := x.mem.message()
		if err := next(m); err != nil {
			m.free()
			return nil, &fault{reason: reasonLost, err: err}
		}
		if err := m.end(); err != nil {
			m.free()
			return nil, faultOf(err)
		}
		switch {
		case m.top.response() && !m.batch && idKey(m.top.raw(fieldID)) == key:
			return m, nil
		case !stream:
			m.free()
			return nil, &fault{reason: reasonAnswer}
		}
		x.delivery.message(m, nil)
	}
}

// requestSSE is request over HTTP+SSE, where the answer comes on the session's stream.
func (x *exchanger) requestSSE(ctx context.Context, s *session, out outgoing) (*message, error) {
	answers := make(chan *message, 1)
	c := &call{outgoing: out, done: make(chan struct{}), cancel: func() {}}
	e := newEntry(c, out.elem)
	e.sink = func(a *message) { answers <- a }
	if !x.queue.register(e) {
		return nil, &fault{reason: reasonInUse}
	}
	defer func() {
		for _, e := range x.queue.takeAll(c) {
			x.queue.settle(e)
		}
	}()
	out.version = ""
	resp, err := x.send(ctx, s, out)
	if err != nil {
		return nil, err
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

// notify sends a notification.
func (x *exchanger) notify(ctx context.Context, s *session, out outgoing) error {
	resp, err := x.send(ctx, s, out)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	return nil
}

// send posts a message. The response is 2xx.
func (x *exchanger) send(ctx context.Context, s *session, out outgoing) (*http.Response, error) {
	resp, err := x.remote.post(ctx, s, out)
	if err != nil {
		return nil, err
	}
	if !success(resp) {
		_ = resp.Body.Close()
		return nil, statusFault(resp)
	}
	return resp, nil
}
