package registration

import (
	"encoding/json"
	"errors"
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
		want := "Bearer manage-it"
		if r.Method == http.MethodPut && strings.Contains(m.now, `"registration_access_token":"t"`) {
			want = "Bearer t"
		}
		if got := r.Header.Get("Authorization"); got != want {
			t.Errorf("%s authorized by %q", r.Method, got)
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

// update reads a registration and changes it.
func update(t *testing.T, m Management, more Additions) (*wire.Registration, error) {
	t.Helper()
	now, err := Read(t.Context(), client(t, nil), m)
	if err != nil {
		return nil, err
	}
	return now.Change(t.Context(), client(t, nil), more)
}

// TestChange adds to a registration, and keeps the rest of it.
func TestChange(t *testing.T) {
	t.Parallel()
	m := newManaged(t, registered)
	reg, err := update(t, Management{URI: m.URL, Token: secret.New("manage-it"), ClientID: "id"}, Additions{RedirectURIs: []string{byAddress, byName}, Scopes: []string{"b", "c"}, GrantTypes: []string{"refresh_token"}})
	if err != nil || reg.ClientID != "id" || strings.Join(reg.RedirectURIs, " ") != byAddress+" "+byName || reg.AuthMethod != "client_secret_basic" {
		t.Fatalf("%+v, %v", reg, err)
	}
	if grants, _ := m.put["grant_types"].([]any); len(grants) != 1 || m.put["scope"] != "a b c" || m.put["logo_uri"] != "https://l" || m.put["client_id"] != "id" || m.put["client_secret"] != "s" || strings.Join(m.methods, " ") != "GET PUT" {
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
	reg, err := update(t, Management{URI: m.URL, Token: secret.New("manage-it"), ClientID: "id"}, Additions{RedirectURIs: []string{byName}})
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
		"another method": {registered, func(map[string]any) (int, string) {
			return 200, `{"client_id":"id","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}`
		}, 1},
		"a method that is not known": {registered, func(map[string]any) (int, string) {
			return 200, `{"client_id":"id","token_endpoint_auth_method":"tls_client_auth"}`
		}, 1},
	} {
		m := newManaged(t, tc.now)
		if tc.answer != nil {
			m.answer = tc.answer
		}
		reg, err := update(t, Management{URI: m.URL + "/x?secret", Token: secret.New("manage-it"), ClientID: "id"}, Additions{RedirectURIs: []string{byName}})
		f := wire.AsFault(err, "", "")
		if reg != nil || err == nil || f.URL != m.URL+"/x" || strings.Count(strings.Join(m.methods, " "), "PUT") != tc.puts {
			t.Errorf("%s: %+v, %+v, %v", name, reg, f, m.methods)
		}
	}
}

// TestRead: what says that a registration is gone, and what says nothing about it.
func TestRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		ok     bool
		gone   bool
	}{
		"there":                        {200, registered, true, false},
		"401":                          {401, "", false, true},
		"404":                          {404, "", false, true},
		"410":                          {410, "", false, true},
		"invalid_token in a 400":       {400, `{"error":"invalid_token"}`, false, true},
		"invalid_client in a 403":      {403, `{"error":"invalid_client"}`, false, true},
		"403":                          {403, "", false, false},
		"405":                          {405, "", false, false},
		"429":                          {429, "", false, false},
		"500":                          {500, `{"error":"invalid_token"}`, false, false},
		"a page":                       {200, htmlPage, false, false},
		"another client":               {200, `{"client_id":"other"}`, false, false},
		"a client without a client_id": {200, `{}`, false, false},
	} {
		s := httptest.NewServer(asJSON(tc.status, tc.body))
		now, err := Read(t.Context(), client(t, nil), Management{URI: s.URL, Token: secret.New("manage-it"), ClientID: "id"})
		s.Close()
		if (err == nil) != tc.ok || (now != nil) != tc.ok || errors.Is(err, ErrGone) != tc.gone {
			t.Errorf("%s: %+v, %v", name, now, err)
		}
	}
}

// TestATokenForOneUse: Keycloak, for one, may give out another token with each answer (RFC 7592 section 3).
func TestATokenForOneUse(t *testing.T) {
	t.Parallel()
	var tokens []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Method+" "+r.Header.Get("Authorization"))
		asJSON(200, `{"client_id":"id","registration_access_token":"`+map[string]string{http.MethodGet: "second", http.MethodPut: "third"}[r.Method]+`"}`)(w, r)
	}))
	defer s.Close()
	now, err := Read(t.Context(), client(t, nil), Management{URI: s.URL, Token: secret.New("first"), ClientID: "id"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := now.Change(t.Context(), client(t, nil), Additions{RedirectURIs: []string{byName}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(tokens, ", "); got != "GET Bearer first, PUT Bearer second" || now.Management.Token.Reveal() != "third" {
		t.Errorf("%s, then %s", got, now.Management.Token.Reveal())
	}
}
