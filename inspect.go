package mcpoauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Inspection is how a server does OAuth, as a client sees it. Its JSON form is that of mcpoauth inspect
// --json. It holds no secrets; texts of the server are cleaned.
type Inspection struct {
	// Version of this form.
	Version int `json:"version"`
	// URL is the server; Resource what a login would send as the resource indicator.
	URL      string `json:"url"`
	Resource string `json:"resource"`
	// Requests are the metadata addresses that were asked, in order.
	Requests []InspectedRequest `json:"requests"`
	// Challenge is what the server answers without a token. Nil: it could not be asked.
	Challenge *InspectedChallenge `json:"challenge"`
	// ProtectedResource and AuthorizationServer are the documents, nil where there is none that can be used.
	ProtectedResource   json.RawMessage `json:"protected_resource"`
	AuthorizationServer json.RawMessage `json:"authorization_server"`
	// Issuer is the authorization server's.
	Issuer string `json:"issuer"`
	// Findings, the gravest first.
	Findings []Finding `json:"findings"`
	// Login is what a login would do.
	Login InspectedLogin `json:"login"`
	// Temporary means that something that may pass hides the answer.
	Temporary bool `json:"temporary"`
}

// InspectedRequest is a metadata address that was asked.
type InspectedRequest struct {
	URL         string `json:"url"`
	Status      int    `json:"status"`
	ContentType string `json:"content_type"`
	Outcome     string `json:"outcome"`
	// Milliseconds that it took.
	Milliseconds int64 `json:"milliseconds"`
}

// InspectedChallenge is the answer to a request without a token.
type InspectedChallenge struct {
	// Status of the answer; Headers are its WWW-Authenticate lines.
	Status  int      `json:"status"`
	Headers []string `json:"headers"`
	// ResourceMetadata and Scopes are what it says.
	ResourceMetadata string   `json:"resource_metadata"`
	Scopes           []string `json:"scopes"`
}

// InspectedLogin is what a login would do with the same options.
type InspectedLogin struct {
	// Possible reports whether it could proceed; Blockers say why not.
	Possible bool     `json:"possible"`
	Blockers []string `json:"blockers"`
	// Registration is how this client would be known: pre-registered, metadata-document, dynamic, stored or
	// none. Grant is the grant type. Scopes are asked for.
	Registration string   `json:"registration"`
	Grant        string   `json:"grant"`
	Scopes       []string `json:"scopes"`
	// DPoP means that the tokens would be bound to a key (RFC 9449).
	DPoP bool `json:"dpop"`
}

// Severity of a finding.
type Severity string

const (
	// SeverityError stops a login.
	SeverityError Severity = "error"
	// SeverityWarning breaks something, for some clients or later.
	SeverityWarning Severity = "warning"
	// SeverityInfo is worth knowing.
	SeverityInfo Severity = "info"
)

// Finding is something about the server.
type Finding struct {
	// ID is stable: docs/inspect.md lists them.
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// Message is what was found; Reference the rule; Fix what the server's owner, or this client, can do.
	Message   string `json:"message"`
	Reference string `json:"reference"`
	Fix       string `json:"fix"`
}

// findings are the findings that a login does not stop at, by ID.
var findings = map[string]Finding{
	"no-challenge":          {Severity: SeverityWarning, Message: "the server refuses without a WWW-Authenticate header", Reference: "RFC 9110 section 11.6.1", Fix: "send WWW-Authenticate: Bearer resource_metadata=\"…\" with each 401"},
	"challenge-no-metadata": {Severity: SeverityInfo, Message: "the challenge does not say where the resource metadata is, so clients must guess", Reference: "RFC 9728 section 5.1", Fix: "add resource_metadata to the challenge"},
	"open":                  {Severity: SeverityInfo, Message: "the server answers this request without a token, and has OAuth all the same", Reference: "MCP authorization", Fix: "nothing, if some of it is meant to be open"},
	"legacy":                {Severity: SeverityWarning, Message: "there is no protected resource metadata: the server follows MCP 2025-03-26", Reference: "RFC 9728; MCP 2025-06-18 authorization", Fix: "serve /.well-known/oauth-protected-resource"},
	"guessed":               {Severity: SeverityWarning, Message: "there is no metadata at all: the endpoints are guessed", Reference: "RFC 8414", Fix: "serve authorization server metadata"},
	"several-servers":       {Severity: SeverityInfo, Message: "there are several authorization servers; clients choose one", Reference: "RFC 9728 section 7.6", Fix: "nothing; a client can pin one with --auth-server"},
	"issuer-slash":          {Severity: SeverityWarning, Message: "the announced issuer and the document's differ by a slash at the end", Reference: "RFC 8414 section 3.3", Fix: "spell the issuer the same in both documents"},
	"resource-parent":       {Severity: SeverityWarning, Message: "the metadata's resource is not the server's URL but a parent of it", Reference: "RFC 9728 section 3.3", Fix: "name the server's own URL"},
	"no-registration":       {Severity: SeverityWarning, Message: "clients cannot register: neither a registration endpoint nor client metadata documents", Reference: "RFC 7591; MCP authorization, client registration", Fix: "register a client by hand and give it with --client-id"},
	"no-refresh":            {Severity: SeverityWarning, Message: "refresh tokens are not among the grants: people will log in again whenever a token ends", Reference: "RFC 6749 section 6", Fix: "offer refresh_token"},
	"no-revocation":         {Severity: SeverityInfo, Message: "tokens cannot be revoked: a logout only forgets them", Reference: "RFC 7009", Fix: "add a revocation endpoint"},
	"no-iss":                {Severity: SeverityInfo, Message: "callbacks do not say which issuer they are of", Reference: "RFC 9207", Fix: "send iss and promise it in the metadata"},
	"par-required":          {Severity: SeverityInfo, Message: "authorization requests must be pushed", Reference: "RFC 9126", Fix: "nothing; not every client can"},
	"many-scopes":           {Severity: SeverityInfo, Message: "more than fifty scopes are listed", Reference: "RFC 9728 section 2", Fix: "list those that clients need"},
	"dpop":                  {Severity: SeverityInfo, Message: "the MCP server takes only tokens that are bound to a key (DPoP): a token alone is of no use, and few clients can bind one", Reference: "RFC 9449; MCP extension io.modelcontextprotocol/auth/dpop", Fix: "nothing; take Bearer tokens too if every client is to get in"},
	"pkce-unannounced":      {Severity: SeverityWarning, Message: "PKCE with S256 is not announced; it was let pass", Reference: "MCP authorization; RFC 8414 section 2", Fix: "list S256 in code_challenge_methods_supported"},
	"foreign-endpoints":     {Severity: SeverityInfo, Message: "the endpoints lie on other hosts than the issuer", Reference: "RFC 8414 section 2", Fix: "nothing, if they are the owner's"},
	"login-impossible":      {Severity: SeverityError},
	"provider":              {Severity: SeverityInfo},
}

// FindingIDs returns the IDs that findings can have, sorted.
func FindingIDs() []string {
	var ids []string
	for id := range findings {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Inspect asks the server what a client would ask, and changes nothing there: no registration, no login.
// What stops a login is a finding, not an error; errors are only those of ctx and of a closed Client.
func (c *Client) Inspect(ctx context.Context) (*Inspection, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	in := &Inspection{Version: 1, URL: c.id, Requests: []InspectedRequest{}, Findings: []Finding{}}
	in.Login.Blockers, in.Login.Scopes = []string{}, []string{}
	d, err := c.probeServer(ctx)
	if err == nil {
		in.Challenge = &InspectedChallenge{Status: d.status, Headers: cleaned(d.lines), ResourceMetadata: wire.Clean(d.metadataURL), Scopes: cleaned(d.scopes)}
		var f *facts
		if f, err = c.discover(ctx, d); err == nil {
			c.inspectFacts(ctx, in, d, f)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		in.stop(err)
	}
	rank := map[Severity]int{SeverityError: 0, SeverityWarning: 1, SeverityInfo: 2}
	slices.SortStableFunc(in.Findings, func(a, b Finding) int { return rank[a.Severity] - rank[b.Severity] })
	in.Login.Possible = len(in.Login.Blockers) == 0
	return in, nil
}

// stop notes what keeps a login from proceeding.
func (in *Inspection) stop(err error) {
	reference := "MCP authorization"
	if d, ok := errors.AsType[*Error](err); ok && d.Op == OpDiscovery {
		in.attempts(d.Tried)
		reference = "RFC 9728, RFC 8414; MCP authorization, discovery"
	}
	in.Temporary = errors.Is(err, ErrTemporary)
	message := wire.CleanN(err.Error(), 500)
	in.Login.Blockers = append(in.Login.Blockers, message)
	in.Findings = append(in.Findings, Finding{ID: "login-impossible", Severity: SeverityError, Message: message, Reference: reference, Fix: Hint(err)})
}

func (in *Inspection) attempts(tried []Attempt) {
	for _, a := range tried {
		in.Requests = append(in.Requests, InspectedRequest{URL: a.URL, Status: a.Status, ContentType: wire.CleanN(a.ContentType, 80), Outcome: wire.Clean(a.Outcome), Milliseconds: a.Duration.Milliseconds()})
	}
}

func (in *Inspection) find(id string, when bool) {
	if when {
		f := findings[id]
		f.ID = id
		in.Findings = append(in.Findings, f)
	}
}

// inspectFacts fills in what discovery found.
func (c *Client) inspectFacts(ctx context.Context, in *Inspection, d *demand, f *facts) {
	for _, a := range f.Tried {
		in.attempts([]Attempt{Attempt(a)})
	}
	m := f.Server
	in.Resource, in.Issuer = wire.Clean(f.Resource), wire.Clean(f.Issuer)
	in.AuthorizationServer = document(m.Raw)
	if f.ResourceMetadata != nil {
		in.ProtectedResource = document(f.ResourceMetadata.Raw)
	}
	in.Login.Scopes = cleaned(c.scopesFor(ctx, f, want{}))
	in.Login.Grant = "authorization_code"
	if c.opts.Grant != nil {
		in.Login.Grant = c.opts.Grant.name()
	}
	in.Login.Registration = c.inspectRegistration(ctx, f, in)

	in.find("no-challenge", !d.open && len(d.lines) == 0)
	in.find("challenge-no-metadata", !d.open && len(d.lines) > 0 && d.metadataURL == "" && !f.Legacy)
	in.find("open", d.open)
	in.find("legacy", f.Legacy && !f.Guessed)
	in.find("guessed", f.Guessed)
	in.find("several-servers", f.ResourceMetadata != nil && len(f.ResourceMetadata.AuthorizationServers) > 1)
	in.find("issuer-slash", f.Announced != "" && f.Announced != f.Issuer && strings.TrimSuffix(f.Announced, "/") == strings.TrimSuffix(f.Issuer, "/"))
	in.find("resource-parent", f.ResourceMetadata != nil && f.ResourceMetadata.Resource != "" && strings.TrimSuffix(f.ResourceMetadata.Resource, "/") != strings.TrimSuffix(c.id, "/") && strings.HasPrefix(c.id, strings.TrimSuffix(f.ResourceMetadata.Resource, "/")))
	in.find("no-registration", m.RegistrationEndpoint == "" && !m.ClientIDMetadataDocumentSupported && !c.machine())
	in.find("no-refresh", m.GrantTypesSupported != nil && !slices.Contains(m.GrantTypesSupported, "refresh_token") && !c.machine())
	in.find("no-revocation", m.RevocationEndpoint == "")
	in.find("no-iss", !m.AuthorizationResponseIssParameterSupported && !c.machine())
	in.find("par-required", m.RequirePushedAuthorizationRequests)
	in.find("many-scopes", len(m.ScopesSupported) > maxRegisteredScopes)
	key, err := c.bindingKey(ctx, f)
	if err != nil {
		in.stop(err)
	}
	if err := c.checkKey(f); err != nil {
		in.stop(err)
	}
	in.Login.DPoP = key != nil
	if p := f.Provider; p != nil && (p.Authorize != nil || p.NoResource || p.TokenMember != "") {
		in.Findings = append(in.Findings, Finding{
			ID: "provider", Severity: SeverityInfo, Message: "the authorization server is " + p.Name + "; what is known of it beyond its metadata is used", Reference: p.Source, Fix: "nothing; --ignore-providers does without",
		})
	}
	in.find("dpop", d.dpop || f.ResourceMetadata != nil && f.ResourceMetadata.DPoPBoundAccessTokensRequired)
	in.find("pkce-unannounced", !slices.Contains(m.CodeChallengeMethodsSupported, "S256") && !c.machine() && !f.Guessed)
	in.find("foreign-endpoints", m.TokenEndpoint != "" && !sameOrigin(m.TokenEndpoint, f.Issuer))
}

// inspectRegistration says how a login would be known to the authorization server.
func (c *Client) inspectRegistration(ctx context.Context, f *facts, in *Inspection) string {
	if id := c.fixedIdentity(f); id != nil {
		return id.reg.Source
	}
	if c.machine() {
		return "none"
	}
	host := c.opts.Callback.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if id := c.storedIdentity(ctx, f, "http://"+host+c.opts.Callback.Path, want{}); id.reg != nil {
		return "stored"
	}
	if f.Server.RegistrationEndpoint == "" {
		in.Login.Blockers = append(in.Login.Blockers, fmt.Sprintf("there is no client for %s: give one with --client-id (Options.Client.ID)", in.Issuer))
		return "none"
	}
	return string(SourceDynamic)
}

// document is a document as it was received, nil if there is none. Characters that a terminal or a reader
// could be fooled by are escaped.
func document(raw map[string]json.RawMessage) json.RawMessage {
	if raw == nil {
		return nil
	}
	doc, err := json.Marshal(raw)
	if err != nil {
		return nil
	}
	var b strings.Builder
	for _, r := range string(doc) {
		if unicode.IsPrint(r) || r == ' ' {
			b.WriteRune(r)
		} else if r <= 0xffff {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return json.RawMessage(b.String())
}

func cleaned(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, wire.Clean(s))
	}
	return out
}
