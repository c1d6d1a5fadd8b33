#!/bin/sh
# Write the library as a single evserve.c with evserve.h, which need no other files, and evserve.hpp for C++ hosts:
#
#   scripts/amalgamate.sh [FOLDER]      default: build/amalgamation; prints the names of the three files
#   cc -IFOLDER host.c FOLDER/evserve.c
#
# Lua is left out, together with everything between #ifdef EVSERVE_HAS_LUA and #else or #endif. The sandbox filters
# system calls if you compile with -DEVSERVE_HAS_SECCOMP and link with -lseccomp. With -DEVSERVE_HAS_TLS it serves HTTPS:
# OpenSSL is loaded when the first such server starts (-ldl before glibc 2.34), or linked with -DEVSERVE_TLS_LINKED and -lssl
# -lcrypto. In the object file only the functions of evserve.h are global; all others become static.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/build/amalgamation}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$root"

fail() {
    echo "amalgamate.sh: $1" >&2
    exit 1
}

version=$(sed -n 's/^project(evserve VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
[ -n "$version" ] || fail "CMakeLists.txt has no version"

# A table of unknown length cannot be declared ahead as a static one, so http/limits.c comes before its users. parser.c
# comes before its variants, which share its headers.
sources="http/limits.c"
for source in core/*.c http/*.c http/h1/*.c http/ws/*.c http/client/*.c http/rules/*.c http/proxy/*.c http/host/*.c evserve.c; do
    printf '%s\n' "$sources" | tr ' ' '\n' | grep -qx "$source" || sources="$sources $source"
done

trap 'rm -f "$folder/evserve.c.new"' EXIT
# shellcheck disable=SC2086 # a list of names
awk -v version="$version" '
function die(text) {
    print "amalgamate.sh: " text >"/dev/stderr"
    failed = 1
    exit 1
}

function put(line) {
    body[++body_lines] = line
}

# The name of a function or struct that begins on this line of a template, or "".
function template_name(line) {
    if (line ~ /^struct [a-z_0-9]+ \{/) {
        split(line, words, " ")
        return words[2]
    }
    if (line ~ /^(INLINE|TARGET) / && match(line, /[a-z_0-9]+\([a-z_]/) && line !~ /VARIANT/) {
        sub(/^TARGET __attribute__\(\([a-z]+\)\) /, "", line)
        match(line, /[a-z_0-9]+\([a-z_]/)
        return substr(line, RSTART, RLENGTH - 2)
    }
    return ""
}

# Note the names that a variant of a template defines; is_known keeps them in order and once.
function read_names(file, names, is_known,    line, name) {
    while ((getline line < file) > 0) {
        name = template_name(line)
        if (name != "" && !(name in is_known)) {
            is_known[name] = 1
            names[++names[0]] = name
        }
        if (line ~ /^#include "/ && !is_guarded(quoted(line))) {
            read_names(quoted(line), names, is_known)
        }
    }
    close(file)
}

function quoted(line) {
    split(line, words, "\"")
    return words[2]
}

# Whether a file has a header guard; files without one are tables and templates, which may be included more than once.
function is_guarded(file,    line, answer, rv) {
    if (!(file in guards)) {
        answer = 0
        while (!answer && (rv = (getline line < file)) > 0) {
            answer = line ~ /^#ifndef EVSERVE_[A-Z_0-9]*_H$/
        }
        if (rv < 0) {
            die("cannot read " file)
        }
        close(file)
        guards[file] = answer
    }
    return guards[file]
}

# System headers are collected, with the conditions around them.
function take_system(line, file) {
    if (depth > 1 || condition[depth] ~ /^#else/) {
        die(file ": a nested condition around " line)
    }
    line = depth == 0 ? line : condition[1] "\n" line "\n#endif"
    if (!(line in systems)) {
        systems[line] = 1
        system_lines[++system_count] = line
    }
}

# A declaration in a header becomes static, and so does the definition that follows later. A line that begins with a macro,
# such as ALWAYS_INLINE, is static already.
function made_static(line) {
    if (line ~ /^extern /) {
        sub(/^extern /, "", line)
        return line ~ /\[\];/ ? "" : "static " line
    }
    if (line ~ /^[a-zA-Z_][^{="]*\(/ && line !~ /^(static|typedef|return|[A-Z_]+ |_Static_assert|__attribute__.* static)/) {
        return "static " line
    }
    return line
}

function take_line(line, file, is_header) {
    if (line ~ /^#ifdef EVSERVE_HAS_LUA$/) {
        is_left_out = in_lua = 1
        return
    } else if (in_lua && line ~ /^#else$/) {
        is_left_out = 0
        return
    } else if (in_lua && line ~ /^#endif$/) {
        is_left_out = in_lua = 0
        return
    } else if (is_left_out) {
        return
    }
    if (line ~ /^# *include "version\.h"/ || line ~ /^# *include "evserve\.h"/) {
        return
    }
    if (line ~ /^# *include "/) {
        take_file(quoted(line))
    } else if (line ~ /^# *include </) {
        sub(/ *\/\*.*/, "", line)
        take_system(line, file)
    } else if (is_header && line ~ /^#(ifndef|define) EVSERVE_[A-Z_0-9]*_H$/) {
        is_in_guard = 1
    } else {
        if (line ~ /^# *if/) {
            condition[++depth] = line
        } else if (line ~ /^# *el/) {
            condition[depth] = "#else"
        } else if (line ~ /^# *endif/) {
            if (depth == 0) {
                return # of the guard
            }
            depth--
        }
        if (is_header) {
            line = made_static(line)
        } else if (line ~ /^(const|struct [a-z_0-9]+) [a-z_0-9 ]*(\[[A-Z_0-9]*\])?( = |;)/) {
            line = "static " line
        }
        put(line)
    }
}

function take_file(file,    line, rv, names, is_known, i, is_variant, is_header) {
    if (file in taken) {
        return
    }
    is_header = is_guarded(file)
    is_variant = file ~ /^http\/h1\/parser_[a-z0-9]+\.c$/
    if (is_header || file ~ /\.c$/) {
        taken[file] = 1
        put("")
        put("/* " file " */")
        put("")
    }
    if (is_variant) {
        names[0] = 0
        read_names(file, names, is_known)
        for (i = 1; i <= names[0]; i++) {
            put("#define " names[i] " " names[i] "_" substr(file, 16, length(file) - 17))
        }
    }
    while ((rv = (getline line < file)) > 0) {
        take_line(line, file, is_header)
    }
    if (rv < 0) {
        die("cannot read " file)
    }
    close(file)
    for (i = 1; is_variant && i <= names[0]; i++) {
        put("#undef " names[i])
    }
}

function print_system(    i, j, swap) {
    for (i = 2; i <= system_count; i++) {
        for (j = i; j > 1 && system_lines[j] < system_lines[j - 1]; j--) {
            swap = system_lines[j]
            system_lines[j] = system_lines[j - 1]
            system_lines[j - 1] = swap
        }
    }
    for (i = 1; i <= system_count; i++) {
        print system_lines[i]
    }
}

BEGIN {
    print "/* evserve " version ": the library in one file, without Lua. Made by scripts/amalgamate.sh.\n *"
    while ((getline line < "LICENSE") > 0) {
        print line == "" ? " *" : " * " line
    }
    print " */\n"
    print "#ifdef __cplusplus\n#error \"compile evserve.c as C, and link the object file to the host in C++\"\n#else /* without the errors of the rest */\n"
    print "#if !defined _GNU_SOURCE\n#define _GNU_SOURCE\n#endif"
    print "#if !defined _FILE_OFFSET_BITS\n#define _FILE_OFFSET_BITS 64\n#endif"
    print "#if !defined _TIME_BITS\n#define _TIME_BITS 64\n#endif\n"
    for (i = 1; i < ARGC; i++) {
        take_file(ARGV[i])
    }
    print "#include \"evserve.h\"\n"
    print_system()
    print "\n#pragma GCC diagnostic ignored \"-Wunused-function\" /* what only other parts of the project call */\n"
    print "#define EVSERVE_VERSION \"" version "\""
    for (i = 1; i <= body_lines; i++) {
        print body[i]
    }
    print "\n#endif"
}' $sources >"$folder/evserve.c.new" || exit 1
{
    echo "/* evserve $version */"
    cat evserve.h
} >"$folder/evserve.h.new"
mv "$folder/evserve.h.new" "$folder/evserve.h"
cp http/host/evserve.hpp "$folder/evserve.hpp" # for hosts in C++
mv "$folder/evserve.c.new" "$folder/evserve.c"
printf '%s\n' "$folder/evserve.c" "$folder/evserve.h" "$folder/evserve.hpp"
