#!/usr/bin/env bash
# Product: mcp 2.3.0 (PyPI), the authorization server of the Python SDK for MCP; the
# client is Authlib 1.9.10's OAuth2Session.
# Expected: the server lists client_secret_basic, so a client that sends its id and
# secret in the Authorization header is complete: RFC 6749 section 2.3.1 calls this the
# way that every server with passwords MUST support, and section 4.1.3 asks for
# client_id in the body only if the client does not authenticate. The scheme name is
# compared without case (RFC 9110 section 11.1).
# Instead: without client_id in the body too, the answer is 401 invalid_client
# "Missing client_id"; and "basic" in lower case is refused as missing.
# A client should send client_id in the body besides Basic when it speaks to such a
# server (others ignore it) and write "Basic" with a capital letter.
set -euo pipefail
tmp=$(mktemp -d); srv=; trap '[ -z "$srv" ] || kill "$srv" 2>/dev/null || true; rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install mcp==2.3.0 authlib==1.9.10 requests
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
cat >"$tmp/as.py" <<'PY'
import sys, uvicorn
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull
port = int(sys.argv[1])
class P:
    async def get_client(self, i):
        if i == "c": return OAuthClientInformationFull(client_id="c", client_secret="s", token_endpoint_auth_method="client_secret_basic", redirect_uris=["http://127.0.0.1/cb"])
    async def load_authorization_code(self, client, code): return None
uvicorn.run(Starlette(routes=create_auth_routes(P(), AnyHttpUrl(f"http://127.0.0.1:{port}"), client_registration_options=ClientRegistrationOptions(enabled=True))), host="127.0.0.1", port=port, log_level="error")
PY
"$tmp/venv/bin/python" -W ignore "$tmp/as.py" "$port" & srv=$!
"$tmp/venv/bin/python" -W ignore - "$port" <<'PY'
import sys, time, json, os, requests
from importlib.metadata import version
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
from authlib.integrations.requests_client import OAuth2Session
base = f"http://127.0.0.1:{sys.argv[1]}"
for _ in range(100):
    try: meta = requests.get(base + "/.well-known/oauth-authorization-server").json(); break
    except requests.ConnectionError: time.sleep(0.2)
print("mcp", version("mcp"), "authlib", version("authlib"), "server lists", meta["token_endpoint_auth_methods_supported"])
out = {}
def library():
    s = OAuth2Session("c", "s", token_endpoint_auth_method="client_secret_basic")
    s.register_compliance_hook("access_token_response", lambda r: out.__setitem__("authlib", (r.status_code, r.json())) or r)
    try: s.fetch_token(base + "/token", code="x", redirect_uri="http://127.0.0.1/cb", code_verifier="v" * 43)
    except Exception: pass
library()
f = {"grant_type": "authorization_code", "code": "x", "redirect_uri": "http://127.0.0.1/cb", "code_verifier": "v" * 43, "client_id": "c"}
for n, scheme in (("client_id in the body", "Basic"), ("lower case scheme", "basic")):
    r = requests.post(base + "/token", data=f, headers={"Authorization": scheme + " Yzpz"}); out[n] = (r.status_code, r.json())
for n, v in out.items(): print(f"{n:22}", *v)
sys.exit(not ("client_secret_basic" in meta["token_endpoint_auth_methods_supported"] and out["authlib"][0] == 401 and out["authlib"][1]["error_description"] == "Missing client_id"
  and out["client_id in the body"][1]["error"] == "invalid_grant" and out["lower case scheme"][0] == 401))
PY
