#!/usr/bin/env bash
# Product: @badgateway/oauth2-client 3.3.1 (npm).
# Expected: a token answer with Content-Type "Application/JSON" is read as JSON: media
# types are compared without regard to case (RFC 9110 section 8.3.1), and RFC 6749
# section 5.1 asks for that type. The same library accepts the structured suffix of
# "application/vnd.oauth+json".
# Instead: the body is never parsed and the library throws "We received an invalid
# token response from an OAuth2 server."
# A client should lower the case of a media type before it compares it; a server
# should send it in lower case.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts @badgateway/oauth2-client@3.3.1
cat >t.mjs <<'JS'
import http from 'node:http'; import fs from 'node:fs'; import { OAuth2Client } from '@badgateway/oauth2-client';
console.log('@badgateway/oauth2-client', JSON.parse(fs.readFileSync('node_modules/@badgateway/oauth2-client/package.json')).version);
const types = ['application/json', 'application/vnd.oauth+json', 'Application/JSON'];
const s = http.createServer((q, r) => { r.setHeader('content-type', types[Number(q.url.slice(1))]); r.end('{"access_token":"at","token_type":"Bearer"}'); });
await new Promise((d) => s.listen(0, '127.0.0.1', d));
console.error = () => {};
const out = [];
for (const i in types) {
  const b = `http://127.0.0.1:${s.address().port}`;
  try { await new OAuth2Client({ server: b, clientId: 'c', clientSecret: 's', tokenEndpoint: `${b}/${i}` }).clientCredentials(); out.push('ok'); } catch (e) { out.push(e.message); }
  console.log(types[i], '->', out[i]);
}
s.close();
process.exit(out[0] === 'ok' && out[1] === 'ok' && /invalid token response/.test(out[2]) ? 0 : 1);
JS
node t.mjs
