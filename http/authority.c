/* No failure modes: nothing here allocates. */

#include "http/authority.h"

#include "http/char_class.h"

#include <arpa/inet.h>
#include <string.h>

/* IPv6address of RFC 3986 section 3.2.2; its IPvFuture names no address that anybody can reach. */
static bool is_ipv6(const char *text, size_t len)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr ignored;

    if (len >= sizeof address) {
        return false;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    return inet_pton(AF_INET6, address, &ignored) == 1;
}

/* The end of a host that begins at p: an address in brackets or a registered name (RFC 3986 section 3.2.2); NULL when
 * it is malformed. */
static const char *find_host_end(const char *p, const char *end)
{
    if (p < end && *p == '[') {
        const char *close = memchr(p, ']', (size_t)(end - p));
        return close != NULL && is_ipv6(p + 1, (size_t)(close - p - 1)) ? close + 1 : NULL;
    }
    for (;;) {
        while (p < end && char_is(*p, CLASS_HOST)) {
            p++;
        }
        if (p == end || *p != '%') {
            return p;
        }
        if (end - p < 3 || char_hex_value(p[1]) < 0 || char_hex_value(p[2]) < 0) {
            return NULL;
        }
        p += 3;
    }
}

bool authority_is_valid(const char *text, size_t len)
{
    const char *end = text + len;
    const char *p = find_host_end(text, end);

    if (p == NULL || p == text) {
        return false;
    }
    if (p < end && *p++ != ':') {
        return false;
    }
    while (p < end && char_is_digit(*p)) {
        p++;
    }
    return p == end;
}

size_t authority_host_len(const char *text, size_t len)
{
    const char *bracket = len > 0 && text[0] == '[' ? memchr(text, ']', len) : text;
    const char *colon = bracket == NULL ? NULL : memchr(bracket, ':', len - (size_t)(bracket - text));
    return colon == NULL ? len : (size_t)(colon - text);
}
