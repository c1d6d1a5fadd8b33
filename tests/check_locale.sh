#!/bin/sh
# The locale check: setlocale(3) belongs to the host, so nothing of ours may depend on it. Objects must not ask the C library
# for a function that does, and no format of printf(3) may write a decimal point, group digits or convert wide characters.
# core/ascii.h and lua/ (through LuaJIT, which does not look at the locale either) have what is needed instead.
#
#   tests/check_locale.sh OBJECT...     check object files and the sources of the tree that this script is in
#   tests/check_locale.sh --self-test   check that the check finds what it is there to find

# Reads lines of "OBJECT: SYMBOL ...", as nm(1) prints them, and prints those whose symbol depends on the locale.
find_symbols() {
    grep -E ' (__isoc(99|23)_)?(is(w?(alnum|alpha|blank|cntrl|digit|graph|lower|print|punct|space|upper|xdigit)|wctype)|to(w?(lower|upper)|wctrans)|__ctype_(b|tolower|toupper)_loc|strn?casecmp|strcasestr|strcoll|strxfrm|strto(d|f|ld|l|ul|ll|ull|q|uq|imax|umax)|ato(f|i|l|ll)|v?[fs]?scanf|mb(len|rlen|towc|rtowc|stowcs|srtowcs|snrtowcs|sinit)|wc(tomb|rtomb|stombs|srtombs|s[a-z]+|width)|btowc|wctob|strftime|strptime|wcsftime|strerror|(__xpg_)?strerror_r|strsignal|perror|psignal|localeconv|nl_langinfo|setlocale|newlocale|uselocale|regcomp|regexec|fnmatch|glob|wordexp|v?w?printf_l|[dn]*gettext)(@[^ ]*)? '
}

# Prints the lines of files with a format that depends on the locale.
find_formats() {
    grep -nE "\"([^\"]*[^%\"])?(%%)*%([-+ #0-9.*]*'[-+ #0-9.*']*[a-zA-Z]|[-+ #0-9.*]*L?[aAeEfFgG]|[-+ #0-9.*]*l[cs])[^\"]*\"" "$@" |
        grep -vE 'lua_pushfstring|luaL_error'
}

self_test() {
    symbols=$(printf '%s\n' 'a.c.o: strtol U' 'a.c.o: __isoc23_strtoul U' 'a.c.o: __ctype_b_loc U' 'a.c.o: strerror U' \
        'a.c.o: strlen U' 'a.c.o: strcmp U' 'a.c.o: snprintf U' 'a.c.o: strspn U' 'a.c.o: strerrordesc_np U' | find_symbols | wc -l)
    file=$(mktemp) || exit 2
    trap 'rm -f "$file"' EXIT
    printf '%s\n' '"%g"' '"a %5.2f b"' "\"%'d\"" '"%*.*e"' '"%ls"' '"%d%%g"' '"100 %%"' '"%llx %s"' '"%-20s"' 'x % f' >"$file"
    formats=$(find_formats "$file" | wc -l)
    [ "$symbols" -eq 4 ] && [ "$formats" -eq 5 ] && exit 0
    printf '4 symbols and 5 formats expected, %s and %s found\n' "$symbols" "$formats"
    exit 1
}

[ "$1" = --self-test ] && self_test
[ $# -gt 0 ] || exit 2
cd "$(dirname "$0")/.." || exit 2
failed=0
listed=$(nm -A -u --format=posix "$@") || exit 2
found=$(printf '%s\n' "$listed" | find_symbols | sed 's/ U .*$//')
[ -n "$found" ] && printf '%s    <- depends on the locale\n' "$found" && failed=1
find_formats $(find core http lua evserve.c main.c -name '*.[ch]') && failed=1
exit "$failed"
