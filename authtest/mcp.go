package authtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// versions of MCP that begin with initialize, the newest first.
var versions = []string{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}

func mcpLeg(r *http.Request, _ []byte) string {
	if r.Header.Get("Authorization") == "" {
		return "challenge"
	}
	return "mcp"
}

// mcp is the protected MCP server, Streamable HTTP.
func (s *Server) mcp(w http.ResponseWriter, r *http.Request) {
	f := s.fault()
	t, why := s.bearer(w, r, f)
	if t == nil {
		s.challenge(w, f, why)
		return
	}
	if value := lacking(t, f); value != "" {
		w.Header().Set("WWW-Authenticate", value)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	for _, scope := range append(slices.Clone(s.opt.RequiredScopes), strings.Fields(f.AlwaysNeedScope)...) {
		if !slices.Contains(t.scope, scope) {
			s.needScope(w, f, scope)
			return
		}
	}
	if id := r.Header.Get("Mcp-Session-Id"); !s.session(id, r.Method == http.MethodDelete) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodPost:
	case http.MethodDelete:
		w.WriteHeader(http.StatusOK)
		return
	default:
		w.Header().Set("Allow", "POST, DELETE")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var msg struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	if err := json.NewDecoder(r.Body).Decode(&msg); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if msg.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answer := map[string]any{"jsonrpc": "2.0", "id": msg.ID}
	switch result, scope, err := s.handle(w, t.scope, msg.Method, msg.Params); {
	case scope != "":
		s.needScope(w, f, scope)
		return
	case err != nil:
		answer["error"] = err
	default:
		answer["result"] = result
	}
	if !s.opt.SSE {
		writeJSON(w, http.StatusOK, answer)
		return
	}
	b, _ := json.Marshal(answer)
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprintf(w, "event: message\ndata: %s\n\n", b)
}

// lacking is the challenge for a token whose login was not of the kind that is wanted, "" for one that is good.
func lacking(t *accessToken, f Faults) string {
	switch {
	case f.WantACR != "" && t.acr != f.WantACR:
		return fmt.Sprintf(`Bearer error="insufficient_user_authentication", acr_values=%q, max_age="5"`, f.WantACR)
	case f.WantClaims != "" && t.claims != f.WantClaims:
		return fmt.Sprintf(`Bearer realm="", error="insufficient_claims", claims=%q`, base64.StdEncoding.EncodeToString([]byte(f.WantClaims)))
	}
	return ""
}

// session reports whether a session is alive, and ends it if wanted. A client need not have one, but
// there is none to end then.
func (s *Server) session(id string, end bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	alive := s.sessions[id] || id == "" && !end
	if end {
		delete(s.sessions, id)
	}
	return alive
}

// bearer returns the request's token, or why there is none. A token without a resource is good: such
// a login was allowed by the fault RejectResource, or by a lenient server.
func (s *Server) bearer(w http.ResponseWriter, r *http.Request, f Faults) (*accessToken, string) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, ""
	}
	scheme := "Bearer "
	if s.opt.DPoP {
		scheme = "DPoP "
	}
	token, ok := strings.CutPrefix(header, scheme)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.access[token]
	if !ok || t == nil || t.dead || f.AlwaysUnauthorized || !s.now().Before(t.until) || t.resource != "" && !s.isUs(t.resource) {
		return nil, "invalid_token"
	}
	if s.opt.DPoP {
		switch key, code, _ := s.proven(w, r, s.mcpBase, token); {
		case code != "":
			return nil, code
		case key == "" || key != t.key:
			return nil, "invalid_token"
		}
	}
	return t, ""
}

// challenge is RFC 6750 section 3 with RFC 9728 section 5.1.
func (s *Server) challenge(w http.ResponseWriter, f Faults, why string) {
	h := w.Header()
	defer w.WriteHeader(http.StatusUnauthorized)
	if f.BareChallenge {
		return
	}
	if f.Challenge != nil {
		h["Www-Authenticate"] = f.Challenge
		return
	}
	var params []string
	if !f.ChallengeWithoutMetadata {
		params = append(params, fmt.Sprintf("resource_metadata=%q", s.metadataURL(f)))
	}
	if why != "" {
		params = append(params, fmt.Sprintf("error=%q", why), `error_description="the token is unknown, revoked, too old or for another server, scope=\"none\""`)
	}
	scheme := "Bearer "
	if s.opt.DPoP {
		scheme = "DPoP "
		params = append(params, `algs="ES256 RS256"`)
	}
	if s.opt.Lenient {
		h.Set("WWW-Authenticate", strings.TrimSpace(scheme+strings.Join(params, ", ")))
		return
	}
	h["Www-Authenticate"] = []string{`Basic realm="not for you, resource_metadata=\"https://evil.invalid/\"", Digest realm="nor this"`, strings.TrimSpace(awkward(scheme) + " " + strings.Join(params, " ,"))}
}

// awkward spells a scheme as nobody does: its case means nothing (RFC 9110 section 11.1).
func awkward(scheme string) string { return strings.ToLower(scheme[:1]) + strings.ToUpper(scheme[1:]) }

// metadataURL is where the resource metadata lies.
func (s *Server) metadataURL(f Faults) string {
	if f.ResourceMetadataAtRoot {
		return s.mcpBase + "/.well-known/oauth-protected-resource"
	}
	return s.mcpBase + "/.well-known/oauth-protected-resource/mcp"
}

// needScope names what is missing only: what was granted already is the client's to remember.
func (s *Server) needScope(w http.ResponseWriter, f Faults, scope string) {
	scheme := "Bearer"
	if s.opt.DPoP {
		scheme = "DPoP"
	}
	value := fmt.Sprintf(`%s error="insufficient_scope", scope=%q`, scheme, scope)
	if !f.ChallengeWithoutMetadata {
		value += fmt.Sprintf(`, resource_metadata=%q`, s.metadataURL(f))
	}
	w.Header().Set("WWW-Authenticate", value)
	w.WriteHeader(http.StatusForbidden)
}

// rpcError is JSON-RPC's.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// handle answers one MCP request: a result, the scope that it needs, or an error.
func (s *Server) handle(w http.ResponseWriter, granted []string, method string, params json.RawMessage) (result any, scope string, err *rpcError) {
	info := map[string]any{"name": "authtest", "version": "1"}
	capabilities := map[string]any{"tools": map[string]any{}}
	switch method {
	case "initialize":
		var p struct {
			ProtocolVersion string `json:"protocolVersion"`
		}
		_ = json.Unmarshal(params, &p)
		v := versions[0]
		if slices.Contains(versions, p.ProtocolVersion) {
			v = p.ProtocolVersion
		}
		id := random(12)
		s.mu.Lock()
		s.sessions[id] = true
		s.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", id)
		return map[string]any{"protocolVersion": v, "serverInfo": info, "capabilities": capabilities}, "", nil
	case "server/discover":
		return map[string]any{"supportedVersions": append([]string{"2026-07-28"}, versions...), "serverInfo": info, "capabilities": capabilities}, "", nil
	case "ping":
		return map[string]any{}, "", nil
	case "tools/list":
		none := map[string]any{"type": "object"}
		return map[string]any{"tools": []any{
			map[string]any{"name": "whoami", "description": "Says what the token allows.", "inputSchema": none},
			map[string]any{"name": "echo", "description": "Answers its text.", "annotations": map[string]any{"readOnlyHint": true}, "inputSchema": map[string]any{
				"type": "object", "properties": map[string]any{"text": map[string]any{"type": "string"}},
			}},
			map[string]any{"name": "write_note", "description": "Needs the scope mcp:write.", "inputSchema": none},
		}}, "", nil
	case "tools/call":
		var p struct {
			Name      string `json:"name"`
			Arguments struct {
				Text string `json:"text"`
			} `json:"arguments"`
		}
		_ = json.Unmarshal(params, &p)
		switch p.Name {
		case "echo":
			return text(p.Arguments.Text), "", nil
		case "whoami":
			return text("You may: " + strings.Join(granted, " ")), "", nil
		case "write_note":
			if !slices.Contains(granted, "mcp:write") {
				return nil, "mcp:write", nil
			}
			return text("Written."), "", nil
		}
		return nil, "", &rpcError{-32602, "there is no tool " + p.Name}
	}
	return nil, "", &rpcError{-32601, "there is no method " + method}
}

func text(s string) map[string]any {
	return map[string]any{"content": []any{map[string]any{"type": "text", "text": s}}, "isError": false}
}
