#!/usr/bin/env bash
# Product: zitadel/oidc v3.52.0 (Go), its OpenID provider package with the example
# server of the same module.
# Expected: a device authorization request by a client_id that the server does not know
# (any more) is invalid_client: RFC 8628 section 3.1 and 3.2 refer to RFC 6749 section
# 5.2 for errors. The token endpoint of the same server answers exactly that, 401.
# Instead (the storage returns an ordinary error in both cases): the device endpoint
# answers 500 server_error "client not found", so a client
# takes a forgotten registration for a passing fault and tries again.
# The access tokens have a surprise too: the type "opaque" is a JWE of five parts with a
# readable header, so a program that splits at the dots to look for "exp" must expect
# five parts and no claims.
# A client should not retry a device request for ever on 500, and register again.
set -euo pipefail
tmp=$(mktemp -d); srv=; trap '[ -z "$srv" ] || kill "$srv" 2>/dev/null || true; rm -rf "$tmp"' EXIT
cd "$tmp"; export GOPATH="$tmp/gopath" GOFLAGS="-modcacherw -mod=mod"
go mod init probe 2>/dev/null
go get github.com/zitadel/oidc/v3/example/server@v3.52.0 2>/dev/null
go list -m github.com/zitadel/oidc/v3
go build -o server github.com/zitadel/oidc/v3/example/server 2>/dev/null
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
PORT=$port ./server >/dev/null 2>&1 & srv=$!
b=http://127.0.0.1:$port
for _ in $(seq 100); do curl -s -o /dev/null "$b/.well-known/openid-configuration" && break; sleep 0.2; done
id=gone-0001
dev=$(curl -s -w ' %{http_code}' -d client_id=$id -d scope=openid "$b/device_authorization" | tr -d '\n')
tok=$(curl -s -w ' %{http_code}' -u $id:x -d grant_type=client_credentials "$b/oauth/token" | tr -d '\n')
at=$(curl -s -u sid1:verysecret -d grant_type=client_credentials "$b/oauth/token" | python3 -c 'import json,sys; print(json.load(sys.stdin)["access_token"])')
hdr=$(python3 -c 'import sys,base64; p=sys.argv[1].split("."); print(len(p), "parts, header", base64.urlsafe_b64decode(p[0]+"==").decode())' "$at")
echo "unknown client, device endpoint: $dev"
echo "unknown client, token endpoint : $tok"
echo "opaque access token            : $hdr"
[[ $dev == *server_error*"client not found"*500 && $tok == *invalid_client*401 && $hdr == "5 parts"*A256GCM* ]]
