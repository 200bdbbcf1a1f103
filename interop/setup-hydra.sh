#!/usr/bin/env bash
# Builds Ory Hydra, pinned, from the Go module proxy, with SQLite, into interop/peers/hydra. It needs Go and a C compiler.
# What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/peers"
hydra=2.3.0
module=github.com/ory/hydra/v2@v$hydra
mkdir -p hydra
if [ "$(cat hydra/built 2>/dev/null || true)" != "$hydra" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	export GOWORK=off
	go mod download "$module"
	cp -r "$(go env GOMODCACHE)/$module" "$work/source"
	chmod -R u+w "$work"
	# The published module replaces another with a directory that it does not contain.
	(cd "$work/source" && go mod edit -dropreplace github.com/ory/hydra-client-go/v2 &&
		GOFLAGS=-mod=mod go build -buildvcs=false -tags sqlite,json1 -o "$work/hydra" .)
	mv "$work/hydra" hydra/hydra
	echo "$hydra" >hydra/built
fi
echo "Ory Hydra $hydra: ready"
