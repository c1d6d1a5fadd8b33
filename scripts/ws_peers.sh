#!/usr/bin/env bash
# WebSockets, compressed and not, with clients and proxies of others: Python's websockets and wsproto, Node's ws, Chromium
# with a chat page in two tabs, and curl's handshake; each directly, and through nginx, HAProxy and app.proxy. Whatever is not
# installed is skipped, and named (scripts/setup.sh --proxies). About a minute.
#
#   scripts/ws_peers.sh [OPTION...]
#
# Options are given to the server: --sandbox.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
fi
EVSERVE_BIN=${EVSERVE_BIN:-$PWD/evserve} exec python3 tests/ws_peers.py "$@"
