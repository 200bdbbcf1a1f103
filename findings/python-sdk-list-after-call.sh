#!/usr/bin/env bash
# Python SDK `mcp` 2.3.0: `call_tool` asks for `tools/list` after the call, and a failure there loses the result.
# Expected (tools section of the specification): a client may call a tool by a name that it knows; the answer to
# tools/call is the answer of the call.
# Instead, when the program has not listed the tools, the SDK lists them once the result is there (to find an
# output schema), and if that listing fails, `call_tool` raises the listing's error. The tool has run, its
# result has arrived, and the caller sees a failure, which invites a second call.
# A bridge or server that allows calls but not listing (by scope, by policy, or for a moment) makes every first
# call look failed: let tools/list answer with what the caller may use, never with an error.
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


def route(handler, headers, body):
    if body.get("method") == "tools/list":
        return 200, {}, {"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32000, "message": "listing is not allowed"}}


async def main():
    ROUTES["/mcp"] = route
    try:
        async with Client(URL) as client:
            outcome = (await client.call_tool("t", {})).content[0].text
    except BaseException as error:
        while hasattr(error, "exceptions"):
            error = error.exceptions[0]
        outcome = f"{type(error).__name__}: {error}"
    methods = [body.get("method") for _, _, _, body in LOG if body.get("method", "").startswith("tools/")]
    print("mcp", version("mcp"))
    print("requests:", methods, "| call_tool:", outcome)
    sys.exit(0 if methods == ["tools/call", "tools/list"] and "listing is not allowed" in outcome else 1)


asyncio.run(main())
EOF
"$T/v/bin/python" "$T/probe.py"
