/* Failure modes: none. A socket that cannot be asked for its name is nobody's twin. */

#include "core/net_handed.h"

#include "core/net.h"
#include "core/sys.h"

#include <string.h>

int net_handed_take(struct net_handed_list *list, const struct net_address *address)
{
    char wanted[NET_TEXT_MAX];
    if (address->inherited_fd >= 0) {
        return 0;
    }
    net_address_format((const struct sockaddr *)&address->socket, address->len, wanted);
    for (unsigned i = 0; i < list->count; i++) {
        struct net_handed *handed = &list->sockets[i];
        if (!handed->is_taken && strcmp(handed->address, wanted) == 0) {
            handed->is_taken = true;
            return handed->fd;
        }
    }
    return 0;
}

static bool is_bound_to(int fd, const char *wanted)
{
    char text[NET_TEXT_MAX];
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    if (sys_socket_name(fd, (struct sockaddr *)&bound, &len) < 0) {
        return false;
    }
    net_address_format((const struct sockaddr *)&bound, len, text);
    return strcmp(text, wanted) == 0;
}

int net_handed_take_twin(struct net_handed_list *list, const struct net_listener *first)
{
    for (unsigned i = 0; first->shares_port && i < list->count; i++) {
        struct net_handed *handed = &list->sockets[i];
        if (!handed->is_taken && strcmp(handed->address, first->wanted) == 0 && is_bound_to(handed->fd, first->name)) {
            handed->is_taken = true;
            return handed->fd;
        }
    }
    return 0;
}
