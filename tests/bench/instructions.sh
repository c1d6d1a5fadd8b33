#!/usr/bin/env bash
# Print the user-mode instructions that the program runs for one request: a figure that other work on the machine does
# not touch. Builds the program as a release with link-time optimisation, in build/instructions, unless one is named.
#
#   tests/bench/instructions.sh                  three requests and a WebSocket, a few seconds each
#   tests/bench/instructions.sh --functions      with a table of the functions that ran
#   tests/bench/instructions.sh --program FILE   count another evserve
#   tests/bench/instructions.sh --argument=--access-log=/tmp/access.log      with one more argument; may be repeated
#   tests/bench/instructions.sh --line 'app.metrics "/metrics"'       with one more line in its script
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v valgrind >/dev/null; then
    echo "instructions.sh: valgrind is not installed; scripts/setup.sh --bench installs it" >&2
    exit 1
fi

for argument; do
    case "$argument" in
    --program | --program=* | -h | --help) exec python3 tests/bench/instructions.py "$@" ;;
    esac
done

cmake -S . -B build/instructions -G Ninja -DCMAKE_BUILD_TYPE=Release -DEVSERVE_LTO=ON -DEVSERVE_TESTS=OFF >/dev/null
cmake --build build/instructions --target evserve_program >/dev/null
exec python3 tests/bench/instructions.py --program build/instructions/evserve "$@"
