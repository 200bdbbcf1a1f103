package discovery

import (
	"cmp"
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

// location is an address where an issuer's metadata may lie.
type location struct {
	url    string
	source source
}

// source says who defines a location.
type source int

const (
	// standard locations are defined by RFC 8414 section 3.1 or OpenID Connect Discovery section 4.
	standard source = iota
	// nonstandard locations are in no specification, but some servers answer there. A document from one
	// counts only if it is of the right issuer.
	nonstandard
	// inserted is the address for the path of a server without resource metadata. Its document may be of that path.
	inserted
)

// wellKnownServer returns where an issuer's metadata may lie: the standard locations first, then those that only
// some servers answer. A terminating slash of the issuer is removed first.
func wellKnownServer(issuer *url.URL) []location {
	origin := resource.Origin(issuer)
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	if path == "" {
		return []location{{origin + oauthPart, standard}, {origin + oidcPart, standard}}
	}
	return []location{
		{origin + oauthPart + path, standard},
		{origin + oidcPart + path, standard},
		{origin + path + oidcPart, standard},
		{origin + path + oauthPart, nonstandard},
		{origin + oauthPart, nonstandard},
		{origin + oidcPart, nonstandard},
	}
}

// serverSearch is the search for the metadata of one announced issuer.
type serverSearch struct {
	*run
	// announced is the issuer that led here; want the one that the document must be of.
	announced, want string
	// foreign means that announced is not the address of the wanted issuer: a document of another issuer there is not a
	// fault.
	foreign bool
	// also is another issuer that an inserted document may be of, "" for none.
	also string
	// mismatched is the fault of the first document of another issuer that did not end the search.
	mismatched *wire.Fault
	// transient is the first fault that may not be there at another time; refused that of the first
	// document that is good but does not mention PKCE.
	transient, refused *wire.Fault
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
	s := &serverSearch{run: d, announced: announced, want: cmp.Or(d.r.PinnedIssuer, announced)}
	if d.complete() {
		m := *d.r.Endpoints
		m.Issuer = s.want
		fault, _ := d.checkServer(&m, s.want)
		return &m, "", fault
	}
	return s.search(u)
}

// search tries the locations at u, in order. It asks the first one alone, where a good server has its metadata, then
// the other standard ones at once, then the nonstandard ones.
func (s *serverSearch) search(u *url.URL) (*wire.ServerMetadata, string, *wire.Fault) {
	return s.searchAt(wellKnownServer(u), u)
}

// searchAt tries places of the issuer u, in the order of search.
func (s *serverSearch) searchAt(places []location, u *url.URL) (*wire.ServerMetadata, string, *wire.Fault) {
	for i, l := range places {
		if i == 1 || i > 1 && l.source != places[i-1].source { // the first one was not there, and any of the others may be
			for _, other := range places[i:] {
				if other.source == l.source {
					s.ahead.get(legServer, other.url, nil)
				}
			}
		}
		m, fault := s.try(l)
		if m != nil || fault != nil {
			return m, l.url, fault
		}
	}
	// What says that PKCE is supported may be at an address that does not answer now.
	if fault := cmp.Or(s.transient, s.refused, s.mismatched); fault != nil {
		return nil, "", fault
	}
	hint := "the server is at fault; if its owner tells you the endpoints, give them with " + s.endpointFlags() + " (Options.Server.Endpoints)"
	if strings.Contains(u.Path, wellKnown) {
		// Some servers announce where the metadata is instead of whose it is.
		hint = "that is an address of metadata, not an issuer; if the server's owner confirms the issuer, pin it with --auth-server " + wire.ShellWord(resource.Origin(u)) + " (Options.Server.Issuer)"
	}
	return nil, "", &wire.Fault{
		NotOffered: true, URL: wire.PlainURL(s.announced), Message: fmt.Sprintf("the authorization server %s publishes no metadata", wire.Clean(s.announced)), Hint: hint,
	}
}

// try fetches and checks the document at one location. It returns neither a document nor a fault if the search
// goes on at the next one.
func (s *serverSearch) try(l location) (*wire.ServerMetadata, *wire.Fault) {
	body, f, err := s.get(legServer, l.url, nil)
	if err != nil {
		return nil, wire.AsFault(err, wire.StageDiscovery, "")
	}
	s.transient = cmp.Or(s.transient, f)
	if body == nil {
		return nil, nil
	}
	// A wrong document ends the search, unless the location is nonstandard or there was a good one before.
	lenient := l.source != standard || s.refused != nil
	m, repeated, err := wire.ReadServerMetadata(body)
	s.repeated = repeated
	switch {
	case err != nil && isOther(body):
		s.mark("JSON, but no server metadata")
		return nil, nil
	case err != nil && lenient:
		s.mark("wrong")
		return nil, nil
	case err != nil:
		return nil, s.wrong(l.url, "the authorization server's metadata cannot be used: "+err.Error(), "")
	}
	s.secureServer(m, l.url)
	s.override(m)
	if !resource.SameIssuer(s.want, m.Issuer) && !s.aliased(s.want, m.Issuer) && !(l.source == inserted && resource.SameIssuer(s.also, m.Issuer)) {
		if lenient || s.foreign {
			s.mark("of another issuer")
			if s.also != "" {
				s.mismatched = cmp.Or(s.mismatched, &wire.Fault{URL: wire.PlainURL(l.url), Message: otherIssuerText(s.announced, m.Issuer), Hint: pinHint(m.Issuer)})
			}
			return nil, nil
		}
		return nil, s.otherIssuer(l.url, s.announced, m.Issuer)
	}
	fault, pkce := s.checkServer(m, l.url)
	switch {
	case fault != nil:
		return nil, fault
	case pkce != nil:
		// Another form of the same metadata often has the member.
		s.refused = cmp.Or(s.refused, pkce)
		return nil, nil
	}
	if resource.SameIssuer(s.want, m.Issuer) && m.Issuer != s.want {
		s.note("the issuer is announced and documented with and without a trailing slash; as documented it is " + wire.Clean(m.Issuer))
	}
	if l.source == nonstandard {
		s.note("the authorization server's metadata lies at an address that no specification defines: " + wire.PlainURL(l.url))
	}
	return m, nil
}

// isOther reports whether a document is a JSON object that has nothing to do with an authorization server.
func isOther(body []byte) bool {
	o, err := wire.ParseObject(body)
	return err == nil && o["issuer"] == nil && o["authorization_endpoint"] == nil && o["token_endpoint"] == nil
}

// otherIssuer says that a document is of another issuer than it should be (RFC 8414 section 3.3).
func (d *run) otherIssuer(at, announced, documented string) *wire.Fault {
	if pin := d.r.PinnedIssuer; pin != "" {
		return d.wrong(at, fmt.Sprintf("the authorization server's metadata is of the issuer %q, but %q is pinned", wire.Clean(documented), wire.Clean(pin)),
			"check --auth-server (Options.Server.Issuer)")
	}
	return d.wrong(at, otherIssuerText(announced, documented), pinHint(documented))
}

func otherIssuerText(announced, documented string) string {
	return fmt.Sprintf("the metadata for the issuer %q says that it is of %q", wire.Clean(announced), wire.Clean(documented))
}

// pinHint names the setting that accepts an issuer, or those that do without one.
func pinHint(issuer string) string {
	if !isIssuer(issuer) {
		return "the server is at fault: that is no issuer; if its owner tells you the endpoints, give them with --authorization-endpoint, --token-endpoint and --registration-endpoint (Options.Server.Endpoints)"
	}
	return "if the server's owner confirms the second, pin it with --auth-server " + wire.ShellWord(issuer) + " (Options.Server.Issuer)"
}

// legacyServer searches the metadata of a server without protected resource metadata at its own host. Some servers with
// a path have their metadata at the address for that path alone, and are then the issuer themselves.
func (d *run) legacyServer() (*wire.ServerMetadata, string, *wire.Fault) {
	origin, path := resource.Origin(d.server), strings.TrimSuffix(d.server.EscapedPath(), "/")
	if d.complete() || path == "" {
		return d.serverMetadata(origin)
	}
	locations := wellKnownServer(&url.URL{Scheme: d.server.Scheme, Host: d.server.Host})
	s := &serverSearch{run: d, announced: origin, want: origin, also: origin + path}
	locations = append([]location{{origin + oauthPart + path, inserted}}, locations...)
	for _, l := range locations {
		d.ahead.get(legServer, l.url, nil)
	}
	m, at, fault := s.searchAt(locations, d.server)
	if fault == nil || !fault.NotOffered {
		return m, at, fault
	}
	// Who owns the path but not the host could put a document there: it counts for the path alone.
	s = &serverSearch{run: d, announced: origin + path, want: origin + path}
	return s.searchAt([]location{{origin + oidcPart + path, nonstandard}, {origin + path + oidcPart, nonstandard}}, d.server)
}

// legacy discovers a server without protected resource metadata: its origin is the
// authorization server (MCP 2025-03-26), or the pinned issuer is. The pinned issuer's document may lie at the origin, too.
func (d *run) legacy() (*Result, error) {
	origin := resource.Origin(d.server)
	announced := cmp.Or(d.r.PinnedIssuer, origin)
	search := d.legacyServer
	if d.r.PinnedIssuer != "" {
		search = func() (*wire.ServerMetadata, string, *wire.Fault) { return d.serverMetadata(announced) }
	}
	m, at, fault := search()
	if fault != nil && fault.NotOffered && announced != origin {
		s := &serverSearch{run: d, announced: origin, want: announced, foreign: true}
		if m2, at2, fault2 := s.search(&url.URL{Scheme: d.server.Scheme, Host: d.server.Host}); fault2 == nil || !fault2.NotOffered {
			m, at, fault = m2, at2, fault2
		}
	}
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
		guessed := &wire.ServerMetadata{Issuer: origin, AuthorizationEndpoint: origin + "/authorize", TokenEndpoint: origin + "/token", RegistrationEndpoint: origin + "/register"}
		d.override(guessed)
		return &Result{Resource: d.r.ServerURL, Legacy: true, Guessed: true, Announced: origin, Issuer: origin, Server: guessed}, nil
	default:
		return nil, d.notOffered()
	}
	if m.Issuer != announced && d.r.PinnedIssuer == "" {
		announced = m.Issuer
	}
	return &Result{Resource: d.r.ServerURL, Legacy: true, Announced: announced, Issuer: m.Issuer, Server: m, ServerMetadataURL: at}, nil
}

// notOffered is the fault of a server without any metadata.
func (d *run) notOffered() *wire.Fault {
	f := &wire.Fault{
		NotOffered: true, URL: wire.PlainURL(d.r.ServerURL), Message: "the server offers no OAuth: there is no metadata at any of the addresses where it could be",
		Hint: "check the URL, path included. If its owner tells you the authorization server, give it with --auth-server (Options.Server.Issuer), or its endpoints with " + d.endpointFlags() + " (Options.Server.Endpoints); --allow-guessed-endpoints (Options.Allow.GuessedEndpoints) tries those of MCP 2025-03-26",
	}
	if d.r.Endpoints != nil {
		f.NotOffered = false
		f.Message = "there is no metadata that the given endpoints could complete"
		f.Hint = "give all that the login needs: " + d.endpointFlags() + " (Options.Server.Endpoints)"
	}
	return f
}

// endpointFlags names the settings of the endpoints that a login cannot do without.
func (d *run) endpointFlags() string {
	switch {
	case d.r.Device:
		return "--device-authorization-endpoint and --token-endpoint"
	case d.r.Machine:
		return "--token-endpoint"
	}
	return "--authorization-endpoint and --token-endpoint"
}
