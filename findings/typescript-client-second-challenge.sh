#!/usr/bin/env bash
# TypeScript client @modelcontextprotocol/client 2.4.0: a Bearer challenge counts only if it stands first.
# Expected (RFC 9110, 11.6.1): WWW-Authenticate holds a list of challenges, in one line or in several, a client
# takes the one that it understands, and any number of spaces may follow the scheme.
# Instead the text is split at single spaces and the first word must be Bearer (or DPoP). With `Basic` or
# `Negotiate` before it, or with two spaces after it, resource_metadata and scope are lost without an error:
# the login uses the default well-known address and asks for no scope. The Python SDK (2.3.0) finds them in all four.
# A server should send the Bearer challenge as the first header line, with one space. A client or bridge should
# parse the list, and a bridge that repeats challenges to such a client should put Bearer first.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @modelcontextprotocol/client@2.4.0
cat >"$T/probe.mjs" <<'EOF'
import { extractWWWAuthenticateParams } from "@modelcontextprotocol/client";
import http from "node:http";
import { readFileSync } from "node:fs";

const log = []; // every request: {method, path, headers, body}
const routes = {}; // path -> function(request, response) -> [status, headers, body], or undefined for the usual answer
const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
const conf = { protected: true, prm: {}, metadata: {}, registration: {} };
let base, tokens = 0;

function mcpAnswer({ method, body }) {
  if (method !== "POST") return [405, { allow: "POST" }];
  if (body.id === undefined) return [202];
  const results = {
    initialize: { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "server", version: "1" } },
    "tools/list": { tools: [{ name: "t", inputSchema: { type: "object" } }] },
    "tools/call": { content: [{ type: "text", text: "ok" }] },
    ping: {},
  };
  const result = results[body.method];
  const error = { code: -32601, message: "Method not found" };
  const session = body.method === "initialize" ? { "mcp-session-id": "s1" } : {};
  return [200, session, { jsonrpc: "2.0", id: body.id, ...(result ? { result } : { error }) }];
}

function usual(request) {
  const { path, headers, body } = request;
  const plain = (object) => JSON.parse(JSON.stringify(object)); // drops what a probe sets to undefined
  if (path.startsWith("/.well-known/oauth-protected-resource"))
    return [200, {}, plain({ resource: base + "/mcp", authorization_servers: [base], ...conf.prm })];
  if (path === "/.well-known/oauth-authorization-server")
    return [200, {}, plain({
      issuer: base, authorization_endpoint: base + "/authorize", token_endpoint: base + "/token",
      registration_endpoint: base + "/register", response_types_supported: ["code"],
      code_challenge_methods_supported: ["S256"], ...conf.metadata,
    })];
  if (path === "/register") return [201, {}, plain({ ...body, client_id: "client-1", ...conf.registration })];
  if (path === "/token")
    return [200, {}, { access_token: `token-${++tokens}`, token_type: "Bearer", expires_in: 3600, refresh_token: `refresh-${tokens}` }];
  if (path !== "/mcp") return [404];
  if (conf.protected && !headers.authorization)
    return [401, { "www-authenticate": `Bearer resource_metadata="${base}/.well-known/oauth-protected-resource/mcp"` }];
  return mcpAnswer(request);
}

const server = http.createServer((req, res) => {
  let raw = "";
  req.on("data", (chunk) => (raw += chunk));
  req.on("end", async () => {
    const form = (req.headers["content-type"] ?? "").includes("urlencoded");
    const body = form ? Object.fromEntries(new URLSearchParams(raw)) : raw ? JSON.parse(raw) : {};
    const request = { method: req.method, path: req.url.split("?")[0], headers: req.headers, body };
    log.push(request);
    const answer = (await routes[request.path]?.(request, res)) ?? usual(request);
    if (answer === "done") return;
    const [status, headers = {}, content = ""] = answer;
    const text = typeof content === "string" ? content : JSON.stringify(content);
    res.writeHead(status, typeof content === "string" ? headers : { "content-type": "application/json", ...headers });
    res.end(text);
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
base = `http://127.0.0.1:${server.address().port}`;

const bearer = 'Bearer resource_metadata="https://rs.example/meta", scope="files:read"';
const lines = [bearer, `Basic realm="x", ${bearer}`, `Negotiate, ${bearer}`, bearer.replace("Bearer ", "Bearer  ")];
console.log("@modelcontextprotocol/client", version("@modelcontextprotocol/client"));
const read = lines.map((line) => {
  const found = extractWWWAuthenticateParams(new Response(null, { status: 401, headers: { "www-authenticate": line } }));
  console.log(JSON.stringify(found.scope ?? null), String(found.resourceMetadataUrl ?? null), "<-", line.slice(0, 40));
  return found.scope ?? null;
});
process.exit(JSON.stringify(read) === JSON.stringify(["files:read", null, null, null]) ? 0 : 1);
EOF
cd "$T"
node probe.mjs
