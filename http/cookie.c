/* Cookie values: pairs between semicolons. Nothing is refused: a server has no use for half of what a client stores,
 * but must not lose the rest for it. */

#include "http/cookie.h"

#include "http/char_class.h"

#include <string.h>

static void trim_blanks(const char **text, size_t *len)
{
    while (*len > 0 && char_is_space(**text)) {
        ++*text;
        --*len;
    }
    while (*len > 0 && char_is_space((*text)[*len - 1])) {
        --*len;
    }
}

bool cookie_next(const char **text, size_t *len, struct cookie *cookie)
{
    while (*len > 0) {
        const char *pair = *text;
        const char *semicolon = memchr(pair, ';', *len);
        size_t pair_len = semicolon == NULL ? *len : (size_t)(semicolon - pair);
        size_t taken = semicolon == NULL ? pair_len : pair_len + 1;
        *text += taken;
        *len -= taken;
        const char *equals = memchr(pair, '=', pair_len);
        if (equals == NULL) {
            continue;
        }
        *cookie = (struct cookie){
            .name = pair,
            .name_len = (size_t)(equals - pair),
            .value = equals + 1,
            .value_len = pair_len - (size_t)(equals - pair) - 1,
        };
        trim_blanks(&cookie->name, &cookie->name_len);
        trim_blanks(&cookie->value, &cookie->value_len);
        if (cookie->name_len > 0) {
            return true;
        }
    }
    return false;
}
