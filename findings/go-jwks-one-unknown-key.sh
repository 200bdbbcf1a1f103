#!/usr/bin/env bash
# Products: go-jose v4.1.9, keyfunc v3.9.1 (for golang-jwt), go-oidc v3.21.0 (Go).
# Expected: a JWK set with an ML-DSA key ("kty":"AKP") beside an EC key still gives
# the EC key: RFC 7517 section 5 says that keys with a "kty" that is not understood
# SHOULD be ignored. go-oidc is built on go-jose, so both should behave alike.
# Instead: json.Unmarshal into go-jose's JSONWebKeySet and keyfunc.NewJWKSetJSON both
# fail for the whole set and do not give the EC key, while go-oidc, with the same
# go-jose inside, reads the set and verifies the token.
# A server that adds a key of a new type locks out programs that use go-jose or
# keyfunc directly; a client in Go should unmarshal the keys one by one.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; export GOPATH="$tmp/gopath" GOFLAGS="-modcacherw -mod=mod"
go mod init probe 2>/dev/null
go get github.com/go-jose/go-jose/v4@v4.1.9 github.com/MicahParks/keyfunc/v3@v3.9.1 github.com/coreos/go-oidc/v3@v3.21.0 2>/dev/null
cat >main.go <<'GO'
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

func main() {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	good, _ := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: "good", Use: "sig"})
	set := []byte(`{"keys":[{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA","kid":"pq"},` + string(good) + `]}`)
	sig, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "good"}}, nil)
	obj, _ := sig.Sign([]byte(`{"iss":"https://as.example"}`))
	tok, _ := obj.CompactSerialize()

	var ks jose.JSONWebKeySet
	e1 := json.Unmarshal(set, &ks)
	fmt.Printf("go-jose: keys found for kid \"good\": %d, error: %v\n", len(ks.Key("good")), e1)
	_, e2 := keyfunc.NewJWKSetJSON(set)
	fmt.Printf("keyfunc: error: %v\n", e2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(set)
	}))
	defer s.Close()
	payload, e3 := oidc.NewRemoteKeySet(context.Background(), s.URL).VerifySignature(oidc.InsecureIssuerURLContext(context.Background(), ""), tok)
	fmt.Printf("go-oidc: payload %s, error: %v\n", payload, e3)
	if e1 == nil || len(ks.Key("good")) != 0 || e2 == nil || e3 != nil {
		os.Exit(1)
	}
}
GO
go list -m github.com/go-jose/go-jose/v4 github.com/MicahParks/keyfunc/v3 github.com/coreos/go-oidc/v3
go run .
