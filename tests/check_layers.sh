#!/bin/sh
# The layer check: an #include may only go down the stairs core <- http <- lua <- front door, and within http/ down those of
# http/README.md (message, framing, connection, transport). LuaJIT's headers belong to lua/ alone, a name of a file is not
# that of another one, and the top level holds only what the house plan names. Prints each offending line as file:line.
#
#   tests/check_layers.sh [ROOT]        check a tree (default: the one this script is in)
#   tests/check_layers.sh --self-test   check that the check finds what it is there to find

# What a file may include with quotes, as lines of
#
#   WHY ; FILES ; EXCEPT ; MAY ; MAY NOT
#
# FILES are patterns of the shell. The others are extended regular expressions for a whole name, EXCEPT for files that the
# line is not about, the last two for what the others include. A dash matches nothing. Each line holds for itself.
rules() {
    cat <<'END'
core includes only core ; core/*.[ch] ; - ; core/[^/]* ; -
the parts of the program include only evserve.h, http and core ; core/program/*.[ch] ; - ; (http|http/h1|core|core/program)/[^/]*|evserve[.]h ; -
http includes only http and core ; http/*.[ch] http/h1/*.[ch] http/ws/*.[ch] ; - ; (http|http/h1|http/ws|core)/[^/]*|http/rules/(rules|decide)[.]h|version[.]h ; -
http/client includes only messages, chunks and core ; http/client/*.[ch] ; - ; (http/client|http|core)/[^/]*|http/h1/chunked[.]h|version[.]h ; http/(conn|framing|server|exchange|response).*
http/rules includes only messages and core ; http/rules/*.[ch] ; - ; (http|http/rules|core)/[^/]* ; http/(conn|server|h1/|ws/).*|core/transport[.]h
http/host includes only messages, servers, the client, core and evserve.h ; http/host/*.[ch] ; - ; (http|http/host|http/rules|core)/[^/]*|http/proxy/proxy[.]h|http/ws/ws(_accept|_topics|_user)?[.]h|http/client/fetch[.]h|evserve[.]h ; http/(conn|framing|server_).*
lua includes only lua, messages, servers, the client and core ; lua/*.[ch] ; - ; (lua|http|http/host|http/rules|core)/[^/]*|http/proxy/proxy[.]h|http/ws/ws(_accept|_topics|_user)?[.]h|http/client/fetch[.]h|version[.]h ; http/(conn|framing|server_).*
http/proxy includes only messages, connections, the client and core ; http/proxy/*.[ch] ; - ; (http/proxy|http/client|http|core)/[^/]*|http/h1/chunked[.]h|version[.]h ; http/server.*
the front door includes only the house ; evserve.c main.c ; - ; (lua|http|http/host|core|core/program)/[^/]*|version[.]h|evserve[.]h ; -
evserve.h stands alone ; evserve.h ; - ; - ; -
a message knows neither its connection nor the wire nor the server ; http/*.[ch] ; http/(conn|server).* ; .* ; http/(conn|server|h1/|ws/).*|core/transport[.]h
the parser of HTTP/1 knows messages and limits alone ; http/h1/parser*.[ch] http/h1/chunked*.[ch] ; - ; http/h1/(parser|chunked).*|http/(authority|message|char_class|field_line|field_line_inline|limits|route_methods)[.]h|core/[^/]* ; core/(reactor|net|transport)[.]h
HTTP/1 knows neither the server nor the kernel ; http/h1/*.[ch] ; - ; .* ; http/(server|ws/).*|core/(sys|net)[.]h
the frames of a WebSocket know nothing but memory ; http/ws/ws_frame*.[ch] http/ws/ws_mask*.[ch] http/ws/ws_utf8*.[ch] http/ws/ws_reader*.[ch] ; - ; http/ws/ws_(frame|mask|utf8|reader).*|core/(mem|utf8)[.]h ; -
a WebSocket knows neither HTTP/1 nor the server nor the kernel ; http/ws/*.[ch] ; - ; .* ; http/(server|h1/).*|core/(sys|net)[.]h
a connection knows neither the server nor what is spoken on it ; http/conn*.[ch] ; - ; (core/|http/conn)[^/]*|http/(outcome|peer|proxied|service|site|limits|trusted_proxies)[.]h ; -
the server knows one header of HTTP/1 ; http/server*.[ch] ; - ; (core|http)/[^/]*|http/h1/h1_protocol[.]h ; -
the program does not look into the server ; core/program/*.[ch] evserve.c main.c ; - ; .* ; http/(conn|framing|server_|h1/h1).*
END
}

# check_rule FILES EXCEPT MAY MAY_NOT: prints the includes that break a line of rules().
check_rule() {
    # FILES goes without quotes: its patterns stand for the files of the tree.
    grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' $1 /dev/null 2>/dev/null |
        awk -F '"' -v except="$2" -v may="$3" -v may_not="$4" '
            function matches(text, name) {
                gsub(/ /, "", name)
                return text ~ "^(" name ")$"
            }
            !matches(substr($0, 1, index($0, ":") - 1), except) && (!matches($2, may) || matches($2, may_not))'
}

# refuse_lua FILE...: none of the files may include a header of LuaJIT.
refuse_lua() {
    report 'only lua/ includes the headers of LuaJIT' \
        "$(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"](.*/)?(lua|lauxlib|lualib|luaconf|luajit)\.(h|hpp)[>"]' \
            "$@" /dev/null 2>/dev/null)"
}

# refuse_twins FILE...: a static name, a tag and an enumerator belong to one file, so that several files can be compiled
# as one. The variants of the parser are templates, which have the same names on purpose.
refuse_twins() {
    report 'a name that another file has, too' "$(awk '
        function note(name) {
            if (name in owner && owner[name] != FILENAME) {
                print FILENAME ":" FNR ":" name
            }
            owner[name] = FILENAME
        }
        { gsub(/__attribute__\(\([a-z_]+\)\) /, "") }
        FNR == 1 { in_enum = 0; is_template = FILENAME ~ /parser_(block|whole|scalar|sse42|avx2)\./ }
        /^[a-zA-Z_]/ && /(^|[ )])static / && match($0, /[a-zA-Z_0-9]+(\(| =|\[|;)/) && FILENAME ~ /\.c$/ {
            name = substr($0, RSTART, RLENGTH)
            sub(/[^a-zA-Z_0-9]+$/, "", name)
            note(name)
        }
        /^(struct|union|enum) [a-z_0-9]+ \{/ && !is_template { note("tag " $2) }
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
    while IFS=';' read -r why files except may may_not; do
        report "${why% }" "$(check_rule "$files" "$except" "$may" "$may_not")"
    done <<END
$(rules)
END
    refuse_twins core/*.[ch] core/program/*.[ch] http/*.[ch] http/h1/*.[ch] http/ws/*.[ch] http/client/*.[ch] http/rules/*.[ch] http/proxy/*.[ch] http/host/*.[ch] lua/*.[ch] evserve.c main.c
    refuse_lua core/*.[ch] core/program/*.[ch] http/*.[ch] http/h1/*.[ch] http/ws/*.[ch] http/client/*.[ch] http/rules/*.[ch] http/proxy/*.[ch] http/host/*.[ch] evserve.h evserve.c main.c

    # What git holds; a tree without git (an unpacked archive) has no list to check.
    if git rev-parse --git-dir >/dev/null 2>&1; then
        report 'not a name of the top level' "$(git ls-files | sed 's|/.*|/|' |
            sort -u | grep -vxE '(core|http|lua|scripts|tests|public)/|CMakeLists\.txt|CMakePresets\.json|README\.md|evserve\.[hc]|main\.c|LICENSE|SECURITY\.md|CHANGELOG\.md|\..*')"
    fi
    [ "$failed" -eq 0 ]
}

self_test() {
    tree=$(mktemp -d) || exit 2
    trap 'rm -rf "$tree"' EXIT
    mkdir -p "$tree/core/program" "$tree/http/h1" "$tree/http/ws" "$tree/http/client" "$tree/http/rules" "$tree/http/proxy" "$tree/http/host" "$tree/lua" "$tree/stray"
    # Each line is a file, and an include that must be found in it, on its second line.
    bad=$(cat <<'END'
core/a.c "http/router.h"
core/program/a.c "lua/script.h"
http/h1/a.c "http/host/evs_internal.h"
core/b.h "evserve.h"
core/c.c <lua.h>
http/a.c "lua/script.h"
http/b.c "../lua/script.h"
http/c.h <luajit-2.1/lauxlib.h>
http/d.c "evserve.h"
http/client/a.c "http/server.h"
http/client/b.c "http/h1/parser.h"
http/rules/a.c "http/conn.h"
http/rules/b.c "http/host/offer.h"
http/proxy/a.c "http/server.h"
http/proxy/b.c "http/h1/h1.h"
http/host/a.c "lua/script.h"
http/host/b.c "http/conn.h"
http/host/c.c "http/h1/h1.h"
http/e.c "http/host/evs_internal.h"
http/f.c "http/server_internal.h"
http/g.c "http/conn.h"
http/h.h "http/h1/parser.h"
http/i.c "core/transport.h"
http/conn_a.c "http/response.h"
http/conn_b.h "http/h1/h1.h"
http/conn_c.c "http/server.h"
http/server_a.c "http/h1/h1.h"
core/program/b.c "http/h1/h1_protocol.h"
lua/b.c "http/server_internal.h"
lua/c.c "http/h1/parser.h"
lua/d.c "http/client/fetch_head.h"
http/h1/parser_a.c "http/exchange.h"
http/h1/chunked.c "core/reactor.h"
http/h1/b.c "http/server.h"
http/h1/c.h "core/sys.h"
http/h1/d.c "http/ws/ws.h"
http/ws/a.c "http/h1/h1.h"
http/ws/b.c "lua/script.h"
http/ws/ws_reader_a.c "http/conn.h"
http/j.c "http/ws/ws.h"
lua/e.c "http/ws/ws_reader.h"
http/host/d.c "http/ws/ws_frame.h"
lua/a.c "evserve.h"
evserve.c <lua.h>
main.c "tests/lib/fake_sys.h"
evserve.h "core/reactor.h"
END
    )
    printf '%s\n' "$bad" | while read -r file include; do
        printf '/* a file */\n%s\n' "#include $include" >"$tree/$file"
    done
    printf '#include "core/log.h"\n#include <stdio.h>\n' >"$tree/http/fine.c"
    printf '#include "evserve.h"\n' >>"$tree/http/host/fine.c"
    printf '#include "http/conn.h"\n#include "http/client/fetch_reply.h"\n' >"$tree/http/proxy/fine.c"
    printf '#include "http/conn.h"\n#include "http/response.h"\n' >"$tree/http/h1/h1_fine.c"
    printf '#include "http/h1/h1_protocol.h"\n#include "http/conn.h"\n' >"$tree/http/server.c"
    printf '#include "core/transport.h"\n#include "http/outcome.h"\n' >"$tree/http/conn.c"
    printf '#include <lua.h>\n#include "http/router.h"\n' >"$tree/lua/fine.c"
    printf 'static int twin(void)\nstruct twin {\n};\nenum { ONE, TWIN = 2 };\n' |
        tee -a "$tree/http/fine.c" >>"$tree/lua/fine.c"
    printf 'enum tag {\n};\n' >>"$tree/http/fine.c"
    printf 'struct tag {\n};\n' >>"$tree/lua/fine.c"
    touch "$tree/stray/file"
    git -C "$tree" init -q
    git -C "$tree" add .

    found=$(check_tree "$tree") && echo 'self-test: a bad tree passed' && exit 1
    places="$(printf '%s\n' "$bad" | sed 's/ .*/:2/') lua/fine.c:3 lua/fine.c:4 lua/fine.c:6 lua/fine.c:7 stray/"
    for place in $places; do
        printf '%s\n' "$found" | grep -q "^$place" || { echo "self-test: $place was not found"; exit 1; }
    done
    while IFS=';' read -r why _; do
        printf '%s\n' "$found" | grep -q -- "<- ${why% }\$" || { echo "self-test: nothing breaks: $why"; exit 1; }
    done <<END
$(rules)
END
    expected=$(($(echo $places | wc -w) + 1)) # two names are on one line of lua/fine.c
    [ "$(printf '%s\n' "$found" | wc -l)" -eq "$expected" ] || { echo 'self-test: too much was found:'; echo "$found"; exit 1; }
}

if [ "${1:-}" = --self-test ]; then
    self_test
else
    check_tree "${1:-$(dirname "$0")/..}"
fi
