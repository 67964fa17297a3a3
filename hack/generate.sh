#!/usr/bin/env bash
# Writes what is generated: deep copies and CRDs from pkg/apis, and the chart's copy of the
# CRDs (a copy, since helm package does not follow links). Usage: hack/generate.sh [ROOT],
# where ROOT gets the files instead of the work tree.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$(realpath "${1:-.}")
generator=$(hack/tool.sh controller-gen)
crds=$root/manifests/crds
mkdir -p "$crds" "$root/charts/o2ims/crds"
"$generator" crd:headerFile=hack/generated-by.txt paths=./pkg/apis/... output:crd:dir="$crds"
for package in pkg/apis/*/; do
	mkdir -p "$root/$package"
	"$generator" object paths="./$package" output:object:dir="$root/$package"
done
rm -f "$root"/charts/o2ims/crds/*.yaml
cp "$crds"/*.yaml "$root/charts/o2ims/crds/"
