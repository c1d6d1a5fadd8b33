#!/usr/bin/env bash
# Clients that mean harm, 5,000 unless CLIENTS says otherwise, while others are served (tests/e2e/test_hostile.py, with
# figures), then the same with HTTPS (test_hostile_tls.py) and with WebSockets (test_hostile_ws.py; once more with half-open
# handshakes alone), then slow heads, slow bodies and slow reads by slowhttptest, if it is installed. About five minutes.
#   scripts/hostile.sh [CLIENTS]
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset release
cmake --build --preset release --target evserve_program

for test in hostile hostile_tls hostile_ws; do
    EVSERVE_BIN=$PWD/evserve EVSERVE_HOSTILE=${1:-5000} EVSERVE_HOSTILE_SCALE=5 python3 "tests/e2e/test_$test.py" -v
done
EVSERVE_BIN=$PWD/evserve EVSERVE_HOSTILE=${1:-5000} EVSERVE_HOSTILE_SCALE=5 EVSERVE_HOSTILE_KIND="half open" \
    python3 tests/e2e/test_hostile_ws.py -v

if ! command -v slowhttptest >/dev/null; then
    echo "slowhttptest is not installed (apt install slowhttptest): skipping its attacks"
    exit 0
fi
folder=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || { kill "$server" && wait "$server" || true; }
    rm -rf "$folder"
}
trap finish EXIT
head -c 1000000 /dev/zero >"$folder/large"
echo 'local app = require "evserve"
app.set { idle_timeout = "5s", header_timeout = "10s", body_timeout = "5s", write_timeout = "5s" }
app.static("/", ".")
app.post("/", function(req) return #req.body end)' >"$folder/site.lua"
./evserve "$folder/site.lua" --listen 127.0.0.1:0 2>"$folder/log" &
server=$!
for _ in $(seq 100); do
    grep -q '^listening on ' "$folder/log" && break
    sleep 0.1
done
address=$(sed -n 's/^listening on \([^ ]*\).*/\1/p' "$folder/log" | head -1)

# attack NAME OPTION...: 1,000 connections for 20 s; the service must respond to each probe of the attack tool.
attack() {
    echo "slowhttptest: $1"
    shift
    (cd "$folder" && slowhttptest "$@" -c 1000 -r 500 -l 20 -p 3 -i 2 -g -o probe >out 2>&1) || true
    # The table says second, closed, pending, connected, available (the number of connections when the probe succeeded).
    awk -F, 'NR > 1 && $2 + $3 + $4 > 0 { rows++; if ($5 + 0 == 0) { gone++; print "not available:", $0 } }
        END { print rows + 0 " seconds looked at, not available in " gone + 0; exit rows == 0 || gone > 0 }' \
        "$folder/probe.csv"
}
attack "slow heads" -H -u "http://$address/large"
attack "slow bodies" -B -t POST -s 8192 -u "http://$address/"
attack "slow reads" -X -w 10 -y 20 -n 5 -z 32 -k 3 -u "http://$address/large"
