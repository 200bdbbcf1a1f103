package discovery

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// checkServer checks the members that security depends on. pkce is the fault of a document that is good
// but does not mention PKCE.
func (d *run) checkServer(m *wire.ServerMetadata, at string) (fault, pkce *wire.Fault) {
	if f := d.checkEndpoints(m, at); f != nil {
		return f, nil
	}
	if !d.r.Machine {
		switch {
		case m.RequireSignedRequestObject:
			return d.wrong(at, "the authorization server insists on signed request objects (RFC 9101), which are not supported", "ask its owner for a client that need not sign"), nil
		case len(m.ResponseTypesSupported) > 0 && !slices.Contains(m.ResponseTypesSupported, "code"):
			return d.wrong(at, "the authorization server does not support the response type code (RFC 6749 section 4.1): it lists "+wire.Clean(strings.Join(m.ResponseTypesSupported, ", ")), ""), nil
		}
	}
	if f := d.checkSite(m, at); f != nil {
		return f, nil
	}
	d.withhold(m)
	if d.r.Machine {
		return nil, nil
	}
	return d.checkPKCE(m, at)
}

// checkEndpoints insists on the endpoints that are needed, and on usable URLs for all.
func (d *run) checkEndpoints(m *wire.ServerMetadata, at string) *wire.Fault {
	for _, e := range []struct {
		name, value string
		needed      bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, !d.r.Machine},
		{"token_endpoint", m.TokenEndpoint, true},
		{"registration_endpoint", m.RegistrationEndpoint, false},
		{"revocation_endpoint", m.RevocationEndpoint, false},
		{"pushed_authorization_request_endpoint", m.PushedAuthorizationRequestEndpoint, d.mustPush(m)},
		{"device_authorization_endpoint", m.DeviceAuthorizationEndpoint, false},
		{"introspection_endpoint", m.IntrospectionEndpoint, false},
		{"jwks_uri", m.JWKSURI, false},
	} {
		if e.value == "" {
			if e.needed {
				return d.wrong(at, "the authorization server's metadata has no usable "+e.name, missingHint(e.name))
			}
			continue
		}
		if err := d.checkEndpoint(e.value); err != nil {
			return d.wrong(at, fmt.Sprintf("the authorization server's %s cannot be used: %v", e.name, err), endpointHint(err))
		}
	}
	return nil
}

// mustPush reports whether authorization requests have to be pushed (RFC 9126).
func (d *run) mustPush(m *wire.ServerMetadata) bool {
	return m.RequirePushedAuthorizationRequests && !d.r.NoPush
}

// missingHint names the setting for an endpoint that the metadata lacks.
func missingHint(name string) string {
	return "the server is at fault; if its owner tells you the address, give it with --" + strings.ReplaceAll(name, "_", "-") + " (Options.Server.Endpoints)"
}

// checkPKCE requires S256 (RFC 7636). A list without it is final; without a list the server may support it all the
// same.
func (d *run) checkPKCE(m *wire.ServerMetadata, at string) (fault, pkce *wire.Fault) {
	raw := string(m.Raw["code_challenge_methods_supported"])
	switch {
	case strings.HasPrefix(raw, "[") && slices.Contains(m.CodeChallengeMethodsSupported, "S256"):
		return nil, nil
	case raw != "" && raw != "null":
		return d.wrong(at, "the authorization server lists the methods of PKCE that it supports, and S256 is not one of them", "the server is at fault: no other method is safe"), nil
	case d.r.AllowMissingPKCE || isKnown(m.Issuer, silentPKCE):
		d.note("the authorization server does not advertise PKCE; the challenge is sent all the same")
		return nil, nil
	}
	d.mark("read, but it does not mention PKCE")
	return nil, &wire.Fault{
		URL: wire.PlainURL(at), Message: "the authorization server does not say that it supports PKCE with S256",
		Hint: "if its owner confirms that it does, set --allow-missing-pkce (Options.Allow.MissingPKCE)",
	}
}

// errPolicy marks an address that the policy refuses and a setting may allow.
type errPolicy struct{ error }

func endpointHint(err error) string {
	if errors.As(err, new(errPolicy)) {
		return "--allow-private-network (Options.Allow.PrivateNetwork) allows private addresses, --allow-insecure-http (Options.Allow.InsecureHTTP) plain http"
	}
	return ""
}

func (d *run) checkEndpoint(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "":
		return errors.New("it is not an absolute URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("its scheme is %q", wire.CleanN(u.Scheme, 20))
	case u.Host == "":
		return errors.New("it is not an absolute URL")
	case strings.Contains(raw, "#"):
		return errors.New("it has a fragment")
	case u.User != nil:
		return errors.New("it holds a user name or password")
	}
	if err := d.c.CheckURL(u); err != nil {
		return errPolicy{err}
	}
	return nil
}

// checkSite insists that the endpoints which a login cannot do without belong together: if they are spread over
// unrelated sites, one of them may be collecting the secrets that another gives out. A server that puts its issuer
// into the callback (RFC 9207) cannot be confused with another one, so it need not be suspected. Without a
// callback, as in a device authorization or a machine's grant, that promise is worth nothing.
func (d *run) checkSite(m *wire.ServerMetadata, at string) *wire.Fault {
	callback := !d.r.Device && !d.r.Machine
	if d.r.AllowForeignEndpoints || callback && m.AuthorizationResponseIssParameterSupported || isKnown(m.Issuer, spreadEndpoints) {
		return nil
	}
	names := []string{"authorization_endpoint", "token_endpoint", "registration_endpoint"}
	if d.r.Device {
		names[0] = "device_authorization_endpoint"
	}
	if callback && d.mustPush(m) {
		names = append(names, "pushed_authorization_request_endpoint")
	}
	var hosts []string
	for _, e := range d.endpoints(m) {
		if host := resource.Hostname(*e.value); host != "" && e.given == "" && slices.Contains(names, e.name) {
			hosts = append(hosts, host)
		}
	}
	if resource.SameSite(hosts...) {
		return nil
	}
	return d.wrong(at, fmt.Sprintf("the authorization server's endpoints lie on unrelated hosts: %s", wire.Clean(strings.Join(hosts, ", "))),
		"if its owner confirms them, set --allow-foreign-endpoints (Options.Allow.ForeignEndpoints)")
}

// Endpoint is an endpoint of an authorization server's metadata.
type Endpoint struct {
	// Name is the member of the metadata, such as "revocation_endpoint"; URL its value.
	Name, URL string
}

// withhold removes from the metadata the endpoints that a login can do without, that are sent secrets, and that are
// not on the site of the token endpoint: the owner of the other site would collect the secrets.
// No promise in the metadata lifts this, since these requests follow the callback.
func (d *run) withhold(m *wire.ServerMetadata) {
	d.withheld = nil
	if d.r.AllowForeignEndpoints || isKnown(m.Issuer, spreadEndpoints) {
		return
	}
	given := d.given()
	for _, e := range []struct {
		name     string
		value    *string
		required bool
	}{
		{"revocation_endpoint", &m.RevocationEndpoint, false},
		{"introspection_endpoint", &m.IntrospectionEndpoint, false},
		{"device_authorization_endpoint", &m.DeviceAuthorizationEndpoint, d.r.Device},
		{"pushed_authorization_request_endpoint", &m.PushedAuthorizationRequestEndpoint, d.mustPush(m)},
	} {
		if *e.value == "" || e.required || given[e.name] || resource.SameSite(resource.Hostname(m.TokenEndpoint), resource.Hostname(*e.value)) {
			continue
		}
		d.withheld = append(d.withheld, Endpoint{e.name, wire.PlainURL(*e.value)})
		*e.value = ""
	}
}

// NoClientAuth reports whether a server's metadata lists no way of client authentication that is supported here.
func NoClientAuth(m *wire.ServerMetadata) bool {
	ours := []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"}
	list := m.TokenEndpointAuthMethodsSupported
	return len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool { return slices.Contains(ours, s) })
}

// remarkServer adds notes about lists that lack a value which a login needs. Real metadata is often wrong about these
// lists, so the login goes on.
func (d *run) remarkServer(m *wire.ServerMetadata) {
	for _, e := range d.withheld {
		d.note(fmt.Sprintf("the authorization server's %s %s is on another site than its token endpoint and is not used; --allow-foreign-endpoints (Options.Allow.ForeignEndpoints) uses it", e.Name, e.URL))
	}
	needed := ""
	switch {
	case d.r.Device:
		needed = "urn:ietf:params:oauth:grant-type:device_code"
	case !d.r.Machine:
		needed = "authorization_code"
	}
	if list := m.GrantTypesSupported; needed != "" && len(list) > 0 && !slices.Contains(list, needed) {
		d.noGrant = true
		d.note("the authorization server does not list the grant type " + needed + "; it is used all the same")
	}
	if list := m.TokenEndpointAuthMethodsSupported; NoClientAuth(m) {
		d.note("the authorization server lists no way of client authentication that is supported here: " + wire.Clean(strings.Join(list, ", ")))
	}
}
