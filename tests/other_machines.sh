#!/usr/bin/env bash
# Other machines: builds evserve for each of them and runs its tests there, as far as one machine can stand in for another.
#
#   tests/other_machines.sh                 (as root, since it makes root file systems; not part of ctest)
#   tests/other_machines.sh arm64 musl      some of them
#
#   arm64    cross gcc, LuaJIT, glibc of Debian 12; unit, wire and fuzz tests under qemu-user
#   i386     i686-linux-gnu-gcc or gcc -m32, without Lua (LuaJIT has no GC64 there), glibc of Debian 12; the same tests on this kernel
#   musl     musl-gcc -static, without Lua and libseccomp; the same tests, those on real sockets, and hosts
#   trixie   Debian 13: scripts/run.sh on a fresh machine of that release, and there what the release build is tested with
#   noble    Ubuntu 24.04: the same, only when it is named
#
# Prints a line for each machine, and what failed there. Builds are left in FOLDER (OTHER_MACHINES, or a temporary one
# that is removed). Needs what scripts/setup.sh --tests installs, and mmdebstrap; for musl dpkg-dev; for the last two
# debootstrap. DEBIAN_MIRROR and UBUNTU_MIRROR pick other mirrors.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
debian=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
ubuntu=${UBUNTU_MIRROR:-http://archive.ubuntu.com/ubuntu}
failed=0

# needs MACHINE PROGRAM...: whether all are here; names those that are not.
needs() {
    local machine=$1 program
    shift
    for program; do
        if ! command -v "$program" >/dev/null; then
            echo "$machine: not tried: $program is missing"
            return 1
        fi
    done
}

# libraries ARCHITECTURE PACKAGE...: what a program needs of Debian 12 to be linked and run, in $work/root. Only its
# libraries and headers stay: with -L qemu-user looks for every absolute path in there first, /tmp too.
libraries() {
    local architecture=$1 packages=libc6-dev,libcmocka-dev
    shift
    packages=$packages$(printf ',%s' "$@")
    [ -d "$work/root" ] && return
    mmdebstrap --quiet --variant=extract --architectures="$architecture" --include="$packages" \
        bookworm "$work/root" "deb $debian bookworm main" >"$work/root.log" 2>&1 || {
        tail -3 "$work/root.log"
        return 1
    }
    find "$work/root" -mindepth 1 -maxdepth 1 ! -name 'lib*' ! -name usr -exec rm -rf {} +
}

# build LABELS TOOLCHAIN_LINE... -- CMAKE_OPTION...: configure with that toolchain, build everything, run the tests of
# these labels, and say how that went.
build() {
    local labels=$1 line result
    shift
    : >"$work/toolchain.cmake"
    while [ "$1" != -- ]; do
        printf '%s\n' "$1" >>"$work/toolchain.cmake"
        shift
    done
    shift
    if ! cmake -S "$checkout" -B "$work/build" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$work/toolchain.cmake" \
        -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER=NOTFOUND -DEVSERVE_TESTS=ON -DEVSERVE_SHARED=OFF "$@" >"$work/configure.log" 2>&1 ||
        ! cmake --build "$work/build" -- -k 0 >"$work/build.log" 2>&1; then
        echo "$machine: does not build:"
        grep -hE 'error|Error|undefined' "$work/configure.log" "$work/build.log" 2>/dev/null | sort -u | head -20
        return 1
    fi
    result=0
    ctest --test-dir "$work/build" -j"$(nproc)" -L "^($labels)\$" --output-on-failure >"$work/test.log" 2>&1 || result=1
    echo "$machine: $(grep 'tests passed' "$work/test.log" || echo 'no test ran')"
    sed -n '/The following tests FAILED/,$p' "$work/test.log" | grep -E '^[[:space:]]*[0-9]+ - ' || true
    grep -hE '^\[  SKIPPED \] [a-z]|skipped: ' "$work/test.log" | sort -u | head -20 || true
    return "$result"
}

arm64() {
    needs arm64 mmdebstrap qemu-aarch64-static aarch64-linux-gnu-gcc || return 0
    libraries arm64 libluajit2-5.1-dev libseccomp-dev || return 1
    PKG_CONFIG_SYSROOT_DIR=$work/root PKG_CONFIG_LIBDIR=$work/root/usr/lib/aarch64-linux-gnu/pkgconfig \
        build 'unit|wire|fuzz' 'set(CMAKE_SYSTEM_NAME Linux)' 'set(CMAKE_SYSTEM_PROCESSOR aarch64)' \
        'set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)' "set(CMAKE_SYSROOT $work/root)" \
        "set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L $work/root)" -- -DCMAKE_C_FLAGS=-O1
}

i386() {
    local compiler=i686-linux-gnu-gcc flags=-O1 libraries=$work/root/usr/lib/i386-linux-gnu
    needs i386 mmdebstrap || return 0
    if ! command -v "$compiler" >/dev/null; then # Debian's gcc-multilib, which does not go with cross compilers
        compiler=gcc flags='-m32 -O1'
    fi
    if ! printf 'int main(void) { return 0; }' | "$compiler" $flags -x c -o /dev/null - 2>/dev/null; then
        echo 'i386: not tried: no compiler (gcc-i686-linux-gnu)'
        return 0
    fi
    libraries i386 libseccomp-dev || return 1
    if [ "$compiler" != gcc ]; then # it does not look into Debian's folders of an architecture
        flags="$flags -isystem $work/root/usr/include/i386-linux-gnu -B$libraries -L$libraries -L$work/root/lib/i386-linux-gnu"
    fi
    PKG_CONFIG_SYSROOT_DIR=$work/root PKG_CONFIG_LIBDIR=$work/root/usr/lib/i386-linux-gnu/pkgconfig \
        build 'unit|wire|fuzz' 'set(CMAKE_SYSTEM_NAME Linux)' 'set(CMAKE_SYSTEM_PROCESSOR i686)' \
        "set(CMAKE_C_COMPILER $compiler)" "set(CMAKE_SYSROOT $work/root)" \
        "set(CMAKE_CROSSCOMPILING_EMULATOR $work/root/lib/ld-linux.so.2 --library-path $work/root/lib/i386-linux-gnu:$work/root/usr/lib/i386-linux-gnu)" \
        -- "-DCMAKE_C_FLAGS=$flags" -DEVSERVE_LUA=OFF
}

# cmocka for musl, from Debian's source package: Debian's library is for glibc.
cmocka() {
    local apt=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
    [ -f "$work/musl/lib/pkgconfig/cmocka.pc" ] && return
    echo "deb-src $debian bookworm main" >"$work/sources.list"
    mkdir -p "$work/lists/partial"
    (
        cd "$work"
        apt-get "${apt[@]}" update
        apt-get "${apt[@]}" source cmocka
        cmake -S cmocka-*/ -B cmocka -DCMAKE_C_COMPILER=musl-gcc -DCMAKE_INSTALL_PREFIX="$work/musl" \
            -DCMAKE_INSTALL_LIBDIR=lib -DUNIT_TESTING=OFF -DWITH_EXAMPLES=OFF -DWITH_STATIC_LIB=ON
        cmake --build cmocka
        cmake --install cmocka
        mv musl/lib/libcmocka-static.a musl/lib/libcmocka.a
        rm -f musl/lib/libcmocka.so*
    ) >"$work/cmocka.log" 2>&1 || {
        tail -3 "$work/cmocka.log"
        return 1
    }
}

musl() {
    local folder
    needs musl musl-gcc apt-get dpkg-source || return 0
    cmocka || return 1
    mkdir -p "$work/kernel" # the kernel's headers, and none of glibc's
    for folder in linux asm-generic; do
        ln -sfn "/usr/include/$folder" "$work/kernel/$folder"
    done
    ln -sfn "/usr/include/$(gcc -print-multiarch)/asm" "$work/kernel/asm"
    PKG_CONFIG_LIBDIR=$work/musl/lib/pkgconfig \
        build 'unit|wire|fuzz|socket|embed' 'set(CMAKE_C_COMPILER musl-gcc)' 'set(CMAKE_EXE_LINKER_FLAGS_INIT -static)' \
        -- "-DCMAKE_C_FLAGS=-O1 -idirafter $work/kernel" -DEVSERVE_LUA=OFF -DEVSERVE_SECCOMP=OFF
}

# fresh SUITE MIRROR COMPONENTS: its compiler's warnings are errors, too.
fresh() {
    needs "$machine" debootstrap unshare || return 0
    if SUITE=$1 DEBIAN_MIRROR=$2 COMPONENTS=$3 TESTS="scripts/setup.sh --tests && cmake --preset release -DEVSERVE_WERROR=ON &&
        cmake --build --preset release && ctest --preset release -LE package" "$checkout/tests/fresh_machine.sh" >"$work/fresh.log" 2>&1; then
        echo "$machine: scripts/run.sh runs, $(grep 'tests passed' "$work/fresh.log")"
    else
        echo "$machine: FAILED:"
        grep -E 'FAILED|Failed|error:|\*\*\*' "$work/fresh.log" | head -20
        return 1
    fi
}

trixie() {
    fresh trixie "$debian" main
}

noble() {
    fresh noble "$ubuntu" main,universe
}

[ $# -gt 0 ] || set -- arm64 i386 musl trixie
for machine; do
    case $machine in
    arm64 | i386 | musl | trixie | noble) ;;
    *)
        echo "other_machines: no machine is called $machine: there are arm64, i386, musl, trixie, noble" >&2
        exit 2
        ;;
    esac
done
if [ "$(id -u)" -ne 0 ]; then
    echo 'other_machines: needs root' >&2
    exit 1
fi
if [ -n "${OTHER_MACHINES:-}" ]; then
    mkdir -p "$OTHER_MACHINES"
    folder=$(cd "$OTHER_MACHINES" && pwd)
else
    folder=$(mktemp -d)
    trap 'rm -rf --one-file-system "$folder"' EXIT
fi
for machine; do
    work=$folder/$machine
    mkdir -p "$work"
    "$machine" || failed=1
done
exit "$failed"
