// Package discovery finds out how an MCP server does OAuth: its protected resource metadata (RFC
// 9728) and its authorization server's metadata (RFC 8414, OpenID Connect Discovery), in the order
// of the MCP authorization specification.
//
// It is tolerant about the location of a document and about unknown members, and strict about its owner: the
// resource must be the requested server, the issuer the announced one, and every endpoint an address that may be
// requested. A document that is present but wrong ends the search; only an absent one leads to the next candidate. A
// server in trouble or a network fault does not count as absence.
package discovery

import (
	"cmp"
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	// maxServers is how many of the announced authorization servers are tried.
	maxServers = 3
	// maxDuration bounds one discovery with all its requests.
	maxDuration = 45 * time.Second
)

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
	// AllowGuessedEndpoints: a server without any metadata has /authorize, /token and /register at its
	// origin (MCP 2025-03-26).
	AllowGuessedEndpoints bool
	// AllowCrossOriginMetadata: MetadataURL may be on another origin than the server.
	AllowCrossOriginMetadata bool
	// AllowMissingPKCE: the authorization server need not advertise PKCE with S256.
	AllowMissingPKCE bool
	// Machine: no person takes part, so neither an authorization endpoint nor PKCE is needed.
	Machine bool
	// Device: a person takes part on another device (RFC 8628), so no answer comes back by a browser.
	Device bool
	// NoProviders: use only the metadata, without the facts known about providers.
	NoProviders bool
	// Endpoints replace those of the authorization server's metadata. If they are all that is needed, the metadata is not
	// requested. Nil replaces none.
	Endpoints *wire.ServerMetadata
	// NoPush: authorization requests are not pushed, even if the metadata requires it (RFC 9126).
	NoPush bool
	// IssuerOnly: PinnedIssuer is an identity provider, and there is no MCP server.
	IssuerOnly bool
	// NeedsRegistration: there is no client yet, so an authorization server that registers clients is
	// preferred; HasDocument: one that takes a client metadata document serves as well.
	NeedsRegistration, HasDocument bool
	// AllowForeignEndpoints: the endpoints need not share a registrable domain.
	AllowForeignEndpoints bool
	// Ahead has requests that were sent already, nil if none was. Its owner ends it.
	Ahead *Ahead
	// ProtocolVersion is sent as MCP-Protocol-Version with the resource metadata requests.
	ProtocolVersion string
}

// Result describes the server. It does not change afterwards.
type Result struct {
	// Resource is the resource indicator to send, byte for byte; "" sends none.
	Resource string
	// ResourceMetadata is nil for servers of MCP 2025-03-26; ResourceMetadataURL is where it was.
	ResourceMetadata    *wire.ResourceMetadata
	ResourceMetadataURL string
	// Issuer is the document's; Announced the one that led to it. Spelling is the document's own, if its http was read
	// as https, else "".
	Issuer, Announced, Spelling string
	// Upgraded: addresses that the metadata has with http were read as https.
	Upgraded bool
	// Server is the authorization server's metadata, checked; ServerMetadataURL is where it was, "" if
	// it was guessed.
	Server            *wire.ServerMetadata
	ServerMetadataURL string
	// Legacy: found without resource metadata, at the MCP server's origin or by a pin. Guessed: the
	// endpoints are defaults.
	Legacy, Guessed bool
	// Repeated are members that occur twice in the server's metadata, with equal values. NoGrant means that the metadata
	// does not list the grant of this login.
	Repeated []string
	NoGrant  bool
	// Withheld are endpoints that the metadata has and Server has not, because they are sent secrets and lie on
	// another site than the token endpoint.
	Withheld []Endpoint
	// Provider has known facts about the authorization server, nil if there are none.
	Provider *Provider
	// Notes are remarks for a person; Tried are the addresses that were asked, in order.
	Notes []string
	Tried []wire.Attempt
}

// run is one discovery.
type run struct {
	ctx    context.Context // lives as long as one Discover
	c      *netguard.Client
	r      Request
	server *url.URL
	ahead  *Ahead
	tried  []wire.Attempt
	notes  []string
	// withheld are those of the metadata that was checked last.
	withheld []Endpoint
	// upgraded is set once an address with http was read as https; spelling has such issuers as their documents have them.
	upgraded bool
	spelling map[string]string
	// repeated are the members of the last metadata that occur twice; noGrant is the Result's.
	repeated []string
	noGrant  bool
	// read is the resource's metadata, nil while there is none.
	read *wire.ResourceMetadata
	// unreachable are the origins that could not be reached: further requests there would only wait again.
	unreachable map[string]*wire.Fault
}

// Discover asks for the metadata. Its error is a *wire.Fault whose Tried has every address asked:
// Temporary if something that may pass was in the way, NotOffered if the server shows no OAuth at all.
func Discover(ctx context.Context, c *netguard.Client, r Request) (*Result, error) {
	server, err := url.Parse(r.ServerURL)
	if err != nil || server.Host == "" {
		return nil, &wire.Fault{Stage: wire.StageDiscovery, Message: "the server URL cannot be read", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	ahead := r.Ahead
	if ahead == nil {
		ahead = newAhead(ctx, c)
		defer ahead.End()
	}
	d := &run{ctx: ctx, c: c, r: r, server: server, ahead: ahead, unreachable: make(map[string]*wire.Fault), spelling: make(map[string]string)}
	res, err := d.discover()
	if err != nil {
		f := *wire.AsFault(err, wire.StageDiscovery, "")
		f.Tried, f.Resource = d.tried, d.read
		return nil, &f
	}
	if !r.NoProviders {
		res.Provider = ProviderOf(res.Issuer)
	}
	switch {
	case r.NoResource:
		res.Resource = ""
	case res.Provider != nil && res.Provider.NoResource && r.ResourceOverride == "":
		d.note(res.Provider.Name + " refuses the resource indicator, so none is sent; --resource (Options.Server.Resource) sends one all the same")
		res.Resource = ""
	case r.ResourceOverride != "":
		res.Resource = r.ResourceOverride
	}
	if d.upgraded {
		d.note("the metadata has addresses with http on a host that is reached by https; they are read as https")
		res.Upgraded, res.Spelling = true, d.spelling[res.Issuer]
	}
	d.remarkServer(res.Server)
	if res.Repeated = d.repeated; len(d.repeated) > 0 {
		d.note("members of the metadata occur twice, with equal values: " + wire.Clean(strings.Join(d.repeated, ", ")))
	}
	res.NoGrant = d.noGrant
	res.Notes, res.Tried, res.Withheld = d.notes, d.tried, d.withheld
	return res, nil
}

func (d *run) discover() (*Result, error) {
	if d.r.IssuerOnly {
		m, at, fault := d.serverMetadata(d.r.PinnedIssuer)
		if fault != nil {
			return nil, fault
		}
		return &Result{Announced: d.r.PinnedIssuer, Issuer: m.Issuer, Server: m, ServerMetadataURL: at}, nil
	}
	prm, at, err := d.resourceMetadata()
	if err != nil {
		return nil, err
	}
	d.read = prm
	if prm == nil {
		return d.legacy()
	}
	servers, err := d.servers(prm)
	if err != nil {
		return nil, err
	}
	var absent, transient *wire.Fault
	var noRegistration *Result // sound, but no client of ours can be registered there
	for _, issuer := range servers {
		m, from, fault := d.serverMetadata(issuer)
		switch {
		case fault == nil:
			res := &Result{
				Resource: prm.Resource, ResourceMetadata: prm, ResourceMetadataURL: at,
				Server: m, ServerMetadataURL: from, Announced: issuer, Issuer: m.Issuer,
			}
			if d.preferred(issuer) || d.open(m) {
				return res, nil
			}
			if noRegistration == nil {
				noRegistration = res
			}
		case fault.NotOffered:
			absent = cmp.Or(absent, fault)
		case noRegistration != nil && !fault.Temporary:
			// It would have been the second choice.
		case !fault.Temporary || d.preferred(issuer):
			// A wrong document ends the search. So does a temporary fault at an issuer where there is a
			// login or a client: it is no reason to move to another issuer.
			return nil, fault
		default:
			transient = cmp.Or(transient, fault)
		}
	}
	if noRegistration != nil && transient == nil {
		return noRegistration, nil
	}
	if fault := cmp.Or(transient, absent); fault != nil {
		// One server without metadata does not mean that the resource has no OAuth.
		fault.NotOffered = false
		return nil, fault
	}
	return nil, &wire.Fault{Message: "there is no authorization server to ask"}
}

// open reports whether a client can become known to a server.
func (d *run) open(m *wire.ServerMetadata) bool {
	return !d.r.NeedsRegistration || m.RegistrationEndpoint != "" || d.r.HasDocument && m.ClientIDMetadataDocumentSupported
}

func (d *run) note(text string) { d.notes = append(d.notes, text) }
