#!/usr/bin/env bash
# Install what is missing, build everything under gcc and clang with warnings as errors, and run every test.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --tests

# clang, through the fuzz preset: the second opinion on warnings, and all that the fuzz targets ever found, played to them
# by libFuzzer. The last step plays the same under gcc.
cmake --preset fuzz
cmake --build --preset fuzz
ctest --preset fuzz -L fuzz

# Without Lua everything else works.
cmake --preset nolua
cmake --build --preset nolua
ctest --preset nolua -L 'e2e|embed|socket|wire|package'

# What users get, end to end.
cmake --preset release -DEVSERVE_WERROR=ON
cmake --build --preset release
ctest --preset release -L 'e2e|embed|socket|package'

# The tests that have threads, under ThreadSanitizer.
cmake --preset tsan
cmake --build --preset tsan --target embed_tests
ctest --preset tsan

# Every test, under the sanitizers.
cmake --preset dev
cmake --build --preset dev
ctest --preset dev
