// Command conformanceclient is what MCP's conformance suite judges: the official Go SDK's MCP client over
// mcpoauth's HTTPClient. The suite appends its server's URL to the command and puts the scenario into
// MCP_CONFORMANCE_SCENARIO.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx, os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "conformanceclient:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, serverURL string) error {
	scenario := os.Getenv("MCP_CONFORMANCE_SCENARIO")
	opts := &mcpoauth.Options{
		Store:  memstore.New(),
		Prompt: visit,
		Client: mcpoauth.ClientOptions{MetadataURL: "https://conformance-test.local/client-metadata.json"},
		Trace: &mcpoauth.Trace{
			Note: func(_ context.Context, n mcpoauth.Note) { fmt.Fprintln(os.Stderr, "note:", n.Text) },
			Exchange: func(_ context.Context, e mcpoauth.Exchange) {
				fmt.Fprintln(os.Stderr, e.Leg, e.Method, e.URL, e.Status, e.Err)
			},
		},
		Allow: mcpoauth.Allow{GuessedEndpoints: scenario == "auth/2025-03-26-oauth-endpoint-fallback"},
	}
	if raw := os.Getenv("MCP_CONFORMANCE_CONTEXT"); raw != "" {
		var c struct {
			ClientID     string `json:"client_id"`
			ClientSecret string `json:"client_secret"`
			PrivateKey   string `json:"private_key_pem"`
			Algorithm    string `json:"signing_algorithm"`
			WorkloadJWT  string `json:"valid_jwt"`
			IDPToken     string `json:"idp_id_token"`
			IDPEndpoint  string `json:"idp_token_endpoint"`
			IDPClient    string `json:"idp_client_id"`
		}
		if err := json.Unmarshal([]byte(raw), &c); err != nil {
			return fmt.Errorf("MCP_CONFORMANCE_CONTEXT: %w", err)
		}
		opts.Client.ID, opts.Client.Secret = c.ClientID, c.ClientSecret
		switch {
		case c.PrivateKey != "":
			key, err := mcpoauth.ParseClientKey([]byte(c.PrivateKey), "", c.Algorithm)
			if err != nil {
				return err
			}
			opts.Client.Key, opts.Grant = key, mcpoauth.ClientCredentials{}
		case c.IDPToken != "":
			opts.Grant = mcpoauth.EnterpriseManaged{
				IDToken:       func(context.Context, string) (string, error) { return c.IDPToken, nil },
				TokenEndpoint: c.IDPEndpoint, ClientID: c.IDPClient,
			}
		case c.WorkloadJWT != "":
			opts.Grant = mcpoauth.WorkloadIdentity{Assertion: func(context.Context, string) (string, error) { return c.WorkloadJWT, nil }}
		case strings.HasPrefix(scenario, "auth/client-credentials"):
			opts.Grant = mcpoauth.ClientCredentials{}
		}
	}
	client, err := mcpoauth.New(serverURL, opts)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close(ctx) }()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "mcpoauth-conformance", Version: "1"}, nil).Connect(ctx,
		&mcp.StreamableClientTransport{Endpoint: serverURL, HTTPClient: client.HTTPClient(), MaxRetries: -1}, nil)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = session.Close() }()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		return fmt.Errorf("list tools: %w", err)
	}
	for _, tool := range tools.Tools {
		if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool.Name, Arguments: map[string]any{}}); err != nil {
			return fmt.Errorf("call %s: %w", tool.Name, err)
		}
	}
	return nil
}

// visit is the person: the suite's authorization server approves at once and redirects.
func visit(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	location := resp.Header.Get("Location")
	if location == "" {
		return nil, errors.New("the authorization server did not redirect")
	}
	return &mcpoauth.LoginReply{RedirectURL: location}, nil
}
