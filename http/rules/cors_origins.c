/* Happy path: an origin is cut into scheme, host and port, and compared with each of the list.
 * Failure modes: an entry that browsers never send as their origin, so that it would fit nothing, is an error text. */

#include "http/rules/cors_origins.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/network.h"

#include <errno.h>
#include <string.h>

/* An origin in its parts, or a pattern for some. Not NUL-terminated. */
struct cors_origin {
    const char *scheme; /* with "://"; "null" of that origin */
    const char *host;   /* of a pattern for hosts below one: from its '.' on */
    const char *port;   /* with ':', or "" */
    size_t scheme_len, host_len, port_len;
    bool is_below; /* the hosts below that one */
    bool any_port;
};

struct cors_origins {
    bool is_any, has_null;
    size_t count;
    struct cors_origin entries[CORS_ORIGINS_MAX];
    char texts[]; /* of the entries, in lower case */
};

static bool is_origin_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_origin_scheme(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_origin_alnum(text[i]) && memchr("+-.", text[i], 3) == NULL) {
            return false;
        }
    }
    return len > 0 && text[0] >= 'a';
}

static bool is_origin_host(const char *text, size_t len)
{
    bool is_address = len > 2 && text[0] == '[' && text[len - 1] == ']';
    for (size_t i = is_address ? 1 : 0; i < (is_address ? len - 1 : len); i++) {
        if (!is_origin_alnum(text[i]) &&
            (is_address ? text[i] != ':' && text[i] != '.' : text[i] != '-' && text[i] != '.' && text[i] != '_')) {
            return false;
        }
    }
    return len > 0 && text[0] != '.';
}

static bool is_origin_port(const char *text, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return len > 1 && len <= sizeof ":65535" - 1;
}

/* Cut "scheme://host:port". Returns false for what is no origin. */
static bool cut_cors_origin(struct cors_origin *origin, const char *text, size_t len)
{
    static const char mark[] = "://";
    const char *end = text + len, *at = memmem(text, len, mark, sizeof mark - 1);
    if (at == NULL || !is_origin_scheme(text, (size_t)(at - text))) {
        return false;
    }
    *origin = (struct cors_origin){.scheme = text, .host = at + sizeof mark - 1};
    origin->scheme_len = (size_t)(origin->host - text);
    const char *bracket = memchr(origin->host, ']', (size_t)(end - origin->host));
    const char *from = bracket == NULL ? origin->host : bracket;
    const char *colon = memchr(from, ':', (size_t)(end - from));
    origin->port = colon == NULL ? end : colon;
    origin->host_len = (size_t)(origin->port - origin->host);
    origin->port_len = (size_t)(end - origin->port);
    return true;
}

/* Reading. */

static bool names_default_port(const struct cors_origin *origin)
{
    bool is_http = ascii_is(origin->scheme, origin->scheme_len, "http://") &&
                   ascii_is(origin->port, origin->port_len, ":80");
    return is_http || (ascii_is(origin->scheme, origin->scheme_len, "https://") &&
                       ascii_is(origin->port, origin->port_len, ":443"));
}

/* Make a pattern of an origin that may have '*' in it. Returns 0 or -EINVAL. */
static int read_cors_origin(struct cors_origin *origin, const char *text, size_t len, char *err, size_t errlen)
{
    if (!cut_cors_origin(origin, text, len)) {
        return error_text(err, errlen, -EINVAL, "\"%.*s\" is no origin: write one such as \"https://app.example\"",
                          (int)len, text);
    }
    if (memchr(origin->host, '/', (size_t)(text + len - origin->host)) != NULL) {
        return error_text(err, errlen, -EINVAL, "\"%.*s\": an origin has no path: leave out what comes from the '/' on",
                          (int)len, text);
    }
    origin->any_port = ascii_is(origin->port, origin->port_len, ":*");
    if (origin->host_len > 2 && memcmp(origin->host, "*.", 2) == 0) {
        origin->is_below = true;
        origin->host++;
        origin->host_len--;
    }
    if (!is_origin_host(origin->host + origin->is_below, origin->host_len - origin->is_below)) {
        return error_text(
            err, errlen, -EINVAL,
            "\"%.*s\": the host is a name in ASCII or an address; \"*\" stands for what is before the first "
            "'.' alone, as in \"https://*.example.org\"",
            (int)len, text);
    }
    if (origin->port_len > 0 && !origin->any_port && !is_origin_port(origin->port, origin->port_len)) {
        return error_text(err, errlen, -EINVAL, "\"%.*s\": the port is a number, or \"*\" for any", (int)len, text);
    }
    if (names_default_port(origin)) {
        return error_text(err, errlen, -EINVAL, "\"%.*s\": browsers leave out \"%.*s\", and so must you", (int)len,
                          text, (int)origin->port_len, origin->port);
    }
    return 0;
}

/* Read one entry of the list into the next place. Returns 0 or -errno. */
static int add_cors_origin(struct cors_origins *origins, char *text, size_t len, char *err, size_t errlen)
{
    if (len == 0 || len >= CORS_ORIGIN_TEXT_MAX) {
        return error_text(err, errlen, -EINVAL,
                          len == 0 ? "an origin is missing in the list" : "\"%.100s...\" is too long", text);
    }
    if (origins->count == CORS_ORIGINS_MAX) {
        return error_text(err, errlen, -ENOSPC, "\"%.*s\" is one origin too many: at most %d", (int)len, text,
                          CORS_ORIGINS_MAX);
    }
    if (ascii_is(text, len, "*")) {
        origins->is_any = true;
        origins->count++;
        return 0;
    }
    if (ascii_is(text, len, "null")) {
        origins->has_null = true;
        origins->entries[origins->count++] = (struct cors_origin){.scheme = text, .scheme_len = len};
        return 0;
    }
    int rv = read_cors_origin(&origins->entries[origins->count], text, len, err, errlen);
    origins->count += rv == 0 ? 1 : 0;
    return rv;
}

struct cors_origins *cors_origins_create(const char *list, int *error, char *err, size_t errlen)
{
    size_t room = strlen(list) + 1;
    struct cors_origins *origins = mem_zalloc(sizeof *origins + room);
    if (origins == NULL) {
        *error = error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
        return NULL;
    }
    ascii_copy_lower(origins->texts, list, room);
    const char *rest = origins->texts;
    int rv;
    do {
        size_t len;
        const char *part = network_next_part(&rest, &len);
        rv = add_cors_origin(origins, origins->texts + (part - origins->texts), len, err, errlen);
    } while (rv == 0 && (rest[0] != '\0' || rest[-1] == ','));
    if (rv == 0 && origins->is_any && origins->count > 1) {
        rv = error_text(err, errlen, -EINVAL, "\"*\" stands for all origins: it cannot be in a list with others");
    }
    if (rv < 0) {
        *error = rv;
        mem_free(origins);
        return NULL;
    }
    return origins;
}

/* Matching. */

bool cors_origins_is_any(const struct cors_origins *origins)
{
    return origins->is_any;
}

bool cors_origins_has_null(const struct cors_origins *origins)
{
    return origins->has_null;
}

static bool is_same_part(const char *one, size_t one_len, const char *other, size_t other_len)
{
    return one_len == other_len && (one_len == 0 || memcmp(one, other, one_len) == 0);
}

static bool fits_cors_origin(const struct cors_origin *entry, const struct cors_origin *origin)
{
    size_t more = origin->host_len - entry->host_len;
    bool is_host_fit = entry->is_below ? origin->host_len > entry->host_len &&
                                             memcmp(origin->host + more, entry->host, entry->host_len) == 0
                                       : is_same_part(entry->host, entry->host_len, origin->host, origin->host_len);
    return is_host_fit && is_same_part(entry->scheme, entry->scheme_len, origin->scheme, origin->scheme_len) &&
           (entry->any_port || is_same_part(entry->port, entry->port_len, origin->port, origin->port_len));
}

bool cors_origins_allow(const struct cors_origins *origins, const char *origin, size_t len)
{
    struct cors_origin asked;
    if (origins->is_any || is_same_part(origin, len, "null", 4)) {
        return origins->is_any || origins->has_null;
    }
    if (!cut_cors_origin(&asked, origin, len) || !is_origin_host(asked.host, asked.host_len) ||
        (asked.port_len > 0 && !is_origin_port(asked.port, asked.port_len))) {
        return false;
    }
    for (size_t i = 0; i < origins->count; i++) {
        if (fits_cors_origin(&origins->entries[i], &asked)) {
            return true;
        }
    }
    return false;
}
