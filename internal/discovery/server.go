package discovery

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	oauthPart = "/.well-known/oauth-authorization-server"
	oidcPart  = "/.well-known/openid-configuration"
)

// wellKnownServer returns where an issuer's metadata may lie: the forms of the specification first
// (RFC 8414 section 3.1, OpenID Connect Discovery section 4), then those that only some servers
// answer. A terminating slash of the issuer is removed first.
func wellKnownServer(issuer *url.URL) []string {
	origin := resource.Origin(issuer)
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	if path == "" {
		return []string{origin + oauthPart, origin + oidcPart}
	}
	return []string{origin + oauthPart + path, origin + oidcPart + path, origin + path + oidcPart, origin + path + oauthPart, origin + oauthPart, origin + oidcPart}
}

// specForms is how many of the addresses are the specification's, for an issuer with a path.
const specForms = 3

// serverMetadata fetches and checks the metadata of an announced issuer.
func (d *run) serverMetadata(issuer string) (*wire.ServerMetadata, string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return nil, "", &wire.Fault{Message: fmt.Sprintf("the issuer %q is not a URL", wire.Clean(issuer))}
	}
	before := d.transient
	d.transient = nil
	defer func() {
		if before != nil {
			d.transient = before
		}
	}()
	list := wellKnownServer(u)
	want := issuer
	if d.r.PinnedIssuer != "" {
		want = d.r.PinnedIssuer
	}
	var second *wire.ServerMetadata
	var secondAt string
	var refused error
	for i, at := range list {
		body, _, err := d.get("server-metadata", at, nil)
		if err != nil {
			return nil, "", err
		}
		if body == nil {
			continue
		}
		m, err := wire.ParseServerMetadata(body)
		if err != nil {
			return nil, "", d.wrong(at, "the authorization server's metadata cannot be used: "+err.Error(), "")
		}
		if !resource.SameIssuer(want, m.Issuer) {
			if i >= specForms {
				d.mark("another issuer's")
				continue
			}
			return nil, "", d.wrong(at, fmt.Sprintf("the metadata for the issuer %q says it is of %q", wire.Clean(issuer), wire.Clean(m.Issuer)),
				"if the server's owner confirms the second, pin it with --auth-server "+wire.Clean(m.Issuer)+" (Options.AuthServer)")
		}
		if m.Issuer != want {
			d.notes = append(d.notes, "the issuer is spelt with and without a trailing slash")
		}
		if i >= specForms && len(list) > 2 {
			d.notes = append(d.notes, "the authorization server's metadata lies at an address of no specification")
		}
		err = d.checkServer(m, at)
		if err == nil {
			return m, at, nil
		}
		if !noPKCE(err) {
			return nil, "", err
		}
		// Another form of the same metadata often has the member.
		second, secondAt, refused = m, at, err
	}
	if second != nil {
		return nil, secondAt, refused
	}
	if d.transient != nil {
		return nil, "", d.transient
	}
	return nil, "", &wire.Fault{
		URL: issuer, Message: fmt.Sprintf("the authorization server %s publishes no metadata", wire.Clean(issuer)),
		Hint: "the server is at fault: show its owner the addresses that were tried",
	}
}

// legacy is what is done for a server without protected resource metadata: its origin is the
// authorization server (MCP 2025-03-26).
func (d *run) legacy() (*Result, error) {
	origin := resource.Origin(d.server)
	res := &Result{Resource: d.r.ServerURL, Legacy: true, Announced: origin}
	if pin := d.r.PinnedIssuer; pin != "" {
		m, at, err := d.serverMetadata(pin)
		if err != nil {
			return nil, err
		}
		res.Server, res.ServerMetadataURL, res.Issuer, res.Announced = m, at, m.Issuer, pin
		return res, nil
	}
	m, at, err := d.serverMetadata(origin)
	if err == nil {
		res.Server, res.ServerMetadataURL, res.Issuer = m, at, m.Issuer
		d.notes = append(d.notes, "the server has no protected resource metadata (RFC 9728); its origin is taken for the authorization server (MCP 2025-03-26)")
		return res, nil
	}
	var f *wire.Fault
	f, _ = err.(*wire.Fault) //nolint:errorlint // serverMetadata returns it bare
	if f == nil || f.Temporary || !strings.Contains(f.Message, "publishes no metadata") {
		return nil, err
	}
	if d.r.AllowGuessedEndpoints {
		res.Guessed, res.Issuer = true, origin
		res.Server = &wire.ServerMetadata{Issuer: origin, AuthorizationEndpoint: origin + "/authorize", TokenEndpoint: origin + "/token", RegistrationEndpoint: origin + "/register"}
		d.notes = append(d.notes, "the server has no metadata at all; its endpoints are guessed")
		return res, nil
	}
	return nil, &wire.Fault{
		NotOffered: true, URL: d.r.ServerURL, Message: "the server offers no OAuth: there is no metadata at any of the addresses where it could be",
		Hint: "check the URL; for a server of MCP 2025-03-26 without metadata set --allow-guessed-endpoints (Options.AllowGuessedEndpoints)",
	}
}

const noPKCEMessage = "the authorization server does not say that it supports PKCE with S256"

func noPKCE(err error) bool {
	f, ok := err.(*wire.Fault) //nolint:errorlint // checkServer returns it bare
	return ok && f.Message == noPKCEMessage
}

// checkServer insists on what security depends on.
func (d *run) checkServer(m *wire.ServerMetadata, at string) error {
	for _, e := range []struct {
		name, value string
		needed      bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, true},
		{"token_endpoint", m.TokenEndpoint, true},
		{"registration_endpoint", m.RegistrationEndpoint, false},
		{"revocation_endpoint", m.RevocationEndpoint, false},
		{"pushed_authorization_request_endpoint", m.PushedAuthorizationRequestEndpoint, m.RequirePushedAuthorizationRequests},
		{"introspection_endpoint", m.IntrospectionEndpoint, false},
		{"jwks_uri", m.JWKSURI, false},
	} {
		if e.value == "" {
			if e.needed {
				return d.wrong(at, "the authorization server's metadata has no usable "+e.name, "")
			}
			continue
		}
		if err := d.checkEndpoint(e.value); err != nil {
			return d.wrong(at, fmt.Sprintf("the authorization server's %s cannot be used: %v", e.name, err), "")
		}
	}
	if m.RequireSignedRequestObject {
		return d.wrong(at, "the authorization server insists on signed request objects (RFC 9101), which are not supported", "ask its owner for a client that need not sign")
	}
	if err := d.checkSite(m, at); err != nil {
		return err
	}
	if methods := m.CodeChallengeMethodsSupported; !slices.Contains(methods, "S256") {
		if m.Raw["code_challenge_methods_supported"] != nil && methods != nil {
			return d.wrong(at, "the authorization server supports PKCE, but not with S256", "the server is at fault: plain is not safe")
		}
		if !d.r.AllowMissingPKCE && !knownFor(m.Issuer, silentPKCE) {
			d.mark("read, but it does not mention PKCE")
			return &wire.Fault{URL: at, Message: noPKCEMessage, Hint: "if its owner confirms that it does, set --allow-missing-pkce (Options.AllowMissingPKCE)"}
		}
		d.notes = append(d.notes, "the authorization server does not advertise PKCE; the challenge is sent all the same")
	}
	return nil
}

func (d *run) checkEndpoint(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("it is not an absolute URL")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return fmt.Errorf("it has a fragment")
	case u.User != nil:
		return fmt.Errorf("it holds a user name or password")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("its scheme is %q", wire.CleanN(u.Scheme, 20))
	}
	if err := d.c.CheckURL(u); err != nil {
		return err
	}
	return nil
}

// checkSite insists that authorization, token and registration endpoint belong together: split
// over strangers, one of them may be collecting what the other gives out.
func (d *run) checkSite(m *wire.ServerMetadata, at string) error {
	if d.r.AllowForeignEndpoints || m.AuthorizationResponseIssParameterSupported || knownFor(m.Issuer, spreadEndpoints) {
		return nil
	}
	var hosts []string
	for _, e := range []string{m.AuthorizationEndpoint, m.TokenEndpoint, m.RegistrationEndpoint} {
		if u, err := url.Parse(e); err == nil && e != "" {
			hosts = append(hosts, u.Hostname())
		}
	}
	if resource.SameSite(hosts...) {
		return nil
	}
	return d.wrong(at, fmt.Sprintf("the authorization server's endpoints lie on unrelated hosts: %s", wire.Clean(strings.Join(hosts, ", "))),
		"if its owner confirms them, set --allow-foreign-endpoints (Options.AllowForeignEndpoints)")
}
