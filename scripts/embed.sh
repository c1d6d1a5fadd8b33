#!/bin/sh
# Turn a folder into files in memory, for struct evs_mount of evserve.h:
#
#   scripts/embed.sh FOLDER NAME OUTPUT
#
# writes OUTPUT/NAME_assets.c and OUTPUT/NAME_assets.h, which declares NAME_assets:
#
#   scripts/embed.sh web ui build
#   cc -Ibuild host.c build/ui_assets.c -levserve
#
#   #include "ui_assets.h"
#   const struct evs_mount mounts[] = {{.prefix = "/", .assets = ui_assets}, {.prefix = NULL}};
#
# Each file has an entity tag made from its content. Those of brotli, zstd and gzip that are installed compress each
# file, except media and files that are already compressed. The result is kept if it is at least a tenth smaller and the
# folder does not already have such a file. Names that begin with a dot are left out, except .well-known at the top.
# When the C file is compiled, the assembler reads the contents from OUTPUT/NAME_assets/; this works with gcc and clang.
set -eu
LC_ALL=C
export LC_ALL

fail() {
    echo "embed.sh: $1" >&2
    exit 1
}

[ $# -eq 3 ] || fail "usage: embed.sh FOLDER NAME OUTPUT"
[ -d "$1" ] || fail "$1 is not a folder"
name=$2
case $name in
'' | [0-9]* | *[!A-Za-z0-9_]*) fail "\"$name\" is not a name in C: letters, digits and _, no digit first" ;;
esac
mkdir -p "$3"
folder=$(cd "$1" && pwd)
output=$(cd "$3" && pwd)
store=$output/${name}_assets # contents, and what became of them, by their hash; compressing takes long
fresh=$store.new
source=$output/${name}_assets.c
header=$output/${name}_assets.h
rm -rf "$fresh"
mkdir "$fresh"
trap 'rm -rf "$fresh" "$source.new"' EXIT

# Text inside quotes, for C and for the assembler.
quote() {
    printf '%s\n' "$1" | sed 's/[\\"]/\\&/g'
}
quoted_store=$(quote "$(quote "$store")")

hash_of() {
    sha256sum <"$1" | cut -c 1-64
}

size_of() {
    wc -c <"$1" | tr -d ' '
}

# put PATH CONTENT: add the asset PATH, whose content is in the fresh store under its hash.
put() {
    hash=$(basename "$2")
    tag=$(printf '%s\n' "$hash" | cut -c 1-16)
    symbol=evserve_embed_${name}_$tag
    if ! [ -e "$2.put" ]; then # two files with one content have it together
        printf 'EVSERVE_EMBED(%s, "%s/%s");\n' "$symbol" "$quoted_store" "$hash" >>"$source.new"
        : >"$2.put"
    fi
    quoted=$(printf '%s\n' "$1" | sed 's/[\\"?]/\\&/g') # "??/" could be a trigraph
    printf '    {"%s", %s, %s, NULL, "%s", 0},\n' "$quoted" "$symbol" "$(size_of "$2")" "$tag" >>"$fresh/rows"
}

# compress PATH CONTENT SUFFIX COMMAND...: add the sibling of an asset if that saves enough. Made once per content.
compress() {
    original=$1
    content=$2
    suffix=$3
    shift 3
    if [ -e "$folder/$original.$suffix" ] || ! command -v "$1" >/dev/null; then
        return 0
    fi
    old=$store/$(basename "$content").$suffix
    made=$content.$suffix
    if [ -e "$old" ]; then
        cp "$old" "$made"
    else
        "$@" <"$content" >"$made" || fail "$1 cannot compress $original"
        if [ "$(size_of "$made")" -gt $(($(size_of "$content") * 9 / 10)) ]; then
            : >"$made" # no content compresses to nothing: this says that there was no point
        fi
    fi
    if [ -s "$made" ]; then
        compressed=$fresh/$(hash_of "$made")
        cp "$made" "$compressed"
        put "$original.$suffix" "$compressed"
    fi
}

cat >"$source.new" <<END
/* Made by evserve's embed.sh; changes are lost. */

#include "${name}_assets.h"

#define EVSERVE_EMBED(symbol, path)                                                                                    \\
    __asm__(".pushsection .rodata\\n"                                                                                   \\
            ".global " #symbol "\\n"                                                                                    \\
            ".hidden " #symbol "\\n"                                                                                    \\
            ".type " #symbol ", %object\\n"                                                                             \\
            ".balign 16\\n" #symbol ":\\n"                                                                               \\
            ".incbin \\"" path "\\"\\n"                                                                                   \\
            ".size " #symbol ", . - " #symbol "\\n"                                                                     \\
            ".popsection\\n");                                                                                          \\
    extern const char symbol[] __attribute__((visibility("hidden")))

#ifdef __cplusplus
extern "C" {
#endif

END

newline='
'
[ -z "$(find -L "$folder" -name "*$newline*" | head -n 1)" ] || fail "$folder has a name with a line break"
(cd "$folder" && find -L . -name '.?*' ! -path ./.well-known -prune -o -type f -print) | sort >"$fresh/paths"
: >"$fresh/rows"
while IFS= read -r path; do
    path=${path#./}
    copy=$fresh/$(hash_of "$folder/$path")
    cp "$folder/$path" "$copy"
    put "$path" "$copy"
    case $(printf '%s\n' "$path" | tr '[:upper:]' '[:lower:]') in
    *.br | *.zst | *.gz | *.zip | *.xz | *.bz2 | *.7z | *.png | *.jpg | *.jpeg | *.gif | *.webp | *.avif | *.woff | \
        *.woff2 | *.mp3 | *.mp4 | *.m4a | *.ogg | *.webm | *.mov | *.flac) ;;
    *)
        compress "$path" "$copy" br brotli -q 11 -c
        compress "$path" "$copy" gz gzip -9 -n -c
        compress "$path" "$copy" zst zstd -19 -q -c
        ;;
    esac
done <"$fresh/paths"

{
    printf '\nconst struct evs_asset %s_assets[] = {\n' "$name"
    cat "$fresh/rows"
    printf '    {NULL, NULL, 0, NULL, NULL, 0},\n};\n\n#ifdef __cplusplus\n}\n#endif\n'
} >>"$source.new"
rm -f "$fresh/paths" "$fresh/rows" "$fresh"/*.put
rm -rf "$store"
mv "$fresh" "$store"
mv "$source.new" "$source"
cat >"$header" <<END
/* Made by evserve's embed.sh; changes are lost. */
#ifndef EVSERVE_EMBED_${name}_ASSETS_H
#define EVSERVE_EMBED_${name}_ASSETS_H

#include <evserve.h>

#ifdef __cplusplus
extern "C" {
#endif

extern const struct evs_asset ${name}_assets[]; /* for struct evs_mount; a NULL path ends it */

#ifdef __cplusplus
}
#endif

#endif
END
