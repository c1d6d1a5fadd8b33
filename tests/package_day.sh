#!/bin/bash
# The life of the Debian package: installed, serving as its unit says, updated, removed and purged. As root, in an
# overlay over this machine's files that goes away with it, so that nothing is installed here. It takes about 20 s.
#
#   tests/package_day.sh [evserve_VERSION_ARCH.deb]     without a package, build/release is packed
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
if [ "${1:-}" != --inside ]; then
    deb=${1:-}
    if [ "$(id -u)" -ne 0 ] || ! unshare --mount true 2>/dev/null; then
        echo "package_day.sh: needs root, and the right to mount" >&2
        exit 77
    fi
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    if [ -z "$deb" ]; then
        (cd "$here/build/release" && cpack -G DEB -B "$work" >/dev/null)
        deb=$(echo "$work"/*.deb)
    fi
    exec_copy=$work/package_day.sh
    cp "$0" "$exec_copy"
    cp "$deb" "$work/first.deb"
    # The same package, one version later.
    dpkg-deb -R "$deb" "$work/next" && sed -i 's/^Version: .*/&.1/' "$work/next/DEBIAN/control"
    dpkg-deb -b --root-owner-group "$work/next" "$work/next.deb" >/dev/null
    timeout 300 unshare --mount --pid --fork --kill-child "$exec_copy" --inside "$work"
    exit
fi

# In a mount namespace of our own.
work=$2
mkdir "$work/layers" "$work/root"
mount -t tmpfs none "$work/layers"
mkdir "$work/layers/upper" "$work/layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layers/upper,workdir=$work/layers/work" "$work/root"
mount -t proc proc "$work/root/proc"
mount --bind /dev "$work/root/dev"
mkdir -p "$work/root/tmp/deb" && cp "$work"/*.deb "$work/root/tmp/deb/"

inside() {
    DEBIAN_FRONTEND=noninteractive chroot "$work/root" "$@"
}

fail() {
    echo "package_day.sh: $*" >&2
    exit 1
}

expect() { # WHAT COMMAND...: the command succeeds inside
    local what=$1
    shift
    inside "$@" >"$work/out" 2>&1 || {
        cat "$work/out" >&2
        fail "$what"
    }
    echo "ok: $what"
}

# Serve as the unit does: its user, its options, its limits on memory; the site is on 127.0.0.1:8080, in the package.
serve() {
    inside install -d -o evserve -g evserve -m 750 /var/log/evserve /var/lib/evserve
    chroot "$work/root" sh -c '. /etc/default/evserve
        exec setpriv --reuid=evserve --regid=evserve --init-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
            /usr/bin/evserve --listen 127.0.0.1:0 --pid-file /var/lib/evserve/pid $EVSERVE_OPTIONS $EVSERVE_SITE' \
        2>"$work/log" &
    server=$!
    for _ in $(seq 600); do
        address=$(sed -n 's/^listening on \([^ ]*\).*/\1/p' "$work/log" | head -1)
        [ -z "$address" ] || break
        sleep 0.1
    done
    [ -n "$address" ] || fail "the server does not start: $(cat "$work/log")"
}

get() {
    curl -sS --max-time 10 "http://$address$1"
}

expect "installs" dpkg -i --force-depends /tmp/deb/first.deb
expect "has its user" getent passwd evserve
expect "finds its library" sh -c 'ldconfig -p | grep libevserve.so.0'
expect "checks its site" sh -c 'mkdir -p /var/log/evserve && evserve --check /etc/evserve/site.lua'
serve
[ "$(get /)" = "evserve works. Its site is /etc/evserve/site.lua" ] || fail "no page"
[ "$(get /healthz)" = ok ] || fail "health: $(get /healthz)"
echo "ok: serves, as the user evserve"
if inside sh -c 'command -v logrotate' >/dev/null; then
    for _ in $(seq 30); do
        [ ! -s "$work/root/var/log/evserve/access.log" ] || break
        sleep 0.1
    done
    expect "rotates its log" logrotate --force /etc/logrotate.d/evserve
    kill -USR1 "$server" # as the configuration asks systemd to do
    get / >/dev/null
    for _ in $(seq 30); do
        [ ! -s "$work/root/var/log/evserve/access.log" ] || break
        sleep 0.1
    done
    inside test -s /var/log/evserve/access.log || fail "no new log after the rotation"
    inside test -s /var/log/evserve/access.log.1 || fail "no old log after the rotation"
    echo "ok: goes on in the new log"
fi
inside sh -c 'echo "-- mine" >>/etc/evserve/site.lua'
expect "updates under a server that runs" dpkg -i --force-depends --force-confold /tmp/deb/next.deb
[ "$(get /)" = "evserve works. Its site is /etc/evserve/site.lua" ] || fail "the update has ended the server"
expect "keeps what was changed" grep -q mine /etc/evserve/site.lua

# What postinst asks systemd to do: the new program takes over. A connection a request, and none fails.
(while [ ! -e "$work/enough" ]; do get / >/dev/null || echo failed; echo asked; done) >"$work/asked" 2>&1 &
asks=$!
kill -USR2 "$server"
wait "$server" || fail "the old program ends with status $?"
touch "$work/enough"
wait "$asks"
successor=$(cat "$work/root/var/lib/evserve/pid")
[ "$successor" != "$server" ] || fail "no new program"
! grep -qv asked "$work/asked" || fail "requests have failed: $(grep -v asked "$work/asked" | head -3)"
[ "$(get /)" = "evserve works. Its site is /etc/evserve/site.lua" ] || fail "the new program does not serve"
echo "ok: the new program takes over from the old one, $(grep -c asked "$work/asked") requests, none failed"
kill -TERM "$successor"
expect "is removed, without its site" sh -c 'dpkg -r evserve && test ! -e /usr/bin/evserve &&
    test -e /etc/evserve/site.lua'
expect "is purged" sh -c 'dpkg -P evserve && test ! -e /etc/evserve/site.lua && test ! -e /etc/default/evserve &&
    test ! -e /var/log/evserve && ! dpkg -s evserve'
