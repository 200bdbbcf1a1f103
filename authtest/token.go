package authtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type accessToken struct {
	*grant
	scope []string // that of the login, or less
	until time.Time
}

type refreshToken struct {
	*grant
	spent bool
	// next are those that replaced it.
	next []string
}

func tokenLeg(r *http.Request, body []byte) string {
	if q, err := url.ParseQuery(string(body)); err == nil && q.Get("grant_type") == "refresh_token" {
		return "refresh"
	}
	return "token"
}

// token is RFC 6749 sections 4.1.3 and 6.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	form := formOf(r)
	for k, v := range form {
		if len(v) > 1 {
			oauthError(w, http.StatusBadRequest, "invalid_request", k+" occurs twice")
			return
		}
	}
	doc, status, code, description := s.issue(w, r, form)
	if status == 0 {
		return
	}
	f := s.fault()
	wait(r, f.TokenDelay)
	if s.dropAnswer() {
		hangUp(w)
		return
	}
	if code != "" {
		if code == "invalid_grant" && f.UnauthorizedInvalidGrant {
			status = http.StatusUnauthorized
		}
		oauthError(w, status, code, description)
		return
	}
	if f.TokenAnswer != nil {
		f.TokenAnswer(doc)
		s.mu.Lock()
		for _, k := range []string{"access_token", "refresh_token", "id_token"} {
			if v, ok := doc[k].(string); ok {
				s.secret(v)
			}
		}
		s.mu.Unlock()
	}
	if f.TokenStatus != 0 {
		status = f.TokenStatus
	}
	if f.TokenForm {
		out := url.Values{}
		for k, v := range doc {
			if text, ok := v.(string); ok {
				out.Set(k, text)
			}
		}
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(out.Encode()))
		return
	}
	writeJSON(w, status, doc)
}

func (s *Server) dropAnswer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.DropTokenAnswers == 0 {
		return false
	}
	s.faults.DropTokenAnswers--
	return true
}

// issue does the work. A status of 0 means that the answer was sent.
func (s *Server) issue(w http.ResponseWriter, r *http.Request, form url.Values) (doc map[string]any, status int, code, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var key string
	if s.opt.DPoP && !s.faults.UnboundTokens {
		if key, code, description = s.proven(w, r, s.asOrigin(), ""); code != "" {
			return nil, http.StatusBadRequest, code, description
		}
	}
	c, presented, again := s.present(w, r, form)
	if c == nil {
		return nil, 0, "", ""
	}
	bad := func(code, description string) (map[string]any, int, string, string) {
		return nil, http.StatusBadRequest, code, description
	}
	resource := form.Get("resource")
	if s.faults.RejectResource && form.Has("resource") {
		return bad("invalid_target", "AADSTS901002: The 'resource' request parameter is not supported.")
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		verifier := form.Get("code_verifier")
		sum := sha256.Sum256([]byte(verifier))
		switch {
		case again:
			// RFC 6749 section 4.1.2: somebody else may have the tokens.
			if presented.used && !presented.dead {
				s.kill(presented.grant)
				s.revoked++
			}
			return bad("invalid_grant", "the code was presented before: all that came from it is revoked")
		case presented == nil || presented.client.ID != c.ID || s.now().After(presented.until):
			return bad("invalid_grant", "the code is unknown or too old")
		case form.Get("redirect_uri") != presented.redirectURI:
			return bad("invalid_grant", "the redirect_uri is another one than before")
		case len(verifier) < 43 || len(verifier) > 128:
			return bad("invalid_grant", "the code_verifier has not 43 to 128 characters")
		case base64.RawURLEncoding.EncodeToString(sum[:]) != presented.challenge:
			return bad("invalid_grant", "the code_verifier is wrong")
		case resource != presented.resource && !(s.opt.Lenient && resource == ""):
			return bad("invalid_target", "the resource is another one than before")
		case presented.key != "" && presented.key != key && !s.faults.UnboundTokens:
			return bad("invalid_grant", "the key is another one than dpop_jkt promised")
		}
		presented.used = true
		presented.key = key
		return s.tokens(presented.grant, presented.scope, nil), http.StatusOK, "", ""
	case "refresh_token":
		t := s.refresh[form.Get("refresh_token")]
		switch {
		case t == nil || t.dead || t.client.ID != c.ID:
			return bad("invalid_grant", "the refresh token is unknown or revoked")
		case t.spent && !(s.opt.GraceForOldRefreshToken && s.unused(t.next)):
			s.kill(t.grant)
			s.revoked++
			return bad("invalid_grant", "the refresh token was used before: all that came from this login is revoked")
		case resource != t.resource && !(s.opt.Lenient && resource == ""):
			return bad("invalid_target", "the resource is another one than before")
		case t.key != key && !s.faults.UnboundTokens:
			return bad("invalid_dpop_proof", "the refresh token is bound to another key, or to none")
		}
		scope := t.scope
		if narrow := strings.Fields(form.Get("scope")); len(narrow) > 0 {
			for _, one := range narrow {
				if !slices.Contains(scope, one) {
					return bad("invalid_scope", "a refresh cannot widen the scope")
				}
			}
			scope = narrow // of the access token; the next refresh may ask for all again
		}
		if lost := s.faults.ScopeLostOnRefresh; lost != "" && (form.Get("scope") == "" || s.faults.ScopeLostForGood) {
			scope = slices.DeleteFunc(slices.Clone(scope), func(one string) bool { return one == lost })
		}
		return s.tokens(t.grant, scope, t), http.StatusOK, "", ""
	}
	return bad("unsupported_grant_type", "only authorization_code and refresh_token are supported")
}

// present authenticates the client and takes the code that it presents, if there is one; again means that it was
// presented before. The caller holds the lock.
func (s *Server) present(w http.ResponseWriter, r *http.Request, form url.Values) (c *client, presented *code, again bool) {
	presented = s.codes[form.Get("code")]
	if c = s.authenticate(w, r, form); presented == nil || c == nil && s.faults.CodeSurvivesRefusal {
		return c, presented, false
	}
	// A code is spent by any client that presents it, authenticated or not.
	again, presented.spent = presented.spent, true
	return c, presented, again
}

// tokens issues a pair; old is the refresh token it replaces, if any.
func (s *Server) tokens(g *grant, scope []string, old *refreshToken) map[string]any {
	at := s.secret("access-" + random(24))
	s.access[at] = &accessToken{g, scope, s.now().Add(s.opt.AccessTokenLifetime)}
	doc := map[string]any{"access_token": at, "token_type": "Bearer", "expires_in": int(s.opt.AccessTokenLifetime.Seconds()), "scope": strings.Join(scope, " ")}
	if !s.opt.Lenient {
		doc["token_type"], doc["x_surprise"] = "bEARER", map[string]any{"a": []any{nil}}
	}
	if g.key != "" && !s.faults.UnboundTokens {
		doc["token_type"] = "DPoP"
	}
	if old == nil && slices.Contains(scope, "openid") {
		doc["id_token"] = s.secret(s.idToken(g))
	}
	switch {
	case !g.client.refresh:
	case old != nil && s.opt.NoRotation:
	case old == nil && s.opt.RefreshNeedsOfflineAccess && !slices.Contains(g.scope, "offline_access"):
	default:
		rt := s.secret("refresh-" + random(24))
		s.refresh[rt] = &refreshToken{grant: g}
		doc["refresh_token"] = rt
		if old != nil {
			old.spent, old.next = true, append(old.next, rt)
		}
	}
	return doc
}

// idToken returns an ID token that nobody signed (OpenID Connect Core 1.0 section 2).
func (s *Server) idToken(g *grant) string {
	now := s.now()
	claims, _ := json.Marshal(map[string]any{
		"iss": s.issuer, "sub": "person", "aud": g.client.ID, "nonce": g.nonce, "iat": now.Unix(), "exp": now.Add(s.opt.AccessTokenLifetime).Unix(),
	})
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none"}`)) + "." + part(claims) + "."
}

// unused reports whether none of these refresh tokens was used; the caller holds the lock.
func (s *Server) unused(tokens []string) bool {
	return !slices.ContainsFunc(tokens, func(t string) bool { return s.refresh[t] == nil || s.refresh[t].spent })
}

// kill ends a login and all its tokens; the caller holds the lock.
func (s *Server) kill(g *grant) { g.dead = true }

// revoke is RFC 7009 section 2.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	form := formOf(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.RevocationNeedsSecretField && !form.Has("client_secret") {
		oauthError(w, http.StatusBadRequest, "invalid_request", "client_secret: Field required")
		return
	}
	c := s.authenticate(w, r, form)
	if c == nil {
		return
	}
	v := form.Get("token")
	rt, at := s.refresh[v], s.access[v]
	switch {
	case v == "" || len(form["token"]) > 1:
		oauthError(w, http.StatusBadRequest, "invalid_request", "there must be one token")
		return
	case rt != nil && rt.client.ID != c.ID || at != nil && at.client.ID != c.ID:
		oauthError(w, http.StatusBadRequest, "invalid_grant", "the token was issued to another client")
		return
	case rt != nil:
		s.kill(rt.grant)
	default:
		delete(s.access, v) // one that is unknown is as good as revoked
	}
	w.WriteHeader(http.StatusOK)
}
