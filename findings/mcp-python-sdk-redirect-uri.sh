#!/usr/bin/env bash
# Product: mcp 2.3.0 (PyPI), the authorization server of the Python SDK for MCP.
# Expected: a client that registers http://127.0.0.1/cb may use any port at login (RFC
# 8252 section 7.3: the server MUST allow any port for loopback redirect URIs), and the
# answer to a registration repeats the redirect URIs as they were sent (RFC 7591
# section 3.2.1), since they are compared as strings (RFC 3986 section 6.2.1).
# Instead: the port must be the registered one, "not registered for client" otherwise;
# and the answer has other text than the request: port 80 is gone, the IPv6 address is
# shortened, the host is in lower case.
# A client should register the port that it listens on (and register again when the
# port changes), and compare the returned URIs after normalisation, not as text.
set -euo pipefail
tmp=$(mktemp -d); srv=; trap '[ -z "$srv" ] || kill "$srv" 2>/dev/null || true; rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install mcp==2.3.0 requests
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
cat >"$tmp/as.py" <<'PY'
import sys, uvicorn
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from mcp.server.auth.provider import construct_redirect_uri
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions
class P:
    clients = {}
    async def get_client(self, i): return self.clients.get(i)
    async def register_client(self, c): self.clients[c.client_id] = c
    async def authorize(self, client, p): return construct_redirect_uri(str(p.redirect_uri), code="code", state=p.state)
port = int(sys.argv[1])
uvicorn.run(Starlette(routes=create_auth_routes(P(), AnyHttpUrl(f"http://127.0.0.1:{port}"), client_registration_options=ClientRegistrationOptions(enabled=True))), host="127.0.0.1", port=port, log_level="error")
PY
"$tmp/venv/bin/python" -W ignore "$tmp/as.py" "$port" & srv=$!
"$tmp/venv/bin/python" -W ignore - "$port" <<'PY'
import sys, time, requests
from importlib.metadata import version
base = f"http://127.0.0.1:{sys.argv[1]}"
for _ in range(100):
    try: requests.get(base + "/.well-known/oauth-authorization-server"); break
    except requests.ConnectionError: time.sleep(0.2)
print("mcp", version("mcp"))
uris = ["http://127.0.0.1/cb", "http://127.0.0.1:80/two", "http://[0:0:0:0:0:0:0:1]/three", "http://LocalHost/four"]
reg = requests.post(base + "/register", json={"redirect_uris": uris, "token_endpoint_auth_method": "none"}).json()
print("sent    ", uris); print("returned", reg["redirect_uris"])
def login(uri):
    r = requests.get(base + "/authorize", allow_redirects=False, params={"client_id": reg["client_id"], "response_type": "code", "redirect_uri": uri, "state": "s",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256"})
    print("login with", uri, "->", r.status_code, r.headers.get("location") or r.json()["error_description"]); return r
a, b = login(uris[0]), login("http://127.0.0.1:50123/cb")
sys.exit(not (reg["redirect_uris"] == [uris[0], "http://127.0.0.1/two", "http://[::1]/three", "http://localhost/four"] and a.status_code == 302 and b.status_code == 400 and "not registered" in b.text))
PY
