#!/usr/bin/env bash
# Installs the peers of the interop tests, pinned, into interop/peers: npm packages (a Node 24 among
# them), a Python environment with FastMCP and fastmcp-remote, and Debian's Chromium. It needs npm,
# python3 with venv, and root for the last. What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/peers"
if [ ! -x node_modules/.bin/node ] || [ ! -d node_modules/oidc-provider ] || [ ! -d node_modules/@modelcontextprotocol/conformance ] || [ ! -d node_modules/mcp-remote ]; then
	npm install --no-audit --no-fund --loglevel=error
fi
if [ ! -x venv/bin/python ] || ! venv/bin/python -c 'import fastmcp' 2>/dev/null || [ ! -x venv/bin/fastmcp-remote ]; then
	python3 -m venv venv
	venv/bin/pip install -q --disable-pip-version-check -r requirements.txt
fi
if ! command -v chromium >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
echo "peers: ready"
