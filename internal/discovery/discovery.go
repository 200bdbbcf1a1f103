// Package discovery finds out how an MCP server does OAuth: its protected resource metadata (RFC
// 9728) and its authorization server's metadata (RFC 8414, OpenID Connect Discovery), in the order
// of the MCP authorization specification.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// maxServers is how many of the announced authorization servers are tried.
const maxServers = 3

// Request says what to discover and what to be lenient about.
type Request struct {
	// ServerURL is the MCP server, canonical.
	ServerURL string
	// ResourceOverride replaces the resource indicator; NoResource drops it.
	ResourceOverride string
	NoResource       bool
	// MetadataURL is the challenge's resource_metadata, "" if it has none.
	MetadataURL string
	// PinnedIssuer is the only issuer to use.
	PinnedIssuer string
	// PreferIssuers are tried before other announced ones.
	PreferIssuers []string
	// What the settings of the same names allow.
	AllowGuessedEndpoints, AllowCrossOriginMetadata, AllowMissingPKCE, AllowForeignEndpoints bool
	// ProtocolVersion is sent as MCP-Protocol-Version with the resource metadata requests.
	ProtocolVersion string
}

// Result is what was found. It does not change afterwards.
type Result struct {
	// Resource is the resource indicator to send, byte for byte; "" sends none.
	Resource string
	// ResourceMetadata is nil for servers of MCP 2025-03-26.
	ResourceMetadata    *wire.ResourceMetadata
	ResourceMetadataURL string
	// Issuer is the document's; Announced the one that led to it.
	Issuer, Announced string
	Server            *wire.ServerMetadata
	ServerMetadataURL string
	// Legacy: found at the MCP server's origin without resource metadata. Guessed: the endpoints are
	// defaults.
	Legacy, Guessed bool
	Notes           []string
	Tried           []wire.Attempt
}

type run struct {
	ctx    context.Context //nolint:containedctx // lives as long as one Discover
	c      *netguard.Client
	r      Request
	server *url.URL
	tried  []wire.Attempt
	notes  []string
	// transient is the first fault that may pass: as long as there is one, absence proves nothing.
	transient *wire.Fault
}

// Discover asks for the metadata. Its error is a *wire.Fault.
func Discover(ctx context.Context, c *netguard.Client, r Request) (*Result, error) {
	server, err := url.Parse(r.ServerURL)
	if err != nil {
		return nil, &wire.Fault{Stage: "discovery", Message: "the server URL cannot be read", Err: err}
	}
	d := &run{ctx: ctx, c: c, r: r, server: server}
	res, err := d.discover()
	if err != nil {
		var f *wire.Fault
		if !errors.As(err, &f) {
			f = &wire.Fault{Message: err.Error(), Err: err}
		}
		f.Stage, f.Tried = "discovery", d.tried
		return nil, f
	}
	res.Notes, res.Tried = append(d.notes, res.Notes...), d.tried
	switch {
	case r.NoResource:
		res.Resource = ""
	case r.ResourceOverride != "":
		res.Resource = r.ResourceOverride
	}
	return res, nil
}

func (d *run) discover() (*Result, error) {
	prm, at, err := d.resourceMetadata()
	if err != nil {
		return nil, err
	}
	if prm == nil {
		return d.legacy()
	}
	res := &Result{Resource: prm.Resource, ResourceMetadata: prm, ResourceMetadataURL: at}
	servers, err := d.servers(prm)
	if err != nil {
		return nil, err
	}
	var first error
	for _, issuer := range servers {
		m, from, err := d.serverMetadata(issuer)
		if err == nil {
			res.Server, res.ServerMetadataURL, res.Announced, res.Issuer = m, from, issuer, m.Issuer
			return res, nil
		}
		if first == nil {
			first = err
		}
		if d.ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// get asks one candidate. A nil body means: not there, try the next. The outcome is recorded.
func (d *run) get(leg, target string, extra http.Header) (body []byte, final string, err error) {
	start := time.Now()
	a, err := d.c.Get(d.ctx, leg, target, extra)
	at := wire.Attempt{URL: target, Duration: time.Since(start)}
	defer func() { d.tried = append(d.tried, at) }()
	if err != nil {
		var f *wire.Fault
		if !errors.As(err, &f) {
			f = &wire.Fault{Message: err.Error(), Err: err}
		}
		at.Outcome = f.Message
		if !f.Temporary {
			return nil, "", f
		}
		d.keep(f)
		return nil, "", nil
	}
	at.Status, at.ContentType = a.Status, wire.CleanN(a.ContentType, 80)
	switch {
	case a.Status/100 == 2:
		if trimmed := strings.TrimLeft(strings.TrimPrefix(string(a.Body[:min(len(a.Body), 512)]), "\xef\xbb\xbf"), " \t\r\n"); !strings.HasPrefix(trimmed, "{") {
			at.Outcome = "not JSON: it begins with " + fmt.Sprintf("%q", wire.CleanN(trimmed, 24))
			return nil, "", nil
		}
		at.Outcome = "read"
		return a.Body, a.URL, nil
	case wire.TemporaryStatus(a.Status):
		at.Outcome = "temporarily unavailable"
		d.keep(&wire.Fault{
			URL: target, Status: a.Status, Temporary: true, RetryAfter: wire.RetryAfter(a.Header, a.Received),
			Message: "the metadata is temporarily unavailable", Hint: "try again later",
		})
	case a.Status/100 == 3:
		at.Outcome = "redirects elsewhere"
	default:
		at.Outcome = "not there"
	}
	return nil, "", nil
}

func (d *run) keep(f *wire.Fault) {
	if d.transient == nil {
		d.transient = f
	}
}

// mark sets the outcome of the last attempt.
func (d *run) mark(outcome string) {
	if n := len(d.tried); n > 0 {
		d.tried[n-1].Outcome = outcome
	}
}

// resourceMetadata tries the challenge's URL, the well-known one for the path and the one at the
// root (RFC 9728 section 3). nil without an error: there is none.
func (d *run) resourceMetadata() (*wire.ResourceMetadata, string, error) {
	type candidate struct {
		url       string
		named     bool
		wellKnown bool
	}
	var list []candidate
	if d.r.MetadataURL != "" {
		u, err := d.named(d.r.MetadataURL)
		if err != nil {
			return nil, "", err
		}
		list = append(list, candidate{u.String(), true, strings.HasPrefix(u.Path, "/.well-known/")})
	}
	for _, u := range wellKnownResource(d.server) {
		if !slices.ContainsFunc(list, func(c candidate) bool { return c.url == u }) {
			list = append(list, candidate{u, false, true})
		}
	}
	extra := http.Header{}
	if d.r.ProtocolVersion != "" {
		extra.Set("Mcp-Protocol-Version", d.r.ProtocolVersion)
	}
	for _, c := range list {
		body, _, err := d.get("resource-metadata", c.url, extra)
		if body == nil && err == nil && len(d.tried) > 0 && d.tried[len(d.tried)-1].Status == http.StatusBadRequest && d.r.ProtocolVersion != "" {
			// Some servers gate on the version and do not know ours.
			extra.Del("Mcp-Protocol-Version")
			body, _, err = d.get("resource-metadata", c.url, extra)
		}
		if err != nil {
			return nil, "", err
		}
		if body == nil {
			continue
		}
		m, err := wire.ParseResourceMetadata(body)
		if err != nil {
			return nil, "", d.wrong(c.url, "the protected resource metadata cannot be used: "+err.Error(), "")
		}
		if err := d.checkResource(m, c.url, c.wellKnown); err != nil {
			return nil, "", err
		}
		return m, c.url, nil
	}
	if d.transient != nil {
		return nil, "", d.transient
	}
	if d.r.MetadataURL != "" {
		return nil, "", &wire.Fault{
			URL: d.r.MetadataURL, Message: "the server's challenge names protected resource metadata, but it cannot be had there nor at the well-known addresses",
			Hint: "the server is at fault: show its owner the addresses that were tried",
		}
	}
	return nil, "", nil
}

func (d *run) wrong(at, message, hint string) error {
	d.mark("wrong")
	if hint == "" {
		hint = "the server is at fault: show its owner this message"
	}
	return &wire.Fault{URL: at, Message: message, Hint: hint}
}

// named checks the URL that a challenge names.
func (d *run) named(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err == nil && u.Host == "" && u.Scheme == "" && strings.HasPrefix(u.Path, "/") {
		u = d.server.ResolveReference(u)
	}
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, &wire.Fault{Message: "the challenge's resource_metadata is not a usable URL", Hint: "the server is at fault"}
	}
	if resource.SameOrigin(u, d.server) {
		return u, nil
	}
	if !d.r.AllowCrossOriginMetadata {
		return nil, &wire.Fault{
			Message: fmt.Sprintf("the challenge sends us for metadata to another origin, %s", wire.Clean(resource.Origin(u))),
			Hint:    "if you trust that origin, set --allow-cross-origin-metadata (Options.AllowCrossOriginMetadata)",
		}
	}
	if u.Scheme != "https" && !resource.IsLoopbackHost(u.Hostname()) {
		return nil, &wire.Fault{Message: "the challenge sends us for metadata to another origin over plain http"}
	}
	return u, nil
}

// wellKnownResource returns the addresses of RFC 9728 section 3.1: for the path, then at the root.
func wellKnownResource(server *url.URL) []string {
	const wk = "/.well-known/oauth-protected-resource"
	origin := resource.Origin(server)
	path := strings.TrimSuffix(server.EscapedPath(), "/")
	if path == "" {
		if server.RawQuery != "" {
			return []string{origin + wk + "?" + server.RawQuery, origin + wk}
		}
		return []string{origin + wk}
	}
	list := []string{origin + wk + path}
	if server.RawQuery != "" {
		list = []string{origin + wk + path + "?" + server.RawQuery}
	}
	return append(list, origin+wk)
}

// checkResource insists that the document is about the server asked for.
func (d *run) checkResource(m *wire.ResourceMetadata, at string, wellKnown bool) error {
	if m.Resource == "" {
		return d.wrong(at, "the protected resource metadata names no resource", "")
	}
	asked := d.r.ServerURL
	if resource.Covers(m.Resource, asked, wellKnown) {
		return nil
	}
	if d.r.ResourceOverride != "" && m.Resource == d.r.ResourceOverride {
		return nil
	}
	return d.wrong(at, fmt.Sprintf("the protected resource metadata is about %q, not about %s", wire.Clean(m.Resource), asked),
		"check the URL for a typing error; if the server's owner confirms the other name, give it with --resource (Options.Resource)")
}

// servers returns the announced authorization servers to try, in order.
func (d *run) servers(m *wire.ResourceMetadata) ([]string, error) {
	pin := d.r.PinnedIssuer
	var list []string
	for _, s := range m.AuthorizationServers {
		u, err := url.Parse(s)
		if pin != "" && err != nil {
			continue
		}
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#") || u.Scheme != "https" && u.Scheme != "http" {
			return nil, &wire.Fault{Message: fmt.Sprintf("the protected resource metadata announces an authorization server that is no issuer: %q", wire.Clean(s)), Hint: "the server is at fault"}
		}
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	if pin != "" {
		// The document of the pinned issuer may lie at its own address or at the announced one.
		list = append([]string{pin}, slices.DeleteFunc(list, func(s string) bool { return s == pin })...)
		return list[:min(len(list), maxServers)], nil
	}
	if len(list) == 0 {
		return nil, &wire.Fault{Message: "the protected resource metadata announces no authorization server", Hint: "the server is at fault; if its owner tells you the issuer, give it with --auth-server (Options.AuthServer)"}
	}
	slices.SortStableFunc(list, func(a, b string) int { return d.rank(a) - d.rank(b) })
	return list[:min(len(list), maxServers)], nil
}

func (d *run) rank(issuer string) int {
	for i, p := range d.r.PreferIssuers {
		if resource.SameIssuer(issuer, p) {
			return i
		}
	}
	return len(d.r.PreferIssuers)
}
