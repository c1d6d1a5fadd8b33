/* Happy path: the value begins with the URL of the upstream, or with its base, and the client's prefix takes their
 * place. Failure modes: none. What is not understood stays as it is.
 *
 * A path that results never leads to another host: browsers read "//name", "/\name" and "/<tab>/name" as one. */

#include "http/proxy/proxied_location.h"

#include "core/ascii.h"
#include "http/head_text.h"
#include "http/url.h"

#include <string.h>

#define IS_LOCATION_FIELD(name, len, ours) ((len) == sizeof(ours) - 1 && ascii_equals(name, ours, sizeof(ours) - 1))

bool proxied_location_is_in(const char *name, size_t len)
{
    switch (ascii_lower(name[0])) {
    case 'l':
        return IS_LOCATION_FIELD(name, len, "location");
    case 'r':
        return IS_LOCATION_FIELD(name, len, "refresh");
    case 's':
        return IS_LOCATION_FIELD(name, len, "set-cookie");
    default:
        return false;
    }
}

/* Whether browsers read "/" with this byte behind it as the begin of a host's name. */
static bool begins_host(char c)
{
    return c == '/' || c == '\\' || (unsigned char)c <= ' ';
}

/* Whether a path is at or below another one, which has no slash at its end. What follows may be a query. */
static bool is_at_or_below(const char *path, size_t len, const char *top, size_t top_len)
{
    return len >= top_len && memcmp(path, top, top_len) == 0 &&
           (len == top_len || path[top_len] == '/' || path[top_len] == '?' || path[top_len] == '#');
}

/* Whether two authorities are the same, apart from case and from the port that a scheme has anyway. */
static bool is_same_authority(const char *one, size_t one_len, const char *other, size_t other_len, bool is_secured)
{
    const char *port = is_secured ? ":443" : ":80";
    size_t port_len = strlen(port);
    if (one_len > port_len && memcmp(one + one_len - port_len, port, port_len) == 0) {
        one_len -= port_len;
    }
    if (other_len > port_len && memcmp(other + other_len - port_len, port, port_len) == 0) {
        other_len -= port_len;
    }
    return one_len == other_len && one_len > 0 && ascii_equals(one, other, one_len);
}

/* How a URL leads to the upstream. */
enum location_kind {
    LOCATION_ELSEWHERE,
    LOCATION_PATH, /* by a path of the host that the client has asked */
    LOCATION_HOST, /* by the host that the upstream was asked for */
    LOCATION_OWN,  /* by the URL of the upstream, which only we know */
};

/* *path is where its path begins. */
static enum location_kind kind_of_location(const struct proxied_places *places, const char *url, size_t len,
                                           size_t *path)
{
    *path = 0;
    if (len > 0 && url[0] == '/') {
        return len > 1 && begins_host(url[1]) ? LOCATION_ELSEWHERE : LOCATION_PATH;
    }
    bool is_https = len > 8 && ascii_equals(url, "https://", 8);
    if (!is_https && !(len > 7 && ascii_equals(url, "http://", 7))) {
        return LOCATION_ELSEWHERE;
    }
    const char *name = url + (is_https ? 8 : 7), *end = name;
    while (end < url + len && *end != '/' && *end != '?' && *end != '#' && *end != '\\') {
        end++;
    }
    *path = (size_t)(end - url);
    size_t name_len = (size_t)(end - name);
    if (is_https == places->is_secured &&
        is_same_authority(name, name_len, places->authority, places->authority_len, is_https)) {
        return LOCATION_OWN;
    }
    /* http to https is meant. The other way round, an upstream may know nothing of our TLS. */
    bool is_same_scheme = is_https == places->is_client_secured || (!is_https && !places->is_secured);
    bool is_host = is_same_scheme && is_same_authority(name, name_len, places->host, places->host_len, is_https);
    return is_host ? LOCATION_HOST : LOCATION_ELSEWHERE;
}

/* Put a URL for the client. */
static char *put_proxied_url(char *at, const struct proxied_places *places, const char *url, size_t len)
{
    size_t start;
    enum location_kind kind = kind_of_location(places, url, len, &start);
    const char *path = url + start;
    size_t path_len = len - start;
    bool is_known = kind != LOCATION_ELSEWHERE && is_at_or_below(path, path_len, places->base, places->base_len);
    if (is_known && kind != LOCATION_OWN && places->base_len == 0) { /* it may know the client's paths already */
        bool is_https = kind == LOCATION_HOST && ascii_lower(url[4]) == 's';
        bool has_prefix = is_at_or_below(path, path_len, places->prefix, places->prefix_len);
        is_known = !has_prefix || (kind == LOCATION_HOST && is_https != places->is_client_secured);
        if (is_known && has_prefix) {
            path += places->prefix_len;
            path_len -= places->prefix_len;
        }
    }
    if (!is_known) {
        return put(at, url, len);
    }
    path += places->base_len;
    path_len -= places->base_len;
    at += url_encode_path(places->prefix, places->prefix_len, at);
    if (places->prefix_len == 0) {
        if (path_len == 0 || path[0] != '/') {
            *at++ = '/';
        } else if (path_len > 1 && begins_host(path[1])) {
            at = put(at, "/.", 2);
        }
    }
    return put(at, path, path_len);
}

static const char *skip_location_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    return at;
}

/* "5; url=/next": where the URL begins; NULL if there is none. */
static const char *find_refresh_url(const char *value, const char *end)
{
    while (value < end && *value != ';' && *value != ',') {
        value++;
    }
    const char *at = skip_location_space(value < end ? value + 1 : end, end);
    if (end - at < 3 || !ascii_equals(at, "url", 3)) {
        return NULL;
    }
    at = skip_location_space(at + 3, end);
    if (at == end || *at != '=') {
        return NULL;
    }
    at = skip_location_space(at + 1, end);
    return at < end && (*at == '"' || *at == '\'') ? at + 1 : at;
}

/* "a=b; Path=/x": where the last Path begins, which counts (RFC 6265 section 5.3), and ends; NULL if there is none. */
static const char *find_cookie_path(const char *value, const char *end, const char **path_end)
{
    const char *found = NULL;
    const char *at = memchr(value, ';', (size_t)(end - value));
    while (at != NULL) {
        const char *begin = skip_location_space(at + 1, end);
        at = memchr(begin, ';', (size_t)(end - begin));
        const char *stop = at == NULL ? end : at;
        if (stop - begin < 4 || !ascii_equals(begin, "path", 4)) {
            continue;
        }
        begin = skip_location_space(begin + 4, stop);
        if (begin < stop && *begin == '=') {
            found = skip_location_space(begin + 1, stop);
            while (stop > found && (stop[-1] == ' ' || stop[-1] == '\t')) {
                stop--;
            }
            *path_end = stop;
        }
    }
    return found;
}

char *proxied_location_put(char *at, const struct proxied_places *places, const char *name, const char *value,
                           size_t len)
{
    const char *end = value + len, *url = value, *url_end = end;
    if (ascii_lower(name[0]) == 'r') {
        url = find_refresh_url(value, end);
        if (url != NULL && url > value && (url[-1] == '"' || url[-1] == '\'')) {
            const char *quote = memchr(url, url[-1], (size_t)(end - url));
            url_end = quote == NULL ? end : quote;
        }
    } else if (ascii_lower(name[0]) == 's') {
        url = find_cookie_path(value, end, &url_end);
        /* "/" is below every prefix already, and a cookie may be meant for all of the site. */
        bool is_path = url != NULL && url < url_end && *url == '/';
        url = is_path && (url_end - url > 1 || places->base_len > 0) ? url : NULL;
    }
    if (url == NULL) {
        return put(at, value, len);
    }
    at = put(at, value, (size_t)(url - value));
    at = put_proxied_url(at, places, url, (size_t)(url_end - url));
    return put(at, url_end, (size_t)(end - url_end));
}
