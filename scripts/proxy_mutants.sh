#!/usr/bin/env bash
# Request smuggling through app.proxy: wire cases with a few mistakes in each go to a handler and through a proxied prefix.
# What the upstream reads, strictly, must mean the same as what the handler saw, and what is refused must not reach it.
#
#   scripts/proxy_mutants.sh [SECONDS [SEED]]      (60 seconds)
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
fi
EVSERVE_BIN=${EVSERVE_BIN:-$PWD/evserve} exec python3 tests/proxy_mutants.py "$@"
