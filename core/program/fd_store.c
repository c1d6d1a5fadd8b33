/* Happy path: what is there under the names of the sockets that were passed is removed, since some of them may not be
 * served any more: their clients would wait in vain. Then each socket of the server is stored under its name.
 *
 * Failure modes: what cannot be stored is not there after a restart, and clients are refused for a moment. */

#include "core/program/fd_store.h"

#include "core/ascii.h"
#include "core/mem.h"
#include "core/program/passed.h"
#include "core/program/systemd.h"
#include "core/program/upgraded.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Send a notice about a name, with an fd or -1. */
static void send_name(struct systemd_notifier *notifier, const char *what, const char *address, int fd)
{
    char name[PASSED_NAME_MAX], news[PASSED_NAME_MAX + 64];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {0};
    passed_name(address, name);
    if (strlen(name) > PASSED_SYSTEMD_NAME_MAX || strncmp(address, "fd:", 3) == 0) {
        return; /* a socket of systemd's own is passed again anyway */
    }
    struct iovec part = {news, (size_t)snprintf(news, sizeof news, "%s=1\nFDNAME=%s", what, name)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    pthread_mutex_lock(&notifier->lock); /* another thread may connect it anew */
    if (notifier->fd >= 0) {
        (void)!sendmsg(notifier->fd, &message, MSG_NOSIGNAL);
    }
    pthread_mutex_unlock(&notifier->lock);
}

static bool has_store(struct systemd_notifier *notifier, const char *fdstore)
{
    uint64_t most = 0;
    pthread_mutex_lock(&notifier->lock);
    bool is_connected = notifier->fd >= 0;
    pthread_mutex_unlock(&notifier->lock);
    return is_connected && fdstore != NULL && ascii_parse_number(fdstore, strlen(fdstore), INT32_MAX, &most) &&
           most > 0;
}

void fd_store_fill(struct systemd_notifier *notifier, const char *fdstore, const struct upgraded *passed,
                   evserve *server)
{
    int count = has_store(notifier, fdstore) ? evserve_listeners(server, NULL, 0) : 0;
    struct evs_inherited *listeners = count <= 0 ? NULL : mem_zalloc((size_t)count * sizeof *listeners);
    if (listeners == NULL) {
        return;
    }
    for (unsigned i = 0; i < passed->count; i++) {
        send_name(notifier, "FDSTOREREMOVE", passed->sockets[i].address, -1);
    }
    int found = evserve_listeners(server, listeners, (unsigned)count);
    for (int i = 0; i < found && i < count; i++) {
        send_name(notifier, "FDSTORE", listeners[i].address, listeners[i].fd);
        close(listeners[i].fd);
    }
    mem_free(listeners);
    (void)evserve_hand_over(server, EVSERVE_STORED);
}
