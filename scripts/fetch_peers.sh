#!/usr/bin/env bash
# app.fetch with other servers: nginx, h2o, HAProxy, Apache httpd, lighttpd, Python's http.server and Node. Each serves the
# same files and routes; evserve asks for them, plain and kept, in gzip, in chunks, with conditions, ranges, HEAD, bodies,
# errors and redirects, and compares. A few seconds for each server.
#
#   scripts/fetch_peers.sh [nginx|h2o|haproxy|httpd|lighttpd|python|node]...
#
# Without names: all that are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
fi
EVSERVE_BIN=${EVSERVE_BIN:-$PWD/evserve} exec python3 tests/fetch_peers.py "$@"
