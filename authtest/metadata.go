package authtest

import (
	"net/http"
	"slices"
)

// authMethods are the ways of client authentication it knows.
var authMethods = []string{"none", "client_secret_basic", "client_secret_post"}

func (s *Server) authHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/", s.record(fixed("server-metadata"), s.wellKnown))
	if s.opt.IssuerPath != "" {
		mux.HandleFunc(s.opt.IssuerPath+"/.well-known/", s.record(fixed("server-metadata"), s.wellKnown))
	}
	mux.HandleFunc("/", s.record(fixed("other"), http.NotFound))
	mux.HandleFunc("GET "+s.paths.authorize, s.record(fixed("authorize"), s.authorize))
	mux.HandleFunc("POST "+s.paths.consent, s.record(fixed("consent"), s.decide))
	mux.HandleFunc("POST "+s.paths.token, s.record(tokenLeg, s.token))
	mux.HandleFunc("POST "+s.paths.register, s.record(fixed("registration"), s.register))
	mux.HandleFunc("POST "+s.paths.revoke, s.record(fixed("revocation"), s.revoke))
	mux.HandleFunc("POST "+s.paths.par, s.record(fixed("par"), s.push))
	mux.HandleFunc("DELETE "+s.paths.client+"{id}", s.record(fixed("client-deletion"), s.deleteClient))
	mux.HandleFunc("GET "+s.paths.client+"{id}", s.record(fixed("client-reading"), s.readClient))
	mux.HandleFunc("PUT "+s.paths.client+"{id}", s.record(fixed("client-change"), s.changeClient))
	if s.opt.SameOrigin {
		s.mcpRoutes(mux)
	}
	return mux
}

func (s *Server) mcpHandler() http.Handler {
	mux := http.NewServeMux()
	s.mcpRoutes(mux)
	mux.HandleFunc("/", s.record(fixed("other"), http.NotFound))
	return mux
}

func (s *Server) mcpRoutes(mux *http.ServeMux) {
	mux.HandleFunc("/mcp", s.record(mcpLeg, s.mcp))
	mux.HandleFunc("/.well-known/oauth-protected-resource/", s.record(fixed("resource-metadata"), s.resourceMetadata))
	mux.HandleFunc("/.well-known/oauth-protected-resource", s.record(fixed("resource-metadata"), s.resourceMetadata))
}

// resourceMetadata is RFC 9728 section 3.
func (s *Server) resourceMetadata(w http.ResponseWriter, r *http.Request) {
	f := s.fault()
	atRoot := r.URL.Path == "/.well-known/oauth-protected-resource"
	if f.NoResourceMetadata || atRoot != f.ResourceMetadataAtRoot || !atRoot && r.URL.Path != "/.well-known/oauth-protected-resource/mcp" {
		http.NotFound(w, r)
		return
	}
	doc := map[string]any{
		"resource": s.mcpURL, "authorization_servers": []string{s.issuer}, "bearer_methods_supported": []string{"header"},
		"scopes_supported": s.opt.RequiredScopes, "resource_name": "authtest",
	}
	if !s.opt.Lenient {
		doc["x_surprise"] = map[string]any{"nested": []any{nil, 1, "two"}}
		doc["resource_policy_uri"] = nil
	}
	if f.Resource != "" {
		doc["resource"] = f.Resource
	}
	if f.AuthorizationServers != nil {
		doc["authorization_servers"] = f.AuthorizationServers
	}
	if s.opt.DPoP {
		doc["dpop_signing_alg_values_supported"] = []string{"ES256"}
	}
	if f.ResourceScopes != nil {
		doc["scopes_supported"] = f.ResourceScopes
	}
	writeJSON(w, http.StatusOK, doc)
}

// wellKnown is RFC 8414 section 3 and OpenID Connect Discovery section 4.
func (s *Server) wellKnown(w http.ResponseWriter, r *http.Request) {
	f := s.fault()
	p := s.opt.IssuerPath
	oauth := r.URL.Path == "/.well-known/oauth-authorization-server"+p
	openID := r.URL.Path == "/.well-known/openid-configuration"+p || r.URL.Path == p+"/.well-known/openid-configuration"
	if f.NoServerMetadata || f.OnlyOpenID && !openID || !oauth && !openID {
		http.NotFound(w, r)
		return
	}
	as := s.asOrigin()
	doc := map[string]any{
		"issuer": s.issuer, "authorization_endpoint": as + s.paths.authorize, "token_endpoint": as + s.paths.token,
		"registration_endpoint": as + s.paths.register, "revocation_endpoint": as + s.paths.revoke,
		"pushed_authorization_request_endpoint": as + s.paths.par, "require_pushed_authorization_requests": f.RequirePAR,
		"scopes_supported": s.opt.Scopes, "response_types_supported": []string{"code"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"token_endpoint_auth_methods_supported":          authMethods,
		"revocation_endpoint_auth_methods_supported":     authMethods,
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
		"client_id_metadata_document_supported":          s.opt.MetadataDocuments != nil,
	}
	if openID {
		doc["subject_types_supported"] = []string{"public"}
		doc["id_token_signing_alg_values_supported"] = []string{"RS256"}
		doc["jwks_uri"] = as + "/jwks"
	}
	if !s.opt.Lenient {
		doc["token_endpoint_auth_methods_supported"] = append(slices.Clone(authMethods), "telepathy")
		doc["x_surprise"] = []any{map[string]any{"deep": nil}}
		doc["op_policy_uri"] = nil
	}
	if s.opt.DPoP {
		doc["dpop_signing_alg_values_supported"] = []string{"RS256", "ES256"}
	}
	if f.Issuer != "" {
		doc["issuer"] = f.Issuer
	}
	if f.NoPKCE {
		delete(doc, "code_challenge_methods_supported")
	}
	if f.NoRegistration {
		delete(doc, "registration_endpoint")
	}
	if f.ServerMetadata != nil {
		f.ServerMetadata(doc)
	}
	writeJSON(w, http.StatusOK, doc)
}
