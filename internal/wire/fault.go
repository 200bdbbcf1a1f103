package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Stage is the part of the protocol in which a Fault happened.
type Stage string

// The stages. The zero Stage means that the fault has not been attributed to one.
const (
	// StageDiscovery fetches metadata (RFC 8414, RFC 9728).
	StageDiscovery Stage = "discovery"
	// StageRegistration registers, changes or deletes a client (RFC 7591, RFC 7592).
	StageRegistration Stage = "registration"
	// StageAuthorization is the authorization request and its response (RFC 6749 section 4.1.1), or a
	// device authorization (RFC 8628).
	StageAuthorization Stage = "authorization"
	// StagePushedRequest pushes an authorization request (RFC 9126).
	StagePushedRequest Stage = "par"
	// StageToken is any request to the token endpoint (RFC 6749 section 3.2).
	StageToken Stage = "token"
	// StageRevocation revokes a token (RFC 7009).
	StageRevocation Stage = "revocation"
)

// Fault describes why a stage failed. The root package turns it into its public errors.
type Fault struct {
	// Stage in which it happened.
	Stage Stage
	// URL that was asked, as PlainURL gives it; Status of the answer, 0 without one.
	URL    string
	Status int
	// Code, Description and URI are the server's own (RFC 6749 section 5.2), cleaned.
	Code, Description, URI string
	// Message is what happened; Hint what to do.
	Message, Hint string
	// Temporary faults may pass. RetryAfter is what the server asked for, 0 to MaxRetryAfter.
	Temporary  bool
	RetryAfter time.Duration
	// Unsent means that the request did not reach the server.
	Unsent bool
	// NotOffered means that the server shows no OAuth at all (discovery).
	NotOffered bool
	// Tried are the URLs that were asked (discovery).
	Tried []Attempt
	// Resource is the resource's metadata that was read before it happened, nil if there is none (discovery).
	Resource *ResourceMetadata
	// Err is the cause.
	Err error
}

// Error implements error.
func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.Message)
	if f.Status != 0 {
		fmt.Fprintf(&b, " (status %d)", f.Status)
	}
	if f.Code != "" {
		b.WriteString(": " + f.Code)
	}
	if f.Description != "" {
		fmt.Fprintf(&b, ": %q", f.Description)
	}
	return b.String()
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// AsFault returns err as a Fault of a stage: the Fault that it wraps, or a new one with its text. url is
// the URL that was requested; it is used, as PlainURL gives it, where the Fault has none. The returned Fault is
// the wrapped one itself, so the caller may go on to complete it.
func AsFault(err error, stage Stage, url string) *Fault {
	f, ok := errors.AsType[*Fault](err)
	if !ok {
		f = &Fault{Message: err.Error(), Err: err}
	}
	f.Stage = stage
	if f.URL == "" && url != "" {
		f.URL = PlainURL(url)
	}
	return f
}

// Attempt is one URL that was asked.
type Attempt struct {
	// URL as PlainURL gives it, the Status (0 without an answer) and ContentType of its answer, and
	// what became of it in a few words.
	URL         string
	Status      int
	ContentType string
	Outcome     string
	Duration    time.Duration
}

// MaxRetryAfter caps what a server may ask a client to wait.
const MaxRetryAfter = time.Minute

// RetryAfter reads the header of that name (RFC 9110 section 10.2.3). What is absent, negative or
// garbage is 0.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	var d time.Duration
	if n, err := strconv.ParseInt(v, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		// Clamped before it is multiplied: a product may come round to something plausible.
		d = time.Duration(max(0, min(n, int64(MaxRetryAfter/time.Second)))) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return max(0, min(d, MaxRetryAfter))
}

// TemporaryStatus reports whether an HTTP status alone says that trying again may help.
func TemporaryStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}
