package authtest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is a running pair of servers. Its methods are safe for concurrent use.
type Server struct {
	opt     Options
	issuer  string
	mcpURL  string
	mcpBase string
	servers []*http.Server
	done    sync.WaitGroup
	paths   paths

	mu       sync.Mutex
	faults   Faults
	skew     time.Duration
	requests []Request
	secrets  map[string]bool
	clients  map[string]*client
	pushed   map[string]pushed
	codes    map[string]*code
	consents map[string]*consent
	access   map[string]*accessToken
	refresh  map[string]*refreshToken
	revoked  int
	sessions map[string]bool
}

// paths of the authorization server's endpoints.
type paths struct{ authorize, consent, token, register, revoke, par, client string }

// Request is one request that the servers received.
type Request struct {
	// Time it came, Leg it belongs to, what was asked and answered.
	Time   time.Time
	Leg    string
	Method string
	Path   string
	Query  url.Values
	Form   url.Values
	Body   []byte
	Header http.Header
	Status int
}

// New starts a server that ends with the test.
func New(tb TB, opt *Options) *Server {
	tb.Helper()
	s, err := Start(opt)
	if err != nil {
		tb.Fatalf("authtest: %v", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Start starts a server on free loopback ports. End it with Close.
func Start(opt *Options) (*Server, error) {
	s := &Server{
		secrets: map[string]bool{}, clients: map[string]*client{}, pushed: map[string]pushed{}, codes: map[string]*code{},
		consents: map[string]*consent{}, access: map[string]*accessToken{}, refresh: map[string]*refreshToken{}, sessions: map[string]bool{},
	}
	if opt != nil {
		s.opt = *opt
	}
	if s.opt.AccessTokenLifetime == 0 {
		s.opt.AccessTokenLifetime = time.Hour
	}
	if s.opt.Scopes == nil {
		s.opt.Scopes = []string{"mcp:read", "mcp:write", "offline_access"}
	}
	if s.opt.RequiredScopes == nil {
		s.opt.RequiredScopes = []string{"mcp:read"}
	}
	if s.opt.Now == nil {
		s.opt.Now = time.Now
	}
	s.paths = paths{"/authorize", "/consent", "/token", "/register", "/revoke", "/par", "/register/"}
	if !s.opt.Lenient {
		// A client that knows a path by heart has not read the metadata.
		r := "/" + random(4)
		s.paths = paths{r + "/ask-here", r + "/say-yes", r + "/coins", r + "/sign-up", r + "/shred", r + "/hand-in", r + "/clients/"}
	}
	as, err := listen()
	if err != nil {
		return nil, err
	}
	rs := as
	if !s.opt.SameOrigin {
		if rs, err = listen(); err != nil {
			_ = as.Close()
			return nil, err
		}
	}
	s.issuer = "http://" + as.Addr().String() + s.opt.IssuerPath
	s.mcpBase = "http://" + rs.Addr().String()
	s.mcpURL = s.mcpBase + "/mcp"
	s.serve(as, s.authHandler())
	if rs != as {
		s.serve(rs, s.mcpHandler())
	}
	return s, nil
}

func listen() (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
}

func (s *Server) serve(ln net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	s.servers = append(s.servers, srv)
	s.done.Go(func() { _ = srv.Serve(ln) })
}

// Close ends the servers and their connections.
func (s *Server) Close() {
	for _, srv := range s.servers {
		_ = srv.Close()
	}
	s.done.Wait()
}

// MCPURL returns the protected MCP server's URL.
func (s *Server) MCPURL() string { return s.mcpURL }

// Issuer returns the authorization server's issuer.
func (s *Server) Issuer() string { return s.issuer }

// TokenEndpoint returns the token endpoint, for requests by hand.
func (s *Server) TokenEndpoint() string { return s.asOrigin() + s.paths.token }

func (s *Server) asOrigin() string { return strings.TrimSuffix(s.issuer, s.opt.IssuerPath) }

// Set changes the faults.
func (s *Server) Set(f func(*Faults)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.faults)
}

func (s *Server) fault() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// Requests returns what was received so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count returns how many requests of a leg were received: "challenge" (an MCP request without a
// token), "mcp", "resource-metadata", "server-metadata", "registration", "par", "authorize",
// "consent", "token", "refresh", "revocation", "client-deletion" or "other".
func (s *Server) Count(leg string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Leg == leg {
			n++
		}
	}
	return n
}

// Secrets returns every token, code, verifier, state and secret that was issued or seen. None of
// them belongs into any output.
func (s *Server) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.secrets))
}

// secret notes a secret; the caller holds the lock.
func (s *Server) secret(v string) string {
	if v != "" {
		s.secrets[v] = true
	}
	return v
}

// AdvanceClock moves the servers' clock forward.
func (s *Server) AdvanceClock(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew += d
}

// now is the servers' time; the caller holds the lock.
func (s *Server) now() time.Time { return s.opt.Now().Add(s.skew) }

// Expire ends all access tokens. Refresh tokens stay.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
}

// RevokeAll ends all tokens.
func (s *Server) RevokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
	clear(s.refresh)
}

// ForgetClients forgets every client, as servers do that keep registrations in memory.
func (s *Server) ForgetClients() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.clients)
}

// Revoked returns how many logins were revoked because an old refresh token came back.
func (s *Server) Revoked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoked
}

// AddClient registers a client beforehand.
func (s *Server) AddClient(c Client) {
	if c.AuthMethod == "" {
		c.AuthMethod = "none"
		if c.Secret != "" {
			c.AuthMethod = "client_secret_basic"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = &client{Client: c, native: true}
	s.secret(c.Secret)
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// record wraps a handler: it notes the request and lets a fault answer in its place.
func (s *Server) record(leg func(*http.Request, []byte) string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4<<20))
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := Request{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Body: body, Header: r.Header.Clone()}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			rec.Form, _ = url.ParseQuery(string(body))
		}
		rec.Leg = leg(r, body)
		s.mu.Lock()
		at := len(s.requests)
		s.requests = append(s.requests, rec)
		for _, k := range []string{"state", "code", "code_verifier", "refresh_token", "client_secret", "token"} {
			s.secret(rec.Query.Get(k))
			s.secret(rec.Form.Get(k))
		}
		intercept := s.faults.Intercept[rec.Leg]
		s.mu.Unlock()
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		if intercept == nil || !intercept(sw, r) {
			r.Body = io.NopCloser(bytes.NewReader(body))
			h(sw, r)
		}
		s.mu.Lock()
		s.requests[at].Status = sw.status
		s.mu.Unlock()
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func fixed(leg string) func(*http.Request, []byte) string {
	return func(*http.Request, []byte) string { return leg }
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func oauthError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]any{"error": code, "error_description": description})
}
