#ifndef EVSERVE_CORE_DATAGRAM_H
#define EVSERVE_CORE_DATAGRAM_H

/* Datagrams to one peer and back: UDP, or those of unix(7). */

#include <sys/socket.h>

enum { DATAGRAM_BYTES_MAX = 65535 }; /* bytes of one that can be received */

/* A socket that sends to address and receives what comes from there, for sys_send() and sys_recv(). One of a unix
 * socket gets a name of its own, so that its peer can reply. Returns an fd, or -errno. */
int datagram_open(const struct sockaddr *address, socklen_t len);

#endif
