#!/usr/bin/env bash
# Static analysis of core/, http/, lua/, evserve.c and main.c with gcc -fanalyzer, clang-tidy, cppcheck and scan-build.
# It takes some minutes, prints each report that scripts/analyse.suppressions does not list, and fails if there are any.
#
#   scripts/analyse.sh [TOOL...]     gcc, clang-tidy, cppcheck, scan-build; all of them by default
set -euo pipefail
cd "$(dirname "$0")/.."

tools=("$@")
if [ ${#tools[@]} -eq 0 ]; then
    tools=(gcc clang-tidy cppcheck scan-build)
fi
known=scripts/analyse.suppressions
sources=(core/*.c core/program/*.c http/*.c http/h1/*.c http/ws/*.c http/client/*.c http/rules/*.c http/proxy/*.c http/host/*.c lua/*.c evserve.c main.c)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

options=(-G Ninja -DCMAKE_BUILD_TYPE=Debug -DEVSERVE_TESTS=OFF -DEVSERVE_BENCH=OFF -DEVSERVE_HARDEN=OFF)
cmake -S . -B "$scratch/build" "${options[@]}" -DCMAKE_C_COMPILER=gcc >/dev/null

# Each prints reports as FILE:LINE:COLUMN: warning: TEXT [KIND], among other things.
run_gcc() {
    local flags
    flags="-std=c11 -D_GNU_SOURCE -DEVSERVE_HAS_LUA -O2 -fanalyzer -I. -I$scratch/build/generated $(pkg-config --cflags luajit)"
    printf '%s\n' "${sources[@]}" | xargs -P2 -I{} sh -c "gcc $flags -c -o /dev/null {} 2>&1 || :"
}

run_clang_tidy() {
    # One file per run: with more, the va_list check of clang-tidy 14 gives false reports.
    printf '%s\n' "${sources[@]}" | xargs -P2 -n1 clang-tidy -p "$scratch/build" --quiet 2>/dev/null || :
}

run_cppcheck() {
    cppcheck -q -j2 --std=c11 --enable=warning,portability,performance --library=posix -D_GNU_SOURCE -DEVSERVE_HAS_LUA \
        -D__GNUC__ \
        -D__x86_64__ '-D_Noreturn=__attribute__((noreturn))' -I. -I"$scratch/build/generated" \
        --suppress=missingIncludeSystem --template='{file}:{line}:{column}: warning: {message} [{id}]' \
        core http lua evserve.c main.c 2>&1
}

run_scan_build() {
    scan-build -o "$scratch/reports" cmake -S . -B "$scratch/scan" "${options[@]}" >/dev/null
    scan-build -o "$scratch/reports" cmake --build "$scratch/scan" -j2 2>&1
}

for tool in "${tools[@]}"; do
    program=${tool%% *}
    if ! command -v "$program" >/dev/null; then
        echo "analyse.sh: $program is missing: apt install gcc clang-tidy cppcheck clang-tools" >&2
        exit 2
    fi
    "run_${tool//-/_}" | grep -E ': (warning: .*\[[^]]*\]$|(fatal )?error: )' | sed -E "s|^(\./)?($PWD/)?||" | sort -u \
        >"$scratch/$tool.reports" || :
    # Count the reports of each file and kind, and compare with the number that is expected.
    awk -v tool="$tool" -v reports="$scratch/$tool.reports" '
        FNR == NR {
            if ($1 == tool) { known[$2 " " $3] = $4 }
            next
        }
        {
            split($0, place, ":")
            kind = $0
            sub(/.*\[/, "", kind)
            sub(/\]$/, "", kind)
            key = place[1] " " kind
            count[key]++
            text[key] = text[key] $0 "\n"
        }
        END {
            for (key in count) {
                if (count[key] > known[key]) {
                    printf "%s: %d reports, %d known\n%s", tool, count[key], known[key], text[key]
                    bad = 1
                }
            }
            for (key in known) {
                if (!(key in count)) {
                    printf "%s: %s is no longer reported; remove it from scripts/analyse.suppressions\n", tool, key
                    bad = 1
                }
            }
            exit bad
        }' "$known" "$scratch/$tool.reports" || failed=1
    echo "analyse.sh: $tool: $(wc -l <"$scratch/$tool.reports") reports" >&2
done
exit $failed
