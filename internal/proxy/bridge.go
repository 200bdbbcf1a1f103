package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	// maxQueue is how many messages may wait for their turn before the host has to.
	maxQueue = 256
	// maxReplies is how many responses of the host may be under way.
	maxReplies = 64
	// linger is how long a stream that has given its answer may take to end, so that its connection can
	// be used again, and maxLinger how many streams may do so.
	linger    = time.Second
	maxLinger = 32
	// maxExtras is how many streams are read at once that answer what needs no answer.
	maxExtras = 8
	// cancelWait is how long a request that the host cancelled may take to end.
	cancelWait = 5 * time.Second
	// deleteWait and stopWait bound the end of the bridge.
	deleteWait = 300 * time.Millisecond
	stopWait   = 400 * time.Millisecond // with deleteWait within it

	metaVersion = "io.modelcontextprotocol/protocolVersion"
)

// ErrSessionChanged means that the server lost the session and that a new one would have another
// version or other capabilities than the host was told.
var ErrSessionChanged = errors.New("the server's new session differs from the one that the host knows")

var errEnded = errors.New("the bridge has ended")

// bridge is the state of one [Run].
type bridge struct {
	o   Options
	url *url.URL
	log *slog.Logger
	mem budget
	out output

	ctx  context.Context // of everything that runs
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	runMu   sync.Mutex
	stopped bool // nothing more is started

	lingering atomic.Int32
	replies   chan struct{} // a place for each response under way
	extras    atomic.Int32
	// What was warned of so often that it is not any more.
	strays, dropped, foreign, leftOut, tooMany atomic.Int64

	sess   atomic.Pointer[session]
	modern atomic.Pointer[string] // the last revision without sessions that the host used

	mu       sync.Mutex
	space    sync.Cond // on mu: the queue got shorter, or the end came
	pending  map[string]*entry
	queue    []*call // what waits for its turn
	inflight int
	barrier  bool // an initialize or initialized is under way: everything waits for it
	notes    []*call
	noting   bool
	eof      bool
	ending   bool
	idle     chan struct{} // closed when eof and nothing is under way
	input    *ahead
	hungUp   chan struct{} // closed when the input's end was seen before all of it was taken
	host     hostState
	renewal  *renewal
	lostAt   time.Time // when the standing stream last found its session lost, and
	flaps    int       // how many times within a minute of the time before
	login    loginState
	asked    map[string]chan<- []byte // requests of the bridge's own to the host

	dialMu sync.Mutex // one looks for HTTP+SSE at a time
	noSSE  bool       // it was looked for in vain

	tools toolTable
}

// entry is a request that waits for its answer.
type entry struct {
	call   *call
	key    string
	raw    []byte // the id as it was written
	method string
	uri    string
	// sink takes the answer to a request of the bridge's own.
	sink func(*message)
}

// call is what one POST carries: a request, a notification, a response, or a batch.
type call struct {
	msg     *message
	what    *element // nil for a batch
	method  string   // "" for a response or a batch
	entries []*entry
	version string // the revision that the message itself names: one without sessions

	ctx    context.Context
	cancel context.CancelFunc

	// Guarded by bridge.mu.
	left      int  // entries unanswered
	placed    bool // it has a place among those in flight
	started   bool
	holds     bool // it is the barrier
	cancelled bool // by the host
	waiting   bool // not at the server: for a login or for another attempt

	done chan struct{} // closed when nothing is left to answer
	// sessionID is what the response to initialize named.
	sessionID string
	relearned bool // the tools were listed again for it
}

// barrierMethod reports whether everything after it has to wait.
func (c *call) isBarrier() bool {
	return c.version == "" && (c.method == "initialize" || c.method == "notifications/initialized")
}

func (c *call) repeatable() bool {
	if c.what == nil {
		return false
	}
	if c.what.response() {
		return true
	}
	return repeatable[c.method]
}

// Run bridges in and out until in ends, ctx ends, or it cannot go on; the first two are no error.
// It ends within a second. It does not close in: a Read under way is left behind.
func Run(ctx context.Context, in io.Reader, out io.Writer, o *Options) error {
	b, err := newBridge(ctx, out, o)
	if err != nil {
		return err
	}
	read := make(chan error, 1)
	b.input = newAhead(in, func() { close(b.hungUp) })
	go func() {
		var err error
		defer func() { read <- err }()
		defer b.recovered("reading", func(e error) { err = e })
		err = b.read(b.input)
	}()
	result := b.work(ctx, read)
	if cause := context.Cause(b.ctx); cause != nil && result == nil {
		result = cause
	}
	b.shutdown()
	return result
}

// work waits until it is over.
func (b *bridge) work(ctx context.Context, read <-chan error) error {
	grace := make(<-chan time.Time)
	hungUp := b.hungUp
	for {
		select {
		case err := <-read:
			switch {
			case errors.Is(err, io.EOF):
				b.drain(ctx)
			case !errors.Is(err, errEnded):
				return fmt.Errorf("reading from the host: %w", err)
			}
			return nil
		case <-hungUp:
			hungUp, grace = nil, time.After(b.o.Grace)
		case <-grace:
			return nil
		case <-ctx.Done():
			return nil
		case <-b.ctx.Done():
			return nil
		}
	}
}

func newBridge(ctx context.Context, out io.Writer, o *Options) (*bridge, error) {
	if o == nil || o.HTTP == nil {
		return nil, errors.New("proxy: no HTTP client")
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("proxy: not the URL of a server")
	}
	u.Fragment, u.RawFragment = "", ""
	b := &bridge{o: o.withDefaults(), url: u, pending: make(map[string]*entry), idle: make(chan struct{}), hungUp: make(chan struct{}), replies: make(chan struct{}, maxReplies)}
	b.log = b.o.Logger
	b.space.L = &b.mu
	b.mem.maxMessage, b.mem.spoolAbove, b.mem.memory, b.mem.dir = b.o.MaxMessage, b.o.SpoolAbove, b.o.Memory, b.o.TempDir
	b.ctx, b.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	b.out.w = out
	b.out.failed = func(err error) { b.stop(fmt.Errorf("writing to the host: %w", err)) }
	b.sess.Store(b.newSession("", "", nil))
	return b, nil
}

// run starts fn, whose panic does not end the bridge; failed is told of it.
func (b *bridge) run(what string, fn func(), failed func(error)) {
	b.runMu.Lock()
	defer b.runMu.Unlock()
	if b.stopped {
		return
	}
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		defer b.recovered(what, failed)
		fn()
	}()
}

func (b *bridge) recovered(what string, failed func(error)) {
	if p := recover(); p != nil {
		b.log.Error("panic", "while", what, "value", wire.Clean(fmt.Sprint(p)), "stack", string(debug.Stack()))
		if failed != nil {
			failed(fmt.Errorf("panic while %s", what))
		}
	}
}

// read takes messages from the host.
func (b *bridge) read(in io.Reader) error {
	for l := newLines(in); ; {
		m := b.mem.message()
		if err := l.next(m); err != nil {
			m.free()
			return err
		}
		if m.empty() {
			m.free()
			continue
		}
		if err := b.accept(m); err != nil {
			return err
		}
	}
}

// accept takes one message from the host. It blocks while the queue is full. The error ends the
// bridge.
func (b *bridge) accept(m *message) error {
	if err := m.end(); err != nil {
		f := faultOf(err)
		if f.reason == reasonAnswer {
			f.reason = reasonParse
		}
		b.refuse(m, f)
		return nil
	}
	if m.batch {
		return b.acceptBatch(m)
	}
	e := &m.top
	if !e.valid() {
		b.refuse(m, &fault{reason: reasonInvalid})
		return nil
	}
	if b.hides(e) {
		b.refuse(m, &fault{reason: reasonHidden})
		return nil
	}
	c := b.newCall(m, e)
	switch {
	case e.response():
		if b.ours(m) {
			b.discard(c)
			return nil
		}
		return b.reply(c)
	case e.notification():
		if c.method == "notifications/cancelled" && !b.cancelled(c) {
			b.discard(c)
			return nil
		}
	default:
		if !b.register(c, &entry{call: c, raw: e.raw(fieldID), method: c.method, uri: e.text(fieldURI)}) {
			b.refuse(m, &fault{reason: reasonInUse})
			c.cancel()
			return nil
		}
	}
	return b.admit(c)
}

// reply sends a response past the queue: the server may hold up what is in it until it has this.
func (b *bridge) reply(c *call) error {
	select {
	case b.replies <- struct{}{}:
	default:
		b.input.watch()
		select {
		case b.replies <- struct{}{}:
		case <-b.ctx.Done():
			return errEnded
		}
	}
	b.run("sending a response", func() {
		defer func() { <-b.replies }()
		b.serve(c)
	}, nil)
	return nil
}

func (b *bridge) newCall(m *message, e *element) *call {
	c := &call{msg: m, what: e, done: make(chan struct{})}
	if e != nil {
		c.method = e.text(fieldMethod)
		c.version = e.text(fieldMetaVersion)
		switch {
		case c.version != "":
			if p := b.modern.Load(); p == nil || *p != c.version {
				v := c.version
				b.modern.Store(&v)
			}
		case e.notification() && b.sess.Load().version == "":
			// What has no version of its own belongs to the connection's.
			if p := b.modern.Load(); p != nil {
				c.version = *p
			}
		}
	}
	c.ctx, c.cancel = context.WithCancel(b.ctx)
	return c
}

// register makes an entry wait for its answer. It reports false if its id is taken.
func (b *bridge) register(c *call, e *entry) bool {
	e.key = idKey(e.raw)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending[e.key] != nil || b.ending {
		return false
	}
	b.pending[e.key] = e
	c.entries = append(c.entries, e)
	c.left++
	return true
}

// refuse answers a message of the host's that goes nowhere, and frees it.
func (b *bridge) refuse(m *message, f *fault) {
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
		b.log.Warn("a notification of the host was dropped", "why", f.reason.String())
	case e.response() && id != nil:
		// The server waits for it.
		b.log.Warn("a response of the host was replaced by an error", "why", f.reason.String())
		r := b.mem.messageOf(b.errorFor(id, f))
		if r.end() == nil {
			c := b.newCall(r, &r.top)
			_ = b.reply(c)
		}
	default:
		b.out.line(b.errorFor(id, f))
	}
}

func (r reason) String() string { return wording[r].name }

// acceptBatch takes a batch, which 2025-03-26 alone has.
func (b *bridge) acceptBatch(m *message) error {
	if len(m.elems) == 0 {
		b.refuse(m, &fault{reason: reasonInvalid})
		return nil
	}
	bad := reasonBatch
	if b.sess.Load().version == "2025-03-26" {
		bad = 0
	}
	for i := range m.elems {
		if e := &m.elems[i]; !e.valid() || e.text(fieldMethod) == "initialize" {
			bad = reasonInvalid
		}
	}
	if bad == 0 && slices.ContainsFunc(m.elems, func(e element) bool { return b.hides(&e) }) {
		return b.acceptRest(m)
	}
	c := b.newCall(m, nil)
	if bad == 0 {
		for i := range m.elems {
			e := &m.elems[i]
			if e.request() && !b.register(c, &entry{call: c, raw: e.raw(fieldID), method: e.text(fieldMethod), uri: e.text(fieldURI)}) {
				bad = reasonInUse
				break
			}
		}
	}
	if bad == 0 {
		return b.admit(c)
	}
	b.takeAll(c)
	c.cancel()
	answered := false
	for i := range m.elems {
		if e := &m.elems[i]; e.request() && idKey(e.raw(fieldID)) != "" {
			b.out.line(b.errorFor(e.raw(fieldID), &fault{reason: bad}))
			answered = true
		}
	}
	if !answered {
		b.out.line(b.errorFor(nil, &fault{reason: bad}))
	}
	m.free()
	return nil
}

// acceptRest takes a batch without the calls of tools that are hidden.
func (b *bridge) acceptRest(m *message) error {
	p, err := m.bytes()
	if err != nil {
		b.refuse(m, faultOf(err))
		return nil
	}
	rest := []byte{'['}
	for i := range m.elems {
		e := &m.elems[i]
		switch {
		case !b.hides(e):
			if len(rest) > 1 {
				rest = append(rest, ',')
			}
			rest = append(rest, p[e.start:e.end]...)
		case e.request():
			b.out.line(b.errorFor(e.raw(fieldID), &fault{reason: reasonHidden}))
		}
	}
	m.free()
	if len(rest) == 1 {
		return nil
	}
	r := b.mem.messageOf(append(rest, ']'))
	return b.accept(r)
}

// admit queues a call and starts what can be started.
func (b *bridge) admit(c *call) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) >= maxQueue && !b.ending {
		b.input.watch()
		b.space.Wait()
	}
	if b.ending {
		return errEnded
	}
	b.queue = append(b.queue, c)
	b.pump()
	return nil
}

// pump starts what waits, in order. It is called with mu held.
func (b *bridge) pump() {
	popped := false
	for len(b.queue) > 0 && !b.barrier && !b.ending {
		c := b.queue[0]
		switch {
		case len(c.entries) == 0 && c.what != nil && !c.isBarrier():
			if len(b.notes) >= maxQueue {
				goto out
			}
			b.notes = append(b.notes, c)
			if !b.noting {
				b.noting = true
				b.run("sending notifications", b.sendNotes, nil)
			}
		case b.inflight >= b.o.MaxInFlight:
			goto out
		default:
			b.inflight++
			c.placed, c.started = true, true
			if c.isBarrier() {
				b.barrier, c.holds = true, true
			}
			b.run("serving a request", func() { b.serve(c) }, nil)
		}
		b.queue[0] = nil
		b.queue = b.queue[1:]
		popped = true
	}
out:
	if popped {
		b.space.Broadcast()
	}
	if b.eof && len(b.queue) == 0 && b.inflight == 0 && !b.noting {
		select {
		case <-b.idle:
		default:
			close(b.idle)
		}
	}
}

// release gives up a call's place.
func (b *bridge) release(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !c.placed {
		return
	}
	c.placed = false
	b.inflight--
	if c.holds {
		b.barrier, c.holds = false, false
	}
	b.pump()
}

// sendNotes sends notifications, one after the other.
func (b *bridge) sendNotes() {
	for {
		b.mu.Lock()
		if len(b.notes) == 0 || b.ending {
			b.noting = false
			b.pump()
			b.mu.Unlock()
			return
		}
		c := b.notes[0]
		b.notes[0] = nil
		b.notes = b.notes[1:]
		b.pump()
		b.mu.Unlock()
		b.serve(c)
	}
}

// take claims the right to answer. There is one for each request.
func (b *bridge) take(key string) *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.pending[key]
	if e != nil {
		delete(b.pending, key)
	}
	return e
}

// takeAll claims what is unanswered of a call.
func (b *bridge) takeAll(c *call) []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*entry
	for _, e := range c.entries {
		if b.pending[e.key] == e {
			delete(b.pending, e.key)
			all = append(all, e)
		}
	}
	return all
}

// settle notes that e was answered.
func (b *bridge) settle(e *entry) {
	b.mu.Lock()
	e.call.left--
	whole := e.call.left == 0
	b.mu.Unlock()
	if whole {
		close(e.call.done)
		b.release(e.call)
	}
}

// fail answers what is unanswered of a call with an error.
func (b *bridge) fail(c *call, f *fault) {
	all := b.takeAll(c)
	if len(all) == 0 && len(c.entries) > 0 {
		return
	}
	if f.reason != reasonEnding && f.reason != reasonSession {
		b.log.Warn("a message could not be delivered", "method", wire.Clean(c.method), "why", wire.CleanN(f.Error(), 500))
	}
	for _, e := range all {
		if e.sink != nil {
			e.sink(nil)
		} else {
			b.out.line(b.errorFor(e.raw, f))
		}
		b.settle(e)
	}
}

// discard frees a call that is over.
func (b *bridge) discard(c *call) {
	c.cancel()
	c.msg.free()
}

// cancelled deals with notifications/cancelled. It reports whether the server is to hear of it.
func (b *bridge) cancelled(n *call) bool {
	key := idKey(n.what.raw(fieldRequestID))
	b.mu.Lock()
	e := b.pending[key]
	if e == nil {
		b.mu.Unlock()
		return n.version == ""
	}
	c := e.call
	if len(c.entries) > 1 {
		b.mu.Unlock()
		return true
	}
	c.cancelled = true
	if c.version == "" && c.started && !c.waiting && c.method != "initialize" {
		// The server ends it, with an answer or without. If it does neither it has had its time.
		time.AfterFunc(cancelWait, c.cancel)
		b.mu.Unlock()
		return true
	}
	// Nothing is at the server, or closing the stream tells it.
	delete(b.pending, key)
	for i, q := range b.queue {
		if q == c {
			b.queue = append(b.queue[:i:i], b.queue[i+1:]...)
			defer b.discard(c)
			break
		}
	}
	b.mu.Unlock()
	c.cancel()
	return false
}

// drain lets what is under way end, for a short time.
func (b *bridge) drain(ctx context.Context) {
	b.mu.Lock()
	b.eof = true
	b.pump()
	b.mu.Unlock()
	t := time.NewTimer(b.o.Grace)
	defer t.Stop()
	select {
	case <-b.idle:
	case <-t.C:
	case <-ctx.Done():
	case <-b.ctx.Done():
	}
}

// shutdown ends everything, within a second.
func (b *bridge) shutdown() {
	b.mu.Lock()
	b.ending = true
	b.space.Broadcast()
	var open []*call
	for _, e := range b.pending {
		open = append(open, e.call)
	}
	queue, notes := b.queue, b.notes
	b.queue, b.notes = nil, nil
	b.mu.Unlock()
	// A host that reads nothing more must not keep the bridge from ending.
	b.run("answering what is open", func() {
		for _, c := range open {
			b.fail(c, b.end())
		}
	}, nil)
	b.stop(errEnded)
	for _, c := range append(queue, notes...) {
		b.discard(c)
	}
	b.run("ending the session", b.endSession, nil)
	b.runMu.Lock()
	b.stopped = true
	b.runMu.Unlock()
	done := make(chan struct{})
	go func() {
		b.wg.Wait()
		b.forget()
		close(done)
	}()
	t := time.NewTimer(stopWait)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		b.log.Warn("something under way did not end in time")
	}
	if c, ok := b.o.HTTP.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// end is what requests are told that are under way when the bridge ends.
func (b *bridge) end() *fault {
	if errors.Is(context.Cause(b.ctx), ErrSessionChanged) {
		return &fault{reason: reasonSession}
	}
	return &fault{reason: reasonEnding}
}

// endSession tells the server that the session is over.
func (b *bridge) endSession() {
	s := b.sess.Load()
	s.end()
	if s.id != "" && s.sse == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), deleteWait)
		defer cancel()
		b.deleteSession(ctx, s)
	}
}

func (b *bridge) deleteSession(ctx context.Context, s *session) {
	resp, err := b.o.HTTP.Do(b.request(ctx, http.MethodDelete, b.url, b.header(s)))
	if err != nil {
		b.log.Debug("the session could not be ended", "why", wire.Clean(b.failure(err).Error()))
		return
	}
	_ = resp.Body.Close()
}
