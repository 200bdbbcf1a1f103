package authtest

import (
	"bufio"
	"bytes"
	"context"
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
	done    sync.WaitGroup // the listeners
	conns   sync.WaitGroup // their connections
	stop    context.CancelFunc
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
	proofs   map[string]bool
	nonces   map[string]*nonce
}

// paths of the authorization server's endpoints.
type paths struct{ authorize, consent, token, register, revoke, par, client string }

// Request is one request that the servers received.
type Request struct {
	// Time it came, by the system's clock, and Leg it belongs to; see [Server.Count].
	Time time.Time
	Leg  string
	// What was asked. Form is the body, if it is a form.
	Method string
	Path   string
	Query  url.Values
	Form   url.Values
	Body   []byte
	Header http.Header
	// Status is what was answered, 0 until then and if the connection was closed instead.
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
		proofs: map[string]bool{}, nonces: map[string]*nonce{},
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
	if s.opt.Listen == nil {
		s.opt.Listen = net.Listen
	}
	as, err := s.opt.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	rs := as
	if !s.opt.SameOrigin {
		if rs, err = s.opt.Listen("tcp", "127.0.0.1:0"); err != nil {
			_ = as.Close()
			return nil, err
		}
	}
	s.issuer = "http://" + as.Addr().String() + s.opt.IssuerPath
	s.mcpBase = "http://" + rs.Addr().String()
	s.mcpURL = s.mcpBase + "/mcp"
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.serve(ctx, as, s.authHandler())
	if rs != as {
		s.serve(ctx, rs, s.mcpHandler())
	}
	return s, nil
}

func (s *Server) serve(ctx context.Context, ln net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.conns.Done()
		default:
		}
	}
	s.servers = append(s.servers, srv)
	s.done.Go(func() { _ = srv.Serve(ln) })
}

// Close ends the servers and their connections, and waits for the requests under way: an interceptor
// that waits must heed its request's context.
func (s *Server) Close() {
	for _, srv := range s.servers {
		_ = srv.Close()
	}
	s.stop() // after that, lest what stops waiting is answered
	s.done.Wait()
	s.conns.Wait()
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
// "consent", "token" (a code), "refresh", "revocation", "client-reading", "client-change", "client-deletion" or "other".
func (s *Server) Count(leg string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Leg == leg {
			n++
		}
	}
	return n
}

// Secrets returns every token, code, verifier, state and secret that was issued or seen, sorted. None
// of them belongs into any output. What an interceptor answers is not among them.
func (s *Server) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.secrets))
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

// ForgetSessions forgets every MCP session, as servers do that are deployed anew.
func (s *Server) ForgetSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// Revoked returns how many logins were revoked because a code or an old refresh token came back.
func (s *Server) Revoked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoked
}

// AddClient registers a client beforehand. It works while the server runs, too.
func (s *Server) AddClient(c Client) {
	if c.AuthMethod == "" {
		c.AuthMethod = "none"
		if c.Secret != "" {
			c.AuthMethod = "client_secret_basic"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = &client{Client: c, refresh: true}
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
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			s.secret(token)
		}
		if _, pass, ok := r.BasicAuth(); ok {
			if pass, err := url.QueryUnescape(pass); err == nil {
				s.secret(pass)
			}
		}
		f := s.faults
		delay, fail, drop := f.Delay[rec.Leg], f.Fail[rec.Leg], f.Drop[rec.Leg] > 0
		if drop {
			f.Drop[rec.Leg]--
		}
		intercept := f.Intercept[rec.Leg]
		s.mu.Unlock()
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.requests[at].Status = sw.status
		}()
		wait(r, delay)
		switch {
		case drop:
			hangUp(sw)
		case fail != 0:
			failPage(sw, fail, f.RetryAfter)
		case intercept == nil || !intercept(sw, r):
			r.Body = io.NopCloser(bytes.NewReader(body))
			h(sw, r)
		}
	}
}

// wait waits, but not for a client that has gone.
func wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// hangUp closes the connection without an answer.
func hangUp(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// failPage answers as something between the client and the server does.
func failPage(w http.ResponseWriter, status int, retryAfter string) {
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<!doctype html>\n<title>Sorry</title>\n<h1>Something is in the way</h1>\n")
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Hijack gives the connection away: there will be no answer.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.status = 0
	return http.NewResponseController(w.ResponseWriter).Hijack()
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
