#!/usr/bin/env bash
# Lints the product. The linter is built once from its pinned module and kept.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l)
if [[ -n $unformatted ]]; then
	echo "not formatted; run gofmt -w on:" >&2
	echo "$unformatted" >&2
	exit 1
fi

linter=$(hack/tool.sh golangci-lint)
"$linter" run ./cmd/... ./pkg/... ./test/... ./hack/demo/... ./manifests/... ./charts/...
