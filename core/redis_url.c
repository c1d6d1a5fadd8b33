/* Happy path: the scheme; what comes before the last '@' of the authority; host, port and database; options.
 *
 * Failure mode: a text that is not such a URL. What is wrong with it is said without quoting it: a password with an
 * unescaped '@' or '/' could lie in any part. */

#include "core/redis_url.h"

#include "core/ascii.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { REDIS_PORT = 6379, REDIS_PORT_MAX = 65535 };

static const char url_usage[] = "a URL such as \"redis://127.0.0.1:6379/0\", \"rediss://user:password@host\" or "
                                "\"unix:/run/redis.sock\" expected";

/* A part of the text. */
struct url_part {
    const char *text;
    size_t len;
};

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copy a part with each %XX replaced. Returns 0, or -EINVAL with a text in err. */
static int take_redis_text(char *out, struct url_part part, const char *what, char *err, size_t errlen)
{
    size_t n = 0;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.text[i];
        if (c == '%') {
            int high = i + 1 < part.len ? hex_digit(part.text[i + 1]) : -1;
            int low = i + 2 < part.len ? hex_digit(part.text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return error_text(err, errlen, -EINVAL, "its %s has a '%%' without two hexadecimal digits: write %%25",
                                  what);
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0') {
            return error_text(err, errlen, -EINVAL, "its %s has a NUL byte", what);
        }
        if (n == REDIS_TEXT_MAX) {
            return error_text(err, errlen, -EINVAL, "its %s is longer than %d bytes", what, REDIS_TEXT_MAX);
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return 0;
}

static int take_database(struct redis_url *url, struct url_part part, char *err, size_t errlen)
{
    uint64_t number;
    if (!ascii_parse_number(part.text, part.len, REDIS_DATABASE_MAX, &number)) {
        return error_text(err, errlen, -EINVAL, "its database is not a number from 0 to %d", REDIS_DATABASE_MAX);
    }
    url->database = (unsigned)number;
    return 0;
}

/* One of "name=value&...". */
static int take_redis_option(struct redis_url *url, struct url_part name, struct url_part value, char *err,
                             size_t errlen)
{
    if (ascii_is(name.text, name.len, "db")) {
        return take_database(url, value, err, errlen);
    }
    if (ascii_is(name.text, name.len, "user")) {
        return take_redis_text(url->user, value, "user", err, errlen);
    }
    if (ascii_is(name.text, name.len, "password")) {
        url->has_password = true;
        return take_redis_text(url->password, value, "password", err, errlen);
    }
    if (ascii_is(name.text, name.len, "ca_file")) {
        return take_redis_text(url->ca_file, value, "ca_file", err, errlen);
    }
    return error_text(err, errlen, -EINVAL,
                      "an unknown option after its '?': db, user, password and ca_file are known");
}

static int take_redis_options(struct redis_url *url, const char *text, char *err, size_t errlen)
{
    int rv = 0;
    while (rv == 0 && *text != '\0') {
        size_t len = strcspn(text, "&");
        size_t name_len = strcspn(text, "=&");
        struct url_part value = {text + len, 0};
        if (name_len < len) {
            value = (struct url_part){text + name_len + 1, len - name_len - 1};
        }
        rv = take_redis_option(url, (struct url_part){text, name_len}, value, err, errlen);
        text += len + (text[len] == '&');
    }
    return rv;
}

/* "user:password" or ":password". */
static int take_user(struct redis_url *url, struct url_part part, char *err, size_t errlen)
{
    const char *colon = memchr(part.text, ':', part.len);
    if (colon == NULL) {
        return error_text(err, errlen, -EINVAL,
                          "it has a user without a password: redis://user:password@host or redis://:password@host");
    }
    size_t user_len = (size_t)(colon - part.text);
    int rv = take_redis_text(url->user, (struct url_part){part.text, user_len}, "user", err, errlen);
    url->has_password = true;
    return rv < 0 ? rv
                  : take_redis_text(url->password, (struct url_part){colon + 1, part.len - user_len - 1}, "password",
                                    err, errlen);
}

static bool is_host_char(char c, bool is_address)
{
    return is_address ? hex_digit(c) >= 0 || c == ':' || c == '.'
                      : (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '.' ||
                            c == '-' || c == '_';
}

/* "host", "host:port", "[::1]:port". */
static int take_place(struct redis_url *url, struct url_part part, char *err, size_t errlen)
{
    bool is_address = part.len > 0 && part.text[0] == '[';
    const char *end = memchr(part.text, is_address ? ']' : ':', part.len);
    if (is_address && end == NULL) {
        return error_text(err, errlen, -EINVAL, "%s", url_usage);
    }
    struct url_part host = {part.text + is_address, 0};
    host.len = (end == NULL ? part.len : (size_t)(end - part.text)) - is_address;
    size_t used = host.len + 2 * (size_t)is_address;
    bool is_good = host.len > 0 && host.len <= REDIS_HOST_MAX;
    for (size_t i = 0; is_good && i < host.len; i++) {
        is_good = is_host_char(host.text[i], is_address);
    }
    uint64_t port = REDIS_PORT;
    if (is_good && used < part.len) { /* ":" alone stands for the default port (RFC 3986, section 3.2.3) */
        is_good = part.text[used] == ':' &&
                  (used + 1 == part.len ||
                   ascii_parse_number(part.text + used + 1, part.len - used - 1, REDIS_PORT_MAX, &port)) &&
                  port > 0;
    }
    if (!is_good) {
        return error_text(err, errlen, -EINVAL, "%s", url_usage);
    }
    memcpy(url->host, host.text, host.len);
    url->host[host.len] = '\0';
    url->port = (uint16_t)port;
    return 0;
}

/* What follows "redis://" or "rediss://". */
static int take_authority(struct redis_url *url, const char *text, char *err, size_t errlen)
{
    size_t len = strcspn(text, "/?#");
    const char *place = text;
    for (const char *at = memchr(text, '@', len); at != NULL; at = memchr(place, '@', len - (size_t)(place - text))) {
        place = at + 1; /* behind the last one: passwords with an '@' are taken as they are meant */
    }
    if (place == text && strchr(text + len, '@') != NULL) {
        return error_text(err, errlen, -EINVAL, "in a password, '/', '?' and '#' are written %%2F, %%3F and %%23");
    }
    int rv = place == text ? 0 : take_user(url, (struct url_part){text, (size_t)(place - text) - 1}, err, errlen);
    rv = rv < 0 ? rv : take_place(url, (struct url_part){place, len - (size_t)(place - text)}, err, errlen);
    if (rv < 0) {
        return rv;
    }
    text += len;
    if (*text == '/') {
        size_t database_len = strcspn(text + 1, "?");
        rv = database_len == 0 ? 0 : take_database(url, (struct url_part){text + 1, database_len}, err, errlen);
        text += 1 + database_len;
    }
    if (rv == 0 && *text == '#') {
        return error_text(err, errlen, -EINVAL, "%s", url_usage);
    }
    return rv < 0 || *text == '\0' ? rv : take_redis_options(url, text + 1, err, errlen);
}

/* What follows "unix:". */
static int take_redis_socket(struct redis_url *url, const char *text, char *err, size_t errlen)
{
    size_t len = strcspn(text, "?");
    if (len == 0 || len > REDIS_PATH_MAX) {
        return error_text(err, errlen, -EINVAL, "the path of a unix socket has 1 to %d bytes", REDIS_PATH_MAX);
    }
    memcpy(url->path, text, len);
    url->path[len] = '\0';
    return text[len] == '\0' ? 0 : take_redis_options(url, text + len + 1, err, errlen);
}

int redis_url_parse(struct redis_url *url, const char *text, char *err, size_t errlen)
{
    int rv;
    *url = (struct redis_url){.port = REDIS_PORT};
    if (strlen(text) > REDIS_URL_MAX) {
        return error_text(err, errlen, -EINVAL, "it is longer than %d bytes", REDIS_URL_MAX);
    }
    if (strncmp(text, "unix:", 5) == 0) {
        rv = take_redis_socket(url, text + 5, err, errlen);
        snprintf(url->name, sizeof url->name, "unix:%s", url->path);
    } else if (strncmp(text, "redis://", 8) == 0 || strncmp(text, "rediss://", 9) == 0) {
        url->tls = text[5] == 's';
        rv = take_authority(url, text + 8 + url->tls, err, errlen);
        bool is_address = strchr(url->host, ':') != NULL;
        snprintf(url->name, sizeof url->name, "%s://%s%s%s:%u/%u", url->tls ? "rediss" : "redis", is_address ? "[" : "",
                 url->host, is_address ? "]" : "", url->port, url->database);
    } else {
        return error_text(err, errlen, -EINVAL, "%s", url_usage);
    }
    if (rv == 0 && url->user[0] != '\0' && !url->has_password) {
        return error_text(err, errlen, -EINVAL, "it has a user without a password");
    }
    if (rv == 0 && url->ca_file[0] != '\0' && !url->tls) {
        return error_text(err, errlen, -EINVAL, "ca_file is for TLS: rediss://");
    }
    return rv;
}
