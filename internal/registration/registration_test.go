package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	byAddress = "http://127.0.0.1:4000/callback"
	byName    = "http://localhost:4000/callback"
)

// server is a registration endpoint that answers each request with the next of its answers, and then with
// the last one for ever.
type server struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	answers  []http.HandlerFunc
	requests []*http.Request
	bodies   []map[string]any
}

func newServer(t *testing.T, answers ...http.HandlerFunc) *server {
	t.Helper()
	s := &server{t: t, answers: answers}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(b, &body)
	}
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Accept") != "application/json" {
		s.t.Errorf("%s %s %v %q: %v", r.Method, r.URL, r.Header, b, err)
	}
	s.mu.Lock()
	s.requests, s.bodies = append(s.requests, r), append(s.bodies, body)
	next := s.answers[0]
	s.answers = s.answers[min(1, len(s.answers)-1):]
	s.mu.Unlock()
	next(w, r)
}

// sent returns what was sent.
func (s *server) sent() ([]*http.Request, []map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests), slices.Clone(s.bodies)
}

func client(t testing.TB, rt http.RoundTripper) *netguard.Client {
	t.Helper()
	if rt == nil {
		rt = &http.Transport{DisableKeepAlives: true}
	}
	c, err := netguard.New(netguard.Config{Policy: netguard.Policy{Class: netguard.Loopback}, HTTPClient: &http.Client{Transport: rt}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(status int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func asJSON(status int, body string, header ...string) http.HandlerFunc {
	return answer(status, "application/json", body, header...)
}

func refusal(code, description string) http.HandlerFunc {
	return asJSON(400, fmt.Sprintf(`{"error":%q,"error_description":%q}`, code, description))
}

// broken ends the connection without an answer.
func broken(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const (
	good     = `{"client_id":"id","redirect_uris":["` + byAddress + `"]}`
	htmlPage = "<!doctype html><html>CANARY</html>"
)

// usual is what the library asks for.
func usual(endpoint string) Request {
	return Request{
		Endpoint: endpoint, RedirectURIs: []string{byAddress, byName}, ClientName: "my program", ApplicationType: "native",
		GrantTypes: []string{"authorization_code", "refresh_token"}, NeededGrants: []string{"authorization_code"}, Scope: "a b", LoginScope: "a", AuthMethod: "none",
		SoftwareID: "soft", SoftwareVersion: "1.2", ByHand: "register a client by hand with " + byAddress + " and give --client-id",
	}
}

func usualBody() map[string]any {
	return map[string]any{
		"redirect_uris": []any{byAddress, byName}, "client_name": "my program", "application_type": "native", "grant_types": []any{"authorization_code", "refresh_token"},
		"response_types": []any{"code"}, "scope": "a b", "token_endpoint_auth_method": "none", "software_id": "soft", "software_version": "1.2",
	}
}

// changed returns the usual body with other members; nil leaves one out.
func changed(members map[string]any) map[string]any {
	m := usualBody()
	for k, v := range members {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	return m
}

func TestWhatIsSent(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Request)
		want   map[string]any
		header string
	}{
		"all":      {func(*Request) {}, usualBody(), ""},
		"one URI":  {func(r *Request) { r.RedirectURIs = r.RedirectURIs[:1] }, changed(map[string]any{"redirect_uris": []any{byAddress}}), ""},
		"web":      {func(r *Request) { r.ApplicationType = "web" }, changed(map[string]any{"application_type": "web"}), ""},
		"a secret": {func(r *Request) { r.AuthMethod = "client_secret_post" }, changed(map[string]any{"token_endpoint_auth_method": "client_secret_post"}), ""},
		"what is empty is left out": {
			func(r *Request) {
				*r = Request{Endpoint: r.Endpoint, RedirectURIs: r.RedirectURIs, GrantTypes: r.GrantTypes}
			},
			map[string]any{"redirect_uris": []any{byAddress, byName}, "grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"}},
			"",
		},
		"software statement":   {func(r *Request) { r.SoftwareStatement = "eyJ.x.y" }, changed(map[string]any{"software_statement": "eyJ.x.y"}), ""},
		"initial access token": {func(r *Request) { r.InitialAccessToken = secret.New("iat") }, usualBody(), "Bearer iat"},
		"more members": {
			func(r *Request) {
				r.Extra = map[string]any{"contacts": []string{"a@b.example"}, "policy_uri": "https://x", "jwks": map[string]any{"keys": []any{}}}
			},
			changed(map[string]any{"contacts": []any{"a@b.example"}, "policy_uri": "https://x", "jwks": map[string]any{"keys": []any{}}}), "",
		},
		"replaced members": {
			func(r *Request) {
				r.Extra = map[string]any{"client_name": "other", "scope": "c", "software_id": "", "software_version": 2}
			},
			changed(map[string]any{"client_name": "other", "scope": "c", "software_id": "", "software_version": 2.0}), "",
		},
		"members of the flow cannot be replaced": {
			func(r *Request) {
				r.Extra = map[string]any{
					"redirect_uris": []string{"https://evil.example.net"}, "grant_types": []string{"password"}, "response_types": []string{"token"},
					"token_endpoint_auth_method": "tls_client_auth", "application_type": "web", "software_statement": "EVIL",
				}
			}, usualBody(), "",
		},
		"nor added": {
			func(r *Request) {
				r.ApplicationType, r.AuthMethod = "", ""
				r.Extra = map[string]any{"token_endpoint_auth_method": "none", "application_type": "web", "software_statement": "EVIL"}
			}, changed(map[string]any{"token_endpoint_auth_method": nil, "application_type": nil}), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, asJSON(201, good))
			r := usual(s.URL + "/register?tenant=1")
			c.change(&r)
			before := maps.Clone(r.Extra)
			reg, err := Register(context.Background(), client(t, nil), r)
			if err != nil || reg.ClientID != "id" {
				t.Fatalf("%+v, %v", reg, err)
			}
			requests, bodies := s.sent()
			if len(requests) != 1 || !reflect.DeepEqual(bodies[0], c.want) {
				t.Errorf("%d requests, sent\n%v\nwant\n%v", len(requests), bodies[0], c.want)
			}
			if got := requests[0].Header["Authorization"]; strings.Join(got, ",") != c.header || requests[0].RequestURI != "/register?tenant=1" {
				t.Errorf("%v at %s", got, requests[0].RequestURI)
			}
			if !reflect.DeepEqual(before, r.Extra) {
				t.Errorf("the caller's metadata became %v", r.Extra)
			}
		})
	}
}

// What a trace calls the request is what a person reads.
func TestTheRequestHasAName(t *testing.T) {
	s := newServer(t, asJSON(201, good))
	var legs []string
	c, err := netguard.New(netguard.Config{Policy: netguard.Policy{Class: netguard.Loopback}, Trace: func(_ context.Context, e netguard.Exchange) { legs = append(legs, e.Leg) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Register(context.Background(), c, usual(s.URL)); err != nil || !slices.Equal(legs, []string{"registration"}) {
		t.Errorf("%v, %v", legs, err)
	}
}

func TestNothingIsSentThatCannotWork(t *testing.T) {
	s := newServer(t, asJSON(201, good))
	for name, change := range map[string]func(*Request){
		"no redirect URI":   func(r *Request) { r.RedirectURIs = nil },
		"no JSON":           func(r *Request) { r.Extra = map[string]any{"x": make(chan int)} },
		"a private address": func(r *Request) { r.Endpoint = "https://10.0.0.1/register" },
		"plain http":        func(r *Request) { r.Endpoint = "http://auth.example.com/register" },
		"no URL":            func(r *Request) { r.Endpoint = "register" },
	} {
		r := usual(s.URL)
		change(&r)
		_, err := Register(context.Background(), client(t, nil), r)
		var f *wire.Fault
		if !errors.As(err, &f) || f.Stage != "registration" || f.Temporary || f.Message == "" {
			t.Errorf("%s: %#v", name, err)
		}
	}
	if requests, _ := s.sent(); len(requests) != 0 {
		t.Errorf("%d requests", len(requests))
	}
}

// It has a row in docs/compatibility.md.
func TestAnySuccessOfARegistration(t *testing.T) {
	for name, page := range map[string]http.HandlerFunc{
		"200": asJSON(200, good), "201": asJSON(201, good), "202": asJSON(202, good), "BOM": asJSON(201, "\xef\xbb\xbf"+good), "called text": answer(201, "text/plain", good),
		"odd members": asJSON(201, `{"client_id":"id","client_secret":null,"client_uri":"","contacts":null,"jwks_uri":7,"redirect_uris":["https://other.example/cb"],"grant_types":["x"],"issuer":"https://honest.example"}`),
	} {
		s := newServer(t, page)
		reg, err := Register(context.Background(), client(t, nil), usual(s.URL))
		if err != nil || reg.ClientID != "id" || reg.AuthMethod != "none" || !reg.ClientSecret.IsZero() {
			t.Errorf("%s: %+v, %v", name, reg, err)
		}
	}
}

func TestHowTheServerWantsTheClientToAuthenticate(t *testing.T) {
	for _, c := range []struct {
		secret, method, want, fault string
	}{
		{"", "", "none", ""},
		{"s", "", "client_secret_basic", ""},
		{"", "none", "none", ""},
		// The server's word counts, whatever was asked for (RFC 7591 section 3.2.1).
		{"s", "none", "none", ""},
		{"s", "client_secret_post", "client_secret_post", ""},
		{"s", "client_secret_basic", "client_secret_basic", ""},
		{"", "client_secret_post", "", "got no secret"},
		{"", "client_secret_basic", "", "got no secret"},
		{"s", "private_key_jwt", "", `"private_key_jwt", which is not supported`},
		{"s", "client_secret_jwt", "", "not supported"},
		{"", "tls_client_auth", "", "not supported"},
		{"s", "NONE", "", "not supported"},
		{"s", "x\x1b[2J", "", "not supported"},
	} {
		body, _ := json.Marshal(map[string]string{"client_id": "id", "client_secret": c.secret, "token_endpoint_auth_method": c.method})
		s := newServer(t, asJSON(201, string(body)))
		reg, err := Register(context.Background(), client(t, nil), usual(s.URL))
		if c.fault == "" {
			if err != nil || reg.AuthMethod != c.want || reg.ClientSecret.Reveal() != c.secret {
				t.Errorf("%+v: %+v, %v", c, reg, err)
			}
			continue
		}
		var f *wire.Fault
		if !errors.As(err, &f) || f.Temporary || f.Stage != "registration" || f.Status != 201 || !strings.Contains(f.Message, c.fault) || !strings.Contains(f.Hint, "--client-id") || strings.Contains(f.Message, "\x1b") {
			t.Errorf("%+v: %+v", c, f)
		}
		// A second registration would not be better.
		if requests, _ := s.sent(); len(requests) != 1 {
			t.Errorf("%+v: %d requests", c, len(requests))
		}
	}
}

func TestWhenASecretEnds(t *testing.T) {
	now := time.Now()
	for lit, want := range map[string]string{
		`0`: "never", `-1`: "never", `"abc"`: "never", `null`: "never", `1e18`: "never",
		`1`: "over", `"1"`: "over", `1.7e12`: "over", fmt.Sprint(now.Unix() - 1): "over", fmt.Sprint(now.Unix()): "over",
		fmt.Sprint(now.Unix() + 3600): "in time", fmt.Sprintf(`"%d"`, now.Unix()+3600): "in time", fmt.Sprint(now.UnixMilli() + 3600_000): "in time",
	} {
		s := newServer(t, asJSON(201, `{"client_id":"id","client_secret":"CANARY","client_secret_expires_at":`+lit+`}`))
		reg, err := Register(context.Background(), client(t, nil), usual(s.URL))
		var f *wire.Fault
		switch want {
		case "over":
			if !errors.As(err, &f) || !strings.Contains(f.Message, "already expired") || f.Temporary || strings.Contains(fmt.Sprintf("%+v", *f), "CANARY") {
				t.Errorf("%s: %+v, %v", lit, reg, err)
			}
		case "never":
			if err != nil || !reg.SecretExpiry.IsZero() {
				t.Errorf("%s: %+v, %v", lit, reg, err)
			}
		default:
			if err != nil || reg.SecretExpiry.Unix() != now.Unix()+3600 {
				t.Errorf("%s: %+v, %v", lit, reg, err)
			}
		}
	}
}

func TestAnswersThatAreNoClient(t *testing.T) {
	for name, c := range map[string]struct {
		page         http.HandlerFunc
		code         string
		status       int
		temporary    bool
		says, advice string
	}{
		"invalid metadata":       {refusal("invalid_client_metadata", "no logo"), "invalid_client_metadata", 400, false, "refused to register", byAddress},
		"statement not approved": {refusal("unapproved_software_statement", ""), "unapproved_software_statement", 400, false, "refused to register", "--client-id"},
		"wants a token: 401":     {asJSON(401, `{"error":"invalid_token"}`), "invalid_token", 401, false, "refused to register", "--initial-access-token-file"},
		"wants a token: 403":     {asJSON(403, `{"message":"CANARY-free"}`), "", 403, false, "refused to register", "--initial-access-token-file"},
		"401 without anything":   {answer(401, "", ""), "", 401, false, "refused to register", "--initial-access-token-file"},
		"an error in a 200":      {asJSON(200, `{"error":"invalid_client_metadata"}`), "invalid_client_metadata", 200, false, "refused to register", "--client-id"},
		"another error in a 200": {asJSON(200, `{"ok":false}`), "", 200, false, "refused to register", "--client-id"},
		"no such endpoint":       {answer(404, "text/html", htmlPage), "", 404, false, "refused to register", "--client-id"},
		"method not allowed":     {answer(405, "text/plain", "CANARY"), "", 405, false, "refused to register", "--client-id"},
		"firewall's page":        {answer(403, "text/html", htmlPage), "", 403, true, "web page", "firewall"},
		"page with status 200":   {answer(200, "text/html", htmlPage), "", 200, true, "web page", "firewall"},
		"500":                    {answer(500, "text/plain", "CANARY"), "", 500, true, "cannot be read", ""},
		"503 with a code":        {asJSON(503, `{"error":"overloaded"}`), "overloaded", 503, true, "cannot register a client at the moment", ""},
		"503 with a text":        {asJSON(503, `{"message":"later"}`), "", 503, true, "cannot register a client at the moment", ""},
		"server_error":           {refusal("server_error", ""), "server_error", 400, true, "at the moment", ""},
		"429":                    {answer(429, "", ""), "", 429, true, "", ""},
		"429, a long time":       {answer(429, "", "", "Retry-After", "6"), "", 429, true, "", ""},
		"no answer":              {broken, "", 0, true, "broke", ""},
		"cut off on the way":     {asJSON(201, good[:9], "Content-Length", "99"), "", 0, true, "broke", ""},
		"too long":               {asJSON(201, strings.Repeat(" ", 2<<20)), "", 0, true, "not read", ""},
		"a redirect":             {answer(307, "", "", "Location", "/elsewhere"), "", 307, false, "redirect", ""},
		"empty":                  {asJSON(201, ""), "", 201, false, "cannot be used: empty", "at fault"},
		"cut off":                {asJSON(201, good[:9]), "", 201, false, "cannot be used: not valid JSON", "at fault"},
		"no client_id":           {asJSON(201, `{"client_secret":"CANARY"}`), "", 201, false, "no client_id", "at fault"},
		"client_id empty":        {asJSON(201, `{"client_id":""}`), "", 201, false, "no client_id", "at fault"},
		"client_id with a break": {asJSON(201, `{"client_id":"a\r\nb"}`), "", 201, false, "client_id is too long or has", "at fault"},
		"secret with a break":    {asJSON(201, `{"client_id":"a","client_secret":"CANARY\n"}`), "", 201, false, "client_secret is too long or has", "at fault"},
		"client_id twice":        {asJSON(201, `{"client_id":"a","client_id":"b"}`), "", 201, false, "occurs twice", "at fault"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c.page)
			r := usual(s.URL + "/register?k=CANARY")
			r.RedirectURIs, r.InitialAccessToken = r.RedirectURIs[:1], secret.New("CANARY")
			reg, err := Register(context.Background(), client(t, nil), r)
			var f *wire.Fault
			if reg != nil || !errors.As(err, &f) {
				t.Fatalf("%+v, %v", reg, err)
			}
			if f.Stage != "registration" || f.URL != s.URL+"/register" || f.Code != c.code || f.Status != c.status || f.Temporary != c.temporary || !strings.Contains(f.Message, c.says) || f.Message == "" || !strings.Contains(f.Hint, c.advice) {
				t.Errorf("%+v", f)
			}
			if all := fmt.Sprintf("%+v %v", *f, f); strings.Contains(strings.ReplaceAll(all, "CANARY-free", ""), "CANARY") {
				t.Errorf("a secret is in %s", all)
			}
			if requests, _ := s.sent(); len(requests) != 1 {
				t.Errorf("%d requests", len(requests))
			}
		})
	}
}

func TestHintsAboutTheRedirectURI(t *testing.T) {
	for uri, other := range map[string]string{byAddress: "localhost", byName: "127.0.0.1", "http://[::1]:4000/callback": "localhost"} {
		for _, page := range []http.HandlerFunc{refusal("invalid_redirect_uri", ""), refusal("invalid_client_metadata", "Redirect URI not allowed"), asJSON(422, `{"message":"bad redirect"}`)} {
			s := newServer(t, page)
			r := usual(s.URL)
			r.RedirectURIs, r.ByHand = []string{uri}, "register "+uri
			_, err := Register(context.Background(), client(t, nil), r)
			var f *wire.Fault
			if !errors.As(err, &f) || !strings.Contains(f.Hint, "--callback-host "+other) || !strings.Contains(f.Hint, uri) {
				t.Errorf("%s: %+v", uri, f)
			}
		}
	}
}

// bubble answers on the clock of a synctest bubble.
type bubble struct {
	start   time.Time
	answers []http.HandlerFunc
	at      []time.Duration
}

func (b *bubble) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	b.answers[min(len(b.at), len(b.answers)-1)](rec, r)
	b.at = append(b.at, time.Since(b.start))
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

// It has a row in docs/compatibility.md.
func TestARegistrationThatAsksForAPause(t *testing.T) {
	busy := func(after string) http.HandlerFunc { return asJSON(429, `{"error":"slow_down"}`, "Retry-After", after) }
	ok := asJSON(201, good)
	for name, c := range map[string]struct {
		answers []http.HandlerFunc
		at      []time.Duration
		ok      bool
	}{
		"a short one":           {[]http.HandlerFunc{busy("5"), ok}, []time.Duration{0, 5 * time.Second}, true},
		"too long for a person": {[]http.HandlerFunc{busy("6"), ok}, []time.Duration{0}, false},
		"none":                  {[]http.HandlerFunc{busy("0"), ok}, []time.Duration{0}, false},
		"once":                  {[]http.HandlerFunc{busy("1"), busy("1"), ok}, []time.Duration{0, time.Second}, false},
		"between refusals":      {[]http.HandlerFunc{refusal("invalid_scope", ""), busy("2"), refusal("x", "application_type"), ok}, []time.Duration{0, 0, 2 * time.Second, 2 * time.Second}, true},
		"503 is no answer":      {[]http.HandlerFunc{answer(503, "", "", "Retry-After", "1"), ok}, []time.Duration{0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bubble{start: time.Now(), answers: c.answers}
				_, err := Register(t.Context(), client(t, b), usual("https://auth.example.com/register"))
				var f *wire.Fault
				if !slices.Equal(b.at, c.at) || (err == nil) != c.ok || !c.ok && (!errors.As(err, &f) || !f.Temporary) {
					t.Errorf("asked at %v, %v", b.at, err)
				}
			})
		})
	}
}

func TestAPauseIsCutShortByTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		b := &bubble{start: time.Now(), answers: []http.HandlerFunc{answer(429, "", "", "Retry-After", "5")}}
		_, err := Register(ctx, client(t, b), usual("https://auth.example.com/register"))
		var f *wire.Fault
		if took := time.Since(b.start); took != 2*time.Second || len(b.at) != 1 || !errors.As(err, &f) || f.Status != 429 {
			t.Errorf("%v after %v and %d requests", err, took, len(b.at))
		}
	})
}

func TestChooseAuthMethod(t *testing.T) {
	for _, c := range []struct {
		supported, public, confidential string
	}{
		{"", "none", "client_secret_basic"}, // no list (RFC 8414 section 2)
		{"none", "none", "client_secret_post"},
		{"client_secret_basic", "client_secret_basic", "client_secret_basic"},
		{"client_secret_post", "client_secret_post", "client_secret_post"},
		{"client_secret_basic client_secret_post", "client_secret_post", "client_secret_basic"},
		{"client_secret_post client_secret_basic none", "none", "client_secret_basic"},
		{"private_key_jwt", "none", "client_secret_post"},
		{"private_key_jwt client_secret_basic", "client_secret_basic", "client_secret_basic"},
		{"tls_client_auth none", "none", "client_secret_post"},
	} {
		list := strings.Fields(c.supported)
		if got := AuthMethodWithoutSecret(list); got != c.public {
			t.Errorf("%q without a secret: %s", c.supported, got)
		}
		if got := AuthMethodWithSecret(list); got != c.confidential {
			t.Errorf("%q with a secret: %s", c.supported, got)
		}
	}
	if AuthMethodWithoutSecret(nil) != "none" || AuthMethodWithSecret(nil) != "client_secret_basic" {
		t.Error("no list is not an empty one")
	}
}

func TestCheckMetadataURL(t *testing.T) {
	for raw, word := range map[string]string{
		"https://app.example.com/client.json":   "",
		"https://app.example.com/a/b/":          "",
		"https://app.example.com:8443/c?v=1":    "",
		"https://app.example.com":               "no path",
		"https://app.example.com/":              "no path",
		"http://app.example.com/client.json":    "not https",
		"http://localhost/client.json":          "not https",
		"app.example.com/client.json":           "not an absolute URL",
		"/client.json":                          "not an absolute URL",
		"https:///client.json":                  "not an absolute URL",
		"https://:443/client.json":              "not an absolute URL",
		"https://%zz/":                          "not an absolute URL",
		"":                                      "not an absolute URL",
		"https://user:CANARY@app.example.com/c": "user name",
		"https://app.example.com/c#x":           "fragment",
		"https://app.example.com/c#":            "fragment",
		"https://app.example.com/a/../c":        "dot segments",
		"https://app.example.com/./c":           "dot segments",
		"https://app.example.com/a/%2e%2e/c":    "dot segments",
		"https://app.example.com/a//c":          "dot segments",
		"https://app.example.com/c/..":          "dot segments",
		"https://app.example.com//":             "no path",
	} {
		err := CheckMetadataURL(raw)
		if (err == nil) != (word == "") || err != nil && (!strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "CANARY")) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// TestServes: a server that registers other redirect URIs than ours leads into a dead end.
func TestServes(t *testing.T) {
	for name, c := range map[string]struct {
		uris   string // a JSON value
		serves bool
	}{
		"ours":              {`["` + byAddress + `"]`, true},
		"ours among others": {`["https://other.example/cb","` + byAddress + `"]`, true},
		"another port":      {`["http://127.0.0.1:9/callback"]`, true},
		"no port":           {`["http://127.0.0.1/callback"]`, true},
		"null":              {`null`, true},
		"an empty list":     {`[]`, true},
		"as a text":         {`"` + byAddress + `"`, true},
		"foreign ones":      {`["https://other.example/cb","urn:x"]`, false},
		"a foreign text":    {`"https://other.example/cb"`, false},
		"another path":      {`["http://127.0.0.1:4000/other"]`, false},
		"another spelling":  {`["` + byName + `"]`, false},
		"another scheme":    {`["https://127.0.0.1:4000/callback"]`, false},
		"with a query":      {`["` + byAddress + `?x"]`, false},
		"with a fragment":   {`["http://127.0.0.1:4/callback#x"]`, false},
		"with a user":       {`["http://u@127.0.0.1:4/callback"]`, false},
		"what is not a URL": {`["http://%zz"]`, false},
	} {
		reg, err := wire.ParseRegistration([]byte(`{"client_id":"id","redirect_uris":` + c.uris + `}`))
		if err != nil || Serves(reg.RedirectURIs, byAddress) != c.serves {
			t.Errorf("%s: %+v, %v", name, reg, err)
		}
	}
	// The port is only another one on a loopback address.
	if Serves([]string{"https://app.example:8443/cb"}, "https://app.example/cb") {
		t.Error("another port of another machine")
	}
}

// TestManagementAddressElsewhere: the registration access token is a secret, so it goes to the site of the
// registration endpoint only.
func TestManagementAddressElsewhere(t *testing.T) {
	for uri, kept := range map[string]bool{"SELF/manage": true, "https://evil.example.net/manage?SECRET": false, "http://127.0.0.1.evil.example/m": false, "%zz": false} {
		s := newServer(t, nil)
		s.answers[0] = func(w http.ResponseWriter, r *http.Request) {
			asJSON(201, `{"client_id":"id","registration_access_token":"TOKEN","registration_client_uri":"`+strings.Replace(uri, "SELF", s.URL, 1)+`"}`)(w, r)
		}
		for _, allow := range []bool{false, true} {
			reg, err := Register(t.Context(), client(t, nil), Request{Endpoint: s.URL, RedirectURIs: []string{byAddress}, AllowForeignEndpoints: allow})
			if err != nil {
				t.Fatal(err)
			}
			want := kept || allow
			if (reg.RegistrationClientURI != "") != want || reg.RegistrationAccessToken.IsZero() == want || (len(reg.Notes) == 0) != want || strings.Contains(strings.Join(reg.Notes, ""), "SECRET") {
				t.Errorf("%s, allowed %t: %+v", uri, allow, reg)
			}
		}
	}
}
