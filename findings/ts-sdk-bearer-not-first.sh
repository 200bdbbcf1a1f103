#!/usr/bin/env bash
# Product: @modelcontextprotocol/sdk 1.32.2 (npm), extractWWWAuthenticateParams.
# Expected: a 401 may offer several schemes in one WWW-Authenticate field (RFC 9110
# section 11.6.1), Basic or DPoP before Bearer; a client of RFC 9728 finds the Bearer
# challenge with resource_metadata and scope wherever it stands. RFC 9449 section
# 7.2 shows a resource server that offers Bearer and DPoP side by side.
# Instead: only a field that *starts* with Bearer and one space is read. With DPoP or
# Basic in front, a second space or a tab after the scheme, everything is dropped:
# the client guesses the metadata address and loses the scope that the server named.
# A client should parse the list of challenges; a server should put Bearer first.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cd "$tmp"; echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts @modelcontextprotocol/sdk@1.32.2
cat >t.mjs <<'JS'
import fs from 'node:fs'; import { extractWWWAuthenticateParams as f } from '@modelcontextprotocol/sdk/client/auth.js';
console.log('@modelcontextprotocol/sdk', JSON.parse(fs.readFileSync('node_modules/@modelcontextprotocol/sdk/package.json')).version);
const p = 'resource_metadata="https://r.example/m", scope="a b"';
const t = { bearer: `Bearer ${p}`, 'DPoP, Bearer': `DPoP algs="ES256", Bearer ${p}`, 'Basic, Bearer': `Basic realm="x", Bearer ${p}`, 'two spaces': `Bearer  ${p}`, tab: `Bearer\t${p}` };
let bad = 0;
for (const [n, v] of Object.entries(t)) {
  const r = f(new Response('', { status: 401, headers: { 'www-authenticate': v } }));
  console.log(n.padEnd(14), '->', r.resourceMetadataUrl?.href ?? '(none)', '|', r.scope ?? '(none)');
  if ((n === 'bearer') !== (r.resourceMetadataUrl !== undefined && r.scope === 'a b')) bad = 1;
}
process.exit(bad);
JS
node t.mjs
