package authtest

import (
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// client is a registered client.
type client struct {
	Client
	name         string // what it says of itself
	scope        string // what it has registered
	refresh      bool   // it may have refresh tokens
	issued       time.Time
	secretExpiry time.Time
	manage       string // its registration access token
}

// register is RFC 7591 section 3.
func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	f := s.fault()
	if f.NoRegistration {
		failPage(w, http.StatusNotFound, "")
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); !s.opt.Lenient && (err != nil || t != "application/json") {
		oauthError(w, http.StatusBadRequest, "invalid_client_metadata", "client metadata is application/json")
		return
	}
	var req struct {
		RedirectURIs    []string `json:"redirect_uris"`
		AuthMethod      string   `json:"token_endpoint_auth_method"`
		ApplicationType string   `json:"application_type"`
		GrantTypes      []string `json:"grant_types"`
		Scope           string   `json:"scope"`
		ClientName      string   `json:"client_name"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_client_metadata", "this is not client metadata")
		return
	}
	if f.forbids(w, body) {
		return
	}
	if len(req.RedirectURIs) == 0 {
		oauthError(w, http.StatusBadRequest, "invalid_redirect_uri", "redirect_uris is missing")
		return
	}
	native := req.ApplicationType == "native" || s.opt.Lenient
	for _, raw := range req.RedirectURIs {
		u, err := url.Parse(raw)
		if err != nil || u.Fragment != "" || u.Scheme == "http" && (!native || !isLoopback(u.Hostname())) {
			oauthError(w, http.StatusBadRequest, "invalid_redirect_uri", "http redirect URIs are for native applications on loopback (application_type)")
			return
		}
	}
	for scope := range strings.FieldsSeq(req.Scope) {
		if !slices.Contains(s.opt.Scopes, scope) {
			oauthError(w, http.StatusBadRequest, "invalid_client_metadata", "the scope "+scope+" is unknown")
			return
		}
	}
	method := req.AuthMethod
	if method == "" {
		method = "client_secret_basic"
	}
	if !slices.Contains(authMethods, method) {
		oauthError(w, http.StatusBadRequest, "invalid_client_metadata", "the authentication method "+method+" is not supported")
		return
	}
	if f.RegistrationAuthMethod != "" {
		method = f.RegistrationAuthMethod
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Without grant_types a client has asked for authorization_code alone (RFC 7591 section 2).
	c := &client{
		Client: Client{ID: "client-" + random(9), AuthMethod: method, RedirectURIs: req.RedirectURIs},
		name:   req.ClientName, scope: req.Scope, issued: s.now(), refresh: s.opt.Lenient || slices.Contains(req.GrantTypes, "refresh_token"), manage: "manage-" + random(18),
	}
	if method != "none" {
		c.Secret = "secret-" + random(18) + "+/=:%"
		if f.SecretLifetime != 0 {
			c.secretExpiry = s.now().Add(f.SecretLifetime)
		}
	}
	doc := s.document(c, f)
	if f.ForeignRedirectURIs != nil {
		doc["redirect_uris"] = f.ForeignRedirectURIs
	}
	s.clients[c.ID] = c
	s.secret(c.Secret)
	s.secret(c.manage)
	writeJSON(w, http.StatusCreated, doc)
}

// forbids reports whether the policy refuses client metadata; then it has answered.
func (f *Faults) forbids(w http.ResponseWriter, body []byte) bool {
	if f.RegistrationPolicy == nil {
		return false
	}
	var metadata map[string]any
	if err := json.Unmarshal(body, &metadata); err != nil {
		return false
	}
	status, code, description := f.RegistrationPolicy(metadata)
	if status == 0 {
		return false
	}
	oauthError(w, status, code, description)
	return true
}

// mayAsk reports whether a client may ask for a scope.
func (c *client) mayAsk(scope string, f Faults) bool {
	for s := range strings.FieldsSeq(scope) {
		if f.ClientScopes && !slices.Contains(strings.Fields(c.scope), s) {
			return false
		}
	}
	return true
}

// document is what is registered of a client; the caller holds the lock.
func (s *Server) document(c *client, f Faults) map[string]any {
	grants := []string{"authorization_code"}
	if c.refresh {
		grants = append(grants, "refresh_token")
	}
	doc := map[string]any{
		"client_id": c.ID, "client_id_issued_at": c.issued.Unix(), "redirect_uris": c.RedirectURIs, "client_name": c.name,
		"token_endpoint_auth_method": c.AuthMethod, "grant_types": grants, "response_types": []string{"code"},
		"registration_access_token": c.manage, "registration_client_uri": s.asOrigin() + s.paths.client + c.ID,
		// More than was asked for: what may be asked, not what was.
		"scope": strings.Join(s.opt.Scopes, " "),
	}
	if f.ClientScopes {
		doc["scope"] = c.scope
	}
	if !s.opt.Lenient {
		doc["client_uri"], doc["jwks_uri"], doc["x_surprise"] = "", nil, []int{1}
	}
	if c.Secret != "" {
		doc["client_secret"], doc["client_secret_expires_at"] = c.Secret, 0
		if !c.secretExpiry.IsZero() {
			doc["client_secret_expires_at"] = c.secretExpiry.Unix()
		}
	}
	if f.RegistrationAnswer != nil {
		f.RegistrationAnswer(doc)
	}
	return doc
}

// deleteClient is RFC 7592 section 2.3: its logins end with it.
func (s *Server) deleteClient(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.managed(w, r)
	if c == nil {
		return
	}
	delete(s.clients, c.ID)
	for _, t := range s.access {
		t.dead = t.dead || t.client == c
	}
	for _, t := range s.refresh {
		t.dead = t.dead || t.client == c
	}
	w.WriteHeader(http.StatusNoContent)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// client returns a client by its ID: a registered one, or one whose ID is the URL of a document; the
// caller holds the lock.
func (s *Server) client(id string) *client {
	if c := s.clients[id]; c != nil {
		return c
	}
	if uris, ok := s.opt.MetadataDocuments[id]; ok {
		return &client{Client: Client{ID: id, AuthMethod: "none", RedirectURIs: uris}, refresh: true}
	}
	return nil
}

// mayUse reports whether a redirect URI is the client's: exactly as registered, but for the port of a
// loopback one where a document names none or the server is lenient (RFC 8252 section 7.3).
func (s *Server) mayUse(c *client, redirectURI string) bool {
	if slices.Contains(c.RedirectURIs, redirectURI) {
		return true
	}
	u, err := url.Parse(redirectURI)
	if err != nil || !isLoopback(u.Hostname()) {
		return false
	}
	for _, raw := range c.RedirectURIs {
		r, err := url.Parse(raw)
		if err == nil && (r.Port() == "" || s.opt.Lenient) && r.Scheme == u.Scheme && r.Hostname() == u.Hostname() && r.Path == u.Path {
			return true
		}
	}
	return false
}

// authenticate returns the client of a request at the token endpoint, which must use its registered
// method and no other (RFC 6749 section 2.3); the caller holds the lock. Nil: an answer was sent.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request, form url.Values) *client {
	id, method, secret := form.Get("client_id"), "none", ""
	if user, pass, ok := r.BasicAuth(); ok {
		var err1, err2 error
		id, err1 = url.QueryUnescape(user)
		secret, err2 = url.QueryUnescape(pass)
		method = "client_secret_basic"
		if err1 != nil || err2 != nil || form.Has("client_secret") || !s.opt.Lenient && form.Has("client_id") && form.Get("client_id") != id {
			oauthError(w, http.StatusBadRequest, "invalid_request", "one way of client authentication at a time")
			return nil
		}
	} else if form.Get("client_secret") != "" {
		method, secret = "client_secret_post", form.Get("client_secret")
	}
	c := s.client(id)
	switch {
	case c == nil:
		s.unknownClient(w, "this client is unknown")
	case c.AuthMethod != method:
		s.unknownClient(w, "this client authenticates by "+c.AuthMethod)
	case method == "client_secret_basic" && s.faults.BasicNeedsID && !form.Has("client_id"):
		s.unknownClient(w, "Missing client_id")
	case c.Secret != secret:
		s.unknownClient(w, "the secret is wrong")
	case !c.secretExpiry.IsZero() && s.now().After(c.secretExpiry):
		s.unknownClient(w, "the secret has expired")
	default:
		return c
	}
	return nil
}

func (s *Server) unknownClient(w http.ResponseWriter, description string) {
	if r := s.faults.ClientRefusal; r != nil {
		if r.Code == "" {
			w.WriteHeader(r.Status)
			return
		}
		oauthError(w, r.Status, r.Code, r.Description)
		return
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="authtest"`)
	oauthError(w, http.StatusUnauthorized, "invalid_client", description)
}

// managed returns the client that a request may manage; without one it has answered. The caller holds the lock.
func (s *Server) managed(w http.ResponseWriter, r *http.Request) *client {
	c := s.clients[r.PathValue("id")]
	if c == nil || r.Header.Get("Authorization") != "Bearer "+c.manage {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return nil
	}
	return c
}

// readClient is RFC 7592 section 2.1.
func (s *Server) readClient(w http.ResponseWriter, r *http.Request) {
	f := s.fault()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.managed(w, r); c != nil {
		writeJSON(w, http.StatusOK, s.document(c, f))
	}
}

// changeClient is RFC 7592 section 2.2: all is replaced, and must have been there. The token that manages the
// client is another one afterwards.
func (s *Server) changeClient(w http.ResponseWriter, r *http.Request) {
	f := s.fault()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.managed(w, r)
	if c == nil {
		return
	}
	var req map[string]any
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil || req["client_id"] != c.ID {
		oauthError(w, http.StatusBadRequest, "invalid_client_metadata", "this is not the client's metadata")
		return
	}
	if f.forbids(w, body) {
		return
	}
	for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"} {
		if _, ok := req[name]; ok {
			oauthError(w, http.StatusBadRequest, "invalid_client_metadata", name+" must not be sent")
			return
		}
	}
	if req["client_name"] != c.name || req["token_endpoint_auth_method"] != c.AuthMethod || c.Secret != "" && req["client_secret"] != c.Secret {
		oauthError(w, http.StatusBadRequest, "invalid_client_metadata", "what was registered must be sent again")
		return
	}
	var uris []string
	list, _ := req["redirect_uris"].([]any)
	for _, v := range list {
		raw, _ := v.(string)
		if u, err := url.Parse(raw); err != nil || u.Host == "" {
			oauthError(w, http.StatusBadRequest, "invalid_redirect_uri", "that is no redirect URI")
			return
		}
		uris = append(uris, raw)
	}
	if len(uris) == 0 {
		oauthError(w, http.StatusBadRequest, "invalid_redirect_uri", "redirect_uris is missing")
		return
	}
	c.scope, _ = req["scope"].(string)
	c.RedirectURIs, c.manage = uris, s.secret("manage-"+random(18))
	writeJSON(w, http.StatusOK, s.document(c, f))
}
