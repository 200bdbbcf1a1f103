#!/usr/bin/env bash
# Python SDK `mcp` 2.3.0: a tool result of more than 1 MiB works as JSON and fails as an SSE event.
# Expected (Streamable HTTP): the server may answer a POST with application/json or with text/event-stream, and
# the client must support both; nothing sets a size, so the same result must arrive either way.
# Instead one event is limited to 1048576 bytes by default (`max_sse_event_size`), so an image of 800 kB in
# base64 ends the call with "Server-sent event exceeded the 1048576 byte limit", while a JSON answer of any
# size is taken. The high-level `Client(url)` has no setting for it. The TypeScript and Go SDKs take 12 MB.
# A bridge or server that has one large message to send should answer with application/json where it can
# choose, or expect a parse failure in clients built on this SDK (fastmcp 4 among them).
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


def usual(method, path, headers, body):
    return mcp_answer(method, body) if path == "/mcp" else (404, {})


from importlib.metadata import version
from mcp import Client


def large(kind):
    def route(handler, headers, body):
        if body.get("method") != "tools/call":
            return None
        reply = {"jsonrpc": "2.0", "id": body["id"], "result": {"content": [{"type": "text", "text": "x" * 1_100_000}]}}
        if kind == "json":
            return 200, {}, reply
        handler.sse(reply)
        return "done"

    return route


async def call(kind):
    ROUTES["/mcp"] = large(kind)
    async with Client(URL) as client:
        try:
            result = await client.call_tool("t", {})
            return f"{len(result.content[0].text)} characters"
        except Exception as error:
            return str(error)


async def main():
    as_json, as_sse = await call("json"), await call("sse")
    print("mcp", version("mcp"))
    print("application/json: ", as_json)
    print("text/event-stream:", as_sse)
    sys.exit(0 if as_json == "1100000 characters" and "1048576 byte limit" in as_sse else 1)


asyncio.run(main())
EOF
"$T/v/bin/python" "$T/probe.py"
