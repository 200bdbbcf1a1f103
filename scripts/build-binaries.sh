#!/usr/bin/env bash
# Builds the static binaries of a release, for three systems and two architectures, with their
# checksums, into dist/ or the directory named. The same commit gives the same bytes.
#   scripts/build-binaries.sh [DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${1:-dist}
version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' ./*.go)
mkdir -p "$dir"
rm -f "$dir"/mcpoauth_* "$dir"/SHA256SUMS
for os in linux darwin windows; do
	for arch in amd64 arm64; do
		out=mcpoauth_${version}_${os}_${arch}
		[ "$os" = windows ] && out=$out.exe
		CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -ldflags "-s -w" -o "$dir/$out" ./cmd/mcpoauth
		echo "$dir/$out"
	done
done
(cd "$dir" && sha256sum mcpoauth_* >SHA256SUMS)
echo "$dir/SHA256SUMS"
