// Command fosite is an authorization server made of ory/fosite: for people (the client "pub", and a page with one
// button), and for machines: client credentials, by a secret or a key, and the JWT bearer grant for the tokens of a platform
// that it trusts.
//
// It prints its issuer. From the environment it takes AT_TTL, the life of access tokens, and JWK, the public
// key of both the platform and the client "signer".
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
	"golang.org/x/crypto/bcrypt"
)

func main() {
	log.SetFlags(0)
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	life, err := time.ParseDuration(os.Getenv("AT_TTL"))
	if err != nil {
		return err
	}
	store, err := clients(os.Getenv("JWK"))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	issuer := "http://" + ln.Addr().String()
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	cfg := &fosite.Config{
		AccessTokenLifespan: life, GlobalSecret: secret, TokenURL: issuer + "/token", ScopeStrategy: fosite.ExactScopeStrategy,
		EnforcePKCEForPublicClients: true, RefreshTokenScopes: []string{"offline_access"}, GrantTypeJWTBearerCanSkipClientAuth: true, GrantTypeJWTBearerMaxDuration: time.Hour,
	}
	p := compose.Compose(cfg, store, compose.NewOAuth2HMACStrategy(cfg),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory, compose.OAuth2TokenRevocationFactory,
		compose.OAuth2ClientCredentialsGrantFactory, compose.RFC7523AssertionGrantFactory, compose.OAuth2TokenIntrospectionFactory)
	fmt.Println(issuer)
	return http.Serve(ln, routes(p, issuer))
}

const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// clients makes the clients, and the platform that is trusted.
func clients(publicKey string) (*storage.MemoryStore, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		return nil, err
	}
	var key jose.JSONWebKey
	if err := json.Unmarshal([]byte(publicKey), &key); err != nil {
		return nil, fmt.Errorf("JWK: %w", err)
	}
	store := storage.NewMemoryStore()
	scopes := fosite.Arguments{"mcp:read", "mcp:write"}
	client := func(id string, grants ...string) *fosite.DefaultClient {
		c := &fosite.DefaultClient{ID: id, Secret: hash, GrantTypes: grants, Scopes: scopes}
		store.Clients[id] = c
		return c
	}
	pub := client("pub", "authorization_code", "refresh_token")
	pub.Public, pub.RedirectURIs, pub.ResponseTypes, pub.Scopes = true, []string{"http://127.0.0.1/callback"}, []string{"code"}, append(scopes, "offline_access")
	client("robot", "client_credentials")
	client("idle", "authorization_code")
	client("mcp", "client_credentials") // the MCP server, which asks about tokens
	store.Clients["signer"] = &fosite.DefaultOpenIDConnectClient{
		DefaultClient: client("signer", "client_credentials"), TokenEndpointAuthMethod: "private_key_jwt",
		TokenEndpointAuthSigningAlgorithm: key.Algorithm, JSONWebKeys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}},
	}
	store.IssuerPublicKeys["https://platform.example"] = storage.IssuerPublicKeys{
		Issuer: "https://platform.example", KeysBySub: map[string]storage.SubjectPublicKeys{"job-1": {
			Subject: "job-1", Keys: map[string]storage.PublicKeyScopes{key.KeyID: {Key: &key, Scopes: scopes}},
		}},
	}
	return store, nil
}

func routes(p fosite.OAuth2Provider, issuer string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"introspection_endpoint": issuer + "/introspect", "revocation_endpoint": issuer + "/revoke",
			"response_types_supported": []string{"code"}, "grant_types_supported": []string{"authorization_code", "refresh_token", "client_credentials", jwtBearer},
			"scopes_supported": []string{"mcp:read", "mcp:write", "offline_access"}, "code_challenge_methods_supported": []string{"S256"},
			"token_endpoint_auth_methods_supported":            []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"},
			"token_endpoint_auth_signing_alg_values_supported": []string{"RS256", "PS256", "ES256"},
		})
	})
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		ar, err := p.NewAuthorizeRequest(ctx, r)
		if err != nil {
			p.WriteAuthorizeError(ctx, w, ar, err)
			return
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<form method="post"><input name="login"><button type="submit">Allow</button></form>`)
			return
		}
		for _, s := range ar.GetRequestedScopes() {
			ar.GrantScope(s)
		}
		res, err := p.NewAuthorizeResponse(ctx, ar, &fosite.DefaultSession{Subject: r.PostFormValue("login")})
		if err != nil {
			p.WriteAuthorizeError(ctx, w, ar, err)
			return
		}
		p.WriteAuthorizeResponse(ctx, w, ar, res)
	})
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		p.WriteRevocationResponse(r.Context(), w, p.NewRevocationRequest(r.Context(), r))
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		ar, err := p.NewAccessRequest(ctx, r, &fosite.DefaultSession{})
		if err != nil {
			p.WriteAccessError(ctx, w, ar, err)
			return
		}
		if ar.GetGrantTypes().ExactOne("client_credentials") {
			ar.GetSession().(*fosite.DefaultSession).SetSubject(ar.GetClient().GetID())
			for _, s := range ar.GetRequestedScopes() {
				ar.GrantScope(s)
			}
		}
		res, err := p.NewAccessResponse(ctx, ar)
		if err != nil {
			p.WriteAccessError(ctx, w, ar, err)
			return
		}
		p.WriteAccessResponse(ctx, w, ar, res)
	})
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		res, err := p.NewIntrospectionRequest(r.Context(), r, &fosite.DefaultSession{})
		if err != nil {
			p.WriteIntrospectionError(r.Context(), w, err)
			return
		}
		p.WriteIntrospectionResponse(r.Context(), w, res)
	})
	return mux
}
