/* The address of a client. */

#include "http/peer.h"

#include "core/net.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

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

void peer_format(const struct peer *peer, char *text, size_t len)
{
    char formatted[NET_TEXT_MAX] = "unix:";
    struct sockaddr_storage address;
    socklen_t address_len = peer_address(peer, &address);
    if (address.ss_family != AF_UNIX) {
        net_address_format((struct sockaddr *)&address, address_len, formatted);
    }
    snprintf(text, len, "%s", formatted);
}
