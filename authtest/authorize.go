package authtest

import (
	"crypto/sha256"
	_ "embed" // the consent page
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageHTML string

//go:embed ask.html
var askHTML string

const (
	codeLife   = time.Minute
	pushedLife = time.Minute
)

// grant is what a person allowed: a login with all that comes from it.
type grant struct {
	client   *client
	scope    []string
	resource string
	acr      string // the acr_values of its authorization request, and its claims
	claims   string
	nonce    string
	key      string // thumbprint of the key that the tokens are bound to
	dead     bool
}

type code struct {
	*grant
	redirectURI, challenge string
	until                  time.Time
	spent, used            bool // presented, and with success
}

type consent struct {
	params url.Values
	client *client
}

type pushed struct {
	params url.Values
	client *client
	until  time.Time
}

// push is RFC 9126 section 2: what is wrong is said here, not at the authorization endpoint.
func (s *Server) push(w http.ResponseWriter, r *http.Request) {
	form := formOf(r)
	f := s.fault()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.authenticate(w, r, form)
	if c == nil {
		return
	}
	form.Set("client_id", c.ID)
	form.Del("client_secret")
	for k, v := range form {
		if len(v) > 1 || k == "request_uri" {
			oauthError(w, http.StatusBadRequest, "invalid_request", k+" occurs twice, or must not be pushed")
			return
		}
	}
	if !s.mayUse(c, form.Get("redirect_uri")) {
		oauthError(w, http.StatusBadRequest, "invalid_request", "the redirect URI is not one of this client's")
		return
	}
	if code, description := s.wrong(c, form, f); code != "" {
		oauthError(w, http.StatusBadRequest, code, description)
		return
	}
	uri := "urn:ietf:params:oauth:request_uri:" + random(12)
	s.pushed[uri] = pushed{form, c, s.now().Add(pushedLife)}
	writeJSON(w, http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": int(pushedLife.Seconds())})
}

// authorize is RFC 6749 section 4.1.1: it shows the consent page.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for k, v := range q {
		if len(v) > 1 {
			s.dead(w, "The parameter "+k+" occurs twice.")
			return
		}
	}
	f := s.fault()
	s.mu.Lock()
	defer s.mu.Unlock()
	if uri := q.Get("request_uri"); uri != "" {
		p, ok := s.pushed[uri]
		delete(s.pushed, uri)
		if !ok || p.client.ID != q.Get("client_id") || s.now().After(p.until) {
			s.dead(w, "This request was not pushed by this client, or too long ago.")
			return
		}
		q = p.params
	} else if f.RequirePAR {
		s.dead(w, "Requests must be pushed first.")
		return
	}
	c := s.client(q.Get("client_id"))
	if c == nil {
		s.dead(w, "This client is unknown.")
		return
	}
	if !s.mayUse(c, q.Get("redirect_uri")) {
		s.dead(w, "The redirect URI is not one of this client's.")
		return
	}
	code, description := s.wrong(c, q, f)
	if f.InsistOnPAR != "" && !r.URL.Query().Has("request_uri") {
		code, description = "invalid_request", f.InsistOnPAR
	}
	if f.AuthorizeError != "" {
		code, description = f.AuthorizeError, "as the test wants it"
	}
	if code != "" {
		s.sendBack(w, r, q, url.Values{"error": {code}, "error_description": {description}}, f)
		return
	}
	if s.opt.AutoApprove {
		s.allow(w, r, q, c, f)
		return
	}
	id := random(18)
	s.consents[id] = &consent{q, c}
	var scopes strings.Builder
	for _, scope := range strings.Fields(q.Get("scope")) {
		scopes.WriteString("<code>" + html.EscapeString(scope) + "</code>")
	}
	if scopes.Len() == 0 {
		scopes.WriteString("whatever is needed")
	}
	program := html.EscapeString(c.ID)
	if c.name != "" {
		program = html.EscapeString(c.name) + "<small>" + program + "</small>"
	}
	showPage(w, http.StatusOK, "Allow access?", strings.NewReplacer(
		"{client}", program, "{server}", html.EscapeString(s.mcpURL), "{scopes}", scopes.String(),
		"{back}", html.EscapeString(q.Get("redirect_uri")), "{action}", html.EscapeString(s.paths.consent), "{id}", html.EscapeString(id),
	).Replace(askHTML))
}

// wrong checks an authorization request whose client and redirect URI are sound.
func (s *Server) wrong(c *client, q url.Values, f Faults) (code, description string) {
	challenge, err := base64.RawURLEncoding.DecodeString(q.Get("code_challenge"))
	switch {
	case q.Get("response_type") != "code":
		return "unsupported_response_type", "only code is supported"
	case q.Get("state") == "" && !s.opt.Lenient:
		return "invalid_request", "state is missing"
	case q.Get("code_challenge_method") != "S256" || err != nil || len(challenge) != sha256.Size:
		return "invalid_request", "PKCE with S256 is required"
	case f.NonceRequired && slices.Contains(strings.Fields(q.Get("scope")), "openid") && q.Get("nonce") == "":
		return "invalid_request", "nonce required"
	case f.RejectResource && q.Has("resource"):
		return "invalid_target", "AADSTS9010010: The resource parameter provided in the request doesn't match with the requested scopes."
	case !f.RejectResource && !f.AnyResource && !s.isUs(q.Get("resource")):
		return "invalid_target", "the resource must be " + s.mcpURL
	}
	for k, v := range f.RequiredAuthorizeParams {
		if q.Get(k) != v {
			return "invalid_request", k + " must be " + v
		}
	}
	for scope := range strings.FieldsSeq(q.Get("scope")) {
		if !slices.Contains(s.opt.Scopes, scope) {
			return "invalid_scope", "the scope " + scope + " is unknown"
		}
	}
	if !c.mayAsk(q.Get("scope"), f) {
		return "invalid_scope", "the client has not registered all of these scopes"
	}
	return "", ""
}

// isUs reports whether a resource is the MCP server. A lenient server forgives a slash at the end, and
// nothing at all.
func (s *Server) isUs(resource string) bool {
	return resource == s.mcpURL || s.opt.Lenient && (resource == "" || strings.TrimSuffix(resource, "/") == s.mcpURL)
}

// decide receives the consent form.
func (s *Server) decide(w http.ResponseWriter, r *http.Request) {
	// The form's hidden value cannot be guessed; a browser says on top of it who sends the form.
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		s.dead(w, "Another site sent this form.")
		return
	}
	form := formOf(r)
	f := s.fault()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.consents[form.Get("request")]
	delete(s.consents, form.Get("request"))
	if c == nil {
		s.dead(w, "This page was answered before.")
		return
	}
	if form.Get("decision") != "allow" {
		s.sendBack(w, r, c.params, url.Values{"error": {"access_denied"}, "error_description": {"the person said no"}}, f)
		return
	}
	s.allow(w, r, c.params, c.client, f)
}

// allow issues a code; the caller holds the lock.
func (s *Server) allow(w http.ResponseWriter, r *http.Request, q url.Values, c *client, f Faults) {
	scope := strings.Fields(q.Get("scope"))
	if len(scope) == 0 {
		scope = slices.Clone(s.opt.RequiredScopes)
	}
	if s.opt.OfflineNeedsConsent && q.Get("prompt") != "consent" {
		scope = slices.DeleteFunc(scope, func(one string) bool { return one == "offline_access" })
	}
	key := q.Get("dpop_jkt")
	if !s.opt.DPoP {
		key = ""
	}
	v := s.secret("code-" + random(18))
	s.codes[v] = &code{
		grant:       &grant{client: c, scope: scope, resource: q.Get("resource"), acr: q.Get("acr_values"), claims: q.Get("claims"), nonce: q.Get("nonce"), key: key},
		redirectURI: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), until: s.now().Add(codeLife),
	}
	s.sendBack(w, r, q, url.Values{"code": {v}}, f)
}

// sendBack redirects to the client with state and iss (RFC 9207).
func (s *Server) sendBack(w http.ResponseWriter, r *http.Request, q, answer url.Values, f Faults) {
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		s.dead(w, "The redirect URI cannot be read.")
		return
	}
	if q.Has("state") {
		answer.Set("state", q.Get("state"))
	}
	if !f.NoIssuer {
		answer.Set("iss", s.issuer)
	}
	if f.WrongIssuer != "" {
		answer.Set("iss", f.WrongIssuer)
	}
	all := back.Query()
	for k, v := range answer {
		all[k] = v
	}
	back.RawQuery = all.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, back.String(), http.StatusSeeOther) // RFC 9700 section 4.12
}

// dead shows an error that must not be sent to a redirect URI (RFC 6749 section 4.1.2.1).
func (s *Server) dead(w http.ResponseWriter, text string) {
	showPage(w, http.StatusUnprocessableEntity, "This does not work",
		"<h1>This does not work</h1>\n<p>"+html.EscapeString(text)+" Nobody is sent back to the program that asked.</p>")
}

// showPage writes a page. The pages are put together by hand: html/template would slow the start of
// every program that links this.
func showPage(w http.ResponseWriter, status int, title, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = strings.NewReplacer("{title}", title, "{body}", body).WriteString(w, pageHTML)
}

func formOf(r *http.Request) url.Values {
	_ = r.ParseForm()
	return r.PostForm
}
