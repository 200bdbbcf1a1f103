"""The official Python SDK's own OAuth client logs in to the server at argv[1] and lists tools."""
import asyncio
import sys
from urllib.parse import parse_qs, urlparse

import httpx2
from mcp import ClientSession
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

answers = []


class Memory:
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def redirect(url):
    async with httpx2.AsyncClient(follow_redirects=False) as http:
        answers.append((await http.get(url)).headers["location"])


async def callback():
    q = parse_qs(urlparse(answers[-1]).query)
    return AuthorizationCodeResult(code=q["code"][0], state=q["state"][0], iss=q.get("iss", [None])[0])


async def main(url):
    metadata = OAuthClientMetadata(redirect_uris=["http://127.0.0.1:45995/callback"], client_name="interop", token_endpoint_auth_method="none")
    provider = OAuthClientProvider(url, metadata, Memory(), redirect, callback)
    async with httpx2.AsyncClient(auth=provider, timeout=20) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                print("tools:", len((await session.list_tools()).tools))


asyncio.run(main(sys.argv[1]))
