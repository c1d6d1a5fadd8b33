#!/usr/bin/env bash
# The long version of tests/e2e/test_churn.py: connections that end in every possible way, under AddressSanitizer and
# under valgrind (the release build, which has no sanitizers; LuaJIT needs no suppressions, since its compiler is off),
# then a soak of the release build during which resident memory must not grow; last, a minute of waiting for certificates
# that change on disk (tests/e2e/test_tls.py).
#   scripts/churn.sh [ROUNDS [REQUESTS]]   default 20 rounds of all endings and 2,000,000 requests
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-20}
requests=${2:-2000000}

for preset in dev release; do
    cmake --preset "$preset"
    cmake --build --preset "$preset" --target evserve_program
done
test=tests/e2e/test_churn.py
endings=test_every_ending_leaves_the_server_as_it_was
flat=test_memory_stays_flat_over_many_requests

echo "AddressSanitizer, $rounds rounds"
EVSERVE_BIN=$PWD/build/dev/evserve EVSERVE_CHURN=$rounds python3 $test -v Churn.$endings Https.$endings

if command -v valgrind >/dev/null; then
    echo "valgrind, $((rounds / 10 + 1)) rounds"
    EVSERVE_BIN=$PWD/evserve EVSERVE_CHURN=$((rounds / 10 + 1)) \
        EVSERVE_VALGRIND="valgrind --leak-check=full --show-leak-kinds=definite,indirect,possible --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=99" \
        python3 $test -v Churn.$endings Https.$endings
else
    echo "valgrind is not installed (apt install valgrind): skipping that part"
fi

echo "soak, $requests requests"
EVSERVE_BIN=$PWD/evserve EVSERVE_SOAK=$requests python3 $test -v Churn.$flat Https.$flat

echo "certificates that change on disk, one minute"
EVSERVE_BIN=$PWD/evserve EVSERVE_PROGRAMS=$PWD/build/dev EVSERVE_MINUTE=1 \
    python3 tests/e2e/test_tls.py -v Replacements.test_changes_are_noticed_within_a_minute
