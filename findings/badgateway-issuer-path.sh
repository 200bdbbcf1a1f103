#!/usr/bin/env bash
# Product: @badgateway/oauth2-client 3.3.1 (npm), discovery from the "server" setting.
# Expected: for the server https://as.example/tenant the metadata are asked for at
# /.well-known/oauth-authorization-server/tenant (RFC 8414 section 3: the well-known part
# is put between host and path).
# Instead: the path is dropped, and the root document
# /.well-known/oauth-authorization-server alone is fetched, which on a host with
# several tenants is missing or another issuer's document.
# With this library the discovery address has to be given in full; a server with
# tenants should serve something at its root; a client should insert the path.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts @badgateway/oauth2-client@3.3.1
cat >t.mjs <<'JS'
import http from 'node:http'; import fs from 'node:fs'; import { OAuth2Client } from '@badgateway/oauth2-client';
console.log('@badgateway/oauth2-client', JSON.parse(fs.readFileSync('node_modules/@badgateway/oauth2-client/package.json')).version);
const asked = [];
const s = http.createServer((q, r) => { asked.push(q.url); const p = q.url.replace('/.well-known/oauth-authorization-server', ''), b = `http://127.0.0.1:${s.address().port}`;
  r.setHeader('content-type', 'application/json');
  r.end(JSON.stringify({ issuer: b + p, authorization_endpoint: `${b}${p}/authorize`, token_endpoint: `${b}${p}/token`, response_types_supported: ['code'] })); });
await new Promise((d) => s.listen(0, '127.0.0.1', d));
const b = `http://127.0.0.1:${s.address().port}`;
const got = await new OAuth2Client({ server: `${b}/tenant`, clientId: 'c' }).getEndpoint('tokenEndpoint');
console.log('server /tenant -> asked for', asked, '-> token endpoint', new URL(got).pathname);
s.close();
process.exit(asked.length === 1 && asked[0] === '/.well-known/oauth-authorization-server' && new URL(got).pathname === '/token' ? 0 : 1);
JS
node t.mjs
