#!/usr/bin/env bash
# Prints the path of a developer tool pinned in hack/tools/go.mod, building it when the
# cache does not have it. Usage: hack/tool.sh golangci-lint
set -euo pipefail
cd "$(dirname "$0")/tools"

name=$1
cache=${O2IMS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/o2ims}/tools
key=$(cat go.mod go.sum <(go version) | sha256sum | cut -c1-16)
binary=$cache/$name-$key
if [[ ! -x $binary ]]; then
	package=$(go list -f '{{.ImportPath}}' tool | grep -E "/$name(/v[0-9]+)?(/cmd/$name)?\$" | head -n 1)
	[[ -n $package ]] || { echo "$name is no tool of hack/tools/go.mod" >&2; exit 1; }
	echo "building $name (up to 3 min the first time)" >&2
	mkdir -p "$cache"
	start=$SECONDS
	CGO_ENABLED=0 go build -trimpath -o "$binary.new" "$package"
	mv "$binary.new" "$binary"
	echo "built $name in $((SECONDS - start)) s" >&2
fi
echo "$binary"
