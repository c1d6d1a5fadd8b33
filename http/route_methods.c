/* Happy path: a route that names a method gets its bit; a method of a request that the parser does not know is looked
 * up among the few names, which costs a GET nothing.
 *
 * Failure modes: what is no method, or is one of more than ROUTE_METHODS_MAX, is rejected when the route is
 * registered. */

#include "http/route_methods.h"

#include "core/ascii.h"
#include "core/log.h"
#include "http/char_class.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

_Static_assert(METHOD_COUNT + ROUTE_METHODS_MAX <= 64, "a set of methods is a word of 64 bits");
_Static_assert(ROUTE_METHODS_MAX *(METHOD_NAME_MAX + 2) + sizeof "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" <=
                   ROUTE_METHODS_TEXT_MAX,
               "the longest list of methods has room");

static bool is_method_token(const char *name, size_t len)
{
    size_t i = 0;
    while (i < len && char_is(name[i], CLASS_TOKEN)) {
        i++;
    }
    return i == len && len > 0 && len <= METHOD_NAME_MAX;
}

/* The known method that name is, written in other letters: surely a mistake, since methods are case-sensitive. NULL for
 * none. */
static const char *find_miswritten(const char *name, size_t len)
{
    for (unsigned method = 0; method < METHOD_OTHER; method++) {
        if (ascii_is(name, len, method_name((enum method)method))) {
            return method_name((enum method)method);
        }
    }
    return NULL;
}

/* Check that a route may have a method of that name. Returns 0, or -EINVAL with a text. */
static int check_name(const char *name, size_t len, char *err, size_t errlen)
{
    const int shown = len < 40 ? (int)len : 40;
    const char *meant = find_miswritten(name, len);
    if (!is_method_token(name, len)) {
        return error_text(
            err, errlen, -EINVAL,
            "\"%.*s\" is not a method: a method is a token of 1 to %d characters, such as GET or PROPFIND", shown, name,
            METHOD_NAME_MAX);
    }
    if (meant != NULL) {
        return error_text(err, errlen, -EINVAL, "\"%.*s\" is not a method: methods are case-sensitive, write %s", shown,
                          name, meant);
    }
    if (len == 7 && memcmp(name, "CONNECT", 7) == 0) {
        return error_text(err, errlen, -EINVAL, "CONNECT is for proxies, and is rejected before routing");
    }
    return 0;
}

int route_methods_add(struct route_methods *methods, const char *name, size_t len, uint64_t *set, char *err,
                      size_t errlen)
{
    if (len == 1 && name[0] == '*') {
        *set |= METHODS_ALL;
        return 0;
    }
    unsigned number = method_find(name, len);
    if (number == METHOD_OTHER) {
        number = route_methods_find(methods, UINT64_MAX, name, len);
    }
    if (number == METHOD_OTHER) {
        int rv = check_name(name, len, err, errlen);
        if (rv < 0) {
            return rv;
        }
        if (methods->count == ROUTE_METHODS_MAX) {
            return error_text(
                err, errlen, -ENOSPC,
                "%.*s is one method too many: routes may name %d in addition to GET, HEAD, POST, PUT, PATCH, DELETE "
                "and OPTIONS; \"*\" accepts all",
                (int)len, name, ROUTE_METHODS_MAX);
        }
        number = METHOD_COUNT + methods->count++;
        char *copy = methods->names[number - METHOD_COUNT];
        memcpy(copy, name, len);
        copy[len] = '\0';
    }
    *set |= METHOD_BIT(number);
    return 0;
}

/* The bit is looked at here, not where the number is used: gcc 14.2 at -O1 and above miscompiles
 * (set & 1 << number) != 0 ? number : METHOD_OTHER. */
unsigned route_methods_find(const struct route_methods *methods, uint64_t set, const char *name, size_t len)
{
    for (unsigned i = 0; i < methods->count; i++) {
        if ((set & METHOD_BIT(METHOD_COUNT + i)) != 0 && strlen(methods->names[i]) == len &&
            memcmp(methods->names[i], name, len) == 0) {
            return METHOD_COUNT + i;
        }
    }
    return METHOD_OTHER;
}

/* With the bits of all names that METHOD_OTHER stands for. */
static uint64_t widen(uint64_t set)
{
    return (set & METHOD_BIT(METHOD_OTHER)) != 0 ? set | ~METHODS_ALL : set;
}

uint64_t route_methods_common(uint64_t a, uint64_t b)
{
    uint64_t common = widen(a) & widen(b);
    return (a & b & METHOD_BIT(METHOD_OTHER)) != 0 ? common & METHODS_ALL : common;
}

void route_methods_format(const struct route_methods *methods, uint64_t set, char text[ROUTE_METHODS_TEXT_MAX])
{
    char *end = text;
    *end = '\0';
    if ((set & METHOD_BIT(METHOD_OTHER)) != 0) {
        strcpy(text, "*");
        return;
    }
    for (unsigned number = 0; number < METHOD_COUNT + methods->count; number++) {
        if ((set & METHOD_BIT(number)) != 0) {
            bool is_known = number < METHOD_COUNT;
            end = stpcpy(end, end == text ? "" : ", ");
            end = stpcpy(end, is_known ? method_name((enum method)number) : methods->names[number - METHOD_COUNT]);
        }
    }
}
