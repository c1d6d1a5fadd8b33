/* Cookies (http/cookie.c). The input is the value of a Cookie field, flush against a page that must not be touched: the
 * cookies that come out are those that a plain reading of it gives, one after the other. */

#include "http/cookie.h"
#include "tests/lib/fuzz.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The cookie between two semicolons, by a reading that looks at one byte at a time. Returns whether there is one. */
static bool read_plainly(const char *text, size_t start, size_t end, struct cookie *cookie)
{
    size_t equals = start;
    while (equals < end && text[equals] != '=') {
        equals++;
    }
    if (equals == end) {
        return false;
    }
    size_t bounds[4] = {start, equals, equals + 1, end};
    for (int i = 0; i < 4; i += 2) {
        while (bounds[i] < bounds[i + 1] && is_space(text[bounds[i]])) {
            bounds[i]++;
        }
        while (bounds[i] < bounds[i + 1] && is_space(text[bounds[i + 1] - 1])) {
            bounds[i + 1]--;
        }
    }
    *cookie = (struct cookie){text + bounds[0], text + bounds[2], bounds[1] - bounds[0], bounds[3] - bounds[2]};
    return cookie->name_len > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > GUARDED_BYTES) {
        return 0;
    }
    const char *text = guarded_at_end(fuzz_guarded(), (const char *)data, len);
    const char *at = text;
    size_t left = len;
    struct cookie cookie, wanted;
    for (size_t start = 0; start <= len;) {
        size_t end = start;
        while (end < len && text[end] != ';') {
            end++;
        }
        if (read_plainly(text, start, end, &wanted)) {
            FUZZ_MUST(cookie_next(&at, &left, &cookie));
            FUZZ_MUST(cookie.name == wanted.name && cookie.name_len == wanted.name_len);
            FUZZ_MUST(cookie.value_len == wanted.value_len);
            FUZZ_MUST(memcmp(cookie.value, wanted.value, wanted.value_len) == 0);
            FUZZ_MUST(at + left == text + len);
        }
        start = end + 1;
    }
    FUZZ_MUST(!cookie_next(&at, &left, &cookie) && left == 0);
    return 0;
}
