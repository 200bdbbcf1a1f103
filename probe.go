package mcpoauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// protocolVersion is the revision of MCP that our own requests name.
const protocolVersion = "2026-07-28"

// probe is a request that provokes a challenge.
type probe struct {
	body string
	// header names the method for servers of the stateless revisions; nil for the older ones.
	header map[string]string
}

// probes are tried in this order, the second for servers that do not know the first. Neither changes anything at
// the server but a session, which is ended again.
func probes() [2]probe {
	client := `{"name":"mcpoauth","version":"` + Version() + `"}`
	return [2]probe{
		{
			body: `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"` + protocolVersion +
				`","io.modelcontextprotocol/clientInfo":` + client + `,"io.modelcontextprotocol/clientCapabilities":{}}}}`,
			header: map[string]string{"Mcp-Protocol-Version": protocolVersion, "Mcp-Method": "server/discover"},
		},
		{body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":` + client + `}}`},
	}
}

// prober sends a request without a token to an MCP server, to see its challenge.
type prober struct {
	*network
	check func(*http.Request, []*http.Request) error
}

// challenge returns the challenge of the server's response.
func (p *prober) challenge(ctx context.Context) (*challenge, error) {
	var last *challenge
	for _, request := range probes() {
		resp, err := p.send(ctx, request)
		if err != nil {
			return nil, err
		}
		if refused(resp.StatusCode) {
			c := readChallenge(resp.Header, nil)
			c.status, c.lines = resp.StatusCode, resp.Header.Values("WWW-Authenticate")
			return c, nil
		}
		last = &challenge{open: resp.StatusCode/100 == 2, page: isPage(resp.Header), status: resp.StatusCode}
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return nil, &TemporaryError{RetryAfter: wire.RetryAfter(resp.Header, time.Now()), Err: &Error{
				Op: OpDiscovery, URL: p.trace.server, Status: resp.StatusCode, Message: "the MCP server failed to answer", Hint: "try again later",
			}}
		}
		if last.open {
			break
		}
	}
	return last, nil
}

func (p *prober) send(ctx context.Context, request probe) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.trace.server, strings.NewReader(request.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for k, v := range request.header {
		req.Header.Set(k, v)
	}
	hc := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return p.exchange(LegChallenge, p.guard().Transport(), p.withHeader(r))
	}), CheckRedirect: p.check}
	resp, err := hc.Do(req)
	if err != nil {
		return nil, p.unreachable(ctx, err)
	}
	defer discard(resp.Body)
	if session := resp.Header.Get("Mcp-Session-Id"); session != "" {
		p.endSession(ctx, hc, session)
	}
	return resp, nil
}

// endSession ends the session that a server may have begun for the probe.
func (p *prober) endSession(ctx context.Context, hc *http.Client, session string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, p.trace.server, http.NoBody)
	if err != nil {
		return
	}
	req.Header.Set("Mcp-Session-Id", session)
	if resp, err := hc.Do(req); err == nil {
		discard(resp.Body)
	}
}

// unreachable returns the error of a request to the MCP server that got no response.
func (p *prober) unreachable(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return publicError(wire.AsFault(p.guard().Fault(ctx, p.trace.server, err), wire.StageDiscovery, p.trace.server))
}

// refused reports whether a status is a refusal that a token may overcome.
func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// maxDiscard limits what is read of a body that is not needed, to keep its connection.
const maxDiscard = 64 << 10

func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDiscard)
	_ = body.Close()
}
