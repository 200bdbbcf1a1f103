package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/challenge"
	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// protocolVersion is the revision of MCP that our own requests name.
const protocolVersion = "2026-07-28"

// demand is what an MCP server's refusal asked for.
type demand struct {
	metadataURL string
	scopes      []string
	scopeGiven  bool
	code        string
	description string
	// bearer means that there is a challenge for a token; dpop that it is for a token bound to a key and no
	// other, dpopAlgs which algorithms it lists.
	bearer, dpop bool
	dpopAlgs     []string
	// wanted is what is asked of the person's login, nil if nothing.
	wanted *record.Authentication
	// open means that the server answered a request without a token.
	open bool
	// page means that the answer was a web page.
	page bool
	// status and lines are the answer to a probe: its WWW-Authenticate lines.
	status int
	lines  []string
}

// demandOf reads the challenge of a 401 or 403 to a request with the token of sent, if it had one (RFC 9110 section 11.6.1, RFC 6750 section 3).
func demandOf(h http.Header, sent *session) *demand {
	b := challenge.FindBearer(h)
	if sent != nil {
		b.ErrorDescription = secret.Hide(b.ErrorDescription, sent.rec.AccessToken)
	}
	d := &demand{metadataURL: b.ResourceMetadata, code: b.Error, description: wire.Clean(b.ErrorDescription), bearer: b.Found || b.DPoP}
	d.wanted = wantedBy(&b)
	d.dpop, d.dpopAlgs = b.DPoP && !b.Found, strings.Fields(b.Algorithms)
	if scopes, err := wire.ParseScope(b.Scope); err == nil && b.Scope != "" {
		d.scopes, d.scopeGiven = scopes, true
	}
	return d
}

// facts are what discovery found out, fixed for one login.
type facts struct {
	*discovery.Result
	demand *demand
}

// parameters are those that the provider's authorization requests need.
func (f *facts) parameters() map[string]string {
	if f.Provider == nil {
		return nil
	}
	return f.Provider.Authorize
}

// discover finds out how the server does OAuth. Without a challenge in hand it provokes one.
func (c *Client) discover(ctx context.Context, d *demand) (*facts, error) {
	switch {
	case c.provider:
		d = &demand{}
	case d == nil:
		var err error
		if d, err = c.probeServer(ctx); err != nil {
			return nil, err
		}
	}
	var preferred string
	if s := c.stored(ctx); s != nil {
		preferred = s.rec.Issuer
	}
	r, err := discovery.Discover(ctx, c.http, c.discoveryRequest(d.metadataURL, preferred))
	if err != nil {
		f := faultOf(err)
		if f.NotOffered && d.open {
			f.Message, f.Hint = "the server answers without a login, and offers none", "no login is needed: use the server as it is"
			if d.page {
				f.Message, f.Hint = "a web page is at this URL, not an MCP server", "check the URL; many MCP servers are at a path such as /mcp"
			}
		}
		return nil, publicError(f)
	}
	c.trace.notes(ctx, NoteMetadata, r.Notes)
	if want := c.opts.Client.Issuer; want != "" && want != r.Issuer {
		return nil, &Error{Op: OpDiscovery, URL: c.id, Message: fmt.Sprintf("the client is for %s, but the server names %s", want, wire.Clean(r.Issuer)), Hint: "nothing was sent there; check --client-issuer (Options.Client.Issuer)"}
	}
	if err := c.checkClientOf(ctx, r.Issuer); err != nil {
		return nil, err
	}
	return &facts{Result: r, demand: d}, nil
}

// checkClientOf keeps a client that was registered by hand, and its secret, at the issuer of the first login
// (SEP-2352): a server that names another one later may not be the one it was.
func (c *Client) checkClientOf(ctx context.Context, issuer string) error {
	if c.opts.Client.ID == "" || c.opts.Client.Issuer != "" || c.opts.Server.Issuer != "" || c.opts.Server.Endpoints.metadata() != nil {
		return nil // it was said where
	}
	rec, _, err := c.loadRecord(ctx)
	if err != nil {
		return nil //nolint:nilerr // without a login there is nothing to compare with; whoever stores one sees the error
	}
	reg := rec.Registration
	if reg.Source != string(SourcePreRegistered) || reg.ClientID != c.opts.Client.ID || reg.Issuer == "" || strings.TrimSuffix(reg.Issuer, "/") == strings.TrimSuffix(issuer, "/") {
		return nil
	}
	return &Error{
		Op:      OpDiscovery,
		URL:     c.id,
		Message: fmt.Sprintf("the login with this client was at %s, and the server names %s now", wire.Clean(reg.Issuer), wire.Clean(issuer)),
		Hint:    "nothing was sent there; if the server has moved and the client is registered there too, say so with --client-issuer (Options.Client.Issuer)",
	}
}

func (c *Client) discoveryRequest(metadataURL, preferredIssuer string) discovery.Request {
	r := discovery.Request{
		ServerURL: c.id, ResourceOverride: c.opts.Server.Resource, NoResource: c.opts.Server.NoResource, MetadataURL: metadataURL,
		PinnedIssuer: c.opts.Server.Issuer, AllowGuessedEndpoints: c.opts.Allow.GuessedEndpoints,
		AllowCrossOriginMetadata: c.opts.Allow.CrossOriginMetadata, AllowMissingPKCE: c.opts.Allow.MissingPKCE,
		AllowForeignEndpoints: c.opts.Allow.ForeignEndpoints, IssuerOnly: c.provider, NoProviders: c.opts.Server.IgnoreProviders, Endpoints: c.opts.Server.Endpoints.metadata(), ProtocolVersion: protocolVersion, Machine: c.opts.Grant != nil,
		Device:            c.device(),
		NeedsRegistration: c.opts.Client.ID == "" && c.opts.Server.Issuer == "" && !c.machine(), HasDocument: c.opts.Client.MetadataURL != "",
	}
	for _, issuer := range []string{c.opts.Client.Issuer, preferredIssuer} {
		if issuer != "" {
			r.PreferIssuers = append(r.PreferIssuers, issuer)
		}
	}
	return r
}

// probes are the requests that provoke a challenge, the second for servers that do not know the
// first. Neither changes anything at the server but a session, which is ended again.
var probes = [...]string{
	`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"` + protocolVersion + `","io.modelcontextprotocol/clientInfo":{"name":"mcpoauth","version":"` + Version + `"},"io.modelcontextprotocol/clientCapabilities":{}}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcpoauth","version":"` + Version + `"}}}`,
}

// probeServer asks the server something without a token, to see its challenge.
func (c *Client) probeServer(ctx context.Context) (*demand, error) {
	var last *demand
	for i, body := range probes {
		resp, err := c.probeOnce(ctx, body, i == 0)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			d := demandOf(resp.Header, nil)
			d.status, d.lines = resp.StatusCode, resp.Header.Values("WWW-Authenticate")
			return d, nil
		}
		last = &demand{open: resp.StatusCode/100 == 2, page: isPage(resp.Header), status: resp.StatusCode}
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return nil, &TemporaryError{RetryAfter: wire.RetryAfter(resp.Header, time.Now()), Err: &Error{
				Op:  OpDiscovery,
				URL: c.id, Status: resp.StatusCode, Message: "the MCP server is in trouble", Hint: "try again later",
			}}
		}
		if last.open {
			break
		}
	}
	return last, nil
}

func (c *Client) probeOnce(ctx context.Context, body string, stateless bool) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.id, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if stateless {
		req.Header.Set("Mcp-Protocol-Version", protocolVersion)
		req.Header.Set("Mcp-Method", "server/discover")
	}
	hc := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return c.exchange("challenge", c.http.Transport(), c.withHeader(r))
	}), CheckRedirect: c.checkRedirect}
	resp, err := hc.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer discard(resp.Body)
	if session := resp.Header.Get("Mcp-Session-Id"); session != "" {
		c.endSession(ctx, hc, session)
	}
	return resp, nil
}

func (c *Client) endSession(ctx context.Context, hc *http.Client, session string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.id, http.NoBody)
	if err != nil {
		return
	}
	req.Header.Set("Mcp-Session-Id", session)
	if resp, err := hc.Do(req); err == nil {
		discard(resp.Body)
	}
}

// unreachable is the error of a request to the MCP server that got no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var f *wire.Fault
	if errors.As(c.http.Fault(ctx, c.id, err), &f) {
		f.Stage = "discovery"
	}
	return publicError(f)
}

// isPage reports whether an answer is meant for people, which no MCP answer is.
func isPage(h http.Header) bool {
	t, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return t == "text/html" || t == "application/xhtml+xml"
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// maxDiscard bounds what is read of a body that nobody wants, to keep its connection.
const maxDiscard = 64 << 10

func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDiscard)
	_ = body.Close()
}

// scopesFor chooses what to ask for (MCP authorization, scope selection strategy): what the
// options say, else what the challenge asks for, else what the resource lists, else nothing. To
// that comes what the login already has if more is asked for, so that no step undoes another.
func (c *Client) scopesFor(ctx context.Context, f *facts, w want) []string {
	var scopes []string
	switch {
	case c.opts.Scopes.Request != nil:
		scopes = c.opts.Scopes.Request
	case f.demand.scopeGiven:
		scopes = f.demand.scopes
	case f.ResourceMetadata != nil:
		scopes = f.ResourceMetadata.ScopesSupported
	}
	scopes = slices.Clone(scopes)
	if len(w.scopes) > 0 {
		if s := c.stored(ctx); s != nil && s.rec.Issuer == f.Issuer {
			scopes = append(scopes, s.rec.Scopes...)
			scopes = append(scopes, s.rec.RequestedScopes...)
		}
		scopes = append(scopes, w.scopes...)
	}
	scopes = append(scopes, c.opts.Scopes.Add...)
	// Alone it would replace the scopes that the server gives to those who ask for none.
	auto := c.opts.Scopes.Request == nil && len(scopes) > 0 && slices.Contains(f.Server.ScopesSupported, offlineAccess)
	if c.opts.Scopes.OfflineAccess == Always || c.opts.Scopes.OfflineAccess == Auto && auto {
		scopes = append(scopes, offlineAccess)
	}
	drop := c.opts.Scopes.Drop
	if c.opts.Scopes.OfflineAccess == Never && !slices.Contains(c.opts.Scopes.Request, offlineAccess) {
		drop = append(slices.Clone(drop), offlineAccess)
	}
	var out []string
	for _, s := range scopes {
		if !slices.Contains(out, s) && !slices.Contains(drop, s) {
			out = append(out, s)
		}
	}
	return out
}

const offlineAccess = "offline_access"
