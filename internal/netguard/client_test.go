package netguard

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// child names the job of a test binary that a test started again, for what is read once per process.
const child = "NETGUARD_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		proxyChild()
		return
	}
	// The tests ask only this machine, whatever proxy the developer has.
	for _, k := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"} {
		_ = os.Unsetenv(k)
		_ = os.Unsetenv(strings.ToLower(k))
	}
	os.Exit(m.Run())
}

// names is a resolver of our own. Each question for a name takes its next answer; the last one stays.
type names struct {
	mu      sync.Mutex
	answers map[string][][]string
}

// resolve makes names the process's resolver for the time of the test. The tests are not parallel.
func resolve(t testing.TB, answers map[string][][]string) {
	n := &names{answers: answers}
	before := net.DefaultResolver
	net.DefaultResolver = n.resolver()
	t.Cleanup(func() { net.DefaultResolver = before })
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go n.serve(theirs)
		return ours, nil
	}}
}

// serve answers one question in DNS's framing for streams.
func (n *names) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return
	}
	var q dnsmessage.Message
	if err := q.Unpack(b); err != nil || len(q.Questions) != 1 {
		return
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true}, Questions: q.Questions}
	for _, a := range n.next(q.Questions[0], &m.RCode) {
		h := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Type: q.Questions[0].Type, Class: dnsmessage.ClassINET, TTL: 0}
		if a.Is4() {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		} else {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	if b, err := m.Pack(); err == nil {
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)) // a small message
	}
}

// next counts the questions for IPv4 addresses, one of which belongs to each lookup.
func (n *names) next(q dnsmessage.Question, code *dnsmessage.RCode) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	list, ok := n.answers[strings.TrimSuffix(q.Name.String(), ".")]
	if !ok {
		*code = dnsmessage.RCodeNameError
		return nil
	}
	var out []netip.Addr
	for _, s := range list[0] {
		a := netip.MustParseAddr(s)
		if a.Is4() == (q.Type == dnsmessage.TypeA) {
			out = append(out, a)
		}
	}
	if q.Type == dnsmessage.TypeA && len(list) > 1 {
		n.answers[strings.TrimSuffix(q.Name.String(), ".")] = list[1:]
	}
	return out
}

// canary is a server that counts who connects and what is asked.
type canary struct {
	*httptest.Server
	connects atomic.Int32
	mu       sync.Mutex
	asked    []string
}

func newCanary(t testing.TB, h http.HandlerFunc) *canary {
	c := &canary{}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.asked = append(c.asked, r.Method+" "+r.RequestURI)
		c.mu.Unlock()
		if h == nil {
			_, _ = io.WriteString(w, `{}`)
			return
		}
		h(w, r)
	}))
	c.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.connects.Add(1)
		}
	}
	t.Cleanup(c.Close)
	return c
}

func startCanary(t testing.TB, h http.HandlerFunc) *canary {
	c := newCanary(t, h)
	c.Start()
	return c
}

func (c *canary) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.asked...)
}

func (c *canary) port() string {
	u, _ := url.Parse(c.URL)
	return u.Port()
}

func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if i, ok := c.Transport().(interface{ CloseIdleConnections() }); ok {
			i.CloseIdleConnections()
		}
	})
	return c
}

// faultOf fails the test unless err is a fault.
func faultOf(t testing.TB, err error) *wire.Fault {
	t.Helper()
	var f *wire.Fault
	if !errors.As(err, &f) {
		t.Fatalf("the error is %v (%T), want a fault", err, err)
	}
	return f
}

func body(t testing.TB, a *Answer, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return string(a.Body)
}

// TestNameThatResolvesToThisMachine: a public server's document may name hosts whose addresses only the
// dialler sees.
func TestNameThatResolvesToThisMachine(t *testing.T) {
	internal := startCanary(t, nil)
	resolve(t, map[string][][]string{"as.example": {{"127.0.0.1"}}})
	target := "http://as.example:" + internal.port() + "/token"
	for _, p := range []Policy{{Class: Public, AllowInsecureHTTP: true}, {Class: Private, AllowInsecureHTTP: true}} {
		c := newClient(t, Config{Policy: p})
		_, err := c.PostForm(t.Context(), Request{Leg: "token", URL: target}, url.Values{"refresh_token": {"SECRET"}})
		f := faultOf(t, err)
		if f.Temporary || !f.Unsent || !strings.Contains(f.Message, "127.0.0.1") || !strings.Contains(f.Hint, "--allow-private-network") {
			t.Errorf("typed %s: the fault is %+v", p.Class, f)
		}
	}
	if n := internal.connects.Load(); n != 0 {
		t.Fatalf("the internal service was reached %d times", n)
	}
	// The same name is reached where the rule allows it, so that the above is no accident.
	for _, p := range []Policy{{Class: Loopback, AllowInsecureHTTP: true}, {Class: Public, AllowPrivateNetwork: true, AllowInsecureHTTP: true}} {
		a, err := newClient(t, Config{Policy: p}).Get(t.Context(), Request{Leg: "metadata", URL: target})
		if got := body(t, a, err); got != "{}" {
			t.Errorf("the answer is %q", got)
		}
	}
}

// TestANameThatRebinds: the first answer is one that may be dialled, the next is not; and the
// other way round. What counts is the address of each connection.
//
// It has a row in docs/compatibility.md.
func TestANameThatRebinds(t *testing.T) {
	internal := startCanary(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, `{}`)
	})
	resolve(t, map[string][][]string{
		"good-first.example": {{"127.0.0.1"}, {"10.0.0.1"}, {"169.254.169.254"}},
		"bad-first.example":  {{"203.0.113.10"}, {"127.0.0.1"}},
	})
	c := newClient(t, Config{Policy: Policy{Class: Loopback, AllowInsecureHTTP: true}})
	target := "http://good-first.example:" + internal.port() + "/"
	a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: target})
	body(t, a, err)
	for _, address := range []string{"10.0.0.1", "169.254.169.254"} {
		_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: target})
		if f := faultOf(t, err); f.Temporary || !strings.Contains(f.Message, address) {
			t.Errorf("rebound to %s: %v", address, err)
		}
	}
	if n := internal.connects.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	public := newClient(t, Config{Policy: Policy{Class: Public, AllowInsecureHTTP: true}})
	for range 2 {
		_, err := public.Get(t.Context(), Request{Leg: "metadata", URL: "http://bad-first.example:" + internal.port() + "/"})
		if f := faultOf(t, err); f.Temporary {
			t.Errorf("refused only for now: %v", err)
		}
	}
	if n := internal.connects.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestNameWithSeveralAddresses: a forbidden address among several is passed over, not connected to.
func TestNameWithSeveralAddresses(t *testing.T) {
	internal := startCanary(t, nil)
	resolve(t, map[string][][]string{"mixed.example": {{"169.254.169.254", "10.0.0.1", "127.0.0.1"}}, "all-bad.example": {{"169.254.169.254", "10.0.0.1"}}})
	c := newClient(t, Config{Policy: Policy{Class: Loopback, AllowInsecureHTTP: true}})
	a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://mixed.example:" + internal.port() + "/"})
	body(t, a, err)
	if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://all-bad.example:" + internal.port() + "/"}); faultOf(t, err).Temporary {
		t.Errorf("refused only for now: %v", err)
	}
}

// TestLiteralAddressesAreNotDialled: refused before anything is looked up or connected.
func TestLiteralAddressesAreNotDialled(t *testing.T) {
	internal := startCanary(t, nil)
	resolve(t, nil)
	c := newClient(t, Config{Policy: Policy{Class: Public, AllowInsecureHTTP: true}})
	for _, host := range []string{
		"127.0.0.1", "localhost", "LOCALHOST", "x.localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::ffff:127.0.0.1]", "[::1]", "[::]", "[64:ff9b::7f00:1]", "127.0.0.1.",
		"169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "user:pw@127.0.0.1",
	} {
		for _, scheme := range []string{"http", "https"} {
			_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: scheme + "://" + host + ":" + internal.port() + "/latest/meta-data/"})
			if f := faultOf(t, err); f.Temporary || !f.Unsent {
				t.Errorf("%s: the fault is %+v", host, f)
			}
		}
	}
	if n := internal.connects.Load(); n != 0 {
		t.Fatalf("the internal service was reached %d times", n)
	}
}

func TestMetadataRedirects(t *testing.T) {
	elsewhere := startCanary(t, nil)
	var s *canary
	s = startCanary(t, func(w http.ResponseWriter, r *http.Request) {
		to := map[string]string{
			"/a": "/b", "/b": "c", "/c": "/d?x=1",
			"/4": "/3", "/3": "/2", "/2": "/1", "/1": "/0",
			"/loop":     "/loop",
			"/away":     elsewhere.URL + "/",
			"/via":      "/away",
			"/https":    strings.Replace(s.URL, "http:", "https:", 1) + "/0",
			"/name":     "http://localhost:" + s.port() + "/0",
			"/slashes":  "//" + strings.TrimPrefix(elsewhere.URL, "http://") + "/",
			"/file":     "file:///etc/passwd",
			"/broken":   "http://[::1",
			"/login":    "http://user:pw@127.0.0.1:" + s.port() + "/0",
			"/absolute": s.URL + "/0",
		}[r.URL.Path]
		if to == "" {
			_, _ = io.WriteString(w, `{"end":"`+r.URL.Path+`"}`)
			return
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	c := newClient(t, Config{Policy: Policy{Class: Loopback}})
	for _, k := range []struct {
		why, from string
		status    int
		at        string
	}{
		{"one hop", "/c", 200, "/d?x=1"},
		{"three hops", "/a", 200, "/d?x=1"},
		{"an absolute URL on the same origin", "/absolute", 200, "/0"},
		{"four hops are one too many", "/4", 307, "/1"},
		{"a loop ends", "/loop", 307, "/loop"},
		{"another port is another origin", "/away", 307, "/away"},
		{"another origin after a good hop", "/via", 307, "/away"},
		{"another scheme", "/https", 307, "/https"},
		{"another name of this machine", "/name", 307, "/name"},
		{"a URL without scheme", "/slashes", 307, "/slashes"},
		{"a file", "/file", 307, "/file"},
		{"no URL", "/broken", 307, "/broken"},
	} {
		a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: s.URL + k.from})
		if err != nil {
			t.Errorf("%s: %v", k.why, err)
			continue
		}
		if a.Status != k.status || a.URL != s.URL+k.at {
			t.Errorf("%s: status %d at %s, want %d at %s", k.why, a.Status, a.URL, k.status, k.at)
		}
	}
	if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: s.URL + "/login"}); faultOf(t, err).Temporary {
		t.Errorf("a redirect with a password: %v", err)
	}
	if n := elsewhere.connects.Load(); n != 0 {
		t.Errorf("the other origin was reached %d times", n)
	}
}

// TestRedirectsAreNotFollowedWithSecrets: net/http would repeat a form on 307 and 308, and take the answer
// of a stranger for that of the token endpoint on the others.
func TestRedirectsAreNotFollowedWithSecrets(t *testing.T) {
	thief := startCanary(t, nil)
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := startCanary(t, func(w http.ResponseWriter, r *http.Request) {
			to := thief.URL + "/token"
			if r.URL.Path == "/same" {
				to = "/elsewhere"
			}
			w.Header().Set("Location", to)
			w.WriteHeader(status)
		})
		c := newClient(t, Config{Policy: Policy{Class: Loopback}})
		for _, path := range []string{"/token", "/same"} {
			for name, send := range map[string]func() (*Answer, error){
				"form": func() (*Answer, error) {
					return c.PostForm(t.Context(), Request{Leg: "token", URL: s.URL + path}, url.Values{"code": {"SECRET"}})
				},
				"json": func() (*Answer, error) {
					return c.PostJSON(t.Context(), Request{Leg: "registration", URL: s.URL + path}, []byte(`{}`))
				},
				"delete": func() (*Answer, error) { return c.Delete(t.Context(), Request{Leg: "registration", URL: s.URL + path}) },
			} {
				before := len(s.requests())
				a, err := send()
				f := faultOf(t, err)
				if a != nil || f.Status != status || f.Temporary || f.Unsent || f.URL != s.URL+path {
					t.Errorf("%d, %s: answer %v, fault %+v", status, name, a, f)
				}
				if n := len(s.requests()) - before; n != 1 {
					t.Errorf("%d, %s: %d requests, want 1", status, name, n)
				}
			}
		}
	}
	if n := thief.connects.Load(); n != 0 {
		t.Errorf("the other origin was reached %d times", n)
	}
}

func TestRequestsCarryWhatTheyShould(t *testing.T) {
	var got []*http.Request
	var bodies []string
	s := startCanary(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, bodies = append(got, r), append(bodies, string(b))
		w.Header().Set("Content-Type", "Application/JSON; charset=UTF-8")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "answer")
	})
	shared := http.Header{"X-Tenant": {"blue"}, "User-Agent": {"custom"}}
	c := newClient(t, Config{Policy: Policy{Class: Loopback}, UserAgent: "mcpoauth/test", Header: shared, HeaderOrigins: []string{s.URL}})
	other := newClient(t, Config{Policy: Policy{Class: Loopback}, UserAgent: "mcpoauth/test", Header: shared, HeaderOrigins: []string{"http://127.0.0.1:1"}})
	extra := http.Header{"Authorization": {"Basic x"}}

	a, err := c.PostForm(t.Context(), Request{Leg: "token", URL: s.URL + "/t", Header: extra}, url.Values{"a": {"b c"}})
	if err != nil || a.Status != http.StatusTeapot || string(a.Body) != "answer" || a.ContentType != "application/json" || a.URL != s.URL+"/t" || a.Received.IsZero() {
		t.Errorf("the answer is %+v, %v", a, err)
	}
	if _, err := c.PostJSON(t.Context(), Request{Leg: "registration", URL: s.URL + "/r"}, []byte(`{"a":1}`)); err != nil {
		t.Error(err)
	}
	if _, err := other.Get(t.Context(), Request{Leg: "metadata", URL: s.URL + "/g"}); err != nil {
		t.Error(err)
	}
	if _, err := other.Delete(t.Context(), Request{Leg: "registration", URL: s.URL + "/d", Header: extra}); err != nil {
		t.Error(err)
	}
	for i, k := range []struct{ method, contentType, body, tenant, agent, auth string }{
		{"POST", "application/x-www-form-urlencoded", "a=b+c", "blue", "custom", "Basic x"},
		{"POST", "application/json", `{"a":1}`, "blue", "custom", ""},
		{"GET", "", "", "", "mcpoauth/test", ""},
		{"DELETE", "", "", "", "mcpoauth/test", "Basic x"},
	} {
		h := got[i].Header
		if got[i].Method != k.method || h.Get("Content-Type") != k.contentType || bodies[i] != k.body || h.Get("X-Tenant") != k.tenant || h.Get("User-Agent") != k.agent ||
			h.Get("Authorization") != k.auth || h.Get("Accept") != "application/json" {
			t.Errorf("request %d is %s with %v and %q", i, got[i].Method, h, bodies[i])
		}
		// With either of these net/http would send a form a second time on a broken connection.
		if h.Get("Idempotency-Key")+h.Get("X-Idempotency-Key") != "" {
			t.Errorf("request %d may be repeated", i)
		}
	}
	if len(extra) != 1 {
		t.Errorf("the caller's header is now %v", extra)
	}
}

// TestHeadersStayWithTheirOrigins: what is configured for the MCP server is no business of others, which
// differ from it by no more than a port.
//
// It has a row in docs/compatibility.md.
func TestHeadersStayWithTheirOrigins(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]string{}
	h := func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.Host] = r.Header.Get("X-Key")
	}
	ours, foreign := startCanary(t, h), startCanary(t, h)
	c := newClient(t, Config{Policy: Policy{Class: Loopback}, Header: http.Header{"X-Key": {"SECRET"}}, HeaderOrigins: []string{strings.ToUpper(ours.URL) + "/"}})
	for _, target := range []string{ours.URL + "/a", foreign.URL + "/a"} {
		if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: target}); err != nil {
			t.Error(err)
		}
	}
	want := map[string]string{strings.TrimPrefix(ours.URL, "http://"): "SECRET", strings.TrimPrefix(foreign.URL, "http://"): ""}
	if !maps.Equal(seen, want) {
		t.Errorf("seen %v, want %v", seen, want)
	}
	for _, bad := range []string{"", "mcp.example", "https://", "://x", "/mcp"} {
		if _, err := New(Config{HeaderOrigins: []string{bad}}); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	zip := func(n int) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(bytes.Repeat([]byte{' '}, n))
		_ = w.Close()
		return b.Bytes()
	}
	s := startCanary(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/largest":
			_, _ = w.Write(bytes.Repeat([]byte{' '}, wire.MaxBody))
		case "/larger":
			_, _ = w.Write(bytes.Repeat([]byte{' '}, wire.MaxBody+1))
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte{' '}, 64<<10)); err != nil {
					return
				}
			}
		case "/zip", "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zip(map[string]int{"/zip": 1000, "/bomb": 8 << 20}[r.URL.Path]))
		case "/identity":
			w.Header().Set("Content-Encoding", "Identity")
			_, _ = io.WriteString(w, "{}")
		case "/brotli":
			w.Header().Set("Content-Encoding", "br\u202e"+strings.Repeat("x", 100))
			_, _ = io.WriteString(w, "{}")
		case "/headers":
			for i := range 200 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
			}
		case "/short":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}
	})
	c := newClient(t, Config{Policy: Policy{Class: Loopback}})
	for path, size := range map[string]int{"/largest": wire.MaxBody, "/zip": 1000, "/identity": 2} {
		a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: s.URL + path})
		if err != nil || len(a.Body) != size {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"/larger", "/endless", "/bomb", "/brotli"} {
		_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: s.URL + path})
		f := faultOf(t, err)
		if f.Temporary || f.Unsent || strings.Contains(f.Hint, "allow") || strings.ContainsRune(f.Message, '\u202e') || len(f.Message) > 300 {
			t.Errorf("%s: the fault is %+v", path, f)
		}
		// A form did its work all the same: the sender of a refresh token must know that it may be spent.
		_, err = c.PostForm(t.Context(), Request{Leg: "token", URL: s.URL + path}, url.Values{"refresh_token": {"r"}})
		if f := faultOf(t, err); !f.Temporary || f.Unsent {
			t.Errorf("%s, posted: the fault is %+v", path, f)
		}
	}
	for _, path := range []string{"/headers", "/short"} {
		_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: s.URL + path})
		if f := faultOf(t, err); !f.Temporary || f.Unsent {
			t.Errorf("%s: the fault is %+v", path, f)
		}
	}
}

// authority is a certificate authority of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	a := &authority{pool: x509.NewCertPool()}
	a.key = newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue returns a certificate for the names, good until end.
func (a *authority) issue(t testing.TB, end time.Time, hosts ...string) tls.Certificate {
	k := newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
}

func startTLS(t testing.TB, cfg *tls.Config, h http.HandlerFunc) *canary {
	s := newCanary(t, h)
	s.TLS = cfg
	s.EnableHTTP2 = true
	s.StartTLS()
	return s
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	good := ours.issue(t, time.Now().Add(time.Hour), "127.0.0.1")
	for _, k := range []struct {
		why    string
		server *tls.Config
		pool   *x509.CertPool
		ok     bool
		hint   string
	}{
		{"a private authority that was given", &tls.Config{Certificates: []tls.Certificate{good}}, ours.pool, true, ""},
		{"TLS 1.2", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, ours.pool, true, ""},
		{"an authority that nobody gave", &tls.Config{Certificates: []tls.Certificate{good}}, nil, false, "--ca-file"},
		{"another authority", &tls.Config{Certificates: []tls.Certificate{theirs.issue(t, time.Now().Add(time.Hour), "127.0.0.1")}}, ours.pool, false, "--ca-file"},
		{"expired", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, time.Now().Add(-time.Hour), "127.0.0.1")}}, ours.pool, false, "this machine's clock"},
		{"another name", &tls.Config{Certificates: []tls.Certificate{ours.issue(t, time.Now().Add(time.Hour), "as.example")}}, ours.pool, false, "check the host"},
		{"TLS 1.1", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, ours.pool, false, "has to update it"},                                           // the point
		{"no common cipher", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, ours.pool, false, "a cipher that is safe"}, // the point
		{"a name that the server does not know", &tls.Config{Certificates: []tls.Certificate{good}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return &tls.Config{MinVersion: tls.VersionTLS12}, nil }}, ours.pool, false, "does not know this name"},
		{"a certificate of the client's, TLS 1.2", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.pool}, ours.pool, false, "--client-cert"}, // the point
	} {
		// A transport of our own and one of a caller's are the same here.
		for name, hc := range map[string]*http.Client{"own": nil, "caller's": {Transport: &http.Transport{}}} {
			s := startTLS(t, k.server.Clone(), nil)
			c := newClient(t, Config{Policy: Policy{Class: Loopback}, RootCAs: k.pool, HTTPClient: hc})
			_, err := c.PostForm(t.Context(), Request{Leg: "token", URL: s.URL + "/token"}, url.Values{"code": {"SECRET"}})
			if k.ok {
				if err != nil {
					t.Errorf("%s, %s: %v", k.why, name, err)
				}
				continue
			}
			f := faultOf(t, err)
			if n := len(s.requests()); n != 0 {
				t.Errorf("%s, %s: %d requests arrived", k.why, name, n)
			}
			if f.Temporary || !f.Unsent || !strings.Contains(f.Message, "certificate") && !strings.Contains(f.Message, "TLS") || !strings.Contains(f.Hint, k.hint) {
				t.Errorf("%s, %s: the fault is %+v", k.why, name, f)
			}
			if n := s.connects.Load(); n != 1 {
				t.Errorf("%s, %s: %d connections, want one and no second try", k.why, name, n)
			}
		}
	}
}

func TestPlainServerWhereTLSWasExpected(t *testing.T) {
	s := startCanary(t, nil)
	c := newClient(t, Config{Policy: Policy{Class: Loopback}})
	_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "https://127.0.0.1:" + s.port() + "/"})
	if f := faultOf(t, err); f.Temporary || !f.Unsent || !strings.Contains(f.Message, "TLS") {
		t.Errorf("the fault is %+v", f)
	}
}

func TestClientCertificate(t *testing.T) {
	ours := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{ours.issue(t, time.Now().Add(time.Hour), "127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.pool}
	s := startTLS(t, cfg, nil)
	with := newClient(t, Config{Policy: Policy{Class: Loopback}, RootCAs: ours.pool, Certificates: []tls.Certificate{ours.issue(t, time.Now().Add(time.Hour), "me")}})
	if _, err := with.Get(t.Context(), Request{Leg: "metadata", URL: s.URL}); err != nil {
		t.Error(err)
	}
	without := newClient(t, Config{Policy: Policy{Class: Loopback}, RootCAs: ours.pool})
	for range 100 {
		_, err := without.Get(t.Context(), Request{Leg: "metadata", URL: s.URL})
		f := faultOf(t, err)
		if !f.Temporary && f.Unsent && strings.Contains(f.Hint, "--client-cert") {
			return
		}
		// With TLS 1.3 the connection may be cut before the alert is read.
		if !strings.Contains(f.Message, "broke") {
			t.Fatalf("the fault is %+v", f)
		}
	}
	t.Error("the missing certificate was never named")
}

// TestHTTPVersions: with a dialler of its own net/http is shy of HTTP/2, and a clone may offer it all the
// same; then the answer is garbage.
func TestHTTPVersions(t *testing.T) {
	ours := newAuthority(t)
	var version atomic.Value
	s := startTLS(t, &tls.Config{Certificates: []tls.Certificate{ours.issue(t, time.Now().Add(time.Hour), "127.0.0.1")}}, func(_ http.ResponseWriter, r *http.Request) { version.Store(r.Proto) })
	only1 := new(http.Protocols)
	only1.SetHTTP1(true)
	for _, k := range []struct {
		why, want string
		client    *http.Client
	}{
		{"our own", "HTTP/2.0", nil},
		{"a zero transport", "HTTP/2.0", &http.Client{Transport: &http.Transport{}}},
		{"a clone of the default", "HTTP/2.0", &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}},
		{"with TLS settings", "HTTP/1.1", &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}}},
		{"HTTP/2 switched off the old way", "HTTP/1.1", &http.Client{Transport: &http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}}},
		{"HTTP/2 switched off the new way", "HTTP/1.1", &http.Client{Transport: &http.Transport{Protocols: only1}}},
	} {
		c := newClient(t, Config{Policy: Policy{Class: Loopback}, RootCAs: ours.pool, HTTPClient: k.client})
		if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: s.URL}); err != nil || version.Load() != k.want {
			t.Errorf("%s: %v over %v, want %s", k.why, err, version.Load(), k.want)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestForeignRoundTripper: where it connects is its owner's concern, what is asked is still checked.
func TestForeignRoundTripper(t *testing.T) {
	var sent []string
	rt := roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.URL.String())
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	})
	c := newClient(t, Config{HTTPClient: &http.Client{Transport: rt}})
	if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "https://as.example/a"}); err != nil {
		t.Error(err)
	}
	for _, target := range []string{"http://as.example/", "https://10.0.0.1/", "https://127.0.0.1/", "https://localhost/", "https://169.254.169.254/", "https://2130706433/", "https://vault.internal/", "https://u@as.example/"} {
		_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: target})
		if f := faultOf(t, err); f.Temporary || !f.Unsent {
			t.Errorf("%s: %+v", target, f)
		}
	}
	if len(sent) != 1 || sent[0] != "https://as.example/a" {
		t.Errorf("sent %q", sent)
	}
}

// TestRefusedRequestClosesItsBody: net/http's contract for a RoundTripper.
func TestRefusedRequestClosesItsBody(t *testing.T) {
	closed := false
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://10.0.0.1/mcp", io.NopCloser(strings.NewReader("x")))
	if err != nil {
		t.Fatal(err)
	}
	req.Body = closer{req.Body, &closed}
	if resp, err := newClient(t, Config{}).Transport().RoundTrip(req); err == nil {
		_ = resp.Body.Close()
		t.Error("10.0.0.1 was asked")
	}
	if !closed {
		t.Error("the body is still open")
	}
}

type closer struct {
	io.ReadCloser
	closed *bool
}

func (c closer) Close() error { *c.closed = true; return c.ReadCloser.Close() }

// TestCallersTransport: it is cloned, gets the check, and stays as it was for its owner.
func TestCallersTransport(t *testing.T) {
	internal := startCanary(t, nil)
	resolve(t, map[string][][]string{"as.example": {{"127.0.0.1"}}})
	theirs := &http.Transport{}
	c := newClient(t, Config{Policy: Policy{AllowInsecureHTTP: true}, HTTPClient: &http.Client{Transport: theirs}, RootCAs: x509.NewCertPool()})
	_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://as.example:" + internal.port() + "/"})
	if f := faultOf(t, err); f.Temporary || internal.connects.Load() != 0 {
		t.Errorf("the fault is %+v", f)
	}
	if theirs.DialContext != nil || theirs.TLSClientConfig != nil && theirs.TLSClientConfig.RootCAs != nil || theirs.Proxy != nil || theirs.MaxResponseHeaderBytes != 0 {
		t.Errorf("the caller's transport was changed")
	}
}

// TestTransportThatDialsByItself keeps doing so: tunnels, sockets and the like are its owner's concern.
// What is asked for is still checked.
func TestTransportThatDialsByItself(t *testing.T) {
	s := startCanary(t, nil)
	var dialled []string
	theirs := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}}
	c := newClient(t, Config{Policy: Policy{AllowInsecureHTTP: true}, HTTPClient: &http.Client{Transport: theirs}})
	a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://as.example/"})
	body(t, a, err)
	if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://127.0.0.1:" + s.port() + "/"}); !faultOf(t, err).Unsent {
		t.Errorf("a loopback address was asked: %v", err)
	}
	if len(dialled) != 1 || dialled[0] != "as.example:80" {
		t.Errorf("dialled %q", dialled)
	}
}

// proxy is an HTTP proxy that leads every CONNECT to one address, whatever is asked for.
type proxy struct {
	*canary
	leads string
}

func startProxy(t testing.TB, leads string) *proxy {
	p := &proxy{leads: leads}
	p.canary = startCanary(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			_, _ = io.WriteString(w, `{"by":"proxy"}`)
			return
		}
		up, err := net.Dial("tcp", leads)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		down, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = up.Close()
			return
		}
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(up, rw); _ = up.Close() }()
		_, _ = io.Copy(down, up)
		_ = down.Close()
	})
	return p
}

// TestCorporateProxy: the proxy has a private address, the servers behind it have public names which
// nobody here can resolve. The proxy setting may differ by host.
func TestCorporateProxy(t *testing.T) {
	resolve(t, map[string][][]string{"proxy.corp.example": {{"127.0.0.1"}}})
	ours := newAuthority(t)
	s := startTLS(t, &tls.Config{Certificates: []tls.Certificate{ours.issue(t, time.Now().Add(time.Hour), "as.example")}}, nil)
	p := startProxy(t, s.Listener.Addr().String())
	byIP, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	byName := &url.URL{Scheme: "http", Host: "proxy.corp.example:" + p.port()}
	for name, setting := range map[string]func(*http.Request) (*url.URL, error){
		"for all": http.ProxyURL(byIP),
		"by name": http.ProxyURL(byName),
		"for one host": func(r *http.Request) (*url.URL, error) {
			if r.URL.Hostname() == "as.example" {
				return byIP, nil
			}
			return nil, nil
		},
	} {
		before := len(p.requests())
		c := newClient(t, Config{HTTPClient: &http.Client{Transport: &http.Transport{Proxy: setting}}, RootCAs: ours.pool})
		a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "https://as.example/x"})
		if err != nil || string(a.Body) != "{}" {
			t.Errorf("%s: %v", name, err)
		}
		if asked := p.requests()[before:]; len(asked) != 1 || asked[0] != "CONNECT as.example:443" {
			t.Errorf("%s: the proxy was asked for %q", name, asked)
		}
	}
}

// TestProxyIsNotAskedForPrivateAddresses: behind a proxy literals and names are all that can be checked.
func TestProxyIsNotAskedForPrivateAddresses(t *testing.T) {
	p := startProxy(t, "127.0.0.1:1")
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{Policy: Policy{AllowInsecureHTTP: true}, HTTPClient: &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u)}}})
	for _, target := range []string{"https://10.0.0.5/token", "http://10.0.0.5/token", "https://169.254.169.254/", "http://metadata.google.internal/", "https://localhost/", "https://vault.internal/", "https://127.1/", p.URL + "/"} {
		if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: target}); !faultOf(t, err).Unsent {
			t.Errorf("%s: %v", target, err)
		}
	}
	if n := p.connects.Load(); n != 0 {
		t.Errorf("the proxy was reached %d times", n)
	}
}

// TestHostsWithoutProxyAreChecked: a proxy for some hosts does not open the way to the others.
func TestHostsWithoutProxyAreChecked(t *testing.T) {
	internal := startCanary(t, nil)
	resolve(t, map[string][][]string{"direct.example": {{"127.0.0.1"}}})
	p := startProxy(t, internal.Listener.Addr().String())
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{Policy: Policy{AllowInsecureHTTP: true}, HTTPClient: &http.Client{Transport: &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		if r.URL.Hostname() == "direct.example" {
			return nil, nil
		}
		return u, nil
	}}}})
	if a, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://as.example/"}); body(t, a, err) != `{"by":"proxy"}` {
		t.Error("the proxy was not asked")
	}
	for _, port := range []string{internal.port(), p.port()} {
		if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "http://direct.example:" + port + "/"}); !faultOf(t, err).Unsent {
			t.Errorf("%v", err)
		}
	}
	if n := internal.connects.Load(); n != 0 {
		t.Errorf("the internal service was reached %d times", n)
	}
}

func TestProxyOutOfReach(t *testing.T) {
	u, err := url.Parse(nobody)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{HTTPClient: &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u)}}})
	_, err = c.PostForm(t.Context(), Request{Leg: "token", URL: "https://as.example/token"}, nil)
	if f := faultOf(t, err); !f.Temporary || !f.Unsent || !strings.Contains(f.Message, "proxy") {
		t.Errorf("the fault is %+v", f)
	}
}

// TestProxyEnvironment starts this binary again, since the environment is read once per process.
func TestProxyEnvironment(t *testing.T) {
	p := startProxy(t, "127.0.0.1:1")
	internal := startCanary(t, nil)
	for _, k := range []struct{ why, target, noProxy, want, asked string }{
		{"a public name", "http://as.example/x", "", `{"by":"proxy"}`, "GET http://as.example/x"},
		{"a name that is excepted", "http://direct.example:" + internal.port() + "/x", ".direct.example,direct.example", "refused", ""},
		{"a private literal", "http://10.0.0.5/x", "", "refused", ""},
	} {
		before := len(p.requests())
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", child+"="+k.target, "HTTP_PROXY="+p.URL, "NO_PROXY="+k.noProxy)
		out, err := cmd.Output()
		if err != nil || string(out) != k.want {
			t.Errorf("%s: %q, %v; want %q", k.why, out, err, k.want)
		}
		if asked := strings.Join(p.requests()[before:], ","); asked != k.asked {
			t.Errorf("%s: the proxy was asked for %q, want %q", k.why, asked, k.asked)
		}
	}
	if n := internal.connects.Load(); n != 0 {
		t.Errorf("the internal service was reached %d times", n)
	}
}

// proxyChild asks with a transport of our own and prints the answer.
func proxyChild() {
	net.DefaultResolver = (&names{answers: map[string][][]string{"direct.example": {{"127.0.0.1"}}}}).resolver()
	c, err := New(Config{Policy: Policy{AllowInsecureHTTP: true}})
	if err != nil {
		panic(err)
	}
	a, err := c.Get(context.Background(), Request{Leg: "metadata", URL: os.Getenv(child)})
	var f *wire.Fault
	switch {
	case err == nil:
		_, _ = os.Stdout.Write(a.Body)
	case errors.As(err, &f) && f.Unsent && !f.Temporary:
		_, _ = io.WriteString(os.Stdout, "refused")
	default:
		_, _ = io.WriteString(os.Stdout, err.Error())
	}
}

// nobody is an address where nobody listens. A port that was closed would not do: other programs on the
// machine take it.
const nobody = "http://127.0.0.1:1"

// TestFaultsSayWhatHappened, without the query: it may hold a code or a token.
func TestFaultsSayWhatHappened(t *testing.T) {
	resolve(t, nil)
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broken.Close() })
	go func() {
		for {
			c, err := broken.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = io.WriteString(c, "no HTTP\x1b[31m at all\r\n\r\n")
			_ = c.Close()
		}
	}()
	release := make(chan struct{})
	silent := startCanary(t, func(http.ResponseWriter, *http.Request) { <-release })
	stalled := startCanary(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	t.Cleanup(func() { close(release) }) // before the servers close, which wait for their handlers
	for _, k := range []struct {
		why, target       string
		temporary, unsent bool
		message           string
	}{
		{"unknown host", "http://unknown.example/t", true, true, "the host unknown.example is unknown"},
		{"nobody listens", nobody + "/t", true, true, "cannot be reached"},
		{"no HTTP", "http://" + broken.Addr().String() + "/t", true, false, "broke"},
		{"no answer", silent.URL + "/t", true, false, "did not answer in time"},
		{"half an answer", stalled.URL + "/t", true, false, "did not answer in time"},
		{"refused", "https://192.168.1.1/t", false, true, "192.168.1.1 is a private address"},
		{"no URL", "http://[::1/t", false, true, "not a URL"},
	} {
		limit := time.Duration(0)
		if strings.Contains(k.message, "in time") {
			limit = 300 * time.Millisecond
		}
		var heard []Exchange
		c := newClient(t, Config{
			Policy: Policy{Class: Loopback, AllowInsecureHTTP: true}, Trace: func(_ context.Context, e Exchange) { heard = append(heard, e) },
			HTTPClient: &http.Client{Timeout: limit},
		})
		_, err := c.PostForm(t.Context(), Request{Leg: "token", URL: k.target + "?code=SECRET"}, url.Values{"refresh_token": {"SECRET"}})
		if err == nil {
			t.Errorf("%s: %s answered", k.why, k.target)
			continue
		}
		f := faultOf(t, err)
		if f.Temporary != k.temporary || f.Unsent != k.unsent || !strings.Contains(f.Message, k.message) || f.Status != 0 || f.Hint == "" {
			t.Errorf("%s: the fault is %+v", k.why, f)
		}
		if s := fmt.Sprintf("%v %+v %v %v", err, *f, f.Err, heard); strings.Contains(s, "SECRET") || strings.ContainsRune(f.Message, '\x1b') {
			t.Errorf("%s: %q", k.why, s)
		}
		if len(heard) != 1 || heard[0].Leg != "token" || heard[0].Method != "POST" || heard[0].Err == nil || heard[0].Status != 0 || heard[0].URL != f.URL {
			t.Errorf("%s: the trace heard %+v", k.why, heard)
		}
	}
}

func TestTraceHearsEveryHop(t *testing.T) {
	s := startCanary(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			w.Header().Set("Location", "/b?code=SECRET")
			w.WriteHeader(http.StatusFound)
		}
	})
	var heard []string
	c := newClient(t, Config{Policy: Policy{Class: Loopback}, Trace: func(_ context.Context, e Exchange) {
		heard = append(heard, fmt.Sprintf("%s %s %s %d %v", e.Leg, e.Method, e.URL, e.Status, e.Err))
		if e.Start.IsZero() || e.Duration <= 0 {
			t.Errorf("no time in %+v", e)
		}
	}})
	if _, err := c.Get(t.Context(), Request{Leg: "metadata", URL: s.URL + "/a?token=SECRET"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"metadata GET " + s.URL + "/a 302 <nil>", "metadata GET " + s.URL + "/b 200 <nil>"}
	if strings.Join(heard, "\n") != strings.Join(want, "\n") {
		t.Errorf("heard %q, want %q", heard, want)
	}
}

func TestCancelledRequestIsNoFaultOfTheServer(t *testing.T) {
	arrived := make(chan struct{})
	release := make(chan struct{})
	s := startCanary(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-release })
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := newClient(t, Config{Policy: Policy{Class: Loopback}}).Get(ctx, Request{Leg: "metadata", URL: s.URL})
	if f := faultOf(t, err); !errors.Is(err, context.Canceled) || f.Temporary {
		t.Errorf("the fault is %+v", f)
	}
}

// TestTimeLimits: ten seconds for a document, all its redirects together, thirty for a form; a client's own
// limit counts where it is shorter.
func TestTimeLimits(t *testing.T) {
	for _, k := range []struct {
		why       string
		own       time.Duration
		get, post time.Duration
	}{
		{"ours", 0, getTimeout, postTimeout},
		{"a shorter one of the caller", 3 * time.Second, 3 * time.Second, 3 * time.Second},
		{"a longer one of the caller", time.Hour, getTimeout, postTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			hops := 0
			rt := roundTripper(func(r *http.Request) (*http.Response, error) {
				if hops++; r.Method == http.MethodGet && hops == 1 {
					time.Sleep(2 * time.Second)
					return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"/b"}}, Body: http.NoBody}, nil
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			c := newClient(t, Config{HTTPClient: &http.Client{Transport: rt, Timeout: k.own}})
			for _, leg := range []struct {
				name string
				send func() error
				want time.Duration
			}{
				{"get", func() error {
					_, err := c.Get(t.Context(), Request{Leg: "metadata", URL: "https://as.example/a"})
					return err
				}, k.get},
				{"post", func() error {
					_, err := c.PostForm(t.Context(), Request{Leg: "token", URL: "https://as.example/a"}, nil)
					return err
				}, k.post},
			} {
				start := time.Now()
				err := leg.send()
				if got := time.Since(start); got != leg.want || !faultOf(t, err).Temporary {
					t.Errorf("%s, %s: %v after %v, want %v", k.why, leg.name, err, got, leg.want)
				}
			}
		})
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	s := startCanary(t, nil)
	c := newClient(t, Config{Policy: Policy{Class: Loopback}, Header: http.Header{"X-Key": {"v"}}, HeaderOrigins: []string{s.URL}, Trace: func(context.Context, Exchange) {}})
	extra := http.Header{"X-Extra": {"v"}}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := c.PostForm(t.Context(), Request{Leg: "token", URL: s.URL, Header: extra}, url.Values{"a": {"b"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestTheDefaultTransportIsChecked gives a client that most programs have: http.DefaultTransport dials
// by itself, with a net.Dialer.
func TestTheDefaultTransportIsChecked(t *testing.T) {
	s := startCanary(t, nil)
	theirs := http.DefaultTransport.(*http.Transport).Clone()
	resolved := &net.Dialer{Resolver: &net.Resolver{}}
	theirs.DialContext = resolved.DialContext
	for name, tr := range map[string]*http.Transport{"a clone": http.DefaultTransport.(*http.Transport).Clone(), "a net.Dialer": theirs} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, Config{Policy: Policy{AllowInsecureHTTP: true}, HTTPClient: &http.Client{Transport: tr}})
			own, ok := c.rt.(*checked).next.(*http.Transport)
			if !ok {
				t.Fatalf("the transport is a %T", c.rt.(*checked).next)
			}
			if conn, err := own.DialContext(t.Context(), "tcp", s.Listener.Addr().String()); err == nil {
				_ = conn.Close()
				t.Error("a loopback address was connected to for a public server")
			}
			local := newClient(t, Config{Policy: Policy{Class: Loopback}, HTTPClient: &http.Client{Transport: tr}})
			a, err := local.Get(t.Context(), Request{Leg: "metadata", URL: "http://127.0.0.1:" + s.port() + "/"})
			body(t, a, err)
		})
	}
}

// TestCompressedDocuments: a server compresses whatever it can.
//
// It has a row in docs/compatibility.md.
func TestCompressedDocuments(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(`{"issuer":"x"}`))
		_ = z.Close()
	}))
	defer srv.Close()
	a, err := newClient(t, Config{Policy: Policy{Class: Loopback}}).Get(t.Context(), Request{Leg: "server-metadata", URL: srv.URL})
	if err != nil || string(a.Body) != `{"issuer":"x"}` || a.ContentType != "application/json" {
		t.Errorf("%+v, %v", a, err)
	}
}

// A proxy that refuses is told apart from the network: what it wants, and whether it may pass.
func TestAProxyThatRefuses(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		words     string
		temporary bool
	}{
		http.StatusProxyAuthRequired: {"wants a login (Negotiate, NTLM)", false},
		http.StatusForbidden:         {"does not let a connection to mcp.example.com through", false},
		http.StatusBadGateway:        {"cannot connect to mcp.example.com", true},
	} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Proxy-Authenticate"] = []string{"Negotiate", "NTLM"}
			w.WriteHeader(status)
		}))
		defer proxy.Close()
		at, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{HTTPClient: &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Get(t.Context(), Request{URL: "https://mcp.example.com/mcp"})
		var f *wire.Fault
		if !errors.As(err, &f) || !strings.Contains(f.Message, want.words) || !strings.Contains(f.Message, at.Host) || f.Temporary != want.temporary || !f.Unsent || !strings.Contains(f.Hint, "NO_PROXY") {
			t.Errorf("%d: %+v", status, f)
		}
	}
}
