#!/usr/bin/env bash
# Two servers with one Redis and HAProxy in front, 1,000 Server-Sent Events and 1,000 WebSockets; one server is killed and
# started again. Nobody may hang, what the events have missed must come, and nothing may come twice. Half a minute.
#
#   scripts/live_cluster.sh [CLIENTS]     so many of each kind
#
# Needs redis-server, hiredis (scripts/setup.sh --tests) and haproxy (scripts/setup.sh --proxies).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
fi
EVSERVE_BIN=${EVSERVE_BIN:-$PWD/evserve} exec python3 tests/live_cluster.py "$@"
