package grant

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// requestsOfEveryKind are those that a client authenticates with: what a good answer is, and the request.
var requestsOfEveryKind = map[string]struct {
	good string
	send func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error)
}{
	"a code": {good, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		_, a, err := ExchangeCode(ctx, c, CodeRequest{Endpoint: url, Auth: auth, Code: secret.New("code")})
		return a, err
	}},
	"a refresh": {good, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		_, a, err := Refresh(ctx, c, RefreshRequest{Endpoint: url, Auth: auth, RefreshToken: secret.New("rt")})
		return a, err
	}},
	"client credentials": {good, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		_, a, err := Machine(ctx, c, MachineRequest{Endpoint: url, Auth: auth, Type: TypeClientCredentials})
		return a, err
	}},
	"an assertion": {good, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		_, a, err := Machine(ctx, c, MachineRequest{Endpoint: url, Auth: auth, Type: TypeJWTBearer, Assertion: secret.New("jwt")})
		return a, err
	}},
	"a device authorization": {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d"}`, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		_, a, err := StartDevice(ctx, c, DeviceRequest{Endpoint: url, Auth: auth})
		return a, err
	}},
	"a poll": {good, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		r := DevicePoll{Endpoint: url, Auth: auth, Device: &Device{Code: secret.New("d")}}
		_, _, err := PollDevice(ctx, c, &r)
		return r.Auth, err
	}},
	"a pushed request": {`{"request_uri":"urn:x"}`, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		p, err := Push(ctx, c, url, auth, AuthorizationRequest{})
		return p.Auth, err
	}},
	"a revocation": {`{}`, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		return auth, Revoke(ctx, c, RevokeRequest{Endpoint: url, Auth: auth, Token: secret.New("rt")})
	}},
	"an ID-JAG": {`{"access_token":"jag","issued_token_type":"` + idJAG + `"}`, func(ctx context.Context, c *netguard.Client, url string, auth ClientAuth) (ClientAuth, error) {
		_, err := ExchangeForIDJAG(ctx, c, IDJAGRequest{Endpoint: url, Auth: auth, IDToken: secret.New("id")})
		return auth, err
	}},
}

// direct is a server without a network. It counts the requests.
type direct struct {
	h http.HandlerFunc
	n int
}

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	d.n++
	w := httptest.NewRecorder()
	d.h(w, r)
	return w.Result(), nil
}

const endpoint = "http://127.0.0.1:1/token"

// takes returns a server that takes a secret in one way only and answers the other with refusal.
func takes(method, body string, refusal http.HandlerFunc) *direct {
	return &direct{h: func(w http.ResponseWriter, r *http.Request) {
		if _, _, basic := r.BasicAuth(); basic == (method == methodBasic) {
			asJSON(200, body)(w, r)
			return
		}
		refusal(w, r)
	}}
}

// TestASecretIsSentInTheOtherWay in a request of any kind, once, whatever the answer that says that the client was not
// authenticated.
func TestASecretIsSentInTheOtherWay(t *testing.T) {
	t.Parallel()
	refusals := map[string]http.HandlerFunc{
		"401 invalid_client":            asJSON(401, `{"error":"invalid_client"}`),
		"400 invalid_client":            asJSON(400, `{"error":"invalid_client"}`),
		"401 unauthorized_client":       asJSON(401, `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`),
		"401 without a body":            answer(401, "", "", "WWW-Authenticate", "Basic"),
		"401 access_denied":             asJSON(401, `{"error":"access_denied","error_description":"Unauthorized"}`),
		"400 invalid_request, ID":       asJSON(400, `{"error":"invalid_request","error_description":"The request is missing the required parameter: client_id"}`),
		"400 invalid_request, secret":   asJSON(400, `{"error":"invalid_request","error_description":"Client secret is required"}`),
		"401 invalid_request, a secret": asJSON(401, `{"error":"invalid_request","error_description":"client_secret: Field required"}`),
		"422 of FastAPI":                asJSON(422, `{"detail":[{"type":"missing","loc":["body","client_id"],"msg":"Field required","input":null}]}`),
	}
	for kind, request := range requestsOfEveryKind {
		for name, refusal := range refusals {
			for _, method := range []string{methodBasic, methodPost} {
				other := methodBasic
				if method == methodBasic {
					other = methodPost
				}
				if kind == "a poll" && name == "401 access_denied" {
					denied := &direct{h: refusal} // by a person
					if _, err := request.send(t.Context(), client(t, denied), endpoint, ClientAuth{ID: "c", Secret: secret.New("a secret"), Method: method}); err == nil || denied.n != 1 {
						t.Errorf("%s, %s, %s: %v, %d requests", kind, name, method, err, denied.n)
					}
					continue
				}
				s := takes(other, request.good, refusal)
				auth, err := request.send(t.Context(), client(t, s), endpoint, ClientAuth{ID: "c", Secret: secret.New("a secret"), Method: method})
				if err != nil || s.n != 2 || auth.Method != other && auth.Method != method || auth.Method == method && kind != "a revocation" && kind != "an ID-JAG" {
					t.Errorf("%s, %s, %s: %v, %d requests, then %s", kind, name, method, err, s.n, auth.Method)
				}
				// A method that a person chose, a public client, and another refusal after it: no further request.
				for _, a := range []ClientAuth{{ID: "c", Secret: secret.New("a secret"), Method: method, Chosen: true}, {ID: "c", Method: methodNone}} {
					s := &direct{h: refusal}
					_, err := request.send(t.Context(), client(t, s), endpoint, a)
					if want := 1; err == nil || s.n != want && (kind != "a revocation" || a.Chosen) {
						t.Errorf("%s, %s, %+v: %v, %d requests", kind, name, a, err, s.n)
					}
				}
				s = &direct{h: refusal}
				_, err = request.send(t.Context(), client(t, s), endpoint, ClientAuth{ID: "c", Secret: secret.New("a secret"), Method: method})
				silent := kind == "an assertion" && name == "401 without a body" // may be about the assertion
				if f := wire.AsFault(err, "", ""); s.n != 2 || !silent && (!strings.Contains(f.Message, "does not accept this client") || !strings.Contains(f.Hint, "--client-auth-method")) {
					t.Errorf("%s, %s: %d requests, %+v", kind, name, s.n, f)
				}
			}
		}
	}
}

// TestNoOtherWayWhereTheClientIsKnown: an answer about something else is the last one.
func TestNoOtherWayWhereTheClientIsKnown(t *testing.T) {
	t.Parallel()
	for _, refusal := range []http.HandlerFunc{
		asJSON(400, `{"error":"invalid_grant","error_description":"issued to another client_id"}`), asJSON(401, `{"error":"invalid_grant"}`),
		asJSON(400, `{"error":"invalid_request"}`), asJSON(401, `{"error":"invalid_request","error_description":"code verification failed"}`),
		asJSON(400, `{"error":"unauthorized_client","error_description":"not allowed to use client_credentials"}`), asJSON(400, `{"error":"unsupported_grant_type"}`),
		asJSON(400, `{"error":"invalid_scope","error_description":"client_id"}`), asJSON(401, `{"error":"token_inactive"}`), asJSON(400, `{"error":"access_denied"}`),
		asJSON(500, `{"error":"server_error","error_description":"client_id"}`), answer(503, "", ""), answer(400, "", ""), answer(403, "text/html", htmlPage),
		asJSON(400, `{"error":"invalid_request","error_description":"the client_credentials grant needs a scope"}`),
	} {
		for kind, request := range requestsOfEveryKind {
			for _, method := range []string{methodBasic, methodPost} {
				s := &direct{h: refusal}
				_, _ = request.send(t.Context(), client(t, s), endpoint, ClientAuth{ID: "c", Secret: secret.New("a secret"), Method: method})
				if s.n != 1 {
					t.Errorf("%s: %d requests", kind, s.n)
				}
			}
		}
	}
}

// TestAServerThatWantsTheIDBesideBasic: the MCP Python SDK looks for client_id in the body, and takes no secret there.
func TestAServerThatWantsTheIDBesideBasic(t *testing.T) {
	t.Parallel()
	for kind, request := range requestsOfEveryKind {
		s := &direct{h: func(w http.ResponseWriter, r *http.Request) {
			_, _, basic := r.BasicAuth()
			switch {
			case r.PostFormValue("client_id") != "c":
				asJSON(401, `{"error":"invalid_client","error_description":"Missing client_id"}`)(w, r)
			case !basic || r.PostForm.Has("client_secret"):
				asJSON(401, `{"error":"invalid_client","error_description":"Missing or invalid Basic authentication in Authorization header"}`)(w, r)
			default:
				asJSON(200, request.good)(w, r)
			}
		}}
		// The method is the one that a person chose.
		auth, err := request.send(t.Context(), client(t, s), endpoint, ClientAuth{ID: "c", Secret: secret.New("a secret"), Method: methodBasic, Chosen: true})
		want := 2
		if kind == "a pushed request" {
			want = 1 // its client_id is in the body anyhow
		}
		if err != nil || s.n != want || auth.Method != methodBasic {
			t.Errorf("%s: %v, %d requests, %+v", kind, err, s.n, auth)
		}
		if remembers := kind == "a code" || kind == "a refresh"; remembers && !auth.IDInBody {
			t.Errorf("%s: forgotten", kind)
		}
		if remembers := kind == "a code"; remembers {
			if _, err := request.send(t.Context(), client(t, s), endpoint, auth); err != nil || s.n != want+1 {
				t.Errorf("%s again: %v, %d requests", kind, err, s.n)
			}
		}
	}
}

// TestUnauthorizedClient: with 401 the secret is wrong or the grant not allowed, with 400 the grant is not allowed.
func TestUnauthorizedClient(t *testing.T) {
	t.Parallel()
	for kind, request := range requestsOfEveryKind {
		for status, words := range map[int][]string{401: {"does not accept this client, or does not allow it this grant", "secret", "owner"}, 400: {"not", "", ""}} {
			s := &direct{h: asJSON(status, `{"error":"unauthorized_client"}`)}
			_, err := request.send(t.Context(), client(t, s), endpoint, ClientAuth{ID: "c", Secret: secret.New("s"), Method: methodPost})
			f := wire.AsFault(err, "", "")
			if !strings.Contains(f.Message, words[0]) || !strings.Contains(f.Hint, words[1]) || !strings.Contains(f.Hint, words[2]) {
				if status == 401 || kind == "client credentials" || kind == "a refresh" {
					t.Errorf("%s, %d: %+v", kind, status, f)
				}
			}
		}
	}
}
