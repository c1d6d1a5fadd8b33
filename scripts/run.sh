#!/usr/bin/env bash
# Install missing packages, build the release program, and run the demo site. Options are passed on:
#
#   scripts/run.sh [evserve options, e.g. --listen 127.0.0.1:9000]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
# Build output goes to standard error: standard output belongs to the program. Tests are off, so that their packages are
# not needed.
cmake --preset release -DEVSERVE_TESTS=OFF >&2
cmake --build --preset release --target evserve_program >&2
exec ./evserve scripts/site.lua "$@"
