/* Happy path: one look at each text. Nothing can fail but a comparison. */

#include "http/ws/ws_handshake.h"

#include "core/ascii.h"
#include "core/base64.h"
#include "core/sha1.h"
#include "http/char_class.h"

#include <string.h>

enum { KEY_LEN = 24, KEY_BYTES = 16 };

static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */

/* Take the next element of a list separated by commas, without the white space around it. Returns false at its end; an
 * element may be empty. */
static bool next_listed(const char **at, const char *end, const char **element, size_t *len)
{
    if (*at > end) {
        return false;
    }
    const char *comma = *at == end ? NULL : memchr(*at, ',', (size_t)(end - *at));
    const char *stop = comma == NULL ? end : comma;
    const char *from = *at;
    while (from < stop && char_is_space(*from)) {
        from++;
    }
    *at = stop + 1;
    while (stop > from && char_is_space(stop[-1])) {
        stop--;
    }
    *element = from;
    *len = (size_t)(stop - from);
    return true;
}

bool ws_tokens_have(const char *value, size_t len, const char *token)
{
    const char *element, *end = value + len;
    size_t element_len, token_len = strlen(token);
    while (next_listed(&value, end, &element, &element_len)) {
        if (element_len == token_len && ascii_equals(element, token, token_len)) {
            return true;
        }
    }
    return false;
}

bool ws_key_is_valid(const char *key, size_t len)
{
    unsigned char bytes[KEY_LEN];
    return len == KEY_LEN && key[KEY_LEN - 1] == '=' && key[KEY_LEN - 2] == '=' &&
           base64_decode(key, len, false, bytes) == KEY_BYTES;
}

void ws_accept_value(const char *key, size_t len, char value[WS_ACCEPT_LEN])
{
    char text[KEY_LEN + sizeof accept_guid];
    uint8_t hash[SHA1_BYTES];
    size_t key_len = len < KEY_LEN ? len : KEY_LEN;
    memcpy(text, key, key_len);
    memcpy(text + key_len, accept_guid, sizeof accept_guid - 1);
    sha1(text, key_len + sizeof accept_guid - 1, hash);
    base64_encode(hash, sizeof hash, BASE64_PADDED, value);
}

/* An origin taken apart: slices of its text. */
struct origin {
    const char *scheme, *host, *port; /* host: with the brackets of IPv6; port: the default one if there is none */
    size_t scheme_len, host_len, port_len;
};

/* The port that a scheme stands for, or "". */
static const char *default_port(const char *scheme, size_t len)
{
    bool is_plain = len == 4 && ascii_equals(scheme, "http", 4);
    bool is_secured = len == 5 && ascii_equals(scheme, "https", 5);
    return is_plain ? "80" : is_secured ? "443" : "";
}

/* Split host[:port]. */
static void split_host(const char *text, size_t len, struct origin *origin)
{
    size_t at = len;
    while (at > 0 && char_is_digit(text[at - 1])) {
        at--;
    }
    bool has_port = at > 0 && text[at - 1] == ':';
    const char *port = default_port(origin->scheme, origin->scheme_len);
    bool names_port = has_port && at < len; /* "host:" has none (RFC 3986 section 3.2.3) */
    origin->host = text;
    origin->host_len = has_port ? at - 1 : len;
    origin->port = names_port ? text + at : port;
    origin->port_len = names_port ? len - at : strlen(port);
}

/* Returns false for what is no scheme://host[:port], such as "null". */
static bool split_origin(const char *text, size_t len, struct origin *origin)
{
    size_t at = 0;
    while (at < len && text[at] != ':') {
        at++;
    }
    if (at == 0 || len - at <= 3 || memcmp(text + at, "://", 3) != 0) {
        return false;
    }
    origin->scheme = text;
    origin->scheme_len = at;
    split_host(text + at + 3, len - at - 3, origin);
    return true;
}

static bool is_text_same(const char *one, size_t one_len, const char *other, size_t other_len)
{
    return one_len == other_len && ascii_equals(one, other, one_len);
}

static bool is_same_place(const struct origin *one, const struct origin *other)
{
    return is_text_same(one->host, one->host_len, other->host, other->host_len) &&
           is_text_same(one->port, one->port_len, other->port, other->port_len);
}

bool ws_origin_is_own(const char *origin, size_t len, const char *host, size_t host_len, bool is_secured)
{
    struct origin page;
    if (!split_origin(origin, len, &page)) {
        return false;
    }
    struct origin own = {.scheme = page.scheme, .scheme_len = page.scheme_len};
    split_host(host, host_len, &own);
    bool is_plain_page = is_text_same(page.scheme, page.scheme_len, "http", 4);
    return host_len > 0 && is_same_place(&page, &own) && !(is_secured && is_plain_page);
}

bool ws_origin_is_listed(const char *origin, size_t len, const char *list)
{
    const char *element, *end = list + strlen(list);
    size_t element_len;
    struct origin page = {0}, listed;
    bool is_page = split_origin(origin, len, &page);
    while (next_listed(&list, end, &element, &element_len)) {
        bool is_all = element_len == 1 && element[0] == '*';
        bool is_text = element_len > 0 && is_text_same(element, element_len, origin, len);
        bool is_place = is_page && split_origin(element, element_len, &listed) && is_same_place(&page, &listed) &&
                        is_text_same(page.scheme, page.scheme_len, listed.scheme, listed.scheme_len);
        if (is_all || is_text || is_place) {
            return true;
        }
    }
    return false;
}

bool ws_protocols_have(const char *value, size_t len, const char *name, size_t name_len)
{
    const char *element, *end = value + len;
    size_t element_len;
    while (next_listed(&value, end, &element, &element_len)) {
        if (element_len == name_len && memcmp(element, name, name_len) == 0) {
            return true;
        }
    }
    return false;
}

const char *ws_choose_protocol(const char *list, bool (*offers)(void *arg, const char *name, size_t len), void *arg,
                               size_t *chosen_len)
{
    const char *element, *end = list + strlen(list);
    size_t len;
    while (next_listed(&list, end, &element, &len)) {
        if (len > 0 && offers(arg, element, len)) {
            *chosen_len = len;
            return element;
        }
    }
    return NULL;
}
