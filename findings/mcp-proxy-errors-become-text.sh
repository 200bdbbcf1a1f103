#!/usr/bin/env bash
# mcp-proxy 0.13.0 (Python, with mcp 1.30.0): a JSON-RPC error of a tool call becomes a successful result.
# Expected: an error response passes through a bridge with its code and data. -32042 (URL elicitation required)
# lives in `data.elicitations`: the host shows the address, the person logs in there, the call is repeated.
# Instead the host gets a result with isError and the error's message as text; code, data and with them the
# address are gone, and nothing can be opened. fastmcp-remote 4.1.4 does the same.
# A server that may sit behind such a bridge should repeat the address in the message of the error. A bridge
# should never turn an error response into a result: to the host, one is the protocol and one is the tool.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
"$T/v/bin/pip" -q --disable-pip-version-check install mcp-proxy==0.13.0 mcp==1.30.0
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


def refuse(handler, headers, body):
    if body.get("method") == "tools/call":
        data = {"elicitations": [{"mode": "url", "elicitationId": "e1", "url": BASE + "/login", "message": "log in"}]}
        return 200, {}, {"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32042, "message": "a login is needed", "data": data}}


ROUTES["/mcp"] = refuse
bridge = Bridge(sys.argv[1], "--transport", "streamablehttp", URL)
bridge.initialize()
bridge.send({"id": 2, "method": "tools/call", "params": {"name": "t", "arguments": {}}})
reply = bridge.answer(2)
bridge.close()
print("mcp-proxy 0.13.0")
print("the server said -32042 with an address; the host got", json.dumps(reply))
sys.exit(0 if reply and "error" not in reply and reply["result"]["isError"] and BASE + "/login" not in json.dumps(reply) else 1)
EOF
python3 "$T/probe.py" "$T/v/bin/mcp-proxy"
