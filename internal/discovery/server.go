package discovery

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	oauthPart = wellKnown + "oauth-authorization-server"
	oidcPart  = wellKnown + "openid-configuration"
)

// place is where an issuer's metadata may lie.
type place struct {
	url string
	// compat: no specification says so, but some servers answer there. Their answer counts only if
	// it is of the right issuer.
	compat bool
}

// wellKnownServer returns where an issuer's metadata may lie: the forms of the specification first
// (RFC 8414 section 3.1, OpenID Connect Discovery section 4), then those that only some servers
// answer. A terminating slash of the issuer is removed first.
func wellKnownServer(issuer *url.URL) []place {
	origin := resource.Origin(issuer)
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	if path == "" {
		return []place{{origin + oauthPart, false}, {origin + oidcPart, false}}
	}
	return []place{
		{origin + oauthPart + path, false},
		{origin + oidcPart + path, false},
		{origin + path + oidcPart, false},
		{origin + path + oauthPart, true},
		{origin + oauthPart, true},
		{origin + oidcPart, true},
	}
}

// serverMetadata fetches and checks the metadata of an announced issuer. The fault is NotOffered
// if there is none, Temporary if there may be at another time; any other means that it is there
// and cannot be used.
func (d *run) serverMetadata(announced string) (*wire.ServerMetadata, string, *wire.Fault) {
	if !isIssuer(announced) {
		return nil, "", &wire.Fault{Message: fmt.Sprintf("%q is no issuer", wire.Clean(announced)), Hint: "check --auth-server (Options.Server.Issuer)"}
	}
	u, err := url.Parse(announced)
	if err != nil {
		return nil, "", &wire.Fault{Message: "the issuer is not a URL", Err: err}
	}
	want := firstNonEmpty(d.r.PinnedIssuer, announced)
	if d.r.Endpoints != nil {
		m := *d.r.Endpoints
		m.Issuer = want
		fault, _ := d.checkServer(&m, want)
		return &m, "", fault
	}
	var passing, refused *wire.Fault
	for _, p := range wellKnownServer(u) {
		body, f, err := d.get("server-metadata", p.url, nil)
		if err != nil {
			return nil, "", asFault(err)
		}
		passing = firstFault(passing, f)
		if body == nil {
			continue
		}
		m, err := wire.ParseServerMetadata(body)
		if err != nil {
			if o, perr := wire.ParseObject(body); perr == nil && o["issuer"] == nil && o["authorization_endpoint"] == nil && o["token_endpoint"] == nil {
				d.mark("JSON, but no server metadata")
				continue
			}
			if p.compat || refused != nil {
				d.mark("wrong")
				continue
			}
			return nil, "", d.wrong(p.url, "the authorization server's metadata cannot be used: "+err.Error(), "")
		}
		if !resource.SameIssuer(want, m.Issuer) && !d.aliased(want, m.Issuer) {
			if p.compat || refused != nil {
				d.mark("of another issuer")
				continue
			}
			return nil, "", d.otherIssuer(p.url, announced, m.Issuer)
		}
		fault, pkce := d.checkServer(m, p.url)
		switch {
		case fault != nil:
			return nil, "", fault
		case pkce != nil:
			// Another form of the same metadata often has the member.
			refused = firstFault(refused, pkce)
			continue
		}
		if resource.SameIssuer(want, m.Issuer) && m.Issuer != want {
			d.note("the issuer is announced and documented with and without a trailing slash; as documented it is " + wire.Clean(m.Issuer))
		}
		if p.compat {
			d.note("the authorization server's metadata lies at an address of no specification: " + wire.PlainURL(p.url))
		}
		return m, p.url, nil
	}
	switch {
	case refused != nil && passing != nil:
		// What says that PKCE is supported may be behind what does not answer now.
		return nil, "", passing
	case refused != nil:
		return nil, "", refused
	case passing != nil:
		return nil, "", passing
	}
	hint := atServer
	if strings.Contains(u.Path, wellKnown) {
		// Some servers announce where the metadata is instead of whose it is.
		hint = "that is an address of metadata, not an issuer; if the server's owner confirms the issuer, pin it with --auth-server " + wire.ShellWord(resource.Origin(u)) + " (Options.Server.Issuer)"
	}
	return nil, "", &wire.Fault{
		NotOffered: true, URL: wire.PlainURL(announced), Message: fmt.Sprintf("the authorization server %s publishes no metadata", wire.Clean(announced)), Hint: hint,
	}
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// otherIssuer says that a document is of another issuer than it should be (RFC 8414 section 3.3).
func (d *run) otherIssuer(at, announced, documented string) *wire.Fault {
	if pin := d.r.PinnedIssuer; pin != "" {
		return d.wrong(at, fmt.Sprintf("the authorization server's metadata is of the issuer %q, but %q is pinned", wire.Clean(documented), wire.Clean(pin)),
			"check --auth-server (Options.Server.Issuer)")
	}
	return d.wrong(at, fmt.Sprintf("the metadata for the issuer %q says that it is of %q", wire.Clean(announced), wire.Clean(documented)),
		"if the server's owner confirms the second, pin it with --auth-server "+wire.ShellWord(documented)+" (Options.Server.Issuer)")
}

// legacy is what is done for a server without protected resource metadata: its origin is the
// authorization server (MCP 2025-03-26), or the pinned issuer.
func (d *run) legacy() (*Result, error) {
	origin := resource.Origin(d.server)
	announced := firstNonEmpty(d.r.PinnedIssuer, origin)
	m, at, fault := d.serverMetadata(announced)
	switch {
	case fault == nil && d.r.PinnedIssuer != "":
		d.note("the server has no protected resource metadata (RFC 9728); the pinned authorization server is used")
	case fault == nil:
		d.note("the server has no protected resource metadata (RFC 9728); its origin is taken for the authorization server (MCP 2025-03-26)")
	case !fault.NotOffered || d.r.PinnedIssuer != "":
		fault.NotOffered = false
		return nil, fault
	case d.r.AllowGuessedEndpoints:
		d.note("the server has no metadata at all; its endpoints are guessed (MCP 2025-03-26)")
		return &Result{
			Resource: d.r.ServerURL, Legacy: true, Guessed: true, Announced: origin, Issuer: origin,
			Server: &wire.ServerMetadata{Issuer: origin, AuthorizationEndpoint: origin + "/authorize", TokenEndpoint: origin + "/token", RegistrationEndpoint: origin + "/register"},
		}, nil
	default:
		return nil, &wire.Fault{
			NotOffered: true, URL: wire.PlainURL(d.r.ServerURL), Message: "the server offers no OAuth: there is no metadata at any of the addresses where it could be",
			Hint: "check the URL; for a server of MCP 2025-03-26 without metadata set --allow-guessed-endpoints (Options.Allow.GuessedEndpoints)",
		}
	}
	return &Result{Resource: d.r.ServerURL, Legacy: true, Announced: announced, Issuer: m.Issuer, Server: m, ServerMetadataURL: at}, nil
}
