#!/usr/bin/env bash
# Product: lestrrat-go/jwx v3.4.0 (Go), jwk.Parse.
# Expected: an old RSA key of 1024 bits in a server's JWK set, which no token uses any
# more, costs nothing: RFC 7517 section 5 says that keys with values outside the
# supported ranges SHOULD be ignored, and a size limit belongs where a key is used.
# Instead: jwk.Parse fails for the whole set, so the good EC key beside it is lost,
# and every token of the server with it. jwk.WithIgnoreParseError(true) skips the key.
# A client that uses jwx should set that option (the unreadable key alone is lost);
# a server should drop retired keys from its set.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; export GOPATH="$tmp/gopath" GOFLAGS="-modcacherw -mod=mod"
go mod init probe 2>/dev/null
go get github.com/lestrrat-go/jwx/v3@v3.4.0 2>/dev/null
n=$(python3 -c 'import base64;print(base64.urlsafe_b64encode(b"\xc1"*127+b"\x01").decode().rstrip("="))')
cat >main.go <<GO
package main

import (
	"fmt"
	"os"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

func main() {
	ec := \`{"kty":"EC","crv":"P-256","kid":"good","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}\`
	old := \`{"kty":"RSA","kid":"retired","e":"AQAB","n":"$n"}\`
	set := []byte(\`{"keys":[\` + old + \`,\` + ec + \`]}\`)
	_, e1 := jwk.Parse([]byte(\`{"keys":[\` + ec + \`]}\`))
	fmt.Println("EC key alone          :", e1)
	_, e2 := jwk.Parse(set)
	fmt.Println("with 1024-bit RSA key :", e2)
	s, e3 := jwk.Parse(set, jwk.WithIgnoreParseError(true))
	fmt.Println("WithIgnoreParseError  :", e3)
	if e1 != nil || e2 == nil || e3 != nil {
		os.Exit(1)
	}
	_, ok := s.LookupKeyID("good")
	fmt.Println("good key found        :", ok)
	if !ok {
		os.Exit(1)
	}
}
GO
go list -m github.com/lestrrat-go/jwx/v3
go run .
