#!/usr/bin/env bash
# Install the Debian packages that evserve needs and this machine lacks.
#
#   scripts/setup.sh           to build and run
#   scripts/setup.sh --tests   and to run every test as well
#   scripts/setup.sh --bench   to run the benchmarks with the peers
#   scripts/setup.sh --proxies to run scripts/proxies.sh, scripts/fetch_peers.sh and scripts/ws_peers.sh
set -euo pipefail

# "a|b": either works; the first one that this release has is installed.
packages=(
    gcc libc6-dev cmake ninja-build pkg-config
    libseccomp-dev # for the sandbox; builds do without it
    libssl-dev     # for HTTPS; builds do without it
    libpcre2-dev   # for regular expressions of drivers (ngx.re); builds do without it
    'libluajit2-5.1-dev|libluajit-5.1-dev' # the two conflict; only the first can stand beside nginx's Lua module
)
test_packages=(
    libcmocka-dev         # the unit tests
    git python3           # the layer check, the end-to-end tests
    dpkg-dev file groff-base # the package, the man pages
    'mold|lld'            # links the test programs quickly; builds do with any linker
    clang libclang-rt-dev # the second compiler, and its sanitizers for the fuzz preset
    libuv1-dev libevent-dev libglib2.0-dev # the examples of hosts on these event loops
    g++                     # hosts in C++
    zsync brotli pigz zstd  # clients and tools that users have, in the tests of files and of compression
    openssl curl            # certificates and a client, in the tests of HTTPS
    logrotate               # rotates the access log in a test
    python3-websockets python3-wsproto # WebSocket clients of others
    wrk nghttp2-client      # and load for them
    'gcc-i686-linux-gnu|gcc-multilib' libc6-dev-i386-cross # the build for 32 bits
    musl-tools gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static # other machines
    liblua5.4-dev           # hosts that have another Lua
    locales                 # in some of which letters and numbers are others
    lua-sql-sqlite3 lua-sql-postgres # databases that workers of a script ask
    lua-nginx-cookie lua-nginx-string lua-nginx-redis lua-nginx-redis-connector lua-nginx-memcached lua-nginx-dns
    lua-nginx-websocket # drivers that run with `require "ngx"`
    redis-server memcached # servers that they ask
    'libhiredis1.1.0|libhiredis0.14' # what a broker in Redis needs
    zlib1g libbrotli1 libzstd1 # what compressed bodies need
    nginx-core libnginx-mod-http-lua # and what they were written for
)

bench_packages=(
    git python3 strace openssl                         # the bench itself, and its certificates
    valgrind                                           # tests/bench/instructions.sh
    wrk nghttp2-client                                 # load
    nginx-core libnginx-mod-http-lua h2o lighttpd      # peers
)

proxy_packages=(
    python3
    nginx-core haproxy varnish
    apache2-bin h2o lighttpd nodejs # and these as servers, in scripts/fetch_peers.sh
    python3-websockets python3-wsproto node-ws chromium curl # clients, in scripts/ws_peers.sh
)

needs_promtool=no
needs_postgresql=no
case "${1:-}" in
'') ;;
--tests)
    packages+=("${test_packages[@]}")
    command -v promtool >/dev/null || needs_promtool=yes
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || needs_postgresql=yes
    ;;
--bench) packages+=("${bench_packages[@]}") ;;
--proxies) packages+=("${proxy_packages[@]}") ;;
*)
    echo "usage: scripts/setup.sh [--tests|--bench|--proxies]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null; then
    echo "setup.sh: this machine has no apt-get; please install what Debian calls ${packages[*]}" >&2
    exit 0 # CMake names what is missing
fi

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for entry in "${packages[@]}"; do
    found=no
    for package in ${entry//|/ }; do
        if is_installed "$package"; then
            found=yes
        fi
    done
    if [ "$found" = no ]; then
        missing+=("$entry")
    fi
done
if [ $needs_postgresql = yes ]; then # of which each release has another version
    missing+=('postgresql-15|postgresql-16|postgresql-17|postgresql-18|postgresql-14')
fi
if [ ${#missing[@]} -eq 0 ] && [ $needs_promtool = no ]; then
    exit 0
fi
if [ $needs_promtool = yes ]; then
    missing+=(promtool)
fi

echo "setup.sh: installing ${missing[*]}" >&2
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: not root, and no sudo: as root, apt-get install ${missing[*]%%|*}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq

# promtool, which judges the metrics, is a part of prometheus. That would bring eleven packages and start a daemon, so
# nothing but the tool is taken out of it: 19 MB to download, a few seconds.
if [ $needs_promtool = yes ]; then
    unset 'missing[-1]'
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    if (cd "$folder" && apt-get download -qq prometheus 2>/dev/null && dpkg-deb -x prometheus_*.deb .); then
        "${as_root[@]}" install -m 755 "$folder/usr/bin/promtool" /usr/local/bin/
    else
        echo "setup.sh: this release has no promtool; the test that needs it is skipped" >&2
    fi
fi
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

chosen=()
for entry in "${missing[@]}"; do
    choice=${entry%%|*} # apt-get names it when this release has none of them
    for package in ${entry//|/ }; do
        if [ -n "$(apt-cache madison "$package")" ]; then
            choice=$package
            break
        fi
    done
    chosen+=("$choice")
done

# PostgreSQL's package would create a database and start its server. The tests start servers of their own, so this file
# tells it not to; it is removed at the end, since it is no choice of this machine's administrator.
no_cluster=/etc/postgresql-common/createcluster.d/evserve-setup.conf
if [ $needs_postgresql = yes ]; then
    trap '"${as_root[@]}" rm -f "$no_cluster"; rm -rf "${folder:-}"' EXIT
    "${as_root[@]}" mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$no_cluster" >/dev/null
fi
# The tests start Redis, memcached and nginx themselves; what their packages would start is kept from it.
policy=/usr/sbin/policy-rc.d
if [ "${1:-}" = --tests ] && [ ! -e $policy ]; then
    trap '"${as_root[@]}" rm -f "$no_cluster" "$policy"; rm -rf "${folder:-}"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${chosen[@]}"
