#!/usr/bin/env bash
# Product: python-jose 3.5.0 (PyPI), jwt.decode with a whole JWK set as the key.
# Expected: the set is searched by the token's "kid" (RFC 7517 section 4.5), so the
# order of its members means nothing ("the order of JWKs in a set does not imply an
# order of preference", section 5.1).
# Instead: "kid" is not looked at, the keys are tried from the front, and the first
# key of another type ends the search with JWKError, which is not tried past. The
# same two keys verify the same token in one order and not in the other.
# An authorization server that serves RSA and EC keys works or fails by the order
# it prints them; a program that uses this library should pick the key by kid
# first and hand over that one.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install 'python-jose[cryptography]==3.5.0'
"$tmp/venv/bin/python" -W ignore - <<'PY'
import sys, jose
from jose import jwt, jwk
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose.backends import ECKey, RSAKey
print("python-jose", jose.__version__)
e = ec.generate_private_key(ec.SECP256R1()); r = rsa.generate_private_key(65537, 2048)
E = {**ECKey(e.public_key(), "ES256").to_dict(), "kid": "e"}
R = {**RSAKey(r.public_key(), "RS256").to_dict(), "kid": "r"}
tok = jwt.encode({"sub": "s"}, ECKey(e, "ES256"), algorithm="ES256", headers={"kid": "e"})
out = []
for keys in ([E, R], [R, E]):
    try: jwt.decode(tok, {"keys": keys}, algorithms=["ES256"]); x = "ok"
    except Exception as x_: x = f"{type(x_).__name__}: {x_}"
    out.append(x); print([k["kid"] for k in keys], "->", x)
sys.exit(not (out[0] == "ok" and out[1].startswith("JWKError")))
PY
