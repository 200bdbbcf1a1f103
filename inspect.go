package mcpoauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Inspection is how a server does OAuth, as a client sees it. Its JSON form is that of mcpoauth inspect --json. It
// holds no secrets; texts of the server have no control characters.
type Inspection struct {
	// Version is the version of this form, 1.
	Version int `json:"version"`
	// URL is the server's. Resource is the resource indicator (RFC 8707) that a login would send.
	URL      string `json:"url"`
	Resource string `json:"resource"`
	// Requests are the requests for metadata, in order.
	Requests []InspectedRequest `json:"requests"`
	// Challenge is the response to a request without a token, nil if there was none.
	Challenge *InspectedChallenge `json:"challenge"`
	// ProtectedResource and AuthorizationServer are the metadata documents (RFC 9728, RFC 8414), nil without a usable
	// one.
	ProtectedResource   json.RawMessage `json:"protected_resource"`
	AuthorizationServer json.RawMessage `json:"authorization_server"`
	// Issuer is the authorization server's, empty if none was found.
	Issuer string `json:"issuer"`
	// Findings, the gravest first.
	Findings []Finding `json:"findings"`
	// Login is what a login would do.
	Login InspectedLogin `json:"login"`
	// Temporary means that a fault that may pass, a network error for example, stopped the inspection.
	Temporary bool `json:"temporary"`
}

// InspectedRequest is one request for metadata: its URL, the status of the response (0 without one), and what came of
// it.
type InspectedRequest struct {
	URL         string `json:"url"`
	Status      int    `json:"status"`
	ContentType string `json:"content_type"`
	Outcome     string `json:"outcome"`
	// Milliseconds is how long it took.
	Milliseconds int64 `json:"milliseconds"`
}

// InspectedChallenge is the response to a request without a token.
type InspectedChallenge struct {
	// Status is the response's. Headers are its WWW-Authenticate header lines.
	Status  int      `json:"status"`
	Headers []string `json:"headers"`
	// ResourceMetadata and Scopes are the challenge's (RFC 9728 section 5.1, RFC 6750 section 3).
	ResourceMetadata string   `json:"resource_metadata"`
	Scopes           []string `json:"scopes"`
}

// InspectedLogin is what a login would do with the same options.
type InspectedLogin struct {
	// Possible reports whether a login could proceed. Blockers are the reasons why not.
	Possible bool     `json:"possible"`
	Blockers []string `json:"blockers"`
	// Registration is where the client would come from: pre-registered, metadata-document, dynamic, stored or none.
	// Grant is the grant type. Scopes are those that would be requested.
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

// Finding is something that the server's owner, or its clients, should know.
type Finding struct {
	// ID is stable: docs/inspect.md lists them.
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// Message is what was found, Reference the specification that it concerns, and Fix what the server's owner or a
	// client can do.
	Message   string `json:"message"`
	Reference string `json:"reference"`
	Fix       string `json:"fix"`
}

// Inspect sends the requests that a client sends before a login, and changes nothing at the server: it registers no
// client and starts no login. A problem that stops a login is a finding, not an error; the only errors are that of
// ctx and [ErrClosed].
func (c *Client) Inspect(ctx context.Context) (*Inspection, error) {
	return during(ctx, c, c.inspect)
}

func (c *Client) inspect(ctx context.Context) (*Inspection, error) {
	in := &Inspection{Version: 1, URL: c.trace.server, Requests: []InspectedRequest{}, Findings: []Finding{}}
	in.Login.Blockers, in.Login.Scopes = []string{}, []string{}
	d, err := c.discoverer.probe.challenge(ctx)
	if err == nil {
		in.Challenge = &InspectedChallenge{Status: d.status, Headers: cleaned(d.lines), ResourceMetadata: wire.Clean(d.metadataURL), Scopes: cleaned(d.scopes)}
		previous := c.store.previous(ctx)
		var f *discovered
		if f, err = c.discoverer.discover(ctx, d, previous); err == nil {
			c.inspectLogin(ctx, in, f, previous)
			c.inspectServer(in, f)
		} else if f != nil {
			in.Resource, in.ProtectedResource = wire.Clean(f.Resource), document(f.ResourceMetadata.Raw)
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

// stop adds a finding for an error that keeps a login from proceeding.
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
		f := findings()[id]
		f.ID = id
		in.Findings = append(in.Findings, f)
	}
}

// inspectLogin fills in what a login would do.
func (c *Client) inspectLogin(ctx context.Context, in *Inspection, f *discovered, previous *record.Login) {
	in.Resource, in.Issuer = wire.Clean(f.Resource), wire.Clean(f.Issuer)
	in.Login.Scopes = cleaned(c.set.scopesFor(f, nil, previous))
	in.Login.Grant = "authorization_code"
	if c.set.grant != nil {
		in.Login.Grant = c.set.grant.grantType()
	}
	in.Login.Registration = c.inspectRegistration(ctx, f, in)
	key, err := c.tokens.bindingKey(f, previous)
	if err != nil {
		in.stop(err)
	}
	if err := c.registrar.checkKey(f); err != nil {
		in.stop(err)
	}
	if err := scopesNeeded(f, c.set.scopesFor(f, nil, previous)); err != nil && !c.set.nonInteractive() {
		in.stop(err)
	}
	in.Login.DPoP = key != nil
}

// inspectServer fills in what discovery found, and adds the findings about it.
func (c *Client) inspectServer(in *Inspection, f *discovered) {
	for _, a := range f.Tried {
		in.attempts([]Attempt{Attempt(a)})
	}
	m, rm, d, unattended := f.Server, f.ResourceMetadata, f.challenge, c.set.nonInteractive()
	in.AuthorizationServer = document(m.Raw)
	if rm != nil {
		in.ProtectedResource = document(rm.Raw)
		own, theirs := strings.TrimSuffix(c.trace.server, "/"), strings.TrimSuffix(rm.Resource, "/")
		in.find("resource-parent", theirs != "" && theirs != own && strings.HasPrefix(own, theirs))
		in.find("several-servers", len(rm.AuthorizationServers) > 1)
	}
	in.find("no-challenge", !d.open && len(d.lines) == 0)
	in.find("challenge-broken", d.broken)
	in.find("challenge-no-metadata", !d.open && !d.broken && len(d.lines) > 0 && d.metadataURL == "" && !f.Legacy)
	in.find("open", d.open)
	in.find("http-addresses", f.Upgraded)
	in.find("duplicate-members", len(f.Repeated) > 0)
	in.find("no-client-auth", discovery.NoClientAuth(m))
	in.find("no-code-grant", f.NoGrant)
	in.find("legacy", f.Legacy && !f.Guessed)
	in.find("guessed", f.Guessed)
	in.find("issuer-slash", f.Announced != "" && f.Announced != f.Issuer && strings.TrimSuffix(f.Announced, "/") == strings.TrimSuffix(f.Issuer, "/"))
	in.find("no-registration", m.RegistrationEndpoint == "" && !m.ClientIDMetadataDocumentSupported && !unattended)
	in.find("no-refresh", m.GrantTypesSupported != nil && !slices.Contains(m.GrantTypesSupported, "refresh_token") && !unattended)
	in.find("no-revocation", m.RevocationEndpoint == "" && withheld(f.Withheld, "revocation_endpoint") == "")
	in.find("no-iss", !m.AuthorizationResponseIssParameterSupported && !unattended)
	in.find("par-required", m.RequirePushedAuthorizationRequests)
	in.find("many-scopes", len(m.ScopesSupported) > maxRegisteredScopes)
	in.find("dpop", d.dpop || rm != nil && rm.DPoPBoundAccessTokensRequired)
	in.find("pkce-unannounced", !slices.Contains(m.CodeChallengeMethodsSupported, "S256") && !unattended && !f.Guessed)
	in.find("foreign-endpoints", m.TokenEndpoint != "" && !resource.SameOriginOf(m.TokenEndpoint, f.Issuer))
	if p := f.Provider; p != nil && (p.Authorize != nil || p.NoResource || p.TokenMember != "") {
		in.Findings = append(in.Findings, Finding{
			ID: "provider", Severity: SeverityInfo, Message: "the authorization server is " + p.Name + "; what is known of it beyond its metadata is used", Reference: p.Source, Fix: "nothing; --ignore-providers does without",
		})
	}
}

// inspectRegistration returns where the client of a login would come from.
func (c *Client) inspectRegistration(ctx context.Context, f *discovered, in *Inspection) string {
	if client := c.registrar.fixed(f); client != nil {
		in.find("registration-unseen", client.reg.Source == string(SourceMetadataDocument))
		return client.reg.Source
	}
	if c.set.nonInteractive() {
		return "none"
	}
	client, _ := c.registrar.storedAt(ctx, f, func(base string) clientNeed { return clientNeed{redirectURI: base} })
	if client.reg != nil {
		if changed := client.reg.Changed; len(changed) > 0 {
			found := findings()["registration-changed"]
			found.ID, found.Message = "registration-changed", "the server refused the client's registration at first, and took it "+wire.Clean(strings.Join(changed, ", "))
			in.Findings = append(in.Findings, found)
		}
		return "stored"
	}
	if f.Server.RegistrationEndpoint == "" {
		document := ""
		if f.Server.ClientIDMetadataDocumentSupported && c.set.client.MetadataURL == "" {
			document = ", or a document that describes it with --client-metadata-url (Options.Client.MetadataURL)"
		}
		in.Login.Blockers = append(in.Login.Blockers, fmt.Sprintf("there is no client for %s: give one with --client-id (Options.Client.ID)%s", in.Issuer, document))
		return "none"
	}
	in.find("registration-unseen", true)
	return string(SourceDynamic)
}

// document returns metadata as it was received, nil if there is none. Characters that could mislead a terminal or a
// reader are escaped.
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
