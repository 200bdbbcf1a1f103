#!/usr/bin/env bash
# Product: oidc-provider 9.13.3 (npm).
# Expected: a resource server may ask for a fresher or stronger login by
# insufficient_user_authentication with max_age or acr_values, and the client repeats
# the authorization request with these parameters (RFC 9470 sections 3 and 4, an
# OAuth RFC: it says nothing of the scope openid).
# Instead: the server refuses both without scope "openid", by a redirect with
# invalid_request "openid scope must be requested when using the max_age parameter".
# A client that follows RFC 9470 should add "openid" to the scopes (and be ready for
# an ID token) when the server's metadata list it and it must send these parameters.
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
const op = new Provider(iss, { acrValues: ['gold'], scopes: ['openid', 'offline_access', 'mcp'], cookies: { keys: ['k'] },
  clients: [{ client_id: 'c', application_type: 'native', token_endpoint_auth_method: 'none', redirect_uris: ['http://127.0.0.1/cb'] }] });
s.on('request', op.callback());
const ask = async (p) => {
  const q = new URLSearchParams({ client_id: 'c', response_type: 'code', redirect_uri: 'http://127.0.0.1:5/cb', code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256', state: 's', ...p });
  const r = await fetch(`${iss}/auth?${q}`, { redirect: 'manual' }), l = new URL(r.headers.get('location'), iss);
  const out = l.searchParams.get('error') ? `${l.searchParams.get('error')}: ${l.searchParams.get('error_description')}` : 'login page';
  console.log(JSON.stringify(p), '->', out); return out;
};
const a = await ask({ scope: 'mcp' }), b = await ask({ scope: 'mcp', max_age: '60' }), c = await ask({ scope: 'mcp', acr_values: 'gold' }), d = await ask({ scope: 'mcp openid', max_age: '60', acr_values: 'gold' });
process.exit(a === 'login page' && d === a && /max_age/.test(b) && /acr_values/.test(c) ? 0 : 1);
JS
node t.mjs 2>/dev/null
