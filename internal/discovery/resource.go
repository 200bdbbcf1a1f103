package discovery

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	wellKnown    = "/.well-known/"
	resourcePart = wellKnown + "oauth-protected-resource"
)

// resourceMetadata tries the challenge's URL, the well-known one for the path and the one at the
// root (RFC 9728 section 3). nil without an error: there is none.
func (d *run) resourceMetadata() (*wire.ResourceMetadata, string, error) {
	var list []string
	if d.r.MetadataURL != "" {
		u, err := d.named(d.r.MetadataURL)
		if err != nil {
			return nil, "", err
		}
		list = append(list, u.String())
	}
	for _, u := range wellKnownResource(d.server) {
		if !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	extra := d.r.versionHeader()
	var transient, parent *wire.Fault
	for i, at := range list {
		if i == 1 { // the first one was not there, and any of the others may be
			for _, other := range list[1:] {
				d.ahead.get(legResource, other, extra)
			}
		}
		body, f, err := d.get(legResource, at, extra)
		if body == nil && f == nil && err == nil && d.lastStatus() == http.StatusBadRequest && len(extra) > 0 {
			// Some servers reject requests with a protocol version that they do not know.
			extra = http.Header{}
			body, f, err = d.get(legResource, at, extra)
		}
		if err != nil {
			return nil, "", err
		}
		transient = cmp.Or(transient, f)
		if body == nil {
			continue
		}
		m, err := wire.ParseResourceMetadata(body)
		if m != nil {
			d.secureResource(m, at)
		}
		if err != nil {
			return nil, "", d.wrong(at, "the protected resource metadata cannot be used: "+err.Error(), "")
		}
		if m.Raw["resource"] == nil && m.Raw["authorization_servers"] == nil {
			d.mark("JSON, but no resource metadata")
			continue
		}
		if f := d.checkResource(m, at); f != nil {
			if d.isParent(m, at) {
				// Some servers give one document at all of these addresses. The root's decides.
				parent = cmp.Or(parent, f)
				continue
			}
			return nil, "", f
		}
		d.remark(m)
		return m, at, nil
	}
	switch {
	case transient != nil:
		return nil, "", transient
	case parent != nil:
		return nil, "", parent
	case d.r.MetadataURL != "":
		// Falling back to the origin would be a downgrade that an attacker on the path could cause.
		return nil, "", &wire.Fault{
			URL:     wire.PlainURL(d.r.MetadataURL),
			Message: "the server's challenge names protected resource metadata, but it cannot be had there nor at the well-known addresses", Hint: atServer,
		}
	}
	return nil, "", nil
}

// versionHeader is what the requests for resource metadata carry.
func (r *Request) versionHeader() http.Header {
	h := http.Header{}
	if r.ProtocolVersion != "" {
		h.Set("Mcp-Protocol-Version", r.ProtocolVersion)
	}
	return h
}

// named checks the URL that a challenge names.
func (d *run) named(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err == nil && u.Host == "" && u.Scheme == "" && strings.HasPrefix(u.Path, "/") {
		u = d.server.ResolveReference(u)
	}
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(raw, "#") {
		return nil, &wire.Fault{Message: "the challenge's resource_metadata is not a usable URL", Hint: atServer}
	}
	if secured, err := url.Parse(d.secure(u.String(), d.r.ServerURL)); err == nil {
		u = secured
	}
	if resource.SameOrigin(u, d.server) {
		return u, nil
	}
	if !d.r.AllowCrossOriginMetadata {
		return nil, &wire.Fault{
			URL: wire.PlainURL(raw), Message: fmt.Sprintf("the challenge sends us for metadata to another origin, %s", wire.Clean(resource.Origin(u))),
			Hint: "if you trust that origin, set --allow-cross-origin-metadata (Options.Allow.CrossOriginMetadata)",
		}
	}
	if u.Scheme != "https" && !resource.IsLoopbackHost(u.Hostname()) {
		return nil, &wire.Fault{URL: wire.PlainURL(raw), Message: "the challenge sends us for metadata to another origin over plain http", Hint: atServer}
	}
	return u, nil
}

// wellKnownResource returns the addresses of RFC 9728 section 3.1: for path and query, without the
// query and the terminating slash that many servers drop, then at the root.
func wellKnownResource(server *url.URL) []string {
	at := resource.Origin(server) + resourcePart
	path := server.EscapedPath()
	if path == "/" {
		path = ""
	}
	var list []string
	if server.RawQuery != "" {
		list = append(list, at+path+"?"+server.RawQuery)
	}
	for _, p := range []string{path, strings.TrimRight(path, "/"), ""} {
		if u := at + p; !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	return list
}

// checkResource insists that the document is about the server asked for. Only the document at the root of the
// host may be about a parent of it, since that is one document for all of an origin. One at the server's own
// well-known address is about exactly that path (RFC 9728 section 3.3), and one at any other address about exactly
// that URL.
func (d *run) checkResource(m *wire.ResourceMetadata, at string) *wire.Fault {
	override := d.r.ResourceOverride
	if m.Resource == "" {
		if override != "" {
			d.note("the protected resource metadata names no resource; the configured one is used")
			return nil
		}
		return d.wrong(at, "the protected resource metadata names no resource (RFC 9728 section 2)",
			"tell the server's owner; until it is repaired give the resource with --resource (Options.Server.Resource)")
	}
	covers := resource.Same
	switch u, err := url.Parse(at); {
	case at == resource.Origin(d.server)+resourcePart:
		covers = resource.SameOrParent
	case err == nil && strings.HasPrefix(u.Path, wellKnown):
		covers = resource.SamePath
	}
	if covers(m.Resource, d.r.ServerURL) || override != "" && m.Resource == override {
		return nil
	}
	return d.wrong(at, fmt.Sprintf("the protected resource metadata is about %q, not about %s", wire.Clean(m.Resource), wire.PlainURL(d.r.ServerURL)),
		"check the URL for a typing error; if the server's owner confirms the other name, give it with --resource (Options.Server.Resource)")
}

// isParent reports whether a document at a well-known address for a path is about a parent of the server.
func (d *run) isParent(m *wire.ResourceMetadata, at string) bool {
	u, err := url.Parse(at)
	return err == nil && strings.HasPrefix(u.Path, wellKnown) && resource.SameOrigin(u, d.server) && resource.SameOrParent(m.Resource, d.r.ServerURL)
}

// remark adds notes about the document for a person.
func (d *run) remark(m *wire.ResourceMetadata) {
	if m.BearerMethodsSupported != nil && !slices.Contains(m.BearerMethodsSupported, "header") {
		d.note("the server does not list the Authorization header as a way to send tokens; it is used all the same, since the others leak them")
	}
	if m.DPoPBoundAccessTokensRequired {
		d.note("the server asks for DPoP-bound tokens (RFC 9449); it may refuse a Bearer token")
	}
}

// servers returns the announced authorization servers to try, in order.
func (d *run) servers(m *wire.ResourceMetadata) ([]string, error) {
	pin := d.r.PinnedIssuer
	var list []string
	if pin != "" {
		// The document of the pinned issuer may lie at its own address or at an announced one.
		list = append(list, pin)
	}
	for _, s := range m.AuthorizationServers {
		switch {
		case !isIssuer(s) && pin == "":
			return nil, &wire.Fault{Message: fmt.Sprintf("the protected resource metadata announces an authorization server that is no issuer: %q", wire.Clean(s)), Hint: atServer}
		case isIssuer(s) && !slices.Contains(list, s):
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, &wire.Fault{
			Message: "the protected resource metadata announces no authorization server",
			Hint:    "the server is at fault; if its owner tells you the issuer, give it with --auth-server (Options.Server.Issuer)",
		}
	}
	if pin == "" {
		slices.SortStableFunc(list, func(a, b string) int { return d.rank(a) - d.rank(b) })
	}
	return list[:min(len(list), maxServers)], nil
}

// isIssuer reports whether s has the form of an issuer (RFC 8414 section 2). Whether it may be asked is
// checked when it is.
func isIssuer(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && !strings.ContainsAny(s, "?#")
}

func (d *run) rank(issuer string) int {
	for i, p := range d.r.PreferIssuers {
		if resource.SameIssuer(issuer, p) {
			return i
		}
	}
	return len(d.r.PreferIssuers)
}

func (d *run) preferred(issuer string) bool { return d.rank(issuer) < len(d.r.PreferIssuers) }
