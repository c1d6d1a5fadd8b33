#!/bin/sh
# The layer check: an #include may only go down the stairs core <- http <- lua <- front door, LuaJIT's headers belong to
# lua/ alone, a name of a file is not that of another one, and the top level holds only what the house plan names. Prints
# each offending line as file:line.
#
#   tests/check_layers.sh [ROOT]        check a tree (default: the one this script is in)
#   tests/check_layers.sh --self-test   check that the check finds what it is there to find

# refuse_quoted WHY ALLOWED FILE...: every "..." include of the files must match the regular expression ALLOWED.
refuse_quoted() {
    why=$1
    allowed=$2
    shift 2
    report "$why" "$(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$@" /dev/null 2>/dev/null |
        grep -vE "\"($allowed)\"")"
}

# refuse_lua FILE...: none of the files may include a header of LuaJIT.
refuse_lua() {
    report 'only lua/ includes the headers of LuaJIT' \
        "$(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"](.*/)?(lua|lauxlib|lualib|luaconf|luajit)\.(h|hpp)[>"]' \
            "$@" /dev/null 2>/dev/null)"
}

# refuse_twins FILE...: a static name, a struct and an enumerator belong to one file, so that several files can be compiled
# as one. The variants of the parser are templates, which have the same names on purpose.
refuse_twins() {
    report 'a name that another file has, too' "$(awk '
        function note(name) {
            if (name in owner && owner[name] != FILENAME) {
                print FILENAME ":" FNR ":" name
            }
            owner[name] = FILENAME
        }
        FNR == 1 { in_enum = 0; is_template = FILENAME ~ /parser_(block|head|scalar|sse42|avx2)\./ }
        /^[a-zA-Z_]/ && /(^|[ )])static / && match($0, /[a-zA-Z_0-9]+(\(| =|\[|;)/) && FILENAME ~ /\.c$/ {
            name = substr($0, RSTART, RLENGTH)
            sub(/[^a-zA-Z_0-9]+$/, "", name)
            note(name)
        }
        /^(struct|union|enum) [a-z_0-9]+ \{/ && !is_template { note($1 " " $2) }
        /^enum .*\{/ { in_enum = 1 }
        in_enum {
            text = $0
            gsub(/\/\*.*|^ +\*.*|^enum [^{]*\{/, "", text)
            count = split(text, items, ",")
            for (i = 1; i <= count; i++) {
                if (match(items[i], /^ *[A-Z][A-Z_0-9]*/)) {
                    name = substr(items[i], RSTART, RLENGTH)
                    sub(/^ +/, "", name)
                    note(name)
                }
            }
        }
        /\}/ { in_enum = 0 }' "$@")"
}

report() {
    if [ -n "$2" ]; then
        printf '%s\n' "$2" | sed "s|\$|    <- $1|"
        failed=1
    fi
}

check_tree() {
    cd "$1" || exit 2
    failed=0
    refuse_quoted 'core includes only core' 'core/[^/]*' core/*.[ch]
    refuse_quoted 'the parts of the program include only http and core' '(http|http/h1|core|core/program)/[^/]*|version\.h' core/program/*.[ch]
    refuse_quoted 'http includes only http and core' '(http|http/h1|core)/[^/]*|http/host/evs\.h|version\.h' http/*.[ch] http/h1/*.[ch]
    # Files down there define what the header up here declares of requests and configs; the header itself includes nothing.
    refuse_quoted 'http/host includes only http, core and evserve.h' '(http|http/h1|http/host|core)/[^/]*|evserve\.h' http/host/*.[ch]
    refuse_quoted 'lua includes only lua, http and core' '(lua|http|http/h1|http/host|core)/[^/]*|version\.h' lua/*.[ch] lua/absent/*.c
    refuse_quoted 'the front door includes only the house' '(lua|http|http/host|core|core/program)/[^/]*|version\.h|evserve\.h' evserve.c main.c
    refuse_quoted 'evserve.h stands alone' 'nothing' evserve.h
    refuse_twins core/*.[ch] core/program/*.[ch] http/*.[ch] http/h1/*.[ch] http/host/*.[ch] lua/*.[ch] evserve.c main.c
    refuse_lua core/*.[ch] core/program/*.[ch] http/*.[ch] http/h1/*.[ch] http/host/*.[ch] lua/absent/*.c evserve.h evserve.c main.c

    # What git holds; a tree without git (an unpacked archive) has no list to check.
    if git rev-parse --git-dir >/dev/null 2>&1; then
        report 'not a name of the top level' "$(git ls-files | sed 's|/.*|/|' |
            sort -u | grep -vxE '(core|http|lua|scripts|tests|public)/|CMakeLists\.txt|CMakePresets\.json|README\.md|evserve\.[hc]|main\.c|LICENSE|SECURITY\.md|CHANGELOG\.md|\..*')"
    fi
    [ "$failed" -eq 0 ]
}

# Each line is a file, and an include that must be found in it.
self_test() {
    tree=$(mktemp -d) || exit 2
    trap 'rm -rf "$tree"' EXIT
    mkdir -p "$tree/core/program" "$tree/http/h1" "$tree/http/host" "$tree/lua" "$tree/stray"
    while read -r file include; do
        printf '/* a file */\n%s\n' "#include $include" >>"$tree/$file"
    done <<'END'
core/a.c "http/router.h"
core/program/a.c "lua/script.h"
http/h1/a.c "http/host/evs_internal.h"
core/b.h "evserve.h"
core/c.c <lua.h>
http/a.c "lua/script.h"
http/b.c "../lua/script.h"
http/c.h <luajit-2.1/lauxlib.h>
http/d.c "evserve.h"
http/host/a.c "lua/script.h"
http/e.c "http/host/evs_internal.h"
lua/a.c "evserve.h"
evserve.c <lua.h>
main.c "tests/lib/fake_sys.h"
evserve.h "core/reactor.h"
END
    printf '#include "core/log.h"\n#include <stdio.h>\n' >"$tree/http/fine.c"
    printf '#include "evserve.h"\n' >>"$tree/http/host/fine.c"
    printf '#include <lua.h>\n#include "http/router.h"\n' >"$tree/lua/fine.c"
    printf 'static int twin(void)\nstruct twin {\n};\nenum { ONE, TWIN = 2 };\n' |
        tee -a "$tree/http/fine.c" >>"$tree/lua/fine.c"
    touch "$tree/stray/file"
    git -C "$tree" init -q
    git -C "$tree" add .

    found=$(check_tree "$tree") && echo 'self-test: a bad tree passed' && exit 1
    for place in core/a.c:2 core/program/a.c:2 core/b.h:2 core/c.c:2 http/h1/a.c:2 http/a.c:2 http/b.c:2 http/c.h:2 http/d.c:2 http/host/a.c:2 http/e.c:2 lua/a.c:2 evserve.c:2 main.c:2 \
        evserve.h:2 lua/fine.c:3 lua/fine.c:4 lua/fine.c:6 stray/; do
        printf '%s\n' "$found" | grep -q "^$place" || { echo "self-test: $place was not found"; exit 1; }
    done
    [ "$(printf '%s\n' "$found" | wc -l)" -eq 20 ] || { echo 'self-test: too much was found:'; echo "$found"; exit 1; }
}

if [ "${1:-}" = --self-test ]; then
    self_test
else
    check_tree "${1:-$(dirname "$0")/..}"
fi
