#!/usr/bin/env bash
# Ten upgrades and ten reloads while wrk asks as fast as it can, with kept connections and with a connection for each
# request, over one event loop and over two: no request may fail, and no connection be refused.
#   scripts/upgrade.sh [COUNT]      needs wrk; takes COUNT * 2 seconds and some more; EVSERVE_BIN: another program
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-10}
if [ -z "${EVSERVE_BIN:-}" ]; then
    cmake --preset release
    cmake --build --preset release --target evserve_program
    EVSERVE_BIN=$PWD/evserve
fi

folder=$(mktemp -d)
pid_file=$folder/pid
end() {
    if [ -s "$pid_file" ]; then
        kill "$(cat "$pid_file")" || true
    fi
    wait
    rm -rf "$folder"
}
trap end EXIT

mkdir "$folder/public"
echo hello >"$folder/public/a.txt"
cat >"$folder/site.lua" <<'END'
local app = require "evserve"
app.static("/", "public")
app.get("/lua", function() return "hello" end)
END

failed=0
# judge NAME FILE: what wrk has seen.
judge() {
    echo "$1: $(grep -E 'requests in' "$2" | sed 's/^ *//')"
    if ! grep -q 'requests in' "$2" || grep -E 'Socket errors|Non-2xx' "$2"; then
        failed=1
    fi
}

# run REACTORS: the arguments for that.
run() {
    (cd "$folder" && exec "$EVSERVE_BIN" --listen 127.0.0.1:0 --pid-file pid "$@" site.lua 2>log) &
    for _ in $(seq 100); do
        [ -s "$pid_file" ] && break
        sleep 0.1
    done
    [ -s "$pid_file" ] || { cat "$folder/log"; exit 1; }
    local url
    url=http://$(sed -n 's/^listening on //p' "$folder/log" | head -n 1)
    wrk -t1 -c8 -d "$((count * 6 / 10 + 2))s" "$url/a.txt" >"$folder/kept" &
    local kept=$!
    wrk -t1 -c8 -d "$((count * 6 / 10 + 2))s" -H 'Connection: close' "$url/lua" >"$folder/fresh" &
    local fresh=$!
    sleep 0.5
    for _ in $(seq "$count"); do
        "$EVSERVE_BIN" --upgrade "$pid_file"
        sleep 0.2
        kill -HUP "$(cat "$pid_file")"
        sleep 0.2
    done
    wait "$kept" "$fresh"
    judge "kept connections, ${*:-one event loop}" "$folder/kept"
    judge "a connection for each request, ${*:-one event loop}" "$folder/fresh"
    echo "reloads: $(grep -c ' reloaded ' "$folder/log"), upgrades: $(grep -c ' upgraded: ' "$folder/log")"
    if grep -E ' error | cut$' "$folder/log"; then
        failed=1
    fi
    kill "$(cat "$pid_file")"
    wait
    rm -f "$pid_file"
}

run
run --reactors 2
exit "$failed"
