#!/usr/bin/env bash
# opencode 1.18.33: `opencode mcp list` registers an OAuth client at the server's authorization server and edits
# the configuration file.
# Expected: a list command reads. It may try a connection, and says "needs authentication" after a 401.
# Instead the 401 starts the whole beginning of a login: metadata, POST /register, a PKCE verifier and a state are
# made and stored in mcp-auth.json, only the browser is left out. Listing on a second machine or in a fresh
# container leaves one more client each time. The same command adds a "$schema" line to opencode.json.
# An authorization server should let clients expire that never asked for authorization. A configuration editor
# that compares the file with what it wrote must expect that line, and an import of mcp-auth.json must expect
# records with a client_id and no tokens.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --prefix "$T" opencode-ai@1.18.33
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

ENVIRONMENT = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}

config = put(".config/opencode/opencode.json", json.dumps({"mcp": {"s": {"type": "remote", "url": URL, "enabled": True}}}, indent=2) + "\n")
before = config.read_text()
said = host(sys.argv[1], "mcp", "list")
stored = json.loads((HOME / ".local/share/opencode/mcp-auth.json").read_text())["s"]
registered = [body for verb, path, _, body in LOG if path == "/register"]
added = [line.strip() for line in config.read_text().splitlines() if line not in before.splitlines()]
print("opencode", release(sys.argv[1]), "| list:", said[:80])
print("registrations:", len(registered), registered[0].get("redirect_uris") if registered else "")
print("mcp-auth.json has:", sorted(stored), "| lines added to opencode.json:", added)
sys.exit(0 if len(registered) == 1 and "codeVerifier" in stored and "tokens" not in stored and any("$schema" in line for line in added) else 1)
EOF
python3 "$T/probe.py" "$T/node_modules/.bin/opencode"
