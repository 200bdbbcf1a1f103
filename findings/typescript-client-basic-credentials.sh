#!/usr/bin/env bash
# TypeScript client @modelcontextprotocol/client 2.4.0: client_secret_basic is sent without form-encoding.
# Expected (RFC 6749, 2.3.1): client id and secret are encoded as application/x-www-form-urlencoded before they
# become user name and password, so `a+b%/:c` travels as `a%2Bb%25%2F%3Ac`.
# Instead they are joined as they are. A server that decodes (as the RFC says) reads `+` as a space and `%/:` as a
# broken escape, and answers invalid_client for a secret that is right. The Python SDK (2.3.0) and mcp-go
# (v1.2.1) encode, so one secret works in one SDK and not in the other at the same server.
# An authorization server should compare both readings, or issue ids and secrets of letters, digits, `-`, `.`,
# `_` and `~` only. A client should encode, and may try client_secret_post where the server lists it.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @modelcontextprotocol/client@2.4.0
cat >"$T/probe.mjs" <<'EOF'
import { auth } from "@modelcontextprotocol/client";
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

console.warn = () => {};

function provider(saved = {}) {
  return {
    saved, opened: [], redirectUrl: "http://127.0.0.1:9/callback",
    clientMetadata: { redirect_uris: ["http://127.0.0.1:9/callback"], client_name: "probe" },
    clientInformation() { return this.saved.client; },
    saveClientInformation(client) { this.saved.client = client; },
    tokens() { return this.saved.tokens; },
    saveTokens(tokens) { this.saved.tokens = tokens; },
    codeVerifier() { return this.saved.verifier; },
    saveCodeVerifier(verifier) { this.saved.verifier = verifier; },
    redirectToAuthorization(url) { this.opened.push(url); },
  };
}

const client = { client_id: "my client", client_secret: "a+b%/:c", token_endpoint_auth_method: "client_secret_basic", issuer: base };
const saved = { client, tokens: { access_token: "old", token_type: "Bearer", refresh_token: "refresh-0", issuer: base } };
await auth(provider(saved), { serverUrl: base + "/mcp" });
const header = log.find((r) => r.path === "/token").headers.authorization;
const pair = Buffer.from(header.replace("Basic ", ""), "base64").toString();
console.log("@modelcontextprotocol/client", version("@modelcontextprotocol/client"));
console.log("sent:    ", pair);
console.log("RFC 6749:", "my+client:a%2Bb%25%2F%3Ac");
process.exit(pair === "my client:a+b%/:c" ? 0 : 1);
EOF
cd "$T"
node probe.mjs
