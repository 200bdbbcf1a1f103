#!/usr/bin/env bash
# Products: joserfc 1.8.0 and Authlib 1.9.10 (authlib.jose), both PyPI, same author.
# Expected: a JWK set in which one key is of a kind that the reader does not know
# loses only that key. RFC 7517 section 5: keys with a "kty" that is not understood
# or with values outside the supported ranges SHOULD be ignored.
# Instead each library follows only half of this, and not the same half: joserfc
# skips an unknown "kty" (AKP, the type of ML-DSA keys) but raises KeyError for an
# unknown curve; Authlib raises KeyError for the unknown "kty" and accepts the
# unknown curve. In both cases the good ES256 key beside it becomes unusable.
# A server that adds a new kind of key breaks one of the two; a client should skip
# what it cannot read, key by key.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install joserfc==1.8.0 authlib==1.9.10
"$tmp/venv/bin/python" -W ignore - <<'PY'
import sys, joserfc, authlib
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from authlib.jose import JsonWebKey, JsonWebToken
print("joserfc", joserfc.__version__, "authlib", authlib.__version__)
key = ECKey.generate_key("P-256", {"kid": "good"})
good = key.as_dict(private=False)
tok = jwt.encode({"alg": "ES256", "kid": "good"}, {"sub": "s"}, key)
odd = {"unknown kty": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "pq"},
       "unknown crv": {"kty": "EC", "crv": "P-999", "x": "AAAA", "y": "AAAA", "kid": "ec"}}
def j(s): jwt.decode(tok, KeySet.import_key_set(s))
def a(s): JsonWebToken(["ES256"]).decode(tok, JsonWebKey.import_key_set(s))
seen = {}
for name, o in odd.items():
    for lib, f in (("joserfc", j), ("authlib", a)):
        try: f({"keys": [o, good]}); r = "ok"
        except Exception as e: r = f"{type(e).__name__}({e})"
        seen[lib, name] = r
        print(f"{lib:8} {name}: {r}")
sys.exit(not (seen["joserfc", "unknown kty"] == "ok" and seen["joserfc", "unknown crv"].startswith("KeyError")
  and seen["authlib", "unknown kty"].startswith("KeyError") and seen["authlib", "unknown crv"] == "ok"))
PY
