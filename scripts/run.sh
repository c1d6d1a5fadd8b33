#!/usr/bin/env bash
# Install what is missing, build the release program, and run the demo site. Options are handed on:
#
#   scripts/run.sh [evserve options, e.g. --listen 127.0.0.1:9000]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
# To standard error: standard output belongs to the program. Without tests, so that their packages need not be there.
cmake --preset release -DEVSERVE_TESTS=OFF >&2
cmake --build --preset release --target evserve_program >&2
exec ./evserve scripts/site.lua "$@"
