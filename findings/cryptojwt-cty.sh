#!/usr/bin/env bash
# Product: cryptojwt 1.11.0 (PyPI), the JOSE library of pyoidc, idpy-oidc and pyop.
# Expected: a JWT with the header member "cty":"json" is read as any other. RFC 7515
# section 4.1.10 makes "cty" a hint that the library ignores; only the value "JWT"
# has a meaning in RFC 7519 section 5.2 (a nested token).
# Instead the rule is turned round: with any "cty" other than "JWT" the payload is
# not parsed as JSON, not even for "json", and JWT.unpack ends in AttributeError: 'str'
# object has no attribute 'get', which is none of the library's own errors.
# A client that signs assertions or request objects for such a server should not
# set "cty"; a caller of this library has to be ready for AttributeError.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install cryptojwt==1.11.0
"$tmp/venv/bin/python" -W ignore - <<'PY'
import sys, json, base64
from importlib.metadata import version
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptojwt.jwk.ec import ECKey
from cryptojwt.jwt import JWT
from cryptojwt.key_jar import KeyJar
print("cryptojwt", version("cryptojwt"))
priv = ec.generate_private_key(ec.SECP256R1())
pub = ECKey(kid="k", use="sig").load_key(priv.public_key())
kj = KeyJar(); kj.import_jwks({"keys": [pub.serialize()]}, "https://as.example")
b = lambda x: base64.urlsafe_b64encode(x).rstrip(b"=")
def token(header):
    m = b(json.dumps({"alg": "ES256", "kid": "k", **header}).encode()) + b"." + b(b'{"iss":"https://as.example","sub":"s","aud":"https://rs.example"}')
    r, s = utils.decode_dss_signature(priv.sign(m, ec.ECDSA(hashes.SHA256())))
    return (m + b"." + b(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()
out = []
for h in ({}, {"cty": "json"}):
    try: r = "ok " + JWT(key_jar=kj, iss="https://rs.example", allowed_sign_algs=["ES256"]).unpack(token(h))["sub"]
    except Exception as e: r = f"{type(e).__name__}: {e}"
    out.append(r); print("header", h, "->", r)
sys.exit(not (out[0] == "ok s" and out[1].startswith("AttributeError")))
PY
