#!/usr/bin/env bash
# Measure evserve beside its peers: installs what is missing, builds the release, and runs tests/bench/bench.py with the
# arguments given (--quick: under a minute; --help). Under 10 minutes; results in build/bench.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --bench

cmake --preset release
cmake --build --preset release
exec python3 tests/bench/bench.py "$@"
