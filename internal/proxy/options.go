// Package proxy carries MCP between a host that speaks stdio and a server that speaks Streamable HTTP, or
// the HTTP+SSE of 2024-11-05.
//
// It is a bridge, not a translator: messages pass as they were written, and host and server agree on a
// revision through it. Of a message it reads the few members that the transport needs (the id, the
// method, what the request headers of 2026-07-28 repeat) and nothing else. It owns what belongs to the
// transport: sessions, streams and their resumption, retries, and that every request gets one answer.
package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Doer sends requests. An *http.Client is one.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Kind is what a failure to send a request means.
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
	// FailedOther is anything else that trying again does not help.
	FailedOther
)

// Failure is what [Options.Classify] makes of an error.
type Failure struct {
	Kind Kind
	// Code is an OAuth error code. Unknown ones are not shown to the host.
	Code string
	// RetryAfter is how long to wait, 0 when nobody said.
	RetryAfter time.Duration
}

// Mode says which transports are tried.
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
	// HTTP sends the requests. It is required. What it may ask a person must not happen in it: that is
	// what Login is for. A body's GetBody is set.
	HTTP Doer
	// Login is called when a request of the host's fails for want of a login, with that failure; one call
	// at a time. Its context ends with the bridge. Nil: the host is told to log in.
	Login func(ctx context.Context, cause error) error
	// Classify says what an error of HTTP or Login means. Nil: everything is a fault of the network.
	Classify func(error) Failure
	// LoginCommand is what the host is told to have its user run, such as "mcpoauth login https://…".
	LoginCommand string
	// LoginWait is how long a request waits for a login before it is answered with an error while the
	// login goes on: hosts give up by themselves. 0 is 25 s.
	LoginWait time.Duration
	// LoginPause is how long after a failed login none is begun. 0 is one minute.
	LoginPause time.Duration
	// Header is added to every request to the server.
	Header http.Header
	// IgnoreTools are the names of tools to hide from the host; * stands for any text. Case is ignored.
	IgnoreTools []string
	// Mode says which transports are tried.
	Mode Mode
	// MaxMessage is the largest message in bytes. 0 is 64 MiB.
	MaxMessage int64
	// SpoolAbove is the size above which a message is kept in a temporary file. 0 is 8 MiB.
	SpoolAbove int64
	// Memory is how much of all messages is kept in memory, small ones aside. 0 is 16 MiB.
	Memory int64
	// TempDir is where large messages are kept, "" for the system's.
	TempDir string
	// MaxInFlight is how many requests may be under way. Further ones wait, and then so does the host. 0
	// is 256.
	MaxInFlight int
	// RetryFor is how long a request that may be repeated is repeated. 0 is 15 s.
	RetryFor time.Duration
	// Patience is how long a server may take for what is done at once: to say that it has a notification, to begin
	// a stream of HTTP+SSE. 0 is 20 s.
	Patience time.Duration
	// Grace is how long requests under way may go on when the input ends. 0 is half a second.
	Grace time.Duration
	// Logger hears what people may want to know. Nil is silent.
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

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (o *Options) withDefaults() Options {
	d := *o
	d.LoginWait = or(d.LoginWait, defaultLoginWait)
	d.LoginPause = or(d.LoginPause, defaultLoginPause)
	d.MaxMessage = or(d.MaxMessage, defaultMaxMessage)
	d.SpoolAbove = or(d.SpoolAbove, defaultSpoolAbove)
	d.Memory = or(d.Memory, defaultMemory)
	d.MaxInFlight = or(d.MaxInFlight, defaultInFlight)
	d.RetryFor = or(d.RetryFor, defaultRetryFor)
	d.Patience = or(d.Patience, defaultPatience)
	d.Grace = or(d.Grace, defaultGrace)
	d.Header = d.Header.Clone()
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Classify == nil {
		d.Classify = func(error) Failure { return Failure{} }
	}
	return d
}
