/* The address of a client. Failure mode: what is no address. */

#include "http/peer.h"

#include "core/ascii.h"
#include "core/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { PORT_DIGITS_MAX = 5, PORT_MAX = 65535 };

void peer_init(struct peer *peer, const struct sockaddr *address)
{
    *peer = (struct peer){.family = (uint8_t)address->sa_family};
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        peer->port = in->sin_port;
        memcpy(peer->address, &in->sin_addr, sizeof in->sin_addr);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        peer->port = in6->sin6_port;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            peer->family = AF_INET;
            memcpy(peer->address, in6->sin6_addr.s6_addr + 12, 4);
        } else {
            memcpy(peer->address, &in6->sin6_addr, sizeof in6->sin6_addr);
        }
    }
}

socklen_t peer_address(const struct peer *peer, struct sockaddr_storage *address)
{
    *address = (struct sockaddr_storage){.ss_family = peer->family};
    if (peer->family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)address;
        in->sin_port = peer->port;
        memcpy(&in->sin_addr, peer->address, sizeof in->sin_addr);
        return sizeof *in;
    }
    if (peer->family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
        in6->sin6_port = peer->port;
        memcpy(&in6->sin6_addr, peer->address, sizeof in6->sin6_addr);
        return sizeof *in6;
    }
    return sizeof address->ss_family;
}

static bool read_peer_port(const char *text, size_t len, uint16_t *port)
{
    uint64_t number;
    if (len > PORT_DIGITS_MAX || !ascii_parse_number(text, len, PORT_MAX, &number)) {
        return false;
    }
    *port = htons((uint16_t)number);
    return true;
}

bool peer_parse(struct peer *peer, const char *text, size_t len)
{
    static const char unix_text[] = "unix:";
    if (len == sizeof unix_text - 1 && memcmp(text, unix_text, len) == 0) {
        *peer = (struct peer){.family = AF_UNIX};
        return true;
    }
    char host[INET6_ADDRSTRLEN];
    const char *colon = memchr(text, ':', len), *begin = text;
    size_t host_len = len, end = len; /* end: of what is in front of the port's colon */
    int family = AF_INET6;
    if (len > 0 && text[0] == '[') {
        const char *bracket = memchr(text, ']', len);
        if (bracket == NULL) {
            return false;
        }
        begin++;
        host_len = (size_t)(bracket - begin);
        end = (size_t)(bracket + 1 - text);
    } else if (colon == NULL || memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)) == NULL) {
        family = AF_INET;
        host_len = end = colon == NULL ? len : (size_t)(colon - text);
    }
    uint16_t port = 0;
    if (host_len >= sizeof host ||
        (end < len && (text[end] != ':' || !read_peer_port(text + end + 1, len - end - 1, &port)))) {
        return false;
    }
    memcpy(host, begin, host_len);
    host[host_len] = '\0';
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};
    bool is_v4 = family == AF_INET;
    if (memchr(begin, '\0', host_len) != NULL ||
        inet_pton(family, host, is_v4 ? (void *)&in.sin_addr : (void *)&in6.sin6_addr) != 1) {
        return false;
    }
    peer_init(peer, is_v4 ? (const struct sockaddr *)&in : (const struct sockaddr *)&in6);
    return true;
}

void peer_format_host(const struct peer *peer, char *text, size_t len)
{
    char formatted[INET6_ADDRSTRLEN] = "unix:";
    if (peer->family == AF_INET || peer->family == AF_INET6) {
        inet_ntop(peer->family, peer->address, formatted, sizeof formatted);
    }
    snprintf(text, len, "%s", formatted);
}

void peer_format(const struct peer *peer, char *text, size_t len)
{
    char formatted[NET_TEXT_MAX];
    struct sockaddr_storage address;
    socklen_t address_len = peer_address(peer, &address);
    if (peer->port == 0) {
        peer_format_host(peer, text, len);
        return;
    }
    net_address_format((struct sockaddr *)&address, address_len, formatted);
    snprintf(text, len, "%s", formatted);
}
