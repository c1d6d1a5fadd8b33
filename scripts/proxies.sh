#!/usr/bin/env bash
# evserve behind nginx, HAProxy and Varnish, with kept connections, while it reloads, hands over to another server, is
# upgraded, and is stopped beside a second one: no request may fail. About a minute for each proxy.
#
#   scripts/proxies.sh [nginx|haproxy|varnish]... [OPTION...]
#
# Without names: all that are installed (scripts/setup.sh --proxies). Options are given to each server: --sandbox,
# --user=nobody.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
fi
EVSERVE_BIN=${EVSERVE_BIN:-$PWD/evserve} exec python3 tests/proxies.py "$@"
