#!/usr/bin/env bash
# Product: requests-oauthlib 2.0.0 with oauthlib 4.0.1 (PyPI).
# Expected: authorization_url(..., resource=[a, b]) sends the parameter "resource"
# twice, which RFC 8707 section 2 allows and which Python's own HTTP clients do with a
# list (requests' params=). Authlib 1.9.10 does so with the same call.
# Instead: the list is turned into text, and the server gets one resource that is a
# Python literal: ['https://a.example/', 'https://b.example/'].
# With this library several resources need hand-made query text; a server that gets
# a resource that starts with "[" has met it.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install requests-oauthlib==2.0.0 oauthlib==4.0.1 authlib==1.9.10
"$tmp/venv/bin/python" -W ignore - <<'PY'
import sys, urllib.parse as p
from importlib.metadata import version
from requests_oauthlib import OAuth2Session as R
from authlib.integrations.requests_client import OAuth2Session as A
print("requests-oauthlib", version("requests-oauthlib"), "oauthlib", version("oauthlib"), "authlib", version("authlib"))
res = ["https://a.example/", "https://b.example/"]
r = R("c").authorization_url("https://as.example/authorize", resource=res)[0]
a = A("c").create_authorization_url("https://as.example/authorize", resource=res)[0]
f = lambda u: p.parse_qs(p.urlsplit(u).query)["resource"]
print("requests-oauthlib:", f(r)); print("authlib          :", f(a))
sys.exit(not (f(r) == [str(res)] and f(a) == res))
PY
