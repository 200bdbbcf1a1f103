#!/usr/bin/env bash
# Gemini CLI 0.61.0: `gemini mcp list` negotiates revision 2025-06-18 and then leaves out MCP-Protocol-Version.
# Expected (Streamable HTTP since 2025-06-18): the client MUST send the negotiated version in that header with
# every request after initialize.
# Instead initialized, the GET stream and the ping carry only the session id. A server must then assume
# 2025-03-26, a revision with batching and without structured results, and a server that answers 400 to a
# missing header is shown as "Disconnected" with no reason. The other hosts that were tried (Claude Code 2.1.332,
# Qwen Code 0.24.4, opencode 1.18.33, the inspector 2.12.0) send it.
# A server or bridge should keep the version in its session and fall back to that, not to 2025-03-26.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @google/gemini-cli@0.61.0
export HOME="$T/home"
mkdir -p "$HOME/work"
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


import os, pathlib, re, subprocess

HOME = pathlib.Path(os.environ["HOME"])


def host(*command):
    """Runs the host's command in a home directory of its own and gives its output."""
    env = {"PATH": os.environ["PATH"], "HOME": str(HOME), "TERM": "dumb", "NO_COLOR": "1", **ENVIRONMENT}
    done = subprocess.run(command, cwd=HOME / "work", env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    return " ".join((done.stdout + done.stderr).split())


def release(command):
    return re.search(r"\d+\.\d+\.\d+", host(command, "--version")).group()


def put(name, text):
    path = HOME / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

ENVIRONMENT = {}

put(".gemini/settings.json", json.dumps({"mcpServers": {"s": {"httpUrl": URL}}, "security": {"folderTrust": {"enabled": False}}}))


def strict(handler, headers, body):
    if headers.get("mcp-session-id") and "mcp-protocol-version" not in headers:
        return 400, {}, "missing header"


def revision(handler, headers, body):
    if body.get("method") == "initialize":
        status, more, reply = mcp_answer("POST", body)
        reply["result"]["protocolVersion"] = body["params"]["protocolVersion"]
        return status, more, reply


print("gemini", release(sys.argv[1]))
ROUTES["/mcp"] = revision
plain = host(sys.argv[1], "mcp", "list")
asked = [body["params"]["protocolVersion"] for _, _, _, body in LOG if body.get("method") == "initialize"]
later = [(verb, body.get("method"), headers.get("mcp-protocol-version")) for verb, _, headers, body in LOG if headers.get("mcp-session-id")]
ROUTES["/mcp"] = lambda *request: revision(*request) or strict(*request)
refused = host(sys.argv[1], "mcp", "list")
print("asked for", asked, "| later requests and their version header:", later)
print("lenient server:", plain[-14:], "| strict server:", refused[-14:])
good = asked == ["2025-06-18"] and len(later) >= 2 and all(version is None for _, _, version in later)
sys.exit(0 if good and "Connected" in plain and "Disconnected" in refused else 1)
EOF
python3 "$T/probe.py" "$T/node_modules/.bin/gemini"
