#!/usr/bin/env bash
# Product: go-jose v4.1.9 (Go), jwt.JSONWebToken.Claims with a JSONWebKeySet.
# Expected: two keys of different types may share one "kid": RFC 7517 section 4.5 names
# exactly this as a use ("if they have different kty values but are considered to be
# equivalent alternatives"). The reader takes the one that fits the token's alg.
# Instead: the first key with that kid is tried and no other; an RSA key in front of
# the EC key makes an ES256 token fail with "error in cryptographic primitive", the
# words of a bad signature. In the other order the same token verifies.
# A client that verifies should filter by kid, kty and alg together; a server should
# not reuse a kid.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; export GOPATH="$tmp/gopath" GOFLAGS="-modcacherw -mod=mod"
go mod init probe 2>/dev/null
go get github.com/go-jose/go-jose/v4@v4.1.9 2>/dev/null
cat >main.go <<'GO'
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func main() {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	a := jose.JSONWebKey{Key: ec.Public(), KeyID: "2026", Use: "sig", Algorithm: "ES256"}
	b := jose.JSONWebKey{Key: rs.Public(), KeyID: "2026", Use: "sig", Algorithm: "RS256"}
	sig, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: ec, KeyID: "2026"}}, nil)
	tok, _ := jwt.Signed(sig).Claims(jwt.Claims{Subject: "s"}).Serialize()
	verify := func(ks ...jose.JSONWebKey) error {
		t, err := jwt.ParseSigned(tok, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
		if err != nil {
			return err
		}
		var c jwt.Claims
		return t.Claims(jose.JSONWebKeySet{Keys: ks}, &c)
	}
	e1, e2 := verify(a, b), verify(b, a)
	fmt.Println("EC first :", e1)
	fmt.Println("RSA first:", e2)
	if e1 != nil || e2 == nil {
		os.Exit(1)
	}
}
GO
go list -m github.com/go-jose/go-jose/v4
go run .
