#!/usr/bin/env bash
# TypeScript client @modelcontextprotocol/client 2.4.0: an SSE answer that ends without the response is not
# noticed; the call waits for its timeout (60 s by default).
# Expected (Streamable HTTP): without an event id there is nothing to resume, so a stream that has ended can
# bring no response any more and the call can fail at once, as it does in the Python SDK (2.3.0: "SSE stream
# ended without a response"), the Go SDK (v1.8.0) and mcp-go (v1.2.1), all within a moment.
# Instead nothing happens until the timeout. @modelcontextprotocol/sdk 1.32.2 does the same.
# A gateway that restarts therefore costs the person a minute per call. A server or bridge that loses its
# upstream in the middle of a stream should write a JSON-RPC error into the stream before it closes it, or send
# an event with an id at the start so that the client comes back with Last-Event-ID.
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
let ended;
routes["/mcp"] = ({ body }, res) => {
  if (body.method !== "tools/call") return undefined;
  res.writeHead(200, { "content-type": "text/event-stream" });
  res.write(": at work\n\n");
  setTimeout(() => { res.end(); ended = Date.now(); }, 200);
  return "done";
};
const client = new Client({ name: "probe", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(base + "/mcp")));
const message = await client.callTool({ name: "t" }, { timeout: 6000 }).then(() => "answered", (error) => error.message);
const waited = Date.now() - ended;
console.log("@modelcontextprotocol/client", version("@modelcontextprotocol/client"));
console.log(`stream ended; the call ended ${(waited / 1000).toFixed(1)} s later (its timeout was 6 s): ${message}`);
process.exit(waited > 5000 && /timed out/i.test(message) ? 0 : 1);
EOF
cd "$T"
node probe.mjs
