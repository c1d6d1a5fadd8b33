/* URLs of requests.
 *
 * Happy path: one pass from left to right, which writes the normalised text into a block that is large enough for any
 * result (each byte may become three), and the host behind it. Failure: a phrase that says what is wrong. A host is
 * taken only if it can mean one thing: what might be read as another host elsewhere (a user name, a backslash, an
 * escape) is refused. */

#include "http/client/fetch_url.h"

#include "core/ascii.h"
#include "core/link.h"
#include "core/mem.h"
#include "http/char_class.h"
#include "http/client/fetch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static const char http_scheme[] = "http://", https_scheme[] = "https://", unix_scheme[] = "http+unix:";

/* What is read, and where the result goes. */
struct url_reader {
    const char *at, *end; /* of what is left to read */
    char *out;            /* where the next byte of the text goes */
    const char *why;
};

static int refuse_url(struct url_reader *reader, const char *why)
{
    reader->why = why;
    return -EINVAL;
}

static void put_url(struct url_reader *reader, const char *text, size_t len)
{
    memcpy(reader->out, text, len);
    reader->out += len;
}

static bool begins_with(const struct url_reader *reader, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(reader->end - reader->at) >= len && ascii_equals(reader->at, word, len);
}

/* Host and port. */

static bool is_host_letter(char c)
{
    char lower = ascii_lower(c);
    return (lower >= 'a' && lower <= 'z') || char_is_digit(c) || c == '-' || c == '.' || c == '_';
}

/* "[::1]", whose brackets belong to the text, but not to the host. */
static int read_bracketed(struct url_reader *reader, char *host)
{
    const char *close = memchr(reader->at, ']', (size_t)(reader->end - reader->at));
    struct in6_addr ignored;

    if (close == NULL || close - reader->at >= INET6_ADDRSTRLEN) {
        return refuse_url(reader, "has a malformed IPv6 address");
    }
    size_t len = (size_t)(close - reader->at - 1);
    for (size_t i = 0; i < len; i++) {
        host[i] = ascii_lower(reader->at[1 + i]);
    }
    host[len] = '\0';
    if (strlen(host) != len || inet_pton(AF_INET6, host, &ignored) != 1) {
        return refuse_url(reader, "has a malformed IPv6 address");
    }
    put_url(reader, "[", 1);
    put_url(reader, host, len);
    put_url(reader, "]", 1);
    reader->at = close + 1;
    return 0;
}

static int read_host(struct url_reader *reader, char *host)
{
    if (reader->at < reader->end && *reader->at == '[') {
        return read_bracketed(reader, host);
    }
    size_t len = 0;
    for (; reader->at < reader->end && is_host_letter(*reader->at); reader->at++) {
        if (len == LINK_HOST_MAX) {
            return refuse_url(reader, "has a host with more than 253 bytes");
        }
        host[len++] = ascii_lower(*reader->at);
    }
    host[len] = '\0';
    put_url(reader, host, len);
    return len > 0 ? 0 : refuse_url(reader, "has no host");
}

static int read_port(struct url_reader *reader, struct fetch_url *url)
{
    uint64_t port = url->is_secured ? 443 : 80;
    uint64_t usual = port;

    if (reader->at < reader->end && *reader->at == ':') {
        const char *digits = ++reader->at;
        while (reader->at < reader->end && char_is_digit(*reader->at)) {
            reader->at++;
        }
        size_t len = (size_t)(reader->at - digits);
        if (len > 0 && (!ascii_parse_number(digits, len, UINT16_MAX, &port) || port == 0)) {
            return refuse_url(reader, "has a port that is not one from 1 to 65535");
        }
        if (port != usual) {
            while (*digits == '0') {
                digits++;
            }
            put_url(reader, ":", 1);
            put_url(reader, digits, (size_t)(reader->at - digits));
        }
    }
    url->port = (uint16_t)port;
    return 0;
}

static int read_authority(struct url_reader *reader, struct fetch_url *url, char *host)
{
    const char *start = reader->out;
    int rv = read_host(reader, host);
    rv = rv < 0 ? rv : read_port(reader, url);

    if (rv < 0) {
        return rv;
    }
    if (reader->at < reader->end && strchr("/?#", *reader->at) == NULL) {
        const char *rest = reader->at;
        while (rest < reader->end && *rest != '/' && *rest != '@') {
            rest++;
        }
        bool has_user = rest < reader->end && *rest == '@';
        return refuse_url(reader, has_user ? "has a user name: send an Authorization field instead"
                                           : "has a host with a character that no host has");
    }
    url->authority = start;
    url->authority_len = (uint16_t)(reader->out - start);
    url->host = host;
    return 0;
}

/* Path of the socket, up to ':' and the path of the request. */
static int read_unix_path(struct url_reader *reader, struct fetch_url *url, char *host)
{
    const char *start = reader->at;
    while (reader->at < reader->end &&
           !(reader->at[0] == ':' && (reader->at + 1 == reader->end || reader->at[1] == '/'))) {
        reader->at++;
    }
    size_t len = (size_t)(reader->at - start);
    if (len == 0 || memchr(start, '\0', len) != NULL) {
        return refuse_url(reader, "has no path of a unix socket: http+unix:/run/x.sock:/path");
    }
    reader->at += reader->at < reader->end;
    put_url(reader, start, len);
    put_url(reader, ":", 1);
    memcpy(host, start, len);
    host[len] = '\0';
    url->unix_path = host;
    url->host = url->authority = "localhost";
    url->authority_len = (uint16_t)strlen(url->host);
    url->port = 80;
    return 0;
}

/* Path and query. */

/* Those that neither has (RFC 3986 section 3.3), and '#', which ends them. */
static bool is_to_be_escaped(char c)
{
    return (unsigned char)c >= 0x80 || strchr(" \"<>\\^`{|}", c) != NULL;
}

static int read_part(struct url_reader *reader, char stop)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; reader->at < reader->end && *reader->at != stop && *reader->at != '#'; reader->at++) {
        char c = *reader->at;
        if (char_is(c, CLASS_HOST) || c == '/') { /* most bytes: nothing is to be done about them */
            *reader->out++ = c;
            continue;
        }
        if ((unsigned char)c < ' ' || c == 0x7f) {
            return refuse_url(reader, "has a control character");
        }
        if (is_to_be_escaped(c)) {
            *reader->out++ = '%';
            *reader->out++ = digits[(unsigned char)c >> 4];
            c = digits[c & 15];
        }
        *reader->out++ = c;
    }
    return 0;
}

/* RFC 3986 section 5.2.4, in place. path begins with '/'. Returns its new end. */
static char *remove_dots(char *path, const char *end)
{
    char *out = path;
    const char *at = path;

    while (at < end) {
        const char *segment = at + 1;
        const char *next = memchr(segment, '/', (size_t)(end - segment));
        const char *stop = next != NULL ? next : end;
        size_t len = (size_t)(stop - segment);
        bool is_up = len == 2 && segment[0] == '.' && segment[1] == '.';
        if (is_up || (len == 1 && segment[0] == '.')) {
            while (is_up && out > path && *--out != '/') {
            }
            if (next == NULL) {
                *out++ = '/';
            }
        } else {
            memmove(out, at, len + 1);
            out += len + 1;
        }
        at = stop;
    }
    return out;
}

static int read_target(struct url_reader *reader, struct fetch_url *url)
{
    char *path = reader->out;

    if (reader->at == reader->end || *reader->at != '/') {
        *reader->out++ = '/';
    }
    int rv = read_part(reader, '?');
    reader->out = remove_dots(path, reader->out);
    if (rv == 0 && reader->at < reader->end && *reader->at == '?') {
        rv = read_part(reader, '#');
    }
    *reader->out++ = '\0';
    url->target = path;
    return rv;
}

static int read_scheme(struct url_reader *reader, struct fetch_url *url)
{
    const char *scheme = begins_with(reader, http_scheme)    ? http_scheme
                         : begins_with(reader, https_scheme) ? https_scheme
                         : begins_with(reader, unix_scheme)  ? unix_scheme
                                                             : NULL;
    if (scheme == NULL) {
        return refuse_url(reader, "does not begin with http://, https:// or http+unix:");
    }
    put_url(reader, scheme, strlen(scheme));
    reader->at += strlen(scheme);
    if (scheme != unix_scheme && strncmp(reader->at, "unix:/", strlen("unix:/")) == 0) {
        return refuse_url(reader, "has a unix socket in place of a host: write http+unix:/run/x.sock");
    }
    url->is_secured = scheme == https_scheme;
    return scheme == unix_scheme;
}

static int read_url(struct url_reader *reader, struct fetch_url *url, char *host)
{
    int rv = read_scheme(reader, url);
    if (rv >= 0) {
        rv = rv > 0 ? read_unix_path(reader, url, host) : read_authority(reader, url, host);
    }
    return rv < 0 ? rv : read_target(reader, url);
}

int fetch_url_parse(struct fetch_url *url, const char *text, size_t len, const char **why)
{
    *url = (struct fetch_url){0};
    if (len > FETCH_URL_MAX) {
        *why = "has more than 16384 bytes";
        return -EINVAL;
    }
    size_t text_room = 3 * len + 2; /* a '/' and the NUL */
    char *block = mem_alloc(text_room + len + 1);
    if (block == NULL) {
        return -ENOMEM;
    }
    struct url_reader reader = {.at = text, .end = text + len, .out = block};
    int rv = read_url(&reader, url, block + text_room);
    if (rv < 0) {
        mem_free(block);
        *url = (struct fetch_url){0};
        *why = reader.why;
        return rv;
    }
    url->text = block;
    return 0;
}

/* The length of a scheme with its colon (RFC 3986 section 3.1), or 0. */
static size_t scheme_len(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char lower = ascii_lower(text[i]);
        bool is_letter = lower >= 'a' && lower <= 'z';
        if (text[i] == ':') {
            return i > 0 ? i + 1 : 0;
        }
        if (!is_letter && (i == 0 || !(char_is_digit(text[i]) || strchr("+-.", text[i]) != NULL) || text[i] == '\0')) {
            return 0;
        }
    }
    return 0;
}

/* How much of base stands before a reference that has no scheme. */
static size_t base_len(const struct fetch_url *base, const char *reference, size_t len)
{
    const char *target = base->target;
    size_t path_len = strcspn(target, "?");

    if (len >= 2 && memcmp(reference, "//", 2) == 0) {
        return (size_t)(strchr(base->text, ':') + 1 - base->text);
    }
    if (len > 0 && *reference == '/') {
        path_len = 0;
    } else if (len == 0 || *reference == '#') {
        path_len = strlen(target);
    } else if (*reference != '?') {
        while (target[path_len - 1] != '/') {
            path_len--;
        }
    }
    return (size_t)(target - base->text) + path_len;
}

int fetch_url_resolve(struct fetch_url *url, const struct fetch_url *base, const char *reference, size_t len,
                      const char **why)
{
    if (scheme_len(reference, len) > 0) {
        return fetch_url_parse(url, reference, len, why);
    }
    if (len > FETCH_URL_MAX) {
        return fetch_url_parse(url, reference, len, why);
    }
    size_t before = base_len(base, reference, len);
    char *text = mem_alloc(before + len + 1);
    if (text == NULL) {
        *url = (struct fetch_url){0};
        return -ENOMEM;
    }
    memcpy(text, base->text, before);
    memcpy(text + before, reference, len);
    int rv = fetch_url_parse(url, text, before + len, why);
    mem_free(text);
    return rv;
}

void fetch_url_done(struct fetch_url *url)
{
    mem_free(url->text);
    *url = (struct fetch_url){0};
}

bool fetch_url_is_same_origin(const struct fetch_url *one, const struct fetch_url *other)
{
    if (one->unix_path != NULL || other->unix_path != NULL) {
        return one->unix_path != NULL && other->unix_path != NULL && strcmp(one->unix_path, other->unix_path) == 0;
    }
    return one->is_secured == other->is_secured && one->port == other->port && strcmp(one->host, other->host) == 0;
}
