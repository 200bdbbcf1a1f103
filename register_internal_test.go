package mcpoauth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

const testIssuer = "https://as.example.com"

// TestFixedClients: registered by hand, else a metadata document where the server takes that, else none.
func TestFixedClients(t *testing.T) {
	t.Parallel()
	const document = "https://client.example/client.json"
	key := newTestKey(t)
	for name, tc := range map[string]struct {
		client  ClientOptions
		takes   bool
		methods []string
		id      string // of the client, "" for none
		method  AuthMethod
	}{
		"nothing":                        {takes: true},
		"a client":                       {client: ClientOptions{ID: "c"}, id: "c", method: AuthMethodNone},
		"its secret":                     {client: ClientOptions{ID: "c", Secret: "s"}, id: "c", method: AuthMethodBasic},
		"its secret, posted":             {client: ClientOptions{ID: "c", Secret: "s"}, methods: []string{"client_secret_post"}, id: "c", method: AuthMethodPost},
		"its key":                        {client: ClientOptions{ID: "c", Key: key}, id: "c", method: AuthMethodPrivateKeyJWT},
		"its key and a method":           {client: ClientOptions{ID: "c", Key: key, Secret: "s", AuthMethod: AuthMethodPost}, id: "c", method: AuthMethodPost},
		"a client before a document":     {client: ClientOptions{ID: "c", MetadataURL: document}, takes: true, id: "c", method: AuthMethodNone},
		"a document":                     {client: ClientOptions{MetadataURL: document}, takes: true, id: document, method: AuthMethodNone},
		"a document and a key":           {client: ClientOptions{MetadataURL: document, Key: key}, takes: true, id: document, method: AuthMethodPrivateKeyJWT},
		"a document that is not taken":   {client: ClientOptions{MetadataURL: document}},
		"a document, methods":            {client: ClientOptions{MetadataURL: document}, takes: true, methods: []string{"none"}, id: document, method: AuthMethodNone},
		"a document, not without secret": {client: ClientOptions{MetadataURL: document}, takes: true, methods: []string{"client_secret_basic"}},
		"a document, not by a key":       {client: ClientOptions{MetadataURL: document, Key: key}, takes: true, methods: []string{"none"}},
	} {
		f := &discovered{Result: resultOf(testIssuer)}
		f.Server.ClientIDMetadataDocumentSupported, f.Server.TokenEndpointAuthMethodsSupported = tc.takes, tc.methods
		got := plainClient(t, Options{Client: tc.client}).registrar.fixed(f)
		if (got != nil) != (tc.id != "") || got != nil && (got.reg.ClientID != tc.id || got.reg.AuthMethod != string(tc.method) || got.reg.Issuer != testIssuer || got.reused || got.key != (store.Key{})) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestKeysThatAServerDoesNotList: nothing is sent with one, unless its algorithm was chosen.
func TestKeysThatAServerDoesNotList(t *testing.T) {
	t.Parallel()
	key, chosen := newTestKey(t), newTestKey(t)
	chosen.chosen = true
	for name, tc := range map[string]struct {
		client ClientOptions
		listed []string
		fails  bool
	}{
		"no key":         {ClientOptions{ID: "c"}, []string{"ES256"}, false},
		"not listed":     {ClientOptions{ID: "c", Key: key}, []string{"ES256"}, true},
		"listed":         {ClientOptions{ID: "c", Key: key}, []string{"ES256", "EdDSA"}, false},
		"no list":        {ClientOptions{ID: "c", Key: key}, nil, false},
		"chosen":         {ClientOptions{ID: "c", Key: chosen}, []string{"ES256"}, false},
		"another method": {ClientOptions{ID: "c", Key: key, Secret: "s", AuthMethod: AuthMethodBasic}, []string{"ES256"}, false},
		"no client":      {ClientOptions{Key: key}, []string{"ES256"}, false},
	} {
		f := &discovered{Result: resultOf(testIssuer)}
		f.Server.TokenEndpointAuthSigningAlgValuesSupported = tc.listed
		if err := plainClient(t, Options{Client: tc.client}).registrar.checkKey(f); (err != nil) != tc.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhichRegistrationsCanBeUsed: the port of the redirect URI must be registered, and the scopes where that can be
// changed; the token that manages it goes to the registration endpoint's origin or the issuer's.
func TestWhichRegistrationsCanBeUsed(t *testing.T) {
	t.Parallel()
	const managed = testIssuer + "/client"
	need := clientNeed{redirectURI: "http://127.0.0.1:1/callback", scopes: []string{"read", "openid"}, registered: []string{"read"}}
	for name, tc := range map[string]struct {
		reg  record.Registration
		want bool
	}{
		"the port":                {record.Registration{RedirectURI: "http://127.0.0.1:1/callback"}, true},
		"another port":            {record.Registration{RedirectURI: "http://127.0.0.1:2/callback"}, false},
		"the scopes":              {record.Registration{RedirectURI: need.redirectURI, Scope: "write read", ClientURI: managed}, true},
		"other scopes":            {record.Registration{RedirectURI: need.redirectURI, Scope: "write", ClientURI: managed}, false},
		"other scopes, unmanaged": {record.Registration{RedirectURI: need.redirectURI, Scope: "write"}, true},
		"scopes not said":         {record.Registration{RedirectURI: need.redirectURI, ClientURI: managed}, true},
	} {
		if suits(&tc.reg, need) != tc.want {
			t.Errorf("%s", name)
		}
	}
	for name, tc := range map[string]struct {
		reg  record.Registration
		want bool
	}{
		"at the endpoint":    {record.Registration{ClientURI: "https://reg.example.com/c", AccessToken: "t", Endpoint: "https://reg.example.com/register", Issuer: testIssuer}, true},
		"at the issuer":      {record.Registration{ClientURI: managed, AccessToken: "t", Endpoint: "https://reg.example.com/register", Issuer: testIssuer}, true},
		"elsewhere":          {record.Registration{ClientURI: "https://evil.example/c", AccessToken: "t", Endpoint: testIssuer + "/register", Issuer: testIssuer}, false},
		"on another port":    {record.Registration{ClientURI: "https://as.example.com:444/c", AccessToken: "t", Endpoint: testIssuer + "/register", Issuer: testIssuer}, false},
		"over http":          {record.Registration{ClientURI: "http://as.example.com/c", AccessToken: "t", Endpoint: testIssuer + "/register", Issuer: testIssuer}, false},
		"without a token":    {record.Registration{ClientURI: managed, Issuer: testIssuer}, false},
		"without an address": {record.Registration{AccessToken: "t", Issuer: testIssuer}, false},
	} {
		if manageable(&tc.reg) != tc.want {
			t.Errorf("%s", name)
		}
	}
}

// TestWhatReplacesAClient: only what says that the client is unknown, or, once a day, that it is not for this request.
func TestWhatReplacesAClient(t *testing.T) {
	t.Parallel()
	r := plainClient(t, Options{}).registrar
	for _, op := range []Op{OpToken, OpAuthorization, OpDiscovery, OpRegistration, OpRevocation} {
		for _, code := range []string{"invalid_client", "unauthorized_client", "invalid_scope", "invalid_grant", "access_denied", ""} {
			for _, ago := range []time.Duration{0, 23 * time.Hour, 25 * time.Hour} {
				want := (op == OpToken || op == OpAuthorization) && (code == "invalid_client" || ago > 24*time.Hour && (code == "unauthorized_client" || code == "invalid_scope"))
				if r.replaceable(&clientRegistration{reused: true, replacedAt: time.Now().Add(-ago)}, &Error{Op: op, Code: code}) != want {
					t.Errorf("%s, %s, replaced %v ago", op, code, ago)
				}
			}
		}
	}
	denied := &Error{Op: OpToken, Code: "invalid_client"}
	if r.replaceable(&clientRegistration{reused: true}, errors.New("invalid_client")) || r.replaceable(&clientRegistration{}, denied) || r.replaceable(nil, denied) {
		t.Error("an error of another kind, a new client, or none")
	}
	if !r.replaceable(&clientRegistration{reused: true}, &Error{Op: OpToken, Code: "invalid_scope"}) {
		t.Error("a client that was never replaced")
	}
}

// TestSpellingsOfARedirectURI: a loopback one is registered in both.
func TestSpellingsOfARedirectURI(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"http://127.0.0.1:1/a": "http://127.0.0.1:1/a http://localhost:1/a", "http://localhost:1/a": "http://localhost:1/a http://127.0.0.1:1/a",
		"https://example.com/a": "https://example.com/a", "http://[::1]:1/a": "http://[::1]:1/a", "http://localhost.example:1/a": "http://localhost.example:1/a",
	} {
		if got := strings.Join(redirectSpellings(uri), " "); got != want {
			t.Errorf("%s: %s", uri, got)
		}
	}
	if hint := redirectHint("", "http://localhost:1/a"); !strings.Contains(hint, "--callback-host 127.0.0.1") {
		t.Error(hint)
	}
	if hint := redirectHint("must use HTTPS", "http://127.0.0.1:1/a"); strings.Contains(hint, "--callback-host") || !strings.Contains(hint, "ask its owner") {
		t.Error(hint)
	}
	if hint := redirectHint("", "http://127.0.0.1:1/a"); !strings.Contains(hint, "--callback-host localhost") {
		t.Error(hint)
	}
}

// TestAServerThatRegistersNoClients: the error names the redirect URI, its port unless that was chosen, and the place.
func TestAServerThatRegistersNoClients(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o        Options
		redirect string
		provider bool
		port     bool
	}{
		"a port":          {redirect: "http://127.0.0.1:4711/callback", port: true},
		"a chosen port":   {o: Options{Callback: CallbackOptions{Port: 4711}}, redirect: "http://127.0.0.1:4711/callback"},
		"no port":         {redirect: "http://127.0.0.1/callback"},
		"on the web":      {redirect: "https://example.com:4711/callback"},
		"a known service": {redirect: "http://127.0.0.1:4711/callback", provider: true, port: true},
	} {
		f := &discovered{Result: resultOf(testIssuer)}
		if tc.provider {
			f.Provider = &discovery.Provider{Register: "https://developer.example.com"}
		}
		c := plainClient(t, tc.o)
		err := c.registrar.register(t.Context(), f, &clientRegistration{}, clientNeed{redirectURI: tc.redirect})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Op != OpRegistration || !strings.Contains(e.Hint, tc.redirect) || strings.Contains(e.Hint, "--callback-port 4711") != tc.port || strings.Contains(e.Hint, "at https://developer.example.com") != tc.provider {
			t.Errorf("%s: %v (%s)", name, err, Hint(err))
		}
	}
}

// brokenRegistrations fails the calls for registrations.
type brokenRegistrations struct {
	*memstore.Store
	load, del error
}

func (s *brokenRegistrations) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if s.load != nil && key.Kind == store.KindRegistration {
		return nil, 0, s.load
	}
	return s.Store.Load(ctx, key)
}

func (s *brokenRegistrations) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	if s.del != nil && key.Kind == store.KindRegistration {
		return s.del
	}
	return s.Store.Delete(ctx, key, rev)
}

// TestWhichStoredRegistrationServes: one in order; a damaged one makes room, and one that cannot be read stays.
func TestWhichStoredRegistrationServes(t *testing.T) {
	t.Parallel()
	const redirect = "http://127.0.0.1/callback"
	good := record.Registration{Issuer: testIssuer, ClientID: "c", Source: string(SourceDynamic), RedirectURI: redirect}
	for name, tc := range map[string]struct {
		change func(*record.Registration)
		need   clientNeed
		load   error
		del    error
		serves bool
		kept   bool // whether a new one is stored in its place
	}{
		"one in order":          {serves: true, kept: true},
		"a fresh one is wanted": {need: clientNeed{fresh: true}, kept: true},
		"of another issuer":     {change: func(r *record.Registration) { r.Issuer = "https://b.example.com" }, kept: true},
		"its secret is over":    {change: func(r *record.Registration) { r.SecretExpiry = time.Now().Add(-time.Second) }, kept: true},
		"its secret is good":    {change: func(r *record.Registration) { r.SecretExpiry = time.Now().Add(time.Minute) }, serves: true, kept: true},
		"unanswered":            {change: func(r *record.Registration) { r.Unanswered = true }, serves: true, kept: true},
		"damaged":               {load: &store.CorruptError{Err: errors.New("damaged")}, kept: true},
		"sealed by another key": {load: errors.New("another key"), kept: false},
	} {
		st := &brokenRegistrations{Store: memstore.New(), load: tc.load, del: tc.del}
		c := plainClient(t, Options{Store: st})
		reg := good
		if tc.change != nil {
			tc.change(&reg)
		}
		key := c.registrar.keyOf(testIssuer, redirect)
		c.registrar.save(t.Context(), &clientRegistration{reg: &reg, key: key})
		tc.need.redirectURI = "http://127.0.0.1:5/callback" // the port is no part of the key
		got := c.registrar.stored(t.Context(), testIssuer, tc.need)
		if (got.reg != nil) != tc.serves || got.reused != tc.serves || (got.key != (store.Key{})) != tc.kept {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		st.load = nil
		// What is made in its place must be stored, or not.
		got.reg = &record.Registration{Issuer: testIssuer, ClientID: "new", RedirectURI: redirect}
		c.registrar.save(t.Context(), got)
		now, _, err := c.registrar.load(t.Context(), key)
		if err != nil || (now.ClientID == "new") != tc.kept {
			t.Errorf("%s: stored %+v, %v", name, now, err)
		}
	}
}

// TestARegistrationThatCannotBeReadIsNotForgotten, but a damaged one is.
func TestARegistrationThatCannotBeReadIsNotForgotten(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		load error
		id   string
		left int
	}{
		"the same": {nil, "c", 0}, "another": {nil, "d", 1}, "damaged": {&store.CorruptError{Err: errors.New("damaged")}, "c", 0}, "unreadable": {errors.New("another key"), "c", 1},
	} {
		st := &brokenRegistrations{Store: memstore.New()}
		c := plainClient(t, Options{Store: st})
		reg := &record.Registration{Issuer: testIssuer, ClientID: "c", RedirectURI: "http://127.0.0.1/callback"}
		c.registrar.save(t.Context(), &clientRegistration{reg: reg, key: c.registrar.keyOf(testIssuer, reg.RedirectURI)})
		st.load = tc.load
		c.registrar.forget(t.Context(), &record.Registration{Issuer: testIssuer, ClientID: tc.id, RedirectURI: reg.RedirectURI})
		n := 0
		for range st.List(t.Context(), store.Filter{Kind: store.KindRegistration}) {
			n++
		}
		if n != tc.left {
			t.Errorf("%s: %d are left", name, n)
		}
	}
}
