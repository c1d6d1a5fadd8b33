/* Failure modes: those that are named in the header. */

#include "core/program/kept_sockets.h"

#include "core/mem.h"
#include "core/program/upgraded.h"

#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

void kept_sockets_add(struct kept_sockets *kept, int fd, const char address[EVSERVE_ADDRESS_MAX])
{
    if (kept->count == KEPT_SOCKETS_MAX) {
        close(fd);
        return;
    }
    struct evs_inherited *added = &kept->sockets[kept->count++];
    added->fd = fd;
    memcpy(added->address, address, sizeof added->address);
    added->address[sizeof added->address - 1] = '\0';
}

void kept_sockets_drop(struct kept_sockets *kept)
{
    for (unsigned i = 0; i < kept->count; i++) {
        close(kept->sockets[i].fd);
    }
    kept->count = 0;
}

/* TCP reports POLLHUP then, unix sockets POLLRDHUP. */
static bool is_shut(int fd)
{
    struct pollfd state = {.fd = fd, .events = POLLRDHUP};
    return poll(&state, 1, 0) < 0 || (state.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)) != 0;
}

void kept_sockets_drop_shut(struct kept_sockets *kept)
{
    unsigned count = 0;
    for (unsigned i = 0; i < kept->count; i++) {
        if (is_shut(kept->sockets[i].fd)) {
            close(kept->sockets[i].fd);
        } else {
            kept->sockets[count++] = kept->sockets[i];
        }
    }
    kept->count = count;
}

void kept_sockets_give(const struct kept_sockets *kept, struct upgraded *upgraded)
{
    if (upgraded->sockets == NULL && kept->count > 0) {
        upgraded->sockets = mem_alloc(kept->count * sizeof *upgraded->sockets);
    }
    if (upgraded->sockets != NULL) {
        memcpy(upgraded->sockets, kept->sockets, kept->count * sizeof *upgraded->sockets);
        upgraded->count = kept->count;
    }
}
