package grant

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

func harmless(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			t.Errorf("%U is in %q", r, s)
		}
	}
}

// FuzzParseCallback reads what any page on the web can make a browser send to the callback.
func FuzzParseCallback(f *testing.F) {
	for _, s := range []string{
		"code=a&state=s&iss=i", "error=access_denied&error_description=x%1b%5b2J", "code=a&code=b", "error=&code=a", "code=%00", "code=a;state=b", "%zz", "state=", "code=\xff", "error=\u202e",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		v, _ := url.ParseQuery(raw)
		cb, err := ParseCallback(v)
		if err != nil {
			var fault *wire.Fault
			if !errors.As(err, &fault) || fault.Stage != "authorization" || !reflect.DeepEqual(cb, Callback{}) {
				t.Fatalf("%+v, %#v", cb, err)
			}
			harmless(t, fault.Error())
			return
		}
		code := cb.Code.Reveal()
		if (code == "") == (cb.Error == "") || cb.State != v.Get("state") || cb.Issuer != v.Get("iss") {
			t.Errorf("%+v", cb)
		}
		for _, k := range []string{"code", "state", "iss", "error"} {
			if len(v[k]) > 1 {
				t.Errorf("%s is there twice", k)
			}
		}
		if strings.ContainsFunc(code, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("the code is %q", code)
		}
		harmless(t, cb.Error)
		harmless(t, cb.ErrorDescription)
	})
}

// FuzzAuthorizationURL builds a URL from the words of a server: whatever they are, the server gets each parameter of the
// protocol once and with our value.
func FuzzAuthorizationURL(f *testing.F) {
	f.Add(issuer+"/authorize", "audience", "x", "a b")
	f.Add(issuer+"/authorize?client%5Fid=x", "State", "&state=y", "a&redirect_uri=x")
	f.Add(issuer+"/a?tenant=1#", "client_id", "x", "")
	f.Add("https://u@auth.example.com/?x=%0a", "scope", "x", "\x00")
	f.Fuzz(func(t *testing.T, endpoint, name, value, scope string) {
		r := usual()
		r.Endpoint, r.Extra, r.Scopes = endpoint, url.Values{name: {value}}, []string{scope}
		got, err := AuthorizationURL(r)
		if err != nil {
			var fault *wire.Fault
			if !errors.As(err, &fault) || fault.Stage != "authorization" || got != "" {
				t.Fatalf("%q, %#v", got, err)
			}
			harmless(t, fault.Error())
			harmless(t, fault.URL)
			return
		}
		u, err := url.Parse(got)
		if err != nil || len(got) > maxAuthorizationURL {
			t.Fatalf("%q: %v", got, err)
		}
		before, err := url.Parse(endpoint)
		if err != nil || u.Scheme != before.Scheme || u.Host != before.Host || u.EscapedPath() != before.EscapedPath() || u.User != nil || u.Fragment != "" {
			t.Errorf("%q became %q", endpoint, got)
		}
		q, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		for k, want := range usualQuery() {
			if k == "scope" {
				want = []string{scope}
			}
			if k == "prompt" && name == k || k == "scope" && scope == "" {
				continue
			}
			if !reflect.DeepEqual(q[k], want) {
				t.Errorf("%s is %q, want %q", k, q[k], want)
			}
		}
	})
}

// FuzzBasicAuthentication checks that what is sent is what a server decodes (RFC 6749 section 2.3.1).
func FuzzBasicAuthentication(f *testing.F) {
	f.Add(oddID, oddSecret)
	f.Add("a:b", "")
	f.Fuzz(func(t *testing.T, id, key string) {
		form, h := url.Values{}, http.Header{}
		if err := (ClientAuth{ID: id, Secret: secret.New(key), Method: methodBasic}).apply(form, h); err != nil {
			t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(h.Get("Authorization"), "Basic "))
		if err != nil || len(form) != 0 {
			t.Fatalf("%v, %v", h, form)
		}
		gotID, gotKey, _ := strings.Cut(string(b), ":")
		for got, want := range map[string]string{gotID: id, gotKey: key} {
			if s, err := url.QueryUnescape(got); id != key && (err != nil || s != want) {
				t.Errorf("%q became %q, want %q", got, s, want)
			}
		}
	})
}

type reply struct {
	status      int
	contentType string
	body        []byte
}

func (r reply) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: r.status, Header: http.Header{"Content-Type": {r.contentType}}, Body: io.NopCloser(strings.NewReader(string(r.body))), Request: req}, nil
}

// FuzzAnswers answers all requests of this package with foreign bytes.
func FuzzAnswers(f *testing.F) {
	f.Add(200, "application/json", []byte(good))
	f.Add(201, "application/json", []byte(`{"request_uri":"urn:x","expires_in":1e400}`))
	f.Add(401, "application/json", []byte(`{"error":"invalid_client","error_description":"\u001b[2J"}`))
	f.Add(200, "text/html", []byte(htmlPage))
	f.Add(400, "", []byte(`[{"error":"invalid_request","error_description":"client_secret"}]`))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		c := client(t, reply{status, contentType, body})
		auth := ClientAuth{ID: "id", Secret: secret.New("CANARY-secret"), Method: methodPost}
		const at = issuer + "/token"
		tok, _, err := Refresh(context.Background(), c, RefreshRequest{Endpoint: at, Auth: auth, RefreshToken: secret.New("CANARY-refresh")})
		code, used, cerr := ExchangeCode(context.Background(), c, CodeRequest{Endpoint: at, Auth: auth, Code: secret.New("CANARY-code"), Verifier: secret.New("CANARY-verifier")})
		pushed, perr := Push(context.Background(), c, at, auth, usual())
		uri, until := pushed.URI, pushed.Expiry
		rerr := Revoke(context.Background(), c, RevokeRequest{Endpoint: at, Auth: auth, Token: secret.New("CANARY-token")})
		derr := DeleteClient(context.Background(), c, at, secret.New("CANARY-manage"))
		if (tok == nil) == (err == nil) || (code == nil) != (tok == nil) || used != auth || (uri == "") == (perr == nil) || until.IsZero() != (perr != nil) {
			t.Errorf("%+v, %v; %+v, %v; %q, %v", tok, err, code, cerr, uri, perr)
		}
		for _, err := range []error{err, cerr, perr, rerr, derr} {
			var fault *wire.Fault
			if err == nil {
				continue
			}
			if !errors.As(err, &fault) || fault.Stage == "" || fault.Message == "" || fault.URL != at {
				t.Fatalf("%#v", err)
			}
			harmless(t, fault.Error()+fault.Hint)
			if strings.Contains(fault.Error(), "CANARY") && !strings.Contains(string(body), "CANARY") {
				t.Errorf("a secret is in %v", fault)
			}
		}
	})
}
