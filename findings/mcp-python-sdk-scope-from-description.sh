#!/usr/bin/env bash
# Product: mcp 2.3.0 (PyPI), the Python SDK for MCP, extract_scope_from_www_auth.
# Expected: the scope of a Bearer challenge is its "scope" parameter. Text in another
# quoted parameter is text: RFC 9110 section 5.6.4 (quoted-string with \" inside).
# Parameter names are compared without case and may have blanks around "="
# (RFC 9110 section 11.2).
# Instead: the field is searched, not parsed. With error_description="no scope=\"x\"
# given" in front, the client takes \"x\" as the scope to ask for; with "Scope=" or
# 'scope = "a b"' it finds none.
# A server should leave parameter names out of error_description and write scope
# first; a client needs a real parser for challenges.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install mcp==2.3.0
"$tmp/venv/bin/python" -W ignore - <<'PY'
import sys, httpx2
from importlib.metadata import version
from mcp.client.auth.utils import extract_scope_from_www_auth as f
print("mcp", version("mcp"))
cases = {
  'plain': 'Bearer scope="a b"',
  'quoted text first': r'Bearer error="insufficient_scope", error_description="no scope=\"x\" given", scope="a b"',
  'name in capitals': 'Bearer Scope="a b"',
  'blanks around =': 'Bearer scope = "a b"',
}
out = {}
for n, v in cases.items():
    out[n] = f(httpx2.Response(401, headers={"www-authenticate": v}))
    print(f"{n:18} {v}  ->  {out[n]!r}")
sys.exit(not (out['plain'] == 'a b' and out['quoted text first'] == '\\"x\\"' and out['name in capitals'] is None and out['blanks around ='] is None))
PY
