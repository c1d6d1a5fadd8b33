#!/usr/bin/env bash
# Install missing packages, build everything with gcc and clang with warnings as errors, and run every test.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --tests

# clang, with the fuzz preset: a second opinion on warnings; libFuzzer replays everything the fuzz targets have found.
# The last step replays the same with gcc. Playing everything once takes two seconds, so nothing is optimised: clang takes a
# third of the time for that.
cmake --preset fuzz -DCMAKE_C_FLAGS_DEBUG="-O0 -gline-tables-only"
cmake --build --preset fuzz
ctest --preset fuzz -L fuzz

# A build without Lua. This one and the next come without the unit tests, which the last step runs. Only the front door
# (evserve.c) knows whether there is Lua, so what does not go through it is tested in the other steps: the tests of core/
# (socket), the replays (wire), and the echo server on the event loop alone.
cmake --preset nolua -DEVSERVE_UNIT_TESTS=OFF -DEVSERVE_BENCH=OFF
cmake --build --preset nolua
ctest --preset nolua -L 'e2e|embed|package' -E '^e2e/test_echo$'

# The release build, end to end.
cmake --preset release -DEVSERVE_WERROR=ON -DEVSERVE_UNIT_TESTS=OFF -DEVSERVE_BENCH=OFF
cmake --build --preset release
ctest --preset release -L 'e2e|embed|socket|package'

# Tests with threads, under ThreadSanitizer.
cmake --preset tsan
cmake --build --preset tsan --target embed_tests
ctest --preset tsan

# Every test, under AddressSanitizer and UBSan.
cmake --preset dev
cmake --build --preset dev
ctest --preset dev
