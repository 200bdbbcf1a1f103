"""The official Python SDK's server with its own OAuth endpoints, its provider in memory, on loopback: PORT=9901 AT_TTL=5

The provider, which the SDK leaves to the program, approves every authorization request.
"""
import os
import secrets
import time

from mcp.server.auth.provider import AccessToken, AuthorizationCode, RefreshToken, construct_redirect_uri
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthToken
from pydantic import AnyHttpUrl

port = int(os.environ["PORT"])
base = f"http://127.0.0.1:{port}"
lifetime = int(os.environ["AT_TTL"])


class Provider:
    def __init__(self):
        self.clients, self.codes, self.access, self.refresh = {}, {}, {}, {}

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client):
        self.clients[client.client_id] = client

    async def authorize(self, client, asked):
        code = secrets.token_hex(16)
        self.codes[code] = AuthorizationCode(
            code=code, client_id=client.client_id, redirect_uri=asked.redirect_uri, redirect_uri_provided_explicitly=asked.redirect_uri_provided_explicitly,
            expires_at=time.time() + 300, scopes=asked.scopes or ["user"], code_challenge=asked.code_challenge, resource=asked.resource)
        return construct_redirect_uri(str(asked.redirect_uri), code=code, state=asked.state)

    async def load_authorization_code(self, client, code):
        return self.codes.get(code)

    async def exchange_authorization_code(self, client, code):
        del self.codes[code.code]
        return self.issue(client.client_id, code.scopes, code.resource)

    async def load_refresh_token(self, client, token):
        return self.refresh.get(token)

    async def exchange_refresh_token(self, client, token, scopes):
        del self.refresh[token.token]
        return self.issue(client.client_id, scopes, token.resource)

    async def load_access_token(self, token):
        found = self.access.get(token)
        return found if found and found.expires_at > time.time() else None

    async def revoke_token(self, token):
        self.access.pop(token.token, None)
        self.refresh.pop(token.token, None)

    def issue(self, client_id, scopes, resource):
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self.access[access] = AccessToken(token=access, client_id=client_id, scopes=scopes, expires_at=int(time.time()) + lifetime, resource=resource)
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client_id, scopes=scopes, resource=resource)
        return OAuthToken(access_token=access, token_type="Bearer", expires_in=lifetime, scope=" ".join(scopes), refresh_token=refresh)


mcp = MCPServer("python-sdk", auth_server_provider=Provider(), auth=AuthSettings(
    issuer_url=AnyHttpUrl(base), resource_server_url=AnyHttpUrl(base + "/mcp"), required_scopes=["user"], validate_token_resource=True,
    client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=["user"], default_scopes=["user"]),
    revocation_options=RevocationOptions(enabled=True)))


@mcp.tool()
def add(a: int, b: int) -> int:
    return a + b


mcp.run(transport="streamable-http", host="127.0.0.1", port=port)
