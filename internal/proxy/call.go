package proxy

import (
	"context"
	"slices"
)

const metaVersion = "io.modelcontextprotocol/protocolVersion"

// outgoing is a message on its way to the server.
type outgoing struct {
	msg     *message
	elem    *element // its members, nil for a batch
	version string   // the revision that the message itself names: one without sessions
}

// call is a message of the host's that one POST carries: a request, a notification, a response, or a batch.
type call struct {
	outgoing
	method  string // "" for a response or a batch
	entries []*entry

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing is left to answer

	// sessionID is the one that the response to initialize named.
	sessionID string
	relisted  bool // the tools were listed again for it

	progress // guarded by queue.mu
}

// progress is how far a call has come.
type progress struct {
	unanswered int
	placed     bool // it counts as in flight
	started    bool
	isBarrier  bool // the calls after it wait for it
	cancelled  bool // by the host
	suspended  bool // not at the server: it waits for a login or for another attempt
}

// entry is a request that waits for its answer.
type entry struct {
	call   *call
	key    string // of idKey
	raw    []byte // the id as it was written
	method string
	uri    string
	// sink takes the answer to a request of the bridge's own, nil if there is none.
	sink func(*message)
}

// newEntry returns the entry of a request that call carries.
func newEntry(c *call, e *element) *entry {
	return &entry{call: c, raw: e.raw(fieldID), method: e.text(fieldMethod), uri: e.text(fieldURI)}
}

// beginsSession reports whether everything after the call has to wait for it.
func (c *call) beginsSession() bool {
	return c.version == "" && (c.method == "initialize" || c.method == "notifications/initialized")
}

// initializes reports whether the call is the first request of a session.
func (c *call) initializes() bool { return c.version == "" && c.method == "initialize" }

// hasNoAnswer reports whether the call is a single message to which no answer is due.
func (c *call) hasNoAnswer() bool { return len(c.entries) == 0 && c.elem != nil }

// mayAskForLogin reports whether the host waits for the call, so that a person may be asked for it.
func (c *call) mayAskForLogin() bool {
	return len(c.entries) > 0 || c.method == "notifications/initialized" || c.method == ""
}

// repeatable reports whether the call has the same effect when it is sent twice.
func (c *call) repeatable() bool {
	if c.elem == nil {
		return false
	}
	return c.elem.response() || slices.Contains(repeatable, c.method)
}

// answered reports whether the call had something to answer and nothing of it is left.
func (c *call) answered() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// discard frees a call that is over.
func (c *call) discard() {
	c.cancel()
	c.msg.free()
}

// repeatable are the methods that have the same effect when called twice.
var repeatable = []string{
	"initialize", "ping", "server/discover", "subscriptions/listen",
	"tools/list", "prompts/list", "prompts/get", "resources/list", "resources/templates/list",
	"resources/read", "resources/subscribe", "resources/unsubscribe", "logging/setLevel",
	"completion/complete", "tasks/get", "tasks/list", "tasks/result", "tasks/cancel",
	"notifications/initialized", "notifications/cancelled", "notifications/progress",
	"notifications/roots/list_changed", "notifications/message",
}
