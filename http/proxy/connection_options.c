/* There is no failure: what does not fit is noted. */

#include "http/proxy/connection_options.h"

#include "core/ascii.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void add_option(struct connection_options *options, const char *at, const char *stop)
{
    while (at < stop && is_blank(*at)) {
        at++;
    }
    while (at < stop && is_blank(stop[-1])) {
        stop--;
    }
    if (at == stop) {
        return;
    }
    if (options->count == CONNECTION_OPTIONS_MAX) {
        options->has_more = true;
        return;
    }
    options->list[options->count++] = (struct connection_option){at, (size_t)(stop - at)};
}

void connection_options_add(struct connection_options *options, const char *value, size_t len)
{
    for (const char *at = value, *end = value + len; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        add_option(options, at, comma == NULL ? end : comma);
        at = comma == NULL ? end : comma + 1;
    }
}

bool connection_options_have(const struct connection_options *options, const char *name, size_t len)
{
    for (size_t i = 0; i < options->count; i++) {
        const struct connection_option *option = &options->list[i];
        if (option->len == len && ascii_equals(option->name, name, len)) {
            return true;
        }
    }
    return false;
}
