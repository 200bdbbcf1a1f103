#!/usr/bin/env bash
# Product: oidc-provider 9.13.3 (npm) with JWT access tokens (resource indicators).
# Expected: the server lists introspection_endpoint and revocation_endpoint, so its own
# access tokens can be asked about and revoked there. RFC 7662 section 2.2 has
# {"active": false} for what the server cannot or will not tell, and no error code
# for a kind of token; RFC 7009 section 2.2 has 200 for tokens it does not know.
# Instead: both endpoints answer 400 unsupported_token_type for a JWT that the same
# server issued a moment before, while a string that it never issued gets 200.
# A client that logs out should revoke the refresh token first and treat
# unsupported_token_type for the access token as "ends by itself", not as a failure.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts oidc-provider@9.13.3
cat >t.mjs <<'JS'
import http from 'node:http'; import fs from 'node:fs'; import { Provider } from 'oidc-provider';
console.warn = console.info = () => {};
console.log('oidc-provider', JSON.parse(fs.readFileSync('node_modules/oidc-provider/package.json')).version);
const s = http.createServer(); await new Promise((d) => s.listen(0, '127.0.0.1', d));
const iss = `http://127.0.0.1:${s.address().port}`;
const op = new Provider(iss, { scopes: ['mcp'], cookies: { keys: ['k'] },
  clients: [{ client_id: 'c', client_secret: 'secret-for-this-test-only', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] }],
  features: { clientCredentials: { enabled: true }, revocation: { enabled: true }, introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: { enabled: true, getResourceServerInfo: async (_c, r) => ({ scope: 'mcp', audience: r, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }) } } });
s.on('request', op.callback());
const post = async (p, b) => { const r = await fetch(iss + p, { method: 'POST', headers: { authorization: 'Basic ' + btoa('c:secret-for-this-test-only') }, body: new URLSearchParams(b) });
  const t = await r.text(); return { status: r.status, text: t }; };
const tok = JSON.parse((await post('/token', { grant_type: 'client_credentials', resource: 'https://rs.example/mcp', scope: 'mcp' })).text).access_token;
const out = [];
for (const [n, p, t] of [['introspect own JWT', '/token/introspection', tok], ['revoke own JWT', '/token/revocation', tok], ['introspect unknown', '/token/introspection', 'x'], ['revoke unknown', '/token/revocation', 'x']]) {
  const r = await post(p, { token: t }); out.push(r); console.log(n, '->', r.status, r.text);
}
process.exit(out[0].status === 400 && out[1].status === 400 && /unsupported_token_type/.test(out[0].text) && out[2].status === 200 && out[3].status === 200 ? 0 : 1);
JS
node t.mjs 2>/dev/null
