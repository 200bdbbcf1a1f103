package proxy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// delivery passes the server's messages to the host, each answer to the request that waits for it.
type delivery struct {
	queue *queue
	conn  *connection
	tools *toolTable
	out   *output
	mem   *budget
	log   *slog.Logger

	lingering                    lingering
	unexpected, dropped, invalid repeated
}

// stream delivers the messages of a stream until it ends. c is the call that it answers, nil for none. Once the call
// has its answer, the stream may linger.
func (d *delivery) stream(ev *events, c *call) error {
	lingers := false
	for {
		m := d.mem.message()
		kind, err := ev.next(m)
		switch {
		case errors.Is(err, errTooLarge):
			d.replaceInvalid(m, c, faultOf(err))
			return err
		case err != nil:
			m.free()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case kind != "" && kind != "message":
			m.free()
			continue
		}
		if err := m.end(); err != nil {
			d.replaceInvalid(m, c, faultOf(err))
		} else {
			d.message(m, c)
		}
		if c != nil && !lingers && c.answered() {
			if !d.lingering.add(c) {
				return nil
			}
			defer d.lingering.remove(c)
			lingers = true
		}
	}
}

// message passes a message of the server's to the host, and frees it. c is the call on whose response it came, nil
// for none.
func (d *delivery) message(m *message, c *call) {
	defer m.free()
	if m.batch {
		d.batch(m, c)
		return
	}
	e := &m.top
	if !e.valid() {
		d.invalid.warn(d.log, "the server sent something that is no JSON-RPC message; it was dropped")
		return
	}
	if !e.response() {
		d.out.message(m)
		return
	}
	key := idKey(e.raw(fieldID))
	if key == "" && e.isError && c != nil && len(c.entries) == 1 {
		d.readdress(m, c)
		return
	}
	if en := d.queue.take(key); en != nil {
		d.answer(en, m, c)
		return
	}
	d.warnUnexpected()
}

func (d *delivery) warnUnexpected() {
	d.unexpected.warn(d.log, "the server sent an answer to no request, or a second one; it was dropped")
}

// settle records that e was answered by a message that came on the response to c, nil for none. A call that was
// answered elsewhere is ended.
func (d *delivery) settle(e *entry, c *call) {
	d.queue.settle(e)
	if e.call != c {
		e.call.cancel()
	}
}

// answer passes the answer to e on.
func (d *delivery) answer(e *entry, m *message, c *call) {
	defer d.settle(e, c) // also after a panic
	if e.sink != nil {
		e.sink(retain(m))
		return
	}
	if m.top.hasResult {
		switch {
		case e.method == "tools/list" && (e.call.version != "" || d.tools.hidesAny()):
			d.toolList(e, m)
			return
		case e.call.version != "":
		case e.method == "initialize":
			d.conn.begin(e.call, m)
		case keeps(e.method) && e.call.elem != nil:
			d.conn.keep(e)
		}
	}
	d.out.message(m)
}

// toolList passes a list of tools on, without those that the host must not see.
func (d *delivery) toolList(e *entry, m *message) {
	p, err := m.bytes()
	if err != nil {
		d.out.refuse(e.raw, &fault{reason: reasonStorage})
		return
	}
	visible := d.tools.withoutHidden
	if e.call.version != "" {
		visible = d.tools.learn
	}
	if cut := visible(p); cut != nil {
		d.out.line(cut)
		return
	}
	d.out.message(m)
}

// readdress gives an error that names no request to the only one that it can be meant for.
func (d *delivery) readdress(m *message, c *call) {
	e := d.queue.take(c.entries[0].key)
	if e == nil {
		d.warnUnexpected()
		return
	}
	defer d.queue.settle(e)
	p, err := m.bytes()
	raw := member(p, "error")
	if err != nil || raw == nil {
		d.out.refuse(e.raw, &fault{reason: reasonAnswer})
		return
	}
	if e.sink != nil {
		e.sink(nil)
		return
	}
	out := append([]byte(`{"jsonrpc":"2.0","id":`), e.raw...)
	out = append(append(out, `,"error":`...), raw...)
	d.out.line(append(out, '}'))
}

// replaceInvalid handles a message of the server's that cannot be passed on, and frees it: if it was an answer, an
// error takes its place.
func (d *delivery) replaceInvalid(m *message, c *call, f *fault) {
	defer m.free()
	var e *entry
	if m.top.raw(fieldMethod) == nil && !m.batch {
		if key := idKey(m.top.raw(fieldID)); key != "" {
			e = d.queue.take(key)
		}
	}
	if e == nil {
		d.dropped.warn(d.log, "a message of the server was dropped", "why", wire.CleanN(f.Error(), 500))
		return
	}
	d.log.Warn("an answer of the server was replaced by an error", "method", wire.Clean(e.method), "why", wire.CleanN(f.Error(), 500))
	d.refuse(e, f)
	d.settle(e, c)
}

// refuse answers a request with an error.
func (d *delivery) refuse(e *entry, f *fault) {
	if e.sink != nil {
		e.sink(nil)
		return
	}
	d.out.refuse(e.raw, f)
}

// fail answers whatever of a call is unanswered with an error.
func (d *delivery) fail(c *call, f *fault) {
	all := d.queue.takeAll(c)
	if len(all) == 0 && len(c.entries) > 0 {
		return
	}
	if f.reason != reasonEnding && f.reason != reasonSession {
		d.log.Warn("a message could not be delivered", "method", wire.Clean(c.method), "why", wire.CleanN(f.Error(), 500))
	}
	for _, e := range all {
		d.refuse(e, f)
		d.queue.settle(e)
	}
}

// dropAll settles whatever of a call is unanswered without an answer: the host cancelled it.
func (d *delivery) dropAll(c *call) {
	for _, e := range d.queue.takeAll(c) {
		d.queue.settle(e)
	}
}

// batches is the only revision that has batches.
const batches = "2025-03-26"

// batch passes a batch on: as it is where the revision has batches and everything in it is in order, else one
// message at a time.
func (d *delivery) batch(m *message, c *call) {
	if taken, ok := d.takeBatch(m); ok {
		d.out.message(m)
		for _, e := range taken {
			d.settle(e, c)
		}
		return
	}
	p, err := m.bytes()
	if err != nil {
		d.dropped.warn(d.log, "a batch of the server could not be read", "why", wire.Clean(err.Error()))
		return
	}
	for i := range m.elems {
		one := d.mem.messageOf(bytes.Clone(p[m.elems[i].start:m.elems[i].end]))
		if err := one.end(); err != nil {
			d.replaceInvalid(one, c, faultOf(err))
			continue
		}
		if one.batch {
			one.free()
			d.invalid.warn(d.log, "the server sent something that is no JSON-RPC message; it was dropped")
			continue
		}
		d.message(one, c)
	}
}

// takeBatch claims the right to answer all requests that a batch answers. It reports false if the batch cannot be
// passed on as it is.
func (d *delivery) takeBatch(m *message) ([]*entry, bool) {
	if d.conn.session.Load().version != batches || d.tools.hidesAny() || len(m.elems) == 0 {
		return nil, false
	}
	keys := make(map[string]bool)
	for i := range m.elems {
		e := &m.elems[i]
		if !e.valid() {
			return nil, false
		}
		if e.response() {
			key := idKey(e.raw(fieldID))
			if keys[key] {
				return nil, false
			}
			keys[key] = true
		}
	}
	return d.queue.takeBatch(keys)
}
