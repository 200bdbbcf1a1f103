package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// fault is why an attempt to deliver a message failed.
type fault struct {
	reason reason
	status int
	code   string
	// wait is how long the server asked to wait, 0 if it did not.
	wait time.Duration
	// unsent means that the server did not act on the request, so it may be sent again.
	unsent bool
	// final means that another attempt would fail as well.
	final bool
	// rejected means that the server refused a token that was just issued.
	rejected bool
	// session is the one that was lost.
	session *session
	// err is the cause, for the log.
	err error
}

func (f *fault) Error() string {
	w := wording[f.reason]
	s := w.name
	if f.status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", f.status)
	}
	if f.err != nil {
		s += ": " + f.err.Error()
	}
	return s
}

func (f *fault) Unwrap() error { return f.err }

// faultOf returns err as a fault.
func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	switch {
	case errors.Is(err, errTooLarge):
		return &fault{reason: reasonTooLarge, err: err}
	case errors.Is(err, errStorage):
		return &fault{reason: reasonStorage, err: err}
	case errors.Is(err, errSyntax), errors.Is(err, errUTF8), errors.Is(err, errDepth), errors.Is(err, errElements):
		return &fault{reason: reasonAnswer, err: err}
	}
	return &fault{reason: reasonInternal, err: err}
}

// statusFault is the fault of a response that is not 2xx.
func statusFault(resp *http.Response) *fault {
	f := &fault{reason: reasonStatus, status: resp.StatusCode, wait: retryAfter(resp.Header)}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.reason = reasonRefused
	case http.StatusTooManyRequests:
		f.unsent = true
	case http.StatusServiceUnavailable:
		f.unsent = f.wait > 0
	}
	f.err = fmt.Errorf("%s %s", resp.Request.Method, wire.Clean(resp.Status))
	return f
}

// retryAfter returns how long a server asked to wait, a minute at most.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(0, time.Until(t)), time.Minute)
	}
	d, err := time.ParseDuration(v + "s")
	if err != nil {
		return 0
	}
	return min(max(0, d), time.Minute)
}
