#!/usr/bin/env bash
# Compare evserve with its peers: install missing packages, build the release, and run tests/bench/bench.py with the
# given arguments (--quick: less than a minute; --help). Takes less than 10 minutes and puts the results in build/bench.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --bench

cmake --preset release
cmake --build --preset release
exec python3 tests/bench/bench.py "$@"
