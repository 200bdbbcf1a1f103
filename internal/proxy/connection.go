package proxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"sync"
	"sync/atomic"
)

// maxSubscriptions is how many subscriptions are kept for a new session.
const maxSubscriptions = 4096

// session holds the values that later requests of a connection carry. It does not change.
type session struct {
	id      string
	version string
	sse     *sseConn // 2024-11-05's transport, nil for Streamable HTTP
	ctx     context.Context
	end     context.CancelFunc
	// login is the one that the session belongs to.
	login *loginOf
}

// loginOf is the login that a session belongs to: that of the last request before it began.
type loginOf struct{ id atomic.Pointer[string] }

// errOtherLogin means that a request was not sent, because its session belongs to another login.
var errOtherLogin = errors.New("the session belongs to another login")

// sessionKey is the key of the session in the context of a request.
type sessionKey struct{}

// SameLogin returns an error for a request of a session that belongs to another login than the one named: that login
// may be another person's, whom the session must not be shown to. [Options.HTTP] calls it before it sends a request
// with a token.
func SameLogin(req *http.Request, login string) error {
	s, ok := req.Context().Value(sessionKey{}).(*session)
	if !ok {
		return nil
	}
	if s.id == "" && s.sse == nil {
		s.login.id.Store(&login) // it has not begun, or there is none
		return nil
	}
	if s.login.id.CompareAndSwap(nil, &login) || *s.login.id.Load() == login {
		return nil
	}
	return errOtherLogin
}

// close frees a session that is not used any more.
func (s *session) close() {
	s.end()
	if s.sse != nil {
		s.sse.close()
	}
}

// sseConn is a connection of 2024-11-05's HTTP+SSE: everything from the server comes on one stream, and everything
// to it goes to an address that the stream names first.
type sseConn struct {
	endpoint *url.URL
	done     chan struct{} // closed when the stream has ended
	cancel   context.CancelFunc
	login    *loginOf
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

// connection is the state that host and server share: the session, the revision, and the host's messages that a new
// session needs again. It sends nothing.
type connection struct {
	ctx     context.Context // ends with the bridge
	session atomic.Pointer[session]
	// revision is the last one without sessions that the host used.
	revision atomic.Pointer[string]

	mu   sync.Mutex
	host hostState
}

func newConnection(ctx context.Context) *connection {
	n := &connection{ctx: ctx}
	n.session.Store(n.newSession("", "", nil))
	return n
}

func (n *connection) newSession(id, version string, sse *sseConn) *session {
	s := &session{id: id, version: version, sse: sse}
	s.ctx, s.end = context.WithCancel(n.ctx)
	if s.login = new(loginOf); sse != nil {
		s.login = sse.login
	}
	return s
}

// follow returns the session that was begun by a request in s.
func (n *connection) follow(s *session, id, version string) *session {
	next := n.newSession(id, version, s.sse)
	next.login = s.login
	return next
}

// versionOf returns the revision without sessions that a message of the host's belongs to, "" if none.
func (n *connection) versionOf(e *element) string {
	last := n.revision.Load()
	version := e.text(fieldMetaVersion)
	switch {
	case version != "":
		if last == nil || *last != version {
			used := version
			n.revision.Store(&used)
		}
		return version
	case last != nil && e.notification() && n.session.Load().version == "":
		return *last // a notification does not name its revision
	}
	return ""
}

// hostState holds the host's messages that a new session needs, and the answer to the first of them.
type hostState struct {
	initialize   *message
	version      string // of the answer to initialize
	capabilities []byte // the same
	initialized  *message
	level        *message
	subs         map[string]*message
}

func (h *hostState) free() {
	h.initialize.free()
	h.initialized.free()
	h.level.free()
	for _, m := range h.subs {
		m.free()
	}
	*h = hostState{}
}

func retain(m *message) *message {
	m.refs.Add(1)
	return m
}

// release frees the messages that are kept.
func (n *connection) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.host.free()
}

// reset is called before an initialize of the host's is sent. It returns the session before, nil if there was none.
func (n *connection) reset() *session {
	old := n.session.Load()
	if old.id == "" && old.version == "" {
		return nil
	}
	n.session.Store(n.newSession("", "", old.sse))
	old.end()
	return old
}

// begin takes the answer to the host's initialize: a session begins.
func (n *connection) begin(c *call, answer *message) {
	p, err := answer.bytes()
	if err != nil {
		return
	}
	agreed, ok := agreementIn(p)
	if !ok {
		return
	}
	n.mu.Lock()
	n.host.free()
	n.host = hostState{initialize: retain(c.msg), version: agreed.version, capabilities: agreed.capabilities}
	n.mu.Unlock()
	old := n.session.Load()
	n.session.Store(n.follow(old, c.sessionID, agreed.version))
	old.end()
}

// agreement is the content of the answer to initialize that a new session must repeat.
type agreement struct {
	version      string
	capabilities []byte
}

// agreementIn reads the answer to initialize. It reports false if that is an error.
func agreementIn(p []byte) (agreement, bool) {
	result := member(p, "result")
	if result == nil {
		return agreement{}, false
	}
	return agreement{unquote(member(result, "protocolVersion")), bytes.Clone(member(result, "capabilities"))}, true
}

// keeps reports whether a new session needs the requests with a method again.
func keeps(method string) bool {
	switch method {
	case "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
		return true
	}
	return false
}

// keep takes a request that a new session needs again, after the server granted it.
func (n *connection) keep(e *entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &n.host
	switch e.method {
	case "logging/setLevel":
		h.level.free()
		h.level = retain(e.call.msg)
	case "resources/subscribe":
		if h.subs == nil {
			h.subs = make(map[string]*message)
		}
		if old := h.subs[e.uri]; old != nil || len(h.subs) < maxSubscriptions {
			old.free()
			h.subs[e.uri] = retain(e.call.msg)
		}
	case "resources/unsubscribe":
		h.subs[e.uri].free()
		delete(h.subs, e.uri)
	}
}

// initialized keeps the host's notifications/initialized, which the server took.
func (n *connection) initialized(m *message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.host.initialized.free()
	n.host.initialized = retain(m)
}

// transcript is a copy of hostState, to begin a new session with. Its user frees it.
type transcript struct {
	agreement
	initialize  *message
	rest        []*message
	initialized bool
}

// transcript returns nil if no session has begun.
func (n *connection) transcript() *transcript {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &n.host
	if h.initialize == nil {
		return nil
	}
	t := &transcript{agreement: agreement{h.version, h.capabilities}, initialize: retain(h.initialize), initialized: h.initialized != nil}
	if h.initialized != nil {
		t.rest = append(t.rest, retain(h.initialized))
	}
	if h.level != nil {
		t.rest = append(t.rest, retain(h.level))
	}
	for _, m := range h.subs {
		t.rest = append(t.rest, retain(m))
	}
	return t
}

func (t *transcript) free() {
	t.initialize.free()
	for _, m := range t.rest {
		m.free()
	}
}

// opensAddresses reports whether the host takes requests to open an address now: it declared so, and its session has
// begun.
func (n *connection) opensAddresses() bool {
	n.mu.Lock()
	m, begun := n.host.initialize, n.host.initialized != nil
	if m != nil {
		retain(m)
	}
	n.mu.Unlock()
	if m == nil {
		return false
	}
	defer m.free()
	p, err := m.bytes()
	return err == nil && begun && member(p, "params", "capabilities", "elicitation", "url") != nil
}

// same reports whether two sessions agreed on the same.
func (a agreement) same(b agreement) bool {
	return a.version == b.version && sameJSON(a.capabilities, b.capabilities)
}

// sameJSON reports whether two texts are the same value. No text is null.
func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal([]byte(cmp.Or(string(a), "null")), &x) != nil || json.Unmarshal([]byte(cmp.Or(string(b), "null")), &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}
