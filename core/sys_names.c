/* Not in sys.c, so that tests of what resolves names need not have the kernel replaced. */

#include "core/sys_names.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* What an error of getaddrinfo(3) means, as -errno. */
static int names_error(int error)
{
    switch (error) {
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return errno > 0 ? -errno : -EIO;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENOENT;
    default:
        return -EIO;
    }
}

/* Take one address. Returns whether it is of a family that we know. */
static int take_name_address(struct name_address *address, const struct addrinfo *info)
{
    *address = (struct name_address){.family = (uint16_t)info->ai_family};
    if (info->ai_family == AF_INET) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, info->ai_addr, sizeof ipv4);
        memcpy(address->bytes, &ipv4.sin_addr, 4);
        return 1;
    }
    if (info->ai_family == AF_INET6) {
        struct sockaddr_in6 ipv6;
        memcpy(&ipv6, info->ai_addr, sizeof ipv6);
        memcpy(address->bytes, &ipv6.sin6_addr, 16);
        address->scope = ipv6.sin6_scope_id;
        return 1;
    }
    return 0;
}

int sys_find_addresses(const char *name, struct name_address addresses[NAME_ADDRESSES_MAX])
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int count = 0;
    int error = getaddrinfo(name, NULL, &hints, &found);
    if (error != 0) {
        return names_error(error);
    }
    for (const struct addrinfo *info = found; info != NULL && count < NAME_ADDRESSES_MAX; info = info->ai_next) {
        count += take_name_address(&addresses[count], info);
    }
    freeaddrinfo(found);
    return count > 0 ? count : -ENOENT;
}
