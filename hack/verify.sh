#!/usr/bin/env bash
# Fails when a file that a command makes is not what the command would make.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "verify: $1" >&2; exit 1; }

go mod tidy -diff >/dev/null || fail "go.mod is not tidy: run go mod tidy"
go mod verify >/dev/null || fail "a module in the cache is not what go.sum says"

generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT
hack/generate.sh "$generated"
for kept in manifests/crds charts/o2ims/crds; do
	diff -ru "$kept" "$generated/$kept" >&2 || fail "$kept is not what pkg/apis says: run make generate"
done
find "$generated/pkg" -type f | while read -r file; do
	kept=${file#"$generated/"}
	diff -u "$kept" "$file" >&2 || fail "$kept is not what pkg/apis says: run make generate"
done
echo "verify: everything generated is up to date"
