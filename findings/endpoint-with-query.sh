#!/usr/bin/env bash
# Products: httpx-oauth 0.17.0 (PyPI) and @badgateway/oauth2-client 3.3.1 (npm).
# Expected: an authorization endpoint may have a query of its own, which MUST be
# retained when the client adds its parameters (RFC 6749 section 3.1); servers with
# tenants or policies use that. The address then has one "?" and "&" after it.
# Instead: both append "?" and their parameters to whatever they were given, so that
# the address has two question marks and the server reads the first parameter
# (httpx-oauth: response_type, badgateway: client_id) as part of the tenant's value.
# A client should parse the endpoint and add to its query.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts @badgateway/oauth2-client@3.3.1
python3 -m venv venv; venv/bin/pip -q --disable-pip-version-check install httpx-oauth==0.17.0
cat >t.mjs <<'JS'
import { OAuth2Client } from '@badgateway/oauth2-client';
const u = 'https://as.example/authorize?tenant=x';
console.log(await new OAuth2Client({ server: 'https://as.example', clientId: 'c', authorizationEndpoint: u, tokenEndpoint: u }).authorizationCode.getAuthorizeUri({ redirectUri: 'http://127.0.0.1/cb' }));
JS
a=$(node t.mjs)
b=$(venv/bin/python -W ignore -c '
import asyncio
from httpx_oauth.oauth2 import OAuth2
u = "https://as.example/authorize?tenant=x"
print(asyncio.run(OAuth2("c", "s", u, u).get_authorization_url("http://127.0.0.1/cb")))')
echo "@badgateway/oauth2-client 3.3.1: $a"
echo "httpx-oauth $(venv/bin/python -c 'from importlib.metadata import version; print(version("httpx-oauth"))'): $b"
rc=0
for u in "$a" "$b"; do
  t=$(python3 -c 'import sys,urllib.parse as p; print(p.parse_qs(p.urlsplit(sys.argv[1]).query)["tenant"][0])' "$u")
  echo "the server reads tenant = $t"
  [[ $t == x\?* ]] || rc=1
done
exit $rc
