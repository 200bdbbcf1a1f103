// Package proxy carries MCP between a host that speaks stdio and a server that speaks Streamable HTTP, or
// the HTTP+SSE of 2024-11-05.
//
// It is a bridge, not a translator: messages pass as they were written, and host and server agree on a revision
// through it. Of a message it reads the few members that the transport needs (the id, the method, the members that the
// request headers of 2026-07-28 repeat) and nothing else. It owns the transport: sessions, streams and their
// resumption, retries, and that every request gets one answer.
//
// Calls go from a file to those below it:
//
//	bridge.go      Run: makes the parts, starts and ends them
//	hostreader.go  takes the host's messages, refuses wrong ones
//	sender.go      delivers one call: sends it, reads the response
//	stream.go      an answer that is a stream, and its resumption
//	retry.go       decides after a failed attempt
//	login.go       one login for all calls that need it
//	elicit.go      the bridge's own questions to the host
//	listen.go      the stream on which the server speaks by itself
//	sessions.go    ends and replaces sessions
//	legacy.go      the HTTP+SSE of 2024-11-05
//	exchange.go    requests of the bridge's own
//	delivery.go    passes the server's messages to the host
//	linger.go      ends streams that go on after their answer
//	queue.go       order, limits, and one answer for each request
//	call.go        the calls in the queue
//	remote.go      HTTP requests to the server
//	tools.go       hidden tools, headers that repeat arguments
//	schema.go      the annotations that ask for such headers
//	connection.go  the state that host and server share
//	output.go      writes to the host
//	wording.go     the errors that the host gets
//	fault.go       why an attempt failed
//	tasks.go       goroutines whose panic ends nothing else
//	backoff.go     pauses between attempts
//	lines.go       the host's lines
//	ahead.go       notices the end of the input behind a full queue
//	sse.go         streams of events
//	body.go        a message as the body of a request
//	message.go     a message in memory or in a file
//	scan.go        checks JSON as it arrives
//	grammar.go     the states and bytes of JSON
//	peek.go        members of a text that was checked
//	element.go     the members that the bridge reads
//
// Two calls go up, by functions that bridge.go gives: the queue has the sender serve a call, and a new session is
// listened to. Each type guards its own fields with its own lock.
package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Doer sends requests. An *http.Client is one.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Kind is the class of a failure to send a request. The bridge handles each in its own way.
type Kind int

const (
	// FailedNetwork is a fault on the way to the server or back.
	FailedNetwork Kind = iota
	// FailedLogin means that a login is required, or one with more scopes.
	FailedLogin
	// FailedDenied means that a person or the authorization server refused.
	FailedDenied
	// FailedTemporary means that authorization failed for now, before the server acted on the request.
	FailedTemporary
	// FailedRejected means that the server refuses a token that was just issued for it. In a session that may mean that
	// the server does not know the session.
	FailedRejected
	// FailedOther is any other failure that would repeat itself.
	FailedOther
)

// Failure is the result of [Options.Classify].
type Failure struct {
	Kind Kind
	// Code is an OAuth error code. Unknown ones are not shown to the host.
	Code string
	// RetryAfter is how long the server asked to wait, 0 if it did not.
	RetryAfter time.Duration
}

// Mode is which transports are tried, in which order.
type Mode int

const (
	// HTTPFirst is Streamable HTTP, then HTTP+SSE.
	HTTPFirst Mode = iota
	// SSEFirst is HTTP+SSE, then Streamable HTTP.
	SSEFirst
	// HTTPOnly is Streamable HTTP.
	HTTPOnly
	// SSEOnly is HTTP+SSE.
	SSEOnly
)

// Options configures [Run].
type Options struct {
	// URL is the server's endpoint. It is required.
	URL string
	// HTTP sends the requests. It is required. It must not ask a person for anything: Login does that. A
	// request's GetBody is set.
	HTTP Doer
	// Login is called when a request of the host's fails for want of a login, with that failure; one call
	// at a time. Its context ends with the bridge. Nil: the host is told to log in.
	Login func(ctx context.Context, cause error) error
	// Classify returns the class of an error of HTTP or Login. Nil makes each a fault of the network.
	Classify func(error) Failure
	// LoginCommand is the command that the host tells its user to run, such as "mcpoauth login https://…".
	LoginCommand string
	// LoginWait is how long a request waits for a login before it is answered with an error while the
	// login goes on, because hosts have a time limit of their own. 0 is 25 s.
	LoginWait time.Duration
	// LoginPause is how long no login is begun after one that failed. 0 is one minute.
	LoginPause time.Duration
	// Header is added to every request to the server.
	Header http.Header
	// IgnoreTools are the names of tools to hide from the host; * stands for any text. Case is ignored.
	IgnoreTools []string
	// Mode is which transports are tried. The zero value is HTTPFirst.
	Mode Mode
	// MaxMessage is the largest message in bytes. 0 is 64 MiB.
	MaxMessage int64
	// SpoolAbove is the size above which a message is kept in a temporary file. 0 is 8 MiB.
	SpoolAbove int64
	// Memory is how many bytes of all messages are kept in memory, small ones aside. 0 is 16 MiB.
	Memory int64
	// TempDir is where large messages are kept, "" for the system's.
	TempDir string
	// MaxInFlight is how many requests may be in flight. Further ones wait, and then so does the host. 0
	// is 256.
	MaxInFlight int
	// RetryFor is how long a request that may be repeated is repeated. 0 is 15 s.
	RetryFor time.Duration
	// Patience is how long a server may take to accept a notification or to begin a stream of HTTP+SSE. 0 is 20 s.
	Patience time.Duration
	// Grace is how long requests in flight may go on when the input ends. 0 is half a second.
	Grace time.Duration
	// Logger gets warnings and the events of the connection. Nil discards them.
	Logger *slog.Logger
}

const (
	defaultLoginWait  = 25 * time.Second
	defaultLoginPause = time.Minute
	defaultMaxMessage = 64 << 20
	defaultSpoolAbove = 8 << 20
	defaultMemory     = 16 << 20
	defaultInFlight   = 256
	defaultRetryFor   = 15 * time.Second
	defaultPatience   = 20 * time.Second
	defaultGrace      = 500 * time.Millisecond
)

func (o *Options) withDefaults() Options {
	d := *o
	d.LoginWait = cmp.Or(d.LoginWait, defaultLoginWait)
	d.LoginPause = cmp.Or(d.LoginPause, defaultLoginPause)
	d.MaxMessage = cmp.Or(d.MaxMessage, defaultMaxMessage)
	d.SpoolAbove = cmp.Or(d.SpoolAbove, defaultSpoolAbove)
	d.Memory = cmp.Or(d.Memory, defaultMemory)
	d.MaxInFlight = cmp.Or(d.MaxInFlight, defaultInFlight)
	d.RetryFor = cmp.Or(d.RetryFor, defaultRetryFor)
	d.Patience = cmp.Or(d.Patience, defaultPatience)
	d.Grace = cmp.Or(d.Grace, defaultGrace)
	d.Header = d.Header.Clone()
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Classify == nil {
		d.Classify = func(error) Failure { return Failure{} }
	}
	return d
}
