package registration

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// managed is a management endpoint (RFC 7592) with one registration.
type managed struct {
	*httptest.Server
	mu      sync.Mutex
	now     string // the document that a GET gives
	answer  func(put map[string]any) (int, string)
	methods []string
	put     map[string]any
}

func newManaged(t *testing.T, now string) *managed {
	t.Helper()
	m := &managed{now: now, answer: func(put map[string]any) (int, string) { b, _ := json.Marshal(put); return 200, string(b) }}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.methods = append(m.methods, r.Method)
		if got := r.Header.Get("Authorization"); got != "Bearer manage-it" {
			t.Errorf("authorized by %q", got)
		}
		if r.Method == http.MethodGet {
			asJSON(200, m.now)(w, r)
			return
		}
		b, _ := io.ReadAll(r.Body)
		m.put = nil
		if err := json.Unmarshal(b, &m.put); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v", r.Method, b, err)
		}
		status, body := m.answer(m.put)
		asJSON(status, body)(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

const registered = `{"client_id":"id","client_secret":"s","client_secret_expires_at":0,"client_id_issued_at":1,"registration_access_token":"t","registration_client_uri":"u",` +
	`"redirect_uris":["` + byAddress + `"],"scope":"a b","token_endpoint_auth_method":"client_secret_basic","logo_uri":"https://l"}`

// TestChange adds to a registration, and keeps the rest of it.
func TestChange(t *testing.T) {
	t.Parallel()
	m := newManaged(t, registered)
	reg, err := Change(t.Context(), client(t, nil), Update{URI: m.URL, Token: secret.New("manage-it"), ClientID: "id", RedirectURIs: []string{byAddress, byName}, Scopes: []string{"b", "c"}})
	if err != nil || reg.ClientID != "id" || strings.Join(reg.RedirectURIs, " ") != byAddress+" "+byName || reg.AuthMethod != "client_secret_basic" {
		t.Fatalf("%+v, %v", reg, err)
	}
	if m.put["scope"] != "a b c" || m.put["logo_uri"] != "https://l" || m.put["client_id"] != "id" || m.put["client_secret"] != "s" || strings.Join(m.methods, " ") != "GET PUT" {
		t.Errorf("%v: %v", m.methods, m.put)
	}
	// RFC 7592 section 2.2: what only the server says is not sent back.
	for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"} {
		if m.put[name] != nil {
			t.Errorf("%s was sent", name)
		}
	}
}

// TestRedirectURIsDoNotGrowForEver: a login on a free port adds one each time.
func TestRedirectURIsDoNotGrowForEver(t *testing.T) {
	t.Parallel()
	uris := []string{}
	for i := range maxRedirectURIs {
		uris = append(uris, "http://127.0.0.1/"+string(rune('a'+i)))
	}
	doc, err := json.Marshal(map[string]any{"client_id": "id", "redirect_uris": uris})
	if err != nil {
		t.Fatal(err)
	}
	m := newManaged(t, string(doc))
	reg, err := Change(t.Context(), client(t, nil), Update{URI: m.URL, Token: secret.New("manage-it"), ClientID: "id", RedirectURIs: []string{byName}})
	if err != nil || len(reg.RedirectURIs) != maxRedirectURIs || reg.RedirectURIs[maxRedirectURIs-1] != byName || m.put["scope"] != nil {
		t.Errorf("%+v, %v", reg, err)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		now    string
		answer func(map[string]any) (int, string)
		puts   int
	}{
		"another's registration":    {`{"client_id":"other"}`, nil, 0},
		"no registration":           {`{}`, nil, 0},
		"no object":                 {`[]`, nil, 0},
		"the server refuses":        {registered, func(map[string]any) (int, string) { return 400, `{"error":"invalid_redirect_uri"}` }, 1},
		"another client comes back": {registered, func(map[string]any) (int, string) { return 200, `{"client_id":"other"}` }, 1},
		"a page comes back":         {registered, func(map[string]any) (int, string) { return 200, `<html>` }, 1},
		"created, where it was":     {registered, func(map[string]any) (int, string) { return 201, registered }, 1},
		"a secret that has ended": {registered, func(map[string]any) (int, string) {
			return 200, `{"client_id":"id","client_secret":"s","client_secret_expires_at":5}`
		}, 1},
		"a method that is not known": {registered, func(map[string]any) (int, string) {
			return 200, `{"client_id":"id","token_endpoint_auth_method":"tls_client_auth"}`
		}, 1},
	} {
		m := newManaged(t, tc.now)
		if tc.answer != nil {
			m.answer = tc.answer
		}
		reg, err := Change(t.Context(), client(t, nil), Update{URI: m.URL + "/x?secret", Token: secret.New("manage-it"), ClientID: "id", RedirectURIs: []string{byName}})
		f := wire.AsFault(err, "", "")
		if reg != nil || err == nil || f.URL != m.URL+"/x" || strings.Count(strings.Join(m.methods, " "), "PUT") != tc.puts {
			t.Errorf("%s: %+v, %+v, %v", name, reg, f, m.methods)
		}
	}
}
