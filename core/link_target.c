/* Failure modes: those of the contract. */

#include "core/link_target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

int link_target_address(const struct link_target *target, struct sockaddr_storage *address, socklen_t *len)
{
    struct sockaddr_in *ipv4 = (void *)address;
    struct sockaddr_in6 *ipv6 = (void *)address;
    struct sockaddr_un *unix_peer = (void *)address;
    memset(address, 0, sizeof *address);
    if (target->path != NULL) {
        size_t path_len = strlen(target->path);
        if (path_len == 0 || path_len >= sizeof unix_peer->sun_path || (target->path[0] == '@' && path_len == 1)) {
            return -EINVAL;
        }
        unix_peer->sun_family = AF_UNIX;
        memcpy(unix_peer->sun_path, target->path, path_len);
        bool is_abstract = target->path[0] == '@';
        if (is_abstract) {
            unix_peer->sun_path[0] = '\0';
        }
        *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len + (is_abstract ? 0 : 1));
        return 0;
    }
    if (inet_pton(AF_INET, target->host, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons(target->port);
        *len = sizeof *ipv4;
        return 0;
    }
    if (inet_pton(AF_INET6, target->host, &ipv6->sin6_addr) == 1) {
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons(target->port);
        *len = sizeof *ipv6;
        return 0;
    }
    return -ENOENT;
}
