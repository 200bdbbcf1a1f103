#!/usr/bin/env bash
# supergateway 4.0.0 (--streamableHttp URL --outputTransport stdio): a cancellation reaches the wrong request.
# Expected (MCP, cancellation): `requestId` names the request to stop, so a bridge that gives requests new ids
# must translate it; or it keeps the ids and passes the notification on as it is.
# Instead the bridge numbers requests anew (the host's "call-a", 10, 11 become 1, 2, 3) and forwards
# notifications/cancelled with the host's id unchanged. A host that counts from 0 or 1 names a neighbour:
# here the host cancels its request 1, and the id 1 is that of another call at the server.
# A server behind it may stop work that nobody cancelled, and goes on with what was cancelled. A bridge should
# leave ids alone, as mcp-remote does, or keep a table for cancellation and progress.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" supergateway@4.0.0
export HOME="$T/home"
mkdir -p "$HOME"
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


import os, subprocess


class Bridge:
    """A stdio bridge, driven as a host would drive it."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.messages = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if line.strip():
                self.messages.append(json.loads(line))

    def send(self, message):
        line = message if isinstance(message, str) else json.dumps({"jsonrpc": "2.0", **message})
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, id, seconds=10):
        """The response to a request, or None after so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for message in self.messages:
                if message.get("id") == id and "method" not in message:
                    return message
            time.sleep(0.05)

    def initialize(self):
        self.send({"id": "init", "method": "initialize", "params": {"protocolVersion": "2025-11-25",
                   "capabilities": {"elicitation": {"form": {}, "url": {}}}, "clientInfo": {"name": "host", "version": "1"}}})
        reply = self.answer("init", 60)
        self.send({"method": "notifications/initialized"})
        time.sleep(1)
        return reply

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def received(method=None):
    return [body for verb, path, _, body in LOG if verb == "POST" and path == "/mcp" and (method is None or body.get("method") == method)]


def slow(handler, headers, body):
    if body.get("method") == "tools/call":
        time.sleep(3)


ROUTES["/mcp"] = slow
bridge = Bridge(sys.argv[1], "--streamableHttp", URL, "--outputTransport", "stdio")
bridge.initialize()
for id, what in (("call-a", "keep"), (1, "stop")):
    bridge.send({"id": id, "method": "tools/call", "params": {"name": "t", "arguments": {"what": what}}})
    time.sleep(0.5)
bridge.send({"method": "notifications/cancelled", "params": {"requestId": 1}})
time.sleep(1)
calls = {body["params"]["arguments"]["what"]: body["id"] for body in received("tools/call")}
cancelled = [body["params"]["requestId"] for body in received("notifications/cancelled")]
bridge.close()
print("supergateway 4.0.0")
print("ids at the server:", calls, "| the host cancelled 'stop'; the server was told to cancel", cancelled)
sys.exit(0 if cancelled == [1] and calls["keep"] == 1 and calls["stop"] != 1 else 1)
EOF
python3 "$T/probe.py" "$T/node_modules/.bin/supergateway"
