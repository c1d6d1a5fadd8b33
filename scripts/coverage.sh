#!/usr/bin/env bash
# Measure how much of core/ and http/ the tests reach: build with gcov's counters, run every test, print a table with
# the missing lines, and fail below 95 % of lines or 85 % of branches. tests/README.md says why the rest is not covered.
#   scripts/coverage.sh [options of ctest]
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v gcovr >/dev/null; then
    echo "gcovr is missing: apt install gcovr" >&2
    exit 1
fi
cmake --preset coverage
cmake --build --preset coverage
find build/coverage -name '*.gcda' -delete
ctest --preset coverage "$@"

# Branches of assert() that a working program never takes are not counted.
gcovr --root . --object-directory build/coverage --filter 'core/' --filter 'http/' \
    --exclude-unreachable-branches --exclude-lines-by-pattern '.*\bassert\(.*' \
    --print-summary \
    --fail-under-line 95 --fail-under-branch 85
