#!/bin/sh
# The list of OpenSSL's functions (core/tls_openssl.def) and the macros for them (core/tls_openssl.h) hold what core/tls*.c call,
# neither more nor less. What they call is what the linker has to find when they are compiled with EVSERVE_TLS_LINKED.
#
#   tests/check_openssl.sh              check the tree
#   tests/check_openssl.sh --self-test  check that a name too many and a name too few are found
root=$(cd "$(dirname "$0")/.." && pwd) || exit 2
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
header=$root/core/tls_openssl.h
list=$root/core/tls_openssl.def

# listed FILE: the names in the list, or in the header.
listed() {
    sed -n 's/^OPENSSL_FUNCTION(\([A-Za-z0-9_]*\))$/\1/p; s/^#define \([A-Za-z0-9_]*\)  *tls_openssl\.\1$/\1/p' "$1" | sort
}

find_calls() {
    for source in "$root"/core/tls*.c; do
        "${EVSERVE_CC:-cc}" -c -O1 -D_GNU_SOURCE -DEVSERVE_HAS_TLS -DEVSERVE_TLS_LINKED -I"$root" "$source" \
            -o "$folder/$(basename "$source").o" || exit 2
    done
    nm -u "$folder"/*.o | awk 'NF == 2 && $2 ~ /^([A-Z][A-Z0-9]*|d2i|i2d)_/ { print $2 }' | sort -u
}

# compare FILE: prints what is wrong with its names.
compare() {
    listed "$1" | diff "$folder/called" - >"$folder/difference" && return 0
    sed -n "s|^< \(.*\)|$1: \1 is missing|p; s|^> \(.*\)|$1: \1 is not called|p" "$folder/difference"
    return 1
}

if [ "${1:-}" = --self-test ]; then
    listed "$header" >"$folder/called"
    sed '/^#define SSL_read /d' "$header" >"$folder/few.h"
    { cat "$list"; echo 'OPENSSL_FUNCTION(SSL_peek)'; } >"$folder/many.def"
    few=$(compare "$folder/few.h")
    many=$(compare "$folder/many.def")
    [ "$few" = "$folder/few.h: SSL_read is missing" ] && [ "$many" = "$folder/many.def: SSL_peek is not called" ] &&
        compare "$list"
    exit
fi
find_calls >"$folder/called"
[ -s "$folder/called" ] || { echo "check_openssl: no call was found" >&2; exit 2; }
compare "$header"
header_rv=$?
compare "$list" && [ $header_rv -eq 0 ]
