#ifndef EVSERVE_HTTP_CONN_PROXY_H
#define EVSERVE_HTTP_CONN_PROXY_H

/* What connections of a listener with "?proxy" begin with: the header of the PROXY protocol, in clear, whatever
 * follows. It is required. Then the client of the header is the connection's peer, and the connection goes over to what
 * its listener speaks. */

#include "http/conn_protocol.h"

enum { PROXY_HEADER_MS = 10000 }; /* how long a header may take from the accept on; header_timeout if that is shorter */

/* A server has one for each thing that may follow. */
struct conn_proxy {
    struct protocol protocol;        /* what such connections speak first; the first member */
    const struct protocol *to;       /* what follows the header, */
    const struct transport_ops *ops; /* and carries it: as for conn_open() */
    void *ops_arg;                   /* handed to the ops */

    /* The client is known: count it, and return true; or send it a refusal and return false: the connection ends in an
     * orderly way. It is being advanced, so no other connection may have a turn during the call. */
    bool (*admit)(void *arg, struct conn *conn);
    void *arg; /* handed to admit */
};

/* Set all but admit and arg. */
void conn_proxy_init(struct conn_proxy *proxy, const struct protocol *to, const struct transport_ops *ops,
                     void *ops_arg);

#endif
