package proxy

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"slices"
)

// maxReplies is how many responses of the host may be in flight.
const maxReplies = 64

// hostReader takes the host's messages: it refuses those that are wrong, and gives the others to the queue.
type hostReader struct {
	ctx       context.Context // ends with the bridge
	input     *ahead
	queue     *queue
	conn      *connection
	sender    *sender
	questions *questions
	tools     *toolTable
	out       *output
	tasks     *tasks
	mem       *budget
	log       *slog.Logger
	replies   chan struct{} // holds a place for each response in flight
}

// run reads messages until the input ends.
func (h *hostReader) run(in io.Reader) error {
	for l := newLines(in); ; {
		m := h.mem.message()
		if err := l.next(m); err != nil {
			m.free()
			return err
		}
		if m.empty() {
			m.free()
			continue
		}
		if err := h.accept(m); err != nil {
			return err
		}
		// The call that was just started runs first: as a rule the input has no more yet, and reading it is a system
		// call that would delay the call.
		runtime.Gosched()
	}
}

// accept takes one message from the host. It blocks while the queue is full. The error ends the bridge.
func (h *hostReader) accept(m *message) error {
	if err := m.end(); err != nil {
		f := faultOf(err)
		if f.reason == reasonAnswer {
			f.reason = reasonParse
		}
		h.refuse(m, f)
		return nil
	}
	if m.batch {
		return h.acceptBatch(m)
	}
	e := &m.top
	switch {
	case !e.valid():
		h.refuse(m, &fault{reason: reasonInvalid})
		return nil
	case h.tools.hides(e):
		h.refuse(m, &fault{reason: reasonHidden})
		return nil
	}
	c := h.newCall(m, e)
	switch {
	case e.response():
		if h.questions.takeAnswer(m) {
			c.discard()
			return nil
		}
		return h.reply(c)
	case e.notification():
		if c.method == "notifications/cancelled" && !h.queue.cancel(c) {
			c.discard()
			return nil
		}
	case !h.queue.register(newEntry(c, e)):
		h.refuse(m, &fault{reason: reasonInUse})
		c.cancel()
		return nil
	}
	return h.queue.admit(c)
}

// newCall returns a call of a message. e is nil for a batch.
func (h *hostReader) newCall(m *message, e *element) *call {
	c := &call{outgoing: outgoing{msg: m, elem: e}, done: make(chan struct{})}
	if e != nil {
		c.method = e.text(fieldMethod)
		c.version = h.conn.versionOf(e)
	}
	c.ctx, c.cancel = context.WithCancel(h.ctx)
	return c
}

// reply sends a response past the queue: the server may need it before it answers the calls in the queue.
func (h *hostReader) reply(c *call) error {
	select {
	case h.replies <- struct{}{}:
	default:
		h.input.watch()
		select {
		case h.replies <- struct{}{}:
		case <-h.ctx.Done():
			return errEnded
		}
	}
	h.tasks.start("sending a response", func() {
		defer func() { <-h.replies }()
		h.sender.serve(c)
	}, nil)
	return nil
}

// refuse answers a message of the host's that goes nowhere, and frees it.
func (h *hostReader) refuse(m *message, f *fault) {
	defer m.free()
	e := &m.top
	if m.batch {
		e = &element{}
	}
	id := e.raw(fieldID)
	if idKey(id) == "" || e.badID {
		id = nil
	}
	switch {
	case m.err == nil && e.notification():
		h.log.Warn("a notification of the host was dropped", "why", f.reason.String())
	case e.response() && id != nil:
		// The server waits for a response, so it gets the error.
		h.log.Warn("a response of the host was replaced by an error", "why", f.reason.String())
		r := h.mem.messageOf(h.out.errors.answer(id, f))
		if r.end() == nil {
			_ = h.reply(h.newCall(r, &r.top))
		}
	default:
		h.out.refuse(id, f)
	}
}

// acceptBatch takes a batch.
func (h *hostReader) acceptBatch(m *message) error {
	if len(m.elems) == 0 {
		h.refuse(m, &fault{reason: reasonInvalid})
		return nil
	}
	valid := !slices.ContainsFunc(m.elems, func(e element) bool { return !e.valid() || e.text(fieldMethod) == "initialize" })
	switch {
	case !valid:
		h.refuseBatch(m, &fault{reason: reasonInvalid})
		return nil
	case h.conn.session.Load().version != batches:
		h.refuseBatch(m, &fault{reason: reasonBatch})
		return nil
	case slices.ContainsFunc(m.elems, func(e element) bool { return h.tools.hides(&e) }):
		return h.acceptVisible(m)
	}
	c := h.newCall(m, nil)
	for i := range m.elems {
		if e := &m.elems[i]; e.request() && !h.queue.register(newEntry(c, e)) {
			h.queue.takeAll(c)
			c.cancel()
			h.refuseBatch(m, &fault{reason: reasonInUse})
			return nil
		}
	}
	return h.queue.admit(c)
}

// refuseBatch answers each request in a batch that goes nowhere, and frees it.
func (h *hostReader) refuseBatch(m *message, f *fault) {
	defer m.free()
	answered := false
	for i := range m.elems {
		if e := &m.elems[i]; e.request() && idKey(e.raw(fieldID)) != "" {
			h.out.refuse(e.raw(fieldID), f)
			answered = true
		}
	}
	if !answered {
		h.out.refuse(nil, f)
	}
}

// acceptVisible takes a batch without the calls of hidden tools.
func (h *hostReader) acceptVisible(m *message) error {
	p, err := m.bytes()
	if err != nil {
		h.refuse(m, faultOf(err))
		return nil
	}
	rest := []byte{'['}
	for i := range m.elems {
		e := &m.elems[i]
		switch {
		case !h.tools.hides(e):
			if len(rest) > 1 {
				rest = append(rest, ',')
			}
			rest = append(rest, p[e.start:e.end]...)
		case e.request():
			h.out.refuse(e.raw(fieldID), &fault{reason: reasonHidden})
		}
	}
	m.free()
	if len(rest) == 1 {
		return nil
	}
	return h.accept(h.mem.messageOf(append(rest, ']')))
}
