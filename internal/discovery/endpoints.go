package discovery

import (
	"net/url"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// endpoint is an endpoint of a server's metadata, and where it is replaced by hand.
type endpoint struct {
	// name is the member of the metadata.
	name string
	// value is the metadata's; given the one that replaces it, "" if none does.
	value *string
	given string
}

// endpoints returns the endpoints of m that can be given by hand.
func (d *run) endpoints(m *wire.ServerMetadata) []endpoint {
	var given wire.ServerMetadata
	if d.r.Endpoints != nil {
		given = *d.r.Endpoints
	}
	return []endpoint{
		{"authorization_endpoint", &m.AuthorizationEndpoint, given.AuthorizationEndpoint},
		{"token_endpoint", &m.TokenEndpoint, given.TokenEndpoint},
		{"registration_endpoint", &m.RegistrationEndpoint, given.RegistrationEndpoint},
		{"revocation_endpoint", &m.RevocationEndpoint, given.RevocationEndpoint},
		{"device_authorization_endpoint", &m.DeviceAuthorizationEndpoint, given.DeviceAuthorizationEndpoint},
		{"pushed_authorization_request_endpoint", &m.PushedAuthorizationRequestEndpoint, given.PushedAuthorizationRequestEndpoint},
	}
}

// override replaces the endpoints that were given by hand.
func (d *run) override(m *wire.ServerMetadata) {
	for _, e := range d.endpoints(m) {
		if e.given != "" {
			*e.value = e.given
		}
	}
}

// given returns the names of the endpoints that were given by hand: what a person names is not held to be on the same
// site as the rest.
func (d *run) given() map[string]bool {
	names := make(map[string]bool)
	for _, e := range d.endpoints(new(wire.ServerMetadata)) {
		names[e.name] = e.given != ""
	}
	return names
}

// complete reports whether the endpoints that were given by hand are all that a login needs.
func (d *run) complete() bool {
	e := d.r.Endpoints
	switch {
	case e == nil || e.TokenEndpoint == "":
		return false
	case d.r.Device:
		return e.DeviceAuthorizationEndpoint != ""
	}
	return d.r.Machine || e.AuthorizationEndpoint != ""
}

// secure returns a URL from a document with https in the place of http, if its host is the one that the person typed, or
// that the document came from, and that one was reached by https. Servers behind a proxy that ends TLS often do not know
// by which scheme they are reached. The scheme is only ever upgraded, and no host is exchanged for another.
func (d *run) secure(raw, from string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" {
		return raw
	}
	source, err := url.Parse(from)
	if err != nil || !behindProxy(u, source) && !behindProxy(u, d.server) {
		return raw
	}
	d.upgraded = true
	u.Scheme = "https"
	if u.Port() == "80" {
		u.Host = u.Host[:len(u.Host)-len(":80")]
	}
	return u.String()
}

// behindProxy reports whether a URL with http names the server that is known by the https URL known.
func behindProxy(plain, known *url.URL) bool {
	if known.Scheme != "https" || plain.Hostname() != known.Hostname() {
		return false
	}
	port, usual := plain.Port(), known.Port() == "" || known.Port() == "443"
	return port == known.Port() || usual && (port == "" || port == "80")
}

// secureServer applies secure to all addresses of a server's metadata.
func (d *run) secureServer(m *wire.ServerMetadata, from string) {
	if issuer := d.secure(m.Issuer, from); issuer != m.Issuer {
		d.spelling[issuer], m.Issuer = m.Issuer, issuer
	}
	for _, value := range []*string{
		&m.AuthorizationEndpoint, &m.TokenEndpoint, &m.RegistrationEndpoint, &m.RevocationEndpoint, &m.IntrospectionEndpoint,
		&m.UserinfoEndpoint, &m.JWKSURI, &m.DeviceAuthorizationEndpoint, &m.PushedAuthorizationRequestEndpoint,
	} {
		*value = d.secure(*value, from)
	}
}

// secureResource applies secure to the addresses of a resource's metadata. A resource that the settings name as it is
// stays as it is.
func (d *run) secureResource(m *wire.ResourceMetadata, from string) {
	if d.r.ResourceOverride == "" || m.Resource != d.r.ResourceOverride {
		m.Resource = d.secure(m.Resource, from)
	}
	for i, issuer := range m.AuthorizationServers {
		m.AuthorizationServers[i] = d.secure(issuer, from)
	}
}
