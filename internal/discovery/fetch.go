package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// The legs of a discovery, which name its requests in traces.
const (
	legResource = "resource-metadata"
	legServer   = "server-metadata"
)

// atServer is the hint for faults that only the server's owner can repair.
const atServer = "the server is at fault: show its owner this message and the addresses that were tried"

// get fetches one candidate. body is nil if there is no document; a transient fault then says that there may be one
// later. The error is a fault that ends the search. The outcome is recorded.
func (d *run) get(leg, target string, extra http.Header) (body []byte, transient *wire.Fault, err error) {
	origin := resource.OriginOf(target)
	if f := d.unreachable[origin]; f != nil {
		return nil, f, nil
	}
	a, took, err := d.ahead.take(d.ctx, leg, target, extra)
	at := wire.Attempt{URL: wire.PlainURL(target), Duration: took}
	defer func() { d.tried = append(d.tried, at) }()
	if err != nil {
		f := wire.AsFault(err, wire.StageDiscovery, "")
		at.Outcome = f.Message
		if !f.Temporary {
			return nil, nil, f
		}
		if !resource.SameOriginOf(origin, d.r.ServerURL) && !d.r.IssuerOnly {
			f.Hint = "this is the authorization server that the MCP server names, or that the settings do: it may be down, or out of reach from here (a VPN, a proxy); try again later, or ask the server's owner"
		}
		if f.Unsent || errors.Is(f.Err, context.DeadlineExceeded) || d.ctx.Err() != nil {
			d.unreachable[origin] = f
		}
		return nil, f, nil
	}
	at.Status, at.ContentType = a.Status, wire.CleanN(a.ContentType, 80)
	switch {
	case a.Status/100 == 2:
		start := strings.TrimLeft(strings.TrimPrefix(string(a.Body[:min(len(a.Body), 512)]), "\xef\xbb\xbf"), " \t\r\n")
		if !strings.HasPrefix(start, "{") {
			// A page that a single-page application or a captive portal gives for every path.
			at.Outcome = fmt.Sprintf("no JSON object: it begins with %q", wire.CleanN(start, 24))
			return nil, nil, nil
		}
		at.Outcome = "read"
		return a.Body, nil, nil
	case wire.TemporaryStatus(a.Status):
		at.Outcome = "temporarily unavailable"
		return nil, &wire.Fault{
			URL: at.URL, Status: a.Status, Temporary: true, RetryAfter: wire.RetryAfter(a.Header, a.Received),
			Message: "the metadata is temporarily unavailable", Hint: "the server is in trouble: try again later, or show its owner this message",
		}, nil
	case a.Status/100 == 3:
		at.Outcome = "redirects elsewhere"
	default:
		at.Outcome = "not there"
	}
	return nil, nil, nil
}

// mark replaces the outcome of the last attempt.
func (d *run) mark(outcome string) {
	if n := len(d.tried); n > 0 {
		d.tried[n-1].Outcome = outcome
	}
}

// lastStatus returns the status of the last attempt.
func (d *run) lastStatus() int {
	if n := len(d.tried); n > 0 {
		return d.tried[n-1].Status
	}
	return 0
}

// wrong makes a fault of the last document, which is there but cannot be used.
func (d *run) wrong(at, message, hint string) *wire.Fault {
	d.mark("wrong")
	if hint == "" {
		hint = atServer
	}
	return &wire.Fault{URL: wire.PlainURL(at), Message: message, Hint: hint}
}
