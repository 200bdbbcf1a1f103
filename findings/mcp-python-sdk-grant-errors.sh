#!/usr/bin/env bash
# Product: mcp 2.3.0 (PyPI), the authorization server of the Python SDK for MCP.
# Expected (RFC 6749 section 5.2): a grant that the server does not have is
# unsupported_grant_type; a grant that this one client may not use is
# unauthorized_client.
# Instead the codes are one place off: a grant that the server does not have (the device
# grant of RFC 8628) is invalid_request, with a description that starts ": Input tag",
# and a refresh by a client that registered authorization_code alone is
# unsupported_grant_type, though the server's metadata list refresh_token.
# A client should not conclude from unsupported_grant_type that the server never
# refreshes, and should register refresh_token in grant_types by name.
set -euo pipefail
tmp=$(mktemp -d); srv=; trap '[ -z "$srv" ] || kill "$srv" 2>/dev/null || true; rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install mcp==2.3.0 requests
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
cat >"$tmp/as.py" <<'PY'
import sys, uvicorn
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions
class P:
    clients = {}
    async def get_client(self, i): return self.clients.get(i)
    async def register_client(self, c): self.clients[c.client_id] = c
    async def load_refresh_token(self, client, token): return None
port = int(sys.argv[1])
uvicorn.run(Starlette(routes=create_auth_routes(P(), AnyHttpUrl(f"http://127.0.0.1:{port}"), client_registration_options=ClientRegistrationOptions(enabled=True))), host="127.0.0.1", port=port, log_level="error")
PY
"$tmp/venv/bin/python" -W ignore "$tmp/as.py" "$port" & srv=$!
"$tmp/venv/bin/python" -W ignore - "$port" <<'PY'
import sys, time, requests
from importlib.metadata import version
base = f"http://127.0.0.1:{sys.argv[1]}"
for _ in range(100):
    try: meta = requests.get(base + "/.well-known/oauth-authorization-server").json(); break
    except requests.ConnectionError: time.sleep(0.2)
print("mcp", version("mcp"), "grant_types_supported", meta["grant_types_supported"])
def register(*grants):
    return requests.post(base + "/register", json={"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none", "grant_types": list(grants)}).json()["client_id"]
def token(what, **form):
    r = requests.post(base + "/token", data=form); j = r.json()
    print(f"{what}: {r.status_code} {j['error']}: {j.get('error_description', '')[:60]}")
    return j
both, one = register("authorization_code", "refresh_token"), register("authorization_code")
a = token("device grant", client_id=both, grant_type="urn:ietf:params:oauth:grant-type:device_code", device_code="x")
b = token("refresh, client has the grant", client_id=both, grant_type="refresh_token", refresh_token="x")
c = token("refresh, client lacks the grant", client_id=one, grant_type="refresh_token", refresh_token="x")
sys.exit(not (a["error"] == "invalid_request" and a["error_description"].startswith(": Input tag") and b["error"] == "invalid_grant" and c["error"] == "unsupported_grant_type" and "refresh_token" in meta["grant_types_supported"]))
PY
