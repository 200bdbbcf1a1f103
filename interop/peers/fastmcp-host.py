"""FastMCP's client as a host: fastmcp-host.py TOOL COMMAND ARGUMENT... starts the command, lists the tools and calls one."""
import asyncio
import os
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport


async def main(tool, command, *args):
    async with Client(StdioTransport(command, list(args), env=dict(os.environ), keep_alive=False)) as client:
        tools = await client.list_tools()
        for _ in range(20):
            await client.call_tool(tool, {})
        print("tools:", *(t.name for t in tools))


asyncio.run(main(*sys.argv[1:]))
