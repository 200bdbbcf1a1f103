#!/usr/bin/env bash
# Product: joserfc 1.8.0 (PyPI), jwt.decode with its defaults.
# Expected: a signed JWT whose header has a member that the reader does not know is
# read, and the member is ignored: RFC 7515 section 4 says that unknown header
# parameters that "crit" does not name MUST be ignored. RFC 7519 section 5.3 even
# describes one such use, claims such as "iss" repeated as header parameters.
# Instead: joserfc raises UnsupportedHeaderError for "iss" in the header, though
# the signature is good and there is no "crit".
# A client that signs assertions (private_key_jwt, RFC 7523, DPoP) should put only
# registered header parameters into them, because a joserfc server refuses others.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q --disable-pip-version-check install joserfc==1.8.0
"$tmp/venv/bin/python" - <<'PY'
import sys, joserfc, base64, json
from joserfc import jwt, jws
from joserfc.jwk import ECKey
from joserfc.errors import UnsupportedHeaderError
print("joserfc", joserfc.__version__)
key = ECKey.generate_key("P-256")
claims = {"iss": "https://client.example", "sub": "s", "aud": "https://as.example"}
plain = jwt.encode({"alg": "ES256"}, claims, key)
print("plain header:", jwt.decode(plain, key).claims["iss"])
# The same claims with the issuer repeated in the header (RFC 7519 section 5.3).
reg = jws.JWSRegistry(strict_check_header=False)
rich = jwt.encode({"alg": "ES256", "iss": claims["iss"]}, claims, key, registry=reg)
try:
    jwt.decode(rich, key)
    print("header with iss: accepted")
    sys.exit(1)
except UnsupportedHeaderError as e:
    print("header with iss:", type(e).__name__, e)
ok = jwt.decode(rich, key, registry=reg).claims["iss"]
print("header with iss, strict_check_header=False:", ok)
PY
