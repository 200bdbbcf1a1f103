package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// keycloak is a running Keycloak.
type keycloak struct {
	base      string
	documents documents
}

// theKeycloak is the product; it goes through its cycle in TestKeycloak, which starts it once for all that is tried there.
var theKeycloak = product{
	name: "Keycloak", version: found("Keycloak", "../setup-jdk.sh", `(?m)^keycloak=(\S+)$`),
	special: "Registration is closed until an administrator sets the policy \"Trusted Hosts\" of anonymous clients, and refuses scopes that \"Allowed Client Scopes\" lacks: `openid` always. Refresh tokens end with the session (30 minutes without use) unless they are offline tokens. " +
		"A reused refresh token ends the login if \"Revoke Refresh Token\" is on, as it is here, and is accepted if it is off. `resource` is ignored unless an experimental feature is on. " +
		"A redirect URI without a port matches every port.",
	setting: "None where anonymous registration is open; else `--client-id`, or `--initial-access-token-file`",
}

// startKeycloak starts a Keycloak with nothing but its own realm.
func startKeycloak(t *testing.T) keycloak {
	t.Helper()
	version := theKeycloak.version(t)
	kc := installed(t, "Keycloak (interop/setup-jdk.sh)", "jdk/keycloak-"+version+"/bin/kc.sh")
	installed(t, "Keycloak (interop/setup-jdk.sh)", "jdk/keycloak-"+version+"/built")
	port := freePort(t)
	k := keycloak{"http://127.0.0.1:" + strconv.Itoa(port), serveDocument(t)}
	// It lives for a minute: what compiles fast is the faster start.
	env := []string{
		"KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD=admin",
		"JAVA_OPTS_KC_HEAP=-Xms128m -Xmx600m", "JAVA_OPTS_APPEND=-XX:TieredStopAtLevel=1",
	}
	start(t, k.base+"/realms/master", env, kc, "start", "--optimized", "--http-enabled=true", "--hostname-strict=false", "--http-host=127.0.0.1",
		"--http-port="+strconv.Itoa(port), "--http-management-port="+strconv.Itoa(port+1), "--truststore-paths="+k.documents.authority)
	return k
}

// object is a representation of Keycloak's.
type object = map[string]any

// admin makes a request to the administration interface, and returns the answer.
func (k keycloak) admin(t *testing.T, method, path string, content, result any) {
	t.Helper()
	resp, err := http.PostForm(k.base+"/realms/master/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body(t, resp)), &token); err != nil {
		t.Fatal(err)
	}
	var sent io.Reader = http.NoBody
	if content != nil {
		data, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		sent = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, k.base+"/admin/realms"+path, sent)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	req.Header.Set("Content-Type", "application/json")
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	text := body(t, resp)
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	if result != nil {
		if err := json.Unmarshal([]byte(text), result); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
}

// realm makes a realm with a person and the scope mcp:read, which clients may ask for, and an MCP server that takes its
// tokens.
func (k keycloak) realm(t *testing.T, name string, life time.Duration, more object) peer {
	t.Helper()
	r := object{
		"realm": name, "enabled": true, "sslRequired": "none", "accessTokenLifespan": int(life / time.Second), "revokeRefreshToken": true,
		"users": []object{{
			"username": "test-user@localhost", "enabled": true, "email": "test-user@localhost.example", "emailVerified": true, "firstName": "Test", "lastName": "User",
			"realmRoles": []string{"offline_access"}, "credentials": []object{{"type": "password", "value": "verysecure", "temporary": false}},
		}},
	}
	for member, value := range more {
		r[member] = value
	}
	k.admin(t, http.MethodPost, "", r, nil)
	k.admin(t, http.MethodPost, "/"+name+"/client-scopes", object{"name": "mcp:read", "protocol": "openid-connect", "attributes": object{"include.in.token.scope": "true"}}, nil)
	var scopes []struct{ ID, Name string }
	k.admin(t, http.MethodGet, "/"+name+"/client-scopes", nil, &scopes)
	for _, s := range scopes {
		if s.Name == "mcp:read" {
			k.admin(t, http.MethodPut, "/"+name+"/default-optional-client-scopes/"+s.ID, nil, nil)
		}
	}
	issuer := k.base + "/realms/" + name
	return peer{mcpURL: protect(t, issuer, "mcp:read", signedBy(issuer, issuer+"/protocol/openid-connect/certs"))}
}

// trust lets the programs of these hosts register, with redirect URIs there.
func (k keycloak) trust(t *testing.T, realm string, hosts ...string) {
	t.Helper()
	var policies []object
	k.admin(t, http.MethodGet, "/"+realm+"/components?name=Trusted%20Hosts", nil, &policies)
	if len(policies) != 1 {
		t.Fatalf("the policy Trusted Hosts: %v", policies)
	}
	policies[0]["config"].(object)["trusted-hosts"] = hosts
	k.admin(t, http.MethodPut, "/"+realm+"/components/"+policies[0]["id"].(string), policies[0], nil)
}

// allowScope makes a scope that clients may register, but have only if they name it.
func (k keycloak) allowScope(t *testing.T, realm, scope string) {
	t.Helper()
	k.admin(t, http.MethodPost, "/"+realm+"/client-scopes", object{"name": scope, "protocol": "openid-connect", "attributes": object{"include.in.token.scope": "true"}}, nil)
	var policies []object
	k.admin(t, http.MethodGet, "/"+realm+"/components?name=Allowed%20Client%20Scopes", nil, &policies)
	for _, p := range policies {
		if p["subType"] == "anonymous" {
			p["config"].(object)["allowed-client-scopes"] = []string{scope}
			k.admin(t, http.MethodPut, "/"+realm+"/components/"+p["id"].(string), p, nil)
		}
	}
}

// client registers a client by hand.
func (k keycloak) client(t *testing.T, realm, id string, more object) {
	t.Helper()
	c := object{"clientId": id, "enabled": true, "publicClient": true, "standardFlowEnabled": true, "redirectUris": []string{"http://127.0.0.1/callback"}, "optionalClientScopes": []string{"mcp:read", "offline_access"}}
	for member, value := range more {
		c[member] = value
	}
	k.admin(t, http.MethodPost, "/"+realm+"/clients", c, nil)
}

// TestKeycloak starts one Keycloak, with a realm for each thing that is tried.
func TestKeycloak(t *testing.T) {
	k := startKeycloak(t)
	const life5 = 5 * time.Second
	t.Run("cycle", func(t *testing.T) {
		t.Parallel()
		p := theKeycloak
		p.start = func(t *testing.T, life time.Duration) peer {
			running := k.realm(t, "cycle", life, nil)
			k.trust(t, "cycle", "127.0.0.1", "localhost")
			return running
		}
		p.cycle(t)
	})
	signer := elliptical(t)
	key, err := mcpoauth.NewClientKey(signer.key, "k1", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		client object
		o      mcpoauth.Options
	}{
		"public, S256 required": {
			client: object{"attributes": object{"pkce.code.challenge.method": "S256"}},
		},
		"a secret": {
			client: object{"publicClient": false, "secret": "conf-secret"},
			o:      mcpoauth.Options{Client: mcpoauth.ClientOptions{Secret: "conf-secret"}},
		},
		"pushed requests required": {
			client: object{"attributes": object{"require.pushed.authorization.requests": "true"}},
		},
		"an offline token": {
			client: object{},
			o:      mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Always}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			realm := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			running := k.realm(t, realm, life5, nil)
			k.client(t, realm, "by-hand", tc.client)
			tc.o.Client.ID = "by-hand"
			life(t, running.mcpURL, tc.o, life5)
		})
	}
	t.Run("a key", func(t *testing.T) {
		t.Parallel()
		running := k.realm(t, "key", life5, nil)
		k.client(t, "key", "by-hand", object{
			"publicClient": false, "clientAuthenticatorType": "client-jwt", "serviceAccountsEnabled": true,
			"attributes": object{"use.jwks.string": "true", "jwks.string": signer.jwks(t), "token.endpoint.auth.signing.alg": "ES256"},
		})
		o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand", Key: key}, Grant: mcpoauth.ClientCredentials{}, Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}}
		whoami(t.Context(), t, newClient(t, running.mcpURL, o))
		o.Grant, o.Prompt = nil, chromium(t)
		whoami(t.Context(), t, newClient(t, running.mcpURL, o))
	})
	for realm, hosts := range map[string][]string{"trusted-address": {"127.0.0.1"}, "trusted-name": {"127.0.0.1", "localhost"}} {
		t.Run("registration, "+realm, func(t *testing.T) {
			t.Parallel()
			running := k.realm(t, realm, life5, nil)
			k.trust(t, realm, hosts...)
			k.allowScope(t, realm, "mcp:write")
			running.mcpURL = protect(t, k.base+"/realms/"+realm, "mcp:write", signedBy(k.base+"/realms/"+realm, k.base+"/realms/"+realm+"/protocol/openid-connect/certs"))
			life(t, running.mcpURL, mcpoauth.Options{}, life5)
		})
	}
	t.Run("the end of a session", func(t *testing.T) {
		t.Parallel()
		running := k.realm(t, "session", life5, nil)
		k.client(t, "session", "by-hand", nil)
		s := &seat{dir: t.TempDir(), url: running.mcpURL, flags: []string{"--client-id", "by-hand"}}
		s.login(t, "--offline-access", "never")
		rec := s.stored(t) // refresh_expires_in: 1800
		if end := rec.RefreshExpiry.Sub(rec.IssuedAt); end < 29*time.Minute || end > 30*time.Minute {
			t.Errorf("without offline_access the login lives for %v", end)
		}
		s.login(t, "--force", "--offline-access", "always")
		if rec := s.stored(t); !rec.RefreshExpiry.IsZero() { // refresh_expires_in: 0
			t.Errorf("with offline_access the login ends at %v", rec.RefreshExpiry)
		}
	})
	t.Run("a wrong secret", func(t *testing.T) {
		t.Parallel()
		running := k.realm(t, "wrong-secret", life5, nil)
		k.client(t, "wrong-secret", "by-hand", object{"publicClient": false, "secret": "conf-secret", "serviceAccountsEnabled": true})
		// It answers 401 unauthorized_client, which means the authentication and not the grant.
		_, err := newClient(t, running.mcpURL, mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand", Secret: "wrong"}, Grant: mcpoauth.ClientCredentials{}}).Token(t.Context(), nil)
		if !errors.Is(err, mcpoauth.ErrAccessDenied) || !strings.Contains(err.Error()+mcpoauth.Hint(err), "secret") {
			t.Errorf("%v (%s)", err, mcpoauth.Hint(err))
		}
	})
	t.Run("device code with PKCE", func(t *testing.T) { k.deviceCode(t) })
	t.Run("DPoP required", func(t *testing.T) { k.dpop(t) })
	t.Run("ID-JAG", func(t *testing.T) { k.idJAG(t) })
	t.Run("client ID metadata document", func(t *testing.T) { k.metadataDocument(t) })
}

// deviceCode: a client that must use PKCE must do so in the device grant too.
func (k keycloak) deviceCode(t *testing.T) {
	t.Parallel()
	running := k.realm(t, "device", 5*time.Second, nil)
	k.client(t, "device", "by-hand", object{"attributes": object{"pkce.code.challenge.method": "S256", "oauth2.device.authorization.grant.enabled": "true"}})
	life(t, running.mcpURL, mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand"}, Grant: mcpoauth.DeviceCode{}}, 5*time.Second)
}

// dpop: a client whose tokens must be bound to a key, and an MCP server that checks that.
func (k keycloak) dpop(t *testing.T) {
	t.Parallel()
	k.realm(t, "dpop", 5*time.Second, nil)
	k.client(t, "dpop", "by-hand", object{"attributes": object{"dpop.bound.access.tokens": "true"}})
	issuer := k.base + "/realms/dpop"
	mcpURL := startAt(t, 5*time.Second, "/mcp", []string{"AS=" + issuer, "JWKS=" + issuer + "/protocol/openid-connect/certs", "ANY_AUDIENCE=1", "DPOP=1"}, node(t), "mcp-server.mjs") + "/mcp"
	st, j := memstore.New(), &journal{}
	c := newClient(t, mcpURL, mcpoauth.Options{Store: st, Trace: j.trace(), Prompt: chromium(t), Client: mcpoauth.ClientOptions{ID: "by-hand"}})
	if _, err := c.Login(t.Context(), nil); err != nil {
		t.Fatalf("login: %v (%s)\n%v", err, mcpoauth.Hint(err), j)
	}
	if n := listTools(t.Context(), t, c); n == 0 {
		t.Error("no tools")
	}
	before := stored(t, st, c)
	untilEnd(before)
	if n := listTools(t.Context(), t, c); n == 0 {
		t.Error("no tools after the end of the token")
	}
	if after := stored(t, st, c); after.TokenType != "DPoP" || after.DPoPKey != before.DPoPKey || after.AccessToken == before.AccessToken {
		t.Errorf("after the refresh: a token of the type %s\n%v", after.TokenType, j)
	}
}

// idJAG: Keycloak takes what a company's identity provider says about its people.
func (k keycloak) idJAG(t *testing.T) {
	t.Parallel()
	running := k.realm(t, "id-jag", 5*time.Second, nil)
	p := elliptical(t)
	mux := http.NewServeMux()
	idp := httptest.NewServer(mux)
	t.Cleanup(idp.Close)
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, p.jwks(t)) })
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		c := fresh(idp.URL, "alice-there", r.FormValue("audience"))
		_ = json.NewEncoder(w).Encode(object{
			"access_token":      p.signAs(t, "oauth-id-jag+jwt", c, object{"client_id": "by-hand", "scope": r.FormValue("scope"), "resource": r.FormValue("resource")}),
			"issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A", "expires_in": 300,
		})
	})
	k.admin(t, http.MethodPost, "/id-jag/identity-provider/instances", object{
		"alias": "company", "providerId": "jwt-authorization-grant", "enabled": true,
		"config": object{"issuer": idp.URL, "jwksUrl": idp.URL + "/jwks", "useJwksUrl": "true", "jwtAuthorizationGrantEnabled": "true", "jwtAuthorizationGrantAllowedSignatureAlg": "ES256"},
	}, nil)
	var people []struct{ ID string }
	k.admin(t, http.MethodGet, "/id-jag/users", nil, &people)
	k.admin(t, http.MethodPost, "/id-jag/users/"+people[0].ID+"/federated-identity/company", object{"identityProvider": "company", "userId": "alice-there", "userName": "alice"}, nil)
	k.client(t, "id-jag", "by-hand", object{
		"publicClient": false, "secret": "conf-secret",
		"attributes": object{"oauth2.jwt.authorization.grant.enabled": "true", "oauth2.jwt.authorization.grant.idp": "company"},
	})
	j := &journal{}
	c := newClient(t, running.mcpURL, mcpoauth.Options{
		Client: mcpoauth.ClientOptions{ID: "by-hand", Secret: "conf-secret"}, Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}, Trace: j.trace(),
		Grant: mcpoauth.EnterpriseManaged{ClientID: "here", TokenEndpoint: idp.URL + "/token", IDToken: func(_ context.Context, audience string) (string, error) {
			return p.sign(t, fresh(idp.URL, "alice-there", audience)), nil
		}},
	})
	if tok, err := c.Token(t.Context(), nil); err != nil {
		t.Fatalf("%v (%s)\n%v", err, mcpoauth.Hint(err), j)
	} else if who := whoami(t.Context(), t, c); who != people[0].ID {
		t.Errorf("it is %q, not %q, with the scopes %q", who, people[0].ID, tok.Scopes())
	}
}

// metadataDocument: Keycloak reads the client's document, once a policy of the realm lets it.
func (k keycloak) metadataDocument(t *testing.T) {
	t.Parallel()
	running := k.realm(t, "cimd", 5*time.Second, nil)
	reads := k.documents.reads.Load()
	k.admin(t, http.MethodPut, "/cimd/client-policies/profiles", object{"profiles": []object{{"name": "documents", "executors": []object{{
		"executor": "client-id-metadata-document", "configuration": object{"cimd-allow-http-scheme": true, "cimd-allow-permitted-domains": []string{"localhost", "127.0.0.1"}},
	}}}}}, nil)
	k.admin(t, http.MethodPut, "/cimd/client-policies/policies", object{"policies": []object{{"name": "documents", "enabled": true, "profiles": []string{"documents"}, "conditions": []object{{
		"condition": "client-id-uri", "configuration": object{"client-id-uri-scheme": []string{"https"}, "client-id-uri-allow-permitted-domains": []string{"localhost"}},
	}}}}}, nil)
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{MetadataURL: k.documents.url}, Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}}
	life(t, running.mcpURL, o, 5*time.Second)
	if k.documents.reads.Load() == reads {
		t.Error("nobody has read the document")
	}
}

// documents is a web server with a Client ID Metadata Document.
type documents struct {
	url, authority string // authority is the file with its certificate
	reads          *atomic.Int32
}

func serveDocument(t *testing.T) documents {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "interop"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	d := documents{authority: filepath.Join(t.TempDir(), "authority.pem"), reads: new(atomic.Int32)}
	if err := os.WriteFile(d.authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d.reads.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(object{
			"client_id": d.url, "client_name": "mcpoauth", "redirect_uris": []string{"http://127.0.0.1/callback", "http://localhost/callback"},
			"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "none",
		})
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	d.url = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1) + "/client.json"
	return d
}
