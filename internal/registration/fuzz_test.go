package registration

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

type reply struct {
	status      int
	contentType string
	body        string
	asked       int
}

func (r *reply) RoundTrip(req *http.Request) (*http.Response, error) {
	r.asked++
	h := http.Header{"Content-Type": {r.contentType}, "Retry-After": {"1"}}
	return &http.Response{StatusCode: r.status, Header: h, Body: io.NopCloser(strings.NewReader(r.body)), Request: req}, nil
}

// FuzzRegister answers a registration with foreign bytes: what comes out is a client that a login can use, or
// an error fit to be shown.
func FuzzRegister(f *testing.F) {
	f.Add(201, "application/json", good)
	f.Add(400, "application/json", `{"error":"invalid_client_metadata","error_description":"scope application_type redirect"}`)
	f.Add(400, "text/plain", "")
	f.Add(429, "", "{}")
	f.Add(200, "text/html", htmlPage)
	f.Add(201, "application/json", `{"client_id":"a","client_secret":"b","client_secret_expires_at":1}`)
	files, _ := filepath.Glob("../../testdata/corpus/*-dcr-response.json")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(201, "application/json", string(b))
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		synctest.Test(t, func(t *testing.T) { // no pause is a real one
			rt := &reply{status: status, contentType: contentType, body: body}
			r := usual("https://auth.example.com/register")
			r.InitialAccessToken = secret.New("CANARY-token")
			start := time.Now()
			reg, err := Register(t.Context(), client(t, rt), r)
			if rt.asked > maxRequests || time.Since(start) > maxPause {
				t.Errorf("%d requests in %v", rt.asked, time.Since(start))
			}
			if err != nil {
				var fault *wire.Fault
				if reg != nil || !errors.As(err, &fault) || fault.Stage != "registration" || fault.Message == "" || fault.URL != r.Endpoint {
					t.Fatalf("%+v, %#v", reg, err)
				}
				for _, c := range fault.Error() + fault.Hint {
					if unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp) {
						t.Errorf("%U is in %q", c, fault)
					}
				}
				if strings.Contains(fault.Error(), "CANARY") && !strings.Contains(body, "CANARY") {
					t.Errorf("a secret is in %v", fault)
				}
				return
			}
			switch {
			case status/100 != 2:
				t.Errorf("a client in a %d", status)
			case reg.ClientID == "" || strings.ContainsFunc(reg.ClientID+reg.ClientSecret.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }):
				t.Errorf("%+v", reg)
			case reg.AuthMethod != "none" && (reg.ClientSecret.IsZero() || reg.AuthMethod != "client_secret_basic" && reg.AuthMethod != "client_secret_post"):
				t.Errorf("%q with the secret %q", reg.AuthMethod, reg.ClientSecret.Reveal())
			case !reg.SecretExpiry.IsZero() && !reg.SecretExpiry.After(time.Now()):
				t.Errorf("ended at %v", reg.SecretExpiry)
			}
		})
	})
}

// FuzzCheckMetadataURL: what passes is a URL that means what it says.
func FuzzCheckMetadataURL(f *testing.F) {
	for _, s := range []string{"https://app.example.com/client.json", "https://a/%2e%2e/b", "https://a/b//", "https://:1/a", "HTTPS://a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckMetadataURL(raw) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Contains(raw, "#") || len(u.Path) < 2 {
			t.Fatalf("%q", raw)
		}
		for _, s := range strings.Split(strings.Trim(u.Path, "/"), "/") {
			if s == "" || s == "." || s == ".." {
				t.Errorf("%q has the segment %q", raw, s)
			}
		}
		if resolved := u.ResolveReference(&url.URL{}); resolved.Path != u.Path {
			t.Errorf("%q becomes %q", raw, resolved)
		}
	})
}
