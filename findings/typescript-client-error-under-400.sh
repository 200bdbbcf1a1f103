#!/usr/bin/env bash
# TypeScript client @modelcontextprotocol/client 2.4.0: a JSON-RPC error that comes with HTTP 400 loses its code
# and its data.
# Expected: a server may answer a request with an HTTP error status whose body is the JSON-RPC error response
# for that very id; the caller sees code -32602 and `data`, as it does in the Python SDK (2.3.0).
# Instead, on a connection of revision 2025-11-25, the caller gets an HTTP error whose `code` is the SDK's own
# constant, whose `data` has status and text, and whose message is the whole body behind "Error POSTing to
# endpoint". With HTTP 200 the same body gives code and data.
# A server should send errors that callers act upon (URL elicitation, bad arguments) with status 200. A bridge
# built on this client must parse the text of such errors, or it turns every one into a transport failure.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @modelcontextprotocol/client@2.4.0
cat >"$T/probe.mjs" <<'EOF'
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
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
let status = 200;
routes["/mcp"] = ({ body }) => body.method !== "tools/call" ? undefined :
  [status, {}, { jsonrpc: "2.0", id: body.id, error: { code: -32602, message: "bad argument", data: { argument: "a" } } }];
const client = new Client({ name: "probe", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(base + "/mcp")));
const seen = {};
console.log("@modelcontextprotocol/client", version("@modelcontextprotocol/client"));
for (status of [200, 400]) {
  const error = await client.callTool({ name: "t" }).catch((caught) => caught);
  seen[status] = { code: error.code, argument: error.data?.argument };
  console.log(`HTTP ${status}: code ${error.code}, data ${JSON.stringify(error.data)}, message ${error.message.slice(0, 60)}`);
}
process.exit(seen[200].code === -32602 && seen[200].argument === "a" && seen[400].code !== -32602 && !seen[400].argument ? 0 : 1);
EOF
cd "$T"
node probe.mjs
