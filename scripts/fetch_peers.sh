#!/usr/bin/env bash
# app.fetch with other servers: nginx, Apache httpd, h2o, HAProxy, lighttpd, Node and Python send whole and streamed bodies,
# gzip, ranges, redirects, errors and what was posted to them, over connections that they close after a few requests or a
# second, to one client and to several at a time. Every byte must be right, and no request may fail. About 10 s for each
# server.
#
#   scripts/fetch_peers.sh [nginx|httpd|h2o|haproxy|lighttpd|node|python]...
#
# Without names: all that are installed (scripts/setup.sh --proxies).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
fi
EVSERVE_BIN=${EVSERVE_BIN:-$PWD/evserve} exec python3 tests/fetch_peers.py "$@"
