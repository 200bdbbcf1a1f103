#!/usr/bin/env bash
# Installs the peers of the interop tests, pinned, into interop/peers: npm packages (a Node 24 among
# them), a Python environment with FastMCP and fastmcp-remote and one with authorization servers,
# and Debian's Chromium; and builds those that are Go modules. It needs npm, python3 with venv, Go, and root for Chromium. What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/peers"
if ! cmp -s package-lock.json node_modules/installed; then
	npm ci --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/installed
fi
for dir in . products; do
	if ! cmp -s $dir/requirements.txt $dir/venv/installed; then
		python3 -m venv $dir/venv
		$dir/venv/bin/pip install -q --disable-pip-version-check -r $dir/requirements.txt
		cp $dir/requirements.txt $dir/venv/installed
	fi
done
if ! command -v chromium >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
for peer in zitadel fosite; do
	(cd "$peer" && GOWORK=off go build -o /dev/null .) # the tests build them again, from Go's cache
done
echo "peers: ready"
