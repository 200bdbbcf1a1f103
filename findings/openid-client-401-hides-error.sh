#!/usr/bin/env bash
# Product: openid-client 6.9.0 over oauth4webapi 3.8.8 (npm).
# Expected: a token endpoint that answers exactly as RFC 6749 section 5.2 says for a
# client that authenticated by the Authorization header (401, WWW-Authenticate and
# a JSON body with "error":"invalid_client") gives the caller error "invalid_client".
# Instead: the header wins and the body is not read: the exception has code
# OAUTH_WWW_AUTHENTICATE_CHALLENGE and no "error" member. The answer that breaks the
# RFC (the same without the header) is the one that gives error "invalid_client".
# A caller who switches on e.error must also read the body of e.response, and a
# client of its own should read the body of a 401 from the token endpoint first.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts openid-client@6.9.0 oauth4webapi@3.8.8
cat >t.mjs <<'JS'
import http from 'node:http'; import fs from 'node:fs'; import * as oc from 'openid-client';
console.log('openid-client', JSON.parse(fs.readFileSync('node_modules/openid-client/package.json')).version);
const s = http.createServer((q, r) => { const h = { 'content-type': 'application/json' };
  if (q.url === '/rfc') h['www-authenticate'] = 'Basic realm="as"';
  r.writeHead(401, h); r.end('{"error":"invalid_client","error_description":"unknown client"}'); });
await new Promise((d) => s.listen(0, '127.0.0.1', d));
const b = `http://127.0.0.1:${s.address().port}`, out = {};
for (const p of ['/rfc', '/without-header']) {
  const c = new oc.Configuration({ issuer: b, token_endpoint: b + p }, 'c', undefined, oc.ClientSecretBasic('s')); oc.allowInsecureRequests(c);
  try { await oc.clientCredentialsGrant(c); } catch (e) { out[p] = e; console.log(p, e.name, e.code, 'error =', e.error); }
}
s.close();
process.exit(out['/rfc'].code === 'OAUTH_WWW_AUTHENTICATE_CHALLENGE' && out['/rfc'].error === undefined && out['/without-header'].error === 'invalid_client' ? 0 : 1);
JS
node t.mjs
