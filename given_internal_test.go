package mcpoauth

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

// setOf returns the settings of options.
func setOf(t *testing.T, o Options) *settings {
	t.Helper()
	s, err := newSettings(&o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newTestKey(t *testing.T) *ClientKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewClientKey(private, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// givenLogin is the login of a client with a secret.
func givenLogin(change ...func(*record.Login)) *record.Login {
	rec := &record.Login{
		ServerURL: "https://mcp.example.com/mcp", Issuer: "https://as.example.com", AccessToken: "a", RefreshToken: "r", Resource: "https://mcp.example.com/mcp",
		TokenEndpoint: "https://as.example.com/token", RevocationEndpoint: "https://as.example.com/revoke", Scopes: []string{"read"},
		Registration: record.Registration{Issuer: "https://as.example.com", ClientID: "c", ClientSecret: "old", AuthMethod: string(AuthMethodBasic)},
	}
	for _, f := range change {
		f(rec)
	}
	return rec
}

// TestWhatIsAppliedToALogin: what is given now, and nothing else; the stored login stays as it was.
func TestWhatIsAppliedToALogin(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	for name, tc := range map[string]struct {
		o    Options
		want func(*record.Login)
	}{
		"nothing":                 {Options{}, func(*record.Login) {}},
		"no resource":             {Options{Server: ServerOptions{NoResource: true}}, func(r *record.Login) { r.Resource = "" }},
		"a token member":          {Options{Server: ServerOptions{TokenMember: "m"}}, func(r *record.Login) { r.TokenMember = "m" }},
		"a token type":            {Options{Allow: Allow{TokenType: "user"}}, func(r *record.Login) { r.BearerType = "user" }},
		"a secret":                {Options{Client: ClientOptions{ID: "c", Secret: "new"}}, func(r *record.Login) { r.Registration.ClientSecret = "new" }},
		"another client's secret": {Options{Client: ClientOptions{ID: "d", Secret: "new"}}, func(*record.Login) {}},
		"a client":                {Options{Client: ClientOptions{ID: "c"}}, func(*record.Login) {}},
		"a machine's secret":      {Options{Grant: ClientCredentials{}, Client: ClientOptions{ID: "c", Secret: "new"}}, func(*record.Login) {}},
		"a method":                {Options{Client: ClientOptions{AuthMethod: AuthMethodPost}}, func(r *record.Login) { r.Registration.AuthMethod = string(AuthMethodPost) }},
		"a key":                   {Options{Client: ClientOptions{ID: "c", Key: key}}, func(r *record.Login) { r.Registration.AuthMethod = string(AuthMethodPrivateKeyJWT) }},
		"another client's key":    {Options{Client: ClientOptions{ID: "d", Key: key}}, func(*record.Login) {}},
		"a token endpoint": {
			Options{Server: ServerOptions{Endpoints: Endpoints{Authorization: "https://as.example.com/a", Token: "https://as.example.com/t"}}},
			func(r *record.Login) { r.TokenEndpoint = "https://as.example.com/t" },
		},
		"endpoints": {
			Options{Server: ServerOptions{Endpoints: Endpoints{Authorization: "https://as.example.com/a", Token: "https://as.example.com/t", Revocation: "https://as.example.com/r"}}},
			func(r *record.Login) {
				r.TokenEndpoint, r.RevocationEndpoint = "https://as.example.com/t", "https://as.example.com/r"
			},
		},
	} {
		rec, want := givenLogin(), givenLogin(tc.want)
		if got := setOf(t, tc.o).apply(rec); !sameRecord(t, got, want) {
			t.Errorf("%s: %+v", name, got)
		}
		if !sameRecord(t, rec, givenLogin()) {
			t.Errorf("%s: the stored login was changed", name)
		}
	}
	public := givenLogin(func(r *record.Login) {
		r.Registration.AuthMethod, r.Registration.ClientSecret = string(AuthMethodNone), ""
	})
	if got := setOf(t, Options{Client: ClientOptions{ID: "c", Secret: "new"}}).apply(public); got.Registration.AuthMethod != string(AuthMethodBasic) {
		t.Errorf("a public client got a secret: %q", got.Registration.AuthMethod)
	}
}

func sameRecord(t *testing.T, a, b *record.Login) bool {
	t.Helper()
	x, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

// TestWhichLoginIsAnother: what is given names another client, issuer, kind of token or authentication.
func TestWhichLoginIsAnother(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	public := func(r *record.Login) {
		r.Registration.ClientSecret, r.Registration.AuthMethod = "", string(AuthMethodNone)
	}
	same := func(*record.Login) {}
	documented := func(r *record.Login) {
		r.Registration.ClientID, r.Registration.Source = "https://a.example/c", string(SourceMetadataDocument)
	}
	for name, tc := range map[string]struct {
		o    Options
		rec  func(*record.Login)
		want string // a part of the reason, "" if it is the same login
	}{
		"nothing":                     {Options{}, same, ""},
		"the client":                  {Options{Client: ClientOptions{ID: "c"}}, same, ""},
		"another client":              {Options{Client: ClientOptions{ID: "d"}}, same, "--client-id"},
		"the document":                {Options{Client: ClientOptions{MetadataURL: "https://a.example/c"}}, documented, ""},
		"another document":            {Options{Client: ClientOptions{MetadataURL: "https://b.example/c"}}, documented, "https://a.example/c, and --client-metadata-url (Options.Client.MetadataURL) names https://b.example/c"},
		"a document, not used there":  {Options{Client: ClientOptions{MetadataURL: "https://b.example/c"}}, same, ""},
		"the issuer":                  {Options{Server: ServerOptions{Issuer: "https://as.example.com/"}}, same, ""},
		"another issuer":              {Options{Server: ServerOptions{Issuer: "https://b.example.com"}}, same, "--auth-server"},
		"the client's issuer":         {Options{Client: ClientOptions{ID: "c", Issuer: "https://as.example.com"}}, same, ""},
		"the client's other issuer":   {Options{Client: ClientOptions{ID: "c", Issuer: "https://b.example.com"}}, same, "--client-issuer"},
		"binding":                     {Options{DPoP: Always}, same, "--dpop always"},
		"binding, and it is":          {Options{DPoP: Always}, func(r *record.Login) { r.DPoPKey = "k" }, ""},
		"no binding":                  {Options{DPoP: Never}, same, ""},
		"basic":                       {Options{Client: ClientOptions{AuthMethod: AuthMethodBasic}}, same, ""},
		"basic, no secret":            {Options{Client: ClientOptions{AuthMethod: AuthMethodBasic}}, public, "has no secret"},
		"post, no secret":             {Options{Client: ClientOptions{AuthMethod: AuthMethodPost}}, public, "has no secret"},
		"basic, the secret is given":  {Options{Client: ClientOptions{ID: "c", Secret: "s", AuthMethod: AuthMethodBasic}}, public, ""},
		"basic, the client alone":     {Options{Client: ClientOptions{ID: "c", AuthMethod: AuthMethodBasic}}, public, "has no secret"},
		"none":                        {Options{Client: ClientOptions{AuthMethod: AuthMethodNone}}, same, ""},
		"a signature, no key":         {Options{Client: ClientOptions{AuthMethod: AuthMethodPrivateKeyJWT}}, same, "there is no client key"},
		"a signature":                 {Options{Client: ClientOptions{ID: "c", Key: key, AuthMethod: AuthMethodPrivateKeyJWT}}, same, ""},
		"a key":                       {Options{Client: ClientOptions{ID: "c", Key: key}}, same, ""},
		"another's secret, no method": {Options{Client: ClientOptions{ID: "c", Secret: "s"}}, public, ""},
	} {
		if got := setOf(t, tc.o).mismatch(givenLogin(tc.rec)); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestHowAStoredClientAuthenticates: with its own secret, or the one given for it, or the key.
func TestHowAStoredClientAuthenticates(t *testing.T) {
	t.Parallel()
	key, toEndpoint := newTestKey(t), newTestKey(t)
	toEndpoint.AudienceTokenEndpoint = true
	reg := &record.Registration{Issuer: "https://as.example.com", ClientID: "c", ClientSecret: "old", AuthMethod: string(AuthMethodBasic)}
	signed := &record.Registration{Issuer: "https://as.example.com", ClientID: "c", AuthMethod: string(AuthMethodPrivateKeyJWT)}
	for name, tc := range map[string]struct {
		client   ClientOptions
		reg      *record.Registration
		secret   string
		signer   bool
		audience string
	}{
		"nothing":               {ClientOptions{}, reg, "old", false, ""},
		"its secret":            {ClientOptions{ID: "c", Secret: "new"}, reg, "new", false, ""},
		"no secret":             {ClientOptions{ID: "c"}, reg, "old", false, ""},
		"another's secret":      {ClientOptions{ID: "d", Secret: "new"}, reg, "old", false, ""},
		"a key, another method": {ClientOptions{ID: "c", Key: key}, reg, "old", false, ""},
		"a key":                 {ClientOptions{ID: "c", Key: key}, signed, "", true, "https://as.example.com"},
		"a key for an endpoint": {ClientOptions{ID: "c", Key: toEndpoint}, signed, "", true, ""},
		"no key":                {ClientOptions{ID: "c"}, signed, "", false, ""},
		"a chosen method":       {ClientOptions{AuthMethod: AuthMethodPost}, reg, "old", false, ""},
	} {
		a := setOf(t, Options{Client: tc.client}).authFor(tc.reg)
		if a.ID != "c" || a.Secret.Reveal() != tc.secret || (a.Signer != nil) != tc.signer || a.Audience != tc.audience || a.Method != cmp.Or(string(tc.client.AuthMethod), tc.reg.AuthMethod) {
			t.Errorf("%s: secret %q, signer %t, audience %q", name, a.Secret.Reveal(), a.Signer != nil, a.Audience)
		}
	}
}

// TestWhatEndsALogin: a refusal ends it for the credentials that were refused, and missing scopes for a person.
func TestWhatEndsALogin(t *testing.T) {
	t.Parallel()
	plain := setOf(t, Options{})
	refused := givenLogin()
	refused.LoginRequired, refused.LoginRequiredFor = "refused", plain.refusalDigest(refused)
	if why := plain.endedBecause(refused); why != "refused" {
		t.Errorf("the same again: %q", why)
	}
	for name, o := range map[string]Options{
		"another secret":   {Client: ClientOptions{ID: "c", Secret: "new"}},
		"another method":   {Client: ClientOptions{AuthMethod: AuthMethodPost}},
		"another endpoint": {Server: ServerOptions{Endpoints: Endpoints{Authorization: "https://as.example.com/a", Token: "https://as.example.com/t"}}},
		"no resource":      {Server: ServerOptions{NoResource: true}},
	} {
		if why := setOf(t, o).endedBecause(refused); why != "" {
			t.Errorf("%s: %q", name, why)
		}
	}
	other := *refused
	other.RefreshToken = "another"
	if why := plain.endedBecause(&other); why != "" {
		t.Errorf("another refresh token: %q", why)
	}
	forAll := givenLogin(func(r *record.Login) { r.LoginRequired = "for all" })
	if why := setOf(t, Options{Client: ClientOptions{ID: "c", Secret: "new"}}).endedBecause(forAll); why != "for all" {
		t.Errorf("an end for all: %q", why)
	}
	if why := setOf(t, Options{Client: ClientOptions{ID: "d"}}).endedBecause(forAll); !strings.Contains(why, "--client-id") {
		t.Errorf("another login: %q", why)
	}
	scopes := Options{Scopes: ScopeOptions{Request: []string{"read", "write", "dropped"}, Add: []string{"added"}, Drop: []string{"dropped"}}}
	if why := setOf(t, scopes).endedBecause(givenLogin()); !strings.Contains(why, `"write added"`) {
		t.Errorf("scopes: %q", why)
	}
	requested := givenLogin(func(r *record.Login) { r.RequestedScopes = []string{"write", "added"} })
	if why := setOf(t, scopes).endedBecause(requested); why != "" {
		t.Errorf("scopes that were requested: %q", why)
	}
	scopes.Grant, scopes.Client = ClientCredentials{}, ClientOptions{ID: "c", Secret: "s"}
	if why := setOf(t, scopes).endedBecause(givenLogin()); why != "" {
		t.Errorf("a machine's scopes: %q", why)
	}
}

// TestMissing: each once, in order.
func TestMissing(t *testing.T) {
	t.Parallel()
	if got := missing([]string{"a"}, []string{"c", "a", "b", "c"}); !slices.Equal(got, []string{"c", "b"}) {
		t.Errorf("got %v", got)
	}
	if !covers(nil, nil) || covers(nil, []string{"a"}) {
		t.Error("nothing covers something")
	}
}
