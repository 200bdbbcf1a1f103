#!/usr/bin/env bash
# Python SDK `mcp` 2.3.0: calls through one client wait for each other as soon as OAuth is used.
# Expected (Streamable HTTP, section on multiple connections): every JSON-RPC message is its own POST, so a
# slow tool does not hold up a ping that is sent beside it; without OAuth the SDK behaves like that.
# Instead `OAuthClientProvider` keeps its lock from before the request until the response headers have come,
# so with a valid token and nothing to log in, a ping behind a tool of 3 seconds takes 3 seconds. A server
# that answers with JSON sends no headers before the tool has ended, so this hits every slow tool.
# A client should hold its lock only for work on the token. A bridge or server that meets this client should
# open an SSE response at once, which lets the next request go.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
"$T/v/bin/pip" -q --disable-pip-version-check install mcp==2.3.0
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


import logging
from importlib.metadata import version

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.shared.auth import OAuthClientMetadata

logging.disable(logging.CRITICAL)
AUTHORIZE = []  # parameters of every authorization request


class Memory:
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def person(url):
    AUTHORIZE.append(dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)))


async def callback():
    return AuthorizationCodeResult(code="code-1", state=AUTHORIZE[-1]["state"], iss=CONF.get("iss"))


def provider(**metadata):
    client = OAuthClientMetadata(redirect_uris=["http://127.0.0.1:9/callback"], client_name="probe", **metadata)
    return OAuthClientProvider(URL, client, Memory(), person, callback)


async def post(http, method="ping"):
    return await http.post(URL, json={"jsonrpc": "2.0", "id": 1, "method": method})


def slow(handler, headers, body):
    if body.get("method") == "tools/call" and ("authorization" in headers or not CONF["protected"]):
        time.sleep(3)
        return mcp_answer("POST", body)
    return None if CONF["protected"] else mcp_answer("POST", body)


async def measure(auth):
    async with httpx2.AsyncClient(auth=auth, timeout=20) as http:
        await post(http)  # logs in
        call = asyncio.create_task(post(http, "tools/call"))
        await asyncio.sleep(0.3)
        start = time.monotonic()
        await post(http)
        took = time.monotonic() - start
        await call
        return took


async def main():
    ROUTES["/mcp"] = slow
    CONF["protected"] = False
    plain = await measure(None)
    CONF["protected"] = True
    oauth = await measure(provider())
    print("mcp", version("mcp"))
    print(f"ping beside a tool of 3 s: {plain:.1f} s without OAuth, {oauth:.1f} s with OAuthClientProvider")
    sys.exit(0 if plain < 1 and oauth > 2 else 1)


asyncio.run(main())
EOF
"$T/v/bin/python" "$T/probe.py"
