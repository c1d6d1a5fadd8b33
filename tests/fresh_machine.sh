#!/usr/bin/env bash
# The fresh-machine proof: does a Debian 12 (or another release) with nothing but git and the base system run evserve?
#
#   tests/fresh_machine.sh [FOLDER]     (as root; some five minutes and 2 GiB; not part of ctest)
#
# debootstrap makes the machine in FOLDER (a temporary one by default; it must not exist yet), the committed state of
# this checkout is cloned into it, and there
#   1. scripts/run.sh must come up, answer at the address it names, and end with status 0 on SIGTERM;
#   2. scripts/test.sh must pass.
# The network is the host's, its proxy and DNS settings too, so port 8080 must be free. Everything is removed at the
# end. Needs debootstrap, git and curl on the host. DEBIAN_MIRROR picks another mirror, SUITE another release (trixie),
# COMPONENTS other parts of it (main,universe for Ubuntu), TESTS another command than scripts/test.sh.
set -euo pipefail

say() {
    echo "fresh_machine: $*" >&2
}

# Runs in mount and process namespaces of its own: whatever it mounts or starts is gone when it ends.
inside() {
    local root=$1 server address status
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    mount -t devpts devpts "$root/dev/pts"
    mount -t tmpfs tmpfs "$root/dev/shm"

    local machine=(env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    local name
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        if [ -n "${!name:-}" ]; then
            machine+=("$name=${!name}")
        fi
    done
    machine+=(chroot "$root")

    # exec all the way down, so that $! is the server itself in the end.
    say "scripts/run.sh"
    "${machine[@]}" /root/evserve/scripts/run.sh >"$root/run.out" 2>"$root/run.err" </dev/null &
    server=$!
    until address=$(grep -m1 -i 'listening' "$root/run.err" | grep -oE '[0-9.]+:[0-9]+'); do
        if ! kill -0 "$server" 2>/dev/null; then
            cat "$root/run.out" "$root/run.err" >&2
            say "FAILED: scripts/run.sh ended before it listened"
            return 1
        fi
        sleep 0.2
    done
    say "it listens on $address"
    if ! curl --noproxy '*' -sSf --max-time 10 -o "$root/page" "http://$address/" || [ ! -s "$root/page" ]; then
        say "FAILED: no answer from http://$address/"
        return 1
    fi
    kill -TERM "$server"
    status=0
    wait "$server" || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$root/run.err" >&2
        say "FAILED: evserve ended with status $status on SIGTERM"
        return 1
    fi

    say "${TESTS:-scripts/test.sh}"
    "${machine[@]}" sh -c "cd /root/evserve && ${TESTS:-scripts/test.sh}" </dev/null || {
        say "FAILED: ${TESTS:-scripts/test.sh}"
        return 1
    }
    say "passed"
}

if [ "${1:-}" = --inside ]; then # how the script calls itself below
    inside "$2"
    exit
fi

checkout=$(cd "$(dirname "$0")/.." && pwd)
for tool in debootstrap git curl unshare; do
    command -v "$tool" >/dev/null || { say "needs $tool"; exit 1; }
done
[ "$(id -u)" -eq 0 ] || { say "needs root"; exit 1; }
if [ -n "$(git -C "$checkout" status --porcelain)" ]; then
    say "note: what is not committed is not tested"
fi

if [ $# -gt 0 ]; then
    mkdir "$1"
    scratch=$(cd "$1" && pwd)
else
    scratch=$(mktemp -d)
fi
trap 'rm -rf --one-file-system "$scratch"' EXIT
root=$scratch/debian

say "debootstrap into $root"
debootstrap --variant=minbase --include=git,ca-certificates --components="${COMPONENTS:-main}" "${SUITE:-bookworm}" "$root" \
    "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$scratch/debootstrap.log" || {
    tail "$scratch/debootstrap.log" >&2
    exit 1
}
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
{ apt-config dump 2>/dev/null || true; } |
    { grep -E '^Acquire::(https?::|Check-|Retries)' || true; } >"$root/etc/apt/apt.conf.d/90host"
git clone --quiet --no-hardlinks "$checkout" "$root/root/evserve"

unshare --mount --pid --fork --kill-child "$0" --inside "$root"
