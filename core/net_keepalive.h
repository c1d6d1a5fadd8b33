#ifndef EVSERVE_CORE_NET_KEEPALIVE_H
#define EVSERVE_CORE_NET_KEEPALIVE_H

/* Keep-alive of TCP, for connections whose peer has vanished without a word: its power is off, or a firewall has
 * forgotten the connection. For net.c. */

#include <stdint.h>

/* Set what net_listener_set_keepalive() of net.h describes, or with idle_ms 0 take it back. Returns 0, or -errno if the
 * socket has no such options, as unix ones do not. */
int net_keepalive_set(int fd, uint64_t idle_ms, uint64_t give_up_ms);

#endif
