#!/usr/bin/env bash
# Products: requests-oauthlib 2.0.0 with oauthlib 4.0.1, and Authlib 1.9.10 (PyPI).
# Expected: a token answer with "expires_in": 0 is a token that is over at once
# (RFC 6749 section 5.1: the lifetime in seconds; appendix A.14 allows the digit 0),
# so the library records an expiry and refreshes before the next use.
# Instead both read 0 as "no lifetime given": oauthlib removes expires_in from the
# answer and sets no expires_at; Authlib's is_expired() gives None. The token counts
# as good for ever, which is the opposite of what the server said.
# A client should tell 0 from absent: 0 means ended, absent means unknown.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install requests-oauthlib==2.0.0 oauthlib==4.0.1 authlib==1.9.10
"$tmp/venv/bin/python" -W ignore - <<'PY'
import sys, json, oauthlib, authlib
from oauthlib.oauth2 import WebApplicationClient
from authlib.oauth2.rfc6749 import OAuth2Token
print("oauthlib", oauthlib.__version__, "authlib", authlib.__version__)
body = {"access_token": "at", "token_type": "Bearer", "expires_in": 0, "refresh_token": "rt"}
t = WebApplicationClient("c").parse_request_body_response(json.dumps(body))
print("oauthlib :", dict(t))
a = OAuth2Token.from_dict(dict(body))
print("authlib  :", dict(a), "is_expired:", a.is_expired())
sys.exit(not ("expires_in" not in t and not t.get("expires_at") and a.is_expired() is None))
PY
