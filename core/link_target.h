#ifndef EVSERVE_CORE_LINK_TARGET_H
#define EVSERVE_CORE_LINK_TARGET_H

/* Another server, as core/link.h is asked for it. */

#include "core/link_hello.h"

#include <stdint.h>
#include <sys/socket.h>

/* Where a link leads. The texts are borrowed during link_open() alone. */
struct link_target {
    const char *host;           /* a name, or an address without brackets: "127.0.0.1", "::1"; NULL: path */
    uint16_t port;              /* at host */
    const char *path;           /* of a unix socket; one that begins with '@' is abstract (unix(7)) */
    const struct link_tls *tls; /* NULL: none. on_open comes after the handshake */
};

/* The address of a target that needs no look-up, and its length. Returns 0; -EINVAL for a path of a length that none
 * can have; or -ENOENT for a name. */
int link_target_address(const struct link_target *target, struct sockaddr_storage *address, socklen_t *len);

#endif
