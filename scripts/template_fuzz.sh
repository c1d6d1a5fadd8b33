#!/usr/bin/env bash
# Random templates with hostile values, looked at by Chromium: no value may change the elements of a page, run, or give a
# URL another scheme. A minute by default.
#
#   scripts/template_fuzz.sh [seconds] [seed]        EVSERVE_BIN: another program
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
fi
EVSERVE_BIN=${EVSERVE_BIN:-$PWD/evserve} exec python3 tests/template_fuzz.py "$@"
