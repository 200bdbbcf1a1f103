#!/usr/bin/env bash
# Gemini CLI 0.61.0 and Qwen Code 0.24.4: settings.json may hold comments, and one trailing comma stops the host.
# Expected: a file that takes `//` and `/* */` is JSON with comments as editors know it, where a comma after the
# last entry is read over; opencode 1.18.33 reads both, and so does jsonc-parser 3.3.1, the parser of VS Code.
# Instead comments are removed and the rest goes to the strict parser. With a trailing comma neither host starts,
# and Qwen also saves a copy of the file as settings.json.corrupted. Claude Code 2.1.332 takes neither comments
# nor commas in its files.
# A configuration editor must not add a trailing comma for these hosts, even if its JSONC library keeps or
# prefers one, and should warn about one that it finds: the host is down, not only the new server.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$T" @google/gemini-cli@0.61.0 @qwen-code/qwen-code@0.24.4 jsonc-parser@3.3.1
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

comments = """{ // settings
  "mcpServers": { "s": { "httpUrl": "http://127.0.0.1:9/mcp" } /* the only one */ }
}
"""
comma = comments.replace(" /* the only one */ }", ", }")
script = "const {parse}=require('jsonc-parser');const e=[];parse(process.argv[1],e,{allowTrailingComma:true});console.log(e.length)"
found = [subprocess.run(["node", "-e", script, text], cwd=sys.argv[3], capture_output=True, text=True).stdout.strip() for text in (comments, comma)]
print("jsonc-parser errors:", found)
good = found == ["0", "0"]
for name, command in (("gemini", sys.argv[1]), ("qwen", sys.argv[2])):
    version = release(command)
    put(f".{name}/settings.json", comments)
    first = host(command, "mcp", "list")
    put(f".{name}/settings.json", comma)
    second = host(command, "mcp", "list")
    copies = sorted(path.name for path in (HOME / f".{name}").glob("*corrupted*"))
    print(name, version, "comments:", first[-40:], "| trailing comma:", second[:110], copies)
    good = good and "http://127.0.0.1:9/mcp" in first and "s: http" not in second and "double-quoted property name" in second
    good = good and bool(copies) == (name == "qwen")
sys.exit(0 if good else 1)
EOF
python3 "$T/probe.py" "$T/node_modules/.bin/gemini" "$T/node_modules/.bin/qwen" "$T"
