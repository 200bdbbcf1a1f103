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

// checkServer insists on what security depends on. pkce is the fault of a document that is good
// but does not mention PKCE.
func (d *run) checkServer(m *wire.ServerMetadata, at string) (fault, pkce *wire.Fault) {
	for _, e := range []struct {
		name, value string
		needed      bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, !d.r.Machine},
		{"token_endpoint", m.TokenEndpoint, true},
		{"registration_endpoint", m.RegistrationEndpoint, false},
		{"revocation_endpoint", m.RevocationEndpoint, false},
		{"pushed_authorization_request_endpoint", m.PushedAuthorizationRequestEndpoint, m.RequirePushedAuthorizationRequests},
		{"device_authorization_endpoint", m.DeviceAuthorizationEndpoint, false},
		{"introspection_endpoint", m.IntrospectionEndpoint, false},
		{"jwks_uri", m.JWKSURI, false},
	} {
		if e.value == "" {
			if e.needed {
				return d.wrong(at, "the authorization server's metadata has no usable "+e.name, ""), nil
			}
			continue
		}
		if err := d.checkEndpoint(e.value); err != nil {
			return d.wrong(at, fmt.Sprintf("the authorization server's %s cannot be used: %v", e.name, err), endpointHint(err)), nil
		}
	}
	if d.r.Machine {
		return d.checkSite(m, at), nil
	}
	if m.RequireSignedRequestObject {
		return d.wrong(at, "the authorization server insists on signed request objects (RFC 9101), which are not supported", "ask its owner for a client that need not sign"), nil
	}
	if f := d.checkSite(m, at); f != nil {
		return f, nil
	}
	return d.checkPKCE(m, at)
}

// checkPKCE insists on S256 (RFC 7636). A list without it is an answer; no list at all is a question.
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

// errPolicy marks what the policy for addresses refuses, which a setting may allow.
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

// checkSite insists that authorization, token and registration endpoint belong together: split
// over strangers, one of them may be collecting what the other gives out. A server that puts its
// issuer into the callback (RFC 9207) gives that away, so it need not be suspected. A login by device code
// has no callback, and begins at an endpoint of its own.
func (d *run) checkSite(m *wire.ServerMetadata, at string) *wire.Fault {
	if d.r.AllowForeignEndpoints || m.AuthorizationResponseIssParameterSupported && !d.r.Device || isKnown(m.Issuer, spreadEndpoints) {
		return nil
	}
	begin := m.AuthorizationEndpoint
	if d.r.Device {
		begin = m.DeviceAuthorizationEndpoint
	}
	var hosts []string
	for _, e := range []string{begin, m.TokenEndpoint, m.RegistrationEndpoint} {
		if u, err := url.Parse(e); err == nil && e != "" {
			hosts = append(hosts, u.Hostname())
		}
	}
	if resource.SameSite(hosts...) {
		return nil
	}
	return d.wrong(at, fmt.Sprintf("the authorization server's endpoints lie on unrelated hosts: %s", wire.Clean(strings.Join(hosts, ", "))),
		"if its owner confirms them, set --allow-foreign-endpoints (Options.Allow.ForeignEndpoints)")
}
