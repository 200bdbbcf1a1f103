"""FastMCP's client logs in to the server at argv[1]; prints how many milliseconds passed until it opened the browser."""
import asyncio
import os
import sys
import time
import webbrowser

from fastmcp import Client
from fastmcp.client.auth import OAuth


def opened(*_, **__):
    print((time.monotonic() - start) * 1000, flush=True)
    os._exit(0)


webbrowser.open = opened


async def main():
    async with Client(sys.argv[1], auth=OAuth(sys.argv[1])):
        pass


start = time.monotonic()
asyncio.run(asyncio.wait_for(main(), 20))
