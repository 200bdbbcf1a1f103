package proxy

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxQueue is how many messages may wait for their turn before the host has to wait.
	maxQueue = 256
	// cancelWait is how long a request that the host cancelled may take to end.
	cancelWait = 5 * time.Second
)

// queue holds the host's messages from their acceptance to their answer: in their order, with limits on how many
// wait and how many are in flight, and with one answer for each request.
type queue struct {
	maxInFlight int
	tasks       *tasks
	// serve delivers a call. It calls release at the end.
	serve func(*call)
	// full is called before the host has to wait.
	full func()

	mu       sync.Mutex
	space    sync.Cond         // on mu: the queue got shorter, or it is closed
	pending  map[string]*entry // the requests without an answer, by entry.key
	waiting  []*call           // for a place in flight
	inFlight int
	barrier  bool    // a session begins: everything waits for it
	notes    []*call // notifications, which are sent one after the other
	noting   bool
	eof      bool // nothing more comes from the host
	closed   bool
	idle     chan struct{} // closed when eof is set and nothing is in flight
}

func newQueue(maxInFlight int, t *tasks) *queue {
	q := &queue{maxInFlight: maxInFlight, tasks: t, pending: make(map[string]*entry), idle: make(chan struct{})}
	q.space.L = &q.mu
	return q
}

// register makes an entry wait for its answer. It reports false if its id is in use.
func (q *queue) register(e *entry) bool {
	e.key = idKey(e.raw)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending[e.key] != nil || q.closed {
		return false
	}
	q.pending[e.key] = e
	e.call.entries = append(e.call.entries, e)
	e.call.unanswered++
	return true
}

// admit queues a call and starts the calls for which there is a place. It blocks while the queue is full.
func (q *queue) admit(c *call) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) >= maxQueue && !q.closed {
		q.full()
		q.space.Wait()
	}
	if q.closed {
		return errEnded
	}
	q.waiting = append(q.waiting, c)
	q.pump()
	return nil
}

// pump starts calls in their order. It is called with mu held.
func (q *queue) pump() {
	started := false
	for len(q.waiting) > 0 && !q.barrier && !q.closed && q.startNext(q.waiting[0]) {
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		started = true
	}
	if started {
		q.space.Broadcast()
	}
	if q.eof && len(q.waiting) == 0 && q.inFlight == 0 && !q.noting {
		select {
		case <-q.idle:
		default:
			close(q.idle)
		}
	}
}

// startNext starts a call. It reports false if there is no place for it. It is called with mu held.
func (q *queue) startNext(c *call) bool {
	if c.hasNoAnswer() && !c.beginsSession() {
		if len(q.notes) >= maxQueue {
			return false
		}
		q.notes = append(q.notes, c)
		if !q.noting {
			q.noting = true
			q.tasks.start("sending notifications", q.sendNotes, nil)
		}
		return true
	}
	if q.inFlight >= q.maxInFlight {
		return false
	}
	q.inFlight++
	c.placed, c.started = true, true
	if c.beginsSession() {
		q.barrier, c.isBarrier = true, true
	}
	q.tasks.start("serving a request", func() { q.serve(c) }, nil)
	return true
}

// release gives up a call's place.
func (q *queue) release(c *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !c.placed {
		return
	}
	c.placed = false
	q.inFlight--
	if c.isBarrier {
		q.barrier, c.isBarrier = false, false
	}
	q.pump()
}

// sendNotes sends notifications, one after the other.
func (q *queue) sendNotes() {
	for c := q.nextNote(); c != nil; c = q.nextNote() {
		q.serve(c)
	}
}

// nextNote returns the next notification to send, nil if there is none: then noting is over.
func (q *queue) nextNote() *call {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.pump()
	if len(q.notes) == 0 || q.closed {
		q.noting = false
		return nil
	}
	c := q.notes[0]
	q.notes[0] = nil
	q.notes = q.notes[1:]
	return c
}

// take claims the right to answer the request with a key, once. It returns nil if no such request waits.
func (q *queue) take(key string) *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.pending[key]
	if e != nil {
		delete(q.pending, key)
	}
	return e
}

// takeAll claims the right to answer whatever of a call is unanswered.
func (q *queue) takeAll(c *call) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []*entry
	for _, e := range c.entries {
		if q.pending[e.key] == e {
			delete(q.pending, e.key)
			all = append(all, e)
		}
	}
	return all
}

// takeBatch claims the right to answer all requests with these keys. It reports false, and claims nothing, if one
// of them does not wait for an answer that may come in a batch.
func (q *queue) takeBatch(keys map[string]bool) ([]*entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []*entry
	for key := range keys {
		e := q.pending[key]
		if e == nil || e.sink != nil || e.method == "initialize" {
			return nil, false
		}
		all = append(all, e)
	}
	for key := range keys {
		delete(q.pending, key)
	}
	return all, true
}

// settle records that e was answered.
func (q *queue) settle(e *entry) {
	q.mu.Lock()
	e.call.unanswered--
	complete := e.call.unanswered == 0
	q.mu.Unlock()
	if complete {
		close(e.call.done)
		q.release(e.call)
	}
}

// suspend records that nothing of a call is at the server, until resume.
func (q *queue) suspend(c *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.suspended = true
}

func (q *queue) resume(c *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.suspended = false
}

// wasCancelled reports whether the host cancelled a call.
func (q *queue) wasCancelled(c *call) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return c.cancelled
}

// cancel handles notifications/cancelled, which n is. It reports whether the server is to get it.
func (q *queue) cancel(n *call) bool {
	key := idKey(n.elem.raw(fieldRequestID))
	q.mu.Lock()
	e := q.pending[key]
	if e == nil {
		q.mu.Unlock()
		return n.version == ""
	}
	c := e.call
	if len(c.entries) > 1 {
		q.mu.Unlock()
		return true
	}
	c.cancelled = true
	if c.version == "" && c.started && !c.suspended && c.method != "initialize" {
		// The server ends it, with or without an answer. A server that does neither gets no more than cancelWait.
		time.AfterFunc(cancelWait, c.cancel)
		q.mu.Unlock()
		return true
	}
	// The server has nothing of it, or learns of the end because its stream is closed.
	delete(q.pending, key)
	i := slices.Index(q.waiting, c)
	if i >= 0 {
		q.waiting = slices.Concat(q.waiting[:i], q.waiting[i+1:])
	}
	q.mu.Unlock()
	c.cancel()
	if i >= 0 {
		c.discard()
	}
	return false
}

// finish is called when nothing more comes from the host. The channel is closed when everything is answered.
func (q *queue) finish() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.eof = true
	q.pump()
	return q.idle
}

// close ends the queue. It returns the calls that wait for an answer, and those that were never sent.
func (q *queue) close() (open, unsent []*call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.space.Broadcast()
	for _, e := range q.pending {
		open = append(open, e.call)
	}
	unsent = slices.Concat(q.waiting, q.notes)
	q.waiting, q.notes = nil, nil
	return open, unsent
}
