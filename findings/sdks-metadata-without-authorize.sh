#!/usr/bin/env bash
# TypeScript client 2.4.0 and Python SDK 2.3.0: the metadata of an authorization server that only serves machines
# is not understood.
# Expected (RFC 8414, 2): `authorization_endpoint` is required "unless no grant types are supported that use the
# authorization endpoint", so a server with grant_types_supported = ["client_credentials"] may leave it out, and
# a client with that grant uses the token_endpoint that the document names.
# Instead the TypeScript client ends with a schema error, and the Python client drops the whole document without
# a message and sends its request to /token, an address that it guesses.
# An authorization server for machines should name an authorization_endpoint all the same. A client should demand
# only the members that its grant needs, and must not guess an endpoint after it has read a document.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
"$T/v/bin/pip" -q --disable-pip-version-check install mcp==2.3.0
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @modelcontextprotocol/client@2.4.0
cat >"$T/probe.mjs" <<'EOF'
import { auth, ClientCredentialsProvider } from "@modelcontextprotocol/client";

const [url, issuer] = process.argv.slice(2);
const provider = new ClientCredentialsProvider({ clientId: "id-1", clientSecret: "secret-1", issuer });
console.log(await auth(provider, { serverUrl: url }).catch((error) => `${error.constructor.name}: ${error.message.replace(/\s+/g, " ")}`));
EOF
cat >"$T/probe.py" <<'EOF'
import asyncio, json, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

LOG = []    # (method, target, headers, body) of every request
ROUTES = {} # path -> function(handler, headers, body) -> (status, headers, body) or None for the usual answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, headers=None, body=""):
        data = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        if not isinstance(body, str):
            self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data.encode())))
        self.end_headers()
        self.wfile.write(data.encode())

    def sse(self, *events):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(("data: " + json.dumps(event) + "\n\n").encode())
            self.wfile.flush()
        self.close_connection = True

    def handle_any(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        form = "urlencoded" in self.headers.get("Content-Type", "")
        body = dict(parse_qsl(raw, keep_blank_values=True)) if form else json.loads(raw) if raw else {}
        headers = {k.lower(): v for k, v in self.headers.items()}
        path = urlsplit(self.path).path
        LOG.append((self.command, self.path, headers, body))
        route = ROUTES.get(path)
        answer = route(self, headers, body) if route else None
        if answer != "done":
            self.reply(*(answer or usual(self.command, path, headers, body)))

    do_GET = do_POST = do_DELETE = handle_any


SERVER = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
SERVER.daemon_threads = True
threading.Thread(target=SERVER.serve_forever, daemon=True).start()
BASE = f"http://127.0.0.1:{SERVER.server_address[1]}"
URL = BASE + "/mcp"


def mcp_answer(method, body):
    """What a plain MCP server of revision 2025-11-25 says."""
    if method != "POST":
        return 405, {"Allow": "POST"}
    if "id" not in body or "method" not in body:
        return 202, {}
    results = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}},
                       "serverInfo": {"name": "server", "version": "1"}},
        "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": "ok"}]},
        "ping": {},
    }
    reply = {"jsonrpc": "2.0", "id": body["id"]}
    if body["method"] in results:
        reply["result"] = results[body["method"]]
    else:
        reply["error"] = {"code": -32601, "message": "Method not found"}
    return 200, {"Mcp-Session-Id": "s1"} if body["method"] == "initialize" else {}, reply


CONF = {"challenge": f'Bearer resource_metadata="{BASE}/.well-known/oauth-protected-resource/mcp"',
        "prm": {"resource": URL, "authorization_servers": [BASE]},
        "metadata": {"issuer": BASE, "authorization_endpoint": BASE + "/authorize", "token_endpoint": BASE + "/token",
                     "registration_endpoint": BASE + "/register", "response_types_supported": ["code"],
                     "grant_types_supported": ["authorization_code", "refresh_token"],
                     "code_challenge_methods_supported": ["S256"]},
        "registration": {}}
TOKENS = []


def usual(method, path, headers, body):
    if path == "/.well-known/oauth-protected-resource/mcp":
        return 200, {}, CONF["prm"]
    if path == "/.well-known/oauth-authorization-server":
        return 200, {}, CONF["metadata"]
    if path == "/register":
        record = {**body, "client_id": "client-1", **CONF["registration"]}
        return 201, {}, {k: v for k, v in record.items() if v is not None}
    if path == "/token":
        TOKENS.append(f"token-{len(TOKENS) + 1}")
        return 200, {}, {"access_token": TOKENS[-1], "token_type": "Bearer", "expires_in": 3600, "refresh_token": "refresh-1"}
    if path == "/mcp":
        if "authorization" not in headers:
            return 401, {"WWW-Authenticate": CONF["challenge"]}
        return mcp_answer(method, body)
    return 404, {}


import logging, subprocess, warnings
from importlib.metadata import version

import httpx2
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")


class Memory:
    async def get_tokens(self):
        return None

    async def set_tokens(self, tokens):
        pass

    get_client_info, set_client_info = get_tokens, set_tokens


async def main():
    del CONF["metadata"]["authorization_endpoint"], CONF["metadata"]["registration_endpoint"]
    CONF["metadata"].update(token_endpoint=BASE + "/oauth/token", grant_types_supported=["client_credentials"], response_types_supported=[])
    ROUTES["/oauth/token"] = lambda *request: (200, {}, {"access_token": "right", "token_type": "Bearer"})
    node = subprocess.run(["node", "probe.mjs", URL, BASE], cwd=sys.argv[1], capture_output=True, text=True).stdout.strip()
    posts = {"typescript": [path for verb, path, _, _ in LOG if verb == "POST" and "token" in path]}
    LOG.clear()
    auth = ClientCredentialsOAuthProvider(server_url=URL, storage=Memory(), client_id="id-1", client_secret="secret-1")
    async with httpx2.AsyncClient(auth=auth) as http:
        answer = await http.post(URL, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    posts["python"] = [path for verb, path, _, _ in LOG if verb == "POST" and "token" in path]
    print("@modelcontextprotocol/client 2.4.0:", node[:150])
    print("mcp", version("mcp") + ": HTTP", answer.status_code)
    print("token_endpoint is /oauth/token; token requests went to", posts)
    sys.exit(0 if node.startswith("ZodError") and posts == {"typescript": [], "python": ["/token"]} else 1)


asyncio.run(main())
EOF
"$T/v/bin/python" "$T/probe.py" "$T"
