#!/bin/sh
# evserve.h compiles alone, without a warning, as C89, C99, C11 and C++17, under every compiler that is here; evserve.hpp as
# C++17 and C++20.
cd "$(dirname "$0")/.." || exit 2
found=0
failed=0
check() { # COMPILER STANDARD LANGUAGE
    command -v "$1" >/dev/null || return 0
    found=$((found + 1))
    for text in '#include "evserve.h"' '#include "evserve.h"
#include "evserve.h"
struct evserve_config config; struct evs_stats stats; struct evs_route route;
void use(void *); void init(void) { struct evserve_config made = EVSERVE_CONFIG_INIT; use(&made); }'; do
        printf '%s\n' "$text" | "$1" -std="$2" -x "$3" -I. -fsyntax-only -Wall -Wextra -pedantic-errors -Wshadow \
            -Wconversion -Wundef -Werror - || { echo "check_header: $1 -std=$2"; failed=1; }
    done
}
for compiler in gcc clang; do
    check $compiler c89 c # has no comma behind the last constant of an enum
    check $compiler c99 c
    check $compiler c11 c
done
for compiler in g++ clang++; do
    check $compiler c++17 c++
    for standard in c++17 c++20; do
        command -v $compiler >/dev/null || continue
        printf '#include "http/host/evserve.hpp"\n#include "http/host/evserve.hpp"\nvoid use(evs::request); void use(evs::request request) { request.reply(204); }\n' |
            $compiler -std=$standard -x c++ -I. -fsyntax-only -Wall -Wextra -pedantic-errors -Wshadow -Wconversion -Werror - ||
            { echo "check_header: evserve.hpp: $compiler -std=$standard"; failed=1; }
    done
done
[ "$found" -gt 0 ] || { echo 'check_header: no compiler'; failed=1; }
exit "$failed"
