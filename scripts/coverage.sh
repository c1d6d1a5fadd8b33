#!/usr/bin/env bash
# How much of core/ and http/ the tests reach: builds with gcov's counters, runs every test, prints a table with the lines
# that are missing, and fails below 95 % of lines or 85 % of branches. tests/README.md says why the rest is not covered.
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
