/* A program on the event loop alone: a timer, a listener and a queue of bytes, without HTTP. */

#include "core/log.h"
#include "core/mem.h"
#include "core/net.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/write_buffer.h"

#include <stdio.h>

static void on_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    (void)arg;
    reactor_stop(reactor);
}

static void on_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    (void)arg;
    (void)peer;
    (void)peer_len;
    sys_close(fd);
}

int main(void)
{
    char err[256] = "cannot create a reactor";
    struct reactor *reactor = NULL;
    struct net_address address;
    struct net_listener listener = {.fd = -1};
    struct write_buffer buffer;
    struct log log = {.level = LOG_INFO};
    int rv = reactor_create(&reactor, &log);
    if (rv == 0 && (rv = net_address_parse(&address, "127.0.0.1:0", err, sizeof err)) == 0) {
        rv = net_listener_open(&listener, reactor, &address, false, on_accept, NULL, &log, err, sizeof err);
    }
    if (rv < 0) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    write_buffer_init(&buffer);
    mem_free(mem_alloc(1));
    reactor_set_timeout(reactor, 1, on_timer, NULL);
    rv = write_buffer_append(&buffer, "looped\n", 7, 64);
    rv = rv < 0 ? rv : reactor_run(reactor);
    fwrite(write_buffer_data(&buffer), 1, write_buffer_len(&buffer), stdout);
    write_buffer_done(&buffer);
    net_listener_close(&listener);
    reactor_destroy(reactor);
    return rv < 0;
}
