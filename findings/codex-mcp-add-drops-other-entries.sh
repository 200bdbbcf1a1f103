#!/usr/bin/env bash
# Codex CLI 0.171.0: `codex mcp add NAME` writes all other MCP servers of config.toml anew and drops what it does
# not know.
# Expected: adding an entry leaves the rest of the file as it is; Codex uses a TOML library that keeps
# comments and order, and it loads a file with unknown keys without a warning.
# Instead every [mcp_servers.*] table is printed again: comments inside and between them go, the comment at the
# head of the file goes if such a table comes first, inline and dotted forms become tables, 10 becomes 10.0,
# CRLF becomes LF, and keys that this version does not know are lost, subtables included.
# A configuration editor should not call `codex mcp add` on a file that people keep by hand or that another
# Codex version writes too; appending one table to the end of the file changes nothing else.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @openai/codex@0.171.0
export HOME="$T/home"
mkdir -p "$HOME/work"
cat >"$T/probe.py" <<'EOF'
import json, sys

import os, pathlib, re, subprocess

HOME = pathlib.Path(os.environ["HOME"])


def host(*command):
    """Runs the host's command in a home directory of its own and gives its output."""
    env = {"PATH": os.environ["PATH"], "HOME": str(HOME), "TERM": "dumb", "NO_COLOR": "1", **ENVIRONMENT}
    done = subprocess.run(command, cwd=HOME / "work", env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    return " ".join((done.stdout + done.stderr).split())


def release(command):
    return re.search(r"\d+\.\d+\.\d+", host(command, "--version")).group()


def put(name, text):
    path = HOME / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

ENVIRONMENT = {}

before = """# kept by hand, see the wiki
[mcp_servers.files] # the file server
command = "files"
startup_timeout_sec = 10
future_key = "from a newer version"
[mcp_servers.files.vendor]
k = 1

[vendor]
z = 1 # stays
"""
config = put(".codex/config.toml", before)
said = host(sys.argv[1], "mcp", "add", "second", "--", "second-server")
after = config.read_text()
print("codex", release(sys.argv[1]), "|", said[-40:])
print("".join(f"  {line}\n" for line in after.splitlines()), end="")
lost = [part for part in ("kept by hand", "the file server", "future_key", "[mcp_servers.files.vendor]") if part not in after]
print("lost:", lost)
sys.exit(0 if len(lost) == 4 and "startup_timeout_sec = 10.0" in after and "z = 1 # stays" in after and "second-server" in after else 1)
EOF
python3 "$T/probe.py" "$T/node_modules/.bin/codex"
