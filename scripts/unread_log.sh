#!/usr/bin/env bash
# 10,000 lines a second into a pipe that nobody reads, of the access log and of the error log: the 99th percentile of
# another client's response times must be what it is under the same load without a log. About three minutes; only a
# quiet machine gives figures that count.
#
#   scripts/unread_log.sh         EVSERVE_ROUNDS: rounds of each, 7 by default; EVSERVE_BIN: another program
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
fi
EVSERVE_BIN=${EVSERVE_BIN:-$PWD/evserve} exec python3 tests/unread_log.py
