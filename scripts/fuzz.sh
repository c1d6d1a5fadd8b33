#!/usr/bin/env bash
# Run the fuzz targets of tests/fuzz one after another, each for the given minutes of processor time.
#
#   scripts/fuzz.sh MINUTES [TARGET...]     all targets by default
#
# Each target starts with its corpus, its regressions, the bytes that the cases of tests/wire, tests/replies and tests/ws
# send, and the inputs that earlier runs kept in build/fuzz-corpus/TARGET, minimised. An input that breaks an invariant is
# left in build/fuzz-found; the script then continues with the other targets and ends with status 1. The last lines
# summarise the run (tests/fuzz/README.md).
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:?usage: scripts/fuzz.sh MINUTES [TARGET...]}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        target=${source##*/fuzz_}
        targets+=("${target%.c}")
    done
fi

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target "${targets[@]/#/fuzz_}"
mkdir -p build/fuzz-found
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 tests/fuzz/wire_seeds.py "$scratch"

# Inputs that take too long or too much memory are findings, too.
options=(-max_len=4096 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 -verbosity=1)
TIMEFORMAT='%U %S'
failed=0
summary=()
for target in "${targets[@]}"; do
    program=build/fuzz/tests/fuzz_$target
    corpus=build/fuzz-corpus/$target
    mkdir -p "$corpus"
    inputs=()
    for folder in tests/fuzz/corpus/"$target" tests/fuzz/regressions/"$target" "$scratch/$target"; do
        if [ -d "$folder" ]; then
            inputs+=("$folder")
        fi
    done
    # libFuzzer counts wall-clock seconds, so run it again until it has used enough processor time.
    left_ms=$(awk -v minutes="$minutes" 'BEGIN { printf "%d", minutes * 60000 }')
    executions=0
    status=ended
    while [ "$left_ms" -gt 0 ]; do
        seconds=$(((left_ms + 999) / 1000))
        rv=0
        { time "$program" "${options[@]}" -max_total_time="$seconds" -artifact_prefix="build/fuzz-found/$target-" \
            "$corpus" "${inputs[@]}" >"$scratch/log" 2>&1; } 2>"$scratch/time" || rv=$?
        executions=$((executions + $(awk '/number_of_executed_units/ { n = $2 } END { print n + 0 }' "$scratch/log")))
        left_ms=$((left_ms - $(awk '{ printf "%d", ($1 + $2) * 1000 + 1 }' "$scratch/time")))
        if [ "$rv" -ne 0 ]; then
            grep -vE '^#[0-9]+\s|^INFO' "$scratch/log" | tail -n 40
            status="FOUND SOMETHING"
            failed=1
            break
        fi
    done
    mkdir "$scratch/$target.least" # the merge makes no folder, and fails without it
    if "$program" -merge=1 "$scratch/$target.least" "$corpus" "${inputs[@]}" >/dev/null 2>&1; then
        rm -rf "$corpus"
        mv "$scratch/$target.least" "$corpus"
    fi
    features=$(grep -oE 'ft: [0-9]+' "$scratch/log" | tail -n 1 || :)
    summary+=("$(printf '%-12s %12d executions   features %s   corpus %d   %s' "$target" "$executions" \
        "${features#ft: }" "$(find "$corpus" -type f | wc -l)" "$status")")
    echo "${summary[-1]}"
done
printf '\n%s\n' "${summary[@]}"
exit $failed
