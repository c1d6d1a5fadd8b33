#!/usr/bin/env bash
# Have testssl (apt install testssl.sh) look at a server with HTTPS, with an ECDSA and an RSA certificate side by side,
# and fail on each finding of severity MEDIUM or more. Some minutes.
#   scripts/testssl.sh [OPTION...]     e.g. scripts/testssl.sh --min-version 1.3: options for evserve
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v testssl >/dev/null; then
    echo "testssl is not installed (apt install testssl.sh)" >&2
    exit 1
fi
cmake --preset release
cmake --build --preset release --target evserve_program

folder=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || { kill "$server" && wait "$server" || true; }
    rm -rf "$folder"
}
trap finish EXIT

# An authority that testssl is told of, and certificates as those of public authorities are.
openssl req -x509 -newkey rsa:3072 -nodes -days 300 -subj "/CN=authority" -keyout "$folder/ca-key.pem" \
    -out "$folder/ca.pem" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
echo 'basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
authorityInfoAccess = OCSP;URI:http://localhost/ocsp' >"$folder/extensions"
# certificate NAME NEWKEY...
certificate() {
    openssl req -newkey "${@:2}" -nodes -subj "/CN=localhost" -keyout "$folder/$1-key.pem" -out "$folder/$1.csr" \
        2>/dev/null
    openssl x509 -req -in "$folder/$1.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca-key.pem" -days 200 \
        -extfile "$folder/extensions" -out "$folder/$1.pem" 2>/dev/null
    chmod 600 "$folder/$1-key.pem"
}
certificate ecdsa ec -pkeyopt ec_paramgen_curve:P-256
certificate rsa rsa:2048

# What testssl asks of a page is the site's to say.
echo 'local app = require "evserve"
app.get("/", function()
    return 200, "text", {
        ["strict-transport-security"] = "max-age=31536000; includeSubDomains", ["x-frame-options"] = "DENY",
        ["content-security-policy"] = "default-src '"'self'"'", ["x-content-type-options"] = "nosniff",
    }
end)' >"$folder/site.lua"
./evserve --listen '127.0.0.1:0?tls' --tls-cert "$folder/ecdsa.pem" --tls-key "$folder/ecdsa-key.pem" \
    --tls-cert "$folder/rsa.pem" --tls-key "$folder/rsa-key.pem" "$@" "$folder/site.lua" 2>"$folder/log" &
server=$!
for _ in $(seq 100); do
    grep -q '^listening on ' "$folder/log" && break
    sleep 0.1
done
port=$(sed -n '1s/^listening on [^ ]*:\([0-9]*\).*/\1/p' "$folder/log")

testssl --quiet --color 0 --warnings batch --add-ca "$folder/ca.pem" --ip 127.0.0.1 --severity MEDIUM \
    --jsonfile "$folder/findings.json" "localhost:$port" || true
if [ ! -s "$folder/findings.json" ]; then
    echo "testssl has written no findings" >&2
    exit 1
fi
if grep -q '"severity"' "$folder/findings.json"; then
    echo "findings of severity MEDIUM or more:"
    cat "$folder/findings.json"
    exit 1
fi
echo "no finding of severity MEDIUM or more"
