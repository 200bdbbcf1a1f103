package mcpoauth_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// chained is an MCP server that answers each request with the next of its answers and then as the real one does.
type chained struct {
	srv *authtest.Server

	mu      sync.Mutex
	answers []string
	tokens  []string // of the requests, in order
}

func (s *chained) answer(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	if len(s.answers) == 0 {
		return false
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	metadata := fmt.Sprintf(`resource_metadata="%s/.well-known/oauth-protected-resource/mcp"`, strings.TrimSuffix(s.srv.MCPURL(), "/mcp"))
	status := http.StatusForbidden
	switch {
	case next == "401":
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", `+metadata)
	case next == "403":
	case strings.HasPrefix(next, "acr "):
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_user_authentication", acr_values="%s", %s`, strings.TrimPrefix(next, "acr "), metadata))
	default:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope="%s", %s`, next, metadata))
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "the answer "+next)
	return true
}

// TestChainsOfRefusals: a chain of refusals ends in the last answer with its body, or in a typed error, and each token
// that was obtained is sent.
func TestChainsOfRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answers  []string
		body     string // of the answer, "" for the server's own
		err      func(error) bool
		refresh  int
		logins   int // beside the first
		requests int
	}{
		"401":                       {answers: []string{"401"}, refresh: 1, requests: 2},
		"401, 403":                  {answers: []string{"401", "403"}, body: "the answer 403", refresh: 1, requests: 2},
		"403 for scopes":            {answers: []string{"mcp:read mcp:write"}, logins: 1, requests: 2},
		"401, scopes":               {answers: []string{"401", "mcp:read mcp:write"}, refresh: 1, logins: 1, requests: 3},
		"401, scopes, more scopes":  {answers: []string{"401", "mcp:read", "mcp:read mcp:write"}, refresh: 1, logins: 2, requests: 4},
		"401, twice scopes, 403":    {answers: []string{"401", "mcp:read", "mcp:write", "403"}, body: "the answer 403", refresh: 1, logins: 2, requests: 4},
		"another login, then 403":   {answers: []string{"acr urn:mfa", "403"}, body: "the answer 403", logins: 1, requests: 2},
		"401, another login":        {answers: []string{"401", "acr urn:mfa"}, refresh: 1, logins: 1, requests: 3},
		"the same scopes twice":     {answers: []string{"mcp:write", "mcp:write"}, err: isScopeError, logins: 1, requests: 2},
		"the same login twice":      {answers: []string{"acr urn:mfa", "acr urn:mfa"}, err: isError(mcpoauth.OpAuthorization), logins: 1, requests: 2},
		"401 twice":                 {answers: []string{"401", "401"}, err: isError(mcpoauth.OpToken), refresh: 1, requests: 2},
		"scopes, then 401":          {answers: []string{"mcp:write", "401"}, err: isError(mcpoauth.OpToken), logins: 1, requests: 2},
		"more than the budget":      {answers: []string{"a1", "a2", "a3", "a4", "a5", "a6", "a7"}, body: "the answer a6", logins: 5, requests: 6},
		"401, 403 for want of will": {answers: []string{"401", "403", "403"}, body: "the answer 403", refresh: 1, requests: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, &authtest.Options{Scopes: []string{"mcp:read", "mcp:write", "a1", "a2", "a3", "a4", "a5", "a6", "a7"}})
			p := &person{srv: srv}
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
			if _, err := c.Login(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			chain := &chained{srv: srv, answers: tc.answers}
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": chain.answer}
			})
			resp, err := c.HTTPClient().Post(c.ServerURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
			if tc.err != nil {
				if err == nil || !tc.err(err) {
					t.Errorf("got %v", err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || !strings.Contains(string(body), tc.body) || tc.body == "" && resp.StatusCode != http.StatusOK {
					t.Errorf("status %d, %q, %v", resp.StatusCode, body, err)
				}
			}
			if n := srv.Count("refresh"); n != tc.refresh || p.asked()-1 != tc.logins || len(chain.tokens) != tc.requests {
				t.Errorf("%d refreshes, %d logins, %d requests", n, p.asked()-1, len(chain.tokens))
			}
			seen := map[string]bool{}
			for _, tok := range chain.tokens {
				if seen[tok] || tok == "" {
					t.Errorf("the requests had the tokens %q", chain.tokens)
				}
				seen[tok] = true
			}
			// What was obtained last was sent.
			if tok, err := c.Token(t.Context(), nil); err != nil || !seen[tok.Authorization()] {
				t.Errorf("the token that was obtained last was not sent: %v", err)
			}
		})
	}
}

func isScopeError(err error) bool {
	e, ok := errors.AsType[*mcpoauth.ScopeError](err)
	return ok && e.Asked
}

func isError(op mcpoauth.Op) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*mcpoauth.Error](err)
		return ok && e.Op == op
	}
}
