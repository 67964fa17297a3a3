#!/usr/bin/env bash
# Runs every fuzz target for the given time, or for a number of executions if that is over
# sooner: as many side by side as there are processors, one worker each.
# Usage: hack/fuzz.sh 10s (or 5m, or 1h); hack/fuzz.sh 20000x/4s
set -euo pipefail
cd "$(dirname "$0")/.."

wish=${1:-10s}
export FUZZ_TIME=${wish##*/} FUZZ_COUNT= FUZZ_CORPUS
[[ $wish != */* ]] || FUZZ_COUNT=${wish%/*}
FUZZ_WORK=$(mktemp -d)
trap 'rm -rf "$FUZZ_WORK"' EXIT
export FUZZ_WORK
FUZZ_CORPUS=$(go env GOCACHE)/fuzz/$(go list -m) # where `go test -fuzz` keeps what it finds

# compile builds a package's tests as `go test -fuzz` does, once for all of its targets.
compile() {
	go test -trimpath -c -fuzz . -ldflags '-s -w' -o "$FUZZ_WORK/${1//\//_}.test" "./$1" || exit 255
}

# run fuzzes a target, named DIR:TARGET, and prints what there is to say in one piece.
run() {
	local dir=${1%:*} target=${1#*:} status=0
	cd "$dir"
	# Interrupted, it passes. Of its own -test.fuzztime, as a time, it makes a failure now and then, "context
	# deadline exceeded", when a worker is busy at that moment (https://go.dev/issue/75804, mended in Go 1.27).
	timeout --foreground --preserve-status --signal INT --kill-after 60s "$FUZZ_TIME" \
		"$FUZZ_WORK/${dir//\//_}.test" -test.paniconexit0 -test.run '^$' -test.parallel 1 -test.fuzz "^$target\$" \
		${FUZZ_COUNT:+-test.fuzztime "$FUZZ_COUNT"} -test.fuzzcachedir "$FUZZ_CORPUS/$dir" >"$FUZZ_WORK/$target.log" 2>&1 || status=$?
	{ echo "fuzz $target in $dir for ${FUZZ_COUNT:+$FUZZ_COUNT/}$FUZZ_TIME" && cat "$FUZZ_WORK/$target.log"; } | flock "$FUZZ_WORK" cat
	return $status
}
export -f compile run

targets=$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' pkg | sed -E 's|/[^/]+:func |:|' | sort)
cut -d: -f1 <<<"$targets" | uniq | xargs -P "$(nproc)" -I{} bash -c 'compile {}'
xargs -P "$(nproc)" -I{} bash -c 'run {}' <<<"$targets"
