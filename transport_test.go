package mcpoauth_test

import (
	"cmp"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestForbiddenForAnExpiredToken: a server answers 403 where it means 401. A 403 for a token that is good is
// the caller's.
//
// It has a row in docs/compatibility.md.
func TestForbiddenForAnExpiredToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testForbiddenForAnExpiredToken)
}

func testForbiddenForAnExpiredToken(t *testing.T) {
	n := newMemoryNetwork()
	srv := n.authtest(t, authtest.Options{AccessTokenLifetime: 2 * time.Second})
	var asked atomic.Int32
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: n.person(t, &asked), Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}})
	ping(t, c)
	forbid := func(w http.ResponseWriter, r *http.Request) bool {
		if srv.Count("refresh") > 0 {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": forbid}
	})
	if status := ping(t, c); status != http.StatusForbidden || srv.Count("refresh") != 0 {
		t.Errorf("a good token: %d, %d refreshes", status, srv.Count("refresh"))
	}
	time.Sleep(2100 * time.Millisecond)
	if status := ping(t, c); status != http.StatusOK || srv.Count("refresh") != 1 {
		t.Errorf("an expired one: %d, %d refreshes", status, srv.Count("refresh"))
	}
}

// TestBodiesAreSentAgainWhole, or not at all.
//
// It has a row in docs/compatibility.md.
func TestBodiesAreSentAgainWhole(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		size   int
		again  bool // the request can give its body again
		status int
	}{
		"a megabyte that can be had again": {1 << 20, true, 200},
		"a small stream":                   {60 << 10, false, 200},
		"a large stream":                   {1 << 20, false, 401},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
			ping(t, c)
			srv.Expire()
			text := `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("y", tc.size) + `"}}`
			var body io.Reader = strings.NewReader(text)
			if !tc.again {
				body = struct{ io.Reader }{body}
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.MCPURL(), body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = int64(len(text))
			resp, err := c.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			all := srv.Requests()
			last := all[len(all)-1]
			if resp.StatusCode != tc.status || tc.status == 200 && string(last.Body) != text {
				t.Errorf("status %d, the last request had %d bytes of %d", resp.StatusCode, len(last.Body), len(text))
			}
		})
	}
}

// TestStreamsAreAuthorizedToo: the GET of an event stream, and a DELETE, after the token's end.
//
// It has a row in docs/compatibility.md.
func TestStreamsAreAuthorizedToo(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
	ping(t, c)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		srv.Expire()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.MCPURL(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized {
			t.Errorf("%s: status %d", method, resp.StatusCode)
		}
	}
	if srv.Count("refresh") != 2 {
		t.Errorf("%d refreshes", srv.Count("refresh"))
	}
}

// The MCP server redirects. On its origin the token stays on the request; elsewhere nothing of it arrives.
//
// It has a row in docs/compatibility.md.
func TestRedirectsOfTheServer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var elsewhere []http.Header
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, r.Header)
	}))
	defer other.Close()
	for name, tc := range map[string]struct {
		status int
		to     string
		want   int
	}{
		"307 to a slash":         {307, "/mcp/", 200},
		"308 to a path below":    {308, "/mcp/v2", 200},
		"302 to another origin":  {302, other.URL + "/mcp", 302},
		"307 to another origin":  {307, other.URL + "/mcp", 307},
		"307 to another program": {307, "/admin", 307},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
			ping(t, c)
			var arrived []string
			srv.Set(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{
					"mcp": func(w http.ResponseWriter, _ *http.Request) bool {
						w.Header().Set("Location", tc.to)
						w.WriteHeader(tc.status)
						return true
					},
					"other": func(_ http.ResponseWriter, r *http.Request) bool {
						body, _ := io.ReadAll(r.Body)
						arrived = append(arrived, r.Method+" "+r.Header.Get("Authorization")[:7]+" "+string(body))
						return true
					},
				}
			})
			status, err := call(c, `{"id":1}`)
			if err != nil || status != tc.want {
				t.Errorf("status %d, %v", status, err)
			}
			if tc.want == 200 && !slices.Equal(arrived, []string{`POST Bearer  {"id":1}`}) {
				t.Errorf("arrived: %q", arrived)
			}
			// A client of the caller's own that follows everything is stopped.
			hc := &http.Client{Transport: &mcpoauth.Transport{Client: c}}
			resp, err := hc.Post(c.ServerURL(), "application/json", strings.NewReader(`{"id":1}`))
			if err == nil {
				resp.Body.Close()
			}
			if (err == nil) != (tc.want == 200) {
				t.Errorf("a client that follows everything: %v", err)
			}
		})
	}
	if len(elsewhere) != 0 {
		t.Errorf("another origin got %v", elsewhere)
	}
}

// A server that takes no token, not even a fresh one, gets one refresh and no storm.
//
// It has a row in docs/compatibility.md.
func TestAServerThatRefusesEveryToken(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	p := &person{srv: srv}
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
	srv.Set(func(f *authtest.Faults) { f.AlwaysUnauthorized = true })
	for range 30 {
		if _, err := tryPing(c); err == nil {
			t.Fatal("no error")
		}
	}
	if p.asked() != 1 || srv.Count("refresh")+srv.Count("token") > 5 {
		t.Errorf("%d logins, %d refreshes", p.asked(), srv.Count("refresh"))
	}
}

func TestA401ThatOffersNoOAuthIsTheCallers(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	gone := page(404, "text/plain", "no")
	srv.Set(func(f *authtest.Faults) {
		f.BareChallenge = true
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"resource-metadata": gone, "other": gone}
	})
	for _, prompt := range []mcpoauth.Prompt{nil, nobody(t)} {
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: prompt})
		if s := ping(t, c); s != 401 {
			t.Errorf("status %d", s)
		}
	}
}

// TestConnectionsAreClosed: what ends closes its connections, so that no goroutine stays.
func TestConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*mcpoauth.Client, *http.Client) error{
		"the client":      func(c *mcpoauth.Client, _ *http.Client) error { return c.Close(t.Context()) },
		"the HTTP client": func(_ *mcpoauth.Client, h *http.Client) error { h.CloseIdleConnections(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan bool, 1)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateClosed {
					closed <- true
				}
			}
			srv.Start()
			defer srv.Close()
			c := newClient(t, srv.URL, mcpoauth.Options{})
			h := c.HTTPClient()
			resp, err := h.Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if err := end(c, h); err != nil {
				t.Error(err)
			}
			select {
			case <-closed:
			case <-time.After(20 * time.Second):
				t.Error("a connection stays open")
			}
		})
	}
}

// redirecting is an MCP server at any path that takes the token "a" and redirects as it is told.
type redirecting struct {
	mu   sync.Mutex
	to   map[string]string
	seen []string
}

func (s *redirecting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.URL.Path)
	if to := s.to[r.URL.Path]; to != "" {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return
	}
	if r.Header.Get("Authorization") != "Bearer a" {
		w.WriteHeader(http.StatusTeapot)
	}
}

// TestWhereARedirectMayLead: on the server's origin, below the server's path, below the path that redirects, or below the
// resource that the token is for.
func TestWhereARedirectMayLead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		resource string // below the origin; "" is the server's URL
		path     string
		to       map[string]string
		want     int
	}{
		"below the server":                       {to: map[string]string{"/team/mcp": "/team/mcp/v2"}, want: 200},
		"beside the server":                      {to: map[string]string{"/team/mcp": "/team/other"}, want: 307},
		"above the server":                       {to: map[string]string{"/team/mcp": "/team"}, want: 307},
		"within what the token is for":           {resource: "/team", to: map[string]string{"/team/mcp": "/team/other"}, want: 200},
		"beside what the token is for":           {resource: "/team", to: map[string]string{"/team/mcp": "/admin"}, want: 307},
		"a prefix that is no path":               {resource: "/team", to: map[string]string{"/team/mcp": "/teams"}, want: 307},
		"below another path, which it came from": {path: "/messages", to: map[string]string{"/messages": "/messages/1"}, want: 200},
		"twice":                                  {to: map[string]string{"/team/mcp": "/team/mcp/1", "/team/mcp/1": "/team/mcp/2"}, want: 200},
		"the second leads away":                  {to: map[string]string{"/team/mcp": "/team/mcp/1", "/team/mcp/1": "/admin"}, want: 307},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newMemoryNetwork()
			s := &redirecting{to: tc.to}
			srv := n.serve(t, s)
			st := memstore.New()
			c := newClient(t, srv.URL+"/team/mcp", mcpoauth.Options{Store: st, Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}})
			rec := record.Login{AccessToken: "a", TokenType: "Bearer", ServerURL: c.ServerURL(), Resource: c.ServerURL(), Issuer: "https://as.example", TokenEndpoint: "https://as.example/token"}
			if tc.resource != "" {
				rec.Resource = srv.URL + tc.resource
			}
			keep(t, st, c, &rec)
			resp, err := c.HTTPClient().Post(srv.URL+cmp.Or(tc.path, "/team/mcp"), "application/json", strings.NewReader(`{}`))
			if err != nil || resp.StatusCode != tc.want {
				t.Fatalf("%v, %v; %v", resp, err, s.seen)
			}
			_ = resp.Body.Close()
		})
	}
}

// keep stores a login of c.
func keep(t *testing.T, st store.Store, c *mcpoauth.Client, rec *record.Login) {
	t.Helper()
	rec.Registration.ClientID = "c"
	data, err := rec.Encode()
	if err == nil {
		_, err = st.Save(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()}, data, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRedirectsWithoutEnd stop.
func TestRedirectsWithoutEnd(t *testing.T) {
	t.Parallel()
	n := newMemoryNetwork()
	s := &redirecting{to: map[string]string{"/mcp": "/mcp"}}
	srv := n.serve(t, s)
	st := memstore.New()
	c := newClient(t, srv.URL+"/mcp", mcpoauth.Options{Store: st, Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}})
	keep(t, st, c, &record.Login{AccessToken: "a", TokenType: "Bearer", ServerURL: c.ServerURL(), Issuer: "https://as.example", TokenEndpoint: "https://as.example/token"})
	if _, err := tryPing(c); err == nil || !strings.Contains(err.Error(), "10 redirects") || len(s.seen) != 10 {
		t.Errorf("%v after %d requests", err, len(s.seen))
	}
}

// TestOtherRequestsPass as they are: those with an Authorization of their own, and those to other servers, which get
// nothing of ours.
func TestOtherRequestsPass(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		var seen []http.Header
		other := w.net.serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Header)
			if to := r.URL.Query().Get("to"); to != "" {
				http.Redirect(rw, r, to, http.StatusFound)
				return
			}
			rw.WriteHeader(http.StatusUnauthorized)
		}))
		w.loggedIn(mcpoauth.Options{})
		o := mcpoauth.Options{Prompt: nobody(t)}
		o.Network.Header = http.Header{"X-Api-Key": {"ours"}, "X-Team": {"ours"}}
		c := w.open(o)
		resp, err := c.HTTPClient().Get(other.URL)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || len(seen) != 1 || seen[0].Get("Authorization")+seen[0].Get("X-Api-Key") != "" {
			t.Errorf("another server: %v, %v, %v", resp, err, seen)
		}
		_ = resp.Body.Close()
		// Nor does it lead a request to ours.
		for _, to := range []string{w.srv.MCPURL(), "https://third.example/"} {
			resp, err = c.HTTPClient().Get(other.URL + "/?to=" + url.QueryEscape(to))
			if err != nil || resp.StatusCode != http.StatusFound {
				t.Fatal(resp, err)
			}
			_ = resp.Body.Close()
		}
		req := request(t, w.srv.MCPURL())
		req.Header.Set("Authorization", "Bearer mine")
		before := len(w.srv.Requests())
		resp, err = c.HTTPClient().Do(req)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatal(resp, err)
		}
		_ = resp.Body.Close()
		if all := w.srv.Requests()[before:]; len(all) != 1 || all[0].Header.Get("Authorization") != "Bearer mine" || w.srv.Count("refresh") != 0 {
			t.Errorf("%d requests", len(all))
		}
		req = request(t, w.srv.MCPURL())
		req.Header.Del("Mcp-Session-Id") // there is none
		req.Header.Set("X-Team", "mine")
		if resp, err = c.HTTPClient().Do(req); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		_ = resp.Body.Close()
		all := w.srv.Requests()
		if last := all[len(all)-1].Header; last.Get("X-Team") != "mine" || last.Get("X-Api-Key") != "ours" || req.Header.Get("X-Api-Key")+req.Header.Get("Authorization") != "" {
			t.Errorf("sent: %v; the caller's request: %v", last, req.Header)
		}
	})
}

// TestBodiesUpTo64KiB are kept for a retry; larger ones are not, and the answer is the caller's.
func TestBodiesUpTo64KiB(t *testing.T) {
	t.Parallel()
	for size, again := range map[int]bool{64 << 10: true, 64<<10 + 1: false} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				c, _ := w.loggedIn(mcpoauth.Options{})
				w.srv.Expire()
				text := `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"`
				text += strings.Repeat("y", size-len(text)-3) + `"}}`
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.ServerURL(), struct{ io.Reader }{strings.NewReader(text)})
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = int64(len(text))
				resp, err := c.HTTPClient().Do(req)
				if err != nil || (resp.StatusCode == http.StatusOK) != again {
					t.Fatal(resp, err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || len(body) == 0 && again {
					t.Errorf("%q, %v", body, err)
				}
				_ = resp.Body.Close()
				all := w.srv.Requests()
				if last := all[len(all)-1]; again && string(last.Body) != text {
					t.Errorf("%d bytes arrived of %d", len(last.Body), len(text))
				}
			})
		})
	}
}
