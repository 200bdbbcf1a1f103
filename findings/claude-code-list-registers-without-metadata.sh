#!/usr/bin/env bash
# Claude Code 2.1.332: `claude mcp list` registers an OAuth client with servers that publish no OAuth metadata,
# and with no others.
# Expected: a list command reads; if it were to prepare a login, it would do so where metadata says how.
# Instead the check of a server that answers 401 looks for metadata, and where there is none (not even with a
# `Basic` challenge, which asks for a password) it posts a registration to the guessed address /register of the
# server's own host. If that answers 201, client_id and issuer (the origin with a slash) are stored in
# .credentials.json with an empty access token. With full metadata nothing is registered.
# A server that uses plain tokens or Basic should answer 404 to POST /register. A store reader must take an entry
# with accessToken "" for "never logged in", even though it holds a client_id and an issuer.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --prefix "$T" @anthropic-ai/claude-code@2.1.332
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

ENVIRONMENT = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_TMPDIR": os.environ["HOME"]}

def listing(metadata):
    LOG.clear()
    found = None if metadata else (lambda handler, headers, body: (404, {}))
    ROUTES["/.well-known/oauth-protected-resource/mcp"] = ROUTES["/.well-known/oauth-authorization-server"] = found
    CONF["challenge"] = "Bearer" if metadata else 'Basic realm="files"'
    put(".claude.json", json.dumps({"mcpServers": {"s": {"type": "http", "url": URL}}}))
    credentials = HOME / ".claude/.credentials.json"
    credentials.unlink(missing_ok=True)
    said = host(sys.argv[1], "mcp", "list")
    (entry,) = json.loads(credentials.read_text())["mcp" + "OAuth"].values()
    registered = len([1 for verb, path, _, _ in LOG if (verb, path) == ("POST", "/register")])
    kept = {k: entry.get(k) for k in ("accessToken", "clientId", "issuer")}
    print(f"metadata {metadata}: POST /register {registered}, stored {kept} | {said[-24:]}")
    return registered, kept


print("claude", release(sys.argv[1]))
with_metadata, without = listing(True), listing(False)
sys.exit(0 if with_metadata[0] == 0 and without == (1, {"accessToken": "", "clientId": "client-1", "issuer": BASE + "/"}) else 1)
EOF
python3 "$T/probe.py" "$T/node_modules/.bin/claude"
