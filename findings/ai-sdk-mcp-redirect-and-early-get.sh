#!/usr/bin/env bash
# @ai-sdk/mcp 1.0.102 (the release that npm installs under Node 20): the HTTP transport opens a GET stream
# without waiting for `initialize`, and it follows no redirect at all.
# Expected (Streamable HTTP): a session begins with a POST of initialize; GET comes later and carries the
# session id. A 307 from /mcp to another path of the same server keeps method and body, and the SDKs in
# TypeScript, Python and Go all follow it.
# Instead the first request is a GET with neither session id nor protocol version, which a server with sessions
# answers with 400 or 404, and a 307 on a call ends in "fetch failed ... unexpected redirect".
# A server or bridge should answer a GET without a session with 405, which this client accepts. This client must
# be given the final address, so a bridge that hands out an address should resolve redirects first.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @ai-sdk/mcp@1.0.102
cat >"$T/probe.mjs" <<'EOF'
import { createMCPClient } from "@ai-sdk/mcp";
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

conf.protected = false;
routes["/mcp"] = ({ body }) => (body.method === "tools/call" ? [307, { location: "/moved" }] : undefined);
routes["/moved"] = (request) => mcpAnswer(request);
const client = await createMCPClient({ transport: { type: "http", url: base + "/mcp" } });
const tools = await client.tools();
const outcome = await tools.t.execute({}, { messages: [], toolCallId: "1" })
  .then(() => "answered", (error) => `${error.message} / ${error.cause?.message}`);
await client.close().catch(() => {});
const early = log.slice(0, log.findIndex((r) => r.body.method === "initialize") + 1).map((r) => r.method + " " + (r.headers["mcp-session-id"] ?? "no session"));
const firstGet = log.find((r) => r.method === "GET");
console.log("@ai-sdk/mcp", version("@ai-sdk/mcp"));
console.log("first requests:", early.join(", "), "| headers of the first GET:", JSON.stringify([firstGet?.headers["mcp-session-id"] ?? null]));
console.log("call answered with 307:", outcome, "| requests to the new path:", log.filter((r) => r.path === "/moved").length);
process.exit(firstGet && !firstGet.headers["mcp-session-id"] && /unexpected redirect/.test(outcome) ? 0 : 1);
EOF
cd "$T"
node probe.mjs
