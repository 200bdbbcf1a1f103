#!/usr/bin/env bash
# Gemini CLI 0.61.0 and Qwen Code 0.24.4: `mcp add` writes the values of environment variables into the entries
# of other servers.
# Expected: both replace `$NAME` when they read settings.json, so that a token can stay in the environment; the
# file itself keeps the reference, and adding server b does not touch server a.
# Instead the file is written back from the settings as they were read: `"Bearer $WORK_TOKEN"` of server a
# becomes `"Bearer abc123"` in the file (Gemini writes the default out of `${NAME:-default}` too; Qwen leaves
# that form). From then on the entry no longer follows the variable. Comments survive in both.
# A configuration editor should edit the text of these files itself instead of calling `mcp add`. A person who
# has used `mcp add` should look for values where references were.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @google/gemini-cli@0.61.0 @qwen-code/qwen-code@0.24.4
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

ENVIRONMENT = {"WORK_TOKEN": "abc123"}

entry = """{
  // servers
  "mcpServers": {
    "a": { "httpUrl": "http://127.0.0.1:9/mcp", "headers": { "Authorization": "Bearer $WORK_TOKEN", "X-Team": "${TEAM:-blue}" } }
  }
}
"""
good = True
for name, command in (("gemini", sys.argv[1]), ("qwen", sys.argv[2])):
    settings = put(f".{name}/settings.json", entry)
    host(command, "mcp", "add", "-s", "user", "b", "server-b")
    text = settings.read_text()
    headers = [" ".join(line.split()) for line in text.splitlines() if "Authorization" in line or "X-Team" in line]
    print(name, release(command), "after adding b, server a has", headers)
    good = good and '"server-b"' in text and "Bearer abc123" in text and "// servers" in text
    good = good and ('"blue"' in text if name == "gemini" else "${TEAM:-blue}" in text)
sys.exit(0 if good else 1)
EOF
python3 "$T/probe.py" "$T/node_modules/.bin/gemini" "$T/node_modules/.bin/qwen"
