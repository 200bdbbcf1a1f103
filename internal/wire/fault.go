package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is what goes wrong in a stage. The root package turns it into its public errors.
type Fault struct {
	// Stage is "discovery", "registration", "authorization", "par", "token" or "revocation".
	Stage string
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
