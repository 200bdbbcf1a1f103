"""FastMCP with each of its ways to do OAuth, on loopback: PORT=9801 AT_TTL=5 and MODE, one of

memory   an authorization server of its own, in memory
proxy    OAuthProxy, FastMCP's way to sit before GitHub, Google or Entra, before an oidc-provider at OP
oidc     OIDCProxy, the same for a server with OpenID Connect metadata
remote   RemoteAuthProvider: the oidc-provider at OP itself
"""
import os

from fastmcp import FastMCP
from fastmcp.server.auth import OAuthProxy, OIDCProxy, RemoteAuthProvider
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers import in_memory
from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier
from fastmcp.server.auth.providers.jwt import JWTVerifier

port = int(os.environ["PORT"])
base = f"http://127.0.0.1:{port}"
op = os.environ.get("OP", "")
mode = os.environ["MODE"]
client = {"client_id": "conf", "client_secret": "conf-secret-0123456789abcdef0123456789"}
scopes = ["mcp:read", "mcp:write", "offline_access", "openid"]
in_memory.DEFAULT_ACCESS_TOKEN_EXPIRY_SECONDS = int(os.environ["AT_TTL"])


def asks():
    return IntrospectionTokenVerifier(introspection_url=f"{op}/token/introspection", **client)


if mode == "memory":
    auth = in_memory.InMemoryOAuthProvider(
        base_url=base, revocation_options=RevocationOptions(enabled=True),
        client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=scopes, default_scopes=["mcp:read"]),
    )
elif mode == "proxy":
    auth = OAuthProxy(
        upstream_authorization_endpoint=f"{op}/auth", upstream_token_endpoint=f"{op}/token", upstream_revocation_endpoint=f"{op}/token/revocation",
        upstream_client_id=client["client_id"], upstream_client_secret=client["client_secret"], token_verifier=asks(),
        base_url=base, redirect_path="/callback", valid_scopes=scopes, forward_resource=False, jwt_signing_key="loopback-only",
    )
elif mode == "oidc":
    auth = OIDCProxy(
        config_url=f"{op}/.well-known/openid-configuration", **client, token_verifier=asks(),
        base_url=base, redirect_path="/callback", valid_scopes=scopes, forward_resource=False, jwt_signing_key="loopback-only",
    )
else:
    auth = RemoteAuthProvider(
        token_verifier=JWTVerifier(jwks_uri=f"{op}/jwks", issuer=op, audience=base + "/mcp"),
        authorization_servers=[op], base_url=base, scopes_supported=["mcp:read"],
    )
mcp = FastMCP("fastmcp", auth=auth)


@mcp.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


mcp.run(transport="http", host="127.0.0.1", port=port, show_banner=False)
