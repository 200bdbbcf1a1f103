package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// web is the internet of one test: two servers on loopback play all hosts, one those of https and one
// those of http. What has no page is a 404.
type web struct {
	tb    testing.TB
	pages map[string]http.HandlerFunc
	// down are the hosts, with port, that take no connections.
	down   []string
	policy netguard.Policy
	// legs are the purposes that the client's trace names.
	legs []string

	// tried are the attempts of the last discovery.
	tried []wire.Attempt

	mu       sync.Mutex
	requests []string
	headers  []http.Header
}

func newWeb(tb testing.TB, pages map[string]http.HandlerFunc) *web {
	return &web{tb: tb, pages: pages}
}

// client returns a client all of whose connections end at the test's servers. There is no TLS on the way: the
// transport takes what DialTLSContext returns for the https connection.
func (w *web) client() *netguard.Client {
	w.tb.Helper()
	transport := &http.Transport{
		// A connection that is used twice may be tried twice by net/http.
		DisableKeepAlives: true,
		DialTLSContext:    w.dial("https"),
		DialContext:       w.dial("http"),
	}
	c, err := netguard.New(netguard.Config{Policy: w.policy, HTTPClient: &http.Client{Transport: transport}, UserAgent: "test", Trace: func(_ context.Context, e netguard.Exchange) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.legs = append(w.legs, e.Leg)
	}})
	if err != nil {
		w.tb.Fatal(err)
	}
	return c
}

func (w *web) dial(scheme string) func(context.Context, string, string) (net.Conn, error) {
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		at := scheme + "://" + r.Host + r.RequestURI
		w.mu.Lock()
		w.requests = append(w.requests, at)
		w.headers = append(w.headers, r.Header)
		w.mu.Unlock()
		if r.Method != http.MethodGet {
			w.tb.Errorf("%s %s", r.Method, at)
		}
		if page := w.pages[at]; page != nil {
			page(rw, r)
			return
		}
		http.NotFound(rw, r)
	}))
	w.tb.Cleanup(srv.Close)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if slices.Contains(w.down, addr) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
		}
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}
}

// discover discovers mcp, or the server that r names.
func (w *web) discover(r Request) (*Result, *wire.Fault) {
	w.tb.Helper()
	if r.ServerURL == "" {
		r.ServerURL = mcp
	}
	res, err := Discover(context.Background(), w.client(), r)
	if err == nil {
		w.tried = res.Tried
		return res, nil
	}
	var f *wire.Fault
	if errors.As(err, &f) {
		w.tried = f.Tried
	}
	if res != nil || !errors.As(err, &f) || f.Stage != "discovery" || f.Message == "" {
		w.tb.Fatalf("no fault of discovery: %+v, %#v", res, err)
	}
	return nil, f
}

// found is discover where it must succeed.
func (w *web) found(r Request) *Result {
	w.tb.Helper()
	res, f := w.discover(r)
	if f != nil {
		w.tb.Fatalf("%v (%s), asked %v", f, f.Hint, w.asked())
	}
	return res
}

// refused is discover where it must fail for good, with an error that says all the words.
func (w *web) refused(r Request, words ...string) *wire.Fault {
	w.tb.Helper()
	res, f := w.discover(r)
	switch {
	case f == nil:
		w.tb.Fatalf("was accepted: issuer %q, resource %q, asked %v", res.Issuer, res.Resource, w.asked())
	case f.Temporary || f.NotOffered:
		w.tb.Errorf("is no final error: %+v", f)
	case f.Hint == "":
		w.tb.Errorf("there is no hint: %+v", f)
	}
	for _, s := range words {
		if !strings.Contains(f.Message+" "+f.Hint, s) {
			w.tb.Errorf("%q is not in %q, %q", s, f.Message, f.Hint)
		}
	}
	return f
}

// passing is discover where it must fail for now.
func (w *web) passing(r Request) *wire.Fault {
	w.tb.Helper()
	res, f := w.discover(r)
	if f == nil {
		w.tb.Fatalf("was accepted: %+v, asked %v", res, w.asked())
	}
	if !f.Temporary || f.NotOffered {
		w.tb.Errorf("is not temporary: %+v", f)
	}
	return f
}

// asked returns what was asked, in order.
func (w *web) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

// header returns the header of one of the requests.
func (w *web) header(i int) http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.headers[i]
}

// only fails unless the answers of exactly these addresses were used, in this order, and nothing else was asked but other
// well-known addresses of the same document, after the first of them was not there.
func (w *web) only(want ...string) {
	w.tb.Helper()
	rest := w.asked()
	for _, at := range want {
		i := slices.Index(rest, at)
		if i < 0 {
			w.tb.Errorf("%s was not asked, but\n  %s", at, strings.Join(w.asked(), "\n  "))
			return
		}
		rest = slices.Delete(rest, i, i+1)
	}
	for i, at := range rest {
		earlier := func(other string) bool {
			return other != at && (kind(other) == kind(at) || kind(other) == "" && strings.HasPrefix(kind(at), "resource")) // a challenge's address
		}
		if kind(at) == "" || !slices.ContainsFunc(w.asked()[:max(0, slices.Index(w.asked(), at))], earlier) || slices.Contains(rest[:i], at) {
			w.tb.Errorf("%s was asked", at)
		}
	}
	var inOrder []string
	for _, at := range want {
		if at = wire.PlainURL(at); slices.Contains(w.used(), at) { // and is not where a redirect led
			inOrder = append(inOrder, at)
		}
	}
	if !slices.Equal(slices.Compact(w.used()), slices.Compact(inOrder)) {
		w.tb.Errorf("used\n  %s\nwant\n  %s", strings.Join(w.used(), "\n  "), strings.Join(want, "\n  "))
	}
}

// used returns the addresses whose answers were used, in order, as wire.PlainURL gives them.
func (w *web) used() []string {
	var asked, used []string
	for _, at := range w.asked() {
		asked = append(asked, wire.PlainURL(at))
	}
	for _, a := range w.tried {
		if slices.Contains(asked, a.URL) {
			used = append(used, a.URL)
		}
	}
	return used
}

// kind tells which document a well-known address is for, and at which origin; "" for other addresses.
func kind(at string) string {
	origin, name, ok := strings.Cut(at, "/.well-known/")
	u, err := url.Parse(origin)
	switch {
	case !ok || err != nil:
		return ""
	case strings.HasPrefix(name, "oauth-protected-resource"):
		return "resource at " + u.Host
	}
	return "server at " + u.Host
}

// untouched fails if the host was asked for anything.
func (w *web) untouched(origin string) {
	w.tb.Helper()
	for _, u := range w.asked() {
		if strings.HasPrefix(u, origin+"/") {
			w.tb.Errorf("%s was asked", u)
		}
	}
}

// The usual cast: a server with a path, and an authorization server on another host of its owner.
const (
	mcp       = "https://mcp.example.com/mcp"
	mcpOrigin = "https://mcp.example.com"
	atPath    = mcpOrigin + "/.well-known/oauth-protected-resource/mcp"
	atRoot    = mcpOrigin + "/.well-known/oauth-protected-resource"
	issuer    = "https://auth.example.com"
	evil      = "https://evil.example.net"

	oauthName = "/.well-known/oauth-authorization-server"
	oidcName  = "/.well-known/openid-configuration"
)

type pages map[string]http.HandlerFunc

// with returns p and more; later ones win.
func (p pages) with(more pages) pages {
	out := maps.Clone(p)
	maps.Copy(out, more)
	return out
}

// usual are the pages of a server that does all as it should.
func usual() pages {
	return pages{atPath: prm(mcp, issuer), issuer + oauthName: asm(issuer, nil)}
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func doc(body string) http.HandlerFunc { return answer(http.StatusOK, "application/json", body) }

func redirectTo(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// broken ends the connection without an answer.
func broken(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const htmlPage = "<!doctype html><html><body>Please sign in</body></html>"

func prm(resource string, servers ...string) http.HandlerFunc {
	return doc(text(map[string]any{"resource": resource, "authorization_servers": servers}, nil))
}

// asm is an authorization server's metadata with changes; a nil value removes the member.
func asm(issuer string, changes map[string]any) http.HandlerFunc {
	return doc(metadata(issuer, changes))
}

func metadata(issuer string, changes map[string]any) string {
	base := strings.TrimSuffix(issuer, "/")
	return text(map[string]any{
		"issuer": issuer, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "registration_endpoint": base + "/register",
		"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
	}, changes)
}

func text(m, changes map[string]any) string {
	for k, v := range changes {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func hasNote(res *Result, words string) bool {
	return slices.ContainsFunc(res.Notes, func(n string) bool { return strings.Contains(n, words) })
}

func outcomes(tried []wire.Attempt) string {
	var b strings.Builder
	for _, a := range tried {
		fmt.Fprintf(&b, "%s %d %s %s\n", a.URL, a.Status, a.ContentType, a.Outcome)
	}
	return b.String()
}
