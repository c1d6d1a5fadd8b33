#ifndef EVSERVE_LUA_UDP_NAME_H
#define EVSERVE_LUA_UDP_NAME_H

/* The peer of a socket for datagrams: whether it may be one, and finding it by its name. */

#include "core/destinations.h"
#include "lua/udp.h"

#include <stddef.h>
#include <stdint.h>

/* Open the socket for datagrams to a peer whose address is known, if it may be one (core/destinations.h). Returns 0, or
 * -errno with a text in err. */
int udp_open_peer(struct script_udp *udp, const struct destination *to, char *err, size_t errlen);

/* Open the socket, if that was put off and may be done now. Returns 0; -EBADF if it is closed, or it is too early; or
 * another -errno with a text in err. */
int udp_open_now(struct script_udp *udp, char *err, size_t errlen);

/* Close the socket, and look for the addresses of name; it is opened for the first one that may be its peer. Returns 1
 * when that is done; 0 when coro must wait for it: coro_wait() with udp_wait follows, and udp_finish_naming() when coro
 * goes on. Or -errno with a text in err. */
int udp_begin_naming(struct script_udp *udp, struct coro *coro, const char *name, uint16_t port, char *err,
                     size_t errlen);

/* What has become of it: 1; -ETIMEDOUT if there was no answer, which is not waited for any longer; -EBADF if the socket
 * was closed meanwhile; or -errno. All with a text in err. */
int udp_finish_naming(struct script_udp *udp, char *err, size_t errlen);

#endif
