package proxy

import (
	"bytes"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

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
