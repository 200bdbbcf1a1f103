#!/usr/bin/env bash
# Product: PyJWT 2.15.1 (PyPI) with cryptography installed.
# Expected: a JWK set with one Ed25519 key and "alg":"Ed25519" (the name that RFC 9864
# registered in place of the now deprecated "EdDSA"; current JOSE libraries write it)
# is read, and a reader too old for the name says that the algorithm is unknown.
# Instead: the key is dropped in silence, and the error for the set is "did not
# contain any usable keys. Perhaps 'cryptography' is not installed?", which it is.
# Without "alg" the same key is taken as "EdDSA", and a token with alg "Ed25519" is
# refused by "does not match the key's algorithm 'EdDSA'", even where the caller
# named "Ed25519" among the allowed algorithms.
# A client that signs assertions should write "EdDSA" (or use ES256) unless the
# server lists "Ed25519"; a server should expect such readers.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install 'pyjwt[crypto]==2.15.1'
"$tmp/venv/bin/python" - <<'PY'
import sys, json, base64, jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
print("PyJWT", jwt.__version__)
key = Ed25519PrivateKey.generate()
jwk = {"kid": "k", **{n: v for n, v in json.loads(OKPAlgorithm.to_jwk(key.public_key())).items() if n != "alg"}}
b = lambda x: base64.urlsafe_b64encode(x).rstrip(b"=")
def token(alg):
    m = b(json.dumps({"alg": alg, "kid": "k"}).encode()) + b"." + b(b'{"sub":"s"}')
    return (m + b"." + b(key.sign(m))).decode()
def attempt(name, **more):
    try:
        k = jwt.PyJWKSet.from_dict({"keys": [{**jwk, **more}]}).keys[0]
        jwt.decode(token(name), k, algorithms=["EdDSA", "Ed25519"])
        r = "ok"
    except jwt.PyJWTError as e:
        r = f"{type(e).__name__}: {e}"
    print(f"token alg {name}, JWK alg {more.get('alg', '(absent)')}: {r}")
    return r
a = attempt("EdDSA"); c = attempt("Ed25519"); d = attempt("Ed25519", alg="Ed25519")
sys.exit(not (a == "ok" and "does not match the key's algorithm 'EdDSA'" in c and "Perhaps 'cryptography'" in d))
PY
