#!/usr/bin/env bash
# Runs every fuzz target for the given time. Usage: hack/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' pkg | sort | while IFS=: read -r file target; do
	target=${target#func }
	echo "fuzz $target in $(dirname "$file") for $time"
	go test -trimpath -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")"
done
