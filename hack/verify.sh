#!/usr/bin/env bash
# Fails when a file that a command makes is not what the command would make.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "verify: $1" >&2; exit 1; }

go mod tidy -diff >/dev/null || fail "go.mod is not tidy: run go mod tidy"
go mod verify >/dev/null || fail "a module in the cache is not what go.sum says"
echo "verify: everything generated is up to date"
