package grant

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	issuer   = "https://auth.example.com"
	redirect = "http://127.0.0.1:4000/callback"
	resource = "https://mcp.example.com/mcp"
)

// usual is an authorization request that has everything.
func usual() AuthorizationRequest {
	return AuthorizationRequest{
		Endpoint: issuer + "/authorize", ClientID: "client 1", RedirectURI: redirect, State: "st&te", Challenge: "challenge",
		Resource: resource, Scopes: []string{"a:b", "c/d"}, Prompt: "consent",
	}
}

func usualQuery() url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {"client 1"}, "redirect_uri": {redirect}, "state": {"st&te"}, "code_challenge": {"challenge"},
		"code_challenge_method": {"S256"}, "resource": {resource}, "scope": {"a:b c/d"}, "prompt": {"consent"},
	}
}

// query returns the parameters of an authorization URL, after a look at what is before them.
func query(t *testing.T, got, endpoint string) url.Values {
	t.Helper()
	at, q, ok := strings.Cut(got, "?")
	values, err := url.ParseQuery(q)
	if !ok || at != endpoint || err != nil || strings.Contains(got, "#") {
		t.Fatalf("got %s: %v", got, err)
	}
	return values
}

func TestTheAuthorizationURLHoldsEachParameterOnce(t *testing.T) {
	got, err := AuthorizationURL(usual())
	if err != nil {
		t.Fatal(err)
	}
	if q := query(t, got, issuer+"/authorize"); !reflect.DeepEqual(q, usualQuery()) {
		t.Errorf("got %v, want %v", q, usualQuery())
	}
	// A space as %20 or +, but never raw: the URL goes through a browser.
	if strings.ContainsAny(got, " \"<>\\^`{|}") {
		t.Errorf("got %s", got)
	}
}

func TestWhatIsEmptyIsLeftOut(t *testing.T) {
	r := usual()
	r.Resource, r.Scopes, r.Prompt = "", nil, ""
	got, err := AuthorizationURL(r)
	if err != nil {
		t.Fatal(err)
	}
	want := usualQuery()
	want.Del("resource")
	want.Del("scope")
	want.Del("prompt")
	if q := query(t, got, issuer+"/authorize"); !reflect.DeepEqual(q, want) {
		t.Errorf("got %v, want %v", q, want)
	}
}

// It has a row in docs/compatibility.md.
func TestAnEndpointWithAQuery(t *testing.T) {
	r := usual()
	r.Endpoint += "?tenant=1&x=a%20b&x=c&audience=old"
	r.Extra = url.Values{"audience": {"new"}}
	got, err := AuthorizationURL(r)
	if err != nil {
		t.Fatal(err)
	}
	want := usualQuery()
	want["tenant"], want["x"], want["audience"] = []string{"1"}, []string{"a b", "c"}, []string{"new"}
	if !strings.Contains(got, "?tenant=1&x=a%20b&x=c&audience=new&") {
		t.Errorf("it is not as it was: %s", got)
	}
	if q := query(t, got, issuer+"/authorize"); !reflect.DeepEqual(q, want) {
		t.Errorf("got %v, want %v", q, want)
	}
}

// All of OAuth's own parameters, as the specifications list them.
var protocolParameters = []string{
	"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "resource", "request", "request_uri",
	"code", "code_verifier", "grant_type", "refresh_token", "client_secret", "token", "token_type_hint",
}

// A server whose endpoint comes with parameters of the protocol would get them twice, or ours replaced.
func TestAnEndpointWithParametersOfTheProtocol(t *testing.T) {
	for _, k := range protocolParameters {
		for _, name := range []string{k, strings.ToUpper(k), strings.Replace(k, "_", "%5F", 1)} {
			r := usual()
			r.Endpoint += "?tenant=1&" + name + "=EVIL"
			got, err := AuthorizationURL(r)
			var f *wire.Fault
			if !errors.As(err, &f) || f.Stage != "authorization" || f.Temporary || f.Hint == "" || !strings.Contains(strings.ToLower(f.Message), k) {
				t.Errorf("%s: %s, %v", name, got, err)
				continue
			}
			if f.URL != issuer+"/authorize" || strings.Contains(f.Error(), "EVIL") {
				t.Errorf("%s: the query is in %+v", name, f)
			}
		}
	}
}

func TestExtraParametersCannotReplaceOurs(t *testing.T) {
	r := usual()
	r.Extra = url.Values{"audience": {"x", "y"}, "acr_values": {""}, "prompt": {"login"}}
	for _, k := range protocolParameters {
		r.Extra[k] = []string{"EVIL"}
	}
	got, err := AuthorizationURL(r)
	if err != nil {
		t.Fatal(err)
	}
	want := usualQuery()
	want["audience"], want["acr_values"], want["prompt"] = []string{"x", "y"}, []string{""}, []string{"login"}
	if q := query(t, got, issuer+"/authorize"); !reflect.DeepEqual(q, want) {
		t.Errorf("got %v, want %v", q, want)
	}
	// Nor can they add what we left out on purpose.
	r.Resource, r.Scopes = "", nil
	if got, err = AuthorizationURL(r); err != nil || strings.Contains(got, "EVIL") {
		t.Errorf("%s, %v", got, err)
	}
}

// A pushed request has been sent already: nothing of it goes through the browser.
func TestAPushedRequestIsReferredTo(t *testing.T) {
	r := usual()
	r.RequestURI, r.Extra = "urn:ietf:params:oauth:request_uri:x y", url.Values{"audience": {"x"}}
	got, err := AuthorizationURL(r)
	if err != nil {
		t.Fatal(err)
	}
	if q := query(t, got, issuer+"/authorize"); !reflect.DeepEqual(q, url.Values{"client_id": {"client 1"}, "request_uri": {r.RequestURI}}) {
		t.Errorf("got %v", q)
	}
}

func TestEndpointsThatNoBrowserShouldSee(t *testing.T) {
	for _, endpoint := range []string{
		"", "authorize", "/authorize", "https://", "javascript:alert(1)", "mailto:x@y", "https://%zz", issuer + "/authorize#x", "https://user:CANARY@auth.example.com/authorize",
		issuer + "/authorize?a=%zz", issuer + "/authorize?a;b=CANARY", "https://auth.example.com:port/",
	} {
		r := usual()
		r.Endpoint = endpoint
		got, err := AuthorizationURL(r)
		var f *wire.Fault
		if !errors.As(err, &f) || f.Stage != "authorization" || got != "" {
			t.Errorf("%q became %q, %v", endpoint, got, err)
			continue
		}
		if strings.Contains(f.Error()+f.URL, "CANARY") {
			t.Errorf("%q: %+v", endpoint, f)
		}
	}
}

func TestHowLongAnAuthorizationURLMayBe(t *testing.T) {
	r := usual()
	r.Scopes = []string{""}
	short, err := AuthorizationURL(r)
	if err != nil {
		t.Fatal(err)
	}
	left := 8<<10 - len(short) - len("&scope=")
	r.Scopes = []string{strings.Repeat("s", left)}
	if got, err := AuthorizationURL(r); err != nil || len(got) != 8<<10 {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	r.Scopes[0] += "s"
	r.Endpoint += "?k=CANARY"
	_, err = AuthorizationURL(r)
	var f *wire.Fault
	if !errors.As(err, &f) || f.Stage != "authorization" || !strings.Contains(f.Hint, "--scope") || strings.Contains(f.URL, "CANARY") {
		t.Errorf("%#v", err)
	}
}

func TestVerifiersAndStates(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		verifier, challenge := NewVerifier()
		v := verifier.Reveal()
		// RFC 7636 section 4.1: 43 to 128 characters of this alphabet.
		if len(v) != 43 || strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") != "" {
			t.Fatalf("the verifier is %q", v)
		}
		sum := sha256.Sum256([]byte(v))
		if want := strings.TrimRight(base64.URLEncoding.EncodeToString(sum[:]), "="); challenge != want {
			t.Fatalf("the challenge is %q, want %q", challenge, want)
		}
		s := NewState()
		if b, err := base64.RawURLEncoding.DecodeString(s); err != nil || len(b) != 32 {
			t.Fatalf("the state is %q", s)
		}
		for _, x := range []string{v, challenge, s} {
			if seen[x] {
				t.Fatalf("%q occurs twice", x)
			}
			seen[x] = true
		}
	}
}

func parse(t *testing.T, raw string) (Callback, error) {
	t.Helper()
	v, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	return ParseCallback(v)
}

func TestCallbacks(t *testing.T) {
	long := strings.Repeat("x", 8<<10)
	for raw, want := range map[string]Callback{
		"code=a&state=s":                 {State: "s"},
		"code=+~&state=s":                {State: "s"},
		"code=a+b%2F%3D&state=s&iss=i":   {State: "s", Issuer: "i", HasIssuer: true},
		"code=a&state=s&x=1&x=2&scope=y": {State: "s"},
		"code=" + long + "&state=s":      {State: "s"},
		"code=a":                         {},
		"error=access_denied&state=s":    {State: "s", Error: "access_denied"},
		"error=access_denied&error_description=no%1B%5B2J%0Away&state=s&iss=i": {State: "s", Issuer: "i", HasIssuer: true, Error: "access_denied", ErrorDescription: "no[2J way"},
		// An error counts although it comes with a code, and the code does not.
		"error=server_error&code=a&state=s":       {State: "s", Error: "server_error"},
		"error=&state=s":                          {State: "s", Error: "unknown_error"},
		"error=%1B&state=s":                       {State: "s", Error: "unknown_error"},
		"error=" + strings.Repeat("e", 100) + "&": {Error: strings.Repeat("e", 63) + "…"},
	} {
		got, err := parse(t, raw)
		code := got.Code.Reveal()
		got.Code = Callback{}.Code
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.60s: %+v, %v", raw, got, err)
		}
		v, _ := url.ParseQuery(raw)
		if wantCode := v.Get("code"); want.Error == "" && code != wantCode || want.Error != "" && code != "" {
			t.Errorf("%.60s: the code is %.60q", raw, code)
		}
	}
}

func TestCallbacksThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", 8<<10+1)
	for raw, word := range map[string]string{
		"":                                  "neither",
		"state=s":                           "neither",
		"code=&state=s":                     "neither",
		"state=s&iss=i&error_description=x": "neither",
		"code=a&code=b&state=s":             "code twice",
		"code=a&code=a&state=s":             "code twice",
		"code=a&state=s&state=t":            "state twice",
		"code=a&state=s&iss=i&iss=e":        "iss twice",
		"error=x&error=y&state=s":           "error twice",
		"error=x&error_description=1&error_description=2": "error_description twice",
		"error=x&error_uri=1&error_uri=2":                 "error_uri twice",
		"code=" + long + "&state=s":                       "code is too long",
		"code=a&state=" + long:                            "state is too long",
		"code=a&iss=" + long:                              "iss is too long",
		"error=x&error_description=" + long:               "error_description is too long",
		"code=CANARY%0D%0AX:+y&state=s":                   "characters",
		"code=CANARY%00&state=s":                          "characters",
		"code=CANARY%7F&state=s":                          "characters",
		"code=CANARY%C3%A9&state=s":                       "characters",
		"code=CANARY%1B%5B2J&state=s":                     "characters",
	} {
		got, err := parse(t, raw)
		var f *wire.Fault
		if !errors.As(err, &f) || f.Stage != "authorization" || f.Temporary || f.Hint == "" || !strings.Contains(f.Message, word) {
			t.Errorf("%.60s: %+v, %v", raw, got, err)
			continue
		}
		if !reflect.DeepEqual(got, Callback{}) || strings.Contains(f.Error(), "CANARY") {
			t.Errorf("%.60s: something is left: %+v, %v", raw, got, f)
		}
	}
}

// The parameters are an application's: they may come from a map that has more than a query can.
func TestACallbackIsNotChanged(t *testing.T) {
	v := url.Values{"code": {"a"}, "state": {}, "iss": nil}
	if cb, err := ParseCallback(v); err != nil || cb.State != "" || cb.Issuer != "" || !reflect.DeepEqual(v, url.Values{"code": {"a"}, "state": {}, "iss": nil}) {
		t.Errorf("%+v, %v, %v", cb, err, v)
	}
}

// RFC 9207 section 2.4, which holds for errors too: an error response is read like a code, so that anyone who reads it
// can look at state and iss before anything else of it.
//
// It has a row in docs/compatibility.md.
func TestIssInTheCallback(t *testing.T) {
	for _, answer := range []string{"code=a", "error=access_denied&error_description=EVIL"} {
		for _, c := range []struct {
			iss      string
			promised bool
			ok       bool
		}{
			{"", false, true},
			{"", true, false},
			{"&iss=" + issuer, false, true},
			{"&iss=" + issuer, true, true},
			{"&iss=https://evil.example.net", false, false},
			{"&iss=https://evil.example.net", true, false},
			// Byte by byte: the server writes the name that it documents.
			{"&iss=" + issuer + "/", false, false},
			{"&iss=" + issuer + ":443", false, false},
			{"&iss=HTTPS://auth.example.com", false, false},
			{"&iss=https://AUTH.example.com", false, false},
			{"&iss=" + issuer + "%20", false, false},
			{"&iss=", false, false},
			{"&iss=", true, false},
			{"&iss", false, false},
		} {
			raw := answer + "&state=s" + c.iss
			v, err := url.ParseQuery(raw)
			if err != nil {
				t.Fatal(err)
			}
			cb, err := ParseCallback(v)
			if err != nil || cb.State != "s" {
				t.Fatalf("%s: %+v, %v", raw, cb, err)
			}
			err = cb.CheckIssuer(ExpectedIssuer{Issuer: issuer, Promised: c.promised})
			if c.ok {
				if err != nil {
					t.Errorf("%s, promised %t: %v", raw, c.promised, err)
				}
				continue
			}
			var f *wire.Fault
			if !errors.As(err, &f) || f.Stage != "authorization" || f.Temporary || f.URL != issuer || f.Hint == "" {
				t.Errorf("%s, promised %t: %#v", raw, c.promised, err)
				continue
			}
			// What a stranger wrote is not repeated, but for the issuer that the callback names.
			if strings.Contains(f.Error()+f.Hint, "EVIL") {
				t.Errorf("%s: %v", raw, f)
			}
		}
	}
}

func TestWhichOfBothFaultsOfTheIssuer(t *testing.T) {
	expected := ExpectedIssuer{Issuer: issuer, Promised: true}
	other, missing := Callback{Issuer: "https://e", HasIssuer: true}.CheckIssuer(expected), Callback{}.CheckIssuer(expected)
	if !strings.Contains(other.Error(), "another authorization server") || !strings.Contains(missing.Error(), "does not say") {
		t.Errorf("%v, %v", other, missing)
	}
}
